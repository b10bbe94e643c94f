"""FastF1 itself loads simulated races from files of the live timing: what it makes of them, and of half of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import fastf1
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.jobs import fetching
from f1_predict.schemas import TABLE_NAMES, Tables
from f1_predict.sources.fastf1_live import LapsDue, fetch_session, read_sessions
from f1_predict.sources.fastf1_loader import real_loader
from f1_predict.sources.raw import RawCache
from f1_predict.tables import read_provenance
from tests.sources.fake_services import Fault
from tests.sources.true_fastf1 import FIRST, NO_LAP, SECOND, STOPPED_S, TrueBench, simulated, true_bench

LAPS = 4
CODES = ["AAB", "AAC", "AAD", "AAE"]
"""Of those who end the first race; AAF retires on the last lap, AAG on the first."""


@pytest.fixture(scope="module")
def short() -> Tables:
    return simulated(LAPS)


@pytest.fixture
def bench(short: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrueBench]:
    """Two races of a few laps, long past."""
    with true_bench(tmp_path, short, monkeypatch) as bench:
        bench.clock.set(datetime(2021, 1, 10, tzinfo=UTC))
        yield bench


def load(bench: TrueBench, name: str = "raw", telemetry: bool = False, final: datetime | None = None) -> list[str]:
    """Load the first race into a folder of answers; what is missing."""
    due = [*(LapsDue(code, None, LAPS) for code in CODES), LapsDue("AAF", None, LAPS - 1), LapsDue("AAG", None, 0)]
    cache = RawCache(bench.folder / name, bench.clock.utc)
    loader = real_loader(bench.folder / "fastf1")
    return [each.what for each in fetch_session(loader, cache, 2020, 1, telemetry, final, due)]


def laps_of(bench: TrueBench, name: str = "raw") -> pl.DataFrame:
    return read_sessions(RawCache(bench.folder / name), [(2020, 1)])[0].laps


def test_simulated_races_come_back_equal_through_all_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jolpica, f1db and FastF1: what one gives of a race alone (pits of the first one by FastF1) is in no other."""
    tables = simulated()
    with true_bench(tmp_path, tables, monkeypatch, stops=(SECOND,)) as bench:
        bench.clock.set(datetime(2021, 1, 10, tzinfo=UTC))
        outcome = bench.fetch(2020)
        for name in TABLE_NAMES:
            assert_frame_equal(getattr(bench.tables(), name), getattr(tables, name))
        untidy = {(check.source, check.name): check.examples for check in outcome.checks.values() if check.count}
        found = read_provenance(bench.out).filter(source="fastf1")
    assert outcome.missing == []
    # Laps that FastF1 makes up for cars that stop or end a lap down are none of timing's, and all others match.
    assert untidy.pop(("ergast", "implausible laps flagged"))[0].startswith(f"{FIRST} driver_001")  # of the red flag
    assert untidy == {("ergast", "drivers without laps in races with laps"): (f"{FIRST} {NO_LAP}",)}
    assert {"1", "12", "4", "41"} <= set(tables.laps["track_status"])
    assert tables.laps.filter(pl.col("track_status").str.contains("5"))["lap_time_s"].min() > STOPPED_S
    for race_id in (FIRST, SECOND):
        assert tables.laps.filter("pit_in", race_id=race_id).height > 3
    assert found.select("table", "race_id").rows() == [
        (table, race_id) for race_id in (FIRST, SECOND) for table in ("laps", "weather")
    ]
    assert found["version"].str.starts_with(f"{fastf1.__version__} ").all()
    # Of Jolpica FastF1 asks as much as is allowed for it.
    asked_by_fastf1 = bench.hosts.count("api.jolpi.ca")
    assert asked_by_fastf1 == 2 * fetching.ASKED_BY_FASTF1


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ("WeatherData", ["weather"]),
        ("CarData", ["telemetry"]),
        # FastF1 gives no laps at all without one of these.
        ("TimingData", ["laps"]),
        ("TimingAppData", ["laps"]),
        ("TrackStatus", ["laps"]),
        ("SessionStatus", ["laps"]),
        # Without these there is all that is wanted: drivers are known from Jolpica too.
        ("DriverList", []),
        ("SessionInfo", []),
        ("LapCount", []),
    ],
)
def test_a_stream_that_is_not_there_is_named_by_what_it_costs(
    bench: TrueBench, gone: str, missing: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (place,) = bench.files_of(FIRST, gone)
    del bench.services.files[place]
    assert load(bench, telemetry=True) == missing
    assert caplog.records == []  # nor does FastF1 tell all that went wrong inside


def test_a_stream_that_breaks_off_gives_the_laps_before_it_and_no_other(bench: TrueBench) -> None:
    (place,) = bench.files_of(FIRST, "TimingData")
    whole = bench.services.files[place]
    assert load(bench, "whole") == []
    bench.services.files[place] = whole[: whole.index(b'"NumberOfLaps":3')]
    assert load(bench, "half", final=datetime(2021, 2, 1, tzinfo=UTC)) == [
        *(f"laps of {code} (2 of 4)" for code in CODES),
        "laps of AAF (2 of 3)",
    ]
    half, all_laps = laps_of(bench, "half"), laps_of(bench, "whole")
    # FastF1 makes up a lap after the last one, which ends at a guess: it is not taken.
    assert_frame_equal(half, all_laps.join(half, on=["code", "lap"], how="semi"), check_row_order=False)


def test_after_a_connection_cut_in_a_stream_the_session_is_loaded_again(bench: TrueBench) -> None:
    """FastF1 itself goes on without the stream, and so without any laps."""
    bench.fetch(2020)
    unbroken = bench.tables()
    before = next(n for n, path in enumerate(bench.services.asked) if path.endswith("TimingData.jsonStream"))
    bench.services.asked.clear()
    bench.folder /= "again"
    bench.services.faults = [*[None] * before, Fault(cut=700)]
    assert bench.fetch(2020).missing == []
    assert sum(path.endswith("TimingData.jsonStream") for path in bench.services.asked) == 2 + 1
    assert_frame_equal(bench.tables().laps, unbroken.laps)


def test_telemetry_is_kept_by_driver(bench: TrueBench) -> None:
    assert load(bench, telemetry=True) == []
    folder = bench.folder / "raw/fastf1/2020/01/telemetry"
    assert sorted(file.stem for file in folder.iterdir()) == ["1", "2", "3", "4", "5", "6"]
    rows = pl.read_parquet(folder / "1.parquet")
    assert rows["Speed"].to_list() == [100.0, 110.0, 120.0, 130.0, 140.0, 150.0]
    assert rows.row(0, named=True)["Throttle"] == 99.0
    assert rows["Time"].dtype == pl.Duration("ms")


def test_fastf1s_frozen_cache_gives_a_session_without_any_service(bench: TrueBench) -> None:
    assert load(bench, "first") == []
    bench.hosts.clear()
    bench.services.files.clear()
    fastf1.Cache.offline_mode(True)
    assert load(bench, "second") == []
    assert bench.hosts == []
    assert_frame_equal(laps_of(bench, "second"), laps_of(bench, "first"))


def test_a_half_answer_of_the_day_of_the_race_is_not_kept_by_fastf1_for_ever(bench: TrueBench) -> None:
    (place,) = bench.files_of(FIRST, "WeatherData")
    whole, final = bench.services.files[place], datetime(2021, 2, 1, tzinfo=UTC)
    bench.services.files[place] = whole[: whole.index(b"\r\n", 4000) + 2]
    assert load(bench, "through its cache") == ["weather of the end of the race"]
    assert load(bench, "without it", final=final) == ["weather of the end of the race"]
    bench.services.files[place] = whole
    assert load(bench, "anew, through its cache") == ["weather of the end of the race"]  # this is why
    assert load(bench, "without it", final=final) == []


def test_at_fastf1s_limit_a_fetch_waits_and_goes_on(bench: TrueBench) -> None:
    real_loader(bench.folder / "fastf1")
    with fastf1.Cache.disabled():
        for _ in range(499):
            fastf1.Cache.requests_get("https://raw.githubusercontent.com/none")
    start = bench.clock.now
    outcome = bench.fetch(2020)
    assert outcome.missing == []
    assert "FastF1's limit of requests is used up: waiting for up to an hour, then going on" in bench.said.getvalue()
    assert 3400.0 < bench.clock.now - start < 3600.0 + fetching.LIMIT_PAUSE_S
    assert bench.tables().weather["race_id"].n_unique() == 2
