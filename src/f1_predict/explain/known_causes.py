"""How far blanked laps can be trusted: trouble of known laps, put into simulated races, and where it is found.

A slow stop or a puncture is written into one driver's laps, and nothing else is changed but the order that follows
from it. Then every lap of the driver's picture is blanked in turn. Knows nothing of terminals or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from f1_predict import features
from f1_predict.explain.explanation import lap_changes, question_about
from f1_predict.explain.occlusion import picture_of
from f1_predict.horizon import AfterLap, RaceArchive
from f1_predict.models.forecaster import RaceForecaster
from f1_predict.schemas import IMPLAUSIBLE_SLOW_S, Tables

CAUSES = ("slow stop", "puncture")
SLOW_STOP_S = (12.0, 40.0)
"""What a stop takes longer than usual."""
PUNCTURE_S, TYRES_S = (20.0, 60.0), (18.0, 26.0)
"""What a lap on three wheels and a stop take longer than an ordinary lap."""
CUT = (0.4, 0.9)
"""Share of the scheduled laps after which is asked."""
FIRST, RECENT = 4, 4
"""The first lap that trouble may come on, and the laps between it and the cut: it may cost two."""
COLUMNS = {
    "race_id": pl.String,
    "driver_id": pl.String,
    "cause": pl.String,
    "cut": pl.Int32,
    "first": pl.Int32,
    "laps": pl.Int32,
    "rank": pl.Int32,
    "share": pl.Float64,
}


@dataclass(frozen=True)
class Trouble:
    """What happened to a driver: on which laps, and the seconds lost on each."""

    cause: str
    driver_id: str
    lap: int
    seconds: tuple[float, float]

    @property
    def laps(self) -> tuple[int, int]:
        """The lap that it began on, and the one after."""
        return self.lap, self.lap + 1


def with_trouble(laps: pl.DataFrame, trouble: Trouble) -> pl.DataFrame:
    """The laps of one race as they would have been: times, stop and tyres of that driver, and everybody's places.

    Args:
        laps: rows of `laps` of the race.
        trouble: of one of its drivers, who has both laps.
    """
    own, first = pl.col("driver_id") == trouble.driver_id, pl.col("lap") == trouble.lap
    second = pl.col("lap") == trouble.lap + 1
    lost = pl.when(own & first).then(trouble.seconds[0]).when(own & second).then(trouble.seconds[1]).otherwise(0.0)
    changed = laps.with_columns(lost.alias("_lost")).with_columns(
        lap_time_s=pl.col("lap_time_s") + pl.col("_lost"),
        speed_kmh=pl.col("speed_kmh") * pl.col("lap_time_s") / (pl.col("lap_time_s") + pl.col("_lost")),
        end_time_s=pl.col("end_time_s") + pl.col("_lost").cum_sum().over("driver_id", order_by="lap"),
    )
    if trouble.cause == "puncture":
        stints = (pl.col("pit_in").fill_null(False) & (pl.col("lap") > trouble.lap)).cum_sum()
        same_set = own & (pl.col("lap") > trouble.lap) & (stints.shift(1).over("driver_id", order_by="lap") == 0)
        changed = changed.with_columns(
            pit_in=pl.col("pit_in") | (own & first),
            pit_out=pl.col("pit_out") | (own & second),
            tyre_life=pl.when(same_set).then(pl.col("lap") - trouble.lap).otherwise("tyre_life").cast(pl.Int32),
        )
    return changed.with_columns(
        position=pl.col("end_time_s").rank("ordinal").over("lap").cast(pl.Int32),
        implausible=pl.col("implausible") | (pl.col("lap_time_s") > IMPLAUSIBLE_SLOW_S),
    ).drop("_lost")


def measure(
    forecaster: RaceForecaster, tables: Tables, race_ids: Sequence[str], seed: int = 0, target: str | None = None
) -> pl.DataFrame:
    """Put a slow stop and a puncture into each race, and see where blanking laps finds them.

    Args:
        forecaster: the trained model.
        tables: the races, simulated or real.
        race_ids: of those to be altered; one without a driver to whom it can happen gives no row.
        seed: of drivers, laps, losses and cuts.
        target: see `question.targets_of`.

    Returns:
        One row per race and cause: race_id, driver_id, cause, cut (lap), first (lap of the trouble; it goes on to the
        next), laps (that were blanked, the last one left out: it holds the mark of where the driver is now, and outdoes
        all others), rank (of the better of the two by the change of the forecast, 1 = most) and share (of all change,
        that the two have; by chance 2 / laps).
    """
    archive = RaceArchive(tables)
    rng = np.random.default_rng(seed)
    rows = [row for race_id in race_ids for row in _of_race(forecaster, archive, race_id, rng, target)]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _of_race(
    forecaster: RaceForecaster, archive: RaceArchive, race_id: str, rng: np.random.Generator, target: str | None
) -> Iterator[tuple[object, ...]]:
    last = archive.laps_completed(race_id)
    scheduled = int(archive.rows("races", race_id)["scheduled_laps"][0])
    cut = min(round(rng.uniform(*CUT) * scheduled), last)
    if cut < FIRST + RECENT + 2:
        return
    horizon = AfterLap(cut)
    snapshot = archive.snapshot(race_id, horizon)
    known = features.RaceFeatures.of(snapshot, forecaster.feature_config)
    for cause in CAUSES:
        trouble = _trouble(cause, snapshot.laps, cut, rng)
        if trouble is None:
            continue
        changed = with_trouble(archive.rows("laps", race_id), trouble)
        others = archive.tables.laps.filter(pl.col("race_id") != race_id)
        altered = RaceArchive(replace(archive.tables, laps=pl.concat([others, changed])))
        changes = _changes(forecaster, altered, known, race_id, horizon, trouble, target)[:-1]
        size = changes["change"].abs().to_numpy()
        own = changes["lap"].is_in(trouble.laps).to_numpy()
        rank, total = 1 + int((size > size[own].max()).sum()), float(size.sum())
        share = float(size[own].sum()) / total if total > 0.0 else 0.0
        yield race_id, trouble.driver_id, cause, cut, trouble.lap, changes.height, rank, share


def by_chance(laps: int, best: int) -> float:
    """How often one of two laps is among the `best` of `laps` if laps do not matter."""
    left = max(laps - best, 0)
    return 1.0 - left * (left - 1) / (laps * (laps - 1))


def _trouble(cause: str, laps: pl.DataFrame, cut: int, rng: np.random.Generator) -> Trouble | None:
    """Trouble for a driver who has done nearly all laps so far: at a stop, or far from any."""
    made = laps.sort("driver_id", "lap").with_columns(
        stop=(pl.col("pit_in") | pl.col("pit_out")).fill_null(False),
        last=pl.col("lap").max().over("driver_id"),
        quiet=~pl.col("track_status").fill_null("1").str.contains("[4567]"),
    )
    near = pl.any_horizontal(pl.col("stop").shift(by).over("driver_id").fill_null(False) for by in range(-3, 4))
    quiet = pl.all_horizontal(pl.col("quiet").shift(by).over("driver_id").fill_null(True) for by in range(-1, 2))
    fitting = (pl.col("pit_in").fill_null(False) if cause == "slow stop" else ~near) & quiet
    inside = pl.col("lap").is_between(FIRST, cut - RECENT - 1) & (pl.col("last") >= cut - 1)
    choice = made.filter(inside & fitting)
    if choice.is_empty():
        return None
    row = choice.row(int(rng.integers(choice.height)), named=True)
    if cause == "slow stop":
        seconds = (0.0, float(rng.uniform(*SLOW_STOP_S)))
    else:
        seconds = (float(rng.uniform(*PUNCTURE_S)), float(rng.uniform(*TYRES_S)))
    return Trouble(cause, row["driver_id"], row["lap"], seconds)


def _changes(
    forecaster: RaceForecaster,
    archive: RaceArchive,
    known: features.RaceFeatures,
    race_id: str,
    horizon: AfterLap,
    trouble: Trouble,
    target: str | None,
) -> pl.DataFrame:
    """What each lap of the driver's picture adds to the forecast."""
    snapshot = archive.snapshot(race_id, horizon)
    row = snapshot.driver_ids.index(trouble.driver_id)
    tables = torch.from_numpy(forecaster.normaliser.transform(forecaster.table(snapshot, known.values(snapshot))))
    question = question_about(forecaster, snapshot, row, tables, target)
    drawn = picture_of(snapshot, trouble.driver_id, forecaster.generator)
    return lap_changes(forecaster, question, drawn, tables[row : row + 1])
