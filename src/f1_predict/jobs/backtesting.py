"""The command that forecasts whole seasons walk-forward and keeps the predictions."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console

from f1_predict.config import Config
from f1_predict.evaluation.backtest import Cuts, Plan, UnitDone, Workshop, rows_digest, run_backtest
from f1_predict.evaluation.predictions import write_predictions
from f1_predict.horizon import RaceArchive
from f1_predict.jobs.learning import make_encoder
from f1_predict.jobs.stores import open_archive
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.report import terminal
from f1_predict.training.cut_table import write_cut_table
from f1_predict.training.embeddings import EmbeddingCache

FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75)
"""Of the race, at which a backtest forecasts."""


@dataclass(frozen=True)
class Request:
    """What the user asks of a backtest."""

    data: Path
    embeddings: Path
    out: Path
    test_seasons: tuple[int, int]
    models: tuple[str, ...]
    fractions: tuple[float, ...]
    workers: int


def backtest(console: Console, request: Request, config: Config) -> pl.DataFrame:
    """Forecast the test seasons with every model, write the predictions file, return it.

    Finished season x model pairs are kept in the folder [out].parts and not worked again.
    """
    start = time.perf_counter()
    archive = open_archive(request.data)
    plan = Plan.of(archive, request.test_seasons, request.models, request.fractions)
    encoder = make_encoder(console, config)
    cuts = Cuts.of(archive, plan, config)
    workshop = Workshop(request.data, *_folders(request, plan, config, encoder))
    _make_rows(console, archive, workshop, cuts, plan, request, encoder, config)
    prepared = time.perf_counter() - start
    console.print(
        f"{len(plan.seasons)} season(s) x {len(plan.models)} models at {len(plan.fractions)} moments: "
        f"{len(cuts.cuts):,} cuts of races to learn from and to forecast, ready after {prepared:.0f} s"
    )
    predictions = run_backtest(
        workshop, cuts, plan, config, request.workers, lambda done: console.print(unit_line(done, start + prepared))
    )
    write_predictions(request.out, predictions)
    console.print(
        f"{predictions.height:,} forecasts of {predictions['race_id'].n_unique()} races in "
        f"{(time.perf_counter() - start) / 60:.1f} min -> {request.out}"
    )
    return predictions


def _folders(request: Request, plan: Plan, config: Config, encoder: VisionEncoder) -> tuple[Path, Path]:
    parts = request.out.with_name(f"{request.out.stem}.parts")
    return parts / f"rows-{rows_digest(request.data, plan, config, encoder.identity)}", parts


def _make_rows(
    console: Console,
    archive: RaceArchive,
    workshop: Workshop,
    cuts: Cuts,
    plan: Plan,
    request: Request,
    encoder: VisionEncoder,
    config: Config,
) -> None:
    """Draw and encode what the embedding cache lacks, compute features, and leave the rows where workers find them."""
    for outdated in workshop.parts.glob("rows-*"):  # of another store or other settings: large, and of no use
        if outdated != workshop.rows:
            shutil.rmtree(outdated)
    cache = EmbeddingCache(request.embeddings)
    with terminal.progress_bar(console, "Preparing") as progress:
        write_cut_table(workshop.rows, archive, cuts.cuts, cuts.scored(plan), encoder, cache, config, progress)


def unit_line(done: UnitDone, start: float) -> str:
    """One line about a finished season x model pair."""
    if done.seconds == 0.0:
        return f"{done.done:>3} of {done.total}  {done.unit.season} {done.unit.model}: was there already"
    return (
        f"{done.done:>3} of {done.total}  {done.unit.season} {done.unit.model}: {done.seconds:.0f} s "
        f"({(time.perf_counter() - start) / 60:.1f} min in all)"
    )
