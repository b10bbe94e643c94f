from __future__ import annotations

import hashlib
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from f1_predict.config import FeatureConfig, FusionConfig, PictureConfig, TrainingConfig
from f1_predict.errors import ArtefactError, WeightsError
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.training.artefacts import check_backbone, load_model, save_model
from f1_predict.training.fit import fit, predict
from f1_predict.training.manifests import BackboneRecord, DataRange, Manifest, read_manifest
from tests.training.stand_ins import CLASSES, FEATURES, PICTURE_DIM, make_model, make_rows

NAMES = tuple(f"feature_{i}" for i in range(FEATURES))


def make_manifest(**changes: Any) -> Manifest:
    raw = np.random.default_rng(0).normal(size=(30, FEATURES)) / 3.0
    values: dict[str, Any] = {
        "head": "position",
        "output_dim": CLASSES,
        "fusion": FusionConfig(image_feature_dim=PICTURE_DIM, tabular_dim=8, hidden=(32, 16)),
        "picture": PictureConfig(past_races=3),
        "features": FeatureConfig(form_races=4),
        "training": TrainingConfig(epochs=2),
        "feature_names": NAMES,
        "normaliser": FeatureNormaliser.fit(raw, NAMES).to_dict(),
        "backbone": None,
        "horizons": ("pre_race", "lap_10"),
        "data": DataRange(
            first_race_id="2020_race_1", last_race_id="2021_race_4", seasons=(2020, 2021), races=8, rows=40
        ),
        "scores": {"log_loss": 1.0 / 3.0},
    }
    return Manifest(**(values | changes))


@pytest.fixture
def trained() -> MultiModalFusionModel:
    model = make_model()
    fit(model, make_rows(60), None, TrainingConfig(epochs=2))
    return model


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_round_trip_is_bit_identical(tmp_path: Path, trained: MultiModalFusionModel) -> None:
    folder = save_model(tmp_path / "models" / "first", trained, make_manifest())
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "model.safetensors"]
    assert [p.name for p in folder.parent.iterdir()] == ["first"]
    model, manifest, finish = load_model(folder)
    assert finish is None
    assert not model.training
    rows = make_rows(20, 1)
    np.testing.assert_array_equal(predict(model, rows), predict(trained, rows))
    written = make_manifest(created_at=manifest.created_at, tensors_sha256=manifest.tensors_sha256)
    assert manifest == written
    raw = np.random.default_rng(1).normal(size=(9, FEATURES))
    np.testing.assert_array_equal(
        manifest.restore_normaliser().transform(raw), FeatureNormaliser.from_dict(written.normaliser).transform(raw)
    )
    assert manifest.versions["torch"] == version("torch")
    assert manifest.tensors_sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("head", ["position_regression", "finish"])
def test_other_heads_come_back(tmp_path: Path, head: str) -> None:
    model = make_model(head=head)
    fusion = make_manifest().fusion.model_copy(update={"head": head})
    folder = save_model(tmp_path / "m", model, make_manifest(head=head, output_dim=1, fusion=fusion))
    again = load_model(folder).model
    rows = make_rows(5, head=head)
    np.testing.assert_array_equal(predict(again, rows), predict(model, rows))


def test_a_network_of_who_is_classified_comes_back_beside_one_of_places(
    tmp_path: Path, trained: MultiModalFusionModel
) -> None:
    beside = make_model(seed=3, head="finish")
    folder = save_model(tmp_path / "m", trained, make_manifest(finish_scores={"log_loss": 0.5}), beside)
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "model.safetensors"]
    model, manifest, finish = load_model(folder)
    assert finish is not None
    assert not finish.training
    assert manifest.finish_scores == {"log_loss": 0.5}
    np.testing.assert_array_equal(predict(model, make_rows(20)), predict(trained, make_rows(20)))
    rows = make_rows(20, head="finish")
    np.testing.assert_array_equal(predict(finish, rows), predict(beside, rows))
    change_manifest(folder, finish_scores=None)
    with pytest.raises(ArtefactError, match=r"tensor 'finish\..*' is unknown to the manifest"):
        load_model(folder)


