"""Races of canonical tables as dense arrays, with what their lap times tell: slow phases, stops, stint laps.

For measuring real and simulated races alike: nothing here asks where a race came from, and everything is read
from lap times alone, because stops and track status were not recorded in every year.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict.schemas import Tables

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

SLOW_PHASE = 1.12
"""A lap on which the field's median is this many times the usual of the laps around it is one under a safety car."""
OWN_LAPS, FIELD_LAPS = 5, 12
"""Laps on either side that tell what is usual for a car, and for the field."""
STOP_S = 11.0
"""Seconds lost over two laps, against the car's own usual pace, from which they are taken for a stop."""
MISTAKE = 0.05
"""A lap that is slower than the car's usual one by this share is no racing lap."""
NOT_STARTED = ("Did not qualify", "Did not prequalify", "Did not start", "Withdrew", "107% Rule", "Excluded")
"""Statuses of cars that took no part in the race."""


@dataclass(frozen=True)
class RaceArrays:
    """One race; shapes (laps, cars) unless said otherwise, cars in the order of the result.

    Attributes:
        race_id, season, round, scheduled: the race.
        time_s: lap times, NaN = not driven, or not to be believed.
        end_s: since the start, NaN = not driven.
        place: running order at the end of the lap, NaN = not driven.
        pit_in: whether the lap was recorded to end in the pits; None = nothing was recorded.
        status: track status codes seen during the lap; None = nothing was recorded.
        grid, laps_done: (cars,); grid 0 = pit lane.
        classified, retired: (cars,).
        reason: (cars,) the result's status.
        qualifying_s: (cars,) best time of qualifying, NaN = none.
        driver, team: (cars,) names.
        wet: whether rain tyres were used; None = tyres were not recorded.
    """

    race_id: str
    season: int
    round: int
    scheduled: int
    time_s: Floats
    end_s: Floats
    place: Floats
    pit_in: Bools | None
    status: NDArray[np.str_] | None
    grid: Ints
    laps_done: Ints
    classified: Bools
    retired: Bools
    reason: list[str]
    qualifying_s: Floats
    driver: list[str]
    team: list[str]
    wet: bool | None


@dataclass(frozen=True)
class Reading:
    """What the lap times of a race tell; shapes (laps, cars) unless said otherwise.

    Attributes:
        field_s: (laps,) the field's median lap time.
        slow: (laps,) laps under a safety car (of either kind) or a red flag.
        relative: lap time against the field's median of the same lap, less 1; above 0 = slower.
        stop: laps that ended in the pits, where no slow phase hides it.
        age: laps since the start or the last stop, counted from 0.
        clean: racing laps: no start, stop, slow phase or mistake.
        loss_s: seconds lost by the stop that ends the lap, over both its laps; NaN = no stop.
    """

    field_s: Floats
    slow: Bools
    relative: Floats
    stop: Bools
    age: Ints
    clean: Bools
    loss_s: Floats


def median(values: Floats, axis: int = 0) -> Floats:
    """The median along an axis without NaN; NaN where there is nothing else. (np.nanmedian is far slower.)"""
    ordered = np.sort(values, axis=axis)
    count = np.sum(~np.isnan(values), axis=axis, keepdims=True)
    low, high = np.maximum((count - 1) // 2, 0), count // 2
    middle = np.take_along_axis(ordered, low, axis) + np.take_along_axis(ordered, np.minimum(high, low + 1), axis)
    return np.asarray(np.squeeze(np.where(count > 0, middle / 2.0, np.nan), axis))


def _windows(values: Floats, reach: int) -> Floats:
    """Each lap with `reach` laps before and behind: (laps, ..., 2 reach + 1), NaN beyond the ends."""
    padding = ((reach, reach), *((0, 0),) * (values.ndim - 1))
    padded = np.pad(values, padding, constant_values=np.nan)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0))


def read_race(race: RaceArrays) -> Reading:
    """Slow phases, stops, stint laps and racing laps of a race from its lap times."""
    time_s = race.time_s
    field_s = median(time_s, axis=1)
    racing_s = field_s.copy()
    racing_s[:1] = np.nan
    around = np.sort(_windows(racing_s, FIELD_LAPS), axis=-1)
    known = np.sum(~np.isnan(around), axis=-1)
    usual = np.take_along_axis(around, (0.3 * np.maximum(known - 1, 0)).astype(np.int64)[:, None], axis=-1)[:, 0]
    slow = field_s > SLOW_PHASE * usual
    slow[:1] = False
    relative = time_s / field_s[:, None] - 1.0
    racing = np.where(slow[:, None], np.nan, relative)
    racing[:1] = np.nan
    excess = racing - median(_windows(racing, OWN_LAPS), axis=-1)
    stop, loss_s = _stops(excess * field_s[:, None])
    after = np.zeros_like(stop)
    after[1:] = stop[:-1]
    lap = np.arange(time_s.shape[0])[:, None]
    begun = np.maximum.accumulate(np.where(after, lap, 0), axis=0)
    clean = ~(stop | after) & (np.abs(excess) < MISTAKE)  # NaN: not driven, a slow phase, or the start
    return Reading(field_s, slow, relative, stop, lap - begun, clean, loss_s)


