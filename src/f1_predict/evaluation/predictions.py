"""The predictions file: one row per race x driver x horizon x model, checked before it is written or scored.

Knows no results and no metrics; what a row must be is told by prediction_checks.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.errors import DataError
from f1_predict.evaluation.prediction_checks import (
    FORECAST_KEYS,
    PREDICTION_COLUMNS,
    REMEDY_FILE,
    validate_predictions,
)
from f1_predict.horizon import Snapshot
from f1_predict.models.probabilities import summarise
from f1_predict.training.files import write_atomically

__all__ = [
    "FORECAST_KEYS",
    "PREDICTION_COLUMNS",
    "prediction_rows",
    "read_predictions",
    "validate_predictions",
    "write_predictions",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def write_predictions(path: Path, frame: pl.DataFrame) -> None:
    """Check a table of predictions and write it as Parquet, whole or not at all.

    Raises:
        DataError: as `validate_predictions`.
        ArtefactError: if it cannot be written there.
    """
    content = io.BytesIO()
    validate_predictions(frame, str(path)).write_parquet(content, compression="zstd")
    write_atomically(path, content.getvalue())


def read_predictions(path: Path, *, may_be_empty: bool = False) -> pl.DataFrame:
    """Read and check a predictions file; one without rows is refused unless it `may_be_empty`.

    Raises:
        DataError: if there is no such file, it is no Parquet file, or as `validate_predictions`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the predictions cannot be read ({error.strerror}). {REMEDY_FILE}") from error
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # damaged pages panic
        raise DataError(f"{path}: is no Parquet file that can be read ({error}). {REMEDY_FILE}") from error
    if may_be_empty and frame.is_empty() and frame.schema == pl.Schema(PREDICTION_COLUMNS):
        return frame
    return validate_predictions(frame, str(path))


def prediction_rows(
    snapshot: Snapshot,
    fraction: float,
    model: str,
    probabilities: FloatArray,
    p_finish: FloatArray | None,
    has_image: BoolArray,
) -> pl.DataFrame:
    """A model's forecast of one field as rows of the predictions file.

    Args:
        snapshot: what was known; n starters.
        fraction: of the scheduled laps at which it was cut, 0 before the race.
        model: the model's name.
        probabilities: float64 (n, n), rows in the order of entries, sum to 1.
        p_finish: float64 (n,) probability of being classified; None where not forecast.
        has_image: bool (n,), whether the model saw a picture.

    Returns:
        n rows, columns and dtypes as PREDICTION_COLUMNS.

    Raises:
        DataError: if a shape differs, the snapshot shows the finished race, or as `summarise`.
    """
    n = snapshot.entries.height
    shapes = [np.shape(probabilities), (n,) if p_finish is None else np.shape(p_finish), np.shape(has_image)]
    if shapes != [(n, n), (n,), (n,)]:
        raise DataError(
            f"{snapshot.race_id}, model '{model}': probabilities, p_finish and has_image must have shapes ({n}, {n}), "
            f"({n},) and ({n},), got {', '.join(map(str, shapes))}. Forecast every starter."
        )
    if snapshot.horizon.leaks:
        raise DataError(
            f"{snapshot.race_id}, model '{model}': a snapshot of the finished race is no forecast. "
            "Cut it before the race or after a lap."
        )
    values = np.asarray(probabilities, dtype=np.float64)
    forecast = summarise(values)
    return pl.DataFrame(
        {
            "race_id": [snapshot.race_id] * n,
            "driver_id": snapshot.driver_ids,
            "model": [model] * n,
            "horizon": [snapshot.horizon.name] * n,
            "fraction": [float(fraction)] * n,
            "cutoff_lap": [snapshot.cutoff_lap] * n,
            "n_starters": [n] * n,
            "position_probs": values.tolist(),
            "expected_position": forecast.expected_position,
            "predicted_rank": forecast.predicted_rank,
            "p_win": forecast.p_win,
            "p_podium": forecast.p_podium,
            "p_points": forecast.p_points,
            "p_finish": [None] * n if p_finish is None else np.asarray(p_finish, dtype=np.float64),
            "has_image": np.asarray(has_image, dtype=np.bool_),
        },
        schema=PREDICTION_COLUMNS,
    )
