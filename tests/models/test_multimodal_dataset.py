"""The dataset file is checked, pictures are read when asked for, and a missing picture is an ordinary case."""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from f1_predict.errors import ArtefactError, ConfigError, DataError, FeatureError, PictureError
from f1_predict.models import multimodal_dataset
from f1_predict.models.multimodal_dataset import MultiModalDataset, collate
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.preprocessing import IMAGENET
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator, read_plot_area

NAMES = ["driver_rating", "grid", "rain"]
DRIVERS = ["hamilton", "leclerc", "norris", "russell"]


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "race_id": "2024_race_1",
        "driver_id": DRIVERS[number],
        "image_path": f"data/multimodal/speed_traces/2024_race_1/{DRIVERS[number]}.png",
        "tabular_features": [0.1 * number, number + 1, None if number == 2 else 0],
        "label": number + 1,
        "finished": number != 3,
    } | changes


def content(rows: list[Any] | None = None, **changes: Any) -> dict[str, Any]:
    rows = [row(number) for number in range(4)] if rows is None else rows
    return {"metadata": rows, "feature_names": NAMES, "generated_at": "2025-01-17T10:00:00Z"} | changes


def write(folder: Path, values: Any) -> Path:
    file = folder / "dataset_cache.json"
    file.write_text(values if isinstance(values, str) else json.dumps(values))
    return file


