"""The guard: nothing after the cut can move a forecast, or anything that it is made of.

For 240 random (race, lap) pairs, simulated and real, laps and weather after the cut, the result of the race and all
later races are altered; snapshot, picture bytes, features (of the race so far as well) and forecast must be
bit-identical.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from polars.testing import assert_frame_equal

from f1_predict import features
from f1_predict.config import FeatureConfig, SimulatorConfig
from f1_predict.horizon import AfterLap, Horizon, PreRace, RaceArchive, Snapshot
from f1_predict.models.forecaster import Forecaster
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.schemas import TABLE_NAMES, Tables
from f1_predict.sources.simulator import simulate
from f1_predict.tables import ingest
from tests.tampering import tamper

PAIRS = 120


class QuickEncoder:
    """Stands in for the backbone: a fixed projection of every pixel, so that any changed pixel shows."""

    feature_dim = 512

    def __init__(self) -> None:
        self._projection = np.random.default_rng(0).normal(size=(448 * 3, 512)).astype(np.float32)

    def encode_arrays(self, images: np.ndarray) -> np.ndarray:
        rows = np.arange(1, 449, dtype=np.float32)[None, :, None, None]
        columns = (images.astype(np.float32) * rows).mean(axis=1).reshape(len(images), -1)
        return np.asarray(columns @ self._projection / 1e6, dtype=np.float32)


def forecaster(encoder: object, folder: Path) -> Forecaster:
    width = len(features.FEATURE_NAMES)
    model = MultiModalFusionModel(tabular_input_dim=width, output_dim=24, vision_encoder=encoder)  # type: ignore[arg-type]
    normaliser = FeatureNormaliser.fit(np.random.default_rng(0).normal(size=(50, width)), features.FEATURE_NAMES)
    return Forecaster(model, encoder, normaliser, SpeedTraceGenerator(folder), FeatureConfig())  # type: ignore[arg-type]


def random_cuts(archive: RaceArchive, count: int, seed: int) -> list[tuple[str, Horizon]]:
    rng = np.random.default_rng(seed)
    with_laps = [race_id for race_id in archive.race_ids[2:] if archive.laps_completed(race_id) > 1]
    possible: list[tuple[str, Horizon]] = [(race_id, PreRace()) for race_id in with_laps]
    possible += [(r, AfterLap(lap)) for r in with_laps for lap in range(1, archive.laps_completed(r))]
    return [possible[index] for index in rng.choice(len(possible), count, replace=False)]


def assert_same(before: Snapshot, after: Snapshot, caster: Forecaster) -> None:
    """Snapshot, picture bytes, features and forecast of both are equal to the bit."""
    assert (before.race, before.cutoff_lap, before.cut_time_s) == (after.race, after.cutoff_lap, after.cut_time_s)
    for name in ("entries", "laps", "weather"):
        assert_frame_equal(getattr(before, name), getattr(after, name))
    for name in TABLE_NAMES:
        assert_frame_equal(getattr(before.past, name), getattr(after.past, name))
    first, second = caster.generator.render(before), caster.generator.render(after)
    assert first.images.tobytes() == second.images.tobytes()
    assert first.present.tolist() == second.present.tolist()
    assert_frame_equal(features.build(before), features.build(after), check_exact=True)
    assert_frame_equal(features.in_race(before), features.in_race(after), check_exact=True)
    assert_frame_equal(caster.predict(before), caster.predict(after), check_exact=True)


def check(tables: Tables, pairs: int, caster: Forecaster, seed: int) -> None:
    archive = RaceArchive(tables)
    cuts = random_cuts(archive, pairs, seed)
    assert len(cuts) == pairs
    for number, (race_id, horizon) in enumerate(cuts):
        before = archive.snapshot(race_id, horizon)
        altered = RaceArchive(tamper(tables, before, number))
        assert not altered.rows("results", race_id).equals(archive.rows("results", race_id))
        assert_same(before, altered.snapshot(race_id, horizon), caster)


@pytest.fixture(scope="module")
def simulated() -> Tables:
    return simulate(2, 5, SimulatorConfig(races_per_season=6))


def test_simulated_races(simulated: Tables, tmp_path: Path) -> None:
    check(simulated, PAIRS, forecaster(QuickEncoder(), tmp_path), seed=1)


@pytest.mark.real
def test_real_races(real_data: Path, tmp_path: Path) -> None:
    tables = ingest(real_data / "ergast", real_data / "f1db", real_data / "fastf1", seasons=(2021, 2021)).tables
    check(tables, PAIRS, forecaster(QuickEncoder(), tmp_path), seed=2)


def test_the_true_backbone_too(simulated: Tables, tmp_path: Path) -> None:
    check(simulated, 3, forecaster(VisionEncoder(weights="random"), tmp_path), seed=3)


def test_the_guard_notices_a_leak(simulated: Tables, tmp_path: Path) -> None:
    """What reads one lap too many is found out."""
    archive = RaceArchive(simulated)
    race_id = archive.race_ids[3]
    before = archive.snapshot(race_id, AfterLap(20))
    altered = RaceArchive(tamper(simulated, archive.snapshot(race_id, AfterLap(19)), 0))
    with pytest.raises(AssertionError):
        assert_same(before, altered.snapshot(race_id, AfterLap(20)), forecaster(QuickEncoder(), tmp_path))


def test_pictures_on_disk_are_the_same_bytes(simulated: Tables, tmp_path: Path) -> None:
    archive = RaceArchive(simulated)
    race_id = archive.race_ids[4]
    before = archive.snapshot(race_id, AfterLap(15))
    after = RaceArchive(tamper(simulated, before, 1)).snapshot(race_id, AfterLap(15))
    first = SpeedTraceGenerator(tmp_path / "a").write(before)
    second = SpeedTraceGenerator(tmp_path / "b").write(after)
    assert first.keys() == second.keys()
    assert len(first) > 15
    for driver_id, path in first.items():
        assert Path(path).read_bytes() == Path(second[driver_id]).read_bytes()
