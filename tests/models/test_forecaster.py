"""The Forecaster: a field's forecast from a Snapshot, whatever is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from f1_predict import features
from f1_predict.config import FeatureConfig, Head, SimulatorConfig
from f1_predict.errors import ConfigError, FeatureError
from f1_predict.horizon import AfterLap, FullRace, PreRace, RaceArchive
from f1_predict.models.forecaster import Forecaster
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.sources.simulator import simulate

WIDTH = len(features.FEATURE_NAMES)


@pytest.fixture(scope="module")
def encoder() -> VisionEncoder:
    return VisionEncoder(weights="random")


@pytest.fixture(scope="module")
def archive() -> RaceArchive:
    """Fields of 22 cars: larger than the models' 20 classes."""
    return RaceArchive(simulate(1, 3, SimulatorConfig(races_per_season=3, teams=11)))


def forecaster(
    encoder: VisionEncoder,
    folder: Path,
    head: Head = "position",
    sigma: float | None = None,
    names: tuple[str, ...] | None = None,
) -> Forecaster:
    torch.manual_seed(0)
    model = MultiModalFusionModel(tabular_input_dim=WIDTH, output_dim=20, head=head, vision_encoder=encoder)
    values = np.random.default_rng(0).normal(size=(40, WIDTH))
    normaliser = FeatureNormaliser.fit(values, names or features.FEATURE_NAMES)
    return Forecaster(model, encoder, normaliser, SpeedTraceGenerator(folder), FeatureConfig(), sigma)


@pytest.mark.parametrize(("head", "sigma"), [("position", None), ("position_regression", 0.2)])
def test_a_field_larger_than_the_classes_is_forecast(
    encoder: VisionEncoder, archive: RaceArchive, tmp_path: Path, head: Head, sigma: float | None
) -> None:
    snapshot = archive.snapshot("2101_race_2", AfterLap(12))
    forecast = forecaster(encoder, tmp_path, head, sigma).predict(snapshot)
    assert forecast["driver_id"].to_list() == snapshot.driver_ids
    assert sorted(forecast["predicted_rank"]) == list(range(1, 23))
    probabilities = np.array(forecast["position_probs"].to_list())
    assert probabilities.shape == (22, 22)
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(forecast["p_win"], probabilities[:, 0])
    np.testing.assert_allclose(forecast["expected_position"], probabilities @ np.arange(1, 23))
    assert (forecast["position_low"] <= forecast["position_high"]).all()
    assert forecast["cutoff_lap"].unique().to_list() == [12]


def test_the_first_race_ever_has_no_pictures_and_is_forecast(
    encoder: VisionEncoder, archive: RaceArchive, tmp_path: Path
) -> None:
    forecast = forecaster(encoder, tmp_path).predict(archive.snapshot("2101_race_1", PreRace()))
    assert not forecast["has_image"].any()
    assert forecast.height == 22


def test_a_driver_without_laps_has_no_picture_and_changes_nobody_elses(
    encoder: VisionEncoder, archive: RaceArchive, tmp_path: Path
) -> None:
    caster = forecaster(encoder, tmp_path)
    snapshot = archive.snapshot("2101_race_3", PreRace())
    whole = caster.predict(snapshot)
    gone = snapshot.driver_ids[4]
    laps = snapshot.past.laps.filter(snapshot.past.laps["driver_id"] != gone)
    values = features.build(snapshot).select(features.FEATURE_NAMES).to_numpy()
    less = caster.predict_from_features(replace(snapshot, past=replace(snapshot.past, laps=laps)), values)
    assert less["has_image"].to_list() == [driver != gone for driver in snapshot.driver_ids]
    assert less.height == whole.height


def test_a_forecast_from_the_full_race_is_marked(
    encoder: VisionEncoder, archive: RaceArchive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forecast = forecaster(encoder, tmp_path).predict(archive.snapshot("2101_race_2", FullRace()))
    assert forecast["horizon"].unique().to_list() == ["full_race"]
    assert "has seen the finish it forecasts" in caplog.text


def test_a_sigma_belongs_to_the_regression_head_alone(encoder: VisionEncoder, tmp_path: Path) -> None:
    for head, sigma in (("finish", 0.1), ("position", 0.1), ("position_regression", None)):
        with pytest.raises(ConfigError, match="needs head 'position_regression' with its sigma"):
            forecaster(encoder, tmp_path, head, sigma)  # type: ignore[arg-type]


def test_a_model_of_who_finishes_says_nothing_of_places(
    encoder: VisionEncoder, archive: RaceArchive, tmp_path: Path
) -> None:
    caster = forecaster(encoder, tmp_path, "finish")
    snapshot = archive.snapshot("2101_race_2", AfterLap(12))
    forecast = caster.predict(snapshot)
    assert forecast["p_finish"].is_between(0.0, 1.0).all()
    assert forecast["p_finish"].n_unique() > 10
    places = ["position_probs", "expected_position", "predicted_rank", "p_win", "p_podium", "p_points"]
    assert forecast.select(*places, "position_low", "position_high").null_count().row(0) == (22,) * 8
    assert caster.generator.render(snapshot).present.tolist() == forecast["has_image"].to_list()
    values = features.build(snapshot).select(features.FEATURE_NAMES).to_numpy()
    with pytest.raises(ConfigError, match="head 'finish' says nothing of places"):
        caster.predict_one(snapshot, 0, values[:1])


def test_who_finishes_is_said_beside_places(encoder: VisionEncoder, archive: RaceArchive, tmp_path: Path) -> None:
    """By the network that knows, unchanged; and places are as they were."""
    alone, finish = forecaster(encoder, tmp_path), forecaster(encoder, tmp_path, "finish")
    both = Forecaster(
        alone.model, encoder, alone.normaliser, alone.generator, alone.feature_config, finish=finish.model
    )
    snapshot = archive.snapshot("2101_race_2", AfterLap(12))
    said = both.predict(snapshot)
    assert said["p_finish"].equals(finish.predict(snapshot)["p_finish"])
    assert said.drop("p_finish").equals(alone.predict(snapshot).drop("p_finish"))
    assert alone.predict(snapshot)["p_finish"].null_count() == 22


def test_the_network_beside_is_of_who_finishes_and_beside_places(encoder: VisionEncoder, tmp_path: Path) -> None:
    for head, beside in (("position", "position"), ("finish", "finish")):
        one, other = forecaster(encoder, tmp_path, head), forecaster(encoder, tmp_path, beside)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"got head '{beside}' beside head '{head}'"):
            Forecaster(one.model, encoder, one.normaliser, one.generator, one.feature_config, finish=other.model)


def test_other_features_than_this_versions_are_refused(encoder: VisionEncoder, tmp_path: Path) -> None:
    names = ("something_else", *features.FEATURE_NAMES[1:])
    with pytest.raises(FeatureError, match=r"different: .*something_else\). Train it again"):
        forecaster(encoder, tmp_path, names=names)
