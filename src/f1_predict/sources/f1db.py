"""Reads the parts of f1db's CSV release that the canonical tables use: races, free practice, starting grid.

Rows keep f1db's own driver names; matching them to drivers is the business of `tables/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from f1_predict.sources.reading import Field, Source, read_csv

REMEDY = "Give the folder, or the zip file, of f1db's CSV release, whole and unedited."

_YEAR = {"year": Field(pl.Int64), "round": Field(pl.Int64)}
_RACES = {
    **_YEAR,
    "date": Field(pl.Date),
    "grandPrixId": Field(pl.String),
    "circuitType": Field(pl.String, nullable=True),
    "direction": Field(pl.String, nullable=True),
    "courseLength": Field(pl.Float64, nullable=True, low=1, high=30),
    "turns": Field(pl.Int64, nullable=True, low=1, high=200),
    "laps": Field(pl.Int64, nullable=True, low=1, high=250),
    "scheduledLaps": Field(pl.Int64, nullable=True, low=1, high=250),
}
_DRIVER = {
    **_YEAR,
    "driverNumber": Field(pl.String, nullable=True),
    "driverId": Field(pl.String),
    "constructorId": Field(pl.String),
}
_GRID = {**_DRIVER, "positionText": Field(pl.String), "gridPenalty": Field(pl.String, nullable=True)}
_PRACTICE = {**_DRIVER, "timeMillis": Field(pl.Int64, nullable=True, low=1)}


@dataclass(frozen=True)
class F1dbData:
    """f1db's rows of the seasons asked for.

    Attributes:
        races: race_id, date, is_monaco, circuit_type, direction, course_length_km, turns, laps (run),
            scheduled_laps (only where it differs from `laps`).
        grid: race_id, name (f1db's driver id), team, car_number, grid (0 = pit lane), grid_penalty (places,
            null where none is named or it is no number), to_back (started from the back by penalty).
        practice: race_id, name, team, car_number, session (1-4), best_s.
    """

    races: pl.DataFrame
    grid: pl.DataFrame
    practice: pl.DataFrame


def read_f1db(path: Path, seasons: tuple[int, int] | None = None) -> F1dbData:
    """Read f1db's CSV release.

    Practice sessions 3 and 4 were not always held; their files must be there all the same.

    Raises:
        SourceFileError: if a file or column is missing, or a row cannot be parsed.
    """
    source = Source(path, "f1db", REMEDY)

    def rows(name: str, columns: dict[str, Field]) -> pl.DataFrame:
        frame = read_csv(source, f"{name}.csv", columns)
        if seasons is not None:
            frame = frame.filter(pl.col("year").is_between(*seasons))
        return frame.with_columns(race_id=pl.format("{}_race_{}", "year", "round"))

    grid = rows("f1db-races-starting-grid-positions", _GRID)
    bad = grid.filter(~pl.col("positionText").str.contains(r"^(\d+|PL)$"))
    if bad.height:
        raise source.error(
            f"must be a grid position or PL, got '{bad['positionText'][0]}'",
            "f1db-races-starting-grid-positions.csv",
            row=bad["line"][0],
            column="positionText",
        )
    person: list[pl.Expr] = [pl.col("race_id"), pl.col("driverId").alias("name"), pl.col("constructorId").alias("team")]
    number = pl.col("driverNumber").cast(pl.Int64, strict=False).alias("car_number")
    practice = [
        rows(f"f1db-races-free-practice-{session}-results", _PRACTICE).select(
            *person, number, session=pl.lit(session, pl.Int64), best_s=(pl.col("timeMillis") / 1000).round(3)
        )
        for session in (1, 2, 3, 4)
    ]
    return F1dbData(
        races=rows("f1db-races", _RACES).select(
            "race_id",
            "date",
            "direction",
            "turns",
            "laps",
            is_monaco=pl.col("grandPrixId") == "monaco",
            circuit_type="circuitType",
            course_length_km="courseLength",
            scheduled_laps="scheduledLaps",
        ),
        grid=grid.select(
            *person,
            number,
            # "PL" is no number: the pit lane is slot 0.
            grid=pl.col("positionText").cast(pl.Int64, strict=False).fill_null(0),
            grid_penalty=pl.col("gridPenalty").cast(pl.Int64, strict=False),
            to_back=(pl.col("gridPenalty") == "SFB").fill_null(False),
        ),
        practice=pl.concat(practice),
    )
