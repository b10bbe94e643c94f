"""What is known of a race at a moment and what is not, in sentences, and the order on the road.

A pure function of a Snapshot: what it says is what the forecast could see. Knows nothing of models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from f1_predict.features.inrace_laps import LapGrid
from f1_predict.features.order import running_order
from f1_predict.forecasting.known import RACE_MISSING, missing_of_race
from f1_predict.horizon import PreRace, Snapshot
from f1_predict.report.page_text import person


def moment_of(snapshot: Snapshot) -> dict[str, Any]:
    """Known and not known at the moment of a Snapshot.

    Returns:
        lap (0 before the race), scheduled_laps; known, to_come, lacking: lists of sentences; cars: a dictionary a
        starter, in the running order (before the race: in that of the grid), of driver_id, place, laps, stops and
        stopped, whether the car has stopped running.
    """
    before = isinstance(snapshot.horizon, PreRace)
    missing = missing_of_race(snapshot)
    grid = LapGrid.of(snapshot)
    places, stopped = running_order(snapshot)
    stops = grid.pit_in.sum(axis=1)
    cars = [
        {
            "driver_id": driver,
            "place": int(places[row]),
            "laps": int(grid.completed[row]) if not before else 0,
            "stops": int(stops[row]) if not before else 0,
            "stopped": bool(stopped[row]) and not before,
        }
        for row, driver in enumerate(snapshot.driver_ids)
    ]
    return {
        "lap": snapshot.cutoff_lap,
        "scheduled_laps": snapshot.race.scheduled_laps,
        "known": _before_start(snapshot, missing) + ([] if before else _during(snapshot, grid, stops, stopped)),
        "to_come": _to_come(snapshot),
        "lacking": [RACE_MISSING[code] for code in missing],
        "cars": sorted(cars, key=lambda car: car["place"]),
    }


def _before_start(snapshot: Snapshot, missing: list[str]) -> list[str]:
    """What was known when the race began."""
    past = snapshot.past.races
    told = [f"{snapshot.entries.height} starters" + ("" if "grid" in missing else " and their places on the grid")]
    sessions = [name for name in ("practice", "qualifying") if name not in missing]
    if sessions:
        told.append(f"Times of {' and '.join(sessions)}")
    if past.height:
        first, last = past.row(0, named=True), past.row(-1, named=True)
        count = "1 earlier race" if past.height == 1 else f"{past.height:,} earlier races"
        told.append(
            f"{count} with results, from {first['season']} on; the last was the {last['season']} {last['name']}"
        )
        here = past.filter(pl.col("circuit_id") == snapshot.race.circuit_id).height
        if here:
            told.append(f"{here} earlier {'race' if here == 1 else 'races'} at this circuit")
    return told


def _during(snapshot: Snapshot, grid: LapGrid, stops: np.ndarray, stopped: np.ndarray) -> list[str]:
    """What the laps up to the cut tell."""
    count, cars = snapshot.laps.height, snapshot.laps["driver_id"].n_unique()
    told = [f"{count:,} laps of {cars} cars, up to the moment at which the leader completed lap {snapshot.cutoff_lap}"]
    made = int(stops.sum())
    told.append(f"{made} {'stop' if made == 1 else 'stops'} so far" if made else "No stop so far")
    if stopped.any():
        out = [person(driver) for driver, gone in zip(snapshot.driver_ids, stopped, strict=True) if gone]
        told.append(f"Stopped on the road or in the box: {', '.join(out)}")
    slow = (np.flatnonzero(grid.caution) + 1).tolist()
    if slow:
        told.append(f"Laps that were no racing (safety car, red flag or a slow field): {spans(slow)}")
    if snapshot.laps["compound"].null_count() < count:
        told.append("The tyres that everybody is on, and for how long")
    if snapshot.weather.height:
        last = snapshot.weather.sort("time_s").row(-1, named=True)
        parts = [
            f"{last[name]:.0f} °C {what}"
            for name, what in (("air_temp_c", "air"), ("track_temp_c", "track"))
            if last[name] is not None
        ]
        parts += [] if last["rainfall"] is None else ["rain" if last["rainfall"] else "no rain"]
        if parts:
            told.append(f"The weather until now: {', '.join(parts)}")
    return told


def _to_come(snapshot: Snapshot) -> list[str]:
    """What no forecast of this moment has seen."""
    next_lap, scheduled = snapshot.cutoff_lap + 1, snapshot.race.scheduled_laps
    if snapshot.cutoff_lap >= scheduled:
        return ["What the other cars did after the leader crossed the line", "The result"]
    laps = f"Lap {scheduled}" if next_lap == scheduled else f"Laps {next_lap} to {scheduled}"
    told = [f"{laps}, and whether all of them will be run", "Stops, failures, accidents, safety cars and rain to come"]
    if snapshot.cutoff_lap:
        told.append("Laps of others that end after the leader's, though they may have the same number")
    return [*told, "The result"]


def spans(numbers: list[int]) -> str:
    """Ascending numbers as "3, 5-7"."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and groups[-1][-1] == number - 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)
