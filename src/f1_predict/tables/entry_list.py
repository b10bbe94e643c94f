"""The entries and the grid of a coming race as a small CSV file: a template to fill in, and reading it back.

For races whose qualifying no service has published. Knows nothing of the services.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from f1_predict import schemas
from f1_predict.errors import DataError, NotFoundError, SourceFileError
from f1_predict.schemas import Tables
from f1_predict.sources.origins import Origin
from f1_predict.tables.precedence import ENTRY_LIST
from f1_predict.tables.provenance import in_order, provenance_of
from f1_predict.tables.update import Change, Updated

COLUMNS = ("driver_id", "constructor_id", "car_number", "grid")
REMEDY = "Make a file to fill in with 'f1-predict entries template'."
ALIKE = 0.75
"""A new name that is as like a known one as this may be a slip."""
_HELP = """# Entries of {race_id}, {name}, {date}. Lines that begin with # are ignored.
# driver_id       as in the store, e.g. hamilton; a new driver may have a new one (letters, digits, _ and -)
# constructor_id  the same, e.g. ferrari
# car_number      0 to 999, or empty
# grid            starting place: 1, 2, ...; 0 = pit lane; empty = no place known yet (taken as 0)
# {filled}
"""


def template(tables: Tables, race_id: str) -> str:
    """A CSV file for a coming race, filled with the entries known for it, or else those of the race before it.

    Raises:
        NotFoundError: if the store has no such race.
        DataError: if it has been run.
    """
    race = _coming(tables, race_id)
    known = tables.entries.filter(race_id=race_id)
    filled = "Filled with what the store has of it."
    if known.is_empty():
        order = tables.races.sort("season", "round")
        this_year = (pl.col("season") == race["season"]) & (pl.col("round") < race["round"])
        earlier = order.filter((pl.col("season") < race["season"]) | this_year)
        with_entries = earlier.join(tables.entries, on="race_id", how="semi", maintain_order="left")
        filled = "Nobody is known yet."
        if with_entries.height:
            last = with_entries["race_id"][-1]
            known = tables.entries.filter(race_id=last).with_columns(grid=pl.lit(None, pl.Int32))
            filled = f"Filled with those of {last}: correct the line-up, then give the grid."
    made = io.StringIO()
    made.write(_HELP.format(race_id=race_id, name=race["name"], date=race["date"], filled=filled))
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(COLUMNS)
    teams = known.sort(pl.col("grid").replace(0, None), "constructor_id", "driver_id", nulls_last=True)
    writer.writerows(["" if value is None else value for value in row] for row in teams.select(COLUMNS).iter_rows())
    return made.getvalue()


def read_entry_list(path: Path) -> pl.DataFrame:
    """driver_id, constructor_id, car_number (null = not given) and grid of a filled-in file.

    Raises:
        SourceFileError: if the file cannot be read, a column is missing, a value cannot be used, a driver is named
            twice or a place on the grid is given twice; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceFileError(f"it cannot be read ({error.strerror})", file=path, remedy=REMEDY) from error
    except UnicodeDecodeError as error:
        raise SourceFileError("it is not UTF-8 text", file=path, remedy=REMEDY) from error
    numbered = [
        (number, line) for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]  # fmt: skip
    rows = list(csv.reader(line for _, line in numbered))
    if not rows:
        raise SourceFileError("there is no line in it", file=path, remedy=REMEDY)
    header = [name.strip() for name in rows[0]]
    for name in COLUMNS:
        if name not in header:
            raise SourceFileError("the column is missing", file=path, row=numbered[0][0], column=name, remedy=REMEDY)
    entries: list[dict[str, object]] = []
    for (line, _), row in zip(numbered[1:], rows[1:], strict=True):
        if len(row) != len(header):
            problem = f"the row has {len(row)} values where the header has {len(header)}"
            raise SourceFileError(problem, file=path, row=line, remedy=REMEDY)
        values = {name: value.strip() for name, value in zip(header, row, strict=True)}
        entries.append(_entry(path, line, values, entries))
    if not entries:
        raise SourceFileError("there is no driver in it", file=path, remedy=REMEDY)
    kinds = {name: schemas.dtypes("entries")[name] for name in COLUMNS}
    return pl.DataFrame(entries, schema=kinds)


