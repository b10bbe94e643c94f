"""The command that trains the backbone on simulated pictures and writes its weights and their card."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from f1_predict.config import Config, PretrainConfig
from f1_predict.models.backbone_weights import load_weights
from f1_predict.models.preprocessing import TRACES
from f1_predict.models.vision_encoder import resolve_device
from f1_predict.report import terminal
from f1_predict.training.files import write_atomically
from f1_predict.training.pretrain_card import Card, round_to_half, write_weights
from f1_predict.training.pretrain_fit import Listeners, StepReport, pretrain, settle_statistics
from f1_predict.training.pretrain_labels import TASKS
from f1_predict.training.pretrain_pictures import STYLES, PictureSource
from f1_predict.training.pretrain_scores import Scores, score
from f1_predict.training.pretrain_state import Counters
from f1_predict.training.progress import Progress, ProgressCallback

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"


@dataclass(frozen=True)
class Request:
    """What `f1-predict pretrain` is asked for.

    Attributes:
        out: the weights file; the card goes beside it.
        work: folder of checkpoint and log.
        device: "auto", "cpu" or "cuda".
        command: for the card.
    """

    out: Path
    work: Path
    device: str
    command: str


def pretrain_backbone(console: Console, request: Request, config: Config) -> Scores:
    """Train, settle, score, and write weights and card; the checkpoint goes when both are there.

    Raises:
        ArtefactError, ConfigError: if the checkpoint does not fit, or something cannot be written.
        F1PredictError: if training fails.
    """
    start = time.perf_counter()
    settings, device = config.pretrain, resolve_device(request.device)
    request.work.mkdir(parents=True, exist_ok=True)
    checkpoint, log = request.work / CHECKPOINT, _Log(request.work / LOG)

    def note(text: str) -> None:
        console.print(text, markup=False, highlight=False)
        log.write("note", {"text": text})

    with terminal.progress_bar(console, "Pretraining") as progress:
        state = pretrain(settings, device, checkpoint, _listeners(console, log, progress, note))
    network = state.network
    note(f"settling batch-norm statistics on {settings.statistics_pictures:,} pictures")
    settle_statistics(network, settings, device)
    round_to_half(network)
    note(f"scoring {settings.final_cuts} cuts of races never trained on")
    held_out = PictureSource(settings, "final").whole_cuts(settings.final_cuts)
    scores = score(network, held_out, settings.label_spread, settings.batch_size, half=False)
    log.write("final", asdict(scores))
    size = write_weights(request.out, network.backbone, TRACES, STYLES)
    loaded = load_weights(str(request.out))
    card = Card(
        command=request.command,
        sha256=loaded.sha256,
        size_bytes=size,
        preprocessing=loaded.preprocessing,
        facts=_facts(settings, state.done, time.perf_counter() - start, device),
        settings=_toml(settings),
        scores=scores,
    )
    write_atomically(request.out.with_suffix(".md"), card.text().encode())
    checkpoint.unlink(missing_ok=True)
    console.print(_scores_table(scores))
    console.print(f"Weights -> {request.out} ({size / 1e6:.1f} MB), card beside it", markup=False, highlight=False)
    return scores


def _listeners(console: Console, log: _Log, progress: ProgressCallback, note: Callable[[str], None]) -> Listeners:
    def on_step(report: StepReport) -> None:
        done, rate = report.done, report.per_second
        left = (report.total - done.pictures) / rate if rate > 0.0 else None
        progress(Progress("pictures", done.pictures, report.total, rate, left))
        log.write("step", {**asdict(report), "done": asdict(done)})

    def on_scores(done: Counters, scores: Scores) -> None:
        log.write("scores", {"done": asdict(done), **asdict(scores)})
        ranks = ", ".join(
            f"{name} MAE {rank.mae:.2f} (running order {rank.order_mae:.2f}) Spearman {rank.spearman:.3f}"
            for name, rank in scores.ranks.items()
        ).replace(" (running order nan)", "")
        tasks = " ".join(f"{name} {value:.3f}" for name, value in scores.losses.items())
        note(f"{done.pictures:,} pictures, {done.seconds / 60:.1f} min. Held out: {ranks}; {tasks}")

    return Listeners(on_step, on_scores, note)


class _Log:
    """JSON lines, one an event, appended at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: str, values: Mapping[str, object]) -> None:
        line = json.dumps({"event": event, "time": round(time.time(), 1), **values})
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def _facts(config: PretrainConfig, done: Counters, seconds: float, device: torch.device) -> list[tuple[str, str]]:
    rate = done.pictures / max(done.seconds, 1e-9)
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return [
        ("Data", f"{done.pictures:,} pictures of simulated races, eras {', '.join(config.eras)}"),
        ("Styles", ", ".join(STYLES)),
        ("Tasks", ", ".join([*(task.name for task in TASKS), "distribution of the finishing place"])),
        ("Seed", str(config.seed)),
        (
            "Training",
            f"{done.seconds / 60:.0f} minutes, {done.steps:,} steps, {rate:.0f} pictures/s",
        ),
        ("Computer", f"{what}, {torch.get_num_threads()} threads, torch {torch.__version__}"),
        ("All together", f"{seconds / 60:.0f} minutes"),
    ]


def _toml(config: PretrainConfig) -> str:
    lines = ["[pretrain]"]
    for key, value in config.model_dump(mode="json").items():
        if value is not None:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines)


def _scores_table(scores: Scores) -> Table:
    shown = Table(title="Order of finish, simulated races not trained on", title_justify="left")
    for column in ("pictures", "cuts", "MAE", "Spearman", "running order: MAE", "Spearman"):
        shown.add_column(column)
    for name, rank in scores.ranks.items():
        numbers = (rank.mae, rank.spearman, rank.order_mae, rank.order_spearman)
        shown.add_row(name, str(rank.cuts), *("-" if x != x else f"{x:.3f}" for x in numbers))
    return shown
