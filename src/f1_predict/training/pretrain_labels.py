"""What the backbone is asked to read from a picture: the tasks, and their answers from simulated tables.

Answers come from the whole canonical tables of a simulated race; the picture shows only what was recorded up to its
cut. Knows nothing of pictures or networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict.models.trace_data import field_reference, lap_table, relative_speed

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]
Kind = Literal["value", "chance"]


class Put(Protocol):
    """Writes the answers (n,) of a task, where it has some."""

    def __call__(self, name: str, values: Floats, where: Booleans | bool = True) -> None:
        """Write them."""
        ...


@dataclass(frozen=True)
class Task:
    """One number asked of a picture.

    Attributes:
        name: in logs and cards.
        kind: "value" is a number, learnt as (number - centre) / scale; "chance" is 0 or 1.
        weight: of its loss in the sum.
        centre, scale: about the mean and the standard deviation of a value.
    """

    name: str
    kind: Kind
    weight: float
    centre: float = 0.0
    scale: float = 1.0


TASKS = (
    Task("finish_place", "value", 2.0, 0.5, 0.29),  # (position - 1/2) / cars
    Task("place", "value", 2.0, 0.5, 0.29),  # running position now, likewise
    Task("gap_leader", "value", 0.7, 3.3, 1.2),  # ln(1 + seconds)
    Task("gap_ahead", "value", 0.5, 1.3, 0.9),
    Task("gap_behind", "value", 0.5, 1.3, 0.9),
    Task("pace_now", "value", 0.7, 0.0, 1.0),  # per cent against the field, mean of the last clean laps
    Task("pace_race", "value", 0.7, 0.0, 0.8),  # the same, median of all clean laps so far
    Task("wear", "value", 0.3, 0.0, 0.08),  # per cent a lap, slope of the speed against the field in the stint
    Task("stops", "value", 0.5, 1.0, 1.0),
    Task("since_stop", "value", 0.5, 0.2, 0.15),  # share of the distance
    Task("left", "value", 0.5, 0.5, 0.27),  # share of the distance
    Task("grid", "value", 0.7, 0.5, 0.29),  # slot as a place
    Task("form_place", "value", 1.0, 0.5, 0.25),  # before the start: mean place at the end of the shown races
    Task("form_pace", "value", 0.7, 0.0, 0.8),  # before the start: mean of the shown races' median speeds
    Task("finish", "chance", 0.7),  # classified
    Task("running", "chance", 0.5),  # does another lap
    Task("safety_car", "chance", 0.3),  # now
)
"""All tasks beside the distribution of the finishing position, which is learnt from finish_place's answer."""
COLUMN = {task.name: i for i, task in enumerate(TASKS)}

PACE_LAPS = 5
WEAR_LAPS = 5
"""Fewest clean laps of a stint that a slope is taken of."""
_CLIP = {"pace_now": 4.0, "pace_race": 4.0, "wear": 0.3, "form_pace": 4.0}
_CLEAN = 4.0
"""A lap further than this from the field's median, per cent, says nothing of pace."""


@dataclass(frozen=True, eq=False)
class RaceTruth:
    """One simulated race as arrays, rows in the order of `driver_ids`; (n, laps + 1) with column k lap k.

    Attributes:
        driver_ids: the starters.
        end: seconds since the start, NaN where a lap was not done.
        speed: per cent against the field's median lap.
        clean: laps that tell of pace: no stop, no safety car, not the first.
        pit: the lap ended in the pit lane.
        caution: (laps + 1,) a safety car was out when the leader ended the lap; NaN where nothing is recorded.
        grid: (n,) slot from 1; the pit lane is the last.
        place: (n,) finishing position.
        classified: (n,).
        scheduled: laps.
        pits_known: whether stops are recorded.
    """

    driver_ids: list[str]
    end: Floats
    speed: Floats
    clean: Booleans
    pit: Booleans
    caution: Floats
    grid: Floats
    place: Floats
    classified: Booleans
    scheduled: int
    pits_known: bool


