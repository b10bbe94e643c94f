"""From a Snapshot to the numbers of a `race` picture: what a pit wall reads off a race up to the cut.

Sees a Snapshot and nothing else, so the result of a race cannot get in here; stops, cautions and pace are judged as
the in-race features judge them. It must not know how pictures are drawn or where they are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from f1_predict.features.inrace import in_race_values
from f1_predict.features.inrace_catalogue import IN_RACE_NAMES
from f1_predict.features.inrace_cut import Cut, stops_made
from f1_predict.features.inrace_laps import last_known
from f1_predict.features.sessions import Field, latest_session_gap_pct, smallest
from f1_predict.horizon import FullRace, PreRace, Snapshot
from f1_predict.horizon.snapshot import RaceInfo
from f1_predict.models.trace_data import Bools, Floats, last_races
from f1_predict.schemas import COMPOUNDS, TABLE_NAMES, Tables, empty

FADE = 0.75
"""Weight of a clean lap in the smoothed pace, against the one after it: the last four laps make two thirds."""
SLOW_AS_IN_RAIN = 1.15
"""So much slower than the best time of qualifying and practice: what fuel and care cost in the dry stays below."""
RAIN_TYRES = COMPOUNDS.index("INTERMEDIATE") + 1
"""Compound codes from here on are tyres for rain; 0 stands for unknown."""

NOW = (
    "place", "start", "stopped", "overdue", "laps_left", "caution", "gap", "flag_gap", "net_gap", "expected",
    "expected_net", "net_rank", "stops", "stops_field", "compound", "age", "qualifying", "practice", "pace_all",
    "pace_stint", "pace_10", "pace_3",
)  # fmt: skip
"""Numbers on each car at the cut, see `Now`."""


@dataclass(frozen=True)
class RaceAxes:
    """Everything that the axes depend on: pictures with equal axes share them.

    Attributes:
        kind: a race so far, or past races.
        laps: laps on the horizontal axis; 0 for the share of the distance.
        positions: lowest running position on the vertical axis.
    """

    kind: Literal["race", "past"]
    laps: int
    positions: int


@dataclass(frozen=True, eq=False)
class History:
    """One race up to the cut, n cars. Matrices are (n, laps + 1), column k is lap k, column 0 the start; NaN = unknown.

    Attributes:
        x: (laps + 1,) where a lap ended, 0 (start) to 1 (scheduled distance).
        position: running position; column 0 the place on the grid.
        gap: seconds behind the first car to end that lap.
        end: seconds since the start.
        raw: per cent faster than the field's median of that lap.
        pace: the same over the clean laps so far, later ones weighing more.
        compound: code 1..9 as schemas.COMPOUNDS, 0 where a lap has no compound recorded.
        age: laps on the set; where not recorded laps since the last stop.
        stop: bool, the lap ended in the pit lane.
        stops_recorded: False where stops are judged from the time lost.
        caution: (laps + 1,) bool, safety car or red flag.
        caution_recorded: False where cautions are judged from the field's lap times.
        rain: (laps + 1,) bool, rain was measured, or most cars were on tyres for rain.
        slow: (laps + 1,) bool, no rain known of, but the field was slow as in rain.
        field_loss: (laps + 1,) per cent by which the field lapped slower than on its fastest lap so far.
    """

    x: Floats
    position: Floats
    gap: Floats
    end: Floats
    raw: Floats
    pace: Floats
    compound: Floats
    age: Floats
    stop: Bools
    stops_recorded: bool
    caution: Bools
    caution_recorded: bool
    rain: Bools
    slow: Bools
    field_loss: Floats


@dataclass(frozen=True, eq=False)
class RaceScene:
    """All that the `race` pictures of one race and cut show.

    Attributes:
        axes: the shared axes.
        histories: the races to draw; before the start several, else one.
        drivers: for each driver who can be drawn, (race, car) as indices into `histories` and their rows, oldest first.
        rows: each driver's row in `now`, `between`, `ahead` and `behind`.
        now: NOW -> (n,) numbers of the starters at the cut, NaN = unknown or not yet.
        between: (n, n) seconds by which car j is ahead of car i, NaN unless both run.
        ahead, behind: (n,) row of the running car one place ahead and behind, -1 = none.
        facts: gives a few lines on a driver for the right-hand side, (what, value).
    """

    axes: RaceAxes
    histories: list[History]
    drivers: dict[str, list[tuple[int, int]]]
    rows: dict[str, int]
    now: dict[str, Floats]
    between: Floats
    ahead: list[int]
    behind: list[int]
    facts: Callable[[str], list[tuple[str, str]]]


def race_scene(snapshot: Snapshot, past_races: int) -> RaceScene:
    """What the `race` pictures of a snapshot show.

    Before the start these are each starter's last `past_races` races with laps, and what grid, qualifying and
    practice tell.
    """
    snapshot = replace(snapshot, entries=snapshot.entries.sort("driver_id"))  # sums do not depend on their order
    names = snapshot.driver_ids
    rows = {driver: row for row, driver in enumerate(names)}
    with np.errstate(invalid="ignore", divide="ignore"):
        cut = Cut.of(snapshot)
        now = _now(cut)
        if isinstance(snapshot.horizon, PreRace):
            histories, drivers, lowest = _past(snapshot, past_races)
            axes = RaceAxes("past", 0, max(len(names), lowest, 2))
        else:
            history = _history(cut)
            driven = np.flatnonzero(np.isfinite(history.end).any(axis=1)).tolist()
            histories = [history]
            drivers = {names[row]: [(0, row)] for row in driven}
            lowest = int(np.nanmax(history.position, initial=2.0))
            distance = max(snapshot.race.scheduled_laps, len(history.x) - 1)
            axes = RaceAxes("race", distance, max(len(names), lowest))
    gap = now["gap"]
    return RaceScene(
        axes=axes,
        histories=histories,
        drivers=drivers,
        rows=rows,
        now=now,
        between=gap[:, None] - gap[None, :],
        ahead=cut.neighbour(-1).tolist(),
        behind=cut.neighbour(1).tolist(),
        facts=lambda driver: _facts(snapshot, now, rows[driver]),
    )


def _history(cut: Cut) -> History:
    snapshot, grid = cut.snapshot, cut.grid
    n, laps = grid.times.shape

    def whole(values: Floats) -> Floats:
        """The matrix with a column for the start."""
        return np.concatenate([np.full((n, 1), np.nan), values], axis=1)

    driven = whole(grid.times)
    position, end = whole(grid.position), whole(grid.ends)
    position[:, 0] = cut.start
    stop = np.concatenate([np.zeros((n, 1), dtype=np.bool_), grid.pit_in], axis=1)
    lap = np.arange(laps + 1.0)
    last_stop = np.maximum.accumulate(np.where(stop, lap, 0.0), axis=1)
    since = lap - np.concatenate([np.zeros((n, 1)), last_stop[:, :-1]], axis=1)
    recorded = whole(grid.tyre_life)
    age = np.where(np.isnan(recorded), since, recorded)
    known = ~np.isnan(driven)
    caution = np.concatenate([[False], grid.caution])
    status, pit = snapshot.laps["track_status"], snapshot.laps["pit_in"]
    rain = np.concatenate([[False], _rain(cut)])
    fastest = np.fmin.reduce(grid.typical, initial=np.inf)
    return History(
        x=lap / max(snapshot.race.scheduled_laps, laps),
        position=position,
        gap=end - smallest(end.T),
        end=end,
        raw=whole(100.0 * (1.0 / grid.ratio - 1.0)),
        pace=np.where(known, whole(_smoothed(grid.ratio, grid.clean)), np.nan),
        compound=np.where(known, np.nan_to_num(whole(grid.compound)), np.nan),
        age=np.where(known, age, np.nan),
        stop=stop,
        stops_recorded=pit.null_count() < len(pit),
        caution=caution,
        caution_recorded=status.null_count() < len(status),
        rain=rain,
        slow=np.concatenate([[False], _slow(cut)]) & ~rain,
        field_loss=np.concatenate([[np.nan], 100.0 * (grid.typical / fastest - 1.0)]),
    )


def _smoothed(ratio: Floats, clean: Bools) -> Floats:
    """Per cent faster than the field's median over the clean laps so far, each lap weighing FADE of the next one."""
    pace = np.where(clean, 100.0 * (1.0 / ratio - 1.0), 0.0)
    out = np.full(ratio.shape, np.nan)
    total, weight = np.zeros(len(ratio)), np.zeros(len(ratio))
    for lap in range(ratio.shape[1]):
        counted = clean[:, lap]
        total = np.where(counted, FADE * total + pace[:, lap], total)
        weight = np.where(counted, FADE * weight + 1.0, weight)
        out[:, lap] = total / weight
    return out


