"""Networks over whole fields from a store to forecasts: trained by the command, kept as a folder, asked, explained."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import load_file, save_file

import f1_predict
from f1_predict import features
from f1_predict.api import Predictor
from f1_predict.cli import main
from f1_predict.config import Config, SimulatorConfig
from f1_predict.errors import ArtefactError, ConfigError, F1PredictError, FeatureError
from f1_predict.explain import FieldQuestion, targets_of
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.jobs import serving
from f1_predict.jobs.field_learning import MOMENTS
from f1_predict.models.field_forecaster import FieldForecaster
from f1_predict.serve import create_app
from f1_predict.sources.simulator import simulate
from f1_predict.tables import write_store
from f1_predict.training import train_field
from f1_predict.training.artefacts import load_fields, load_model, save_fields
from f1_predict.training.cut_table import CutTable, make_cut_table
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.field_fit import FieldRows, TrainedField
from f1_predict.training.manifests import read_manifest
from f1_predict.training.train import load_forecaster
from f1_predict.training.train_field import TrainedFields

LAPS, CARS = 20, 6
RACE = "2103_race_2"
SETTINGS = """
[evaluation]
training_cuts = 2
[field]
members = 2
epochs = 4
width = 16
heads = 2
[encoder]
weights = "random"
"""


@dataclass(frozen=True)
class Trained:
    """Three seasons in a store, and what the command has learnt from the first two."""

    folder: Path
    archive: RaceArchive

    @property
    def data(self) -> Path:
        return self.folder / "data" / "processed"

    @property
    def model(self) -> Path:
        return self.folder / "artifacts" / "field"

    def command(self, model: Path, seasons: str = "2101-2102") -> list[str]:
        options = {
            "--data": self.data,
            "--embeddings": self.folder / "data" / "multimodal" / "embeddings",
            "--model": model,
            "--seasons": seasons,
            "--config": self.folder / "settings.toml",
        }
        return ["train-field", *(str(part) for pair in options.items() for part in pair)]

    def forecaster(self) -> FieldForecaster:
        found = load_forecaster(self.model)
        assert isinstance(found, FieldForecaster)
        return found

    def predictor(self) -> Predictor:
        return f1_predict.load(self.model, data=self.data)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    tables = simulate(3, 5, SimulatorConfig(first_season=2101, races_per_season=3, teams=CARS // 2))
    tables = replace(tables, laps=tables.laps.filter(pl.col("lap") <= LAPS))
    made = Trained(tmp_path_factory.mktemp("field"), RaceArchive(tables))
    write_store(tables, made.data, source="simulated")
    (made.folder / "settings.toml").write_text(SETTINGS)
    assert main(made.command(made.model)) == 0
    return made


def test_the_manifest_tells_what_it_learnt_from(trained: Trained) -> None:
    manifest = read_manifest(trained.model)
    assert manifest.kind == "field"
    assert (manifest.data.seasons, manifest.data.validation_seasons) == ((2101,), (2102,))
    assert (manifest.data.first_race_id, manifest.data.last_race_id, manifest.data.races) == (
        ("2101_race_1"),
        ("2101_race_3"),
        3,
    )
    assert manifest.feature_names == (*features.FEATURE_NAMES, *features.IN_RACE_NAMES)
    assert "pre_race" in manifest.horizons


def test_its_scores_are_those_of_its_forecasts_of_the_latest_season(trained: Trained) -> None:
    """Averaged by hand over the cars of all moments of 2102; between the scored ones pictures are not drawn."""
    forecaster, archive = trained.forecaster(), trained.archive
    blind = np.zeros((CARS, forecaster.encoder.feature_dim), dtype=np.float32), np.zeros(CARS, dtype=np.bool_)
    found = []
    for race_id in [one for one in archive.race_ids if one.startswith("2102")]:
        pictured = {archive.horizon_at(race_id, one) for one in MOMENTS}
        for horizon in pictured | {archive.horizon_at(race_id, one) for one in (0.333333, 0.666667)}:
            snapshot = archive.snapshot(race_id, horizon)
            values = features.RaceFeatures.of(snapshot).values(snapshot)
            seen = forecaster.embed(snapshot, snapshot.driver_ids) if horizon in pictured else blind
            found.append(forecaster.predict_from_embeddings(snapshot, values, *seen))
    rows = pl.concat(found).join(archive.tables.results, on=["race_id", "driver_id"])
    truth = pl.col("position_probs").list.get(pl.col("position") - 1)
    right = pl.when("classified").then("p_finish").otherwise(1.0 - pl.col("p_finish"))
    scores = rows.select(
        log_loss=-truth.log().mean(),
        mae=(pl.col("expected_position") - pl.col("position")).abs().mean(),
        finish_log_loss=-right.log().mean(),
    ).row(0, named=True)
    assert read_manifest(trained.model).scores == pytest.approx(scores, abs=1e-5)


def test_an_epoch_always_sees_the_moments_that_have_pictures(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[FieldRows] = []

    def noted(train: FieldRows, *_: object) -> None:
        seen.append(train)
        raise F1PredictError("enough")

    monkeypatch.setattr(train_field, "fit_field", noted)
    assert main(trained.command(tmp_path / "model")) == 1
    (rows,) = seen
    pictured = np.logical_or.reduceat(rows.has_image, rows.fields[:-1])
    assert rows.always is not None
    assert 0 < rows.always.sum() < len(rows.always)
    # the first race of all has no picture before it: nobody has a lap yet
    assert rows.always.tolist() == (pictured | (np.arange(len(pictured)) == 0)).tolist()


def test_the_command_says_the_same_twice(trained: Trained, tmp_path: Path) -> None:
    assert main(trained.command(tmp_path / "again")) == 0
    first, again = (load_file(folder / "model.safetensors") for folder in (trained.model, tmp_path / "again"))
    assert first.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_a_forecast_is_what_a_backtest_says_of_the_same_rows(trained: Trained, tmp_path: Path) -> None:
    forecaster = trained.forecaster()
    cuts = [(RACE, PreRace()), (RACE, AfterLap(3)), (RACE, AfterLap(LAPS))]
    encoder, cache = forecaster.encoder, EmbeddingCache(tmp_path)
    table: CutTable = make_cut_table(trained.archive, cuts, cuts, encoder, cache, Config())
    fit = TrainedField(forecaster.networks, (), ())
    nothing = np.empty(0, dtype=np.int64)
    position, finish = TrainedFields(fit, forecaster.normaliser, nothing, nothing).predict(table, np.arange(len(cuts)))
    for number, (race_id, horizon) in enumerate(cuts):
        rows = table.rows_of(np.array([number]))
        found = forecaster.predict(trained.archive.snapshot(race_id, horizon))
        np.testing.assert_allclose(np.array(found["position_probs"].to_list()), position[rows], atol=1e-6)
        np.testing.assert_allclose(found["p_finish"], finish[rows], atol=1e-6)


def test_every_lap_is_forecast_coherently_and_the_race_moves_it(trained: Trained) -> None:
    rows = trained.predictor().replay(RACE)
    assert rows["cutoff_lap"].unique().sort().to_list() == list(range(LAPS + 1))
    sums = rows.group_by("cutoff_lap").agg(pl.col("p_win").sum(), pl.col("p_podium").sum())
    np.testing.assert_allclose(sums["p_win"], 1.0, atol=1e-9)
    np.testing.assert_allclose(sums["p_podium"], 3.0, atol=1e-9)
    assert rows["p_finish"].is_between(0.0, 1.0, closed="none").all()
    assert rows.group_by("driver_id").agg(pl.col("p_win").std())["p_win"].min() > 1e-4
    snapshot = trained.archive.snapshot(RACE, AfterLap(5))
    single = trained.forecaster().predict(snapshot)
    replayed = rows.filter(pl.col("cutoff_lap") == 5).sort("predicted_rank")
    np.testing.assert_allclose(replayed["p_win"], single.sort("predicted_rank")["p_win"], atol=1e-6)


def test_nothing_after_a_lap_moves_its_forecast(trained: Trained) -> None:
    forecaster, tables = trained.forecaster(), trained.archive.tables
    later = (pl.col("race_id") == RACE) & (pl.col("lap") > 5)
    results = tables.results.filter(pl.col("race_id") != RACE)
    earlier = RaceArchive(replace(tables, laps=tables.laps.filter(~later), results=results))
    assert_frame_equal(
        forecaster.predict(trained.archive.snapshot(RACE, AfterLap(5))),
        forecaster.predict(earlier.snapshot(RACE, AfterLap(5))),
        check_exact=True,
    )


def test_the_command_line_forecasts_and_says_when_it_has_seen_the_season(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(trained.data), "--model", str(trained.model), "--json", "-"]
    assert main(["predict", RACE, "--lap", "4", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "field"
    assert len(told["field"]) == CARS
    assert told["notes"] == []
    assert main(["predict", "2102_race_1", *arguments]) == 0
    assert "of a season that the model learnt from" in json.loads(capsys.readouterr().out)["notes"][0]


class TestExplanation:
    @pytest.mark.parametrize("target", ["expected_position", "p_win", "p_finish"])
    def test_it_explains_what_is_forecast(self, trained: Trained, target: str) -> None:
        model = trained.predictor()
        rows = model.predict(RACE, lap=8)
        driver = rows["driver_id"][3]
        found = model.explain(RACE, lap=8, driver=driver, target=target)
        assert (found.target, found.field_value) == (target, rows[target][3])
        near = [value for value in rows[target] if value == pytest.approx(found.value, rel=1e-3)]
        assert near == [found.field_value]  # but for the last balancing, and no other driver's
        change = found.value - found.without["table"]
        assert found.features["attribution"].sum() == pytest.approx(change, rel=0.02, abs=1e-4)
        assert set(found.features["feature"]) == {*features.FEATURE_NAMES, *features.IN_RACE_NAMES}
        laps = trained.archive.snapshot(RACE, AfterLap(8)).laps.filter(pl.col("driver_id") == driver)
        assert found.laps["lap"].to_list() == laps["lap"].sort().to_list()
        assert found.laps["change"].abs().max() > 0.0
        assert found.heat is not None
        assert found.heat.max() == 1.0

    def test_the_answer_is_the_networks_own_and_the_others_stay_as_they_are(self, trained: Trained) -> None:
        forecaster = trained.forecaster()
        snapshot = trained.archive.snapshot(RACE, AfterLap(8))
        values = features.RaceFeatures.of(snapshot).values(snapshot)
        table = torch.from_numpy(forecaster.normaliser.transform(forecaster.table(snapshot, values)))
        vectors, shown = (torch.from_numpy(found) for found in forecaster.embed(snapshot, snapshot.driver_ids))
        assert targets_of(forecaster) == ("expected_position", "p_win", "p_podium", "p_points", "p_finish")
        question = FieldQuestion(forecaster, 2, table, vectors, shown)
        changed = table[2:3] + torch.tensor([0.0, 1.0, -0.5])[:, None]
        with torch.no_grad():
            asked = question.outcomes(vectors[2:3].expand(3, -1), changed)
            blind = question.outcomes(None, table[2:3])
        for number in range(3):
            by_hand = table.clone()
            by_hand[2] = changed[number]
            np.testing.assert_allclose(asked[number], own(forecaster, by_hand, vectors, shown)[2], atol=1e-6)
        masked = shown.clone()
        masked[2] = False
        np.testing.assert_allclose(blind[0], own(forecaster, table, vectors, masked)[2], atol=1e-6)
        assert (asked[0] - blind[0]).abs().max() > 1e-5

    def test_before_the_start_there_are_no_laps_to_blank(self, trained: Trained) -> None:
        model = trained.predictor()
        driver = model.predict(RACE)["driver_id"][0]
        found = model.explain(RACE, driver=driver)
        assert found.laps.is_empty()
        assert found.lap is None


def own(forecaster: FieldForecaster, table: torch.Tensor, vectors: torch.Tensor, shown: torch.Tensor) -> np.ndarray:
    """The mean of the members' matrices, each made alone."""
    cars = torch.ones(1, len(table), dtype=torch.bool)
    with torch.no_grad():
        made = [one(table[None], vectors[None], shown[None], cars).position[0].exp() for one in forecaster.networks]
    return np.asarray(sum(made) / len(made))


