"""The command that trains networks over whole fields from the races of a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
from f1_predict.training.cut_table import Cut, make_cut_table
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.field_fit import FieldEpoch
from f1_predict.training.train_field import save_trained, train_fields


@dataclass(frozen=True)
class Request:
    """What the user asks for: the store, the embeddings beside it, the model folder to write, first and last season."""

    data: Path
    embeddings: Path
    model: Path
    seasons: tuple[int, int] | None


def train_field_model(console: Console, request: Request, config: Config, engine: Engine | None = None) -> None:
    """Train the networks that the backtest calls `best` on the races of some seasons, and write the model folder.

    They learn from every race at the moments that a backtest learns from. The latest season chooses the epochs.

    Raises:
        ConfigError: if fewer than two of the seasons have results.
    """
    archive = open_archive(request.data)
    encoder = make_encoder(console, config)
    cuts, pictured = _cuts(archive, request.seasons, config)
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
    """The moments to learn from, and those of them whose pictures are wanted: where a backtest forecasts."""
    there = archive.races["season"].unique().sort().to_list()
    first, last = seasons or (there[0], there[-1]) if there else (0, 0)
    chosen = [season for season in there if first <= season <= last]
    if len(chosen) < 2:
        raise ConfigError(
            f"two seasons or more are needed, the latest to choose the epoch by; the store holds {chosen or 'none'} of "
            f"those asked for. Ingest more, or choose others with --seasons."
        )
    plan = Plan((chosen[-1],), (EXPERT_CANDIDATE,), FRACTIONS)
    season_of = dict(archive.races.select("race_id", "season").iter_rows())
    found = Cuts.of(archive, plan, config)
    wanted = [cut for cut in found.cuts if season_of[cut[0]] in chosen]
    return wanted, [cut for cut in found.scored(plan) if season_of[cut[0]] in chosen]


def epoch_line(report: FieldEpoch) -> str:
    """One line about an epoch."""
    scored = "" if report.validation_log_loss is None else f"  validation log-loss {report.validation_log_loss:.3f}"
    return (
        f"network {report.member}/{report.members}  epoch {report.epoch:>2}/{report.epochs}  "
        f"loss {report.train_loss:.3f}{scored}  ({report.seconds:.1f} s)"
    )
