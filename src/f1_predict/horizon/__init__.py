"""What may be known when: horizons, and the cut that turns tables into a Snapshot."""

from f1_predict.horizon.arrays import LapMatrices, WeatherColumns, at_lap
from f1_predict.horizon.horizons import AfterLap, FullRace, Horizon, PreRace, lap_of_fraction, parse_horizon
from f1_predict.horizon.snapshot import RaceArchive, RaceInfo, Snapshot

__all__ = [
    "AfterLap",
    "FullRace",
    "Horizon",
    "LapMatrices",
    "PreRace",
    "RaceArchive",
    "RaceInfo",
    "Snapshot",
    "WeatherColumns",
    "at_lap",
    "lap_of_fraction",
    "parse_horizon",
]
