"""Reads Ergast's CSV dump (also published by Jolpica), from a folder or a zip file.

Resolves the numeric ids to the references that the canonical tables use. Knows nothing of other
sources and decides nothing about conflicts or duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from f1_predict import schemas
from f1_predict.sources.reading import Field, Source, read_csv

NULL = "\\N"
REMEDY = "Give the folder, or the zip file, of Ergast's CSV dump (f1db_csv.zip), whole and unedited."

_ID = Field(pl.Int64)
_TEXT = Field(pl.String)
_REF = Field(pl.String, pattern=schemas.SLUG)
_FILES: dict[str, dict[str, Field]] = {
    "races": {
        "raceId": _ID,
        "year": Field(pl.Int64, low=1950, high=2200),
        "round": Field(pl.Int64, low=1, high=99),
        "circuitId": _ID,
        "name": _TEXT,
        "date": Field(pl.Date),
    },
    "circuits": {"circuitId": _ID, "circuitRef": _REF},
    "constructors": {"constructorId": _ID, "constructorRef": _REF},
    "drivers": {
        "driverId": _ID,
        "driverRef": _REF,
        "code": Field(pl.String, nullable=True),
        "forename": _TEXT,
        "surname": _TEXT,
    },
    "status": {"statusId": _ID, "status": _TEXT},
    "results": {
        "raceId": _ID,
        "driverId": _ID,
        "constructorId": _ID,
        "number": Field(pl.Int64, nullable=True, low=0, high=999),
        "grid": Field(pl.Int64, low=0, high=60),
        "positionText": _TEXT,
        "positionOrder": Field(pl.Int64, low=1, high=99),
        "laps": Field(pl.Int64, low=0, high=250),
        "statusId": _ID,
    },
    "qualifying": {
        "raceId": _ID,
        "driverId": _ID,
        "constructorId": _ID,
        "number": Field(pl.Int64, nullable=True, low=0, high=999),
        "position": Field(pl.Int64, low=1, high=60),
        "q1": Field(pl.String, nullable=True),
        "q2": Field(pl.String, nullable=True),
        "q3": Field(pl.String, nullable=True),
    },
    "pit_stops": {"raceId": _ID, "driverId": _ID, "lap": Field(pl.Int64, low=1, high=250)},
    "lap_times": {
        "raceId": _ID,
        "driverId": _ID,
        "lap": Field(pl.Int64, low=1, high=250),
        "position": Field(pl.Int64, low=1, high=60),
        "milliseconds": Field(pl.Int64, low=1000, high=4 * 3600 * 1000),
    },
}
_KEYS = {"circuits": "circuitId", "constructors": "constructorId", "drivers": "driverId", "status": "statusId"}


@dataclass(frozen=True)
class ErgastData:
    """Ergast's tables with references in place of ids, in the order of the files.

    Attributes:
        races: race_id, season, round, name, date, circuit_id, of the seasons asked for.
        all_races: the same of all seasons, which a coming race at a known circuit needs.
        results: race_id, driver_id, constructor_id, car_number, grid, position_text,
            position_order, laps, status, code, forename, surname. One driver may have several rows
            of one race (the shared drives of the 1950s).
        qualifying: race_id, driver_id, constructor_id, car_number, qualifying_position, q1_s, q2_s,
            q3_s, code, forename, surname.
        pit_stops: race_id, driver_id, lap (the lap that ended in the pit lane).
        laps: race_id, driver_id, lap, position, lap_time_s.
    """

    races: pl.DataFrame
    all_races: pl.DataFrame
    results: pl.DataFrame
    qualifying: pl.DataFrame
    pit_stops: pl.DataFrame
    laps: pl.DataFrame


def read_ergast(path: Path, seasons: tuple[int, int] | None = None) -> ErgastData:
    """Read Ergast's CSV dump.

    Args:
        path: the folder or the zip file.
        seasons: first and last season wanted; None for all.

    Raises:
        SourceFileError: if a file or column is missing, a row cannot be parsed, an id is unknown or
            used twice, or there is no race in the seasons.
    """
    source = Source(path, "Ergast", REMEDY)
    raw = {name: read_csv(source, f"{name}.csv", columns, null=NULL) for name, columns in _FILES.items()}
    for name, key in {**_KEYS, "races": "raceId"}.items():
        _require_unique(source, name, raw[name], [key])
    _require_unique(source, "races", raw["races"], ["year", "round"])
    for name in ("races", "results", "qualifying", "pit_stops", "lap_times"):
        _require_known_ids(source, name, raw)

    every = raw["races"].with_columns(race_id=pl.format("{}_race_{}", "year", "round"))
    every = every.join(raw["circuits"].select("circuitId", circuit_id="circuitRef"), on="circuitId")
    races = every if seasons is None else every.filter(pl.col("year").is_between(*seasons))
    if races.is_empty():
        wanted = "" if seasons is None else f" in the seasons {seasons[0]}-{seasons[1]}"
        years = sorted(every["year"].unique().to_list())
        known = f"; there are {years[0]}-{years[-1]}" if years else ""
        raise source.error(f"there is no race{wanted}{known}", "races.csv")

    columns = ["race_id", pl.col("year").alias("season"), "round", "name", "date", "circuit_id"]
    keys = races.select("raceId", "race_id")
    people = raw["drivers"].select("driverId", "code", "forename", "surname", driver_id="driverRef")
    teams = raw["constructors"].select("constructorId", constructor_id="constructorRef")
    ids = people.select("driverId", "driver_id")

    results = _resolve(raw["results"], keys, people).join(teams, on="constructorId", maintain_order="left")
    results = results.join(raw["status"].select("statusId", "status"), on="statusId", maintain_order="left")
    qualifying = _resolve(raw["qualifying"], keys, people).join(teams, on="constructorId", maintain_order="left")
    qualifying = qualifying.with_columns(_clock(source, raw["qualifying"], name) for name in ("q1", "q2", "q3"))
    person = ("race_id", "driver_id", "constructor_id")
    return ErgastData(
        races=races.select(columns),
        all_races=every.select(columns),
        results=results.select(
            *person,
            "grid",
            "laps",
            "status",
            "code",
            "forename",
            "surname",
            car_number="number",
            position_text="positionText",
            position_order="positionOrder",
        ),
        qualifying=qualifying.select(
            *person,
            "code",
            "forename",
            "surname",
            car_number="number",
            qualifying_position="position",
            q1_s="q1",
            q2_s="q2",
            q3_s="q3",
        ),
        pit_stops=_resolve(raw["pit_stops"], keys, ids).select("race_id", "driver_id", "lap"),
        laps=_resolve(raw["lap_times"], keys, ids).select(
            "race_id", "driver_id", "lap", "position", lap_time_s=(pl.col("milliseconds") / 1000).round(3)
        ),
    )


def _resolve(frame: pl.DataFrame, races: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Rows of the wanted races, in their order, with race_id and what `people` knows."""
    kept = frame.join(races, on="raceId", how="inner", maintain_order="left")
    return kept.join(people, on="driverId", how="inner", maintain_order="left")


