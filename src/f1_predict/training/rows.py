"""What a network is fitted on: encoded pictures, normalised features and targets, row for row.

Here labels meet inputs. Knows nothing of files or of how the fit goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f1_predict.config import Head
from f1_predict.errors import DataError, FeatureError, LabelError
from f1_predict.models.labels import classes_from_positions
from f1_predict.models.multimodal_dataset import MultiModalDataset
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.probabilities import relative_position

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LabelledRows:
    """n rows of a dataset without their pictures: features and labels, row for row.

    Attributes:
        cache_file: the dataset they are of.
        feature_names: F names.
        race_ids, driver_ids, horizons: text, n of each.
        positions: int64 (n,), 1 = winner.
        has_finished: bool (n,), whether classified.
        n_starters: int64 (n,), cars in the race.
        tabular_raw: float64 (n, F), NaN = unknown.
    """

    cache_file: Path
    feature_names: tuple[str, ...]
    race_ids: list[str]
    driver_ids: list[str]
    horizons: list[str]
    positions: NDArray[np.int64]
    has_finished: NDArray[np.bool_]
    n_starters: NDArray[np.int64]
    tabular_raw: NDArray[np.float64]

    @classmethod
    def of(cls, dataset: MultiModalDataset) -> LabelledRows:
        """All rows of a dataset."""
        return cls(**{field.name: getattr(dataset, field.name) for field in fields(cls)})

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, rows: NDArray[np.int64]) -> LabelledRows:
        """The rows of these numbers, in this order."""
        return replace(
            self,
            race_ids=[self.race_ids[row] for row in rows],
            driver_ids=[self.driver_ids[row] for row in rows],
            horizons=[self.horizons[row] for row in rows],
            positions=self.positions[rows],
            has_finished=self.has_finished[rows],
            n_starters=self.n_starters[rows],
            tabular_raw=self.tabular_raw[rows],
        )


@dataclass(frozen=True)
class TrainingRows:
    """n rows, one per race, driver and horizon; all arrays are row for row.

    Attributes:
        embeddings: float32 (n, image_feature_dim), or None to fit on the table alone.
        has_image: bool (n,); where False the row of `embeddings` is not looked at.
        tabular: float32 (n, F), normalised, without NaN.
        targets: by the head. "position": int64 (n,), finishing position - 1. "position_regression":
            float32 (n,), `relative_position`. "finish": float32 (n,), 1 if classified, else 0.
        n_starters: int64 (n,), cars in the race.
        race_ids, driver_ids: n names, for messages.

    Raises:
        DataError: if the arrays differ in length.
        FeatureError: if features or embeddings are no table, or one is NaN or infinite.
    """

    embeddings: Floats | None
    has_image: NDArray[np.bool_]
    tabular: Floats
    targets: NDArray[np.int64] | Floats
    n_starters: NDArray[np.int64]
    race_ids: Sequence[str]
    driver_ids: Sequence[str]

    def __post_init__(self) -> None:
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        lengths = {name: len(value) for name, value in arrays.items()}
        if len(set(lengths.values())) != 1:
            counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"training rows must have one entry per row everywhere, got {counts}. Pass equal lengths.")
        for name in ("tabular", "embeddings"):
            values = arrays.get(name)
            if values is None:
                continue
            if values.ndim != 2:
                raise FeatureError(f"{name} must have shape (rows, features), got {values.shape}.")
            bad = ~np.isfinite(values)
            if name == "embeddings":
                bad &= self.has_image[:, None]
            if bad.any():
                row, column = (int(i) for i in np.argwhere(bad)[0])
                raise FeatureError(
                    f"{name} must be finite, got {values[row, column]} in column {column} for {self.race_ids[row]}, "
                    f"{self.driver_ids[row]}. Pass features through FeatureNormaliser.transform first."
                )

    def __len__(self) -> int:
        return len(self.has_image)

    def check_targets(self, head: Head, output_dim: int) -> None:
        """Check that every target is one that the head can forecast.

        Raises:
            LabelError: naming race, driver, the value and what it must be.
        """
        if head == "position":
            bad = (self.targets < 0) | (self.targets >= output_dim) | (self.targets != np.floor(self.targets))
            must = f"a class from 0 to {output_dim - 1} (finishing position - 1, output_dim={output_dim})"
            remedy = "Give the model as many classes as the largest field has cars"
        elif head == "finish":
            bad = (self.targets != 0) & (self.targets != 1)
            must, remedy = "0 or 1", "Pass 1 for a classified driver and 0 for any other"
        else:
            bad = ~((self.targets >= 0) & (self.targets <= 1))
            must, remedy = "in [0, 1]", "Pass relative_position(position, n_starters)"
        if bad.any():
            row = int(np.argmax(bad))
            raise LabelError(
                f"{self.race_ids[row]}, {self.driver_ids[row]}: the target of head '{head}' must be {must}, "
                f"got {self.targets[row]}. {remedy}."
            )


def rows_from_dataset(
    dataset: LabelledRows,
    normaliser: FeatureNormaliser,
    head: Head,
    embeddings: Floats | None,
    has_image: NDArray[np.bool_],
) -> TrainingRows:
    """A dataset's rows as a network is fitted on them.

    Args:
        dataset: rows with labels.
        normaliser: fitted on the training rows, never on these if they are another split's.
        head: decides what the targets are, see TrainingRows.
        embeddings, has_image: from `encode_dataset`; `embeddings` None fits on the table alone.

    Raises:
        DataError: if `embeddings` or `has_image` have another number of rows than the dataset.
        FeatureError: if the normaliser was fitted on other features.
    """
    positions, starters = dataset.positions, dataset.n_starters
    targets: NDArray[np.int64] | Floats
    if head == "position":
        targets = classes_from_positions(positions, int(positions.max(initial=1)), dataset.race_ids, dataset.driver_ids)
    elif head == "finish":
        targets = dataset.has_finished.astype(np.float32)
    else:
        targets = relative_position(positions, starters).astype(np.float32)
    return TrainingRows(
        embeddings=embeddings,
        has_image=has_image,
        tabular=normaliser.transform(dataset.tabular_raw, dataset.feature_names),
        targets=targets,
        n_starters=starters,
        race_ids=list(dataset.race_ids),
        driver_ids=list(dataset.driver_ids),
    )
