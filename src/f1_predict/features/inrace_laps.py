"""The laps of one race up to a cut as matrices driver x lap, and what follows from them lap by lap.

Race-local: which laps are slow for the whole field, which begin or end in the pit lane, which are clean. Knows
nothing of results or of other races.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from f1_predict.features.sessions import Floats
from f1_predict.horizon import Snapshot

Bools = npt.NDArray[np.bool_]

MIN_DRIVERS = 3
"""A lap has a field's time if at least so many drivers have a usable time on it."""
CAUTION_RATIO = 1.2
CAUTION_REACH = 8
"""Without recorded status, a lap on which the field is this much slower than on the fastest one of the laps up to
CAUTION_REACH before and after it (and before the cut) counts as under caution. Comparing with near laps only keeps
a drying track from looking like one long safety car."""
CAUTION_STOP_LOSS = 0.2
STOP_LOSS = 0.09
"""Without recorded stops, a lap slower than the driver's usual pace against the field by this share of a lap
counts as the out-lap of one. A stop costs 20 % of a lap or more, the larger part behind the line."""
CLEAN_LOSS = 0.06
"""A lap slower than that by this share is no clean lap: a mistake, damage, blue flags or a stop not seen."""


@dataclass(frozen=True, slots=True)
class LapGrid:
    """Laps of n drivers, in the order of the entries, on K laps (1 if there is none); NaN = no such lap.

    Attributes:
        completed: (n,) int64 number of the last lap.
        times, ends, position: (n, K) seconds of the lap, seconds since the start at its end, running position there.
        typical: (K,) the field's median lap time, NaN with fewer than MIN_DRIVERS usable times.
        ratio: (n, K) usable lap time / typical.
        caution: (K,) bool, under a safety car or red flag.
        pit_in: (n, K) bool, ended in the pit lane: recorded, else inferred from the time lost.
        clean: (n, K) bool, usable laps that show pace: no first lap, no stop, no caution, not much slower than usual.
        usual: (n,) the driver's median ratio.
        compound, tyre_life: (n, K) code 1..9 as schemas.COMPOUNDS, laps on the set; NaN = unknown.
    """

    completed: npt.NDArray[np.int64]
    times: Floats
    ends: Floats
    position: Floats
    typical: Floats
    ratio: Floats
    caution: Bools
    pit_in: Bools
    clean: Bools
    usual: Floats
    compound: Floats
    tyre_life: Floats

    @classmethod
    def of(cls, snapshot: Snapshot) -> LapGrid:
        """The laps that a Snapshot holds; those of drivers without an entry are left out."""
        laps = snapshot.lap_matrices
        times = laps.lap_time_s
        flagged = laps.implausible == 1.0
        usable = np.where(flagged, np.nan, times)
        by_lap, driven = median(usable.T), ~np.isnan(times)
        typical = np.where((~np.isnan(usable)).sum(axis=0) >= MIN_DRIVERS, by_lap, np.nan)
        red = flagged.sum(axis=0) * 2 > driven.sum(axis=0)
        recorded = None if np.isnan(laps.caution).all() else mean(laps.caution.T)
        # The leader alone has ended the last lap before the cut; that he was slow on it tells of a safety car already.
        caution = red | _cautions(by_lap, recorded)
        ratio = usable / typical
        usual = median(np.where(caution, np.nan, ratio))
        loss = ratio - usual[:, None]
        pit_in, pit_lap = _stops(loss, caution, driven, laps.pit_in, laps.pit_out)
        clean = ~np.isnan(ratio) & (loss < CLEAN_LOSS) & ~pit_lap & ~caution
        clean[:, 0] = False
        return cls(
            completed=laps.completed,
            times=times,
            ends=laps.end_time_s,
            position=laps.position,
            typical=typical,
            ratio=ratio,
            caution=caution,
            pit_in=pit_in,
            clean=clean,
            usual=usual,
            compound=laps.compound,
            tyre_life=laps.tyre_life,
        )


def _cautions(typical: Floats, recorded: Floats | None) -> Bools:
    """(K,) bool: more than half of the cars say so where status is recorded, else laps slow for all."""
    padded = np.pad(np.where(np.isnan(typical), np.inf, typical), CAUTION_REACH, constant_values=np.inf)
    fastest = np.lib.stride_tricks.sliding_window_view(padded, 2 * CAUTION_REACH + 1).min(axis=1)
    slow = typical > CAUTION_RATIO * fastest
    return slow if recorded is None else np.where(np.isnan(recorded), slow, recorded > 0.5)


def _stops(loss: Floats, caution: Bools, driven: Bools, pit_in: Floats, pit_out: Floats) -> tuple[Bools, Bools]:
    """(n, K) bool: laps that end in the pit lane, and laps that begin or end there."""
    slow = loss > np.where(caution, CAUTION_STOP_LOSS, STOP_LOSS)
    slow[:, :2] = False  # the start and its accidents
    first_slow = slow.copy()
    first_slow[:, 1:] &= ~slow[:, :-1]
    inferred = np.zeros_like(slow)
    # Two slow laps in a row are an in-lap and an out-lap; of a single one the line lies before the pit box.
    inferred[:, :-1] = first_slow[:, 1:] | (first_slow[:, :-1] & slow[:, 1:])
    inferred[:, :-2] &= ~(first_slow[:, 1:-1] & slow[:, 2:])
    stops = np.where(np.isnan(pit_in), inferred & driven, pit_in == 1.0)
    out = np.zeros_like(slow)
    out[:, 1:] = stops[:, :-1]
    return stops, stops | out | (pit_out == 1.0)


def mean(values: Floats) -> Floats:
    """Mean of the known values of each row: (n,); NaN where there is none."""
    known = ~np.isnan(values)
    number = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def spread(values: Floats, centre: Floats) -> Floats:
    """Standard deviation of the known values of each row from their mean: (n,); NaN with fewer than three."""
    squares = mean((values - centre[..., None]) ** 2)
    return np.where((~np.isnan(values)).sum(axis=-1) >= 3, np.sqrt(squares), np.nan)


def median(values: Floats) -> Floats:
    """Median of the known values of each row: (n,); NaN where there is none."""
    ordered = np.sort(values, axis=-1)  # NaN last
    number = (~np.isnan(values)).sum(axis=-1)
    low, high = np.maximum(number - 1, 0) // 2, np.minimum(number // 2, values.shape[-1] - 1)
    rows = np.arange(len(values))
    return np.asarray((ordered[rows, low] + ordered[rows, high]) / 2.0, dtype=np.float64)


def last_known(values: Floats) -> Floats:
    """The last known value of each row: (n,); NaN where there is none."""
    known = ~np.isnan(values)
    at = values.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.asarray(values[np.arange(len(values)), at], dtype=np.float64)


def from_the_end(mask: Bools) -> npt.NDArray[np.int64]:
    """Of each row of a (n, K) mask, how many entries from this one on are true."""
    return np.asarray(np.cumsum(mask[:, ::-1], axis=1)[:, ::-1])


def middle(values: Floats) -> float:
    """Median of one or more known values."""
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0)
