"""A race's laps and weather up to a cut as arrays, which is what features are computed from.

Frames are slow to take one column after the other from, thousands of times. Knows nothing of what follows from the
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.schemas import COMPOUNDS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CAUTION_STATUS = "[4567]"
"""FastF1's codes for a safety car, a red flag and a virtual safety car (deployed, ending)."""


@dataclass(frozen=True)
class LapMatrices:
    """Laps of n drivers, in the order of the entries, on laps 1..K (1 if there is none): float64 (n, K).

    NaN = no such lap, or not recorded.

    Attributes:
        lap_time_s, end_time_s, position, tyre_life: as in `laps`.
        implausible, pit_in, pit_out: 1.0 or 0.0.
        caution: 1.0 if the track's status tells of a safety car or red flag during the lap, else 0.0.
        compound: 1 + the place in schemas.COMPOUNDS.
    """

    lap_time_s: Floats
    end_time_s: Floats
    position: Floats
    tyre_life: Floats
    implausible: Floats
    pit_in: Floats
    pit_out: Floats
    caution: Floats
    compound: Floats

    @classmethod
    def of(cls, driver_ids: Sequence[str], laps: pl.DataFrame) -> LapMatrices:
        """The matrices of rows of `laps` of one race with these starters; laps of other drivers are left out."""
        code = laps["driver_id"].cast(pl.Enum(list(driver_ids)), strict=False).to_physical()
        row = code.cast(pl.Int64).fill_null(-1).to_numpy()
        entered = row >= 0
        row, lap = row[entered], laps["lap"].to_numpy().astype(np.int64)[entered]
        shape = (len(driver_ids), int(lap.max(initial=1)))

        def matrix(column: pl.Series) -> Floats:
            out = np.full(shape, np.nan)
            if column.null_count() < len(column):
                out[row, lap - 1] = column.cast(pl.Float64).to_numpy()[entered]
            return out

        return cls(
            lap_time_s=matrix(laps["lap_time_s"]),
            end_time_s=matrix(laps["end_time_s"]),
            position=matrix(laps["position"]),
            tyre_life=matrix(laps["tyre_life"]),
            implausible=matrix(laps["implausible"]),
            pit_in=matrix(laps["pit_in"]),
            pit_out=matrix(laps["pit_out"]),
            caution=matrix(laps["track_status"].str.contains(CAUTION_STATUS)),
            compound=matrix(laps["compound"].cast(pl.Enum(COMPOUNDS)).to_physical()) + 1.0,
        )

    def until(self, time_s: float) -> LapMatrices:
        """The laps that ended at a time or before."""
        known = self.end_time_s <= time_s
        laps = int(np.flatnonzero(known.any(axis=0)).max(initial=0)) + 1
        matrices = np.stack([getattr(self, field.name)[:, :laps] for field in fields(self)])
        return LapMatrices(*np.where(known[:, :laps], matrices, np.nan))

    @cached_property
    def completed(self) -> Integers:
        """Number of each driver's last lap, 0 = none: int64 (n,)."""
        laps = np.arange(1, self.end_time_s.shape[1] + 1)
        return np.asarray(np.where(np.isnan(self.end_time_s), 0, laps).max(axis=1))


def at_lap(values: Floats, lap: Integers) -> Floats:
    """values[i, lap i] of a (n, K) matrix for laps 1..K; NaN for laps outside: float64 (n,)."""
    inside = (lap >= 1) & (lap <= values.shape[1])
    picked = values[np.arange(len(values)), np.where(inside, lap, 1) - 1]
    return np.where(inside, picked, np.nan)


@dataclass(frozen=True)
class WeatherColumns:
    """m samples of the weather in the order of time, float64 (m,), NaN = not recorded.

    Attributes:
        time_s, air_temp_c, track_temp_c: as in `weather`.
        rainfall: 1.0 or 0.0.
    """

    time_s: Floats
    air_temp_c: Floats
    track_temp_c: Floats
    rainfall: Floats

    @classmethod
    def of(cls, weather: pl.DataFrame) -> WeatherColumns:
        """The columns of rows of `weather` of one race."""
        names = ("time_s", "air_temp_c", "track_temp_c", "rainfall")
        if weather.is_empty():
            return cls(*(np.empty(0) for _ in names))
        order = np.argsort(weather["time_s"].to_numpy(), kind="stable")
        return cls(*(weather[name].cast(pl.Float64).to_numpy()[order] for name in names))
