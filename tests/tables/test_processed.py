"""The design's way to the data, and the list of what has no laps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from f1_predict.errors import DataError, StoreError
from f1_predict.tables import (
    SkippedCounts,
    count_skipped,
    extract_lap_speeds,
    ingest,
    load_processed_races,
    races_of,
    write_skipped_races,
    write_store,
)
from tests.tables import foreign


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_store(ingest(foreign.ergast(tmp_path), foreign.f1db(tmp_path)).tables, tmp_path / "store")
    return tmp_path / "store"


def test_races_and_drivers_as_the_design_uses_them(store: Path) -> None:
    races = load_processed_races(seasons=[2020], processed_dir=store)
    assert [(r.id, r.season, r.round, r.name, r.scheduled_laps) for r in races] == [
        ("2020_race_1", 2020, 1, "Alpha, Grand Prix", 6),
        ("2020_race_2", 2020, 2, "Beta Grand Prix", 3),
    ]
    drivers = [(d.id, d.constructor_id, d.grid, d.finishing_position, d.dnf) for d in races[0].drivers]
    assert drivers == [
        ("ambrosio", "blue", 0, 3, True),
        ("perez", "red", 1, 1, False),
        ("sainz", "red", 2, 2, False),
    ]
    assert [d.laps.height for d in races[0].drivers] == [2, 4, 4]
    assert races[1].drivers[0].laps.height == 0


def test_all_seasons_by_default(store: Path) -> None:
    assert [race.id for race in load_processed_races(processed_dir=store)] == [
        "1955_race_1", "2020_race_1", "2020_race_2",
    ]  # fmt: skip


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no processed store here"):
        load_processed_races(processed_dir=tmp_path)


def test_speeds(store: Path) -> None:
    race = load_processed_races([2020], store)[0]
    assert extract_lap_speeds(race, race.drivers[1]) == [180.0, 180.0, 150.0, 180.0]


def test_a_missing_lap_is_nan_and_no_laps_are_no_speeds(tmp_path: Path) -> None:
    lap_times = "raceId,driverId,lap,position,time,milliseconds\n10,1,2,1,x,100000\n10,1,4,1,x,100000\n"
    race = races_of(ingest(foreign.ergast(tmp_path, lap_times=lap_times), foreign.f1db(tmp_path)).tables)[1]
    ambrosio, perez, _ = race.drivers
    speeds = extract_lap_speeds(race, perez)
    assert [math.isnan(speed) for speed in speeds] == [True, False, True, False]
    assert speeds[1] == 180.0
    assert extract_lap_speeds(race, ambrosio) == []


def test_without_the_course_length_there_are_no_speeds(tmp_path: Path) -> None:
    race = races_of(ingest(foreign.ergast(tmp_path)).tables)[1]
    with pytest.raises(DataError, match=r"2020_race_1 .*course length is unknown.*Ingest again with f1db"):
        extract_lap_speeds(race, race.drivers[0])


def test_a_race_without_result_has_no_finishing_positions(tmp_path: Path) -> None:
    races = foreign.ERGAST["races.csv"] + "12,2021,1,1,Coming Grand Prix,2021-03-01,x\n"
    qualifying = foreign.ERGAST["qualifying.csv"] + "4,12,2,1,55,1,1:20.0,\\N,\\N\n"
    coming = races_of(ingest(foreign.ergast(tmp_path, races=races, qualifying=qualifying)).tables)[-1]
    assert [(d.id, d.grid, d.finishing_position, d.dnf) for d in coming.drivers] == [("sainz", 1, None, None)]


def test_skipped_races(tmp_path: Path) -> None:
    tables = ingest(foreign.ergast(tmp_path)).tables
    path = tmp_path / "multimodal" / "skipped_races.json"
    assert write_skipped_races(tables, path) == SkippedCounts(races=1, drivers=1)
    assert count_skipped(path) == SkippedCounts(races=1, drivers=1)
    assert str(count_skipped(path)) == "1 races without laps, 1 drivers without laps in the others"
    assert json.loads(path.read_text()) == {
        "counts": {"races": 1, "drivers": 1},
        "races": [{"race_id": "1955_race_1", "season": 1955, "name": "Old Grand Prix", "reason": "no lap is recorded"}],
        "drivers": [{"race_id": "2020_race_2", "driver_id": "ambrosio", "reason": "completed no lap (Withdrew)"}],
    }
    assert [file.name for file in path.parent.iterdir()] == ["skipped_races.json"]


def test_laps_completed_but_not_recorded_are_told_apart(tmp_path: Path) -> None:
    rows = "raceId,driverId,lap,position,time,milliseconds\n10,1,1,1,x,100000\n"
    path = tmp_path / "skipped.json"
    write_skipped_races(ingest(foreign.ergast(tmp_path, lap_times=rows)).tables, path)
    drivers = json.loads(path.read_text())["drivers"]
    assert drivers[1] == {"race_id": "2020_race_1", "driver_id": "sainz", "reason": "4 laps completed, none recorded"}


@pytest.mark.parametrize("text", ["", "[]", '{"counts": {"races": 1}}', '{"counts": {"races": "x", "drivers": 0}}'])
def test_a_file_that_is_no_list_of_skipped_races_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "skipped.json").write_text(text)
    with pytest.raises(StoreError, match="is no list of skipped races"):
        count_skipped(tmp_path / "skipped.json")


def test_a_missing_list_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        count_skipped(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_skipped_races(ingest(foreign.ergast(tmp_path)).tables, tmp_path / "file" / "skipped.json")
