"""The command that forecasts whole seasons walk-forward and keeps the predictions."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from f1_predict.config import Config
from f1_predict.evaluation import ladder
from f1_predict.evaluation.backtest import UnitDone, Workshop, rows_digest, run_backtest
from f1_predict.evaluation.folds import Cuts, Plan
from f1_predict.evaluation.predictions import read_predictions, write_predictions
from f1_predict.evaluation.scorecard import Scorecard, make_scorecard
from f1_predict.horizon import RaceArchive
from f1_predict.jobs.learning import make_encoder
from f1_predict.jobs.memory import peak_gb
from f1_predict.jobs.reporting import FILE_DIGEST, read_facts
from f1_predict.jobs.scoring import of_seasons
from f1_predict.jobs.stores import open_archive
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.report import terminal
from f1_predict.report.backtest_page import BacktestResults, write_backtest_results
from f1_predict.scale import Engine
from f1_predict.tables import read_store
from f1_predict.training.cut_table import write_cut_table
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.files import write_atomically

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

    @property
    def facts(self) -> Path:
        """Where what the predictions were made with is told, for the report."""
        return self.out.with_name(f"{self.out.stem}.facts.json")


def backtest(console: Console, request: Request, config: Config, engine: Engine | None = None) -> dict[str, str]:
    """Forecast the test seasons with every model and write the predictions file.

    Finished season x model pairs are kept in the folder [out].parts and not worked again.

    Returns:
        What the predictions were made with and what it took, by name; written beside them too.
    """
    start = time.perf_counter()
    archive = open_archive(request.data)
    plan = Plan.of(archive, request.test_seasons, request.models, request.fractions)
    encoder = make_encoder(console, config)
    cuts = Cuts.of(archive, plan, config)
    cache = EmbeddingCache(request.embeddings, config.encoder.keep)
    workshop = Workshop(request.data, *_folders(request, plan, config, cache.identity(encoder)))
    _make_rows(console, archive, workshop, cuts, plan, cache, encoder, config, engine)
    prepared = time.perf_counter() - start
    console.print(
        f"{len(plan.seasons)} season(s) x {len(plan.models)} models at {len(plan.fractions)} moments: "
        f"{len(cuts.cuts):,} cuts of races to learn from and to forecast, ready after {prepared:.0f} s"
    )
    kept: list[UnitDone] = []

    def show(done: UnitDone) -> None:
        if done.seconds == 0.0:
            kept.append(done)
        console.print(unit_line(done, start + prepared))

    predictions = run_backtest(workshop, cuts, plan, config, request.workers, show, engine)
    where, memory = f"on {request.workers} processes", peak_memory(request.workers)
    if engine is not None:
        where, memory = "on Ray", f"{peak_gb()[0]:.1f} GB resident here, the machines of the cluster not counted"
    write_predictions(request.out, predictions)
    took = time.perf_counter() - start
    console.print(
        f"{predictions.height:,} forecasts of {predictions['race_id'].n_unique()} races in {took / 60:.1f} min, "
        f"{memory} -> {request.out}"
    )
    facts = {
        "test seasons": f"{plan.seasons[0]}-{plan.seasons[-1]}, each forecast by models that saw only earlier seasons",
        "first season learnt from": str(archive.races["season"][0]),
        "backbone": encoder.weights_note,
        "cuts a race to learn from": ", ".join(
            f"{fraction:g}" for fraction in plan.learning_fractions(config.evaluation.training_cuts)
        ),
        "settings": "; ".join(
            f"{stage}: {getattr(config, stage)!r}"
            for stage in (
                "evaluation",
                "inrace_ensemble",
                "field",
                "ensemble",
                "fusion",
                "training",
                "picture",
                "features",
            )
        ),
        "tuning": ladder.TUNING,
        "time": f"{took / 60:.1f} min {where}, {prepared / 60:.1f} of them until the first fit"
        + (f"; {len(kept)} of {len(plan.seasons) * len(plan.models)} pairs were there already" if kept else ""),
        "peak memory": memory,
        FILE_DIGEST: hashlib.sha256(request.out.read_bytes()).hexdigest(),
    }
    if len(kept) == len(plan.seasons) * len(plan.models):
        facts |= _of_the_fits(request, facts[FILE_DIGEST])
    write_atomically(request.facts, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    return facts


def _of_the_fits(request: Request, digest: str) -> dict[str, str]:
    """Time and memory of the run that made these very predictions, where this one only read what that left."""
    told = read_facts(request.facts) if request.facts.is_file() else {}
    if told.get(FILE_DIGEST) != digest:
        return {}
    return {name: told[name] for name in ("time", "peak memory") if name in told}


def write_results(
    console: Console, request: Request, facts: Mapping[str, str], card: Scorecard, command: str, page: Path
) -> None:
    """Write the results page from the scorecard of the predictions, with the untouched seasons scored alone."""
    untouched = None
    if card.seasons[0] < ladder.FIRST_UNTOUCHED_SEASON <= card.seasons[-1]:
        tables = read_store(request.data)
        later = of_seasons(read_predictions(request.out), (ladder.FIRST_UNTOUCHED_SEASON, card.seasons[-1]))
        untouched = make_scorecard(later, tables.races, tables.results)
    write_backtest_results(page, BacktestResults(command, facts, card, untouched))
    console.print(f"Results page -> {page}")


def peak_memory(workers: int) -> str:
    """Resident memory of this process and, at most, of its workers together."""
    own, child = peak_gb()
    together = own + (workers * child if workers > 1 else 0.0)
    return f"at most {together:.1f} GB resident ({own:.1f} here, {child:.1f} the largest worker)"


def _folders(request: Request, plan: Plan, config: Config, identity: str) -> tuple[Path, Path]:
    parts = request.out.with_name(f"{request.out.stem}.parts")
    return parts / f"rows-{rows_digest(request.data, plan, config, identity)}", parts


def _make_rows(
    console: Console,
    archive: RaceArchive,
    workshop: Workshop,
    cuts: Cuts,
    plan: Plan,
    cache: EmbeddingCache,
    encoder: VisionEncoder,
    config: Config,
    engine: Engine | None,
) -> None:
    """Draw and encode what the embedding cache lacks, compute features, and leave the rows where workers find them."""
    for outdated in workshop.parts.glob("rows-*"):  # of another store or other settings: large, and of no use
        if outdated != workshop.rows:
            shutil.rmtree(outdated)
    with terminal.progress_bar(console, "Preparing") as progress:
        write_cut_table(workshop.rows, archive, cuts.cuts, cuts.scored(plan), encoder, cache, config, progress, engine)


def unit_line(done: UnitDone, start: float) -> str:
    """One line about a finished season x model pair, with the time left."""
    which = f"{done.done:>3} of {done.total}  {done.unit.season} {done.unit.model}"
    if done.seconds == 0.0:
        return f"{which}: was there already"
    minutes = (time.perf_counter() - start) / 60
    return f"{which}: {done.seconds:.0f} s ({minutes:.1f} min of fits, {minutes / done.share - minutes:.1f} left)"