def picture(file: Path, grey: int = 100, size: tuple[int, int] = (16, 16)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(file)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A pictures' folder with all four drivers, each in another grey."""
    folder = tmp_path / "data" / "multimodal" / "speed_traces"
    for number, driver in enumerate(DRIVERS):
        picture(folder / "2024_race_1" / f"{driver}.png", grey=50 * number)
    return folder


def opened(pictures: Path, rows: list[Any] | None = None, **options: Any) -> MultiModalDataset:
    return MultiModalDataset(write(pictures, content(rows)), pictures, **options)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


class TestMultiModalDataset:
    def test_lazy_loading(self, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[str] = []

        def counting(path: str) -> np.ndarray:
            read.append(Path(path).stem)
            return read_plot_area(path)

        monkeypatch.setattr(multimodal_dataset, "read_plot_area", counting)
        dataset = opened(pictures)
        assert len(dataset) == 4
        assert dataset.labels.tolist() == [1, 2, 3, 4]
        assert read == []
        image, _, _ = dataset[2]
        assert read == ["norris"]
        assert image is not None
        assert torch.equal(image, IMAGENET(np.full((16, 16, 3), 100, dtype=np.uint8)))

    def test_missing_image_fallback(self, pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
        (pictures / "2024_race_1" / "leclerc.png").unlink()
        dataset = opened(pictures)
        for _ in range(2):  # the second epoch does not warn again
            image, features, label = dataset[1]
            assert image is None
            assert features.shape == (3,)
            assert label == 2
        assert dataset[0][0] is not None
        assert dataset.missing_pictures == 1
        assert len(warnings_of(caplog)) == 1
        assert "leclerc.png counts as a missing picture: there is no such file" in warnings_of(caplog)[0]
        assert dataset._load_image(str(pictures / "nowhere.png")) is None

    @pytest.mark.parametrize("workers", [0, 2])
    def test_batch_stacking(self, pictures: Path, workers: int) -> None:
        (pictures / "2024_race_1" / "norris.png").write_bytes(b"")
        loader = DataLoader(opened(pictures), batch_size=3, collate_fn=collate, num_workers=workers)
        first, second = list(loader)
        assert first.images.shape == (3, 3, 224, 224)
        assert first.has_image.tolist() == [True, True, False]
        assert (first.images[2] == 0).all()
        assert (first.images[0] < first.images[1]).all()  # darker
        assert first.labels.tolist() == [1, 2, 3]
        assert (second.labels.tolist(), second.has_image.tolist()) == ([4], [True])
        assert second.tabular.shape == (1, 3)

    def test_feature_normalization(self, pictures: Path) -> None:
        """Statistics come from the rows of split "train" and no others; what is constant in those says nothing."""
        splits = ["train", "train", "test", "test"]
        rows = [row(number, split=split) for number, split in enumerate(splits)]
        rows[0]["tabular_features"] = [2.0, 10, None]
        rows[1]["tabular_features"] = [4.0, 10, 1.0]
        rows[2]["tabular_features"] = [7.0, 12, None]
        rows[3]["tabular_features"] = [1e6, None, 3.0]
        dataset = opened(pictures, rows)
        features = torch.stack([dataset[number][1] for number in range(4)])
        assert features.dtype == torch.float32
        assert features.tolist() == [[-1, 0, 0], [1, 0, 0], [4, 0, 0], [8, 0, 0]]
        test = MultiModalDataset(dataset.cache_file, pictures, split="test")
        assert test.driver_ids == ["norris", "russell"]
        assert test[0][1].tolist() == [4, 0, 0]
        assert math.isnan(test.tabular_raw[0, 2])
        assert test.tabular_raw[1].tolist()[0] == 1e6

    def test_cache_file_format(self, tmp_path: Path) -> None:
        """The design's file, without the keys that were added to it."""
        dataset = MultiModalDataset(write(tmp_path, content()), tmp_path)
        assert dataset.feature_names == tuple(NAMES)
        assert dataset.race_ids == ["2024_race_1"] * 4
        assert dataset.driver_ids == DRIVERS
        assert dataset.horizons == ["full_race"] * 4
        assert dataset.has_finished.tolist() == [True, True, True, False]
        assert dataset.n_starters.tolist() == [4] * 4
        np.testing.assert_array_equal(dataset.tabular_raw[2], [0.2, 3.0, np.nan])
        assert not dataset.leaks

    def test_without_splits_all_rows_give_the_statistics(self, pictures: Path) -> None:
        dataset = opened(pictures)
        features = torch.stack([dataset[number][1] for number in range(4)]).double()
        assert features[:, 1].mean().item() == pytest.approx(0.0, abs=1e-6)
        assert features[:, 1].std(correction=0).item() == pytest.approx(1.0, abs=1e-6)
        assert torch.isfinite(features).all()


class TestLabelsAndColumns:
    def test_task_finish_labels_whether_classified(self, pictures: Path) -> None:
        dataset = opened(pictures, task="finish")
        assert [dataset[number][2] for number in range(4)] == [1, 1, 1, 0]
        assert dataset.positions.tolist() == [1, 2, 3, 4]

    def test_unknown_task(self, pictures: Path) -> None:
        with pytest.raises(ConfigError, match="task must be 'position' or 'finish', got 'podium'"):
            opened(pictures, task="podium")

    @given(st.permutations(range(1, 27)))
    def test_labels_are_the_positions_of_the_file(self, positions: list[int]) -> None:
        rows = [row(0, driver_id=f"d{n}", label=place, image_path=None) for n, place in enumerate(positions)]
        with tempfile.TemporaryDirectory() as folder:  # a fixture's folder would be one for all examples
            dataset = MultiModalDataset(write(Path(folder), content(rows)), folder)
        assert [dataset[n][2] for n in range(26)] == positions
        assert dataset.n_starters.tolist() == [26] * 26

    def test_extra_columns(self, pictures: Path) -> None:
        rows = [row(n, horizon="lap_20", cutoff_lap=20, n_starters=22) for n in range(4)]
        dataset = opened(pictures, rows)
        assert dataset.horizons == ["lap_20"] * 4
        assert dataset.n_starters.tolist() == [22] * 4

    def test_a_given_normaliser_is_used(self, pictures: Path) -> None:
        normaliser = FeatureNormaliser(tuple(NAMES), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        assert opened(pictures, normaliser=normaliser)[1][1].tolist() == pytest.approx([0.1, 2.0, 0.0])
        other = FeatureNormaliser(("grid", "driver_rating", "rain"), (0.0,) * 3, (1.0,) * 3)
        with pytest.raises(FeatureError, match="another order, column 0 must be 'grid', got 'driver_rating'"):
            opened(pictures, normaliser=other)

    def test_a_split_that_is_not_there(self, pictures: Path) -> None:
        rows = [row(n, split="train") for n in range(4)]
        with pytest.raises(ArtefactError, match=r"no rows of split 'test'; it has 'train'.*f1-predict dataset"):
            opened(pictures, rows, split="test")
        with pytest.raises(ArtefactError, match="no rows of split 'test'; it has none"):
            opened(pictures, split="test")

    def test_statistics_need_train_rows_or_a_normaliser(self, pictures: Path) -> None:
        rows = [row(n, split="test") for n in range(4)]
        with pytest.raises(ArtefactError, match="no rows of split 'train' to take the features' statistics from"):
            opened(pictures, rows)
        normaliser = FeatureNormaliser(tuple(NAMES), (0.0,) * 3, (1.0,) * 3)
        assert len(opened(pictures, rows, split="test", normaliser=normaliser)) == 4

    def test_a_leaking_file_says_so(self, pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
        dataset = MultiModalDataset(write(pictures, content(leaks=True)), pictures)
        assert dataset.leaks
        assert "have seen the result" in warnings_of(caplog)[0]


class TestPictures:
    def test_the_network_sees_the_plot_area_only(self, tmp_path: Path) -> None:
        folder = tmp_path / "speed_traces"
        path = SpeedTraceGenerator(folder).generate_trace("2024_race_1", "hamilton", [90.0, 91.0, 89.5, 90.2])
        dataset = MultiModalDataset(write(tmp_path, content([row(0, image_path=path)])), folder)
        image = dataset[0][0]
        assert image is not None
        area = read_plot_area(path)
        assert area.shape == (448, 448, 3)
        assert torch.equal(image, IMAGENET(area))

    @pytest.mark.parametrize(
        "damage", ["empty", "truncated", "text", "folder", "huge", "many_pixels"], ids=lambda name: name
    )
    def test_a_picture_that_cannot_be_read_is_missing(
        self, pictures: Path, damage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = pictures / "2024_race_1" / "norris.png"
        whole = file.read_bytes()
        file.unlink()
        if damage == "folder":
            file.mkdir()
        elif damage == "huge":
            monkeypatch.setattr(multimodal_dataset, "MAX_PICTURE_BYTES", len(whole) - 1)
            file.write_bytes(whole + b"\0" * 1000)
        elif damage == "many_pixels":
            Image.new("1", (6000, 5000)).save(file)
        else:
            file.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"no picture"}[damage])
        dataset = opened(pictures)
        assert dataset[2][0] is None
        assert dataset[2][2] == 3
        assert dataset.missing_pictures == 1
        assert [line for line in warnings_of(caplog) if "norris.png counts as a missing picture" in line]

    def test_a_row_may_have_no_picture(self, pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
        dataset = opened(pictures, [row(0, image_path=None), row(1)])
        assert dataset[0][0] is None
        assert dataset.image_paths[0] is None
        assert dataset.missing_pictures == 0
        assert warnings_of(caplog) == []

    @pytest.mark.parametrize("written", ["design", "short", "dotted", "absolute"])
    def test_where_a_picture_is_looked_for(
        self, pictures: Path, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(os.sep)  # the working directory does not matter
        path = {
            "design": "data/multimodal/speed_traces/2024_race_1/leclerc.png",
            "short": "2024_race_1/leclerc.png",
            "dotted": "./speed_traces/../speed_traces/2024_race_1/leclerc.png",
            "absolute": str(pictures / "2024_race_1" / "leclerc.png"),
        }[written]
        dataset = opened(pictures, [row(1, image_path=path)])
        assert dataset.image_paths == [str(pictures / "2024_race_1" / "leclerc.png")]
        assert dataset[0][0] is not None

    @pytest.mark.parametrize("written", ["../outside.png", "2024_race_1/../../outside.png", "absolute", "."])
    def test_a_path_that_leaves_the_folder_is_never_opened(
        self, pictures: Path, written: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        outside = pictures.parent / "outside.png"
        picture(outside)

        def refuse(path: str) -> np.ndarray:
            raise AssertionError(f"{path} was opened")

        monkeypatch.setattr(multimodal_dataset, "read_plot_area", refuse)
        path = str(outside) if written == "absolute" else written
        dataset = opened(pictures, [row(0, image_path=path)])
        assert dataset[0][0] is None
        assert dataset.missing_pictures == 1
        assert "does not lie in" in warnings_of(caplog)[0]

    def test_a_sibling_folder_with_a_similar_name_is_outside(self, pictures: Path) -> None:
        other = pictures.with_name("speed_traces_old") / "x.png"
        picture(other)
        assert opened(pictures, [row(0, image_path=str(other))]).image_paths == [None]


class TestDamagedFiles:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ('{"metadata": [', "is no JSON"),
            ("", "is no JSON"),
            ("[]", "must hold an object, got list"),
            ({"feature_names": NAMES, "generated_at": "x"}, "key 'metadata' is missing"),
            (content(generated_at=7), "key 'generated_at' must be text, got int"),
            (content(metadata={}), "key 'metadata' must be a list, got dict"),
            (content([]), "key 'metadata' has no rows"),
            (content(feature_names=["a", "a", "b"]), "key 'feature_names' must hold different names"),
            (content(feature_names=[]), "key 'feature_names' must hold different names"),
            (content(feature_names=[1, 2, 3]), "key 'feature_names' must hold different names"),
            (content(["row"]), "metadata row 0, key 'metadata': each row must be an object, got str"),
        ],
    )
    def test_files_that_are_none(self, tmp_path: Path, values: Any, message: str) -> None:
        file = write(tmp_path, values)
        with pytest.raises(ArtefactError, match=message) as caught:
            MultiModalDataset(file, tmp_path)
        assert str(file) in str(caught.value)
        assert "`f1-predict dataset`" in str(caught.value)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("tabular_features", [1, 2], "must have 3 values, one a name, got 2"),
            ("tabular_features", [1, 2, "wet"], "must hold numbers and null, got 'wet'"),
            ("tabular_features", [1, 2, True], "must hold numbers and null, got True"),
            ("tabular_features", [1, 2, 10**400], "must hold numbers and null, got 'a number beyond 1e308'"),
            ("tabular_features", [1, math.inf, 2], "'grid' must be finite or null"),
            ("tabular_features", "none", "must be a list, got str"),
            ("label", 0, "must be a whole number of 1 or more, got 0"),
            ("label", 1.0, "must be a whole number of 1 or more, got 1.0"),
            ("label", True, "must be a whole number of 1 or more, got True"),
            ("label", None, "must be a whole number of 1 or more, got None"),
            ("finished", 1, "must be true or false, got 1"),
            ("race_id", None, "must be text, got None"),
            ("driver_id", "", "must be text, got ''"),
            ("image_path", 3, "must be a path or null"),
            ("image_path", "a\0b", "must be a path or null"),
            ("n_starters", 2, "is 3, but the field has 2 cars"),
            ("horizon", None, "must be text, got None"),
        ],
    )
    def test_rows_with_wrong_values(self, tmp_path: Path, key: str, value: Any, message: str) -> None:
        rows = [row(0), row(1), row(2, **{key: value}), row(3)]
        with pytest.raises(ArtefactError, match="metadata row 2") as caught:
            MultiModalDataset(write(tmp_path, content(rows)), tmp_path)
        text = str(caught.value)
        assert message in text
        assert f"key '{'label' if key == 'n_starters' else key}'" in text
        assert "`f1-predict dataset`" in text
        if key not in ("race_id", "driver_id"):
            assert "(2024_race_1, norris)" in text

    @pytest.mark.parametrize("key", ["race_id", "driver_id", "image_path", "tabular_features", "label", "finished"])
    def test_rows_that_lack_a_key(self, tmp_path: Path, key: str) -> None:
        rows = [row(0), row(1)]
        del rows[1][key]
        with pytest.raises(ArtefactError, match=rf"metadata row 1 .*key '{key}': is missing"):
            MultiModalDataset(write(tmp_path, content(rows)), tmp_path)

    def test_rows_that_lack_the_split_others_have(self, tmp_path: Path) -> None:
        rows = [row(0, split="train"), row(1)]
        with pytest.raises(ArtefactError, match=r"metadata row 1 .*key 'split': is missing"):
            MultiModalDataset(write(tmp_path, content(rows)), tmp_path)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ArtefactError, match=r"there is no such dataset\. Build it with `f1-predict dataset`"):
            MultiModalDataset(tmp_path / "nowhere.json", tmp_path)

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ArtefactError, match="cannot be read"):
            MultiModalDataset(tmp_path / "c.json", tmp_path)

    def test_nan_in_the_table_is_unknown(self, tmp_path: Path) -> None:
        rows = [row(0, tabular_features=[math.nan, 1, 2]), row(1)]
        dataset = MultiModalDataset(write(tmp_path, content(rows)), tmp_path)
        assert math.isnan(dataset.tabular_raw[0, 0])
        assert torch.isfinite(dataset[0][1]).all()


class TestCollate:
    @given(st.lists(st.booleans(), min_size=1, max_size=6), st.integers(1, 4), st.randoms())
    def test_rows_keep_their_order_and_missing_pictures_are_zeros(
        self, there: list[bool], width: int, random: Any
    ) -> None:
        samples = [
            (
                torch.full((3, 224, 224), number + 1.0) if present else None,
                torch.tensor([random.random() for _ in range(width)]),
                random.randint(0, 25),
            )
            for number, present in enumerate(there)
        ]
        batch = collate(samples)
        assert batch.images.shape == (len(there), 3, 224, 224)
        assert batch.has_image.dtype == torch.bool
        assert batch.has_image.tolist() == there
        expected = [number + 1.0 if present else 0.0 for number, present in enumerate(there)]
        assert batch.images[:, 0, 0, 0].tolist() == expected
        assert batch.images.amin(dim=(1, 2, 3)).tolist() == batch.images.amax(dim=(1, 2, 3)).tolist() == expected
        assert torch.equal(batch.tabular, torch.stack([features for _, features, _ in samples]))
        assert batch.labels.dtype == torch.int64
        assert batch.labels.tolist() == [label for _, _, label in samples]

    def test_refusals(self) -> None:
        features = torch.zeros(2)
        with pytest.raises(DataError, match="at least one row"):
            collate([])
        with pytest.raises(DataError, match=r"same number of features, got \[2, 3\]"):
            collate([(None, features, 1), (None, torch.zeros(3), 1)])
        with pytest.raises(PictureError, match=r"row 1 must have shape \(3, 224, 224\), got \(3, 8, 8\)"):
            collate([(None, features, 1), (torch.zeros(3, 8, 8), features, 1)])
