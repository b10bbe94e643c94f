"""The real races: counts, known facts, match rates, and the race clock against the running order."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from f1_predict.tables import Ingested, ingest

pytestmark = pytest.mark.real

PAIR = ["race_id", "driver_id"]


@pytest.fixture(scope="module")
def real(real_data: Path) -> Ingested:
    return ingest(real_data / "ergast", real_data / "f1db", real_data / "fastf1")


def race(real: Ingested, race_id: str) -> dict[str, object]:
    return real.tables.races.row(by_predicate=pl.col("race_id") == race_id, named=True)


def test_counts(real: Ingested) -> None:
    tables = real.tables
    assert tables.races.height == 1125
    assert tables.laps["race_id"].n_unique() == 544
    assert tables.laps.height == 589_256
    modern = tables.races.filter(pl.col("season") >= 1996).select("race_id")
    assert tables.results.join(modern, on="race_id", how="semi").height == 11_496
    assert tables.results.select(PAIR).equals(tables.entries.select(PAIR))
    assert real.quality["duplicate results removed (shared drives, best place kept)"].count == 91


def test_positions_are_one_to_n_in_every_race(real: Ingested) -> None:
    per_race = real.tables.results.group_by("race_id").agg(
        pl.col("position").sort() == pl.int_range(1, pl.len() + 1, dtype=pl.Int32)
    )
    assert per_race["position"].explode().all()


@pytest.mark.parametrize(
    ("race_id", "laps"),
    [
        ("2021_race_12", 44),  # Belgium: one lap counted
        ("2022_race_7", 78),  # Monaco: 64 run
        ("2023_race_14", 53),  # Italy: 51 run after an aborted start
        ("2009_race_2", 56),  # Malaysia: 31 run
        ("2024_race_1", 57),  # Bahrain: all run
    ],
)
def test_scheduled_laps(real: Ingested, race_id: str, laps: int) -> None:
    assert race(real, race_id)["scheduled_laps"] == laps


def test_the_distance_rule_gives_the_scheduled_laps_of_all_but_two_races(real: Ingested) -> None:
    races = real.tables.races.drop_nulls("course_length_km")
    distance = pl.when(pl.col("circuit_id") == "monaco").then(260.0).otherwise(305.0)
    off = races.select(pl.col("scheduled_laps") - (distance / pl.col("course_length_km")).ceil()).to_series()
    assert (off != 0).sum() == 2
    assert off.abs().max() == 1


def test_every_driver_is_matched(real: Ingested) -> None:
    assert real.quality["grid rows unmatched"].count == 0
    assert real.quality["grid rows unmatched"].total == 11_455
    assert real.quality["drivers unmatched"].count == 0
    assert real.quality["car numbers in conflict (Ergast's kept)"].count == 0
    assert {c.count for c in real.quality if c.name.startswith("team names")} == {0}
    assert real.quality["grid places in conflict (f1db's kept)"].count == 165
    # All of these are reserves, the injured and those who failed to qualify.
    assert real.quality["practice rows of drivers who did not start"].count == 946


def test_brothers_and_accents_find_the_right_car(real: Ingested) -> None:
    entries = real.tables.entries.filter(pl.col("race_id") == "2002_race_1").drop_nulls("fp1_s")
    brothers = entries.filter(pl.col("driver_id").str.contains("schumacher"))
    assert dict(brothers.select("driver_id", "constructor_id").iter_rows()) == {
        "michael_schumacher": "ferrari",
        "ralf_schumacher": "williams",
    }
    perez = real.tables.entries.row(
        by_predicate=(pl.col("race_id") == "2023_race_3") & (pl.col("driver_id") == "perez"), named=True
    )
    assert perez["grid"] == 0  # a pit-lane start, which f1db knows


def test_timing_finds_its_laps(real: Ingested) -> None:
    unmatched, renumbered = real.quality["laps unmatched"], real.quality["laps numbered anew by the session clock"]
    assert unmatched.total == 162_686
    assert unmatched.count < 200
    assert renumbered.count == 833
    assert real.quality["Ergast's laps without timing in timed races"].count < 100


def test_the_clock_gives_the_running_order(real: Ingested) -> None:
    check = real.quality["laps whose clock disagrees with the running order"]
    assert check.count == 62
    assert real.quality["races where it does on more than 1 % of laps"].count == 0


def test_bahrain_2020_gets_its_hour_of_red_flag_back(real: Ingested) -> None:
    ends = real.tables.laps.filter(pl.col("race_id") == "2020_race_15", pl.col("driver_id") == "hamilton")
    assert ends["end_time_s"][-1] == pytest.approx(2 * 3600 + 59 * 60 + 47.515, abs=0.5)
    check = real.quality["races whose lap times lost time that the session clock has"]
    assert check.examples == ("2020_race_15 2 3600.0",)


def test_weather_runs_from_before_the_start_to_the_end(real: Ingested) -> None:
    ends = real.tables.laps.group_by("race_id").agg(
        pl.col("end_time_s").min().alias("first"), pl.col("end_time_s").max()
    )
    span = real.tables.weather.group_by("race_id").agg(
        start=pl.col("time_s").min(), end=pl.col("time_s").max()
    ).join(ends, on="race_id")  # fmt: skip
    assert span.height == 148
    assert span.filter(pl.col("start") > 30).height == 0
    assert span.filter(pl.col("start") > 0)["race_id"].to_list() == ["2020_race_11"]
    assert span.filter(pl.col("end") < 0.9 * pl.col("end_time_s")).height == 0


def test_belgium_2021_has_laps_but_one_that_counts(real: Ingested) -> None:
    results = real.tables.results.filter(pl.col("race_id") == "2021_race_12")
    assert results["laps_completed"].max() == 1
    assert real.tables.laps.filter(pl.col("race_id") == "2021_race_12")["lap"].max() == 3


def test_implausible_laps_are_flagged_and_kept(real: Ingested) -> None:
    laps = real.tables.laps
    assert laps.filter(pl.col("lap_time_s") > 600)["implausible"].all()
    seconds = pl.col("lap_time_s")
    odd = laps.filter((seconds > 600) | (seconds < 40) | (seconds == 150.0))
    assert odd.height == 743
    assert laps["implausible"].sum() == odd.height
    assert odd["implausible"].all()
    assert laps["speed_kmh"].null_count() == laps.filter((seconds < 40) | (seconds == 150.0)).height == 5 + 86
