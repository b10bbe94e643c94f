"""Small rows, an encoder that counts, and tables of a few quick races, for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.training.rows import TrainingRows

FEATURES, PICTURE_DIM, CLASSES = 6, 16, 5


def make_rows(n: int, seed: int = 0, *, head: str = "position", pictures: bool = True) -> TrainingRows:
    """Rows whose targets follow from the first feature and the first embedding."""
    rng = np.random.default_rng(seed)
    tabular = rng.normal(size=(n, FEATURES)).astype(np.float32)
    embeddings = rng.normal(size=(n, PICTURE_DIM)).astype(np.float32)
    signal = tabular[:, 0] + (embeddings[:, 0] if pictures else 0.0)
    share = 1.0 / (1.0 + np.exp(-2.0 * signal))
    targets = {
        "position": np.minimum((share * CLASSES).astype(np.int64), CLASSES - 1),
        "position_regression": share.astype(np.float32),
        "finish": (share > 0.5).astype(np.float32),
    }[head]
    return TrainingRows(
        embeddings=embeddings if pictures else None,
        has_image=np.full(n, pictures),
        tabular=tabular,
        targets=targets,
        n_starters=np.full(n, CLASSES),
        race_ids=[f"2020_race_{1 + i // CLASSES}" for i in range(n)],
        driver_ids=[f"driver_{i}" for i in range(n)],
    )


def make_model(seed: int = 0, *, head: str = "position", dropout: float = 0.3) -> MultiModalFusionModel:
    """A small network with weights by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MultiModalFusionModel(
            PICTURE_DIM, FEATURES, CLASSES, head=head, tabular_dim=8, hidden=(32, 16), dropout=dropout
        )  # type: ignore[arg-type]


class CountingEncoder:
    """Encodes a picture as the mean, in parts, of its pixels; knows how many it has encoded."""

    feature_dim = 4

    def __init__(self, identity: str = "encoder-a") -> None:
        self.identity = identity
        self.encoded = 0
        self.batches: list[int] = []
        self.rows_that_fit = 10**9

    def encode_arrays(self, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
        if len(images) > self.rows_that_fit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.encoded += len(images)
        self.batches.append(len(images))
        corners = [images[:, :1, :1], images[:, :1, -1:], images[:, -1:, :1], images[:, -1:, -1:]]
        return np.stack([c.reshape(len(images), -1).mean(axis=1) for c in corners], axis=1).astype(np.float32)


class PicturePaths:
    """As much of a MultiModalDataset as the encoding needs."""

    def __init__(self, paths: list[Path | None]) -> None:
        self.image_paths = [None if path is None else str(path) for path in paths]


def write_pictures(folder: Path, count: int, size: tuple[int, int] = (6, 5)) -> list[Path]:
    """`count` different random pictures."""
    rng = np.random.default_rng(count)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"picture_{i}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, size=(*size, 3), dtype=np.uint8)).save(path)
    return paths
