"""Canonical tables as the dumps that they could have come from: Ergast's CSV files and f1db's, for the way back.

Knows which columns each source has; what only timing knows (tyres, flags, weather) is in `live_timing`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from f1_predict.schemas import IMPLAUSIBLE_FAST_S, IMPLAUSIBLE_SLOW_S, Tables

Row = dict[str, Any]
NULL = "\\N"


def to_the_millisecond(tables: Tables) -> Tables:
    """The tables with times as timing gives them; simulated ones are multiples of 1/1024 s."""
    end = (1000.0 * pl.col("end_time_s")).round()
    lap = (end - end.shift(1).over("race_id", "driver_id").fill_null(0.0)) / 1000.0
    length = pl.col("race_id").replace_strict(
        dict(tables.races.select("race_id", "course_length_km").iter_rows()), return_dtype=pl.Float64
    )
    laps = tables.laps.with_columns(lap_time_s=lap.round(3), end_time_s=(end / 1000.0).round(3))
    laps = laps.with_columns(
        speed_kmh=3600.0 * length / pl.col("lap_time_s"),
        implausible=~pl.col("lap_time_s").is_between(IMPLAUSIBLE_FAST_S, IMPLAUSIBLE_SLOW_S),
    )
    return tables.map(lambda name, frame: laps if name == "laps" else frame)


def code_of(driver_id: str) -> str:
    """Three letters for a driver called by a number: "driver_012" -> "ABM"."""
    number = int(driver_id.rsplit("_", 1)[1])
    return "A" + chr(ord("A") + number // 26) + chr(ord("A") + number % 26)


def ergast_dump(tables: Tables, folder: Path, stops: Sequence[str] = ()) -> Path:
    """Ergast's CSV files.

    Args:
        tables: to the millisecond.
        folder: to write to.
        stops: races whose pit stops it knows.
    """
    races = {race["race_id"]: n for n, race in enumerate(tables.races.to_dicts(), start=1)}
    drivers = {name: n for n, name in enumerate(sorted(tables.entries["driver_id"].unique()), start=1)}
    teams = {name: n for n, name in enumerate(sorted(tables.entries["constructor_id"].unique()), start=1)}
    circuits = {name: n for n, name in enumerate(sorted(tables.races["circuit_id"].unique()), start=1)}
    states = {name: n for n, name in enumerate(sorted(tables.results["status"].unique()), start=1)}
    entries = {(row["race_id"], row["driver_id"]): row for row in tables.entries.to_dicts()}
    files: dict[str, list[Row]] = {
        "circuits": [{"circuitId": n, "circuitRef": name, "name": name} for name, n in circuits.items()],
        "constructors": [{"constructorId": n, "constructorRef": name, "name": name} for name, n in teams.items()],
        "status": [{"statusId": n, "status": name} for name, n in states.items()],
        "drivers": [
            {"driverId": n, "driverRef": name, "number": NULL, "code": code_of(name)}
            | {"forename": "Driver", "surname": name.rsplit("_", 1)[1]}
            for name, n in drivers.items()
        ],
        "races": [
            {"raceId": races[race["race_id"]], "year": race["season"], "round": race["round"]}
            | {"circuitId": circuits[race["circuit_id"]], "name": race["name"], "date": race["date"], "url": "x"}
            for race in tables.races.to_dicts()
        ],
    }

    def person(row: Row) -> Row:
        entry = entries[row["race_id"], row["driver_id"]]
        ids = {"raceId": races[row["race_id"]], "driverId": drivers[row["driver_id"]]}
        return ids | {"constructorId": teams[entry["constructor_id"]], "number": entry["car_number"]}

    files["results"] = [
        {"resultId": n, **person(row), "grid": entries[row["race_id"], row["driver_id"]]["grid"]}
        | {"positionText": row["position"] if row["classified"] else "R", "positionOrder": row["position"]}
        | {"laps": row["laps_completed"], "statusId": states[row["status"]]}
        for n, row in enumerate(tables.results.to_dicts(), start=1)
    ]
    files["qualifying"] = [
        {"qualifyId": n, **person(row), "position": row["qualifying_position"]}
        | {f"q{part}": NULL if (q := row[f"q{part}_s"]) is None else _minutes(q) for part in (1, 2, 3)}
        for n, row in enumerate(tables.entries.to_dicts(), start=1)
    ]
    laps = tables.laps.select("race_id", "driver_id", "lap", "position", "lap_time_s", "pit_in").to_dicts()
    files["lap_times"] = [
        {"raceId": races[row["race_id"]], "driverId": drivers[row["driver_id"]], "lap": row["lap"]}
        | {"position": row["position"], "time": "x", "milliseconds": round(1000 * row["lap_time_s"])}
        for row in laps
    ]
    files["pit_stops"] = [
        {"raceId": races[row["race_id"]], "driverId": drivers[row["driver_id"]], "stop": 1, "lap": row["lap"]}
        | {"time": "14:00:00", "duration": "25.0", "milliseconds": 25_000}
        for row in laps
        if row["race_id"] in stops and row["pit_in"]
    ]
    _write(folder, files)
    return folder


def f1db_dump(tables: Tables, folder: Path) -> Path:
    """f1db's CSV files."""
    races = {row["race_id"]: {"raceId": n} | row for n, row in enumerate(tables.races.to_dicts(), start=1)}

    def place(row: Row) -> Row:
        race = races[row["race_id"]]
        where = {"raceId": race["raceId"], "year": race["season"], "round": race["round"]}
        driver = {"driverNumber": row["car_number"], "driverId": row["driver_id"].replace("_", "-")}
        return where | driver | {"constructorId": row["constructor_id"].replace("_", "-")}

    entries = tables.entries.to_dicts()
    files: dict[str, list[Row]] = {
        "f1db-races": [
            {"id": race["raceId"], "year": race["season"], "round": race["round"], "date": race["date"]}
            | {"grandPrixId": race["circuit_id"], "circuitType": race["circuit_type"], "direction": race["direction"]}
            | {"courseLength": race["course_length_km"], "turns": race["turns"], "laps": race["scheduled_laps"]}
            | {"scheduledLaps": race["scheduled_laps"]}
            for race in races.values()
        ],
        "f1db-races-starting-grid-positions": [
            place(row) | {"positionText": row["grid"] or "PL", "gridPenalty": row["grid_penalty"]} for row in entries
        ],
    }
    for session in (1, 2, 3, 4):
        times = [(place(row), row[f"fp{session}_s"]) for row in entries]
        files[f"f1db-races-free-practice-{session}-results"] = [
            where | {"timeMillis": None if time is None else round(1000 * time)} for where, time in times
        ]
    _write(folder, files)
    return folder


def _minutes(seconds: float) -> str:
    """A lap time as "1:26.572"."""
    whole = round(1000 * seconds)
    return f"{whole // 60_000}:{whole % 60_000 // 1000:02d}.{whole % 1000:03d}"


def _write(folder: Path, files: dict[str, list[Row]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        columns: Iterable[str] = rows[0] if rows else _EMPTY[name]
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


_EMPTY = {"pit_stops": ["raceId", "driverId", "stop", "lap", "time", "duration", "milliseconds"]}
