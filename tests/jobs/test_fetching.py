"""A fetch as a whole: every path to the same tables, nothing asked twice, corrections told, gaps named."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from f1_predict.cli import main
from f1_predict.errors import ConfigError, DiskError, DownloadError, StoreError
from f1_predict.jobs import fetching
from f1_predict.jobs.fetching import Request, fetch_races, parse_sources
from f1_predict.jobs.stores import ingest_races
from f1_predict.schemas import Tables
from f1_predict.sources.f1db_release import stored_release
from f1_predict.sources.http import PoliteClient
from f1_predict.sources.jolpica_frames import read_jolpica
from f1_predict.sources.locking import exclusive
from f1_predict.sources.raw import RawCache
from f1_predict.tables import SIMULATED, ingest, write_store
from f1_predict.tables.status import coverage, gaps
from f1_predict.tables.store import read_provenance
from tests.small_tables import random_tables
from tests.sources.fake_services import FakeServices, Fault, serving, zip_of
from tests.sources.fake_sessions import LimitError
from tests.sources.fetching import Bench, small_bench
from tests.tables import foreign
from tests.tables.test_ingest import assert_equal, column


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the schemas out, which take most of the time, but for the tests that ask for them."""
    if "checked" not in request.fixturenames:
        monkeypatch.setattr(Tables, "validate", lambda self: self)