def race_truth(entries: pl.DataFrame, laps: pl.DataFrame, results: pl.DataFrame, scheduled: int) -> RaceTruth:
    """All rows of one race, as simulated, as arrays."""
    drivers = entries["driver_id"].to_list()
    table = lap_table(laps, drivers, None)
    number = {driver: row for row, driver in enumerate(drivers)}
    speed = relative_speed(table.time, field_reference(table.time)[0])
    cautious, caution = _cautions(laps, number, table.end)
    out = np.zeros_like(table.pit)
    out[:, 1:] = table.pit[:, :-1]
    clean = np.isfinite(speed) & ~table.pit & ~out & ~cautious & (np.abs(speed) < _CLEAN)
    clean[:, :2] = False
    finish = entries.select("driver_id", "grid").join(results, on="driver_id", how="left", maintain_order="left")
    slots = finish["grid"].to_numpy().astype(np.float64)
    return RaceTruth(
        driver_ids=drivers,
        end=table.end,
        speed=speed,
        clean=clean,
        pit=table.pit,
        caution=caution,
        grid=np.where(slots == 0, len(drivers), np.minimum(slots, len(drivers))),
        place=finish["position"].to_numpy().astype(np.float64),
        classified=finish["classified"].to_numpy().astype(np.bool_),
        scheduled=scheduled,
        pits_known=bool(table.pit_known.any()),
    )


def _cautions(laps: pl.DataFrame, number: dict[str, int], end: Floats) -> tuple[Booleans, Floats]:
    """Laps with a safety car in them (n, laps + 1), and whether there was one on the leader's lap (laps + 1,)."""
    cautious, known = np.zeros(end.shape, dtype=np.bool_), np.zeros(end.shape, dtype=np.bool_)
    rows = laps["driver_id"].replace_strict(number, return_dtype=pl.Int64).to_numpy()
    columns = laps["lap"].to_numpy()
    cautious[rows, columns] = laps["track_status"].str.contains("[4-7]").fill_null(False).to_numpy()
    known[rows, columns] = laps["track_status"].is_not_null().to_numpy()
    leader = np.argmin(np.where(np.isnan(end), np.inf, end), axis=0)
    every = np.arange(end.shape[1])
    return cautious, np.where(known[leader, every], cautious[leader, every], np.nan)


def answers_after(truth: RaceTruth, cut_time_s: float, lap: int) -> Floats:
    """The answers for every starter at a cut during a race: float64 (n, tasks), NaN where a task has none.

    Args:
        truth: the race.
        cut_time_s: seconds since the start.
        lap: that the leader has completed.
    """
    n = len(truth.driver_ids)
    every = np.arange(n)
    done = truth.end <= cut_time_s  # False where NaN
    last = np.where(done, np.arange(done.shape[1]), 0).max(axis=1)
    ended = np.where(last > 0, truth.end[every, last], 0.0)
    order = np.lexsort((truth.grid, ended, -last))
    place = np.empty(n)
    place[order] = np.arange(n)
    more = (truth.end > cut_time_s).any(axis=1)
    over = not bool(more.any())

    result = np.full((n, len(TASKS)), np.nan)

    def put(name: str, values: Floats | float, where: Booleans | bool = True) -> None:
        limit = _CLIP.get(name, np.inf)
        result[:, COLUMN[name]] = np.where(where, np.clip(values, -limit, limit), np.nan)

    put("finish_place", (truth.place - 0.5) / n)
    put("place", (place + 0.5) / n)
    put("grid", (truth.grid - 0.5) / n)
    put("left", (truth.scheduled - lap) / truth.scheduled)
    put("finish", truth.classified.astype(np.float64))
    put("running", more.astype(np.float64), not over)
    put("safety_car", float(truth.caution[lap]))
    first = np.where(np.isnan(truth.end), np.inf, truth.end).min(axis=0)
    put("gap_leader", np.log1p(np.maximum(ended - first[last], 0.0)), last > 0)
    ahead, behind = _gaps(truth.end, order, last, np.asarray(more | over))
    put("gap_ahead", np.log1p(ahead))
    put("gap_behind", np.log1p(behind))
    _pace(truth, done, last, put)
    return result


