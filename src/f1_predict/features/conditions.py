"""Weather and tyres at the cut: a pure function of the laps and weather that a Snapshot holds."""

from __future__ import annotations

import numpy as np

from f1_predict.features.inrace_laps import last_known
from f1_predict.features.sessions import Floats
from f1_predict.horizon import LapMatrices, WeatherColumns, at_lap

UNKNOWN, DRY, WET = 0.0, 1.0, 2.0
"""Codes of `weather`."""


def at_cut(laps: LapMatrices, weather: WeatherColumns, rain_window_s: float) -> dict[str, Floats]:
    """The features of the cut, each (n,) float64 with NaN for unknown.

    Args:
        laps, weather: the Snapshot's.
        rain_window_s: samples so many seconds before the last one and later tell whether it rains.
    """
    n = len(laps.completed)
    compound = last_known(laps.compound)
    return {
        "weather": np.full(n, _rain(weather, rain_window_s)),
        "air_temp_c": np.full(n, _last_known(weather.air_temp_c)),
        "track_temp_c": np.full(n, _last_known(weather.track_temp_c)),
        "tire_compound": np.where(np.isnan(compound), UNKNOWN, compound),
        "tyre_life": at_lap(laps.tyre_life, laps.completed),
    }


def recent_rain(weather: WeatherColumns, window_s: float) -> Floats:
    """Whether it rained, 1.0 or 0.0, in the samples so many seconds before the last one and later that tell."""
    if len(weather.time_s) == 0:
        return weather.rainfall
    recent = weather.rainfall[weather.time_s >= weather.time_s[-1] - window_s]
    return np.asarray(recent[~np.isnan(recent)])


def _rain(weather: WeatherColumns, window_s: float) -> float:
    recent = recent_rain(weather, window_s)
    if len(recent) == 0:
        return UNKNOWN
    return WET if recent.any() else DRY


def _last_known(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known[-1]) if len(known) else np.nan
