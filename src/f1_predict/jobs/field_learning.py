"""The command that trains networks over whole fields from the races of a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from f1_predict.config import Config
from f1_predict.errors import ConfigError
from f1_predict.evaluation.folds import Cuts, Plan
from f1_predict.evaluation.ladder import EXPERT_CANDIDATE
from f1_predict.horizon import RaceArchive
from f1_predict.jobs.backtesting import FRACTIONS
from f1_predict.jobs.learning import make_encoder
from f1_predict.jobs.stores import open_archive
from f1_predict.report import terminal
from f1_predict.scale import Engine
from f1_predict.training.artefacts import check_replaceable
from f1_predict.training.cut_table import Cut, make_cut_table
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.field_fit import FieldEpoch
from f1_predict.training.train_field import save_trained, train_fields

MOMENTS = (*FRACTIONS, 0.9, 0.99)
"""Of the race, with pictures: those of a backtest, and two near the flag, where people look most."""


@dataclass(frozen=True)
class Request:
    """What the user asks for: the store, the embeddings beside it, the model folder to write, first and last season."""

    data: Path
    embeddings: Path
    model: Path
    seasons: tuple[int, int] | None


def train_field_model(console: Console, request: Request, config: Config, engine: Engine | None = None) -> None:
    """Train the networks that the backtest calls `best` on the races of some seasons, and write the model folder.

    They learn as in `f1-predict backtest --models best --fractions 0,.1,.25,.5,.75,.9,.99`: from every race at these
    moments and between them. The latest season chooses the epochs.

    Raises:
        ConfigError: if fewer than two of the seasons have results.
    """
    check_replaceable(request.model)
    archive = open_archive(request.data)
    encoder = make_encoder(console, config)
    cuts, pictured = _cuts(archive, request.seasons, config)
    _tell_of_a_short_season(console, archive, cuts)
    cache = EmbeddingCache(request.embeddings, config.encoder.keep)
    with terminal.progress_bar(console, "Preparing") as progress:
        table = make_cut_table(archive, cuts, pictured, encoder, cache, config, progress, engine)
    learned = np.flatnonzero(table.positions[table.cuts["first_row"].to_numpy()] > 0)
    shown = set(pictured)
    always = np.array([cuts[number] in shown for number in learned.tolist()], dtype=np.bool_)
    trained = train_fields(table, learned, always, config, lambda report: console.print(epoch_line(report)))
    save_trained(request.model, trained, table, encoder, config)
    console.print(f"Best epochs {', '.join(str(epoch) for epoch in trained.fit.best_epochs)} -> {request.model}")


def _cuts(archive: RaceArchive, seasons: tuple[int, int] | None, config: Config) -> tuple[list[Cut], list[Cut]]:
    """The moments to learn from, of races with results, and those of them whose pictures are wanted: see MOMENTS."""
    first, last = seasons or (0, 9999)
    races = archive.races.filter(
        pl.col("season").is_between(first, last)
        & pl.col("race_id").is_in(archive.tables.results["race_id"].unique().to_list())
    )
    chosen = races["season"].unique().sort().to_list()
    if len(chosen) < 2:
        raise ConfigError(
            f"two seasons with results or more are needed, the latest to choose the epoch by; of those asked for the "
            f"store holds {chosen or 'none'}. Ingest more, or choose others with --seasons."
        )
    plan = Plan((chosen[-1],), (EXPERT_CANDIDATE,), MOMENTS)
    found, finished = Cuts.of(archive, plan, config), set(races["race_id"])
    wanted = [cut for cut in found.cuts if cut[0] in finished]
    return wanted, [cut for cut in found.scored(plan) if cut[0] in finished]


def _tell_of_a_short_season(console: Console, archive: RaceArchive, cuts: list[Cut]) -> None:
    """The latest season chooses the epochs: badly, where it has just begun."""
    races = archive.races.filter(pl.col("race_id").is_in(list({race_id for race_id, _ in cuts})))
    *others, latest = races.group_by("season").len().sort("season").iter_rows()
    if 2 * latest[1] < np.median([count for _, count in others]):
        console.print(
            f"Warning: {latest[0]} has {latest[1]} race(s) with results so far, and they alone choose the epochs. "
            f"Better: --seasons {others[0][0]}-{others[-1][0]}"
        )


def epoch_line(report: FieldEpoch) -> str:
    """One line about an epoch."""
    scored = "" if report.validation_log_loss is None else f"  validation log-loss {report.validation_log_loss:.3f}"
    return (
        f"network {report.member}/{report.members}  epoch {report.epoch:>2}/{report.epochs}  "
        f"loss {report.train_loss:.3f}{scored}  ({report.seconds:.1f} s)"
    )
