"""Pairs each driver's picture with the driver's row of the table. Pictures are read when a row is asked for.

Knows the dataset file and the pictures' folder; nothing of how either was made, and nothing of networks.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from f1_predict.errors import ArtefactError, ConfigError, DataError, PictureError
from f1_predict.models.dataset_file import REBUILD, DatasetRows, read_dataset_file
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.preprocessing import IMAGENET, Preprocessing
from f1_predict.models.speed_trace_generator import read_plot_area

logger = logging.getLogger(__name__)

MAX_PICTURE_BYTES = 64 * 2**20
"""A larger file is refused unread."""
TRAIN_SPLIT = "train"

Task = Literal["position", "finish"]
Sample = tuple[Tensor | None, Tensor, int]
"""Picture float32 (3, size, size) or None, features float32 (F,), label; `size` is the preprocessing's."""


class Batch(NamedTuple):
    """Rows as tensors.

    Attributes:
        images: float32 (B, 3, size, size), zeros where there is no picture.
        has_image: bool (B,).
        tabular: float32 (B, F).
        labels: int64 (B,).
    """

    images: Tensor
    has_image: Tensor
    tabular: Tensor
    labels: Tensor


class MultiModalDataset(Dataset[Sample]):
    """Rows of race x driver x horizon: picture, standardised features, label.

    A row is `(image, features, label)`: float32 (3, size, size) as VisionEncoder wants it, or None if there is no
    picture; float32 (F,), finite; and the finishing position from 1 (task "position") or 1 = classified, 0 = not
    (task "finish").

    Pictures live under `image_dir`. A relative `image_path` is looked up there; leading folders that repeat the
    end of `image_dir` count once, so "data/multimodal/speed_traces/r/d.png" and "r/d.png" are the same picture,
    whatever the working directory. A path that leaves `image_dir` is never opened: it counts as missing.

    A picture that is missing, cannot be decoded, leaves the folder or is too large is None for the row, with one
    line of warning each (not repeated every epoch) and counted in `missing_pictures`.

    Args:
        cache_file: dataset_cache.json, made by `f1-predict dataset`.
        image_dir: the pictures' folder.
        split: only the rows of this split; None = all.
        normaliser: of the features; None fits one on the rows of split "train" (all rows of a file without splits).
        task: what the label is.
        preprocessing: of the backbone that the pictures are for.

    Attributes:
        feature_names: F names.
        race_ids, driver_ids, horizons: text, one a row.
        image_paths: absolute, below `image_dir`; None = no picture.
        positions: int64 (n,), 1 = winner.
        has_finished: bool (n,), whether classified.
        labels: int64 (n,) as in `__getitem__`.
        n_starters: int64 (n,), cars in the race.
        tabular_raw: float64 (n, F), NaN = unknown.
        normaliser: the one in use.
        leaks: whether the file's features have seen the labels (the full-race horizon).
        settings: what the file's pictures and features were made with, by stage; empty where it does not say.

    Raises:
        ArtefactError: if the file cannot be read or breaks its format, naming row and key, or has no such split.
        FeatureError: if `normaliser` was fitted on other features.
        ConfigError: if `task` is none of the two.
    """

    def __init__(
        self,
        cache_file: str | Path = "data/multimodal/dataset_cache.json",
        image_dir: str | Path = "data/multimodal/speed_traces",
        *,
        split: str | None = None,
        normaliser: FeatureNormaliser | None = None,
        task: Task = "position",
        preprocessing: Preprocessing = IMAGENET,
    ) -> None:
        if task not in ("position", "finish"):
            raise ConfigError(f"task must be 'position' or 'finish', got '{task}'.")
        self.cache_file, self.image_dir = Path(cache_file), Path(image_dir)
        self.split, self.task, self.preprocessing = split, task, preprocessing
        rows = read_dataset_file(self.cache_file)
        self.feature_names = rows.feature_names
        self.normaliser = normaliser if normaliser is not None else self._fit(rows)
        chosen = self._chosen(rows)
        self.race_ids = [rows.race_ids[i] for i in chosen]
        self.driver_ids = [rows.driver_ids[i] for i in chosen]
        self.horizons = [rows.horizons[i] for i in chosen]
        self.positions = rows.positions[chosen]
        self.has_finished = rows.finished[chosen]
        self.labels = self.positions if task == "position" else self.has_finished.astype(np.int64)
        self.n_starters = rows.n_starters[chosen]
        self.tabular_raw = rows.features[chosen]
        self.leaks = rows.leaks
        self.settings = rows.settings
        self._tabular = torch.from_numpy(self.normaliser.transform(self.tabular_raw, self.feature_names))
        self._missing: set[str] = set()
        root = str(self.image_dir.resolve())
        self.image_paths = [self._resolve(root, rows.image_paths[i]) for i in chosen]
        if self.leaks:
            logger.warning("%s: its features and pictures have seen the result; no forecast", self.cache_file)

    def _fit(self, rows: DatasetRows) -> FeatureNormaliser:
        if rows.splits is None:
            return FeatureNormaliser.fit(rows.features, rows.feature_names)
        train = np.array([split == TRAIN_SPLIT for split in rows.splits])
        if not train.any():
            raise ArtefactError(
                f"{self.cache_file}: has no rows of split '{TRAIN_SPLIT}' to take the features' statistics from. "
                f"Pass the normaliser of the training rows, or: {REBUILD}"
            )
        return FeatureNormaliser.fit(rows.features[train], rows.feature_names)

    def _chosen(self, rows: DatasetRows) -> npt.NDArray[np.int64]:
        """Numbers of the rows of the split."""
        if self.split is None:
            return np.arange(len(rows.positions))
        splits = rows.splits or []
        chosen = np.array([i for i, name in enumerate(splits) if name == self.split], dtype=np.int64)
        if not len(chosen):
            known = ", ".join(f"'{name}'" for name in sorted(set(splits))) or "none"
            raise ArtefactError(f"{self.cache_file}: has no rows of split '{self.split}'; it has {known}. {REBUILD}")
        return chosen

    def _resolve(self, root: str, written: str | None) -> str | None:
        """The absolute path of a picture below `root`; None, with a warning, if it would leave it.

        On text, not on Path objects: a dataset may have tens of thousands of rows.
        """
        if written is None:
            return None
        path = os.path.normpath(written)
        if not os.path.isabs(path):
            folders, parts = root.split(os.sep), path.split(os.sep)
            shared = range(min(len(folders), len(parts)), 0, -1)
            repeated = next((n for n in shared if folders[-n:] == parts[:n]), 0)
            path = os.path.normpath(os.path.join(root, *parts[repeated:]))
        if not path.startswith(root.rstrip(os.sep) + os.sep):
            self._warn(written, f"it does not lie in {self.image_dir}")
            return None
        return path

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Sample:
        path = self.image_paths[index]
        image = None if path is None else self._load_image(path)
        return image, self._tabular[index], int(self.labels[index])

    @property
    def missing_pictures(self) -> int:
        """Different pictures found missing or unreadable so far, in this process (not in a DataLoader's workers)."""
        return len(self._missing)

    def _load_image(self, image_path: str) -> Tensor | None:
        """A picture's plot area, preprocessed: float32 (3, size, size); None, with a warning, if it cannot be had."""
        try:
            size = os.stat(image_path).st_size
            if size > MAX_PICTURE_BYTES:
                self._warn(image_path, f"it has {size:,} bytes, more than {MAX_PICTURE_BYTES:,}")
                return None
            return self.preprocessing(read_plot_area(image_path))
        except FileNotFoundError:
            self._warn(image_path, "there is no such file")
        except (PictureError, OSError) as error:
            self._warn(image_path, str(error))
        return None

    def _warn(self, path: str, problem: str) -> None:
        if path not in self._missing:
            self._missing.add(path)
            logger.warning("%s counts as a missing picture: %s", path, problem)


