"""Preprocessing that weights carry: means over whole blocks, what a file's metadata may say, and what it changes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from f1_predict.errors import WeightsError
from f1_predict.models.backbone_weights import TRACE_FILE, load_weights
from f1_predict.models.preprocessing import IMAGENET, METADATA_KEY, TRACES, Preprocessing, preprocessing_of
from f1_predict.models.vision_encoder import VisionEncoder

GOOD = {"size": 112, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resampling": "area"}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


class TestArea:
    @pytest.mark.parametrize(("side", "size"), [(448, 112), (448, 224), (336, 112), (112, 112)])
    def test_every_pixel_is_the_mean_of_its_block(self, side: int, size: int) -> None:
        preprocessing = dataclasses.replace(TRACES, size=size)
        pictures, step = noise(2, side, side, 3), side // size
        found = preprocessing.batch(pictures)
        blocks = pictures.reshape(2, size, step, size, step, 3).astype(np.float64).mean(axis=(2, 4))
        exact = (blocks / 255.0 - 0.5) / 0.5
        assert found.dtype == torch.float32
        assert found.is_contiguous()
        np.testing.assert_allclose(found.numpy(), exact.transpose(0, 3, 1, 2), rtol=0, atol=3e-7)

    def test_arrays_that_are_views_and_single_pictures_come_out_the_same(self) -> None:
        pictures = noise(3, 448, 448, 4)[..., :3]
        whole = TRACES.batch(pictures)
        assert torch.equal(whole, TRACES.batch(np.ascontiguousarray(pictures)))
        assert torch.equal(whole[1], TRACES(np.ascontiguousarray(pictures[1])))
        assert torch.equal(whole[2], TRACES(Image.fromarray(np.ascontiguousarray(pictures[2]))))
        assert TRACES.batch(pictures[:0]).shape == (0, 3, 112, 112)

    def test_the_general_way_agrees_with_the_quick_one(self) -> None:
        pictures = noise(2, 448, 448, 3)
        general = TRACES.fit(TRACES.normalise(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255.0))
        torch.testing.assert_close(TRACES.batch(pictures), general, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(("height", "width"), [(448, 300), (100, 50), (450, 450), (113, 7)])
    def test_other_sizes_are_letterboxed(self, height: int, width: int) -> None:
        found = TRACES.batch(np.zeros((1, height, width, 3), dtype=np.uint8))
        assert found.shape == (1, 3, 112, 112)
        black = (found == -1.0).float().mean().item()
        assert black == pytest.approx(round(width * 112 / height) / 112, abs=1e-6)
        assert ((found == -1.0) | (found == 1.0)).all()  # black picture, white bars


class TestMetadata:
    def test_round_trip(self) -> None:
        assert preprocessing_of(TRACES.to_metadata(), "file") == TRACES
        assert preprocessing_of({METADATA_KEY: json.dumps(GOOD)}, "file") == TRACES
        odd = Preprocessing(160, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert preprocessing_of(odd.to_metadata(), "file") == odd
        assert preprocessing_of({"format": "pt"}, "file") is IMAGENET

    @pytest.mark.parametrize(
        "change",
        [
            {"size": 8},
            {"size": "112"},
            {"size": 112.0},
            {"size": True},
            {"mean": [0.5, 0.5]},
            {"mean": 0.5},
            {"std": [0.5, 0.0, 0.5]},
            {"std": [0.5, float("nan"), 0.5]},
            {"mean": ["a", 0.5, 0.5]},
            {"resampling": "nearest"},
            {"crop": 3},
        ],
    )
    def test_what_cannot_be_used_is_an_error(self, change: dict[str, object]) -> None:
        with pytest.raises(WeightsError, match=r"w\.safetensors: its metadata 'preprocessing' must be JSON.*Write the"):
            preprocessing_of({METADATA_KEY: json.dumps(GOOD | change)}, "w.safetensors")

    @pytest.mark.parametrize("text", ["", "[]", "{}", "112", '{"size": 112'])
    def test_what_is_no_preprocessing_is_an_error(self, text: str) -> None:
        with pytest.raises(WeightsError, match="must be JSON with size"):
            preprocessing_of({METADATA_KEY: text}, "w.safetensors")

    def test_belongs_to_the_weights(self, tmp_path: Path) -> None:
        """One set of tensors, two preprocessings: other pictures for the network, other identities."""
        tensors = load_weights("random").tensors
        plain, traces = tmp_path / "plain.safetensors", tmp_path / "traces.safetensors"
        save_file(tensors, plain)
        save_file(tensors, traces, metadata=TRACES.to_metadata())
        one, two = VisionEncoder(weights=str(plain)), VisionEncoder(weights=str(traces))
        assert (one.preprocessing, two.preprocessing) == (IMAGENET, TRACES)
        assert load_weights(str(plain)).sha256 == load_weights(str(traces)).sha256
        assert one.identity != two.identity
        pictures = noise(2, 448, 448, 3)
        assert two.preprocess(pictures[0]).shape == (3, 112, 112)
        direct = two(TRACES.batch(pictures)).numpy()
        np.testing.assert_allclose(two.encode_arrays(pictures), direct, rtol=1e-4, atol=1e-5)
        assert not np.allclose(one.encode_arrays(pictures), direct, rtol=1e-2)
        assert two(torch.zeros(1, 3, 448, 448)).shape == (1, 512)  # another size is brought to theirs

    def test_a_file_with_bad_metadata_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.safetensors"
        save_file(load_weights("random").tensors, path, metadata={METADATA_KEY: '{"size": 3}'})
        with pytest.raises(WeightsError, match=r'bad\.safetensors: its metadata.*got \{"size": 3\}'):
            VisionEncoder(weights=str(path))


def test_the_shipped_weights_and_their_card_belong_together() -> None:
    shipped = load_weights("trace")
    assert shipped.preprocessing == TRACES
    assert TRACE_FILE.stat().st_size <= 23_000_000
    card = TRACE_FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert shipped.sha256 in card
    for part in (
        "simulated races",
        "Tasks",
        "Seed",
        "Training",
        "Licence",
        "Made by `f1-predict pretrain",
        "[pretrain]",
    ):
        assert part in card
