"""From laps to the numbers of a speed trace: speed against the field, gap, running position.

Sees a Snapshot or plain lists of laps, and nothing else: the result of a race cannot get in here. It must not
know how pictures are drawn or where they are stored.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.errors import PictureError
from f1_predict.horizon import PreRace, Snapshot

Scale = Literal["relative", "absolute"]
"""What the speed panel shows: per cent against the field's median, or km/h (for people)."""
Unit = Literal["kmh", "s"]
"""What a list of laps holds: lap speeds in km/h, or lap times in seconds."""
Kind = Literal["race", "past", "laps", "solo"]
"""Which panels there are: a race so far, past races, lists of laps with a field, a list of laps alone."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SCALES: tuple[Scale, ...] = ("relative", "absolute")
UNITS: tuple[Unit, ...] = ("kmh", "s")
_LAP_COLUMNS = ("lap_time_s", "end_time_s", "position", "pit_in", "speed_kmh")
MAX_LAPS = 1000
"""A list with more laps than this is refused; no race has a quarter of it."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One car's laps in one race. All arrays have shape (laps,); NaN breaks the line.

    Attributes:
        x: where the lap ended on the horizontal axis, 0 (start) to 1 (scheduled distance).
        speed: per cent against the field's median, or km/h.
        gap: seconds behind the first car to end that lap.
        position: running position, 1 is first; at x = 0 the grid slot where it is known.
        pit: the lap ended in the pit lane, as far as that is recorded.
    """

    x: Floats
    speed: Floats
    gap: Floats
    position: Floats
    pit: Bools


@dataclass(frozen=True)
class AxesKey:
    """Everything that the axes depend on: pictures with equal keys share their axes.

    Attributes:
        kind: which panels there are.
        scale: what the speed panel shows.
        laps: laps on the horizontal axis; 0 for the share of the distance.
        positions: lowest running position on the vertical axis.
        speed_range: km/h at the bottom and top of the speed panel; (0, 0) on scale "relative".
    """

    kind: Kind
    scale: Scale
    laps: int
    positions: int
    speed_range: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Scene:
    """All that the pictures of one race and cut show.

    Attributes:
        axes: the shared axes.
        pace_x, pace: the field's own pace per lap in per cent of its racing pace, for the strip at the top.
        field: the traces drawn faintly behind every driver.
        drivers: the traces of each driver who has any, oldest race first.
        facts: gives a few lines on a driver for the right-hand side, (what, value).
    """

    axes: AxesKey
    pace_x: Floats
    pace: Floats
    field: list[Trace]
    drivers: dict[str, list[Trace]]
    facts: Callable[[str], list[tuple[str, str]]]


@dataclass(frozen=True, eq=False)
class LapTable:
    """The laps of one race as arrays (drivers, laps + 1); column k is lap k, column 0 the start."""

    time: Floats
    end: Floats
    position: Floats
    pit: Bools
    pit_known: Bools
    speed: Floats


def lap_table(laps: pl.DataFrame, driver_ids: Sequence[str], course_length_km: float | None) -> LapTable:
    """Spread canonical laps into arrays; laps that are missing are NaN.

    Args:
        laps: rows of `laps` of one race.
        driver_ids: the rows of the arrays; laps of other drivers are left out.
        course_length_km: for laps without a recorded speed.
    """
    code = laps["driver_id"].cast(pl.Enum(list(driver_ids)), strict=False).to_physical()
    rows = code.cast(pl.Int64).fill_null(-1).to_numpy()
    keep = rows >= 0
    values = laps.select(pl.col(*_LAP_COLUMNS).cast(pl.Float64)).to_numpy()[keep]  # null becomes NaN
    rows, columns = rows[keep], laps["lap"].to_numpy()[keep]
    spread = np.full((len(_LAP_COLUMNS), len(driver_ids), int(columns.max(initial=0)) + 1), np.nan)
    spread[:, rows, columns] = values.T
    time, end, position, pit, speed = spread
    if course_length_km is not None:
        speed = np.where(np.isnan(speed), course_length_km * 3600.0 / time, speed)
    return LapTable(time, end, position, pit == 1.0, ~np.isnan(pit), speed)


def field_reference(time: Floats) -> tuple[Floats, Bools]:
    """The field's median lap time, lap by lap, and on which laps the field set it.

    The median of a lap counts when at least half as many cars have done the lap as did the last lap that
    counts. Otherwise (the leader alone at a cut, the last lap of those not lapped) the last one stands: the
    leader would else be compared with himself.

    Args:
        time: lap times, shape (drivers, laps), NaN where missing.

    Returns:
        Median (laps,), NaN before the first lap that anyone has done, and whether it is that lap's own (laps,).
    """
    if len(time) == 0:
        return np.full(time.shape[1], np.nan), np.zeros(time.shape[1], dtype=np.bool_)
    count = (~np.isnan(time)).sum(axis=0)
    ordered = np.sort(time, axis=0)  # NaN last
    every = np.arange(time.shape[1])
    middle = (ordered[np.maximum(count - 1, 0) // 2, every] + ordered[count // 2, every]) / 2.0
    reference, own = np.full(len(every), np.nan), np.zeros(len(every), dtype=np.bool_)
    last, cars = math.nan, 0
    for lap in every:
        if count[lap] > 0 and 2 * count[lap] >= cars:
            last, cars, own[lap] = middle[lap], int(count[lap]), True
        reference[lap] = last
    return reference, own


def relative_speed(time: Floats, reference: Floats) -> Floats:
    """Speed against the field in per cent: 100 x (reference time / own time - 1)."""
    return 100.0 * (reference / time - 1.0)


def field_pace(reference: Floats, own: Bools) -> Floats:
    """The field's speed on each lap in per cent of its racing pace so far; NaN where it set no median.

    Racing pace is the faster quartile of the medians, so that a safety car in the first laps is not taken
    for racing.
    """
    pace = np.full(len(reference), np.nan)
    if own.any():
        pace[own] = 100.0 * (np.quantile(reference[own], 0.25) / reference[own] - 1.0)
    return pace


def race_traces(table: LapTable, grid: Floats | None, distance: int, scale: Scale) -> list[Trace]:
    """One trace per driver of a race; `grid` gives the position at the start, `distance` the laps at x = 1."""
    laps = table.time.shape[1]
    x = np.arange(laps) / distance
    speed = table.speed if scale == "absolute" else relative_speed(table.time, field_reference(table.time)[0])
    first = np.where(np.isnan(table.end), np.inf, table.end).min(axis=0, initial=np.inf)
    gap = table.end - first
    position = table.position
    if grid is not None:
        position = position.copy()
        position[:, 0] = grid
    return [Trace(x, speed[i], gap[i], position[i], table.pit[i]) for i in range(len(table.time))]


def speed_range(speeds: Floats, where: str) -> tuple[float, float]:
    """The axis of scale "absolute": from 55 % of the fastest lap so far up to it, in steps of 10 km/h.

    Raises:
        PictureError: if no lap has a speed.
    """
    if np.isnan(speeds).all():
        raise PictureError(
            f"scale 'absolute' needs lap speeds in km/h, but {where} has neither speeds nor a course length. "
            "Use scale='relative'."
        )
    top = math.ceil(float(np.nanmax(speeds)) / 10.0) * 10.0
    return math.floor(0.055 * top) * 10.0, top


def scene_of_snapshot(snapshot: Snapshot, scale: Scale, past_races: int) -> Scene:
    """What the pictures of a snapshot show.

    Raises:
        PictureError: if scale "absolute" is asked for and no speed is known.
    """
    if isinstance(snapshot.horizon, PreRace):
        return _scene_of_past(snapshot, scale, past_races)
    drivers = snapshot.driver_ids
    race = snapshot.race
    table = lap_table(snapshot.laps, drivers, race.course_length_km)
    slots = snapshot.entries["grid"].to_numpy().astype(np.float64)
    grid = np.where(slots == 0, len(drivers), np.minimum(slots, len(drivers)))
    distance = max(race.scheduled_laps, table.time.shape[1] - 1)
    traces = race_traces(table, grid, distance, scale)
    lowest = int(np.nanmax(table.position, initial=len(drivers)))
    reference, own = field_reference(table.time)
    shown: list[int] = np.flatnonzero((~np.isnan(table.time)).any(axis=1)).tolist()
    limits = (0.0, 0.0)
    if scale == "absolute" and shown:
        limits = speed_range(np.where(table.time > 0, table.speed, np.nan), race.race_id)
    return Scene(
        axes=AxesKey("race", scale, distance, max(lowest, 2), limits),
        pace_x=np.arange(len(reference)) / distance,
        pace=field_pace(reference, own),
        field=[traces[i] for i in shown],
        drivers={drivers[i]: [traces[i]] for i in shown},
        facts=lambda driver: _facts(table, drivers.index(driver), slots, race.scheduled_laps),
    )


def _facts(table: LapTable, row: int, slots: Floats, scheduled: int) -> list[tuple[str, str]]:
    grid = int(slots[row])
    lap = int(np.flatnonzero(~np.isnan(table.time[row]))[-1])
    gap = table.end[row, lap] - np.nanmin(table.end[:, lap])
    known = table.pit_known[row].any()
    return [
        ("Last lap shown", f"{lap} of {scheduled}"),
        ("Running position", f"{table.position[row, lap]:.0f}"),
        ("Gap to the leader", "none, leads" if gap == 0.0 else f"{gap:.1f} s"),
        ("Grid slot", str(grid) if grid else "pit lane"),
        ("Pit lane visits", str(int(table.pit[row].sum())) if known else "not recorded"),
    ]


def last_races(snapshot: Snapshot, count: int) -> tuple[dict[str, list[str]], pl.DataFrame, dict[str, pl.DataFrame]]:
    """The last `count` races in which each starter has laps.

    Returns:
        race_ids by driver_id, older ones first; the rows of `races` of all these; their laps by race_id.
    """
    runs = snapshot.past_runs.filter(pl.col("driver_id").is_in(snapshot.driver_ids))
    driven = runs.group_by("driver_id", maintain_order=True).agg(pl.col("race_id").tail(count))
    wanted: dict[str, list[str]] = dict(driven.iter_rows())
    shown = {race_id for races in wanted.values() for race_id in races}
    calendar = snapshot.past.races.filter(pl.col("race_id").is_in(shown))
    laps = snapshot.past.laps.filter(pl.col("race_id").is_in(shown))
    by_race = {key[0]: frame for key, frame in laps.partition_by("race_id", as_dict=True).items()}
    return wanted, calendar, by_race


def _scene_of_past(snapshot: Snapshot, scale: Scale, past_races: int) -> Scene:
    """The last races in which each starter has laps, over the share of the distance; older ones first."""
    drivers = snapshot.driver_ids
    wanted, calendar, by_race = last_races(snapshot, past_races)
    traces: dict[tuple[str, str], Trace] = {}
    lowest, speeds = max(len(drivers), 2), [np.array([np.nan])]
    for race_id, length, scheduled in calendar.select("race_id", "course_length_km", "scheduled_laps").iter_rows():
        cars = by_race[race_id]["driver_id"].unique(maintain_order=True).to_list()
        table = lap_table(by_race[race_id], cars, length)
        distance = max(scheduled, table.time.shape[1] - 1)
        lowest = max(lowest, int(np.nanmax(table.position)))
        speeds.append(table.speed.ravel())
        for car, trace in zip(cars, race_traces(table, None, distance, scale), strict=True):
            traces[car, race_id] = trace
    limits = speed_range(np.concatenate(speeds), "the past") if scale == "absolute" and wanted else (0.0, 0.0)
    shown = {d: [traces[d, race_id] for race_id in wanted[d]] for d in drivers if d in wanted}
    return Scene(
        axes=AxesKey("past", scale, 0, lowest, limits),
        pace_x=np.empty(0),
        pace=np.empty(0),
        field=[own_traces[-1] for own_traces in shown.values()],
        drivers=shown,
        facts=lambda driver: [
            ("Races shown", str(len(wanted[driver]))),
            ("Latest", wanted[driver][-1].replace("_", " ")),
        ],
    )


def checked_laps(values: object, unit: Unit, where: str) -> Floats:
    """Laps given as a list, as lap times (seconds, or hours per kilometre for speeds); None and NaN are missing.

    Raises:
        PictureError: if there is no lap, or one that is no number, infinite, zero or negative; names the lap.
    """
    what = "lap speeds in km/h" if unit == "kmh" else "lap times in seconds"
    if values is None or isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise PictureError(f"{where}: must be a list of {what}, got {type(values).__name__}. Give one number a lap.")
    laps = list(values)
    if not 1 <= len(laps) <= MAX_LAPS:
        raise PictureError(f"{where}: must hold 1 to {MAX_LAPS} {what}, got {len(laps)}. Give one number a lap.")
    out = np.full(len(laps), np.nan)
    for i, value in enumerate(laps):
        if value is None:
            continue
        try:
            out[i] = float(value)
        except (TypeError, ValueError) as error:
            raise PictureError(
                f"{where}: lap {i + 1} must be a number, got {value!r}. Use None for a missing lap."
            ) from error
        if math.isinf(out[i]) or out[i] <= 0.0:
            raise PictureError(
                f"{where}: lap {i + 1} must be finite and above zero, got {value!r}. Use None for a missing lap."
            )
    if np.isnan(out).all():
        raise PictureError(
            f"{where}: all {len(laps)} laps are missing (None or NaN). At least one lap must be a number."
        )
    return 1.0 / out if unit == "kmh" else out


def scene_of_lists(
    times: Mapping[str, Floats],
    drawn: Sequence[str],
    *,
    unit: Unit,
    scale: Scale,
    scheduled_laps: int | None,
    where: str,
) -> Scene:
    """What pictures of plain lists show: the speed panel, and the field's pace where there is a field.

    Args:
        times: laps of every car as `checked_laps` gives them, each (laps,).
        drawn: the drivers to draw, keys of `times`.
        unit: what the lists held.
        scale: "relative" or "absolute".
        scheduled_laps: laps on the horizontal axis, if more than any list has.
        where: names the race in messages.

    Raises:
        PictureError: if scheduled_laps is less than 1, or scale "absolute" is asked for with lap times.
    """
    longest = max(len(laps) for laps in times.values())
    try:
        distance = max(longest, longest if scheduled_laps is None else operator.index(scheduled_laps))
    except TypeError:
        distance = 0
    if distance < 1 or (scheduled_laps is not None and not 1 <= scheduled_laps <= MAX_LAPS):
        raise PictureError(
            f"{where}: scheduled_laps must be a whole number from 1 to {MAX_LAPS}, got {scheduled_laps!r}."
        )
    time = np.full((len(times), longest + 1), np.nan)
    for row, laps in zip(time, times.values(), strict=True):
        row[1 : len(laps) + 1] = laps
    alone = len(times) == 1
    reference, own = field_reference(time)
    if alone:
        reference = np.full(longest + 1, np.nanmedian(time))
    limits = (0.0, 0.0)
    speed = relative_speed(time, reference)
    if scale == "absolute":
        speed = np.full(time.shape, np.nan) if unit == "s" else 1.0 / time
        limits = speed_range(speed, f"{where} (lap times)")
    x = np.arange(longest + 1) / distance
    nothing, never = np.full(longest + 1, np.nan), np.zeros(longest + 1, dtype=np.bool_)
    traces = {driver: Trace(x, speed[i], nothing, nothing, never) for i, driver in enumerate(times)}
    return Scene(
        axes=AxesKey("solo" if alone else "laps", scale, distance, 2, limits),
        pace_x=x,
        pace=nothing if alone else field_pace(reference, own),
        field=[] if alone else list(traces.values()),
        drivers={driver: [traces[driver]] for driver in drawn},
        facts=lambda driver: _list_facts(times[driver], unit),
    )


def _list_facts(times: Floats, unit: Unit) -> list[tuple[str, str]]:
    def lap(time: float) -> str:
        return f"{1.0 / time:.1f} km/h" if unit == "kmh" else f"{time:.3f} s"

    return [
        ("Laps with a value", f"{np.isfinite(times).sum()} of {len(times)}"),
        ("Fastest lap", lap(float(np.nanmin(times)))),
        ("Median lap", lap(float(np.nanmedian(times)))),
    ]
