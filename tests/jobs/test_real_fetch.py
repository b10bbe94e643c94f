"""A whole real season through the services equals the same season from the dumps; and one race over the network."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from f1_predict.config import FetchConfig
from f1_predict.errors import DownloadError
from f1_predict.jobs.fetching import Request, World, fetch_races
from f1_predict.schemas import TABLE_NAMES
from f1_predict.sources.f1db_release import fetch_release
from f1_predict.sources.fastf1_live import fetch_session, read_sessions, real_loader
from f1_predict.sources.http import PoliteClient
from f1_predict.sources.jolpica import fetch
from f1_predict.sources.limits import RateLimiter
from f1_predict.sources.raw import RawCache
from f1_predict.tables import ingest, read_store
from tests.sources.clocks import FakeClock
from tests.sources.fake_services import FakeServices, serving
from tests.sources.fake_sessions import FakeFastF1, sessions_of

SEASON = 2020
"""Short, with an hour of red flag that FastF1's clock gives back, races without laps of some, and pit-lane starts."""


@pytest.mark.real
def test_a_season_through_the_services_equals_the_dumps(real_data: Path, tmp_path: Path) -> None:
    laps, weather = (pl.read_parquet(real_data / f"fastf1/{n}_{SEASON}.parquet") for n in ("laps", "weather"))
    fastf1, clock = FakeFastF1(sessions_of(laps, weather)), FakeClock(datetime(2024, 1, 1, tzinfo=UTC))
    services = FakeServices(real_data / "ergast", real_data / "f1db", (SEASON, SEASON), frozen=True)
    with serving(services):
        config = FetchConfig(jolpica_url=services.jolpica_url, f1db_url=services.f1db_url, keep_limits=False)
        request = Request((SEASON,), ("jolpica", "fastf1", "f1db"), tmp_path / "processed", tmp_path / "raw")
        world = World(clock, clock.sleep, fastf1.loader)
        outcome = fetch_races(Console(file=io.StringIO()), request, config, world)
    dumped = ingest(real_data / "ergast", real_data / "f1db", real_data / "fastf1", (SEASON, SEASON))
    for name in TABLE_NAMES:
        assert_frame_equal(getattr(read_store(request.out), name), getattr(dumped.tables, name))
    assert dumped.tables.laps.height > 17_000
    assert dumped.tables.weather["race_id"].n_unique() == 17
    assert clock.pauses == []
    # What is found untidy is the same too.
    found = {key: (check.count, check.total) for key, check in outcome.checks.items()}
    assert found == {(check.source, check.name): (check.count, check.total) for check in dumped.quality}
    assert outcome.checks["fastf1", "of these around red flags, where the session clock is right"].count == 19


@pytest.mark.network
def test_one_true_race_over_the_network(tmp_path: Path) -> None:
    config, said = FetchConfig(), []
    limiter = RateLimiter([(config.requests_per_second, 1.0), (config.requests_per_hour, 3600.0)])
    with PoliteClient(limiter, on_wait=said.append) as client:
        races = fetch(client, config.jolpica_url, "races", 2023)
        assert races[0]["raceName"] == "Bahrain Grand Prix"
        results = fetch(client, config.jolpica_url, "results", 2023, 1)
        assert results[0]["Results"][0]["Driver"]["driverId"] == "max_verstappen"
        laps = fetch(client, config.jolpica_url, "laps", 2023, 1)
        assert len(laps[0]["Laps"]) == 57
        assert len(fetch(client, config.jolpica_url, "pitstops", 2023, 1)[0]["PitStops"]) > 30
        assert len(fetch(client, config.jolpica_url, "qualifying", 2023, 1)[0]["QualifyingResults"]) == 20
    cache = RawCache(tmp_path)
    with PoliteClient(RateLimiter([])) as client:
        assert fetch_release(client, config.f1db_url, cache).version.startswith("v20")
    try:
        missing = fetch_session(real_loader(tmp_path / "cache"), cache, 2023, 1)
    except DownloadError as error:
        pytest.skip(str(error))
    sessions, _ = read_sessions(cache, [(2023, 1)])
    assert missing or (sessions.laps.height > 900 and sessions.weather.height > 100)