@pytest.fixture
def checked() -> None:
    """Every table is held against its schema at each step."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with serving(FakeServices(foreign.ergast(tmp_path), foreign.f1db(tmp_path))) as services:
        yield small_bench(tmp_path, services)


def paths(bench: Bench) -> list[str]:
    """What was asked of Jolpica, without the paging."""
    return [p.split("/f1/")[1].split("?")[0].strip("/") for p in bench.services.asked if "/ergast/" in p]


def test_every_path_gives_the_same_tables(bench: Bench, checked: None) -> None:
    """The dump, and Jolpica, f1db's archive and FastF1's sessions: no difference at all."""
    bench.fetch(1955, 2020)
    dumped = ingest(bench.folder / "ergast", bench.folder / "f1db", bench.folder / "fastf1").tables
    assert_equal(bench.tables(), dumped)


def test_a_second_fetch_asks_only_what_may_have_changed_and_changes_nothing(bench: Bench) -> None:
    bench.fetch(1955, 2020)
    assert sorted(paths(bench)) == sorted(
        [
            *("1955/races", "1955/results", "1955/qualifying"),
            *("2020/races", "2020/results", "2020/qualifying"),
            *("2020/1/laps", "2020/1/pitstops", "2020/2/laps", "2020/2/pitstops"),
        ]
    )
    before = bench.content()
    bench.services.asked.clear()
    outcome = bench.fetch(1955, 2020)
    assert paths(bench) == ["2020/races"]  # the calendar of a running season
    assert bench.fastf1.asked == [(2020, 1), (2020, 2), (2020, 2)]  # what could not be had is tried again
    assert bench.content() == before
    assert outcome.changes == []
    assert "nothing changed" in bench.said.getvalue()
    bench.clock.set(datetime(2021, 6, 1, tzinfo=UTC))
    bench.fetch(1955, 2020)
    bench.services.asked.clear()
    bench.fetch(1955, 2020)
    assert paths(bench) == []  # all of it is final


def test_each_table_remembers_source_version_and_time_of_every_race(bench: Bench) -> None:
    bench.fetch(2020)
    found = read_provenance(bench.out)
    rows = found.filter(race_id="2020_race_1").select("table", "source").rows()
    assert rows == [
        *[("races", "f1db"), ("races", "jolpica"), ("entries", "f1db"), ("entries", "jolpica")],
        *[("results", "jolpica"), ("laps", "fastf1"), ("laps", "jolpica"), ("weather", "fastf1")],
    ]
    assert found.filter(source="f1db")["version"].unique().to_list() == ["v2024.1.0"]
    assert set(found["fetched"]) == {datetime(2020, 6, 1, tzinfo=UTC)}
    assert found["version"].str.len_chars().min() > 5


def test_corrected_results_replace_the_old_and_say_so(bench: Bench) -> None:
    bench.fetch(1955, 2020)
    before = bench.tables()
    first, second = bench.services.rows["results"]["10"][:2]
    first["positionOrder"], second["positionOrder"] = "2", "1"
    first["positionText"], second["positionText"] = "2", "1"
    bench.clock.set(datetime(2020, 7, 1, tzinfo=UTC))
    assert bench.fetch(2020).changes == []  # final, as far as a fetch is concerned
    outcome = bench.update()
    assert [str(change) for change in outcome.changes] == ["2020_race_1 corrected: results sainz 2 -> 1, perez 1 -> 2"]
    assert str(outcome.changes[0]) in bench.said.getvalue()
    after = bench.tables()
    assert column(after.results, "position", race_id="2020_race_1") == [3, 2, 1]
    others = pl.col("race_id") != "2020_race_1"
    assert_equal(after.map(lambda _, f: f.filter(others)), before.map(lambda _, f: f.filter(others)))
    origins = read_provenance(bench.out)
    moments = dict(origins.filter(table="results").select("race_id", "fetched").iter_rows())
    assert moments["2020_race_1"] == datetime(2020, 7, 1, tzinfo=UTC)
    assert moments["2020_race_2"] == datetime(2020, 6, 1, tzinfo=UTC)
    report = json.loads((bench.out.parent / "processed_fetch.json").read_text())
    assert report["changes"][0]["kind"] == "corrected"


def test_a_season_is_kept_current_round_by_round(bench: Bench) -> None:
    results, laps = bench.services.rows["results"].pop("11"), bench.services.rows["lap_times"].pop("11")
    bench.clock.set(datetime(2020, 3, 2, tzinfo=UTC))
    outcome = bench.fetch(2020)
    assert [str(change) for change in outcome.changes] == [
        "2020_race_1 added: Alpha, Grand Prix, 3 entries, 3 results, 10 laps",
        "2020_race_2 added: Beta Grand Prix, coming",
    ]
    assert bench.tables().races["scheduled_laps"].to_list() == [6, 3]
    bench.services.rows["results"]["11"], bench.services.rows["lap_times"]["11"] = results, laps
    bench.clock.set(datetime(2020, 3, 9, tzinfo=UTC))
    again = bench.update()
    assert [str(change) for change in again.changes] == [
        "2020_race_2 completed: 3 entries new; 3 results new; 6 laps new"
    ]
    dumped = ingest(bench.folder / "ergast", bench.folder / "f1db", bench.folder / "fastf1", (2020, 2020)).tables
    assert_equal(bench.tables(), dumped)


def test_laps_that_come_days_later_are_asked_for_again(bench: Bench) -> None:
    laps = bench.services.rows["lap_times"].pop("11")
    bench.clock.set(datetime(2020, 3, 9, tzinfo=UTC))
    bench.fetch(2020)
    assert bench.tables().laps["race_id"].unique().to_list() == ["2020_race_1"]
    bench.services.rows["lap_times"]["11"] = laps
    bench.clock.set(datetime(2020, 3, 10, tzinfo=UTC))
    outcome = bench.fetch(2020)
    assert [str(change) for change in outcome.changes] == ["2020_race_2 completed: 6 laps new"]


def test_laps_without_places_take_the_order_of_the_race_clock_until_they_come(bench: Bench) -> None:
    rows = bench.services.rows["lap_times"]["10"]
    places = [row["position"] for row in rows]
    for row in rows:
        row["position"] = None
    outcome = bench.fetch(2020)
    untold = outcome.checks["ergast", "laps without a place (the race clock's taken)"]
    assert (untold.count, untold.total) == (10, 16)
    dumped = ingest(bench.folder / "ergast", bench.folder / "f1db", bench.folder / "fastf1", (2020, 2020)).tables
    assert_equal(bench.tables(), dumped)
    for row, place in zip(rows, places, strict=True):
        row["position"] = {"1": "2", "2": "1"}.get(place, place)
    bench.clock.set(datetime(2020, 9, 1, tzinfo=UTC))
    assert bench.fetch(2020).changes == []  # final, as far as a fetch is concerned
    assert [change.kind for change in bench.update().changes] == ["corrected"]
    assert column(bench.tables().laps, "position", driver_id="sainz", race_id="2020_race_1") == [1, 1, 1, 1]
    bench.services.asked.clear()
    bench.update()
    assert "2020/1/laps" not in paths(bench)


def test_a_coming_race_has_the_entries_of_its_qualifying(bench: Bench) -> None:
    services = bench.services
    services.rows["results"].pop("11")
    services.rows["lap_times"].pop("11")
    services.rows["qualifying"]["11"] = [row | {"raceId": "11"} for row in services.rows["qualifying"]["10"]]
    grid = foreign.F1DB["f1db-races-starting-grid-positions.csv"].split("2,2020,2,")[0]
    services.archive = zip_of(foreign.f1db(bench.folder / "f", f1db_races_starting_grid_positions=grid))
    bench.clock.set(datetime(2020, 3, 7, 18, tzinfo=UTC))
    bench.fetch(2020)
    entries = bench.tables().entries.filter(race_id="2020_race_2")
    assert entries.select("driver_id", "grid").rows() == [("ambrosio", 3), ("perez", 1), ("sainz", 2)]


def test_a_coming_race_at_an_unknown_circuit_is_left_out_and_named(bench: Bench) -> None:
    new = {"raceId": "12", "year": "2020", "round": "3", "circuitId": "3", "name": "New Grand Prix"}
    bench.services.calendar["2020"].append(new | {"date": "2020-09-01", "url": "x"})
    outcome = bench.fetch(2020)
    assert bench.tables().races["race_id"].to_list() == ["2020_race_1", "2020_race_2"]
    assert [m.race_id for m in outcome.missing if "scheduled laps of New Grand Prix" in m.what] == ["2020_race_3"]


def test_a_coming_race_at_a_circuit_of_an_earlier_season_takes_its_length_from_the_store(bench: Bench) -> None:
    bench.fetch(2020)
    new = {"raceId": "12", "year": "2021", "round": "1", "circuitId": "1", "name": "Alpha again"}
    bench.services.calendar["2021"] = [new | {"date": "2021-03-01", "url": "x"}]
    bench.clock.set(datetime(2021, 1, 10, tzinfo=UTC))
    bench.update()
    race = bench.tables().races.row(2, named=True)
    assert (race["race_id"], race["scheduled_laps"], race["course_length_km"]) == ("2021_race_1", 61, None)


def test_a_cancelled_race_goes(bench: Bench) -> None:
    new = {"raceId": "12", "year": "2020", "round": "3", "circuitId": "1", "name": "Alpha again"}
    bench.services.calendar["2020"].append(new | {"date": "2020-09-01", "url": "x"})
    bench.fetch(2020)
    assert bench.tables().races.height == 3
    bench.services.calendar["2020"].pop()
    outcome = bench.update()
    assert [str(change) for change in outcome.changes] == [
        "2020_race_3 removed: Alpha again of 2020-09-01 is no longer in the calendar"
    ]
    assert bench.tables().races.height == 2


def test_less_sources_later_lose_nothing(bench: Bench) -> None:
    bench.fetch(2020)
    full, before = bench.tables(), bench.content()
    other = small_bench(bench.folder, bench.services)
    other.folder = bench.folder / "other"
    other.fetch(2020, sources=("jolpica",))
    poor = other.tables()
    assert poor.weather.height == 0
    assert poor.races["course_length_km"].null_count() == 2
    write_store(full, other.out, provenance=read_provenance(bench.out))
    assert other.update(sources=("jolpica",)).changes == []
    assert other.content() == before


def test_more_sources_later_complete_it(bench: Bench) -> None:
    bench.fetch(2020, sources=("jolpica",))
    outcome = bench.fetch(2020)
    text = str(outcome.changes[0])
    assert "races 1 of 1 rows (course_length_km, scheduled_laps, circuit_type, direction, turns)" in text
    assert text.endswith("3 weather new")
    dumped = ingest(bench.folder / "ergast", bench.folder / "f1db", bench.folder / "fastf1", (2020, 2020)).tables
    assert_equal(bench.tables(), dumped)


def test_gaps_are_named_by_race_and_nothing_stops(bench: Bench) -> None:
    bench.fastf1.sessions[2020, 1].frames["weather"] = None
    bench.services.archive = None
    outcome = bench.fetch(2020)
    assert [(m.race_id, m.what) for m in outcome.missing] == [
        ("2020", "f1db's release"),
        ("2020_race_1", "weather"),
        ("2020_race_2", "the session (ValueError: Failed to load any schedule data for 2020 round 2)"),
    ]
    said = bench.said.getvalue()
    assert "missing in 2020_race_1 (race): weather" in said
    assert "it answers 404 (Not Found)" in said
    assert bench.tables().laps.height == 16


def test_fastf1s_limit_ends_its_part_only_and_not_before_an_hour(bench: Bench) -> None:
    bench.fastf1.failures[2020, 1] = LimitError("any API: 500 calls/h")
    start = bench.clock.now
    outcome = bench.fetch(2020)
    assert set(bench.fastf1.asked) == {(2020, 1)}
    assert 3600.0 < bench.clock.now - start < 5400.0
    assert "FastF1 has used up the hourly limit of a service (any API: 500 calls/h)" in bench.said.getvalue()
    assert outcome.missing[-1].what == "the session and those after it"
    assert bench.tables().races.height == 2


def test_conflicts_between_sources_are_told(bench: Bench) -> None:
    laps = bench.fastf1.sessions[2020, 1].frames["laps"]
    late = (laps["Driver"] == "SAI") & (laps["LapNumber"] >= 3)
    laps.loc[late, "Time"] += timedelta(seconds=0.8)
    laps.loc[laps["LapNumber"] == 3, "TrackStatus"] = "15"
    outcome = bench.fetch(2020)
    near = outcome.checks["fastf1", "of these around red flags, where the session clock is right"]
    assert near.examples == ("2020_race_1 sainz 3 121.0 121.8",)
    assert "fastf1: lap times over 0.5 s off the session clock (Ergast's kept): 1 of 7 (first: 2020_race_1" in (
        bench.said.getvalue()
    )
    report = json.loads((bench.out.parent / "processed_fetch.json").read_text())
    assert {"fastf1", "f1db"} <= {check["source"] for check in report["checks"]}
    assert column(bench.tables().laps, "lap_time_s", driver_id="sainz", race_id="2020_race_1")[2] == 121.0


@pytest.mark.parametrize("fault", [Fault(cut=1000), Fault(change=lambda data: data[: len(data) // 2])])
def test_a_truncated_archive_is_asked_for_again(bench: Bench, fault: Fault) -> None:
    bench.services.faults = [None, None, fault]  # the calendar, the redirect, the archive
    bench.fetch(2020)
    assert bench.tables().races["course_length_km"].to_list() == [5.0, 4.0]
    assert sum("/download/v2024.1.0/" in path for path in bench.services.asked) == 2


def test_a_kill_between_archive_and_note_leaves_the_old_release(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fetch(2020)
    cache, write = RawCache(bench.raw, bench.clock.utc), RawCache.write
    races = foreign.F1DB["f1db-races.csv"] + "\n"
    bench.services.archive = zip_of(foreign.f1db(bench.folder / "next", f1db_races=races))
    bench.services.release = "v2024.2.0"

    def killed(self: RawCache, payload: object, *parts: str) -> object:
        if parts[-1] == "release":
            raise KeyboardInterrupt
        return write(self, payload, *parts)

    with monkeypatch.context() as patch:
        patch.setattr(RawCache, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.update()
    kept = stored_release(cache)
    assert kept is not None
    assert kept.version == "v2024.1.0"
    bench.update()
    assert sorted(file.suffix for file in (bench.raw / "f1db").iterdir()) == [".json", ".zip"]


def test_an_archive_of_another_layout_is_named(bench: Bench, tmp_path: Path) -> None:
    other = foreign.f1db(tmp_path / "other", f1db_races=foreign.F1DB["f1db-races.csv"].replace("courseLength", "km"))
    bench.services.archive = zip_of(other)
    outcome = bench.fetch(2020)
    assert outcome.missing[0].what == "f1db's release"
    assert "the archive cannot be used (f1db-races.csv: the column is missing" in bench.said.getvalue()


def test_a_newer_release_that_says_the_same_of_a_race_leaves_it_untouched(bench: Bench) -> None:
    bench.fetch(2020)
    before = bench.content()
    bench.services.release = "v2024.2.0"
    bench.services.archive = zip_of(
        foreign.f1db(bench.folder / "next", f1db_races=foreign.F1DB["f1db-races.csv"] + "\n")
    )
    assert bench.update().changes == []
    assert bench.content() == before


def test_an_error_keeps_what_came_before_it_and_a_second_start_goes_on(bench: Bench) -> None:
    bench.services.faults = [None] * 8 + [Fault(500)] * bench.attempts
    with pytest.raises(DownloadError, match=r"2020/1/laps/: it answers 500 .*start again later"):
        bench.fetch(1955, 2020)
    assert bench.tables().races["race_id"].to_list() == ["1955_race_1"]
    asked = paths(bench)
    bench.services.asked.clear()
    bench.fetch(1955, 2020)
    assert set(paths(bench)) & set(asked) == {"2020/races", "2020/1/laps"}


def test_an_interruption_says_that_all_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fetch(1955)
    report = bench.out.parent / "processed_fetch.json"
    before, ask = report.read_bytes(), PoliteClient._ask

    def interrupted(self: PoliteClient, url: str, params: object) -> object:
        if "2020/results" in url:
            raise KeyboardInterrupt
        return ask(self, url, params)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(PoliteClient, "_ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench.fetch(2020, sources=("jolpica",))
    assert "Interrupted. What was fetched is kept: the same command goes on from there." in bench.said.getvalue()
    assert report.read_bytes() == before  # it had nothing to add to the one before it
    assert len(bench.fetch(2020).changes) == 2


def test_a_place_where_no_store_can_be_is_told_before_the_first_request(bench: Bench) -> None:
    bench.out.mkdir(parents=True)
    bench.fetch(1955)  # an empty folder is one
    bench.services.asked.clear()
    taken = bench.folder / "mine"
    taken.mkdir()
    (taken / "notes.txt").touch()
    for out, message in ((taken, "holds 'notes.txt', which is no part of a store"), (taken / "notes.txt", "is a file")):
        with pytest.raises(StoreError, match=message):
            fetch_races(bench.console, Request((2020,), ("jolpica",), out, bench.raw), bench.config, bench.world)
    nowhere = Request((2020,), ("jolpica",), taken / "notes.txt" / "data" / "processed", bench.raw)
    with pytest.raises(StoreError, match=r"processed: cannot be written \(Not a directory\)"):
        fetch_races(bench.console, nowhere, bench.config, bench.world)
    assert bench.services.asked == []


def test_the_limits_hold_through_a_fetch_and_the_time_left_is_told(bench: Bench) -> None:
    config = bench.config.model_copy(update={"keep_limits": True, "requests_per_hour": 5})
    request = Request((1955, 2020), ("jolpica",), bench.out, bench.raw)
    start = bench.clock.now
    fetch_races(bench.console, request, config, bench.world)
    assert len(paths(bench)) == 10
    assert 3600.0 <= bench.clock.now - start < 3700.0
    # FastF1 asks Jolpica too, and it is allowed for: two requests each for the sessions of two races.
    fetch_races(bench.console, replace(request, sources=("fastf1",)), config, bench.world)
    assert len((bench.folder / "state/requests_127.0.0.1.log").read_text().splitlines()) == 5 + 4


def test_the_limits_are_the_users_whatever_his_stores(bench: Bench) -> None:
    config = bench.config.model_copy(update={"keep_limits": True, "requests_per_hour": 10})
    start = bench.clock.now
    for store in ("a", "b"):
        folder = bench.folder / store
        request = Request((1955, 2020), ("jolpica",), folder / "processed", folder / "raw")
        fetch_races(bench.console, request, config, bench.world)
        assert bench.clock.now - start == pytest.approx(3600.0 if store == "b" else 0.0, abs=10.0)
    # Who may not write to his own folder keeps them by store.
    (bench.folder / "locked").write_text("")
    elsewhere = Request((2020,), ("jolpica",), bench.out, bench.raw)
    fetch_races(bench.console, elsewhere, config, replace(bench.world, state=bench.folder / "locked"))
    assert len((bench.raw / "jolpica/requests_127.0.0.1.log").read_text().splitlines()) == 7


def test_two_fetches_at_once_are_refused(bench: Bench) -> None:
    caught: list[Exception] = []

    def other() -> None:
        try:
            bench.fetch(2020)
        except StoreError as error:
            caught.append(error)

    with exclusive(bench.raw, "folder of fetched answers"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "another f1-predict is writing this folder of fetched answers now. Wait until" in str(caught[0])
    assert bench.services.asked == []


def test_real_races_do_not_go_among_simulated_ones(bench: Bench) -> None:
    write_store(random_tables(1), bench.out, source=SIMULATED)
    with pytest.raises(StoreError, match=r"holds simulated races, and real ones do not belong among them"):
        bench.fetch(2020)
    assert bench.services.asked == []


def test_seasons_and_sources_that_cannot_be(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"seasons must lie between 1950 and 2021, got 2031"):
        bench.fetch(2031)
    with pytest.raises(ConfigError, match=r"--source must name some of jolpica, fastf1, f1db, .*got 'jolpika'"):
        parse_sources("jolpika")
    assert parse_sources(" f1db,jolpica,f1db ") == ("f1db", "jolpica")
    with pytest.raises(StoreError, match=r"there is no store to update\. Begin with 'f1-predict fetch --seasons 2020'"):
        bench.update()
    with pytest.raises(DownloadError, match=r"there is no calendar of 2020\. It comes from Jolpica: 'f1-predict fetch"):
        bench.fetch(2020, sources=("f1db",))
    with pytest.raises(
        DownloadError, match=r"2019/races/: the answer is empty, and there must be something of a season that is over"
    ):
        bench.fetch(2019, sources=("jolpica",))


def test_an_update_begins_with_the_last_season_there(bench: Bench) -> None:
    bench.fetch(1955, 2020)
    bench.services.asked.clear()
    bench.update()
    assert {path.split("/")[0] for path in paths(bench)} == {"2020"}
    bench.clock.set(datetime(2021, 1, 2, tzinfo=UTC))
    bench.services.asked.clear()
    bench.update()
    assert {path.split("/")[0] for path in paths(bench)} == {"2020", "2021"}
    assert "2021: Jolpica has no calendar of it yet" in bench.said.getvalue()
    assert bench.tables().races["date"].max() == date(2020, 3, 8)


def test_telemetry_is_asked_for_on_request(bench: Bench) -> None:
    outcome = bench.fetch(2020, telemetry=True)
    assert "telemetry" in [missing.what for missing in outcome.missing if missing.race_id == "2020_race_1"]
    assert bench.fastf1.sessions[2020, 1].loaded["telemetry"] is True


def test_a_coming_race_at_a_new_circuit_stays_when_f1db_cannot_be_read(bench: Bench) -> None:
    new = {"raceId": "12", "year": "2020", "round": "3", "circuitId": "3", "name": "New Grand Prix"}
    bench.services.calendar["2020"].append(new | {"date": "2020-09-01", "url": "x"})
    races = foreign.F1DB["f1db-races.csv"] + "3,2020,3,2020-09-01,new,STREET,CLOCKWISE,3.0,9,,78\n"
    bench.services.archive = zip_of(foreign.f1db(bench.folder / "next", f1db_races=races))
    bench.fetch(2020)
    assert bench.tables().races["scheduled_laps"].to_list() == [6, 3, 78]
    for file in (bench.raw / "f1db").glob("*.zip"):
        file.unlink()
    bench.services.archive = None
    assert bench.update().changes == []
    assert bench.tables().races.height == 3


def test_changes_are_told_at_once_and_an_error_after_them_is_the_one_that_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the report: no space")

    monkeypatch.setattr(fetching, "write_atomically", full)
    bench.services.faults = [None] * 8 + [Fault(500)] * bench.attempts
    with pytest.raises(DownloadError, match=r"2020/1/laps/: it answers 500") as caught:
        bench.fetch(1955, 2020)
    assert caught.value.__notes__ == ["The report of the fetch could not be written either: the report: no space"]
    assert "1955_race_1 added: Old Grand Prix" in bench.said.getvalue()
    log = (bench.out.parent / "processed_changes.log").read_text().splitlines()
    assert log == ["2020-06-01 00:00:00 UTC 1955_race_1 added: Old Grand Prix, 3 entries, 3 results"]


def test_the_list_of_races_without_laps_is_brought_up_to_date_whenever_it_differs(bench: Bench) -> None:
    bench.fetch(2020)
    file = bench.out.parent / "multimodal/skipped_races.json"
    good = file.read_bytes()
    file.write_text("{}")  # as a kill between the store and the list leaves an older one
    assert bench.fetch(2020).changes == []
    assert file.read_bytes() == good


def test_a_full_disk_under_a_session_ends_the_fetch(bench: Bench) -> None:
    bench.fastf1.failures[2020, 1] = OSError(28, "No space left on device")
    with pytest.raises(DiskError, match=r"2020_race_1: FastF1 cannot write to its cache .*No space left on device"):
        bench.fetch(2020)


def test_times_of_races_are_their_own(bench: Bench) -> None:
    """A result that comes later moves the time of no other race of its season."""
    results = bench.services.rows["results"].pop("11")
    bench.clock.set(datetime(2020, 3, 2, tzinfo=UTC))
    bench.fetch(2020, sources=("jolpica",))
    bench.services.rows["results"]["11"] = results
    bench.clock.set(datetime(2020, 3, 9, tzinfo=UTC))
    bench.fetch(2020, sources=("jolpica",))
    write_store(bench.tables(), bench.folder / "b" / "processed")
    _, origins = read_jolpica(RawCache(bench.raw, bench.clock.utc), [2020])
    assert {o.race_id: o.fetched.day for o in origins if o.table == "results"} == {"2020_race_1": 2, "2020_race_2": 9}


def test_an_ingest_does_not_replace_what_was_fetched(bench: Bench) -> None:
    bench.fetch(2020)
    before = bench.content()
    with pytest.raises(StoreError, match=r"holds races from Jolpica \(f1-predict fetch\), which ingested ones would"):
        ingest_races(bench.console, bench.folder / "ergast", None, None, None, bench.out)
    assert bench.content() == before
    ingest_races(bench.console, bench.folder / "ergast", None, None, None, bench.folder / "other/processed")


def test_the_command_that_status_names_closes_the_gap(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, weather = bench.services.archive, bench.fastf1.sessions[2020, 1].frames["weather"]
    laps = bench.services.rows["lap_times"].pop("11")
    races = foreign.F1DB["f1db-races.csv"].split("2,2020,2")[0]
    bench.services.archive = zip_of(foreign.f1db(tmp_path / "short", f1db_races=races,
        f1db_races_starting_grid_positions=foreign.F1DB["f1db-races-starting-grid-positions.csv"].split("2,2020,2,")[0],
    ))  # fmt: skip
    bench.fastf1.sessions[2020, 1].frames["weather"] = None
    bench.fetch(2020)
    bench.services.archive, bench.fastf1.sessions[2020, 1].frames["weather"] = archive, weather
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, "World", lambda: bench.world)
    urls = f'jolpica_url = "{bench.services.jolpica_url}"\nf1db_url = "{bench.services.f1db_url}"\n'
    (tmp_path / "local.toml").write_text(f"[fetch]\n{urls}keep_limits = false\n")
    for kind in ("course", "laps", "weather"):
        found = gaps(coverage(bench.tables(), date(2020, 6, 1)), f" --out {bench.out} --raw {bench.raw}")
        gap = next(each for each in found if each.kind == kind)
        if kind == "laps":
            bench.services.rows["lap_times"]["11"] = laps
        assert main([*gap.command.split()[1:], "--config", "local.toml"]) == 0
        after = gaps(coverage(bench.tables(), date(2020, 6, 1)))
        # FastF1 has no session of round 2, so that its weather stays missing.
        assert [each.rounds for each in after if each.kind == kind] == ([(2,)] if kind == "weather" else [])


def test_the_command_takes_its_services_from_the_settings(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    urls = f'jolpica_url = "{bench.services.jolpica_url}"\nf1db_url = "{bench.services.f1db_url}"\n'
    (tmp_path / "local.toml").write_text(f"[fetch]\n{urls}keep_limits = false\n")
    arguments = ["--source", "jolpica,f1db", "--config", "local.toml"]
    assert main(["fetch", "--seasons", "2020", *arguments]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2020_race_1 added: Alpha, Grand Prix, 3 entries, 3 results, 10 laps" in said
    assert "Season 2020: 2 races changed, 7 requests to Jolpica -> data/processed" in said
    assert main(["update", "--seasons", "2020", *arguments]) == 0
    assert "Season 2020: nothing changed, 4 requests to Jolpica" in " ".join(capsys.readouterr().out.split())
    assert main(["data", "status"]) == 0
    assert "2020: no tyres of any race -> f1-predict update --seasons 2020 --source jolpica,fastf1" in (
        " ".join(capsys.readouterr().out.split())
    )
    (tmp_path / "rude.toml").write_text("[fetch]\nkeep_limits = false\n")
    assert main(["fetch", "--seasons", "2020", "--config", "rude.toml"]) == 1
    assert "keep_limits must be true for api.jolpi.ca" in capsys.readouterr().err
