"""The canonical tables: columns, dtypes, units and ranges, in one place.

Every source ends in these five tables and every later stage starts from them. This module
knows nothing of files or of where rows came from.

Conventions: times in seconds, lengths in kilometres, speeds in km/h, temperatures in degrees
Celsius. A null means "not recorded", never zero and never "no".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from f1_predict.errors import SchemaError

TABLE_NAMES = ("races", "entries", "results", "laps", "weather")

MIN_SEASON, MAX_SEASON = 1950, 2200
MAX_LAP_TIME_S = 4 * 3600.0
"""A red-flagged lap may last hours: the clock of a race stops for nobody."""
IMPLAUSIBLE_SLOW_S = 600.0
"""Laps slower than ten minutes are flagged `implausible` (red flags)."""
IMPLAUSIBLE_FAST_S = 40.0
"""Laps faster than forty seconds are flagged `implausible` (timing faults)."""
PLACEHOLDER_S = 150.0
"""Laps of exactly this time are flagged `implausible`: it stands for unfinished last laps in rebuilt timing."""

COMPOUNDS = (
    "HYPERSOFT",
    "ULTRASOFT",
    "SUPERSOFT",
    "SOFT",
    "MEDIUM",
    "HARD",
    "SUPERHARD",
    "INTERMEDIATE",
    "WET",
)
"""Tyre compounds, softest first, then the two for rain."""


def _text(pattern: str | None = None, nullable: bool = False) -> pa.Column:
    checks = [pa.Check.str_matches(pattern)] if pattern else [pa.Check.str_length(min_value=1)]
    return pa.Column(pl.String, checks, nullable=nullable)


def _int(low: int, high: int, nullable: bool = False) -> pa.Column:
    return pa.Column(pl.Int32, pa.Check.in_range(low, high), nullable=nullable)


def _float(low: float, high: float, nullable: bool = False) -> pa.Column:
    return pa.Column(pl.Float64, pa.Check.in_range(low, high), nullable=nullable)


RACE_ID = r"^\d{4}_race_\d{1,2}$"
"""`race_id`: season and round, "2024_race_1"."""
SLUG = r"^[A-Za-z0-9][A-Za-z0-9_\-]*$"
"""`driver_id`, `constructor_id`, `circuit_id`: Ergast's references, safe as file names."""


def _schema(columns: dict[str, pa.Column], unique: list[str]) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, unique=unique, strict=True, ordered=True)


SCHEMAS: dict[str, pa.DataFrameSchema] = {
    "races": _schema(
        {
            "race_id": _text(RACE_ID),
            "season": _int(MIN_SEASON, MAX_SEASON),
            "round": _int(1, 99),
            "name": _text(),
            "date": pa.Column(pl.Date),
            "circuit_id": _text(SLUG),
            "course_length_km": _float(1.0, 30.0, nullable=True),
            # Known before the start; never the laps that turned out to be run in a shortened race.
            "scheduled_laps": _int(1, 250),
            "circuit_type": _text(nullable=True),  # RACE, ROAD or STREET
            "direction": _text(nullable=True),  # CLOCKWISE, ANTI_CLOCKWISE or FIGURE_8
            "turns": _int(1, 200, nullable=True),
        },
        unique=["race_id"],
    ),
    "entries": _schema(
        {
            "race_id": _text(RACE_ID),
            "driver_id": _text(SLUG),
            "constructor_id": _text(SLUG),
            "car_number": _int(0, 999, nullable=True),
            "grid": _int(0, 60),  # 0 = pit lane (or no grid slot)
            "grid_penalty": _int(0, 99, nullable=True),  # places lost to penalties
            "qualifying_position": _int(1, 60, nullable=True),
            "q1_s": _float(20.0, 900.0, nullable=True),
            "q2_s": _float(20.0, 900.0, nullable=True),
            "q3_s": _float(20.0, 900.0, nullable=True),
            "fp1_s": _float(20.0, 900.0, nullable=True),
            "fp2_s": _float(20.0, 900.0, nullable=True),
            "fp3_s": _float(20.0, 900.0, nullable=True),
            "fp4_s": _float(20.0, 900.0, nullable=True),
        },
        unique=["race_id", "driver_id"],
    ),
    "results": _schema(
        {
            "race_id": _text(RACE_ID),
            "driver_id": _text(SLUG),
            "position": _int(1, 60),  # 1..n, unique in a race, retirements ranked behind finishers
            "classified": pa.Column(pl.Boolean),
            "status": _text(),
            "laps_completed": _int(0, 250),
        },
        unique=["race_id", "driver_id"],
    ),
    "laps": _schema(
        {
            "race_id": _text(RACE_ID),
            "driver_id": _text(SLUG),
            "lap": _int(1, 250),
            "lap_time_s": _float(1.0, MAX_LAP_TIME_S),
            "end_time_s": _float(0.0, 24 * 3600.0),  # since the start of the race
            "position": _int(1, 60),  # running order at the end of the lap
            "speed_kmh": _float(0.1, 1000.0, nullable=True),  # course length / lap time
            "compound": pa.Column(pl.String, pa.Check.isin(COMPOUNDS), nullable=True),
            "tyre_life": _int(0, 150, nullable=True),  # laps done on this set
            "pit_in": pa.Column(pl.Boolean, nullable=True),  # ended in the pit lane
            "pit_out": pa.Column(pl.Boolean, nullable=True),  # began in the pit lane
            "track_status": _text(r"^[1-7]+$", nullable=True),  # FastF1 codes seen during the lap
            "speed_trap_kmh": _float(1.0, 450.0, nullable=True),
            "implausible": pa.Column(pl.Boolean),  # see IMPLAUSIBLE_*: flagged, never deleted
        },
        unique=["race_id", "driver_id", "lap"],
    ),
    "weather": _schema(
        {
            "race_id": _text(RACE_ID),
            "time_s": _float(-6 * 3600.0, 24 * 3600.0),  # since the start; negative before it
            "air_temp_c": _float(-30.0, 60.0, nullable=True),
            "track_temp_c": _float(-30.0, 90.0, nullable=True),
            "humidity_pct": _float(0.0, 100.0, nullable=True),
            "wind_ms": _float(0.0, 80.0, nullable=True),
            "rainfall": pa.Column(pl.Boolean, nullable=True),
        },
        unique=["race_id", "time_s"],
    ),
}