def _rain(cut: Cut) -> Bools:
    """On which laps rain was measured or most cars were on tyres for rain: bool (laps,)."""
    grid, weather = cut.grid, cut.snapshot.weather
    known = (~np.isnan(grid.compound)).sum(axis=0)
    wet: Bools = 2 * (grid.compound >= RAIN_TYRES).sum(axis=0) > np.maximum(known, 1)
    samples = weather.filter(pl.col("rainfall").fill_null(False))["time_s"].to_numpy()
    ends = np.fmin.reduce(grid.ends, axis=0)
    at = np.searchsorted(ends, samples[samples > 0.0])
    wet[at[at < len(wet)]] = True
    return wet


def _slow(cut: Cut) -> Bools:
    """On which laps the field was slow as in rain, and not under caution: bool (laps,).

    None where weather or tyres are recorded, and so tell.
    """
    grid, snapshot = cut.grid, cut.snapshot
    slow: Bools = np.zeros(len(grid.typical), dtype=np.bool_)
    if snapshot.weather["rainfall"].count() == 0 and np.isnan(grid.compound).all():
        entries = Field.of(snapshot.entries)
        sessions = np.concatenate([entries.qualifying, entries.practice], axis=1)
        best = np.fmin.reduce(sessions, axis=None, initial=np.inf)
        slow |= (grid.typical > SLOW_AS_IN_RAIN * best) & ~grid.caution
        slow[0] = False  # the start
    return slow


