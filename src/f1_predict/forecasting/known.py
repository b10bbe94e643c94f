"""What a forecast had to do without: of the race, and of each driver.

A pure function of a Snapshot and of who has a picture: what is missing is missing at that moment.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.features.sessions import PRACTICE_COLUMNS, QUALIFYING_COLUMNS
from f1_predict.horizon import PreRace, Snapshot

RACE_MISSING = {
    "past": "no earlier race in the store",
    "circuit": "circuit new to the store",
    "length": "length of the course not known",
    "practice": "no times of practice",
    "qualifying": "no times of qualifying",
    "grid": "no places on the grid",
    "weather": "no weather",
    "tyres": "no tyre compounds",
}
"""What can be missing for a whole race, as the code in tables and files, and as people read it."""
DRIVER_MISSING = {
    "picture": "no picture",
    "driver": "driver new to the store",
    "team": "team new to the store",
    "grid": "no grid place (pit lane, or not known)",
}
"""What can be missing for one driver."""


def missing_of_race(snapshot: Snapshot) -> list[str]:
    """Codes of RACE_MISSING, in their order."""
    entries, past, race = snapshot.entries, snapshot.past, snapshot.race
    before = isinstance(snapshot.horizon, PreRace)
    found = {
        "past": past.races.is_empty(),
        "circuit": not past.races.is_empty() and race.circuit_id not in past.races["circuit_id"],
        "length": race.course_length_km is None,
        "practice": _all_null(entries, PRACTICE_COLUMNS),
        "qualifying": _all_null(entries, QUALIFYING_COLUMNS),
        "grid": not (entries["grid"] > 0).any(),
        "weather": _all_null(snapshot.weather, ("air_temp_c", "track_temp_c", "rainfall")),
        "tyres": not before and _all_null(snapshot.laps, ("compound",)),
    }
    return [code for code in RACE_MISSING if found[code]]


def missing_of_drivers(snapshot: Snapshot, present: npt.NDArray[np.bool_]) -> list[list[str]]:
    """Codes of DRIVER_MISSING of each starter, in the order of the entries.

    Args:
        snapshot: what was known.
        present: (n,), who has a picture.
    """
    past = snapshot.past.entries
    drivers, teams = set(past["driver_id"].unique()), set(past["constructor_id"].unique())
    rows = snapshot.entries.select("driver_id", "constructor_id", "grid").iter_rows()
    found = []
    for (driver, team, grid), seen in zip(rows, present.tolist(), strict=True):
        lacks = {"picture": not seen, "driver": driver not in drivers, "team": team not in teams, "grid": grid == 0}
        found.append([code for code in DRIVER_MISSING if lacks[code]])
    return found


def _all_null(frame: pl.DataFrame, columns: tuple[str, ...]) -> bool:
    """Whether there is no value in any of the columns."""
    return all(frame[name].null_count() == frame.height for name in columns)
