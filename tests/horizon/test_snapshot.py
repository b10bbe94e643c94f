"""The cut, held against a slow and obvious one."""

import math

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.errors import HorizonError, NotFoundError
from f1_predict.horizon import AfterLap, FullRace, PreRace, RaceArchive
from f1_predict.schemas import TABLE_NAMES, Tables
from tests.small_tables import random_tables


def oracle_laps(tables: Tables, race_id: str, lap: int) -> list[tuple[str, int]]:
    """Laps known when the leader completes `lap`, from the definition, row by row."""
    rows = [row for row in tables.laps.iter_rows(named=True) if row["race_id"] == race_id]
    cut = min(row["end_time_s"] for row in rows if row["lap"] == lap)
    return sorted((row["driver_id"], row["lap"]) for row in rows if row["end_time_s"] <= cut)


@pytest.mark.parametrize("seed", range(5))
def test_cut_equals_the_oracle(seed: int) -> None:
    tables = random_tables(seed)
    archive = RaceArchive(tables)
    compared = 0
    for race_id in archive.race_ids:
        for lap in range(1, archive.laps_completed(race_id) + 1):
            laps = archive.snapshot(race_id, AfterLap(lap)).laps
            assert sorted(laps.select("driver_id", "lap").iter_rows()) == oracle_laps(tables, race_id, lap)
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("seed", range(3))
def test_past_is_all_earlier_races_and_nothing_else(seed: int) -> None:
    tables = random_tables(seed)
    archive = RaceArchive(tables)
    for number, race_id in enumerate(archive.race_ids):
        past = archive.snapshot(race_id, PreRace()).past
        earlier = archive.race_ids[:number]
        for name in TABLE_NAMES:
            expected = getattr(tables, name).filter(pl.col("race_id").is_in(earlier))
            assert_frame_equal(getattr(past, name), expected)


def test_before_the_race_there_are_no_laps_and_only_weather_up_to_the_start() -> None:
    archive = RaceArchive(random_tables(0))
    snapshot = archive.snapshot(archive.race_ids[1], PreRace())
    assert snapshot.laps.is_empty()
    assert snapshot.weather["time_s"].to_list() == [-300.0, -240.0, -180.0, -120.0, -60.0, 0.0]
    assert (snapshot.cutoff_lap, snapshot.cut_time_s) == (0, 0.0)
    assert snapshot.driver_ids == sorted(snapshot.driver_ids)


def test_the_full_race_holds_all_laps_and_is_marked() -> None:
    tables = random_tables(1)
    archive = RaceArchive(tables)
    snapshot = archive.snapshot("2000_race_1", FullRace())
    assert_frame_equal(snapshot.laps, tables.laps.filter(pl.col("race_id") == "2000_race_1"))
    assert snapshot.cut_time_s == math.inf
    assert snapshot.horizon.leaks


def test_a_lapped_car_has_fewer_laps_at_the_cut() -> None:
    tables = random_tables(0)
    slow = tables.laps["driver_id"][0]
    race_id = tables.laps["race_id"][0]
    mine = (pl.col("driver_id") == slow) & (pl.col("race_id") == race_id)
    laps = tables.laps.with_columns(end_time_s=pl.when(mine).then(pl.col("end_time_s") * 1.5).otherwise("end_time_s"))
    archive = RaceArchive(Tables(tables.races, tables.entries, tables.results, laps, tables.weather))
    snapshot = archive.snapshot(race_id, AfterLap(6))
    counts = dict(snapshot.laps.group_by("driver_id").agg(pl.col("lap").max()).iter_rows())
    assert max(counts.values()) == 6
    assert counts[slow] == 4


def test_tables_in_any_row_order_give_the_same_archive() -> None:
    tables = random_tables(2)
    shuffled = tables.map(lambda _, frame: frame.sample(fraction=1.0, shuffle=True, seed=1))
    for name in TABLE_NAMES:
        assert_frame_equal(getattr(RaceArchive(shuffled).tables, name), getattr(tables, name))


def test_a_lap_that_nobody_completed_is_refused() -> None:
    archive = RaceArchive(random_tables(0))
    with pytest.raises(HorizonError, match=r"nobody has completed lap 13 of 2000_race_1: the leader has completed 12"):
        archive.snapshot("2000_race_1", AfterLap(13))


def test_an_unknown_race_is_refused_with_the_closest() -> None:
    archive = RaceArchive(random_tables(0))
    with pytest.raises(NotFoundError, match=r"no race '2000_race_11'\. Did you mean .*2000_race_1"):
        archive.snapshot("2000_race_11", PreRace())


def test_fractions_become_laps_and_a_stopped_race_is_cut_after_its_last() -> None:
    tables = random_tables(0)
    archive = RaceArchive(tables)
    assert archive.horizon_at("2000_race_1", 0.0) == PreRace()
    assert archive.horizon_at("2000_race_1", 0.5) == AfterLap(6)
    longer = tables.races.with_columns(scheduled_laps=pl.lit(100, pl.Int32))
    stopped = RaceArchive(Tables(longer, tables.entries, tables.results, tables.laps, tables.weather))
    assert stopped.horizon_at("2000_race_1", 0.5) == AfterLap(12)
    with pytest.raises(HorizonError, match="2000_race_3 has no laps"):
        archive.horizon_at("2000_race_3", 0.5)