@pytest.mark.parametrize(
    ("finish", "scores", "message"),
    [
        (make_model(head="finish"), None, "its network of who is classified is False and the model's is True"),
        (None, {}, "its network of who is classified is True and the model's is False"),
        (make_model(), {}, "its head of the network of who is classified is 'finish' and the model's is 'position'"),
    ],
)
def test_the_network_beside_must_be_in_the_manifest(
    tmp_path: Path, finish: MultiModalFusionModel | None, scores: dict[str, float] | None, message: str
) -> None:
    with pytest.raises(ArtefactError, match=re.escape(message)):
        save_model(tmp_path / "m", make_model(), make_manifest(finish_scores=scores), finish)
    assert not (tmp_path / "m").exists()


def test_a_model_is_replaced_and_nothing_is_left_behind(tmp_path: Path, trained: MultiModalFusionModel) -> None:
    save_model(tmp_path / "m", make_model(5), make_manifest())
    (tmp_path / "m" / "old_notes.txt").write_text("of the old model")
    save_model(tmp_path / "m", trained, make_manifest(scores={"mae": 2.0}))
    model, manifest, _ = load_model(tmp_path / "m")
    assert manifest.scores == {"mae": 2.0}
    np.testing.assert_array_equal(predict(model, make_rows(4)), predict(trained, make_rows(4)))
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["manifest.json", "model.safetensors"]


def test_a_failed_replacement_leaves_the_old_model(
    tmp_path: Path, trained: MultiModalFusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "m", trained, make_manifest())
    original = Path.rename

    def full_disk(self: Path, target: Path) -> Path:
        if target == tmp_path / "m" and (self / "manifest.json").read_text().count("2.5"):
            raise OSError(28, "No space left on device")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(ArtefactError, match=r"the model cannot be written \(No space left on device\)"):
        save_model(tmp_path / "m", make_model(9), make_manifest(scores={"mae": 2.5}))
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    model = load_model(tmp_path / "m").model
    np.testing.assert_array_equal(predict(model, make_rows(4)), predict(trained, make_rows(4)))


def test_a_folder_that_is_no_model_is_not_replaced(tmp_path: Path, trained: MultiModalFusionModel) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(
        ArtefactError,
        match=r"is no model folder \(it has no manifest.json and no model.safetensors\), so it is not replaced",
    ):
        save_model(tmp_path, trained, make_manifest())
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_dim": 20}, r"its output_dim is 20 and the model's is 5"),
        ({"head": "finish"}, r"its head is 'finish' and the model's is 'position'"),
        ({"feature_names": NAMES[:5]}, r"its number of features is 5 and the model's is 6"),
    ],
)
def test_a_manifest_of_another_model_is_not_written(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        save_model(tmp_path / "m", make_model(), make_manifest(**changes))
    assert not (tmp_path / "m").exists()


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return save_model(tmp_path / "m", make_model(), make_manifest())

    @pytest.mark.parametrize("name", ["manifest.json", "model.safetensors"])
    def test_a_missing_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(ArtefactError, match=rf"{name}: cannot be read \(No such file or directory\)"):
            load_model(folder)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ArtefactError, match="Give a folder that `f1-predict train` or `train-field` wrote"):
            load_model(tmp_path / "nothing")

    def test_a_truncated_manifest(self, folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(path.read_text()[:100])
        with pytest.raises(ArtefactError, match=r"manifest.json: is no JSON .*Train the model again"):
            load_model(folder)

    @pytest.mark.parametrize("found", [2, None, "1"])
    def test_another_format_version(self, folder: Path, found: object) -> None:
        change_manifest(folder, format_version=found)
        with pytest.raises(ArtefactError, match=rf"format version must be 1, got {found!r}"):
            load_model(folder)

    def test_a_manifest_that_is_a_list(self, folder: Path) -> None:
        (folder / "manifest.json").write_text("[]")
        with pytest.raises(ArtefactError, match="format version must be 1, got None"):
            load_model(folder)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"head": "podium"}, "'head': Input should be"),
            ({"feature_names": []}, "'feature_names'"),
            ({"x": 1}, "'x'"),
        ],
    )
    def test_a_manifest_with_a_wrong_value(self, folder: Path, changes: dict[str, Any], message: str) -> None:
        change_manifest(folder, **changes)
        with pytest.raises(ArtefactError, match=message):
            read_manifest(folder)

    @pytest.mark.parametrize("damage", [lambda c: c[:-3], lambda c: c[:-1] + bytes([c[-1] ^ 1]), lambda c: b""])
    def test_damaged_tensors(self, folder: Path, damage: Any) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(ArtefactError, match="is damaged or belongs to another manifest"):
            load_model(folder)

    def test_tensors_that_are_none(self, folder: Path) -> None:
        self.replace_tensors(folder, b"not tensors")
        with pytest.raises(ArtefactError, match="is no safetensors file"):
            load_model(folder)

    def test_tensors_of_another_shape(self, folder: Path) -> None:
        state = make_model().head_state_dict()
        state["tabular_encoder.0.weight"] = torch.zeros(8, FEATURES + 1)
        self.replace_tensors(folder, save(state))
        message = r"tensor 'tabular_encoder.0.weight' must have shape \(8, 6\) by the manifest, got \(8, 7\)"
        with pytest.raises(ArtefactError, match=message):
            load_model(folder)
        del state["tabular_encoder.0.weight"]
        self.replace_tensors(folder, save(state))
        with pytest.raises(ArtefactError, match=r"'tabular_encoder.0.weight' must have shape \(8, 6\).*got None"):
            load_model(folder)

    @staticmethod
    def replace_tensors(folder: Path, content: bytes) -> None:
        (folder / "model.safetensors").write_bytes(content)
        change_manifest(folder, tensors_sha256=hashlib.sha256(content).hexdigest())