def _stops(lost_s: Floats) -> tuple[Bools, Floats]:
    """Laps that ended in the pits, and the seconds lost by it: both laps are slow, or one is very slow."""
    here = np.nan_to_num(lost_s)
    behind = np.zeros_like(here)
    behind[:-1] = here[1:]
    pair = here + behind
    candidate = (pair > STOP_S) & (here > -1.5) & (behind > 1.0) & ~np.isnan(lost_s)
    for shift in (-1, 1):  # of neighbouring candidates only the costliest
        beside = np.roll(np.where(candidate, pair, 0.0), shift, axis=0)
        beside[-1 if shift == -1 else 0] = 0.0
        candidate &= pair >= beside
    return candidate, np.where(candidate, pair, np.nan)


def races_as_arrays(tables: Tables) -> Iterator[RaceArrays]:
    """The races that have laps, in the order of time."""
    races = tables.races.sort("season", "round")
    qualifying = pl.min_horizontal("q1_s", "q2_s", "q3_s").alias("qualifying_s")
    entries = tables.entries.select("race_id", "driver_id", "constructor_id", "grid", qualifying)
    laps = dict(zip(*_parts(tables.laps), strict=True))
    results = tables.results.join(entries, on=["race_id", "driver_id"], how="left").sort("position")
    cars = dict(zip(*_parts(results), strict=True))
    for race in races.iter_rows(named=True):
        if race["race_id"] in laps and race["race_id"] in cars:
            yield _race(race, cars[race["race_id"]], laps[race["race_id"]])


def _parts(frame: pl.DataFrame) -> tuple[list[str], list[pl.DataFrame]]:
    parts = frame.partition_by("race_id", maintain_order=True)
    return [part["race_id"][0] for part in parts], parts


def _race(race: dict[str, object], cars: pl.DataFrame, laps: pl.DataFrame) -> RaceArrays:
    reasons = cars["status"].to_list()
    started = np.array([reason not in NOT_STARTED for reason in reasons])
    cars = cars.filter(pl.Series(started))
    numbers = cars.select("driver_id", car=pl.int_range(pl.len()))
    rows = laps.join(numbers, on="driver_id", how="inner")
    at = (rows["lap"].to_numpy() - 1, rows["car"].to_numpy())
    shape = (int(rows["lap"].to_numpy().max(initial=1)), cars.height)

    def dense(values: NDArray[Scalar], empty: object) -> NDArray[Scalar]:
        grid: NDArray[Scalar] = np.full(shape, empty, dtype=values.dtype)
        grid[at] = values
        return grid

    believed = rows.select(pl.when(~pl.col("implausible")).then("lap_time_s")).to_series().to_numpy()
    tyres = rows["compound"].drop_nulls()
    classified = cars["classified"].to_numpy()
    reason = cars["status"].to_list()
    return RaceArrays(
        race_id=str(race["race_id"]),
        season=int(str(race["season"])),
        round=int(str(race["round"])),
        scheduled=int(str(race["scheduled_laps"])),
        time_s=dense(believed.astype(np.float64), np.nan),
        end_s=dense(rows["end_time_s"].to_numpy(), np.nan),
        place=dense(rows["position"].to_numpy().astype(np.float64), np.nan),
        pit_in=None if rows["pit_in"].is_null().any() else dense(rows["pit_in"].to_numpy(), False),
        status=None
        if rows["track_status"].is_null().mean() > 0.02  # type: ignore[operator]
        else dense(rows["track_status"].fill_null("1").to_numpy().astype(np.str_), ""),
        grid=cars["grid"].fill_null(0).to_numpy().astype(np.int64),
        laps_done=cars["laps_completed"].to_numpy().astype(np.int64),
        classified=classified,
        retired=~classified & np.array([text != "Disqualified" for text in reason]),
        reason=reason,
        qualifying_s=cars["qualifying_s"].to_numpy().astype(np.float64),
        driver=cars["driver_id"].to_list(),
        team=cars["constructor_id"].to_list(),
        wet=bool(tyres.is_in(["INTERMEDIATE", "WET"]).mean() > 0.02) if tyres.len() else None,  # type: ignore[operator]
    )
