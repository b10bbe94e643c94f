"""f1-predict: forecasts Formula 1 races from pictures and tables together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f1_predict.api import Predictor

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(model: str | Path = "artifacts/model", data: str | Path = "data/processed") -> Predictor:
    """Open a trained model and a store of races, to be asked for forecasts.

    Args:
        model: the model folder that `f1-predict train` or `f1-predict run` wrote.
        data: the folder of the canonical tables that `fetch`, `ingest` or `simulate` wrote.

    Raises:
        ArtefactError: if the model folder cannot be read, or is of another version.
        StoreError: if the store cannot be read.

    Example:
        >>> import f1_predict
        >>> model = f1_predict.load("artifacts/model", data="data/processed")
        >>> model.predict("2101 round 3", lap=5).height
        6
    """
    from f1_predict.api import open_predictor  # torch and polars take seconds: who only asks the version waits not

    return open_predictor(model, data)