class TestServing:
    def test_the_page_is_told_of_it(self, trained: Trained) -> None:
        predictor = trained.predictor()
        told: Any = create_app(predictor).state.site.model
        model = json.loads(told)
        assert (model["name"], model["head"], model["places"]) == ("field", "position", True)
        assert model["seasons"] == [2101, 2102]

    def test_the_record_is_that_of_the_same_kind_of_network(
        self, trained: Trained, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        models = ["network_fusion", "best"]
        card = SimpleNamespace(models=models, races=1, seasons=[1, 1], scores={one: {} for one in models})
        monkeypatch.setattr(serving, "read_predictions", lambda path: None)
        monkeypatch.setattr(serving, "make_scorecard", lambda *_: card)
        predictor = trained.predictor()
        assert serving._record(predictor, Path("p"))["shown"] == "best"
        of_cars = Predictor(predictor.forecaster, predictor.archive, "model")
        assert serving._record(of_cars, Path("p"))["shown"] == "network_fusion"
        named = Predictor(predictor.forecaster, predictor.archive, "best")
        assert serving._record(named, Path("p"))["shown"] == "best"


class TestFolder:
    def test_it_comes_back_bit_for_bit(self, trained: Trained, tmp_path: Path) -> None:
        networks, manifest, encoder = load_fields(trained.model)
        save_fields(tmp_path / "copy", networks, manifest)
        again = load_fields(tmp_path / "copy", encoder=encoder)
        assert again.manifest.model_dump() == manifest.model_dump()
        snapshot = trained.archive.snapshot(RACE, AfterLap(5))
        assert_frame_equal(
            trained.forecaster().predict(snapshot),
            load_forecaster(tmp_path / "copy").predict(snapshot),
            check_exact=True,
        )

    def test_a_folder_of_the_other_kind_is_refused(self, trained: Trained) -> None:
        with pytest.raises(ArtefactError, match=r"must hold the design's network.* but holds networks over whole"):
            load_model(trained.model)

    def test_a_lost_tensor_is_named(self, trained: Trained, tmp_path: Path) -> None:
        networks, manifest, _ = load_fields(trained.model)
        with pytest.raises(ArtefactError, match=r"tensor '1\.car\.0\.bias' must have shape \(32,\).* got None"):
            save_fields(tmp_path / "less", networks[:1], manifest)
        assert not (tmp_path / "less").exists()

    @pytest.mark.parametrize("there", [set(), {"notes.txt"}, {"manifest.json", "races.parquet"}])
    def test_what_is_no_model_folder_is_refused_before_any_work(
        self, trained: Trained, tmp_path: Path, there: set[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A store has a manifest too."""
        for name in there:
            (tmp_path / name).write_text("{}")
        assert main(trained.command(tmp_path)) == 1
        told = capsys.readouterr()
        assert "is there and is no model folder" in " ".join(told.err.split())
        assert told.out == ""
        assert {path.name for path in tmp_path.iterdir()} == there

    def test_a_kind_of_another_version_is_told(self, trained: Trained, tmp_path: Path) -> None:
        folder = shutil.copytree(trained.model, tmp_path / "model")
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"kind": "field"', '"kind": "grid"'))
        with pytest.raises(ArtefactError, match="'kind' must be one of fusion, field, got 'grid'"):
            load_forecaster(folder)

    def test_a_damaged_file_is_told(self, trained: Trained, tmp_path: Path) -> None:
        folder = shutil.copytree(trained.model, tmp_path / "model")
        tensors = load_file(folder / "model.safetensors")
        save_file({name: tensor + 1.0 for name, tensor in tensors.items()}, folder / "model.safetensors")
        with pytest.raises(ArtefactError, match="is damaged or belongs to another manifest"):
            load_forecaster(folder)

    def test_features_of_another_version_are_told(self, trained: Trained, tmp_path: Path) -> None:
        folder = shutil.copytree(trained.model, tmp_path / "model")
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"ir_', '"old_'))
        with pytest.raises(FeatureError, match=r"trained on other features .*train-field"):
            load_forecaster(folder)

    def test_a_forecaster_needs_a_network(self, trained: Trained) -> None:
        known = trained.forecaster()
        with pytest.raises(ConfigError, match="needs a network or more, got none"):
            FieldForecaster((), known.encoder, known.normaliser, known.generator, known.feature_config)


@pytest.mark.parametrize("seasons", ["2103", "1950-1960"])
def test_one_season_is_too_few(trained: Trained, tmp_path: Path, seasons: str, capsys: pytest.CaptureFixture) -> None:
    assert main(trained.command(tmp_path / "model", seasons)) == 1
    assert "two seasons with results or more are needed" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "model").exists()


def test_a_season_that_has_just_begun_is_told_of(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = trained.archive.tables
    begun = Trained(tmp_path, trained.archive)
    results = tables.results.filter(~pl.col("race_id").is_in(["2103_race_2", "2103_race_3"]))
    write_store(replace(tables, results=results), begun.data, source="simulated")
    (tmp_path / "settings.toml").write_text(SETTINGS.replace("epochs = 4", "epochs = 1"))
    assert main(begun.command(begun.model, "2101-2103")) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Warning: 2103 has 1 race(s) with results so far" in told
    assert "Better: --seasons 2101-2102" in told
    assert read_manifest(begun.model).data.validation_seasons == (2103,)


def test_networks_that_saw_no_picture_ignore_those_they_are_shown(trained: Trained, tmp_path: Path) -> None:
    """A store of results without laps; a race with laps asked about later."""
    blind, tables = Trained(tmp_path, trained.archive), trained.archive.tables
    write_store(replace(tables, laps=tables.laps.clear()), blind.data, source="simulated")
    (tmp_path / "settings.toml").write_text(SETTINGS)
    assert main(blind.command(blind.model)) == 0
    forecaster, snapshot = blind.forecaster(), trained.archive.snapshot(RACE, AfterLap(8))
    values = features.RaceFeatures.of(snapshot).values(snapshot)
    vectors, shown = forecaster.embed(snapshot, snapshot.driver_ids)
    assert shown.all()
    seeing = forecaster.predict_from_embeddings(snapshot, values, vectors, shown)
    masked = forecaster.predict_from_embeddings(snapshot, values, vectors, shown & False)
    assert_frame_equal(seeing.drop("has_image"), masked.drop("has_image"), check_exact=True)
