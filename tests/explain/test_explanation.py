"""Explanations against slow, obvious ones: gradients that add up, laps blanked by hand, masks, Grad-CAM by hand."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from f1_predict import features
from f1_predict.config import Head, PictureConfig
from f1_predict.errors import ConfigError, NotFoundError
from f1_predict.explain import CarQuestion, picture_of, targets_of
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.models.forecaster import Forecaster
from f1_predict.models.probabilities import summarise
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from tests.explain.conftest import CARS, Learnt, with_head
from tests.forecasting.conftest import network

LAP, ROW = 8, 4


@pytest.fixture(scope="module")
def inputs(learnt: Learnt) -> tuple[torch.Tensor, torch.Tensor]:
    """The encoded picture and the standardised table of one driver, made by hand."""
    snapshot = learnt.archive.snapshot(learnt.new_races[0], AfterLap(LAP))
    forecaster = learnt.forecaster
    drawn = forecaster.generator.render(snapshot).images[ROW : ROW + 1]
    values = features.build(snapshot, forecaster.feature_config).select(features.FEATURE_NAMES).to_numpy()
    table = forecaster.normaliser.transform(values[ROW : ROW + 1])
    return torch.from_numpy(forecaster.encoder.encode_arrays(drawn)), torch.from_numpy(table)


@pytest.mark.parametrize("head", ["position", "position_regression"])
def test_the_answer_is_the_networks_own_for_this_driver(
    learnt: Learnt, inputs: tuple[torch.Tensor, torch.Tensor], head: Head
) -> None:
    forecaster = learnt.forecaster if head == "position" else with_head(learnt, head)
    snapshot = learnt.archive.snapshot(learnt.new_races[0], AfterLap(LAP))
    values = features.build(snapshot, forecaster.feature_config).select(features.FEATURE_NAMES).to_numpy()
    own = summarise(forecaster.predict_one(snapshot, ROW, values[ROW : ROW + 1])[None])
    for target in targets_of(forecaster):
        with torch.no_grad():
            asked = float(CarQuestion(forecaster, CARS, target).value(*inputs)[0])
        assert asked == pytest.approx(float(getattr(own, target)[0]), abs=1e-6), target
    found = learnt.explained(forecaster, snapshot.race_id, AfterLap(LAP), ROW)
    assert found.target == "expected_position"
    assert found.value == pytest.approx(float(own.expected_position[0]), abs=1e-6)
    assert found.field_value == pytest.approx(forecaster.predict(snapshot)["expected_position"][ROW], abs=1e-6)


def test_who_is_classified_is_explained_as_a_chance(learnt: Learnt) -> None:
    finish = with_head(learnt, "finish")
    found = learnt.explained(finish, learnt.new_races[0], AfterLap(LAP), ROW)
    assert found.target == "p_finish"
    assert found.value == pytest.approx(found.field_value, abs=1e-6)
    moved = {name: abs(found.value - other) for name, other in found.without.items()}
    assert found.shares["picture"] == pytest.approx(moved["picture"] / sum(moved.values()), abs=1e-6)


def test_who_is_classified_is_explained_beside_a_model_of_places(learnt: Learnt) -> None:
    """By the network that says it, whatever the head of the model: bit for bit what that network says alone."""
    known, finish = learnt.forecaster, with_head(learnt, "finish").model
    both = Forecaster(
        known.model, known.encoder, known.normaliser, known.generator, known.feature_config, finish=finish
    )
    assert targets_of(both) == (*targets_of(known), "p_finish")
    moment = (learnt.new_races[0], AfterLap(LAP), ROW)
    found = learnt.explained(both, *moment, "p_finish")
    alone = learnt.explained(with_head(learnt, "finish"), *moment)
    assert (found.target, found.value, found.shares) == ("p_finish", alone.value, alone.shares)
    assert found.laps.equals(alone.laps)
    assert found.features.equals(alone.features)
    np.testing.assert_array_equal(found.heat, alone.heat)
    assert learnt.explained(both, *moment).to_dict() == learnt.explained(known, *moment).to_dict()


@pytest.mark.parametrize(("classes", "starters"), [(6, 10), (10, 10), (13, 10)])
def test_fields_of_other_sizes_are_answered_as_the_forecaster_does(learnt: Learnt, classes: int, starters: int) -> None:
    known = learnt.forecaster
    model = network("position", classes, known.encoder.feature_dim, known.encoder)
    forecaster = Forecaster(model, known.encoder, known.normaliser, known.generator, known.feature_config)
    snapshot = learnt.archive.snapshot(learnt.new_races[0], AfterLap(LAP))
    table = torch.randn((3, len(features.FEATURE_NAMES)), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        asked = CarQuestion(forecaster, starters).outcomes(None, table)
        output = model.fuse(None, table, torch.zeros(3, dtype=torch.bool)).double().numpy()
    np.testing.assert_allclose(asked.numpy(), forecaster._positions(output, snapshot), atol=1e-7)


@pytest.mark.parametrize("target", ["expected_position", "p_podium"])
def test_what_features_add_sums_to_what_the_table_changes(learnt: Learnt, target: str) -> None:
    for horizon in (PreRace(), AfterLap(LAP)):
        found = learnt.explained(learnt.forecaster, learnt.new_races[0], horizon, ROW, target)
        change = found.value - found.without["table"]
        assert abs(change) > 1e-4
        assert found.features["attribution"].sum() == pytest.approx(change, rel=0.01, abs=1e-4)
    sizes = found.features["attribution"].abs().to_list()
    assert sizes == sorted(sizes, reverse=True)
    assert set(found.features["feature"]) == set(features.FEATURE_NAMES)
    unknown = found.features.filter(pl.col("value").is_null())
    assert unknown.height
    assert unknown["attribution"].abs().max() == 0.0


def test_integrated_gradients_are_those_of_a_plain_sum(
    learnt: Learnt, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    vectors, table = inputs
    question = CarQuestion(learnt.forecaster, CARS)
    way = (torch.arange(2000)[:, None] + 0.5) / 2000
    points = (way * table).requires_grad_()
    gradients = torch.autograd.grad(question.value(vectors.expand(2000, -1), points).sum(), points)[0]
    slow = (gradients.mean(dim=0) * table[0]).numpy()
    found = learnt.explained(learnt.forecaster, learnt.new_races[0], AfterLap(LAP), ROW).features
    by_name = dict(found.select("feature", "attribution").iter_rows())
    ours = np.array([by_name[name] for name in features.FEATURE_NAMES])
    np.testing.assert_allclose(ours, slow, atol=0.01 * np.abs(slow).max())


def test_masked_modalities_are_those_of_the_network_masked(
    learnt: Learnt, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    vectors, table = inputs
    model, places = learnt.forecaster.model, np.arange(1, CARS + 1)
    here, gone = torch.tensor([True]), torch.tensor([False])
    with torch.no_grad():
        full, blind, blank = (
            answer[0].double().numpy()
            for answer in (
                model.fuse(vectors, table, here),
                model.fuse(vectors, table, gone),
                model.fuse(vectors, torch.zeros_like(table), here),
            )
        )
    found = learnt.explained(learnt.forecaster, learnt.new_races[0], AfterLap(LAP), ROW)
    assert found.without == pytest.approx({"picture": blind @ places, "table": blank @ places}, abs=1e-5)
    moved = [np.abs(full - other).sum() for other in (blind, blank)]
    assert found.shares == pytest.approx({"picture": moved[0] / sum(moved), "table": moved[1] / sum(moved)}, abs=1e-5)


@pytest.mark.parametrize("style", ["speed", "race"])
def test_a_blanked_lap_is_the_picture_with_its_columns_taken_from_the_field(learnt: Learnt, style: str) -> None:
    generator = SpeedTraceGenerator(config=PictureConfig(style=style))  # type: ignore[arg-type]
    known = learnt.forecaster
    forecaster = Forecaster(known.model, known.encoder, known.normaliser, generator, known.feature_config)
    race_id = learnt.new_races[0]
    snapshot = learnt.archive.snapshot(race_id, AfterLap(LAP))
    drawn = picture_of(snapshot, snapshot.driver_ids[ROW], generator)
    assert drawn is not None
    np.testing.assert_array_equal(drawn.pixels, generator.render(snapshot).images[ROW])
    found = learnt.explained(forecaster, race_id, AfterLap(LAP), ROW)
    assert found.laps["lap"].to_list() == drawn.laps
    values = features.build(snapshot, known.feature_config).select(features.FEATURE_NAMES).to_numpy()
    table = torch.from_numpy(known.normaliser.transform(values[ROW : ROW + 1]))
    question = CarQuestion(forecaster, CARS)
    for lap, change, left, right in found.laps.filter(pl.col("lap").is_in([1, 5, drawn.laps[-1]])).iter_rows():
        blanked = drawn.pixels.copy()
        for column in range(left, right):
            blanked[:, column] = drawn.field[:, column]
        assert (blanked != drawn.pixels).any(), lap
        vectors = torch.from_numpy(known.encoder.encode_arrays(blanked[None]))
        with torch.no_grad():
            answer = float(question.value(vectors, table)[0])
        assert change == pytest.approx(found.value - answer, abs=1e-4)
    edges = found.laps.select("left", "right").rows()
    assert all(one[1] == other[0] for one, other in pairwise(edges))


@pytest.mark.parametrize("style", ["speed", "race"])
def test_the_field_without_a_driver_shows_nothing_of_him(learnt: Learnt, style: str) -> None:
    """A driver whose laps are altered (all others' and the median as they were) leaves the same field behind."""
    generator = SpeedTraceGenerator(config=PictureConfig(style=style))  # type: ignore[arg-type]
    race_id = learnt.new_races[0]
    snapshot = learnt.archive.snapshot(race_id, AfterLap(LAP))
    slowest = snapshot.laps.filter(lap=6).sort("lap_time_s")["driver_id"][-1]
    own = (pl.col("driver_id") == slowest) & (pl.col("lap") == 6)
    slower = snapshot.laps.with_columns(lap_time_s=pl.when(own).then(pl.col("lap_time_s") + 30).otherwise("lap_time_s"))
    altered = replace(snapshot, laps=slower)
    for name in ("lap_matrices", "past_runs"):
        vars(altered).pop(name, None)
    before, after = (picture_of(one, slowest, generator) for one in (snapshot, altered))
    assert before is not None
    assert after is not None
    left, right = before.columns(6)
    assert (before.pixels[:, left:right] != after.pixels[:, left:right]).any()
    np.testing.assert_array_equal(before.field[:, left:right], after.field[:, left:right])


def test_the_heat_map_is_grad_cam_by_hand(learnt: Learnt, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, table = inputs
    encoder, question = learnt.forecaster.encoder, CarQuestion(learnt.forecaster, CARS)
    found = learnt.explained(learnt.forecaster, learnt.new_races[0], AfterLap(LAP), ROW)
    assert found.picture is not None
    assert found.heat is not None
    kept: list[torch.Tensor] = []
    hook = encoder.backbone.layer4.register_forward_hook(lambda module, given, made: kept.append(made.requires_grad_()))
    value = question.value(encoder.backbone(encoder.preprocess(found.picture)[None]), table)
    hook.remove()
    gradient = torch.autograd.grad(value.sum(), kept[0])[0].mean(dim=(2, 3), keepdim=True)
    cam = (gradient * kept[0]).sum(dim=1, keepdim=True).abs().detach()
    cam = torch.nn.functional.interpolate(cam, found.heat.shape, mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(found.heat, cam / cam.max(), atol=1e-3)
    assert found.heat.dtype == np.float32
    assert (found.heat.min(), found.heat.max()) == pytest.approx((0.0, 1.0), abs=0.5)


def test_the_picture_file_shows_heat_and_a_scale(learnt: Learnt) -> None:
    found = learnt.explained(learnt.forecaster, learnt.new_races[0], AfterLap(LAP), ROW)
    assert found.picture is not None
    assert found.heat is not None
    with Image.open(io.BytesIO(found.picture_png())) as image:
        page = np.asarray(image)
    assert page.shape[0] == found.picture.shape[0]
    shown = page[:, : found.picture.shape[1]]
    np.testing.assert_array_equal(shown, found.overlay())
    cold = found.heat < 1e-3
    assert np.abs(shown[cold].astype(int) - found.picture[cold]).max(initial=0) <= 1
    assert np.abs(shown.astype(int) - found.picture).max() > 50


def test_before_the_start_there_are_no_laps_to_blank(learnt: Learnt) -> None:
    found = learnt.explained(learnt.forecaster, learnt.new_races[0], PreRace(), ROW)
    assert found.lap is None
    assert found.picture is not None
    assert found.laps.is_empty()
    assert found.laps.schema == pl.Schema({"lap": pl.Int32, "change": pl.Float64, "left": pl.Int32, "right": pl.Int32})


def test_a_driver_without_a_picture_is_explained_by_the_table(learnt: Learnt) -> None:
    found = learnt.explained(learnt.forecaster, learnt.archive.race_ids[0], PreRace(), ROW)
    assert found.picture is None
    assert found.heat is None
    assert found.laps.is_empty()
    assert found.shares == {"picture": 0.0, "table": 1.0}
    assert found.without["picture"] == found.value
    with pytest.raises(NotFoundError, match="There is no lap to show at this moment"):
        found.picture_png()


def test_a_driver_who_is_out_is_explained_by_the_laps_he_did(learnt: Learnt) -> None:
    race_id = learnt.new_races[0]
    driver = learnt.archive.rows("entries", race_id)["driver_id"][ROW]
    stopped = learnt.tables.laps.filter(
        (pl.col("race_id") != race_id) | (pl.col("driver_id") != driver) | (pl.col("lap") <= 3)
    )
    out = replace(learnt, archive=RaceArchive(replace(learnt.tables, laps=stopped)))
    found = out.explained(learnt.forecaster, race_id, AfterLap(LAP), ROW)
    assert found.laps["lap"].to_list() == [1, 2, 3]


def test_it_is_plain_json(learnt: Learnt) -> None:
    found = learnt.explained(learnt.forecaster, learnt.new_races[0], AfterLap(LAP), ROW)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["schema"] == "f1-predict/explanation/1"
    assert (read["race_id"], read["lap"], read["value"]) == (found.race_id, LAP, found.value)
    assert read["features"] == found.features.to_dicts()
    assert [row["lap"] for row in read["laps"]] == found.laps["lap"].to_list()


def test_what_a_model_does_not_say_is_refused(learnt: Learnt) -> None:
    with pytest.raises(ConfigError, match="head 'finish' can explain p_finish, got 'p_win'"):
        CarQuestion(with_head(learnt, "finish"), CARS, "p_win")
    with pytest.raises(ConfigError, match=r"head 'position' can explain expected_position, p_win, .* got 'p_finish'"):
        CarQuestion(learnt.forecaster, CARS, "p_finish")


def test_without_captum_the_remedy_is_told(learnt: Learnt, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(ConfigError, match=r"captum, which is not installed. Run: pip install 'f1-predict\[explain\]'"):
        learnt.explained(learnt.forecaster, learnt.new_races[0], AfterLap(LAP), ROW)