def _gaps(end: Floats, order: Integers, last: Integers, running: Booleans) -> tuple[Floats, Floats]:
    """Seconds to the next running car ahead and behind, on the last lap both have ended; NaN where there is none."""
    ahead, behind = np.full(len(last), np.nan), np.full(len(last), np.nan)
    cars = order[running[order] & (last[order] > 0)]
    front, back = cars[:-1], cars[1:]
    lap = last[back]
    gap = np.maximum(end[back, lap] - end[front, lap], 0.0)
    ahead[back], behind[front] = gap, gap
    return ahead, behind


def _pace(truth: RaceTruth, done: Booleans, last: Integers, put: Put) -> None:
    """The answers that are made of the laps so far."""
    clean = truth.clean & done
    laps = np.arange(done.shape[1])
    after = clean[:, ::-1].cumsum(axis=1)[:, ::-1]  # clean laps from this one on
    recent = clean & (after <= PACE_LAPS)
    count = recent.sum(axis=1)
    speed = np.where(clean, truth.speed, np.nan)
    put("pace_now", np.where(recent, truth.speed, 0.0).sum(axis=1) / np.maximum(count, 1), count >= 2)
    put("pace_race", _median(speed), clean.sum(axis=1) >= 3)

    stopped = truth.pit & done
    stop = np.where(stopped, laps, 0).max(axis=1)
    put("stops", stopped.sum(axis=1).astype(np.float64), truth.pits_known)
    put("since_stop", (last - stop) / truth.scheduled, truth.pits_known & (last > 0))
    stint = clean & (laps > stop[:, None])
    many = stint.sum(axis=1)
    x = np.where(stint, laps - _mean(laps[None], stint)[:, None], 0.0)
    slope = (x * np.where(stint, truth.speed, 0.0)).sum(axis=1) / np.maximum((x * x).sum(axis=1), 1e-9)
    put("wear", slope, truth.pits_known & (many >= WEAR_LAPS))


def _mean(values: NDArray[np.generic], where: Booleans) -> Floats:
    """Mean along the laps of the values at `where`; 0 where there are none."""
    return np.asarray(np.where(where, values, 0.0).sum(axis=1) / np.maximum(where.sum(axis=1), 1))


def _median(values: Floats) -> Floats:
    """Median along the laps of the values that are not NaN; NaN where there are none."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = (~np.isnan(values)).sum(axis=1)
    rows = np.arange(len(values))
    return np.asarray((ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, count // 2]) / 2.0)


def answers_before(truth: RaceTruth, past: list[RaceTruth], races: int) -> Floats:
    """The answers for every starter before the start: float64 (n, tasks), NaN where a task has none.

    Args:
        truth: the race to come.
        past: the races before it, oldest first.
        races: how many of a driver's last ones a picture shows.
    """
    n = len(truth.driver_ids)
    result = np.full((n, len(TASKS)), np.nan)
    result[:, COLUMN["finish_place"]] = (truth.place - 0.5) / n
    result[:, COLUMN["finish"]] = truth.classified
    form: dict[str, list[tuple[float, float]]] = {driver: [] for driver in truth.driver_ids}
    for race in past:
        cars = len(race.driver_ids)
        clean = np.where(race.clean, race.speed, np.nan)
        pace = np.where(race.clean.sum(axis=1) >= 3, _median(clean), np.nan)
        last = np.where(np.isnan(race.end), 0, np.arange(race.end.shape[1])).max(axis=1)
        order = np.lexsort((race.end[np.arange(cars), last], -last))
        place = np.empty(cars)
        place[order] = (np.arange(cars) + 0.5) / cars
        for row in np.flatnonzero(last > 0).tolist():
            if race.driver_ids[row] in form:
                form[race.driver_ids[row]].append((place[row], pace[row]))
    for row, driver in enumerate(truth.driver_ids):
        shown = np.array(form[driver][-races:]).reshape(-1, 2)
        if len(shown):
            result[row, COLUMN["form_place"]] = shown[:, 0].mean()
            if np.isfinite(shown[:, 1]).any():
                limit = _CLIP["form_pace"]
                result[row, COLUMN["form_pace"]] = np.clip(np.nanmean(shown[:, 1]), -limit, limit)
    return result
