"""Turns Jolpica's stored answers into the same frames that Ergast's dump is read into, and says where each came from.

Asks nothing of the network and decides nothing about conflicts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from f1_predict.sources.ergast import ErgastData
from f1_predict.sources.fastf1_live import LapsDue
from f1_predict.sources.jolpica import ABSENT, CLOCK
from f1_predict.sources.jolpica_season import SOURCE, calendar, race_parts, season_parts
from f1_predict.sources.origins import Origin
from f1_predict.sources.raw import Document, RawCache

_Rows = list[tuple[Any, ...]]
_RACES = {
    "race_id": pl.String,
    "season": pl.Int64,
    "round": pl.Int64,
    "name": pl.String,
    "date": pl.Date,
    "circuit_id": pl.String,
}
_PERSON = {"race_id": pl.String, "driver_id": pl.String, "constructor_id": pl.String}
_RESULTS = {
    **_PERSON,
    "grid": pl.Int64,
    "laps": pl.Int64,
    "status": pl.String,
    "code": pl.String,
    "forename": pl.String,
    "surname": pl.String,
    "car_number": pl.Int64,
    "position_text": pl.String,
    "position_order": pl.Int64,
}
_QUALIFYING = {
    **_PERSON,
    "code": pl.String,
    "forename": pl.String,
    "surname": pl.String,
    "car_number": pl.Int64,
    "qualifying_position": pl.Int64,
    "q1_s": pl.String,
    "q2_s": pl.String,
    "q3_s": pl.String,
}
_STOPS = {"race_id": pl.String, "driver_id": pl.String, "lap": pl.Int64}
_LAPS = {**_STOPS, "position": pl.Int64, "lap_time_s": pl.String}
_LAST = 99
"""Place of who is in a result without one: behind all others, in the order of the answer."""


def read_jolpica(cache: RawCache, seasons: Sequence[int]) -> tuple[ErgastData, list[Origin]]:
    """The stored answers about seasons, in the layout of `read_ergast`.

    Returns:
        the frames, and one Origin per race and canonical table that Jolpica says something of.
    """
    races: _Rows = []
    results: _Rows = []
    qualifying: _Rows = []
    stops: _Rows = []
    laps: _Rows = []
    origins: list[Origin] = []
    for season in seasons:
        document = cache.read(*season_parts(season, "races"))
        moments = {} if document is None else dict(zip(map(_race_id, document.payload), document.items, strict=True))
        for race in sorted(calendar(cache, season), key=lambda race: int(race["round"])):
            race_id = _race_id(race)
            place = (race_id, season, int(race["round"]), race["raceName"], date.fromisoformat(race["date"]))
            races.append((*place, race["Circuit"]["circuitId"]))
            origins.append(Origin("races", race_id, SOURCE, _version([race]), moments[race_id]))
        of_results = _of_races(cache.read(*season_parts(season, "results")), "Results")
        of_qualifying = _of_races(cache.read(*season_parts(season, "qualifying")), "QualifyingResults")
        for race_id, (rows, fetched) in of_results.items():
            results += [_result(race_id, row) for row in rows]
            origins.append(Origin("results", race_id, SOURCE, _version(rows), fetched))
        for race_id, (rows, _) in of_qualifying.items():
            qualifying += [_qualified(race_id, row) for row in rows]
        origins += _entry_origins(of_results, of_qualifying)
        for race in calendar(cache, season):
            round_ = int(race["round"])
            of_laps = _of_races(cache.read(*race_parts(season, round_, "laps")), "Laps")
            of_stops = _of_races(cache.read(*race_parts(season, round_, "pitstops")), "PitStops")
            for race_id, (rows, fetched) in of_laps.items():
                laps += _lap_rows(race_id, rows)
                both = [*rows, *of_stops.get(race_id, ([], fetched))[0]]
                latest = max(fetched, of_stops.get(race_id, ([], fetched))[1])
                origins.append(Origin("laps", race_id, SOURCE, _version(both), latest))
            for race_id, (rows, _) in of_stops.items():
                stops += [(race_id, row["driverId"], int(row["lap"])) for row in rows if _given(row.get("lap"))]
    every = _frame(races, _RACES)
    return (
        ErgastData(
            races=every,
            all_races=every,
            results=_frame(results, _RESULTS),
            qualifying=_frame(qualifying, _QUALIFYING).with_columns(_seconds(f"q{n}_s") for n in (1, 2, 3)),
            pit_stops=_frame(stops, _STOPS),
            laps=_frame(laps, _LAPS).with_columns(_seconds("lap_time_s")),
        ),
        origins,
    )


def _of_races(document: Document | None, key: str) -> dict[str, tuple[list[dict[str, Any]], datetime]]:
    """The rows of each race in an answer, and when they were first had as they are; races without rows left out."""
    if document is None:
        return {}
    dated = zip(document.payload, document.items, strict=True)
    return {_race_id(race): (race[key], moment) for race, moment in dated if race[key]}


def laps_due(cache: RawCache, season: int, round_: int) -> list[LapsDue]:
    """The laps that each driver completed by the race's result; none while there is no result."""
    found = _of_races(cache.read(*season_parts(season, "results")), "Results")
    rows, _ = found.get(f"{season}_race_{round_}", ([], None))
    due = []
    for row in rows:
        code, number = row["Driver"].get("code"), _int(row.get("number"))
        due.append(LapsDue(code if _given(code) else None, None if number is None else str(number), _laps_of(row)))
    return due


