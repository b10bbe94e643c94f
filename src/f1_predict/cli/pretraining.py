"""The command that trains the backbone on simulated pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import Settings, Verbose, app, changed, console, settings


@app.command()
def pretrain(
    pictures: Annotated[int | None, typer.Option(min=1, help="How many to learn from.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Train so long instead; the schedule follows the clock.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the weights go (.safetensors); the card goes beside them.")] = Path(
        "artifacts/trace_resnet18.safetensors"
    ),
    work: Annotated[Path, typer.Option(help="Folder of the checkpoint and the log.")] = Path("artifacts/pretrain"),
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that draw; 0 draws between steps.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Train a ResNet-18 to read pictures of simulated races, and write it as weights for `--weights`.

    Safe to interrupt: it goes on from the last checkpoint when started again.

    Example: f1-predict pretrain --pictures 300000 --seed 1 --out trace.safetensors
    """
    chosen = changed(settings(config), "pretrain", pictures=pictures, minutes=minutes, seed=seed, workers=workers)
    from f1_predict.jobs import pretraining

    given = {"pictures": pictures, "minutes": minutes, "seed": seed, "workers": workers, "config": config}
    options = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
    request = pretraining.Request(out, work, device, f"f1-predict pretrain{options} --out {out.name}")
    pretraining.pretrain_backbone(console, request, chosen)