def test_the_backbone_must_be_the_one_fitted_with(tmp_path: Path) -> None:
    encoder = VisionEncoder(weights="random", seed=3)
    record = BackboneRecord(identity=encoder.identity, name=encoder.weights_name, note=encoder.weights_note, seed=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MultiModalFusionModel(512, FEATURES, CLASSES, tabular_dim=8, hidden=(32, 16), vision_encoder=encoder)
    model.eval_mode()
    fusion = FusionConfig(tabular_dim=8, hidden=(32, 16))
    folder = save_model(tmp_path / "m", model, make_manifest(backbone=record, fusion=fusion))
    assert (folder / "model.safetensors").stat().st_size < 200_000, "the backbone's 45 MB stay out"
    images, tabular = torch.randn(1, 3, 64, 64), torch.zeros(1, FEATURES)
    by_manifest, manifest, _ = load_model(folder)
    assert by_manifest.vision_encoder.identity == encoder.identity
    torch.testing.assert_close(by_manifest(images, tabular), model(images, tabular), rtol=0, atol=0)
    other = VisionEncoder(weights="random", seed=4)
    with pytest.raises(WeightsError) as caught:
        load_model(folder, encoder=other)
    for text in (encoder.identity, other.identity, "Make the encoder with weights='random'", "seed 3", "seed 4"):
        assert text in str(caught.value)
    with pytest.raises(WeightsError, match=r"was fitted without pictures.*Load it without an encoder"):
        check_backbone(manifest.model_copy(update={"backbone": None}), other, folder)


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no bfloat16")
def test_the_runtime_is_part_of_the_backbone(tmp_path: Path) -> None:
    """A model learnt from bfloat16 embeddings is loaded with them, and refuses the reference's."""
    encoder = VisionEncoder(weights="random", runtime="torch-bf16")
    record = BackboneRecord(
        identity=encoder.identity, name="random", note=encoder.weights_note, runtime=encoder.runtime
    )
    model = MultiModalFusionModel(512, FEATURES, CLASSES, tabular_dim=8, hidden=(32, 16), vision_encoder=encoder)
    manifest = make_manifest(backbone=record, fusion=FusionConfig(tabular_dim=8, hidden=(32, 16)))
    folder = save_model(tmp_path / "m", model, manifest)
    loaded = load_model(folder).model
    assert loaded.vision_encoder.runtime == "torch-bf16"
    assert loaded.vision_encoder.identity == encoder.identity
    with pytest.raises(WeightsError, match=r"weights='random' and runtime='torch-bf16'"):
        load_model(folder, encoder=VisionEncoder(weights="random"))


def test_a_manifest_holds_finite_numbers_only() -> None:
    with pytest.raises(ValueError, match="finite number"):
        make_manifest(scores={"log_loss": float("nan")})


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(tmp_path / "m", make_model(), make_manifest())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickling")

    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("torch.load", refuse)
    monkeypatch.setattr(sys.modules["pickle"], "Unpickler", refuse)
    load_model(folder)
