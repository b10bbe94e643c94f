"""Splits follow time and never share a season."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_predict.errors import ConfigError
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.schemas import Tables
from f1_predict.training.split import SeasonSplit, cuts_of, split_seasons
from tests.small_tables import random_tables


@given(st.sets(st.integers(1950, 2100), min_size=3, max_size=40))
def test_parts_follow_each_other_and_cover_everything(seasons: set[int]) -> None:
    split = split_seasons(seasons)
    assert split.train + split.validation + split.test == tuple(sorted(seasons))
    assert max(split.train) < min(split.validation) <= max(split.validation) < min(split.test)


def test_three_seasons_give_one_each() -> None:
    assert split_seasons([2103, 2101, 2102]) == SeasonSplit((2101,), (2102,), (2103,))


def test_asked_ranges_are_kept_and_the_latest_training_seasons_validate() -> None:
    split = split_seasons(range(1996, 2025), train=(1996, 2018), test=(2019, 2024))
    assert split.train == tuple(range(1996, 2017))
    assert split.validation == (2017, 2018)
    assert split.test == tuple(range(2019, 2025))
    assert [split.part_of(s) for s in (1996, 2018, 2019, 1990)] == ["train", "validation", "test", None]
    assert split.describe() == "train 1996-2016, validate 2017-2018, test 2019-2024"


def test_only_training_seasons_given_tests_all_later_ones() -> None:
    assert split_seasons(range(2000, 2010), train=(2000, 2006)).test == (2007, 2008, 2009)


def test_overlap_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must follow each other in time"):
        split_seasons(range(2000, 2010), train=(2000, 2006), test=(2005, 2009))


def test_a_part_without_seasons_is_refused() -> None:
    with pytest.raises(ConfigError, match="no test season"):
        split_seasons(range(2000, 2010), test=(2050, 2051))


def test_two_seasons_are_too_few() -> None:
    with pytest.raises(ConfigError, match=r"2 season\(s\) are too few.*Ingest or simulate at least three"):
        split_seasons([2000, 2001])


def test_cuts_leave_out_what_cannot_be_cut() -> None:
    """Races without laps are cut before the start only, races without results not at all, equal cuts once."""
    tables = random_tables(0)
    results = tables.results.filter(pl.col("race_id") != "2000_race_2")
    archive = RaceArchive(Tables(tables.races, tables.entries, results, tables.laps, tables.weather))
    split = SeasonSplit((1999,), (2000,), (2001,))
    cuts = cuts_of(archive, split, (0.0, 0.5, 0.55))
    assert cuts == [
        ("2000_race_1", PreRace(), "validation"),
        ("2000_race_1", AfterLap(6), "validation"),
        ("2000_race_3", PreRace(), "validation"),
        ("2000_race_4", PreRace(), "validation"),
        ("2000_race_4", AfterLap(6), "validation"),
        ("2001_race_1", PreRace(), "test"),
        ("2001_race_1", AfterLap(6), "test"),
        ("2001_race_2", PreRace(), "test"),
        ("2001_race_2", AfterLap(6), "test"),
    ]