def dtypes(table: str) -> dict[str, Any]:
    """Column names and polars dtypes of a canonical table, in order."""
    return {name: column.dtype.type for name, column in SCHEMAS[table].columns.items()}


def empty(table: str) -> pl.DataFrame:
    """The canonical table without rows."""
    return _empty(table).clone()


@cache
def _empty(table: str) -> pl.DataFrame:
    return pl.DataFrame(schema=dtypes(table))


def validate(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Check a frame against the schema of `table` and return it unchanged.

    Raises:
        SchemaError: naming the table, the column, the check that fails, and the first row that fails it.
    """
    try:
        SCHEMAS[table].validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        first = cases.row(0, named=True)
        at = f" at row {first['index']}" if first.get("index") is not None else ""
        raise SchemaError(
            f"table '{table}', column '{first['column']}'{at}: value {first['failure_case']!r} fails "
            f"{first['check']} ({len(cases)} failures in all). Correct the source rows and ingest again."
        ) from error
    return frame


@dataclass(frozen=True)
class Tables:
    """The five canonical tables together.

    Rows are in the order of time: races by (season, round); every other table by its race, then
    by driver and lap (or sample time).
    """

    races: pl.DataFrame
    entries: pl.DataFrame
    results: pl.DataFrame
    laps: pl.DataFrame
    weather: pl.DataFrame

    def validate(self) -> Tables:
        """Check every table and that no row names a race that `races` lacks.

        Raises:
            SchemaError: as `validate`, or naming the first race without a row in `races`.
        """
        for field in fields(self):
            frame = validate(field.name, getattr(self, field.name))
            orphans = frame.join(self.races, on="race_id", how="anti")
            if orphans.height:
                raise SchemaError(
                    f"table '{field.name}' has {orphans.height} rows of races that table 'races' lacks, "
                    f"first '{orphans['race_id'][0]}'. Add the race, or drop its rows."
                )
        return self

    def map(self, change: Callable[[str, pl.DataFrame], pl.DataFrame]) -> Tables:
        """A copy with `change(name, frame)` applied to every table."""
        return Tables(**{f.name: change(f.name, getattr(self, f.name)) for f in fields(self)})

    def sort(self) -> Tables:
        """A copy with the rows of every table in the order of time (see the class)."""
        races = self.races.sort("season", "round")
        order = races.select("race_id", _order=pl.int_range(pl.len(), dtype=pl.Int32))
        keys = {"entries": ["driver_id"], "results": ["driver_id"], "laps": ["driver_id", "lap"], "weather": ["time_s"]}

        def change(name: str, frame: pl.DataFrame) -> pl.DataFrame:
            if name == "races":
                return races
            joined = frame.join(order, on="race_id", how="left", maintain_order="left")
            return joined.sort("_order", *keys[name], nulls_last=True).drop("_order")

        return self.map(change)
