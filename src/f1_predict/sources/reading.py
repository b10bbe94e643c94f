"""Reads foreign tables out of a folder or a zip file into typed frames, with errors that name the line.

Knows nothing of any particular layout: which files and columns there are is told by the callers.
"""

from __future__ import annotations

import csv
import io
import itertools
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from f1_predict.errors import SourceFileError


@dataclass(frozen=True)
class Field:
    """What a foreign column must hold.

    Attributes:
        dtype: pl.Int64, pl.Float64, pl.Date ("YYYY-MM-DD") or pl.String; of a Parquet file also pl.Duration.
        nullable: whether a value may be missing.
        low, high: inclusive range of a number, where there is one.
        pattern: regular expression that the whole text must match, where there is one.
    """

    dtype: type[pl.DataType]
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    pattern: str | None = None


@dataclass(frozen=True)
class Source:
    """A folder, or a zip file of one, that holds files of one foreign layout.

    Args:
        path: the folder or the zip file.
        layout: the layout's name for messages ("Ergast").
        remedy: where to get the files from, as a full sentence.

    Raises:
        SourceFileError: if the path does not exist, is empty, or is neither a folder nor a zip file.
    """

    path: Path
    layout: str
    remedy: str

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise self.error("there is no such file or folder")
        if self.path.is_dir():
            if not any(self.path.iterdir()):
                raise self.error("the folder is empty")
        elif not zipfile.is_zipfile(self.path):
            raise self.error("it is neither a folder nor a zip file")

    def error(self, problem: str, file: str = "", row: int | None = None, column: str | None = None) -> SourceFileError:
        """The error that names this source, or one of its files."""
        where = self.path / file if file else self.path
        return SourceFileError(problem, file=where, row=row, column=column, remedy=self.remedy)

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        A zip may hold the files in a folder; names are compared without it.

        Raises:
            SourceFileError: if there is no such file, or it cannot be read.
        """
        try:
            if self.path.is_dir():
                return (self.path / name).read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                members = [m for m in archive.namelist() if Path(m).name == name and not m.startswith("__MACOSX")]
                if not members:
                    raise self.error("the file is missing", name)
                return archive.read(min(members, key=len))
        except FileNotFoundError as error:
            raise self.error("the file is missing", name) from error
        except OSError as error:
            raise self.error(f"it cannot be read ({error.strerror or error})", name) from error
        except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise self.error(f"it cannot be unpacked ({error})", name) from error


def read_csv(source: Source, name: str, columns: dict[str, Field], *, null: str | None = None) -> pl.DataFrame:
    """The named columns of a CSV file, typed, with `line` (1-based; the header is line 1).

    Values are read as text and then cast, so that a bad one can be named by its line.

    Args:
        source: where the file is.
        name: the file's name.
        columns: what is wanted, by name; other columns are ignored.
        null: a text that stands for null beside the empty one (Ergast's backslash N).

    Raises:
        SourceFileError: if the file or a column is missing, a row has too few or too many
            values, or a value is missing, of the wrong type or out of its range.
    """
    data = source.read(name).rstrip(b"\r\n") + b"\n"
    _check_encoding(source, name, data)
    _check_header(source, name, data, list(columns))
    if _suspect_widths(data):
        _check_widths(source, name, data)
    try:
        frame = pl.read_csv(data, columns=list(columns), infer_schema=False, null_values=null)
    except pl.exceptions.PolarsError as error:
        raise source.error(f"it cannot be parsed as CSV ({str(error).splitlines()[0]})", name) from error
    # The order of `columns`, whatever the file's.
    frame = frame.select(*columns).with_columns(line=pl.int_range(2, pl.len() + 2))
    typed = frame.with_columns(_cast(column, field) for column, field in columns.items())
    for column, field in columns.items():
        _check_values(source, name, data, frame[column], typed[column], field)
    return typed


def read_parquet(source: Source, name: str, columns: dict[str, Field]) -> pl.DataFrame:
    """The named columns of a Parquet file, cast to the asked types; durations become seconds (Float64).

    Raises:
        SourceFileError: if the file or a column is missing, the file cannot be decoded, or a
            value is missing, of the wrong type or out of its range (named by its row).
    """
    data = source.read(name)
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise source.error(
            f"it cannot be decoded as Parquet, perhaps it is cut short ({str(error).splitlines()[0]})", name
        ) from error
    for column in columns:
        if column not in frame.columns:
            raise source.error("the column is missing", name, column=column)
    typed = []
    for column, field in columns.items():
        values = frame[column]
        if (field.dtype is pl.Duration) != isinstance(values.dtype, pl.Duration):
            wanted = "a duration" if field.dtype is pl.Duration else _noun(field)
            raise source.error(f"must hold {wanted}, holds {values.dtype}", name, column=column)
        if field.dtype is pl.Duration:
            cast = values.dt.total_microseconds() / 1e6
        else:
            values = values.fill_nan(None) if values.dtype.is_float() else values
            cast = values.cast(field.dtype, strict=False)
        _check_values(source, name, None, values, cast, field)
        typed.append(cast.alias(column))
    return pl.DataFrame(typed)


def _cast(column: str, field: Field) -> pl.Expr:
    value = pl.col(column)
    if field.dtype is pl.String:
        return value
    if field.dtype is pl.Date:
        return value.str.to_date("%Y-%m-%d", strict=False)
    return value.str.strip_chars().cast(field.dtype, strict=False)


def _noun(field: Field) -> str:
    nouns: dict[type[pl.DataType], str] = {
        pl.Int64: "a whole number",
        pl.Float64: "a number",
        pl.Date: "a date YYYY-MM-DD",
        pl.Boolean: "true or false",
    }
    return nouns.get(field.dtype, "text")


def _check_encoding(source: Source, name: str, data: bytes) -> None:
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise source.error(f"it is not UTF-8 text (byte {data[error.start]:#04x})", name, row=line) from error


def _check_header(source: Source, name: str, data: bytes, wanted: list[str]) -> None:
    first = data.split(b"\n", 1)[0].decode("utf-8-sig").strip()
    if not first:
        raise source.error("the file is empty", name)
    present = next(csv.reader([first]))
    for column in wanted:
        if column not in present:
            raise source.error(f"the column is missing; there are {', '.join(present)}", name, row=1, column=column)


def _rows(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Each row with the physical line on which it begins; a quoted value may span lines."""
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace"), newline=""))
    start = 1
    for row in reader:
        yield start, row
        start = reader.line_num + 1


def _check_widths(source: Source, name: str, data: bytes) -> None:
    """Name the first row with another number of values than the header."""
    width, line = 0, 0
    try:
        for line, row in _rows(data):
            width = width or len(row)
            if row and len(row) != width:
                raise source.error(f"the row has {len(row)} values where the header has {width}", name, row=line)
    except csv.Error as error:
        raise source.error(f"it cannot be parsed as CSV ({error})", name, row=line + 1) from error


def _suspect_widths(data: bytes) -> bool:
    """Whether some row may have too few or too many values, which polars fills or drops in silence.

    Exact for files without quotes but for faults that cancel out; files with quotes are always suspect.
    """
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    commas = data.split(b"\n", 1)[0].count(b",")
    return b'"' in data or data.count(b",") != commas * lines


def _line(data: bytes | None, row: int) -> int:
    """The physical line of a data row (0-based), or its 1-based number in a file that has no lines."""
    if data is None:
        return row + 1
    return next(itertools.islice(_rows(data), row + 1, None), (row + 2, []))[0]


def _check_values(
    source: Source, name: str, data: bytes | None, raw: pl.Series, typed: pl.Series, field: Field
) -> None:
    """Name the first value that is missing, of the wrong type or out of range."""

    def refuse(bad: pl.Series, problem: str) -> None:
        first = bad.arg_max()
        if first is None or not bad[first]:
            return
        value = "" if raw[first] is None else f", got '{raw[first]}'"
        raise source.error(problem + value, name, row=_line(data, first), column=raw.name)

    refuse((typed.is_null() & raw.is_not_null()).fill_null(False), f"must be {_noun(field)}")
    if not field.nullable:
        refuse(typed.is_null(), f"must be {_noun(field)}, is empty")
    if field.pattern is not None:
        refuse(~typed.str.contains(field.pattern).fill_null(True), f"must match {field.pattern}")
    if field.low is not None:
        refuse((typed < field.low).fill_null(False), f"must be at least {field.low:g}")
    if field.high is not None:
        refuse((typed > field.high).fill_null(False), f"must be at most {field.high:g}")
