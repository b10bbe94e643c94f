"""Where each race of the store came from: source, version and time, for every table.

Knows nothing of files but the columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from f1_predict.schemas import TABLE_NAMES, Tables
from f1_predict.sources.origins import Origin
from f1_predict.tables.precedence import ERGAST, F1DB, FAMILY, FASTF1

COLUMNS: dict[str, Any] = {
    "table": pl.String,
    "race_id": pl.String,
    "source": pl.String,
    "version": pl.String,
    "fetched": pl.Datetime("us", "UTC"),
}
"""One row per canonical table, race and source; `fetched` is when this content was first had."""


def provenance_of(origins: Iterable[Origin]) -> pl.DataFrame:
    """The origins as a table, in the order of `in_order`."""
    rows = [(o.table, o.race_id, o.source, o.version, o.fetched) for o in origins]
    return in_order(pl.DataFrame(rows, schema=COLUMNS, orient="row"))


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows by season, round, table and source."""
    parts = pl.col("race_id").str.split("_race_")
    keys = [
        parts.list.get(0).cast(pl.Int32),
        parts.list.get(1).cast(pl.Int32),
        pl.col("table").replace_strict(dict(zip(TABLE_NAMES, range(5), strict=True)), return_dtype=pl.Int8),
        pl.col("source"),
    ]
    return frame.sort(keys, maintain_order=True) if frame.height else frame


Families = dict[tuple[str, str], set[str]]


def families_of(frame: pl.DataFrame) -> Families:
    """(table, race_id) -> the source families that built it."""
    families: Families = {}
    for table, race_id, source in frame.select("table", "race_id", "source").iter_rows():
        families.setdefault((table, race_id), set()).add(FAMILY[source])
    return families


def dump_provenance(tables: Tables, folders: dict[str, Path]) -> pl.DataFrame:
    """The provenance of tables that were read from files, race by race as far as the tables tell.

    Args:
        tables: the canonical tables.
        folders: source ("ergast", "f1db", "fastf1") -> its folder or zip file. Version is a hash of the files' bytes,
            time that of the newest file.
    """
    told = {source: _files_of(folder) for source, folder in folders.items()}
    inferred = with_inferred(pl.DataFrame(schema=COLUMNS), tables).filter(pl.col("source").is_in(list(told)))
    versions = {source: version for source, (version, _) in told.items()}
    times = {source: moment for source, (_, moment) in told.items()}
    return inferred.with_columns(
        version=pl.col("source").replace_strict(versions, return_dtype=pl.String),
        fetched=pl.col("source").replace_strict(times, return_dtype=COLUMNS["fetched"]),
    )


def _files_of(path: Path) -> tuple[str, datetime]:
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    newest = int(max(file.stat().st_mtime for file in files))
    return f"files {digest.hexdigest()[:12]}", datetime.fromtimestamp(newest, UTC)


def with_inferred(provenance: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """The provenance, with what can be told from the tables of races that it says nothing of.

    A store from before provenance was kept has none: where there is a course f1db was read, where there are tyres or
    weather FastF1 was. Version and time of these are unknown.
    """
    silent = tables.races.join(provenance, on="race_id", how="anti").select("race_id")
    timed = pl.any_horizontal(pl.col(c).is_not_null() for c in ("compound", "tyre_life", "track_status"))
    known = tables.races.drop_nulls("course_length_km")
    started = tables.entries.join(known, on="race_id", how="semi")
    told = [(name, ERGAST, getattr(tables, name)) for name in ("races", "entries", "results", "laps")]
    told += [("races", F1DB, known), ("entries", F1DB, started)]
    told += [("laps", FASTF1, tables.laps.filter(timed)), ("weather", FASTF1, tables.weather)]
    parts = [provenance.select(*COLUMNS)]
    for table, source, rows in told:
        races = rows.select("race_id").unique().join(silent, on="race_id", how="semi")
        parts.append(
            races.select(
                pl.lit(table).alias("table"),
                "race_id",
                pl.lit(source).alias("source"),
                pl.lit("unknown").alias("version"),
                pl.lit(None, COLUMNS["fetched"]).alias("fetched"),
            )
        )
    return in_order(pl.concat(parts))