def _entry_origins(
    results: dict[str, tuple[list[dict[str, Any]], datetime]],
    qualifying: dict[str, tuple[list[dict[str, Any]], datetime]],
) -> list[Origin]:
    """Entries come from both: who started, and what they did in qualifying."""
    origins = []
    for race_id in dict.fromkeys([*results, *qualifying]):
        found = [known[race_id] for known in (results, qualifying) if race_id in known]
        rows = [row for each, _ in found for row in each]
        origins.append(Origin("entries", race_id, SOURCE, _version(rows), max(moment for _, moment in found)))
    return origins


def _result(race_id: str, row: dict[str, Any]) -> tuple[Any, ...]:
    status = row.get("status")
    return (
        *(race_id, row["Driver"]["driverId"], row["Constructor"]["constructorId"]),
        *(_int(row.get("grid")) or 0, _laps_of(row), status if _given(status) else "Unknown"),
        *_names(row),
        *(_int(row.get("number")), row["positionText"], _int(row["position"]) or _LAST),
    )


def _laps_of(row: dict[str, Any]) -> int:
    return _int(row.get("laps")) or 0


def _qualified(race_id: str, row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        *(race_id, row["Driver"]["driverId"], row["Constructor"]["constructorId"], *_names(row)),
        *(_int(row.get("number")), _int(row.get("position"))),
        *(row.get(name) if _given(row.get(name)) else None for name in ("Q1", "Q2", "Q3")),
    )


def _names(row: dict[str, Any]) -> tuple[str | None, str, str]:
    driver = row["Driver"]
    code = driver.get("code")
    return code if _given(code) else None, driver["givenName"], driver["familyName"]


def _lap_rows(race_id: str, laps: Iterable[dict[str, Any]]) -> _Rows:
    return [
        (race_id, timing["driverId"], int(lap["number"]), _int(timing.get("position")), timing["time"])
        for lap in laps
        for timing in lap["Timings"]
    ]


def _race_id(race: dict[str, Any]) -> str:
    return f"{int(race['season'])}_race_{int(race['round'])}"


def _given(value: object) -> bool:
    return value not in ABSENT


def _int(value: str | None) -> int | None:
    return int(value) if value is not None and _given(value) else None


def _frame(rows: _Rows, columns: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns, orient="row")


def _seconds(column: str) -> pl.Expr:
    """A clock text in seconds, to the millisecond: the same float as from a dump's milliseconds."""
    text = pl.col(column).str.strip_chars()
    hours = text.str.extract(CLOCK, 1).cast(pl.Float64).fill_null(0.0)
    minutes = text.str.extract(CLOCK, 2).cast(pl.Float64).fill_null(0.0)
    seconds = text.str.extract(CLOCK, 3).cast(pl.Float64)
    return (((3600.0 * hours + 60.0 * minutes + seconds) * 1000.0).round() / 1000.0).round(3).alias(column)


def _version(rows: list[dict[str, Any]]) -> str:
    """Jolpica names no version of its data: a short hash of what it said of the race stands for it."""
    text = json.dumps(rows, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