def collate(batch: Sequence[Sample], preprocessing: Preprocessing = IMAGENET) -> Batch:
    """Rows of a MultiModalDataset as one Batch, for a DataLoader's `collate_fn`. Missing pictures become zeros.

    Args:
        batch: at least one row.
        preprocessing: the dataset's; says the pictures' size.

    Raises:
        DataError: if there are no rows, or their features differ in number.
        PictureError: if a picture has another shape than (3, size, size).
    """
    if not batch:
        raise DataError("a batch needs at least one row, got none.")
    widths = sorted({len(features) for _, features, _ in batch})
    if len(widths) != 1:
        raise DataError(f"all rows of a batch must have the same number of features, got {widths}.")
    shape = (3, preprocessing.size, preprocessing.size)
    images = torch.zeros((len(batch), *shape))
    for row, (image, _, _) in enumerate(batch):
        if image is not None:
            if image.shape != shape:
                raise PictureError(f"picture of row {row} must have shape {shape}, got {tuple(image.shape)}.")
            images[row] = image
    return Batch(
        images=images,
        has_image=torch.tensor([image is not None for image, _, _ in batch]),
        tabular=torch.stack([features for _, features, _ in batch]),
        labels=torch.tensor([label for _, _, label in batch], dtype=torch.int64),
    )
