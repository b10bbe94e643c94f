"""Finishing positions as classes of the network, checked. Knows nothing of where the positions come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from f1_predict.errors import LabelError


def classes_from_positions(
    positions: npt.ArrayLike, output_dim: int, race_ids: Sequence[str], driver_ids: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Class of each row: position - 1.

    Args:
        positions: whole numbers (n,), 1 = winner.
        output_dim: classes of the network; the largest position there may be.
        race_ids, driver_ids: of the n rows, for the message.

    Returns:
        int64 (n,), in 0 .. output_dim - 1.

    Raises:
        LabelError: if a position is not a whole number from 1 to `output_dim`, naming race and driver of the
            first such row; never clipped.
    """
    values = np.asarray(positions)
    if values.ndim != 1 or not len(values) == len(race_ids) == len(driver_ids):
        raise LabelError(
            f"positions must have shape (n,) with a race and a driver each, got shape {values.shape}, "
            f"{len(race_ids)} races and {len(driver_ids)} drivers."
        )
    if (
        len(values)
        and values.dtype.kind not in "iu"
        and not (values.dtype.kind == "f" and (values == values // 1).all())
    ):
        raise LabelError(f"positions must be whole numbers, got {values.dtype}, first {values[0]!r}.")
    bad = (values < 1) | (values > output_dim)
    if bad.any():
        row = int(np.argmax(bad))
        raise LabelError(
            f"{race_ids[row]}, {driver_ids[row]}: position must be 1 to {output_dim}, the classes of the network, "
            f"got {values[row]}. Build the network with output_dim of at least {int(values.max())}."
            if values[row] >= 1
            else f"{race_ids[row]}, {driver_ids[row]}: position must be at least 1, got {values[row]}. Correct it."
        )
    return (values - 1).astype(np.int64)
