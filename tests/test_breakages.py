"""Inputs that break others, one test each: every one is an ordinary case here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from f1_predict.errors import LabelError, PictureError
from f1_predict.horizon import AfterLap, RaceArchive
from f1_predict.models.labels import classes_from_positions
from f1_predict.models.multimodal_dataset import MultiModalDataset, collate
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.probabilities import summarise, to_field
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.schemas import Tables
from f1_predict.training.dataset_cache import build_dataset_cache
from tests.small_tables import random_tables

RACE, LAP = "2000_race_1", AfterLap(6)


@pytest.fixture(scope="module")
def encoder() -> VisionEncoder:
    return VisionEncoder(weights="random")


@pytest.fixture
def field(tmp_path: Path) -> MultiModalDataset:
    """A field of 20 with all its pictures, freshly drawn."""
    tables = random_tables(4, races=1, drivers=20)
    drove = tables.laps["driver_id"].unique().to_list()
    kept = Tables(
        tables.races,
        tables.entries.filter(pl.col("driver_id").is_in(drove)),
        tables.results.filter(pl.col("driver_id").is_in(drove)),
        tables.laps,
        tables.weather,
    )
    generator = SpeedTraceGenerator(tmp_path / "speed_traces")
    build_dataset_cache(RaceArchive(kept), [(RACE, LAP, "train")], generator, tmp_path / "dataset_cache.json")
    return MultiModalDataset(tmp_path / "dataset_cache.json", tmp_path / "speed_traces")


def forecast(dataset: MultiModalDataset, encoder: VisionEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of the whole field in one batch, and which rows had a picture."""
    torch.manual_seed(0)
    model = MultiModalFusionModel(
        tabular_input_dim=len(dataset.feature_names), output_dim=20, vision_encoder=encoder
    ).eval_mode()
    batch = collate([dataset[row] for row in range(len(dataset))])
    with torch.inference_mode():
        return model(batch.images, batch.tabular, batch.has_image), batch.has_image


def test_one_picture_missing_in_a_batch(field: MultiModalDataset, encoder: VisionEncoder) -> None:
    before, had = forecast(field, encoder)
    row = int(torch.nonzero(had)[3])
    Path(str(field.image_paths[row])).unlink()
    after, has = forecast(field, encoder)
    assert has.tolist() == [there and number != row for number, there in enumerate(had.tolist())]
    others = [number for number in range(len(field)) if number != row]
    torch.testing.assert_close(after[others], before[others], atol=1e-5, rtol=0)
    assert not torch.allclose(after[row], before[row], atol=1e-5)


@pytest.mark.parametrize("content", ["truncated", "empty"])
def test_truncated_or_empty_png(field: MultiModalDataset, encoder: VisionEncoder, content: str) -> None:
    _, had = forecast(field, encoder)
    row = int(torch.nonzero(had)[0])
    path = Path(str(field.image_paths[row]))
    path.write_bytes(path.read_bytes()[:2000] if content == "truncated" else b"")
    after, has = forecast(field, encoder)
    assert not has[row]
    assert int(has.sum()) == int(had.sum()) - 1
    assert torch.isfinite(after).all()


def test_nan_in_a_table_row() -> None:
    values = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    rows = torch.from_numpy(FeatureNormaliser.fit(values, ("a", "b")).transform(values))
    model = MultiModalFusionModel(tabular_input_dim=2).eval_mode()
    assert torch.isfinite(model(None, rows)).all()
    assert rows[1, 1] == 0.0


def test_nan_or_infinite_lap(tmp_path: Path) -> None:
    generator = SpeedTraceGenerator(tmp_path)
    with_gap = generator.generate_trace(RACE, "a", [200.0, float("nan"), 201.0, 199.0])
    assert Path(with_gap).is_file()
    with pytest.raises(PictureError, match="lap 2"):
        generator.generate_trace(RACE, "b", [200.0, float("inf"), 201.0])
    assert not (tmp_path / RACE / "b.png").exists()


def test_22_cars_and_20_classes() -> None:
    with pytest.raises(LabelError, match=r"2026_race_1.*last_driver.*21"):
        classes_from_positions(np.array([1, 21]), 20, [RACE, "2026_race_1"], ["first", "last_driver"])
    forecasts = to_field(np.full((22, 20), 0.05), 22)
    np.testing.assert_allclose(forecasts, 1 / 22)


def test_a_races_predicted_order_has_every_place_once() -> None:
    same_for_all = np.tile(np.linspace(2.0, 1.0, 20) / 30.0, (20, 1))
    assert sorted(summarise(same_for_all).predicted_rank) == list(range(1, 21))


@pytest.mark.parametrize("race_id", ["../escape", "/tmp/escape", "a/../../escape", ""])
def test_a_race_id_that_leaves_the_folder(tmp_path: Path, race_id: str) -> None:
    folder = tmp_path / "inner" / "speed_traces"
    with pytest.raises(PictureError):
        SpeedTraceGenerator(folder).generate_trace(race_id, "a", [200.0, 201.0])
    assert list(tmp_path.rglob("*.png")) == []


def test_frozen_batch_norm_statistics_do_not_drift() -> None:
    encoder = VisionEncoder(weights="random")
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    model = MultiModalFusionModel(tabular_input_dim=2, vision_encoder=encoder).train_mode()
    model(torch.randn(2, 3, 64, 64), torch.zeros(2, 2))
    assert before
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())


def test_its_own_checkpoint_loads_again(encoder: VisionEncoder) -> None:
    """The whole folder, with its manifest, is loaded again in tests/integration and tests/training."""
    model = MultiModalFusionModel(tabular_input_dim=3, vision_encoder=encoder).eval_mode()
    other = MultiModalFusionModel(tabular_input_dim=3, vision_encoder=encoder).eval_mode()
    images, table = torch.randn(2, 3, 32, 32), torch.randn(2, 3)
    assert not torch.equal(model(images, table), other(images, table))
    other.load_head_state_dict(model.head_state_dict())
    assert torch.equal(model(images, table), other(images, table))


def test_names_are_not_in_the_picture(tmp_path: Path) -> None:
    tables = random_tables(1)
    names = {name: f"x{name[::-1]}" for name in tables.entries["driver_id"].unique()}
    order = sorted(names, key=lambda name: names[name])
    renamed = tables.map(
        lambda _, frame: (
            frame.with_columns(pl.col("driver_id").replace_strict(names)) if "driver_id" in frame.columns else frame
        )
    )
    first = SpeedTraceGenerator(tmp_path / "a").render(RaceArchive(tables).snapshot(RACE, LAP))
    second = SpeedTraceGenerator(tmp_path / "b").render(RaceArchive(renamed).snapshot(RACE, LAP))
    images = {names[driver]: image for driver, image in zip(first.driver_ids, first.images, strict=True)}
    assert len(order) > 5
    for driver, image in zip(second.driver_ids, second.images, strict=True):
        np.testing.assert_array_equal(image, images[driver])


def test_wide_pictures_lose_no_laps(encoder: VisionEncoder) -> None:
    wide = np.full((100, 400, 3), 255, dtype=np.uint8)
    wide[:, :40], wide[:, -40:] = 0, 0
    seen = encoder.preprocess(Image.fromarray(wide))
    middle = seen[0, 112]
    assert middle[:20].max() < middle[112]
    assert middle[-20:].max() < middle[112]


def test_offline_the_shipped_weights_serve_and_say_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("F1_PREDICT_OFFLINE", "1")
    encoder = VisionEncoder()
    assert encoder.weights_name == "trace"
    assert "shipped" in encoder.weights_note
    assert "\n" not in encoder.weights_note
