"""Races as objects, read from the processed store: the design's way to the data, for scripts and pictures.

Holds results, so it is for describing finished races; forecasts go through `horizon`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from f1_predict.errors import DataError
from f1_predict.schemas import Tables
from f1_predict.tables.store import read_store


@dataclass(frozen=True)
class RaceDriver:
    """A driver in one race.

    Attributes:
        driver_id: Ergast's reference; also `id`.
        constructor_id: the team.
        grid: starting place, 0 for the pit lane or none.
        finishing_position: 1..n; None for a race without a result.
        dnf: not classified; None for a race without a result.
        laps: the driver's rows of the canonical `laps` table, by lap; no rows where none are recorded.
    """

    driver_id: str
    constructor_id: str
    grid: int
    finishing_position: int | None
    dnf: bool | None
    laps: pl.DataFrame = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """Shorthand for `driver_id`."""
        return self.driver_id


@dataclass(frozen=True)
class Race:
    """A race with its drivers, in the order of `driver_id`.

    Attributes:
        race_id: "2024_race_1"; also `id`.
        season, round, name, circuit_id: as in the calendar.
        scheduled_laps: laps scheduled before the start.
        course_length_km: None where unknown.
        drivers: the entries.
    """

    race_id: str
    season: int
    round: int
    name: str
    circuit_id: str
    scheduled_laps: int
    course_length_km: float | None
    drivers: list[RaceDriver] = field(repr=False)

    @property
    def id(self) -> str:
        """Shorthand for `race_id`."""
        return self.race_id


def load_processed_races(
    seasons: Iterable[int] | None = None, processed_dir: Path = Path("data/processed")
) -> list[Race]:
    """The races of some seasons, in the order of time.

    Args:
        seasons: the seasons wanted, each by its year, in any order; None for all.
        processed_dir: the processed store.

    Raises:
        StoreError: as `read_store`.
    """
    return races_of(read_store(Path(processed_dir), seasons))


def races_of(tables: Tables) -> list[Race]:
    """The races of canonical tables as objects, in the order of time."""
    tables = tables.sort()
    counts = tables.laps.group_by("race_id", "driver_id", maintain_order=True).len()
    starts = counts.with_columns(start=pl.col("len").cum_sum() - pl.col("len"))
    entries = tables.entries.join(
        tables.results.select("race_id", "driver_id", "position", "classified"),
        on=["race_id", "driver_id"],
        how="left",
        maintain_order="left",
    ).join(starts, on=["race_id", "driver_id"], how="left", maintain_order="left")
    drivers: dict[str, list[RaceDriver]] = {race_id: [] for race_id in tables.races["race_id"]}
    for row in entries.iter_rows(named=True):
        classified = row["classified"]
        drivers[row["race_id"]].append(
            RaceDriver(
                driver_id=row["driver_id"],
                constructor_id=row["constructor_id"],
                grid=row["grid"],
                finishing_position=row["position"],
                dnf=None if classified is None else not classified,
                laps=tables.laps.slice(row["start"] or 0, row["len"] or 0),
            )
        )
    columns = ["race_id", "season", "round", "name", "circuit_id", "scheduled_laps", "course_length_km"]
    rows = tables.races.select(columns).iter_rows(named=True)
    return [Race(**row, drivers=drivers[row["race_id"]]) for row in rows]


def extract_lap_speeds(race: Race, driver: RaceDriver) -> list[float]:
    """Mean speeds of laps 1 to the driver's last one, in km/h.

    NaN stands for a lap that is missing or whose time is a timing fault. A driver without laps gives [].

    Raises:
        DataError: if the course length of the race is unknown, so that there are no speeds.
    """
    if driver.laps.is_empty():
        return []
    if race.course_length_km is None:
        raise DataError(
            f"{race.race_id} ({race.name}): the course length is unknown, so lap times give no speeds. "
            "Ingest again with f1db: 'f1-predict ingest --ergast DIR --f1db DIR'."
        )
    speeds = [math.nan] * int(driver.laps["lap"][-1])
    for lap, speed in driver.laps.select("lap", "speed_kmh").iter_rows():
        speeds[lap - 1] = math.nan if speed is None else speed
    return speeds
