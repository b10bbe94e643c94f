"""What the entries of one race say by themselves: grid, qualifying and practice.

Pure functions of arrays of one race, used alike for the race to come and for past ones. They know
nothing of results, laps or other races. Unknown is NaN throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Mates = npt.NDArray[np.bool_]

QUALIFYING_COLUMNS = ("q1_s", "q2_s", "q3_s")
PRACTICE_COLUMNS = ("fp1_s", "fp2_s", "fp3_s", "fp4_s")


@dataclass(frozen=True, slots=True)
class Field:
    """The entries of one race as arrays of n rows, in the order of the table.

    Attributes:
        driver_ids: n names.
        constructor_ids: n names.
        grid: (n,) float64 grid slots, 0 = pit lane.
        grid_penalty: (n,) float64, NaN = not recorded.
        qualifying_position: (n,) float64, NaN = unknown.
        qualifying: (n, 3) float64 times of q1 to q3 in seconds, NaN = no time.
        practice: (n, 4) float64 times of fp1 to fp4 in seconds, NaN = no time.
    """

    driver_ids: Sequence[str]
    constructor_ids: Sequence[str]
    grid: Floats
    grid_penalty: Floats
    qualifying_position: Floats
    qualifying: Floats
    practice: Floats

    @classmethod
    def of(cls, entries: pl.DataFrame) -> Field:
        """The arrays of a frame with the columns of `entries`, of one race or of many."""

        def numbers(name: str) -> Floats:
            return entries[name].cast(pl.Float64).to_numpy()

        return cls(
            driver_ids=entries["driver_id"].to_list(),
            constructor_ids=entries["constructor_id"].to_list(),
            grid=numbers("grid"),
            grid_penalty=numbers("grid_penalty"),
            qualifying_position=numbers("qualifying_position"),
            qualifying=np.column_stack([numbers(name) for name in QUALIFYING_COLUMNS]),
            practice=np.column_stack([numbers(name) for name in PRACTICE_COLUMNS]),
        )

    def rows(self, start: int, end: int) -> Field:
        """The rows from `start` up to `end`, without copying the numbers."""
        part = slice(start, end)
        return Field(
            self.driver_ids[part],
            self.constructor_ids[part],
            self.grid[part],
            self.grid_penalty[part],
            self.qualifying_position[part],
            self.qualifying[part],
            self.practice[part],
        )

    def __len__(self) -> int:
        return len(self.driver_ids)


def teammates(constructor_ids: Sequence[str]) -> Mates:
    """(n, n) bool: entry [i, j] tells whether j is another car of i's constructor."""
    codes: dict[str, int] = {}
    team = np.array([codes.setdefault(name, len(codes)) for name in constructor_ids])
    same: Mates = team[:, None] == team[None, :]
    np.fill_diagonal(same, False)
    return same


def less_teammates(values: Floats, mates: Mates) -> Floats:
    """(n,) values less the teammates' mean; NaN without a teammate. `values` has no NaN."""
    number = mates.sum(axis=1)
    mean = np.where(mates, values[None, :], 0.0).sum(axis=1) / np.maximum(number, 1)
    return np.where(number > 0, values - mean, np.nan)


def grid_rank(grid: Floats) -> Floats:
    """Effective starting order 1..n: by slot, pit lane (0) last, equal slots in row order."""
    order = np.argsort(np.where(grid == 0, np.inf, grid), kind="stable")
    rank = np.empty(len(grid))
    rank[order] = np.arange(1, len(grid) + 1)
    return rank


def field_rank(values: Floats) -> Floats:
    """Ranks among the known values of each row (..., n), 1 = smallest; NaN stays NaN.

    Equal values share their mean rank. Values are compared at nine decimals, so that sums of the same terms in another
    order are equal.
    """
    values = np.round(values, 9)
    smaller = (values[..., None, :] < values[..., :, None]).sum(axis=-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    return np.where(np.isnan(values), np.nan, smaller + (equal + 1.0) / 2.0)


def relative(rank: Floats) -> Floats:
    """Ranks 1..n as shares of the field: 0 = first, 1 = last; 0 in a field of one."""
    return (rank - 1.0) / max(len(rank) - 1, 1)


def smallest(values: Floats) -> Floats:
    """Minimum along the last axis without NaN; NaN where there is nothing else."""
    least = np.where(np.isnan(values), np.inf, values).min(axis=-1)
    return np.where(np.isinf(least), np.nan, least)


def gap_pct(times: Floats) -> Floats:
    """Gap to the smallest time of the field in percent of it."""
    return (times / smallest(times) - 1.0) * 100.0


def latest_session_gap_pct(sessions: Floats) -> Floats:
    """Gap in percent to the best time of the last session in which the driver set one."""
    gaps = (sessions / smallest(sessions.T) - 1.0) * 100.0
    result = np.full(len(sessions), np.nan)
    for column in gaps.T:
        result = np.where(np.isnan(column), result, column)
    return result


def teammate_gap_pct(sessions: Floats, mates: Mates) -> Floats:
    """Gap in percent to the best teammate in the last session in which both set a time."""
    result = np.full(len(sessions), np.nan)
    for times in sessions.T:
        gaps = (times / smallest(np.where(mates, times[None, :], np.nan)) - 1.0) * 100.0
        result = np.where(np.isnan(gaps), result, gaps)
    return result


def fullest_session_gap_pct(sessions: Floats) -> Floats:
    """Gap in percent in the session in which most drivers set a time, the later one of equals."""
    timed = (~np.isnan(sessions)).sum(axis=0)
    fullest = len(timed) - 1 - int(np.argmax(timed[::-1]))
    return gap_pct(sessions[:, fullest])
