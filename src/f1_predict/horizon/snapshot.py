"""The cut: a Snapshot holds what may be known at a horizon, and is the only way to the data.

Features, pictures and models take a Snapshot and nothing else. The result of the race itself is
not in it, so they cannot see it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from f1_predict.errors import HorizonError, NotFoundError
from f1_predict.horizon.arrays import Floats, Integers, LapMatrices, WeatherColumns
from f1_predict.horizon.horizons import AfterLap, FullRace, Horizon, PreRace, lap_of_fraction
from f1_predict.schemas import Tables


@dataclass(frozen=True)
class RaceInfo:
    """What the calendar knows of a race before it starts (one row of `races`)."""

    race_id: str
    season: int
    round: int
    name: str
    date: date
    circuit_id: str
    course_length_km: float | None
    scheduled_laps: int
    circuit_type: str | None
    direction: str | None
    turns: int | None


@dataclass(frozen=True)
class Snapshot:
    """All that may be known of a race at a horizon.

    Attributes:
        race: calendar row.
        horizon: the moment of the cut.
        cutoff_lap: laps completed by the leader at the cut (0 before the start).
        cut_time_s: seconds since the start (0.0 before the start, inf for FullRace).
        entries: this race's `entries`, ordered by driver_id.
        laps: this race's `laps` whose end_time_s <= cut_time_s (none before the start).
        weather: this race's `weather` with time_s <= cut_time_s.
        past: the canonical tables of all earlier races, results included, none of this race.
    """

    race: RaceInfo
    horizon: Horizon
    cutoff_lap: int
    cut_time_s: float
    entries: pl.DataFrame
    laps: pl.DataFrame
    weather: pl.DataFrame
    past: Tables

    @property
    def race_id(self) -> str:
        """Shorthand for `race.race_id`."""
        return self.race.race_id

    @property
    def driver_ids(self) -> list[str]:
        """The starters, in the order of `entries`: the row order of every later stage."""
        return self.entries["driver_id"].to_list()

    @cached_property
    def lap_matrices(self) -> LapMatrices:
        """`laps` as arrays, driver x lap."""
        return LapMatrices.of(self.driver_ids, self.laps)

    @cached_property
    def weather_columns(self) -> WeatherColumns:
        """`weather` as arrays."""
        return WeatherColumns.of(self.weather)

    @cached_property
    def past_runs(self) -> pl.DataFrame:
        """Who has laps in which earlier race: race_id, driver_id, laps (UInt32), in the order of `past.laps`."""
        return _runs(self.past.laps)


def _runs(laps: pl.DataFrame) -> pl.DataFrame:
    return laps.group_by("race_id", "driver_id", maintain_order=True).len("laps")


@dataclass(frozen=True)
class _Race:
    """What the cuts of one race share: its rows, the columns they are cut by, and the races before it."""

    info: RaceInfo
    entries: pl.DataFrame
    laps: pl.DataFrame
    weather: pl.DataFrame
    past: Tables
    lap_matrices: LapMatrices
    lap: Integers
    end_time_s: Floats
    time_s: Floats


class RaceArchive:
    """Canonical tables in the order of time, cut into Snapshots without copying.

    Args:
        tables: the canonical tables; sorted here.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables.sort()
        races = self._tables.races
        self._order: dict[str, int] = {race_id: i for i, race_id in enumerate(races["race_id"])}
        self._offsets: dict[str, dict[str, tuple[int, int]]] = {}
        for name in ("entries", "results", "laps", "weather"):
            self._offsets[name] = self._row_ranges(getattr(self._tables, name))
        self._latest: tuple[str, _Race] | None = None

    def _row_ranges(self, frame: pl.DataFrame) -> dict[str, tuple[int, int]]:
        """First row and end row of each race, races without rows included."""
        counts = dict(frame.group_by("race_id").len().iter_rows())
        ranges, start = {}, 0
        for race_id in self._order:
            end = start + counts.get(race_id, 0)
            ranges[race_id] = (start, end)
            start = end
        return ranges

    @cached_property
    def _past_runs(self) -> tuple[pl.DataFrame, dict[str, tuple[int, int]]]:
        """`Snapshot.past_runs` of all races, and the first and end row of each."""
        runs = _runs(self._tables.laps)
        return runs, self._row_ranges(runs)

    @property
    def race_ids(self) -> list[str]:
        """All races in the order of time."""
        return list(self._order)

    @property
    def races(self) -> pl.DataFrame:
        """The `races` table in the order of time."""
        return self._tables.races

    @property
    def tables(self) -> Tables:
        """All tables, results included: for training and evaluation, which hold the labels."""
        return self._tables

    def _require(self, race_id: str) -> int:
        if race_id not in self._order:
            raise NotFoundError("race", race_id, self._order)
        return self._order[race_id]

    def rows(self, table: str, race_id: str) -> pl.DataFrame:
        """All rows of one race in one table.

        Raises:
            NotFoundError: if there is no such race.
        """
        order = self._require(race_id)
        if table == "races":
            return self._tables.races.slice(order, 1)
        start, end = self._offsets[table][race_id]
        frame: pl.DataFrame = getattr(self._tables, table)
        return frame.slice(start, end - start)

    def past(self, race_id: str) -> Tables:
        """The tables of all races strictly before `race_id`.

        Raises:
            NotFoundError: if there is no such race.
        """
        order = self._require(race_id)

        def change(name: str, frame: pl.DataFrame) -> pl.DataFrame:
            return frame.head(order if name == "races" else self._offsets[name][race_id][0])

        return self._tables.map(change)

    def laps_completed(self, race_id: str) -> int:
        """Laps completed by the leader so far (0 for a race without laps)."""
        laps = self.rows("laps", race_id)
        return int(laps["lap"].max() or 0)  # type: ignore[arg-type]

    def horizon_at(self, race_id: str, fraction: float) -> Horizon:
        """The horizon at a fraction of the scheduled laps: 0 is PreRace.

        A race that was stopped before that lap is cut after its last one.

        Raises:
            HorizonError: if the race has no laps, or the fraction is not in [0, 1].
            NotFoundError: if there is no such race.
        """
        if fraction == 0.0:
            self._require(race_id)
            return PreRace()
        scheduled = int(self.rows("races", race_id)["scheduled_laps"][0])
        lap = min(lap_of_fraction(fraction, scheduled), self.laps_completed(race_id))
        if lap == 0:
            raise HorizonError(f"{race_id} has no laps: only a forecast before the race can be made.")
        return AfterLap(lap)

    def snapshot(self, race_id: str, horizon: Horizon) -> Snapshot:
        """What may be known of a race at a horizon.

        The cut of AfterLap(k) is the earliest `end_time_s` of any driver on lap k, the moment at
        which the leader completes it; laps that end later are not in the snapshot, so a lapped car
        has fewer laps.

        Raises:
            NotFoundError: if there is no such race.
            HorizonError: if nobody has completed the lap.
        """
        race = self._race(race_id)
        laps = race.laps
        if isinstance(horizon, PreRace):
            cut, lap = 0.0, 0
            laps = laps.clear()
        elif isinstance(horizon, FullRace):
            cut, lap = math.inf, self.laps_completed(race_id)
        else:
            lap = horizon.lap
            ends = race.end_time_s[race.lap == lap]
            if len(ends) == 0:
                raise HorizonError(
                    f"nobody has completed lap {lap} of {race_id}: the leader has completed "
                    f"{self.laps_completed(race_id)}. Ask for that lap or an earlier one."
                )
            cut = float(ends.min())
            laps = laps[np.flatnonzero(race.end_time_s <= cut).astype(np.uint32)]
        snapshot = Snapshot(
            race=race.info,
            horizon=horizon,
            cutoff_lap=lap,
            cut_time_s=cut,
            entries=race.entries,
            laps=laps,
            weather=race.weather[np.flatnonzero(race.time_s <= cut)] if len(race.time_s) else race.weather,
            past=race.past,
        )
        # What the properties would work out anew, from what is known of the whole race and of all races.
        vars(snapshot)["lap_matrices"] = race.lap_matrices.until(-math.inf if lap == 0 else cut)
        if isinstance(horizon, PreRace):
            runs, ranges = self._past_runs
            vars(snapshot)["past_runs"] = runs.head(ranges[race_id][0])
        return snapshot

    def _race(self, race_id: str) -> _Race:
        """What the cuts of a race share; the latest race is kept, since its cuts are asked for one after the other."""
        latest = self._latest
        if latest is None or latest[0] != race_id:
            entries, laps, weather = (self.rows(name, race_id) for name in ("entries", "laps", "weather"))
            race = _Race(
                info=RaceInfo(**self.rows("races", race_id).row(0, named=True)),
                entries=entries,
                laps=laps,
                weather=weather,
                past=self.past(race_id),
                lap_matrices=LapMatrices.of(entries["driver_id"].to_list(), laps),
                lap=laps["lap"].to_numpy().astype(np.int64),
                end_time_s=laps["end_time_s"].to_numpy(),
                time_s=weather["time_s"].to_numpy(),
            )
            latest = self._latest = (race_id, race)
        return latest[1]
