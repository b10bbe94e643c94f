"""One race and many cuts give the same bits; nothing after the cut is seen; the new and the empty are ordinary."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from f1_predict.config import FeatureConfig
from f1_predict.errors import HorizonError, NotFoundError
from f1_predict.features import FEATURE_NAMES, FEATURES, RaceFeatures, build, build_many, features_of_races
from f1_predict.horizon import AfterLap, FullRace, Horizon, PreRace, RaceArchive
from f1_predict.schemas import Tables
from tests.features.random_tables import random_tables

Cut = tuple[str, Horizon]


def random_cuts(archive: RaceArchive, seed: int, n: int) -> list[Cut]:
    rng = random.Random(seed)
    cuts: list[Cut] = []
    for race_id in rng.choices(archive.race_ids, k=n):
        laps = archive.laps_completed(race_id)
        choices: Sequence[Horizon] = [PreRace(), FullRace(), *([AfterLap(rng.randint(1, laps))] * 2 if laps else [])]
        cuts.append((race_id, rng.choice(choices)))
    return cuts


def only(tables: Tables, race_ids: Sequence[str]) -> Tables:
    return tables.map(lambda _, frame: frame.filter(pl.col("race_id").is_in(race_ids)))


@pytest.mark.parametrize("seed", range(3))
def test_many_cuts_equal_single_builds_bit_for_bit(seed: int) -> None:
    archive = RaceArchive(random_tables(seed))
    cuts = random_cuts(archive, seed, 10)
    many = build_many(archive, cuts)
    singles = [build(archive.snapshot(*cut)).insert_column(2, pl.lit(cut[1].name).alias("horizon")) for cut in cuts]
    assert many.equals(pl.concat(singles))
    assert many.columns == ["race_id", "driver_id", "horizon", *FEATURE_NAMES]


@pytest.mark.parametrize("seed", range(2))
def test_features_of_all_races_equal_those_of_each_bit_for_bit(seed: int) -> None:
    archive = RaceArchive(random_tables(seed))
    config = FeatureConfig(form_races=2)
    found = features_of_races(archive, config)
    assert list(found) == archive.race_ids
    for race_id, race in found.items():
        single = RaceFeatures.of(archive.snapshot(race_id, PreRace()), config)
        assert (race.race_id, race.config) == (single.race_id, single.config)
        np.testing.assert_array_equal(race.before, single.before)


def test_settings_reach_both_ways_of_building() -> None:
    archive = RaceArchive(random_tables(0))
    cut: Cut = (archive.race_ids[-1], PreRace())
    config = FeatureConfig(form_races=1, rating_step=0.1)
    single = build(archive.snapshot(*cut), config)
    assert build_many(archive, [cut], config).drop("horizon").equals(single)
    assert not single["driver_rating"].equals(build(archive.snapshot(*cut))["driver_rating"])


def test_no_cuts_give_an_empty_table_with_all_columns() -> None:
    empty = build_many(RaceArchive(random_tables(0)), [])
    assert empty.is_empty()
    assert empty.schema["driver_rating"] == pl.Float64
    assert empty.schema["horizon"] == pl.String


def test_unknown_race_and_unreached_lap_are_errors() -> None:
    archive = RaceArchive(random_tables(0))
    with pytest.raises(NotFoundError, match=r"no race '2001_race_9'. Did you mean 2001_race_"):
        build_many(archive, [("2001_race_9", PreRace())])
    with pytest.raises(HorizonError, match="nobody has completed lap 99 of 2004_race_1"):
        build_many(archive, [("2004_race_1", AfterLap(99))])


@pytest.mark.parametrize("seed", range(3))
def test_rows_follow_the_entries_and_values_keep_to_the_catalogue(seed: int) -> None:
    archive = RaceArchive(random_tables(seed))
    for race_id, horizon in random_cuts(archive, seed + 100, 4):
        built = build(archive.snapshot(race_id, horizon))
        assert built["driver_id"].to_list() == archive.rows("entries", race_id)["driver_id"].to_list()
        assert built["race_id"].unique().to_list() == [race_id]
        for feature in FEATURES:
            values = built[feature.name].drop_nulls()
            assert values.is_finite().all(), feature.name
            if feature.unknown.startswith(("never", "0")):
                assert values.len() == built.height, feature.name
            if feature.low is not None:
                assert (values >= feature.low - 1e-12).all(), feature.name
            if feature.high is not None:
                assert (values <= feature.high + 1e-12).all(), feature.name


@pytest.mark.parametrize("seed", range(3))
def test_nothing_after_the_cut_changes_anything(seed: int) -> None:
    tables = random_tables(seed)
    archive = RaceArchive(tables)
    rng = random.Random(seed)
    race_id = rng.choice([r for r in archive.race_ids[3:10] if archive.laps_completed(r) > 2])
    horizon = AfterLap(2)
    end = archive.snapshot(race_id, horizon).cut_time_s
    open_races = archive.race_ids[archive.race_ids.index(race_id) :]
    here, later = pl.col("race_id") == race_id, pl.col("race_id").is_in(open_races[1:])

    def other_future(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        if name == "results":
            frame = frame.with_columns(
                position=pl.when(here | later).then(pl.col("position").reverse().over("race_id")).otherwise("position"),
                classified=pl.col("classified") ^ (here | later),
            )
        if name == "laps":
            changed = later | (here & (pl.col("end_time_s") > end))
            frame = frame.with_columns(
                lap_time_s=pl.when(changed).then(77.0).otherwise("lap_time_s"),
                end_time_s=pl.when(changed).then(pl.col("end_time_s") + 1.0).otherwise("end_time_s"),
                compound=pl.when(changed).then(pl.lit("WET")).otherwise("compound"),
            )
        if name == "weather":
            frame = frame.with_columns(rainfall=pl.col("rainfall") | later | (here & (pl.col("time_s") > end)))
        if name == "entries":
            frame = frame.with_columns(grid=pl.when(later).then(7).otherwise("grid").cast(pl.Int32)).filter(
                ~later | (pl.col("driver_id") != "driver00")
            )
        return frame

    changed = RaceArchive(tables.map(other_future))
    before = only(tables, archive.race_ids[: -len(open_races)]), only(tables, [race_id])
    cut_off = RaceArchive(Tables(*(pl.concat(f) for f in zip(*map(_frames, before), strict=True))))
    for cut in ((race_id, PreRace()), (race_id, horizon)):
        truth = build_many(archive, [cut])
        assert build_many(changed, [cut]).equals(truth)
        assert build_many(cut_off, [cut]).equals(truth)
    assert not changed.tables.results.equals(archive.tables.results)
    after = (open_races[1], PreRace())
    assert not build_many(changed, [after]).equals(build_many(archive, [after]))


def _frames(tables: Tables) -> list[pl.DataFrame]:
    return [tables.races, tables.entries, tables.results, tables.laps, tables.weather]


def test_the_first_race_ever_has_priors_and_nulls() -> None:
    archive = RaceArchive(random_tables(1))
    config = FeatureConfig()
    first = build(archive.snapshot(archive.race_ids[0], PreRace()), config)
    n = first.height
    assert first["driver_rating"].to_list() == [config.new_driver_rating] * n
    assert first["constructor_rating"].to_list() == [config.new_constructor_rating] * n
    assert first["expected_position"].to_list() == pytest.approx([(n + 1) / 2] * n)
    assert first["circuit_id"].to_list() == [0.0] * n
    assert first["linear_forecast"].to_list() == [0.5] * n
    assert first["driver_starts"].to_list() == [0.0] * n
    for name in ("driver_form", "driver_finish_rate", "constructor_form_pace", "circuit_attrition"):
        assert first[name].null_count() == n, name


def test_an_unseen_driver_team_and_circuit_are_ordinary() -> None:
    tables = random_tables(2)
    race_id = "2004_race_3"
    newcomer = tables.entries.filter(pl.col("race_id") == race_id)["driver_id"][0]
    here = pl.col("race_id") == race_id

    def renamed(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        if name == "races":
            return frame.with_columns(circuit_id=pl.when(here).then(pl.lit("new")).otherwise("circuit_id"))
        if name == "entries":
            chosen = here & (pl.col("driver_id") == newcomer)
            frame = frame.with_columns(constructor_id=pl.when(chosen).then(pl.lit("new")).otherwise("constructor_id"))
        if "driver_id" in frame.columns:
            chosen = here & (pl.col("driver_id") == newcomer)
            frame = frame.with_columns(driver_id=pl.when(chosen).then(pl.lit("aaa_new")).otherwise("driver_id"))
        return frame

    config = FeatureConfig(new_driver_rating=-0.7, new_constructor_rating=-1.1)
    built = build(RaceArchive(tables.map(renamed)).snapshot(race_id, PreRace()), config)
    row = built.row(0, named=True)
    assert row["driver_id"] == "aaa_new"
    assert (row["driver_rating"], row["constructor_rating"]) == (-0.7, -1.1)
    assert (row["circuit_id"], row["driver_starts"], row["constructor_races"]) == (0, 0, 0)
    assert row["driver_finish_rate"] == pytest.approx(row["field_finish_rate"])
    assert row["driver_form"] is None
    assert row["qualifying_teammate_gap_pct"] is None
    assert row["driver_season_classified_rank"] is None
    assert built["driver_starts"].max() > 0


def test_a_race_without_entries_has_no_rows() -> None:
    tables = random_tables(0).map(
        lambda name, frame: frame if name == "races" else frame.filter(pl.col("race_id") != "2004_race_2")
    )
    archive = RaceArchive(tables)
    assert build(archive.snapshot("2004_race_2", PreRace())).is_empty()
    assert build_many(archive, [("2004_race_2", PreRace()), ("2004_race_3", PreRace())]).height > 0
