"""Cars in each other's way, for a block of races at once: overtaking, queues, lapping. Knows no strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_predict.sources.simulator.draws import Bools, Floats, Ints

NEVER = 1e9
"""Seconds that are more than any race has: a car that does not run, a pass that cannot be made."""
_ROUNDS = 24
"""More changes of place than a car makes in a lap; a bound, so that odd numbers cannot loop for ever."""


def running_order(begin: Floats, running: Bools) -> tuple[Ints, Floats, Floats]:
    """Who begins the lap before whom, and the gaps to the neighbours. All (races, cars).

    Returns:
        order: cars by `begin`, those that do not run last.
        ahead, behind: seconds to the car ahead and to the one behind, NEVER where there is none.
    """
    key = np.where(running, begin, NEVER)
    order = np.argsort(key, axis=1, kind="stable")
    gaps = np.diff(np.take_along_axis(key, order, axis=1), axis=1)
    gaps[gaps > 0.5 * NEVER] = NEVER
    none = np.full((begin.shape[0], 1), NEVER)
    return order, scatter(order, np.hstack([none, gaps])), scatter(order, np.hstack([gaps, none]))


def scatter(order: Ints, values: Floats) -> Floats:
    """Values in the running order, put back to their cars."""
    out = np.empty_like(values)
    np.put_along_axis(out, order, values, axis=1)
    return out


def through_traffic(order: Ints, wanted: Floats, threshold: Floats, reach: Floats, gap: Floats) -> Floats:
    """When cars that want to end a lap at `wanted` do so, given who began it before whom. All (races, cars).

    Neighbours change places while the one behind would be ahead by more than its `threshold` (seconds; less `reach`
    in a first attack from close behind). A car that does not get past ends the lap `gap` behind the car ahead at best.
    A car that does not run has `wanted` of NEVER.
    """
    order = order.copy()
    time = np.take_along_axis(wanted, order, axis=1)
    needs = np.take_along_axis(threshold, order, axis=1)
    rows: NDArray[np.int64] = np.arange(order.shape[0])
    slip = reach
    for _ in range(_ROUNDS):
        part = [time[rows], needs[rows], order[rows]]
        changed = _pass(part, 0, slip[rows]) | _pass(part, 1, slip[rows])
        time[rows], needs[rows], order[rows] = part
        rows = rows[changed]
        if not rows.size:
            break
        slip = np.zeros_like(reach)
    room = np.cumsum(np.take_along_axis(gap, order, axis=1), axis=1)
    return scatter(order, np.maximum.accumulate(time - room, axis=1) + room)


def _pass(part: Sequence[NDArray[Any]], first: int, slip: Floats) -> Bools:
    """One round of attacks by every second car, in place: (rows,) where places changed."""
    time, needs, order = part
    last = order.shape[1] - (order.shape[1] - first) % 2
    ahead, behind = slice(first, last, 2), slice(first + 1, last, 2)
    passes = time[:, ahead] - time[:, behind] > np.maximum(needs[:, behind] - slip, -slip)
    if not passes.any():
        return np.zeros(order.shape[0], dtype=np.bool_)
    for values in (time, needs, order):
        front, back = values[:, ahead].copy(), values[:, behind].copy()
        values[:, ahead], values[:, behind] = np.where(passes, back, front), np.where(passes, front, back)
    return np.asarray(passes.any(axis=1))


class Lapping:
    """Counts how often each car has been lapped by which."""

    def __init__(self, races: int, cars: int) -> None:
        self.done = np.zeros((races, cars, cars), dtype=np.int8)

    def __call__(self, clock: Floats, running: Bools, lap_s: Floats, calm: Bools) -> tuple[Floats, Floats]:
        """How often each car is lapped in this lap, and how often it laps another: both (races, cars).

        Args:
            clock: (races, cars) when the cars begin the lap.
            running: (races, cars).
            lap_s: (races,) how far apart two cars are at the line when one laps the other.
            calm: (races,) nothing happens behind a safety car.
        """
        lapped, laps = np.zeros(clock.shape), np.zeros(clock.shape)
        first = np.where(running, clock, NEVER).min(axis=1)
        last = np.where(running, clock, -NEVER).max(axis=1)
        rows = np.flatnonzero(calm & (last - first > lap_s))
        if rows.size:
            at = np.where(running[rows], clock[rows] / lap_s[rows, None], np.nan).astype(np.float32)
            down = np.floor(at[:, :, None] - at[:, None, :])
            down = np.nan_to_num(np.clip(down, 0.0, 100.0)).astype(np.int8)
            new = down > self.done[rows]
            self.done[rows] = np.maximum(down, self.done[rows])
            lapped[rows], laps[rows] = new.sum(axis=2), new.sum(axis=1)
        return lapped, laps
