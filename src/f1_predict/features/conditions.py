"""Weather and tyres at the cut: a pure function of the laps and weather that a Snapshot holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from f1_predict.features.sessions import Floats
from f1_predict.schemas import COMPOUNDS

UNKNOWN, DRY, WET = 0.0, 1.0, 2.0
"""Codes of `weather`."""
COMPOUND_CODES = {name: float(code) for code, name in enumerate(COMPOUNDS, start=1)}
"""Codes of `tire_compound`, 1 = the softest, ordered as schemas.COMPOUNDS; 0 = unknown."""


def at_cut(
    driver_ids: Sequence[str], laps: pl.DataFrame, weather: pl.DataFrame, rain_window_s: float
) -> dict[str, Floats]:
    """The features of the cut, each (n,) float64 with NaN for unknown.

    Args:
        driver_ids: the n starters.
        laps: the Snapshot's laps.
        weather: the Snapshot's weather.
        rain_window_s: samples so many seconds before the last one and later tell whether it rains.
    """
    n = len(driver_ids)
    compound, life = _tyres(laps)
    return {
        "weather": np.full(n, _rain(weather, rain_window_s)),
        "air_temp_c": np.full(n, _last_known(weather, "air_temp_c")),
        "track_temp_c": np.full(n, _last_known(weather, "track_temp_c")),
        "tire_compound": np.array([compound.get(name, UNKNOWN) for name in driver_ids]),
        "tyre_life": np.array([life.get(name, math.nan) for name in driver_ids]),
    }


def _rain(weather: pl.DataFrame, window_s: float) -> float:
    last = pl.col("time_s").max()
    recent = weather.filter(pl.col("time_s") >= last - window_s)["rainfall"].drop_nulls()
    if recent.is_empty():
        return UNKNOWN
    return WET if recent.any() else DRY


def _last_known(weather: pl.DataFrame, column: str) -> float:
    known = weather.filter(pl.col(column).is_not_null()).sort("time_s")[column]
    return float(known[-1]) if known.len() else math.nan


def _tyres(laps: pl.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """Per driver the code of the last known compound, and the tyre life recorded on his last lap."""
    if laps.is_empty():
        return {}, {}
    ordered = laps.sort("lap").select("driver_id", "compound", "tyre_life")
    compound = {
        driver: COMPOUND_CODES[name] for driver, name, _ in ordered.iter_rows() if name is not None
    }  # later laps overwrite earlier ones
    life = {driver: math.nan if value is None else float(value) for driver, _, value in ordered.iter_rows()}
    return compound, life
