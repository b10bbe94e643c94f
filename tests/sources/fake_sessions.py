"""Stands for FastF1: sessions whose frames are pandas frames with FastF1's own columns and dtypes.

Made from frames in the layout of `fastf1.core.Laps` (`laps_YYYY.parquet`), so that what is put in is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import polars as pl

from f1_predict.sources.fastf1_loader import Loader

DURATIONS = ("Time", "LapTime", "PitInTime", "PitOutTime", "LapStartTime")


class NotLoadedError(Exception):
    """As FastF1's DataNotLoadedError."""


class LimitError(RuntimeError):
    """As FastF1's RateLimitExceededError."""


def pandas_of(frame: pl.DataFrame) -> pd.DataFrame:
    """A pandas frame with FastF1's dtypes: timedelta64[ns], float64 for all numbers, text as objects."""
    columns: dict[str, Any] = {}
    for name in frame.columns:
        values = frame[name]
        if isinstance(values.dtype, pl.Duration):
            nanoseconds = values.dt.total_nanoseconds().to_list()
            columns[name] = pd.to_timedelta(pd.Series(nanoseconds, dtype="float64"), unit="ns").astype(
                "timedelta64[ns]"
            )
        elif values.dtype.is_numeric():
            columns[name] = pd.Series(values.cast(pl.Float64).to_numpy(), dtype="float64")
        elif values.dtype == pl.Boolean and values.null_count() == 0:
            columns[name] = pd.Series(values.to_list(), dtype="bool")
        else:
            columns[name] = pd.Series(values.to_list(), dtype="object")
    return pd.DataFrame(columns)


@dataclass
class FakeSession:
    """A session that has what it is given; None stands for what FastF1 failed to load."""

    frames: dict[str, Any]
    loaded: dict[str, bool] = field(default_factory=dict)

    def load(self, *, laps: bool, telemetry: bool, weather: bool, messages: bool) -> None:
        self.loaded = {"laps": laps, "telemetry": telemetry, "weather": weather, "messages": messages}

    def _get(self, name: str) -> Any:
        if self.frames.get(name) is None:
            raise NotLoadedError(f"The data you are trying to access has not been loaded yet: {name}")
        return self.frames[name]

    @property
    def laps(self) -> Any:
        return self._get("laps")

    @property
    def weather_data(self) -> Any:
        return self._get("weather")

    @property
    def car_data(self) -> Any:
        return self._get("telemetry")


@dataclass
class FakeFastF1:
    """Sessions by (season, round); `failures` are raised in their place, `asked` and `uncached` are the log."""

    sessions: dict[tuple[int, int], FakeSession] = field(default_factory=dict)
    failures: dict[tuple[int, int], BaseException] = field(default_factory=dict)
    asked: list[tuple[int, int]] = field(default_factory=list)
    uncached: list[bool] = field(default_factory=list)
    _off: bool = False

    def get_session(self, season: int, round_: int, name: str) -> FakeSession:
        assert name == "R"
        self.asked.append((season, round_))
        self.uncached.append(self._off)
        if (season, round_) in self.failures:
            raise self.failures[season, round_]
        if (season, round_) not in self.sessions:
            raise ValueError(f"Failed to load any schedule data for {season} round {round_}")
        return self.sessions[season, round_]

    def loader(self, *_: object) -> Loader:
        errors = (NotLoadedError, ValueError, LimitError, OSError)
        return Loader(self.get_session, "3.9.0", errors, LimitError, self.without_cache)

    @contextmanager
    def without_cache(self) -> Iterator[None]:
        self._off = True
        try:
            yield
        finally:
            self._off = False


def sessions_of(laps: pl.DataFrame, weather: pl.DataFrame) -> dict[tuple[int, int], FakeSession]:
    """The sessions of season files (`laps_YYYY.parquet`, `weather_YYYY.parquet`)."""
    made = {}
    for (season, round_), rows in laps.group_by("Season", "RoundNumber", maintain_order=True):
        sky = weather.filter(Season=season, Round=round_).drop("Season", "Round")
        frames = {"laps": pandas_of(rows.drop("Season", "RoundNumber")), "weather": pandas_of(sky)}
        made[int(str(season)), int(str(round_))] = FakeSession(frames)
    return made
