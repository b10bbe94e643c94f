"""A whole real season through the services equals the same season from the dumps; and one race over the network."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from f1_predict.config import FetchConfig
from f1_predict.jobs.fetching import Request, World, fetch_races
from f1_predict.schemas import TABLE_NAMES
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
        world = World(clock, clock.sleep, fastf1.loader, tmp_path)
        outcome = fetch_races(Console(file=io.StringIO()), request, config, world)
    dumped = ingest(real_data / "ergast", real_data / "f1db", real_data / "fastf1", (SEASON, SEASON))
    for name in TABLE_NAMES:
        assert_frame_equal(getattr(read_store(request.out), name), getattr(dumped.tables, name))
    assert dumped.tables.laps.height > 17_000
    assert dumped.tables.weather["race_id"].n_unique() == 17
    # What is found untidy is the same too.
    found = {key: (check.count, check.total) for key, check in outcome.checks.items()}
    assert found == {(check.source, check.name): (check.count, check.total) for check in dumped.quality}
    assert outcome.checks["fastf1", "of these around red flags, where the session clock is right"].count == 19


@pytest.mark.network
def test_one_true_race_over_the_network(tmp_path: Path) -> None:
    """The whole fetch, on the clock of the day after the first race of 2023: of that one there is all."""
    back = time.time() - datetime(2023, 3, 6, 12, tzinfo=UTC).timestamp()
    request = Request((2023,), ("jolpica", "fastf1", "f1db"), tmp_path / "processed", tmp_path / "raw")
    world = World(clock=lambda: time.time() - back, state=tmp_path)
    outcome = fetch_races(Console(file=io.StringIO()), request, FetchConfig(), world)
    tables = read_store(request.out)
    race = tables.races.row(0, named=True)
    assert (race["name"], race["circuit_id"], race["scheduled_laps"]) == ("Bahrain Grand Prix", "bahrain", 57)
    assert race["course_length_km"] == pytest.approx(5.412)
    results = tables.results.filter(race_id="2023_race_1")
    assert results.height == 20
    assert results.filter(position=1)["driver_id"].to_list() == ["max_verstappen"]
    laps = tables.laps.filter(race_id="2023_race_1")
    assert laps.height == results["laps_completed"].sum()
    assert tables.laps["race_id"].unique().to_list() == ["2023_race_1"]
    assert laps.filter("pit_in").height > 30
    gone = [missing.what for missing in outcome.missing if missing.race_id == "2023_race_1"]
    if any(what.startswith("the session") for what in gone):
        pytest.skip(f"FastF1 gave no session: {gone}")
    assert laps.drop_nulls("compound").height > 900
    assert tables.weather.height > 100
