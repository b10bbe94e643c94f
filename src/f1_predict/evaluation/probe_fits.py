"""Ladder rung 6 with one backbone or another: the backtest's own fit, on one split of the seasons, several seeds.

Works fits off in several processes and keeps the scores of each as a file, so that an interrupted probe goes on where
it was. How a rung is fitted is in `rungs`; which pictures its rows hold is the caller's.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from f1_predict.config import Config
from f1_predict.errors import F1PredictError
from f1_predict.evaluation import ladder, metrics
from f1_predict.evaluation.backtest import code_digest, one_thread
from f1_predict.evaluation.folds import Fold
from f1_predict.evaluation.rungs import RUNG_FUNCTIONS, Output
from f1_predict.horizon import RaceArchive
from f1_predict.models.probabilities import coherent, summarise, to_field
from f1_predict.tables import read_store
from f1_predict.training.cut_table import CutTable, Integers
from f1_predict.training.files import write_atomically
from f1_predict.training.split import SeasonSplit

RUNG_METRICS = ("log_loss", "accuracy", "mae", "spearman")
"""Scores of rung 6."""


@dataclass(frozen=True)
class RungFit:
    """One fit of a rung.

    Attributes:
        model: name in every table.
        rung: of the ladder.
        rows: folder of the CutTable that it learns from and forecasts.
        seed: of the training.
        file: where the scores go: what each race contributes at each fraction, see `metrics.contributions`.
    """

    model: str
    rung: str
    rows: Path
    seed: int
    file: Path

    def finished(self) -> bool:
        """Whether the scores are there; a damaged file is removed, and the fit is made again."""
        try:
            pl.read_parquet(self.file)
        except FileNotFoundError:
            return False
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):  # damaged pages panic
            self.file.unlink(missing_ok=True)
            return False
        return True

    def contributions(self, fraction: float) -> pl.DataFrame:
        """What each race contributes at a fraction, once the fit is done."""
        return pl.read_parquet(self.file).filter(pl.col("fraction") == fraction).drop("fraction")


def fold_of_split(table: CutTable, at: dict[float, Integers], split: SeasonSplit) -> Fold:
    """The backtest's fold for a split with several test seasons: one fit forecasts them all.

    Args:
        table: all rows.
        at: fraction of the race -> numbers of the cuts at it.
        split: seasons.
    """
    seasons = table.cuts["season"].to_numpy()
    parts = [np.flatnonzero(np.isin(seasons, part)) for part in (split.train, split.validation, split.test)]
    return Fold(split.test[0], parts[0], parts[1], parts[2], at, tuple(sorted(at)))


def run_fits(
    fits: Sequence[RungFit],
    store: Path,
    fold: Fold,
    config: Config,
    workers: int,
    on_fit: Callable[[RungFit, float], None],
) -> None:
    """Fit, forecast and score.

    Args:
        fits: what to fit.
        store: the canonical tables.
        fold: what may be learnt from, and what is forecast.
        config: settings of all models; the seed of the training is each fit's own.
        workers: processes; 1 works in this one. Scores do not depend on it.
        on_fit: told of each, with the seconds that it took.

    Raises:
        F1PredictError: if a process was ended from outside, or as the models raise.
    """
    for fit, seconds in _work(fits, partial(run_fit, store=store, fold=fold, config=config), workers):
        on_fit(fit, seconds)


def _work(fits: Sequence[RungFit], work: Callable[[RungFit], float], workers: int) -> Iterator[tuple[RungFit, float]]:
    if workers < 2 or len(fits) < 2:
        for fit in fits:
            yield fit, work(fit)
        return
    # Spawned, not forked: polars' and torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(fits)), mp_context=context)
    try:
        yield from zip(fits, pool.map(work, fits), strict=True)
    except BrokenProcessPool as error:
        raise F1PredictError(
            "a process of the probe was ended from outside, most likely for want of memory. "
            "Run it again with --workers 1; what is finished is kept."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_fit(fit: RungFit, *, store: Path, fold: Fold, config: Config) -> float:
    """Fit one rung on the fold, forecast its test cuts, write the scores; the seconds it took."""
    start = time.perf_counter()
    settings = config.changed("training", {"seed": fit.seed})
    for stage in ("ensemble", "inrace_ensemble"):
        settings = settings.changed(stage, {"threads": 1})
    table = CutTable.read(fit.rows)
    with one_thread():
        output = RUNG_FUNCTIONS[fit.rung](RaceArchive(read_store(store)), table, fold, settings)[fit.rung]
    balanced = fit.rung not in ladder.COUNTED
    frames = [
        metrics.contributions(_races(table, fold, fraction, output, balanced=balanced)).with_columns(
            fraction=pl.lit(fraction)
        )
        for fraction in fold.scored
    ]
    content = io.BytesIO()
    pl.concat(frames).write_parquet(content)
    write_atomically(fit.file, content.getvalue())
    return time.perf_counter() - start


def _races(table: CutTable, fold: Fold, fraction: float, output: Output, *, balanced: bool) -> list[metrics.RaceRows]:
    """A rung's forecasts of the test races at a fraction beside their results."""
    starters = table.starters_of(fold.test)
    first = dict(zip(fold.test.tolist(), (np.cumsum(starters) - starters).tolist(), strict=True))
    races = []
    for cut in fold.at[fraction].tolist():
        if cut not in first:
            continue
        rows = table.rows_of(np.array([cut]))
        asked = slice(first[cut], first[cut] + len(rows))
        probabilities = to_field(output.probabilities[asked], len(rows))
        if balanced:
            probabilities = coherent(probabilities)
        position = np.asarray(table.positions[rows], dtype=np.int64)
        finish = (output.finish[asked], np.asarray(table.classified[rows], dtype=np.bool_))
        race_id = table.cuts["race_id"][cut]
        races.append(metrics.RaceRows(race_id, position, probabilities, summarise(probabilities), finish))
    return races


def fit_digest(manifest: bytes, config: Config, split: SeasonSplit, at: dict[float, Integers], made_of: str) -> str:
    """What the scores of a fit are made from: store, settings, seasons, moments, pictures and code.

    Args:
        manifest: of the store.
        config: settings, the picture's among them.
        split: seasons.
        at: fractions.
        made_of: rung, seed and backbone.
    """
    settings = config.model_dump(mode="json", exclude={"evaluation": {"bootstrap_draws", "seed", "fractions"}})
    told = [settings, split.train, split.validation, split.test, sorted(at), made_of, code_digest()]
    scoring = b"".join(Path(module.__file__ or "").read_bytes() for module in (metrics, sys.modules[__name__]))
    return hashlib.sha256(manifest + scoring + json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
