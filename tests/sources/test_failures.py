"""Every fault in a foreign file is one clear error, and a store that is there stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from f1_predict.errors import SourceFileError
from f1_predict.tables import ingest, write_store
from tests.tables import foreign
from tests.tables.test_store import content

ERGAST = "Give the folder, or the zip file, of Ergast's CSV dump (f1db_csv.zip), whole and unedited."
F1DB = "Give the folder, or the zip file, of f1db's CSV release, whole and unedited."
FASTF1 = "Give a folder of laps_YYYY.parquet and weather_YYYY.parquet files as FastF1 names their columns."


def refused(*paths: Path | None, seasons: tuple[int, int] | None = None) -> SourceFileError:
    with pytest.raises(SourceFileError) as caught:
        ingest(*paths, seasons=seasons)  # type: ignore[arg-type]
    return caught.value


def line(name: str, number: int, text: str) -> str:
    """The file's text with one line (1-based) replaced."""
    lines = foreign.ERGAST[f"{name}.csv"].split("\n")
    lines[number - 1] = text
    return "\n".join(lines)


LAPS = "lap_times"
CASES: list[tuple[str, str | None, str]] = [
    (LAPS, None, "lap_times.csv: the file is missing"),
    ("results", None, "results.csv: the file is missing"),
    (LAPS, "", "lap_times.csv: the file is empty"),
    ("races", "raceId,year,round,circuitId,name,date\n", "races.csv: the file has no rows"),
    (LAPS, line(LAPS, 1, "raceId,driverId,lap,position,time,ms"),
     "lap_times.csv, line 1, column 'milliseconds': the column is missing; there are raceId, driverId, lap"),
    (LAPS, line(LAPS, 4, "10,1,3,1,x,fast"),
     "lap_times.csv, line 4, column 'milliseconds': must be a whole number, got 'fast'"),
    (LAPS, line(LAPS, 4, "10,1,3,1,x,1.5"), "line 4, column 'milliseconds': must be a whole number, got '1.5'"),
    (LAPS, line(LAPS, 4, "10,1,3,1,x,\\N"), "line 4, column 'milliseconds': must be a whole number, is empty"),
    (LAPS, line(LAPS, 4, "10,1,3,1,x,-90000"), "line 4, column 'milliseconds': must be at least 1000, got '-90000'"),
    (LAPS, line(LAPS, 4, "10,1,999,1,x,90000"), "line 4, column 'lap': must be at most 250, got '999'"),
    (LAPS, line(LAPS, 4, "10,1,3"), "lap_times.csv, line 4: the row has 3 values where the header has 6"),
    (LAPS, line(LAPS, 4, "10,1,3,1,x,90000,7"), "lap_times.csv, line 4: the row has 7 values where the header has 6"),
    (LAPS, line(LAPS, 4, "99,1,3,1,x,90000"), "lap_times.csv, line 4, column 'raceId': raceId 99 is not in races.csv"),
    (LAPS, line(LAPS, 4, "10,9,3,1,x,90000"), "line 4, column 'driverId': driverId 9 is not in drivers.csv"),
    ("results", line("results", 3, "2,10,2,7,55,2,2,2,2,4,1"), "constructorId 7 is not in constructors.csv"),
    ("results", line("results", 3, "2,10,2,1,55,2,2,2,2,4,8"), "statusId 8 is not in status.csv"),
    ("races", line("races", 3, "11,2020,2,8,Beta,2020-03-08,x"), "races.csv, line 3, column 'circuitId': circuitId 8"),
    ("races", line("races", 3, "11,2020,2,2,Beta,8 March,x"),
     "races.csv, line 3, column 'date': must be a date YYYY-MM-DD, got '8 March'"),
    ("races", line("races", 3, "10,2020,2,2,Beta,2020-03-08,x"),
     "races.csv, line 3, column 'raceId': '10' is there a second time"),
    ("races", line("races", 3, "11,2020,1,2,Beta,2020-03-08,x"),
     "races.csv, line 3, column 'year and round': '2020, 1' is there a second time"),
    ("drivers", line("drivers", 3, "1,sainz,55,SAI,Carlos,Sainz"), "drivers.csv, line 3, column 'driverId': '1' is"),
    ("qualifying", line("qualifying", 3, "2,10,2,1,55,2,fast,\\N,\\N"),
     "qualifying.csv, line 3, column 'q1': must be a lap time as 1:26.572, got 'fast'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), CASES, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(CASES)])
def test_ergast_faults(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    error = refused(foreign.ergast(tmp_path, **{name: text}))
    assert message in str(error)
    assert str(error).endswith(ERGAST)
    assert str(tmp_path / "ergast" / f"{name}.csv") in str(error)


def test_the_line_is_counted_through_quoted_line_breaks(tmp_path: Path) -> None:
    rows = foreign.ERGAST["races.csv"].replace('"Alpha, Grand Prix"', '"Alpha,\nGrand\nPrix"')
    error = refused(foreign.ergast(tmp_path, races=rows.replace("2020-03-08", "soon")))
    assert "races.csv, line 5, column 'date': must be a date YYYY-MM-DD, got 'soon'" in str(error)


def test_blank_lines_at_the_end_are_no_fault_and_in_between_are(tmp_path: Path) -> None:
    text = foreign.ERGAST["lap_times.csv"]
    assert ingest(foreign.ergast(tmp_path, lap_times=text + "\n\n")).tables.laps.height == 16
    error = refused(foreign.ergast(tmp_path, lap_times=text.replace("10,1,3", "\n10,1,3")))
    assert "lap_times.csv, line 4, column 'raceId': must be a whole number, is empty" in str(error)


def test_a_row_too_short_in_a_file_with_quotes(tmp_path: Path) -> None:
    text = foreign.ERGAST["races.csv"].replace("2020-03-08,x", "2020-03-08")
    assert "races.csv, line 3: the row has 6 values where the header has 7" in str(
        refused(foreign.ergast(tmp_path, races=text))
    )


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    text = foreign.ERGAST["drivers.csv"].replace("Carlos", '"Carlos') + "x" * 200_000
    error = refused(foreign.ergast(tmp_path, drivers=text))
    assert "drivers.csv, line 3: it cannot be parsed as CSV (field larger than field limit" in str(error)


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    path = foreign.ergast(tmp_path)
    (path / "drivers.csv").write_bytes(foreign.ERGAST["drivers.csv"].encode("latin-1"))
    assert "drivers.csv, line 2: it is not UTF-8 text (byte 0xe9)" in str(refused(path))


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    path = foreign.ergast(tmp_path)
    plain = ingest(path).tables.laps
    text = foreign.ERGAST["lap_times.csv"].replace("\n", "\r\n")
    (path / "lap_times.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert ingest(path).tables.laps.equals(plain)


def test_folders_and_zip_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("not a zip")
    assert str(refused(tmp_path / "none")) == f"{tmp_path / 'none'}: there is no such file or folder. {ERGAST}"
    assert str(refused(tmp_path / "empty")) == f"{tmp_path / 'empty'}: the folder is empty. {ERGAST}"
    assert f"text.zip: it is neither a folder nor a zip file. {ERGAST}" in str(refused(tmp_path / "text.zip"))


def test_a_zip_file_that_lacks_a_file_or_is_damaged(tmp_path: Path) -> None:
    whole = foreign.zipped(foreign.ergast(tmp_path / "a", lap_times=None))
    assert "ergast.zip/lap_times.csv: the file is missing" in str(refused(whole))
    damaged = foreign.zipped(foreign.ergast(tmp_path / "b"))
    data = bytearray(damaged.read_bytes())
    at = data.index(b"circuitId,circuitRef")
    data[at : at + 9] = b"garbage!!"
    damaged.write_bytes(bytes(data))
    assert "circuits.csv: it cannot be unpacked (Bad CRC-32" in str(refused(damaged))


def test_no_race_in_the_seasons(tmp_path: Path) -> None:
    error = refused(foreign.ergast(tmp_path), seasons=(1996, 2019))
    assert "races.csv: there is no race in the seasons 1996-2019; there are 1955-2020" in str(error)


GRID = "f1db_races_starting_grid_positions"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("f1db_races", None, "f1db-races.csv: the file is missing"),
        ("f1db_races", ("5.0", "long"), "f1db-races.csv, line 2, column 'courseLength': must be a number, got 'long'"),
        ("f1db_races", ("turns", "bends"), "f1db-races.csv, line 1, column 'turns': the column is missing"),
        (GRID, ("PL", "BOX"), "line 4, column 'positionText': must be a grid position or PL, got 'BOX'"),
        ("f1db_races_free_practice_2_results", None, "f1db-races-free-practice-2-results.csv: the file is missing"),
        ("f1db_races_free_practice_1_results", ("92100", "1:32"), "column 'timeMillis': must be a whole number"),
    ],
)
def test_f1db_faults(tmp_path: Path, name: str, change: tuple[str, str] | None, message: str) -> None:
    text = None if change is None else foreign.F1DB[name.replace("_", "-") + ".csv"].replace(*change)
    error = refused(foreign.ergast(tmp_path), foreign.f1db(tmp_path, **{name: text}))
    assert message in str(error)
    assert str(error).endswith(F1DB)


def _drop(path: Path) -> None:
    laps = pl.read_parquet(path / "laps_2020.parquet")
    laps.drop("Compound").write_parquet(path / "laps_2020.parquet")


def _text_time(path: Path) -> None:
    laps = pl.read_parquet(path / "laps_2020.parquet")
    laps.with_columns(Time=pl.lit("1:40")).write_parquet(path / "laps_2020.parquet")


def _bad_lap(path: Path) -> None:
    laps = pl.read_parquet(path / "laps_2020.parquet")
    third = pl.int_range(pl.len()) == 2
    laps.with_columns(LapNumber=pl.when(third).then(0.0).otherwise("LapNumber")).write_parquet(
        path / "laps_2020.parquet"
    )


def _cut(path: Path) -> None:
    data = (path / "weather_2020.parquet").read_bytes()
    (path / "weather_2020.parquet").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop, "laps_2020.parquet, column 'Compound': the column is missing"),
        (_text_time, "laps_2020.parquet, column 'Time': must hold a duration, holds String"),
        (_bad_lap, "laps_2020.parquet, line 3, column 'LapNumber': must be at least 1, got '0.0'"),
        (_cut, "weather_2020.parquet: it cannot be decoded as Parquet, perhaps it is cut short"),
        (lambda p: (p / "laps_2020.parquet").unlink(), "fastf1: there is no laps_YYYY.parquet in the folder"),
    ],
)
def test_fastf1_faults(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    path = foreign.fastf1(tmp_path)
    damage(path)
    error = refused(foreign.ergast(tmp_path), None, path)
    assert message in str(error)
    assert str(error).endswith(FASTF1)


def test_a_season_without_weather_is_told(tmp_path: Path) -> None:
    path = foreign.fastf1(tmp_path)
    (path / "weather_2020.parquet").unlink()
    found = ingest(foreign.ergast(tmp_path), None, path)
    assert found.tables.weather.height == 0
    assert found.quality["timed races without weather"].examples == ("2020_race_1",)


def test_the_store_stays_as_it_was(tmp_path: Path) -> None:
    folder = foreign.ergast(tmp_path)
    write_store(ingest(folder).tables, tmp_path / "store")
    before = content(tmp_path / "store")
    (folder / "lap_times.csv").write_text(line(LAPS, 4, "10,1,3,1,x,fast"))
    with pytest.raises(SourceFileError):
        write_store(ingest(folder).tables, tmp_path / "store")
    assert content(tmp_path / "store") == before
    assert not list(tmp_path.glob(".store*"))


def test_a_reference_that_is_no_plain_name(tmp_path: Path) -> None:
    text = foreign.ERGAST["drivers.csv"].replace("sainz,", "car los/,", 1)
    error = refused(foreign.ergast(tmp_path, drivers=text))
    assert "column 'driverRef': must match" in str(error)
    assert "got 'car los/'" in str(error)