def _require_unique(source: Source, name: str, frame: pl.DataFrame, keys: list[str]) -> None:
    if frame.is_empty():
        raise source.error("the file has no rows", f"{name}.csv")
    again = frame.filter(~pl.struct(keys).is_first_distinct())
    if again.height:
        value = ", ".join(str(again[key][0]) for key in keys)
        raise source.error(
            f"'{value}' is there a second time", f"{name}.csv", row=again["line"][0], column=" and ".join(keys)
        )


def _require_known_ids(source: Source, name: str, raw: dict[str, pl.DataFrame]) -> None:
    for table, key in {**_KEYS, "races": "raceId"}.items():
        if table == name or key not in raw[name].columns:
            continue
        unknown = raw[name].filter(~pl.col(key).is_in(raw[table][key].implode()))
        if unknown.height:
            raise source.error(
                f"{key} {unknown[key][0]} is not in {table}.csv", f"{name}.csv", row=unknown["line"][0], column=key
            )


def _clock(source: Source, raw: pl.DataFrame, column: str) -> pl.Expr:
    """A clock text ("1:26.572", "58.304") in seconds, checked over the whole file."""
    pattern = r"^(?:(\d+):)?(\d{1,2}(?:\.\d+)?)$"
    text = pl.col(column).str.strip_chars()
    bad = raw.filter(pl.col(column).is_not_null() & (text != "") & ~text.str.contains(pattern))
    if bad.height:
        problem = f"must be a lap time as 1:26.572, got '{bad[column][0]}'"
        raise source.error(problem, "qualifying.csv", row=bad["line"][0], column=column)
    minutes = text.str.extract(pattern, 1).cast(pl.Float64).fill_null(0.0)
    return (60.0 * minutes + text.str.extract(pattern, 2).cast(pl.Float64)).round(3).alias(column)
