"""Sessions through FastF1: what came is kept, what did not is named, nothing is fatal and nothing gets worse."""

from __future__ import annotations

import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.errors import DownloadError
from f1_predict.sources import fastf1_live
from f1_predict.sources.fastf1 import read_fastf1
from f1_predict.sources.fastf1_live import LapsDue, Missing, fetch_session, is_needed, missing_of, read_sessions
from f1_predict.sources.fastf1_loader import real_loader
from f1_predict.sources.raw import RawCache
from f1_predict.sources.reading import Source
from tests.sources.fake_sessions import FakeFastF1, FakeSession, LimitError, pandas_of, sessions_of
from tests.tables import foreign

FINAL = datetime(2020, 3, 8, tzinfo=UTC)
DUE = [LapsDue("PER", "11", 4), LapsDue("SAI", "55", 4), LapsDue(None, "27", 2)]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    return foreign.fastf1(tmp_path)


@pytest.fixture
def fastf1(frames: Path) -> FakeFastF1:
    laps, weather = (pl.read_parquet(frames / f"{name}_2020.parquet") for name in ("laps", "weather"))
    return FakeFastF1(sessions_of(laps, weather))


def cache_of(folder: Path, day: int = 2) -> RawCache:
    return RawCache(folder / "raw", lambda: datetime(2020, 3, day, tzinfo=UTC))


