"""Puts the sources together into the canonical tables and says what was wrong with them.

Which source goes first where they overlap is written in `precedence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from f1_predict import schemas
from f1_predict.schemas import Tables
from f1_predict.sources.ergast import ErgastData, read_ergast
from f1_predict.sources.f1db import F1dbData, read_f1db
from f1_predict.sources.fastf1 import FastF1Data, read_fastf1
from f1_predict.tables.entries import build_entries, build_results, starters
from f1_predict.tables.laps import build_laps, clean_laps, coverage_checks
from f1_predict.tables.matching import add_plain_names
from f1_predict.tables.quality import QualityReport
from f1_predict.tables.races import build_races
from f1_predict.tables.timing import apply_timing


@dataclass(frozen=True)
class Ingested:
    """The canonical tables, validated and sorted, and what was found on the way."""

    tables: Tables
    quality: QualityReport


def ingest(
    ergast: Path, f1db: Path | None = None, fastf1: Path | None = None, seasons: tuple[int, int] | None = None
) -> Ingested:
    """Read the sources into the canonical tables. Writes nothing.

    Args:
        ergast: folder or zip file of Ergast's CSV dump.
        f1db: folder or zip file of f1db's CSV release.
        fastf1: folder of laps_YYYY.parquet and weather_YYYY.parquet.
        seasons: first and last season wanted; None for all.

    Raises:
        SourceFileError: a file or column that is missing, a row that cannot be parsed, an unknown id, no
            race in the seasons: the message names file, line, column and remedy.
        SchemaError: values that contradict each other so that a canonical table would be wrong.
    """
    raw = read_ergast(ergast, seasons)
    courses = None if f1db is None else read_f1db(f1db, seasons)
    sessions = None if fastf1 is None else read_fastf1(fastf1, seasons)
    return combine(raw, courses, sessions)


def combine(
    raw: ErgastData,
    courses: F1dbData | None = None,
    sessions: FastF1Data | None = None,
    earlier: pl.DataFrame | None = None,
) -> Ingested:
    """The canonical tables of what was read, from files or from services: there is no other way to them.

    Args:
        raw: races, results, qualifying, laps and pit stops.
        courses: of f1db, where there is any.
        sessions: of FastF1, where there are any.
        earlier: canonical races of other seasons, which a coming race at a known circuit needs.

    Raises:
        SourceFileError: if the scheduled laps of a coming race cannot be had.
        SchemaError: values that contradict each other so that a canonical table would be wrong.
    """
    races, checks = build_races(raw, courses, earlier)
    results, result_checks = build_results(raw)
    people = add_plain_names(starters(raw))
    entries, entry_checks = build_entries(raw, people, courses)
    order = races.select("race_id", _order=pl.int_range(pl.len()))
    laps, lap_checks = clean_laps(raw, entries, order)
    checks += [*result_checks, *entry_checks, *lap_checks]
    timing = None
    if sessions is not None:
        laps, timing, timing_checks = apply_timing(sessions, laps, people)
        checks += timing_checks
    table, more = build_laps(laps, raw, races, entries, timing)
    checks += [*more, *coverage_checks(table, races, results)]
    weather = schemas.empty("weather") if timing is None else timing.weather
    tables = Tables(races, entries, results, table, weather).sort().validate()
    return Ingested(tables, QualityReport(tuple(checks)))
