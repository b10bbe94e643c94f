"""Entries of a coming race from a small file: a template that reads back, and errors that name the line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from f1_predict.errors import DataError, NotFoundError, SourceFileError
from f1_predict.schemas import Tables
from f1_predict.tables import ingest
from f1_predict.tables.entry_list import new_names, read_entry_list, template, with_entry_list
from f1_predict.tables.provenance import provenance_of
from f1_predict.tables.update import update_tables
from tests.tables import foreign

NOW = datetime(2021, 2, 20, tzinfo=UTC)
RACE = "2021_race_1"
HEADER = "driver_id,constructor_id,car_number,grid\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("entries")


@pytest.fixture(scope="module")
def tables(folder: Path) -> Tables:
    races = foreign.ERGAST["races.csv"] + "12,2021,1,1,Coming Grand Prix,2021-03-01,x\n"
    return ingest(foreign.ergast(folder, races=races)).tables


def written(folder: Path, text: str) -> Path:
    path = folder / "entries.csv"
    path.write_text(text)
    return path


def test_the_template_has_the_line_up_of_the_race_before_and_reads_back(tables: Tables, tmp_path: Path) -> None:
    text = template(tables, RACE)
    assert text.startswith("# Entries of 2021_race_1, Coming Grand Prix, 2021-03-01.")
    assert "# Filled with those of 2020_race_2: correct the line-up, then give the grid." in text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [HEADER.strip(), "ambrosio,blue,27,", "perez,red,11,", "sainz,red,55,"]
    listed = read_entry_list(written(tmp_path, text))
    assert listed.rows() == [("ambrosio", "blue", 27, 0), ("perez", "red", 11, 0), ("sainz", "red", 55, 0)]


def test_filled_in_it_becomes_the_entries_and_comes_back_in_the_next_template(tables: Tables, tmp_path: Path) -> None:
    listed = read_entry_list(written(tmp_path, HEADER + "perez,red,11,2\n\nrookie,blue,,1\nsainz,red,55,0\n"))
    found = with_entry_list(tables, provenance_of([]), RACE, listed, NOW)
    rows = found.tables.entries.filter(race_id=RACE).select("driver_id", "car_number", "grid").rows()
    assert rows == [("perez", 11, 2), ("rookie", None, 1), ("sainz", 55, 0)]
    assert [str(change) for change in found.changes] == ["2021_race_1 completed: 3 entries from an entry list"]
    assert found.provenance.select("table", "race_id", "source").rows() == [("entries", RACE, "entry_list")]
    found.tables.validate()
    assert new_names(tables, listed) == ["driver 'rookie'"]
    slips = read_entry_list(written(tmp_path, HEADER + "peres,bleu,11,2\n"))
    assert new_names(tables, slips) == [
        "driver 'peres' (did you mean perez?)",
        "constructor 'bleu' (did you mean blue?)",
    ]
    again = with_entry_list(found.tables, found.provenance, RACE, listed, NOW)
    assert again.changes == ()
    assert "rookie,blue,,1\nperez,red,11,2\nsainz,red,55,0\n" in template(found.tables, RACE)


def test_it_stands_until_the_result_is_there(tables: Tables, folder: Path, tmp_path: Path) -> None:
    listed = read_entry_list(written(tmp_path, HEADER + "perez,red,11,2\nsainz,red,55,1\n"))
    mine = with_entry_list(tables, provenance_of([]), RACE, listed, NOW)
    races = foreign.ERGAST["races.csv"] + "12,2021,1,1,Coming Grand Prix,2021-03-01,x\n"
    qualifying = foreign.ERGAST["qualifying.csv"] + "4,12,1,1,11,1,1:20.5,\\N,\\N\n5,12,2,1,55,2,1:21.0,\\N,\\N\n"
    before = ingest(foreign.ergast(tmp_path / "q", races=races, qualifying=qualifying)).tables
    from_service = _told(before)
    found = update_tables(mine.tables, mine.provenance, before, from_service)
    entries = found.tables.entries.filter(race_id=RACE)
    assert entries.select("driver_id", "grid", "qualifying_position", "q1_s").rows() == [
        ("perez", 2, 1, 80.5),
        ("sainz", 1, 2, 81.0),
    ]
    results = foreign.ERGAST["results.csv"] + "11,12,1,1,11,1,1,1,1,4,1\n12,12,2,1,55,2,2,2,2,4,1\n"
    run = ingest(foreign.ergast(tmp_path / "r", races=races, qualifying=qualifying, results=results)).tables
    final = update_tables(found.tables, found.provenance, run, _told(run))
    assert final.tables.entries.filter(race_id=RACE)["grid"].to_list() == [1, 2]
    assert "entry_list" not in final.provenance.filter(race_id=RACE)["source"].to_list()


def _told(tables: Tables):  # type: ignore[no-untyped-def]
    from tests.tables.test_update import told

    return told(tables, "jolpica")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"entries\.csv: there is no line in it\. Make a file"),
        (HEADER, r"entries\.csv: there is no driver in it"),
        ("driver_id,grid\nperez,1\n", r"line 1, column 'constructor_id': the column is missing"),
        ("# x\n" + HEADER + "perez,red,11\n", r"line 3: the row has 3 values where the header has 4"),
        (HEADER + "perez,red,11,1\npér,red,11,1\n", r"line 3, column 'driver_id': must be letters.*got 'pér'"),
        (HEADER + "perez,red,11,first\n", r"column 'grid': must be a whole number from 0 to 60, or empty, got 'first'"),
        (HEADER + "perez,red,1000,1\n", r"column 'car_number': must be a whole number from 0 to 999"),
        (HEADER + "perez,red,11,1\n#\nperez,red,12,2\n", r"line 4, column 'driver_id': 'perez' is there a second time"),
        (HEADER + "perez,red,11,1\nsainz,red,12,1\n", r"line 3, column 'grid': place 1 is given a second time"),
    ],
)
def test_bad_files_are_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceFileError, match=message):
        read_entry_list(written(tmp_path, text))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SourceFileError, match=r"it cannot be read \(No such file or directory\)\. Make a file"):
        read_entry_list(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceFileError, match="it is not UTF-8 text"):
        read_entry_list(tmp_path / "bytes.csv")


def test_races_that_cannot_have_one(tables: Tables) -> None:
    with pytest.raises(NotFoundError, match=r"no race '2021_race_9'\. Did you mean 2021_race_1.*Fetch the calendar"):
        template(tables, "2021_race_9")
    with pytest.raises(DataError, match=r"2020_race_1 has been run: its entries are those of its result"):
        template(tables, "2020_race_1")
