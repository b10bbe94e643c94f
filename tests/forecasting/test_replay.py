"""The engine: every lap as Forecaster.predict says it, nothing twice, nothing from later, nothing lost."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.config import FeatureConfig
from f1_predict.errors import DataError, FeatureError, HorizonError, NotFoundError
from f1_predict.features import RaceFeatures
from f1_predict.forecasting import Replay
from f1_predict.forecasting import replay as engine
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.models.forecaster import Forecaster
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.schemas import Tables
from f1_predict.training.embeddings import EmbeddingCache
from tests.forecasting.conftest import CARS, LAPS, RACE, World, moments, network, normaliser_of
from tests.tampering import tamper
from tests.training.stand_ins import CountingEncoder


def caster(world: World, encoder: CountingEncoder | None = None) -> Forecaster:
    """A forecaster whose backbone counts what it encodes, and says the same of a picture in any company."""
    encoder = encoder or CountingEncoder()
    model = network("position", CARS, CountingEncoder.feature_dim, None)
    model.image_scale.fill_(10.0)  # the means of pixels are large numbers
    generator = SpeedTraceGenerator("nowhere")
    return Forecaster(model, encoder, normaliser_of(world.archive), generator, FeatureConfig())  # type: ignore[arg-type]


@pytest.fixture
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CACHE_FROM", 1)


def test_every_lap_is_what_the_forecaster_says_at_that_cut(world: World) -> None:
    forecaster = caster(world)
    found = list(Replay(forecaster, world.archive, RACE).forecasts(moments(world.archive, RACE)))
    assert [snapshot.cutoff_lap for snapshot, _ in found] == list(range(LAPS + 1))
    for snapshot, forecast in found:
        assert_frame_equal(forecast, forecaster.predict(snapshot), check_exact=True)
    wins = pl.concat([forecast for _, forecast in found]).group_by("driver_id").agg(pl.col("p_win").std())
    assert wins["p_win"].min() > 1e-4  # the laps are not all alike


def test_pictures_move_the_forecast(world: World) -> None:
    forecaster = caster(world)
    snapshot = world.archive.snapshot(RACE, AfterLap(5))
    values = RaceFeatures.of(snapshot).values(snapshot)
    seen = forecaster.predict_from_features(snapshot, values)
    embeddings, present = forecaster.embed(snapshot, snapshot.driver_ids)
    blind = forecaster.predict_from_embeddings(snapshot, values, embeddings, present & False)
    assert (seen["p_win"] - blind["p_win"]).abs().max() > 1e-4


def test_nothing_is_encoded_twice_and_laps_go_through_together(world: World) -> None:
    encoder = CountingEncoder()
    replay = Replay(caster(world, encoder), world.archive, RACE)
    found = list(replay.forecasts(moments(world.archive, RACE)))
    pictures = sum(int(forecast["has_image"].sum()) for _, forecast in found)
    assert encoder.encoded == pictures
    assert len(encoder.batches) == -(-(LAPS + 1) * CARS // (engine.BATCH // CARS * CARS))
    again = list(replay.forecasts([AfterLap(3), PreRace(), AfterLap(3)]))
    assert encoder.encoded == pictures
    for (_, forecast), (_, first) in zip(again, (found[3], found[0], found[3]), strict=True):
        assert_frame_equal(forecast, first, check_exact=True)


def test_nothing_after_a_lap_moves_the_forecasts_up_to_it(world: World) -> None:
    last = 4
    known = moments(world.archive, RACE)[: last + 1]
    before = list(Replay(caster(world), world.archive, RACE).forecasts(known))
    altered = RaceArchive(tamper(world.tables, world.archive.snapshot(RACE, AfterLap(last)), 7))
    assert not altered.rows("results", RACE).equals(world.archive.rows("results", RACE))
    after = list(Replay(caster(world), altered, RACE).forecasts(known))
    for (_, first), (_, second) in zip(before, after, strict=True):
        assert_frame_equal(first, second, check_exact=True)


def test_embeddings_on_disk_are_used_and_added_to(world: World, tmp_path: Path, small_cache: None) -> None:
    cuts = moments(world.archive, RACE)
    first, second = CountingEncoder(), CountingEncoder()
    some = list(Replay(caster(world, first), world.archive, RACE, EmbeddingCache(tmp_path)).forecasts(cuts[:5]))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1  # one shard a replay
    both = list(Replay(caster(world, second), world.archive, RACE, EmbeddingCache(tmp_path)).forecasts(cuts))
    pictures = sum(int(forecast["has_image"].sum()) for _, forecast in both)
    assert first.encoded + second.encoded == pictures
    for (_, forecast), (_, again) in zip(some, both, strict=False):
        assert_frame_equal(forecast, again, check_exact=True)


def test_a_cache_on_disk_is_left_alone_for_a_few_pictures(world: World, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "embeddings")
    list(Replay(caster(world), world.archive, RACE, cache).forecasts([AfterLap(2)]))
    assert not (tmp_path / "embeddings").exists()


def test_who_stops_listening_loses_nothing(world: World, tmp_path: Path, small_cache: None) -> None:
    stream = Replay(caster(world), world.archive, RACE, EmbeddingCache(tmp_path)).forecasts(
        moments(world.archive, RACE)
    )
    assert len(list(islice(stream, 2))) == 2
    stream.close()  # type: ignore[attr-defined]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_a_moment_that_the_race_does_not_reach_is_refused_before_any_work(world: World) -> None:
    encoder = CountingEncoder()
    replay = Replay(caster(world, encoder), world.archive, RACE)
    with pytest.raises(HorizonError, match=f"nobody has completed lap 99 of {RACE}"):
        list(replay.forecasts([AfterLap(1), AfterLap(99)]))
    assert encoder.encoded == 0
    assert list(replay.forecasts([])) == []


def test_races_that_cannot_be_replayed_are_refused(world: World) -> None:
    with pytest.raises(NotFoundError, match="no race '2101_race_9'"):
        Replay(caster(world), world.archive, "2101_race_9")
    tables = world.tables
    bare = Tables(**vars(tables) | {"entries": tables.entries.filter(pl.col("race_id") != RACE)})
    with pytest.raises(DataError, match=f"{RACE} has no entries yet.*entries template --race {RACE}"):
        Replay(caster(world), RaceArchive(bare), RACE)


def test_features_of_a_race_are_for_that_race_only(world: World) -> None:
    known = RaceFeatures.of(world.archive.snapshot(RACE, PreRace()))
    with pytest.raises(
        FeatureError, match=f"the features of {RACE} need Snapshots of that race, got one of 2101_race_2"
    ):
        known.values(world.archive.snapshot("2101_race_2", PreRace()))
