"""Every feature against its oracle, on random untidy tables."""

from __future__ import annotations

import polars as pl
import pytest

from f1_predict.config import FeatureConfig
from f1_predict.features import FEATURE_NAMES, build, build_many
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from tests.features.oracles import oracle
from tests.features.random_tables import random_tables

CONFIG = FeatureConfig(form_races=3, finish_window=4, rain_window_s=600.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("race", [0, 1, 4, 11])
def test_every_feature_equals_its_oracle(seed: int, race: int) -> None:
    archive = RaceArchive(random_tables(seed))
    race_id = archive.race_ids[race]
    lap = min(3 + seed, archive.laps_completed(race_id))
    snapshot = archive.snapshot(race_id, AfterLap(lap) if lap else PreRace())
    expected = oracle(snapshot, CONFIG)
    built = build(snapshot, CONFIG)
    assert set(expected[0]) == set(FEATURE_NAMES)
    assert built["driver_id"].to_list() == [row["driver_id"] for row in snapshot.entries.iter_rows(named=True)]
    for name in FEATURE_NAMES:
        truth = [row[name] for row in expected]
        values = built[name].to_list()
        assert [v is None for v in values] == [t is None for t in truth], name
        assert [v for v in values if v is not None] == pytest.approx(
            [t for t in truth if t is not None], rel=1e-9, abs=1e-9
        ), name


def test_random_tables_reach_the_untidy_cases() -> None:
    archives = [RaceArchive(random_tables(seed)) for seed in range(3)]
    cuts = [[(race_id, PreRace()) for race_id in archive.race_ids] for archive in archives]
    built = pl.concat(build_many(archive, cut, CONFIG) for archive, cut in zip(archives, cuts, strict=True))
    later = built.filter(pl.col("season") > 2001)
    for archive in archives:
        assert min(archive.rows("laps", race_id).height for race_id in archive.race_ids) == 0
        assert archive.rows("results", archive.race_ids[-1]).is_empty()
    for name in ("driver_starts", "constructor_races", "driver_circuit_starts", "constructor_circuit_starts"):
        assert later[name].min() == 0, name
        assert later[name].max() > 1, name
    assert (later["n_starters"].min(), later["n_starters"].max()) == (18, 24)
    assert 0 < later["driver_form_pace"].null_count() < later.height
    assert later["pit_lane_start"].sum() > 0