def _entry(path: Path, line: int, values: dict[str, str], before: list[dict[str, object]]) -> dict[str, object]:
    def refuse(problem: str, column: str) -> SourceFileError:
        return SourceFileError(problem, file=path, row=line, column=column, remedy=f"Correct that line. {REMEDY}")

    for name in ("driver_id", "constructor_id"):
        if not re.fullmatch(schemas.SLUG, values[name]):
            raise refuse(f"must be letters, digits, _ and -, got '{values[name]}'", name)
    numbers: dict[str, int | None] = {}
    for name, high in (("car_number", 999), ("grid", 60)):
        text = values[name]
        if text and not (text.isdecimal() and int(text) <= high):
            raise refuse(f"must be a whole number from 0 to {high}, or empty, got '{text}'", name)
        numbers[name] = int(text) if text else None
    grid = numbers["grid"] or 0
    if any(entry["driver_id"] == values["driver_id"] for entry in before):
        raise refuse(f"'{values['driver_id']}' is there a second time", "driver_id")
    if grid and any(entry["grid"] == grid for entry in before):
        raise refuse(f"place {grid} is given a second time", "grid")
    return {
        "driver_id": values["driver_id"],
        "constructor_id": values["constructor_id"],
        "car_number": numbers["car_number"],
        "grid": grid,
    }


def with_entry_list(
    tables: Tables, provenance: pl.DataFrame, race_id: str, listed: pl.DataFrame, now: datetime
) -> Updated:
    """The tables with the entries of a coming race as listed; times of qualifying and practice that are known stay.

    Raises:
        NotFoundError: if the store has no such race.
        DataError: if it has been run.
    """
    _coming(tables, race_id)
    columns = schemas.dtypes("entries")
    was = tables.entries.filter(race_id=race_id)
    known = was.drop("race_id", "constructor_id", "car_number", "grid")
    rows = listed.join(known, on="driver_id", how="left", maintain_order="left").with_columns(race_id=pl.lit(race_id))
    rows = rows.select(pl.col(name).cast(kind) for name, kind in columns.items()).sort("driver_id")
    if rows.equals(was):
        return Updated(tables, provenance, ())
    entries = pl.concat([tables.entries.filter(pl.col("race_id") != race_id), rows])
    version = hashlib.sha256(listed.write_csv().encode()).hexdigest()[:12]
    origin = provenance_of([Origin("entries", race_id, ENTRY_LIST, version, now)])
    mine = (pl.col("race_id") == race_id) & (pl.col("table") == "entries") & (pl.col("source") == ENTRY_LIST)
    kind = "corrected" if was.height else "completed"
    return Updated(
        Tables(tables.races, entries, tables.results, tables.laps, tables.weather).sort(),
        in_order(pl.concat([provenance.filter(~mine), origin])),
        (Change(race_id, kind, f"{rows.height} entries from an entry list"),),
    )


def new_names(tables: Tables, listed: pl.DataFrame) -> list[str]:
    """Drivers and teams of a list that the store has never seen: new ones, or slips of the pen of the closest one."""
    found = []
    for column in ("driver_id", "constructor_id"):
        known = tables.entries[column].unique().sort().to_list()
        for name in listed[column].unique(maintain_order=True):
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
                meant = f" (did you mean {close[0]}?)" if close else ""
                found.append(f"{column.removesuffix('_id')} '{name}'{meant}")
    return found


def _coming(tables: Tables, race_id: str) -> dict[str, Any]:
    """The calendar row of a race that has no result yet."""
    rows = tables.races.filter(race_id=race_id)
    if rows.is_empty():
        remedy = "Fetch the calendar of its season first: 'f1-predict fetch --seasons YEAR'."
        raise NotFoundError("race", race_id, tables.races["race_id"], remedy)
    if tables.results.filter(race_id=race_id).height:
        raise DataError(f"{race_id} has been run: its entries are those of its result. Name a coming race.")
    return rows.row(0, named=True)
