"""The command that measures what backbones read off pictures of races."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import (
    DATA,
    EMBEDDINGS,
    Embeddings,
    MaxMemory,
    Settings,
    Store,
    Verbose,
    app,
    console,
    fractions_of,
    settings,
    span,
)
from f1_predict.errors import ConfigError


@app.command()
def probe(
    weights: Annotated[
        str, typer.Option(help="imagenet, trace, random or files, with commas between; the first is the yardstick.")
    ] = "random,trace",
    styles: Annotated[str, typer.Option(help="Of the pictures, with commas between.")] = "speed,race",
    fit_seasons: Annotated[str, typer.Option(help="Learn from these, the latest of them validate.")] = "1996-2018",
    score_seasons: Annotated[str, typer.Option(help="Score these.")] = "2019-2024",
    fractions: Annotated[str, typer.Option(help="Of the scheduled laps, above 0.")] = ".1,.25,.5,.75",
    fits: Annotated[int, typer.Option(min=1, help="Of each network of rung 6, with other seeds.")] = 3,
    runtime: Annotated[
        str | None, typer.Option(help="How they are computed, as torch-bf16; as in the settings if not given.")
    ] = None,
    data: Store = DATA,
    embeddings: Embeddings = EMBEDDINGS,
    work: Annotated[Path, typer.Option(help="Folder of the finished fits.")] = Path("data/probe"),
    page: Annotated[Path | None, typer.Option(help="Also write a page (Markdown) here.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that fit; one a core if not given.")] = None,
    max_memory: MaxMemory = None,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Measure backbones on races: ridge regression on their numbers alone, and ladder rung 6 with each.

    Safe to interrupt: encoded pictures and finished fits are kept and not worked again.

    Example: f1-predict probe --weights random,trace --styles speed,race --page docs/backbone.md
    """
    first, scored = span(fit_seasons), span(score_seasons)
    if first is None or scored is None:
        raise ConfigError("a probe needs seasons to fit and to score. Give --fit-seasons 1996-2018.")
    chosen = settings(config)
    if runtime is not None:
        encoder = chosen.encoder.model_copy(update={"runtime": runtime})  # VisionEncoder checks it
        chosen = chosen.model_copy(update={"encoder": encoder})
    names, kinds = _parts(weights), _parts(styles)
    moments = fractions_of(fractions)
    from f1_predict.jobs import probing
    from f1_predict.scale import default_workers

    request = probing.Request(
        data=data,
        embeddings=embeddings,
        work=work,
        weights=names,
        styles=kinds,
        fit_seasons=first,
        score_seasons=scored,
        fractions=moments,
        fits=fits,
        workers=workers or default_workers(),
    )
    command = (
        f"f1-predict probe --weights {weights} --styles {styles} --fit-seasons {fit_seasons} "
        f"--score-seasons {score_seasons} --fractions {fractions} --fits {fits}"
        f"{'' if runtime is None else f' --runtime {runtime}'} --page FILE"
    )
    probing.probe(console, request, chosen, command, page)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