def _now(cut: Cut) -> dict[str, Floats]:
    """The numbers of NOW, each (n,)."""
    snapshot = cut.snapshot
    column = dict(zip(IN_RACE_NAMES, in_race_values(snapshot).T, strict=True))
    entries = Field.of(snapshot.entries)
    stops = np.where(cut.grid.completed > 0, stops_made(cut).count, np.nan)
    compound = last_known(cut.grid.compound)
    return {
        "place": cut.place,
        "start": cut.start,
        "stopped": column["ir_stopped"],
        "overdue": column["ir_overdue"],
        "laps_left": column["ir_laps_left"] / snapshot.race.scheduled_laps,
        "caution": column["ir_caution"],
        "gap": column["ir_gap_leader"],
        "flag_gap": column["ir_projected_gap"],
        "net_gap": column["ir_projected_net_gap"],
        "expected": column["ir_expected_position"],
        "expected_net": column["ir_expected_net_position"],
        "net_rank": column["ir_net_rank"],
        "stops": stops,
        "stops_field": np.full(len(stops), cut.field_mean(stops)),
        "compound": np.where(cut.grid.completed > 0, np.nan_to_num(compound), np.nan),
        "age": column["ir_tyre_age"],
        "qualifying": _against_field(latest_session_gap_pct(entries.qualifying)),
        "practice": _against_field(latest_session_gap_pct(entries.practice)),
        "pace_all": -column["ir_pace_all"],
        "pace_stint": -column["ir_pace_stint"],
        "pace_10": -column["ir_pace_10"],
        "pace_3": -column["ir_pace_3"],
    }


def _against_field(gap_pct: Floats) -> Floats:
    """Gaps to the best in per cent as per cent faster than the field's median."""
    known = gap_pct[~np.isnan(gap_pct)]
    return (float(np.median(known)) if len(known) else np.nan) - gap_pct


def _past(snapshot: Snapshot, past_races: int) -> tuple[list[History], dict[str, list[tuple[int, int]]], int]:
    """The last races with laps of each starter: those races, each starter's (race, car), and the lowest position."""
    names = snapshot.driver_ids
    wanted, calendar, by_race = last_races(snapshot, past_races)
    histories: list[History] = []
    places: dict[tuple[str, str], tuple[int, int]] = {}
    lowest = 2
    for row in calendar.iter_rows(named=True):
        frame = by_race[row["race_id"]]
        cars = sorted(frame["driver_id"].unique().to_list())
        history = _history(Cut.of(_whole_race(RaceInfo(**row), cars, frame)))
        history.position[:, 0] = np.nan  # the grid of a past race is not shown
        lowest = max(lowest, int(np.nanmax(history.position)))
        places |= {(driver, row["race_id"]): (len(histories), car) for car, driver in enumerate(cars)}
        dry = np.zeros_like(history.caution)  # conditions of several races would lie over each other
        histories.append(replace(history, rain=dry, slow=dry, caution=dry))
    return histories, {d: [places[d, race_id] for race_id in wanted[d]] for d in names if d in wanted}, lowest


def _whole_race(race: RaceInfo, cars: list[str], laps: pl.DataFrame) -> Snapshot:
    """A past race as a Snapshot that knows its laps alone."""
    entries = pl.DataFrame({"driver_id": cars, "constructor_id": cars, "grid": list(range(1, len(cars) + 1))})
    columns = [
        pl.col(name) if name in entries.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in empty("entries").schema.items()
    ]
    last = int(laps["lap"].max())  # type: ignore[arg-type]
    nothing = Tables(**{name: empty(name) for name in TABLE_NAMES})
    return Snapshot(race, FullRace(), last, float("inf"), entries.select(columns), laps, empty("weather"), nothing)


def _facts(snapshot: Snapshot, now: dict[str, Floats], row: int) -> list[tuple[str, str]]:
    slot = int(snapshot.entries["grid"][row])
    grid = ("Grid slot", str(slot) if slot else "pit lane")
    if isinstance(snapshot.horizon, PreRace):
        return [grid]
    place, gap, stops = now["place"][row], now["gap"][row], now["stops"][row]
    behind = "stopped" if now["stopped"][row] else "none, leads" if gap == 0.0 else f"{gap:.1f} s"
    return [
        ("Running position", f"{place:.0f} (grid {grid[1]})"),
        ("Gap to the leader", behind),
        ("Stops made", f"{stops:.0f}"),
    ]
