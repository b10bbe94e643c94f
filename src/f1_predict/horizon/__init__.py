"""What may be known when: horizons, and the cut that turns tables into a Snapshot."""

from f1_predict.horizon.horizons import AfterLap, FullRace, Horizon, PreRace, lap_of_fraction, parse_horizon
from f1_predict.horizon.snapshot import RaceArchive, RaceInfo, Snapshot

__all__ = [
    "AfterLap",
    "FullRace",
    "Horizon",
    "PreRace",
    "RaceArchive",
    "RaceInfo",
    "Snapshot",
    "lap_of_fraction",
    "parse_horizon",
]