def test_a_session_gives_the_frames_of_the_season_files(fastf1: FakeFastF1, frames: Path, tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    assert fetch_session(fastf1.loader(), cache, 2020, 1) == []
    found, origins = read_sessions(cache, [(2020, 1), (2020, 2)])
    expected = read_fastf1(frames)
    assert_frame_equal(found.laps, expected.laps)
    assert_frame_equal(found.weather, expected.weather)
    assert [(o.table, o.race_id, o.source, o.version.split()[0]) for o in origins] == [
        ("laps", "2020_race_1", "fastf1", "3.9.0"),
        ("weather", "2020_race_1", "fastf1", "3.9.0"),
    ]
    assert fastf1.sessions[2020, 1].loaded == {"laps": True, "telemetry": False, "weather": True, "messages": False}


def test_fastf1s_own_class_of_laps_is_read_alike(fastf1: FakeFastF1, frames: Path, tmp_path: Path) -> None:
    core = pytest.importorskip("fastf1.core")
    own = fastf1.sessions[2020, 1]
    own.frames["laps"] = core.Laps(own.frames["laps"], session=None)
    cache = cache_of(tmp_path)
    assert fetch_session(fastf1.loader(), cache, 2020, 1) == []
    assert_frame_equal(read_sessions(cache, [(2020, 1)])[0].laps, read_fastf1(frames).laps)
    # Every column that is read is one of FastF1's.
    assert {"Time", "Driver", "DriverNumber", "Team", "LapNumber", "Compound", "TyreLife", "PitInTime", "PitOutTime",
            "TrackStatus", "SpeedST"} <= set(core.Laps._COLUMNS)  # fmt: skip


@pytest.mark.parametrize(
    ("gone", "what"),
    [
        (["laps"], ["laps"]),
        (["weather"], ["weather"]),
        (["laps", "weather"], ["laps", "weather"]),
    ],
)
def test_what_was_not_loaded_is_named_and_done_without(
    fastf1: FakeFastF1, tmp_path: Path, gone: list[str], what: list[str]
) -> None:
    for name in gone:
        fastf1.sessions[2020, 1].frames[name] = None
    cache = cache_of(tmp_path)
    assert fetch_session(fastf1.loader(), cache, 2020, 1) == [Missing("2020_race_1", "race", each) for each in what]
    found, origins = read_sessions(cache, [(2020, 1)])
    assert (found.laps.height == 0, found.weather.height == 0) == ("laps" in gone, "weather" in gone)
    assert len(origins) == 2 - len(gone)
    assert [each.what for each in missing_of(cache, 2020, 1)] == what


def test_missing_columns_and_empty_ones_are_named(fastf1: FakeFastF1, tmp_path: Path) -> None:
    session = fastf1.sessions[2020, 1]
    laps = session.frames["laps"].drop(columns=["SpeedST"])
    laps["Compound"] = "nan"
    laps.loc[laps["Driver"] == "DAM", "Time"] = pd.NaT
    session.frames["laps"] = laps
    found = [each.what for each in fetch_session(fastf1.loader(), cache_of(tmp_path), 2020, 1)]
    assert found == ["tyres", "speed traps", "lap clock of DAM"]


def test_half_a_race_is_taken_as_far_as_it_goes(fastf1: FakeFastF1, tmp_path: Path) -> None:
    session = fastf1.sessions[2020, 1]
    session.frames["laps"] = session.frames["laps"][session.frames["laps"]["LapNumber"] <= 2]
    cache = cache_of(tmp_path)
    session.frames["weather"] = session.frames["weather"][:1]
    missing = fetch_session(fastf1.loader(), cache, 2020, 1, due=DUE)
    assert [each.what for each in missing] == [
        "laps of PER (2 of 4)",
        "laps of SAI (2 of 4)",
        "weather of the end of the race",
    ]
    assert read_sessions(cache, [(2020, 1)])[0].laps["lap"].to_list() == [1, 2, 1, 2, 1, 2]
    assert is_needed(cache, 2020, 1, FINAL, refresh=False, telemetry=False, due=DUE)
    assert fetch_session(fastf1.loader(), cache, 2020, 1, due=[])[0].what == "the result that its laps are counted by"


def test_weather_there_and_tyres_gone_keeps_the_tyres(fastf1: FakeFastF1, tmp_path: Path) -> None:
    cache, frames = cache_of(tmp_path), fastf1.sessions[2020, 1].frames
    weather = frames["weather"]
    frames["weather"] = None
    fetch_session(fastf1.loader(), cache, 2020, 1)
    before, first = read_sessions(cache, [(2020, 1)])
    frames["weather"], frames["laps"] = weather, frames["laps"].assign(Compound="nan", TyreLife=float("nan"))
    later = cache_of(tmp_path, day=4)
    assert fetch_session(fastf1.loader(), later, 2020, 1, due=DUE) == []
    after, origins = read_sessions(later, [(2020, 1)])
    assert_frame_equal(after.laps, before.laps)
    assert after.weather.height == 3
    # The laps are those of the first load, and say so.
    assert [(o.table, o.fetched.day) for o in origins] == [("laps", 2), ("weather", 4)]
    assert origins[0].version == first[0].version


def test_a_value_that_cannot_be_costs_no_more_than_itself(fastf1: FakeFastF1, tmp_path: Path) -> None:
    frames = fastf1.sessions[2020, 1].frames
    frames["weather"].loc[1, "Humidity"] = 101.0
    cache = cache_of(tmp_path)
    assert [m.what for m in fetch_session(fastf1.loader(), cache, 2020, 1)] == [
        "1 of Humidity outside of 0 to 100 (first 101)"
    ]
    found, _ = read_sessions(cache, [(2020, 1)])
    assert found.weather["humidity_pct"].to_list() == [50.0, None, 50.0]
    assert found.laps.height == 10


def test_a_file_that_cannot_be_read_back_is_named_and_does_not_count(
    fastf1: FakeFastF1, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Source, name: str) -> pl.DataFrame:
        raise source.error("must be at most 100, got '101'", name, row=2, column="Humidity")

    monkeypatch.setitem(fastf1_live._READERS, "weather", refuse)
    what = [m.what for m in fetch_session(fastf1.loader(), cache_of(tmp_path), 2020, 1)]
    assert what[0] == "weather"
    assert what[1].startswith("weather unreadable: ")
    assert what[1].endswith(".parquet, line 2, column 'Humidity': must be at most 100, got '101'.")


def test_fastf1s_own_cache_is_left_out_until_the_race_is_final_and_whole(fastf1: FakeFastF1, tmp_path: Path) -> None:
    fastf1.sessions[2020, 1].frames["weather"] = None
    for day in (2, 20, 21):
        fetch_session(fastf1.loader(), cache_of(tmp_path, day), 2020, 1, final=FINAL)
    assert fastf1.uncached == [True, True, True]
    fetch_session(fastf1.loader(), RawCache(tmp_path / "new", lambda: datetime(2020, 4, 1, tzinfo=UTC)), 2020, 1)
    assert fastf1.uncached[-1] is False


def test_fastf1_may_end_the_program_or_stumble_over_its_cache(fastf1: FakeFastF1, tmp_path: Path) -> None:
    fastf1.failures[2020, 1] = SystemExit()
    assert [m.what for m in fetch_session(fastf1.loader(), cache_of(tmp_path), 2020, 1)] == [
        "the session (FastF1 gave up on an answer that failed to come)"
    ]
    assert sqlite3.Error in real_loader(tmp_path / "cache").errors


def test_telemetry_after_a_normal_fetch_is_loaded_and_its_lack_remembered(fastf1: FakeFastF1, tmp_path: Path) -> None:
    late = cache_of(tmp_path, day=20)
    fetch_session(fastf1.loader(), late, 2020, 1)
    assert not is_needed(late, 2020, 1, FINAL, refresh=True, telemetry=False)
    assert is_needed(late, 2020, 1, FINAL, refresh=False, telemetry=True)
    fetch_session(fastf1.loader(), late, 2020, 1, telemetry=True)
    assert [m.what for m in missing_of(late, 2020, 1)] == ["telemetry"]
    assert not is_needed(late, 2020, 1, FINAL, refresh=False, telemetry=True)
    fetch_session(fastf1.loader(), late, 2020, 1)  # not asked for: what is known of it stays
    assert [m.what for m in missing_of(late, 2020, 1)] == ["telemetry"]


def test_a_kill_between_data_and_note_leaves_the_old_files(
    fastf1: FakeFastF1, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(tmp_path)
    fetch_session(fastf1.loader(), cache, 2020, 1)
    before, _ = read_sessions(cache, [(2020, 1)])
    fastf1.sessions[2020, 1].frames["laps"]["SpeedST"] = 250.0

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RawCache, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch_session(fastf1.loader(), cache, 2020, 1)
    assert_frame_equal(read_sessions(cache, [(2020, 1)])[0].laps, before.laps)
    fetch_session(fastf1.loader(), cache, 2020, 1)
    assert len(list((tmp_path / "raw/fastf1/2020/01").glob("laps*"))) == 1


def test_a_session_that_cannot_be_had_is_named(fastf1: FakeFastF1, tmp_path: Path) -> None:
    missing = fetch_session(fastf1.loader(), cache_of(tmp_path), 2020, 7)
    assert [each.what for each in missing] == [
        "the session (ValueError: Failed to load any schedule data for 2020 round 7)"
    ]
    assert missing_of(cache_of(tmp_path), 2020, 7) == [Missing("2020_race_7", "race", "the session")]


def test_a_limit_used_up_is_an_error_that_says_when_to_go_on(fastf1: FakeFastF1, tmp_path: Path) -> None:
    fastf1.failures[2020, 1] = LimitError("any API: 500 calls/h")
    with pytest.raises(DownloadError, match=r"used up the hourly limit .*500 calls/h.*Start again in an hour"):
        fetch_session(fastf1.loader(), cache_of(tmp_path), 2020, 1)


def test_less_never_replaces_more(fastf1: FakeFastF1, tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    fetch_session(fastf1.loader(), cache, 2020, 1)
    before, _ = read_sessions(cache, [(2020, 1)])
    fastf1.sessions[2020, 1].frames["laps"] = fastf1.sessions[2020, 1].frames["laps"][:3]
    fastf1.sessions[2020, 1].frames["weather"] = None
    fetch_session(fastf1.loader(), cache, 2020, 1)
    after, _ = read_sessions(cache, [(2020, 1)])
    assert_frame_equal(after.laps, before.laps)
    assert_frame_equal(after.weather, before.weather)


def test_what_is_needed(fastf1: FakeFastF1, tmp_path: Path) -> None:
    early, late = cache_of(tmp_path, day=2), cache_of(tmp_path, day=20)
    assert is_needed(early, 2020, 1, FINAL, refresh=False, telemetry=False)
    fastf1.sessions[2020, 1].frames["weather"] = None
    fetch_session(fastf1.loader(), early, 2020, 1)
    assert is_needed(early, 2020, 1, FINAL, refresh=False, telemetry=False)  # it may come yet
    fetch_session(fastf1.loader(), late, 2020, 1)
    assert not is_needed(late, 2020, 1, FINAL, refresh=False, telemetry=False)
    assert is_needed(late, 2020, 1, FINAL, refresh=True, telemetry=False)


def test_damaged_files_count_as_not_there(fastf1: FakeFastF1, tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    fetch_session(fastf1.loader(), cache, 2020, 1)
    (file,) = (tmp_path / "raw/fastf1/2020/01").glob("laps-*.parquet")
    file.write_bytes(file.read_bytes()[:-10])
    assert is_needed(cache, 2020, 1, FINAL, refresh=False, telemetry=False)
    assert read_sessions(cache, [(2020, 1)])[1] == []
    fetch_session(fastf1.loader(), cache, 2020, 1)
    assert len(read_sessions(cache, [(2020, 1)])[1]) == 2


def test_nobody_is_asked_for_an_account(fastf1: FakeFastF1, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    seen: list[bool] = []

    def load(self: FakeSession, **_: bool) -> None:
        seen.append(sys.stdin.isatty())

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(FakeSession, "load", load)
    fetch_session(fastf1.loader(), cache_of(tmp_path), 2020, 1)
    assert seen == [False]
    assert sys.stdin is terminal


def test_telemetry_on_request(fastf1: FakeFastF1, tmp_path: Path) -> None:
    car = pl.DataFrame({"Time": [1, 2], "Speed": [100, 120], "RPM": [9000, 9500]}).with_columns(
        pl.col("Time").cast(pl.Duration("ms"))
    )
    cache = cache_of(tmp_path)
    missing = fetch_session(fastf1.loader(), cache, 2020, 1, telemetry=True)
    assert missing == [Missing("2020_race_1", "race", "telemetry")]
    fastf1.sessions[2020, 1].frames["telemetry"] = {"11": pandas_of(car), "55": pandas_of(car.clear())}
    assert fetch_session(fastf1.loader(), cache, 2020, 1, telemetry=True) == []
    kept = pl.read_parquet(tmp_path / "raw/fastf1/2020/01/telemetry/11.parquet")
    assert kept.to_dicts()[1]["Speed"] == 120.0
    assert not (tmp_path / "raw/fastf1/2020/01/telemetry/55.parquet").exists()


def test_fastf1_itself_without_a_network_is_no_more_than_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = pytest.importorskip("fastf1.req")
    requests = pytest.importorskip("requests")

    def offline(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no network here")

    monkeypatch.setattr(request.Cache, "_request", classmethod(offline))
    loader = real_loader(tmp_path / "cache")
    missing = fetch_session(loader, cache_of(tmp_path), 2020, 1)
    assert [each.race_id for each in missing] == ["2020_race_1"] * len(missing)
    assert missing
    assert loader.version.split(".")[0] == "3"


def test_a_fake_session_has_what_is_used_of_fastf1s() -> None:
    core = pytest.importorskip("fastf1.core")
    for name in ("load", "laps", "weather_data", "car_data"):
        assert hasattr(core.Session, name)
        assert hasattr(FakeSession, name)
