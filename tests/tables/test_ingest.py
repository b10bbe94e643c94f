"""The three foreign layouts become the canonical tables, and nothing goes missing in silence."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from f1_predict.errors import SourceFileError
from f1_predict.schemas import Tables
from f1_predict.tables import Ingested, ingest
from tests.tables import foreign


def column(frame: pl.DataFrame, name: str, **where: object) -> list[object]:
    return frame.filter(**where)[name].to_list()  # type: ignore[arg-type]


def one(frame: pl.DataFrame, **where: object) -> dict[str, object]:
    rows = frame.filter(**where)  # type: ignore[arg-type]
    assert rows.height == 1
    return rows.row(0, named=True)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    tmp_path = tmp_path_factory.mktemp("full")
    return ingest(foreign.ergast(tmp_path), foreign.f1db(tmp_path), foreign.fastf1(tmp_path))


def test_races_in_order_of_time_with_course_and_schedule(full: Ingested) -> None:
    races = full.tables.races
    assert races["race_id"].to_list() == ["1955_race_1", "2020_race_1", "2020_race_2"]
    assert one(races, race_id="2020_race_1") == {
        "race_id": "2020_race_1",
        "season": 2020,
        "round": 1,
        "name": "Alpha, Grand Prix",
        "date": date(2020, 3, 1),
        "circuit_id": "alpha",
        "course_length_km": 5.0,
        "scheduled_laps": 6,
        "circuit_type": "RACE",
        "direction": "CLOCKWISE",
        "turns": 12,
    }
    # f1db's `laps` where it names no scheduled laps; the winner's where f1db lacks the race.
    assert races["scheduled_laps"].to_list() == [51, 6, 3]
    assert full.quality["scheduled laps taken from laps run"].examples == ("1955_race_1 Old Grand Prix 1955-05-01",)
    assert full.quality["races without course data"].count == 1


def test_without_f1db_the_schedule_is_the_laps_run_and_said_so(tmp_path: Path) -> None:
    found = ingest(foreign.ergast(tmp_path))
    assert found.tables.races["scheduled_laps"].to_list() == [51, 4, 3]
    assert found.quality["scheduled laps taken from laps run"].count == 3
    assert found.tables.laps["speed_kmh"].null_count() == found.tables.laps.height
    assert found.tables.weather.height == 0


@pytest.mark.parametrize(("circuit", "length", "laps"), [("1", "5.0", 61), ("3", "3.337", 78), ("1", "7.004", 44)])
def test_a_coming_race_follows_the_distance_rule(tmp_path: Path, circuit: str, length: str, laps: int) -> None:
    races = foreign.ERGAST["races.csv"] + f"12,2021,1,{circuit},Coming Grand Prix,2021-03-01,x\n"
    qualifying = foreign.ERGAST["qualifying.csv"] + "4,12,2,1,55,1,1:20.0,\\N,\\N\n5,12,1,1,11,2,1:21.0,\\N,\\N\n"
    courses = foreign.F1DB["f1db-races.csv"] + f"3,2021,1,2021-03-01,x,RACE,CLOCKWISE,{length},12,,\n"
    found = ingest(
        foreign.ergast(tmp_path, races=races, qualifying=qualifying), foreign.f1db(tmp_path, f1db_races=courses)
    )
    assert one(found.tables.races, race_id="2021_race_1")["scheduled_laps"] == laps
    # Nobody has a result: those who qualified are the entries, in that order.
    assert column(found.tables.entries, "driver_id", race_id="2021_race_1") == ["perez", "sainz"]
    assert column(found.tables.entries, "grid", race_id="2021_race_1") == [2, 1]
    assert column(found.tables.results, "driver_id", race_id="2021_race_1") == []


def test_a_coming_race_of_unknown_length_takes_the_last_race_there(tmp_path: Path) -> None:
    races = foreign.ERGAST["races.csv"] + "12,2021,1,1,Coming Grand Prix,2021-03-01,x\n"
    path = foreign.ergast(tmp_path, races=races)
    assert ingest(path).tables.races["scheduled_laps"].to_list() == [51, 4, 3, 4]
    by_length = ingest(path, foreign.f1db(tmp_path)).tables.races
    assert by_length["scheduled_laps"].to_list() == [51, 6, 3, 61]


def test_a_coming_race_of_unknown_length_at_a_new_circuit_is_refused(tmp_path: Path) -> None:
    races = foreign.ERGAST["races.csv"] + "12,2021,1,3,Coming Grand Prix,2021-03-01,x\n"
    with pytest.raises(SourceFileError) as caught:
        ingest(foreign.ergast(tmp_path, races=races))
    assert "the scheduled laps of 2021_race_1 (Coming Grand Prix) are unknown" in str(caught.value)
    assert "--f1db DIR" in str(caught.value)


def test_a_shared_drive_keeps_the_best_place_and_ranks_stay_unique(full: Ingested) -> None:
    results = full.tables.results.filter(race_id="1955_race_1")
    assert dict(results.select("driver_id", "position").iter_rows()) == {"ambrosio": 1, "perez": 2, "sainz": 3}
    assert one(results, driver_id="perez")["laps_completed"] == 50
    check = full.quality["duplicate results removed (shared drives, best place kept)"]
    assert (check.count, check.examples) == (1, ("1955_race_1 perez",))


def test_results_and_entries_hold_every_row_even_of_those_who_withdrew(full: Ingested) -> None:
    tables = full.tables
    pair = ["race_id", "driver_id"]
    assert tables.entries.select(pair).equals(tables.results.select(pair))
    withdrew = one(tables.results, race_id="2020_race_2", driver_id="ambrosio")
    assert (withdrew["classified"], withdrew["status"], withdrew["laps_completed"]) == (False, "Withdrew", 0)
    assert column(tables.results, "classified", race_id="2020_race_1") == [False, True, True]


def test_grid_penalties_and_sessions(full: Ingested) -> None:
    entries = full.tables.entries
    perez = one(entries, race_id="2020_race_1", driver_id="perez")
    assert (perez["q1_s"], perez["q2_s"], perez["q3_s"]) == (90.5, 89.0, 58.25)
    assert (perez["fp1_s"], perez["fp2_s"], perez["fp3_s"]) == (92.1, None, None)
    ambrosio = one(entries, race_id="2020_race_1", driver_id="ambrosio")
    assert (ambrosio["grid"], ambrosio["grid_penalty"], ambrosio["fp2_s"]) == (0, None, 91.0)
    assert one(entries, race_id="2020_race_1", driver_id="sainz")["grid_penalty"] == 5
    # f1db's grid goes first, and each difference is told.
    assert one(entries, race_id="2020_race_2", driver_id="perez")["grid"] == 3
    check = full.quality["grid places in conflict (f1db's kept)"]
    assert set(check.examples) == {"2020_race_1 ambrosio 3 0", "2020_race_2 perez 2 3"}
    assert full.quality["practice times over 15 minutes (null)"].examples == ("2020_race_1 perez",)
    assert full.quality["practice rows of drivers who did not start"].examples == ("2020_race_1 rudolf-reserve",)
    assert full.quality["starters without a grid row (Ergast's grid kept)"].examples == ("2020_race_2 ambrosio",)


def test_start_from_the_back_counts_the_places_lost(tmp_path: Path) -> None:
    qualifying = foreign.ERGAST["qualifying.csv"] + "4,11,1,1,11,1,1:20.0,\\N,\\N\n"
    found = ingest(foreign.ergast(tmp_path, qualifying=qualifying), foreign.f1db(tmp_path))
    assert one(found.tables.entries, race_id="2020_race_2", driver_id="perez")["grid_penalty"] == 2


def test_the_race_clock_sums_lap_times_and_speed_is_length_over_time(full: Ingested) -> None:
    laps = full.tables.laps
    assert column(laps, "end_time_s", race_id="2020_race_1", driver_id="perez") == [100.0, 200.0, 320.0, 420.0]
    assert column(laps, "speed_kmh", race_id="2020_race_1", driver_id="perez") == [180.0, 180.0, 150.0, 180.0]
    assert column(laps, "implausible", race_id="2020_race_1", driver_id="ambrosio") == [False, True]
    assert full.quality["implausible laps flagged"].examples == ("2020_race_1 ambrosio 2 702.0",)
    assert full.quality["laps whose clock disagrees with the running order"].count == 0


def test_pit_stops_come_from_either_source(full: Ingested) -> None:
    laps = full.tables.laps
    assert column(laps, "pit_in", race_id="2020_race_1", driver_id="perez") == [False, True, False, False]
    assert column(laps, "pit_out", race_id="2020_race_1", driver_id="perez") == [False, False, True, False]
    assert column(laps, "pit_in", race_id="2020_race_1", driver_id="sainz") == [False, False, True, False]
    assert column(laps, "pit_out", race_id="2020_race_1", driver_id="sainz") == [False, False, False, True]
    # FastF1's way out of the pits on lap 1 is the way to the grid; a start from the pit lane is grid 0.
    assert column(laps, "pit_out", race_id="2020_race_1", driver_id="ambrosio") == [True, False]
    # Nobody recorded stops in the second race: unknown is not "no".
    assert column(laps, "pit_in", race_id="2020_race_2") == [None] * 6


def test_tyres_track_status_and_weather(full: Ingested) -> None:
    laps = full.tables.laps
    assert column(laps, "compound", race_id="2020_race_1", driver_id="perez") == [None, *["HYPERSOFT"] * 3]
    assert column(laps, "tyre_life", race_id="2020_race_1", driver_id="perez") == [1, 2, 3, 4]
    assert column(laps, "track_status", race_id="2020_race_1", driver_id="perez") == ["12", "12", "12", None]
    assert column(laps, "speed_trap_kmh", race_id="2020_race_1", driver_id="perez") == [None, 301.0, None, None]
    assert full.quality["compounds not named (null)"].count == 3
    assert full.tables.weather["time_s"].to_list() == [-60.0, 0.0, 780.0]
    assert full.tables.weather["rainfall"].to_list() == [False, False, True]


def test_a_zip_file_reads_as_its_folder(tmp_path: Path) -> None:
    folder = foreign.ergast(tmp_path)
    assert_equal(ingest(foreign.zipped(folder)).tables, ingest(folder).tables)


def test_seasons_keep_only_their_races(tmp_path: Path) -> None:
    folders = foreign.ergast(tmp_path), foreign.f1db(tmp_path), foreign.fastf1(tmp_path)
    old = ingest(*folders, seasons=(1950, 1960)).tables
    assert old.races["race_id"].to_list() == ["1955_race_1"]
    assert (old.laps.height, old.weather.height, old.results.height) == (0, 0, 3)
    assert ingest(*folders, seasons=(2020, 2020)).tables.races["race_id"].to_list() == ["2020_race_1", "2020_race_2"]


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    def turned(text: str) -> str:
        header, *rows = text.strip().split("\n")
        return "\n".join([header, *reversed(rows)]) + "\n"

    straight = ingest(foreign.ergast(tmp_path / "a"), foreign.f1db(tmp_path / "a"), foreign.fastf1(tmp_path / "a"))
    # Shared cars are ranked in the order of the file, so results stay as they are.
    names = ("races", "lap_times", "drivers", "circuits", "qualifying", "pit_stops")
    changes = {name: turned(foreign.ERGAST[f"{name}.csv"]) for name in names}
    grid = {"f1db_races_starting_grid_positions": turned(foreign.F1DB["f1db-races-starting-grid-positions.csv"])}
    rows = list(reversed(foreign.timing_rows()))
    other = ingest(
        foreign.ergast(tmp_path / "b", **changes), foreign.f1db(tmp_path / "b", **grid),
        foreign.fastf1(tmp_path / "b", rows),
    )  # fmt: skip
    assert_equal(other.tables, straight.tables)


def assert_equal(left: Tables, right: Tables) -> None:
    for name in ("races", "entries", "results", "laps", "weather"):
        assert getattr(left, name).equals(getattr(right, name)), name
