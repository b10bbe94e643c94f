"""Cars of whole fields, row for row, checked; and as tensors, taken by field.

Here labels meet inputs. Knows nothing of files, of races' tables or of how the fit goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f1_predict.errors import DataError, FeatureError, LabelError, PictureError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FieldRows:
    """n cars in g fields, a field being one race at one cut; its rows stand together.

    Attributes:
        tabular: float32 (n, F), standardised, finite.
        embeddings: float32 (n, E), what rows without a picture hold does not matter; None: no row has one.
        has_image: bool (n,), whether a row has a picture.
        positions: int64 (n,), 1 = winner; in a fit each field's are 1..its size, for a forecast they are not looked at.
        classified: bool (n,).
        fields: int64 (g + 1,), rows fields[i]:fields[i + 1] are field i.
        always: bool (g,), fields that every epoch of a fit sees, such as those at the cuts that are scored; None: none,
            all fields are drawn alike. It must not follow from who has a picture: what a fit gains by seeing some cuts
            more often would be taken for what it gains by their pictures.

    Raises:
        FeatureError: if `tabular` is no table or has a value that is not finite; names the row.
        PictureError: if a row has a picture and no finite embedding; names the row.
        DataError: if lengths differ, or `fields` does not divide the rows.
    """

    tabular: Floats
    embeddings: Floats | None
    has_image: NDArray[np.bool_]
    positions: NDArray[np.int64]
    classified: NDArray[np.bool_]
    fields: NDArray[np.int64]
    always: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.tabular.ndim != 2 or self.tabular.shape[1] == 0 or self.tabular.dtype != np.float32:
            raise FeatureError(
                "tabular must be float32 of shape (rows, features), "
                f"got {self.tabular.dtype} of shape {self.tabular.shape}. Use FeatureNormaliser.transform."
            )
        rows = len(self.tabular)
        for name in ("has_image", "positions", "classified"):
            shape = getattr(self, name).shape
            if shape != (rows,):
                raise DataError(f"{name} must have shape ({rows},), one value a row of tabular, got {shape}.")
        self._check_fields(rows)
        finite = np.isfinite(self.tabular).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            column = int(np.argmin(np.isfinite(self.tabular[row])))
            raise FeatureError(
                f"tabular must be finite, got {self.tabular[row, column]} in row {row}, column {column}. "
                "Use FeatureNormaliser.transform, which turns unknown into the mean."
            )
        self._check_embeddings(rows)

    def _check_fields(self, rows: int) -> None:
        offsets = self.fields
        if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != rows:
            raise DataError(
                f"fields must be offsets that begin with 0 and end with the number of rows, {rows}, "
                f"got {offsets.tolist()[:3]} to {offsets.tolist()[-1:]}."
            )
        empty = np.diff(offsets) < 1
        if empty.any():
            field = int(np.argmax(empty))
            raise DataError(
                f"field {field} must have a row or more, got rows {offsets[field]} to {offsets[field + 1]}. "
                "Leave out races without entries."
            )
        if self.always is not None and self.always.shape != (len(empty),):
            raise DataError(f"always must have shape ({len(empty)},), one value a field, got {self.always.shape}.")

    def _check_embeddings(self, rows: int) -> None:
        if self.embeddings is None:
            if self.has_image.any():
                row = int(np.argmax(self.has_image))
                raise PictureError(f"row {row} has a picture but there are no embeddings. Give them, or no has_image.")
            return
        if self.embeddings.ndim != 2 or len(self.embeddings) != rows or self.embeddings.dtype != np.float32:
            raise PictureError(
                f"embeddings must be float32 of shape ({rows}, width), "
                f"got {self.embeddings.dtype} of shape {self.embeddings.shape}."
            )
        shown = np.flatnonzero(self.has_image)
        finite = np.isfinite(self.embeddings[shown]).all(axis=1)
        if not finite.all():
            raise PictureError(
                f"the embedding of row {shown[int(np.argmin(finite))]} must be finite. Encode its picture again."
            )

    def __len__(self) -> int:
        return len(self.tabular)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Cars in each field: int64 (g,)."""
        return np.diff(self.fields)

    def check_labels(self, name: str) -> None:
        """Refuse positions that are not 1..n in a field of n.

        Raises:
            LabelError: naming the first such field and its rows.
        """
        for field, (start, end) in enumerate(pairwise(self.fields)):
            positions = np.sort(self.positions[start:end])
            if not np.array_equal(positions, np.arange(1, end - start + 1)):
                raise LabelError(
                    f"the positions of field {field} of the {name} rows (rows {start} to {end - 1}) must be "
                    f"1..{end - start}, each once, got {positions.tolist()}. Rank all starters of the race."
                )


@dataclass(frozen=True)
class FieldBatch:
    """Some fields, padded to the widest: the network's inputs, and (B, N) places (0-based), classified."""

    fields: NDArray[np.int64]
    inputs: tuple[Tensor, Tensor | None, Tensor, Tensor]
    places: Tensor
    classified: Tensor


class FieldTensors:
    """Rows as tensors, taken by field."""

    def __init__(self, rows: FieldRows, use_pictures: bool = True) -> None:
        self._offsets, self.sizes = rows.fields, rows.sizes
        self._tabular = torch.from_numpy(rows.tabular)
        shown = use_pictures and rows.embeddings is not None
        self._embeddings = torch.from_numpy(rows.embeddings) if shown else None
        self._has_image = torch.from_numpy(rows.has_image)
        self._places = torch.from_numpy(rows.positions.astype(np.int64) - 1)
        self._classified = torch.from_numpy(rows.classified)
        self.has_picture = np.logical_or.reduceat(rows.has_image, rows.fields[:-1]) & shown

    def batches(self, fields: NDArray[np.int64], size: int) -> Iterator[FieldBatch]:
        """The fields in this order, `size` at a time."""
        for start in range(0, len(fields), size):
            yield self.take(fields[start : start + size])

    def take(self, fields: NDArray[np.int64]) -> FieldBatch:
        """These fields."""
        column = np.arange(self.sizes[fields].max())[None, :]
        present = torch.from_numpy(column < self.sizes[fields][:, None])
        # Padding repeats the field's last row; the network does not see it.
        rows = torch.from_numpy(
            np.minimum(self._offsets[fields][:, None] + column, self._offsets[fields + 1][:, None] - 1)
        )
        embeddings = None
        if self._embeddings is not None and self.has_picture[fields].any():
            embeddings = self._embeddings[rows]
        inputs = (self._tabular[rows], embeddings, self._has_image[rows], present)
        return FieldBatch(fields, inputs, self._places[rows], self._classified[rows])
