"""Places on the grid and on the road: the order of a field at the start and at the cut.

Pure functions of a Snapshot's entries and laps. Knows nothing of results.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from f1_predict.horizon import Snapshot, at_lap

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

STOPPED_AFTER_LAPS = 2
"""A car that has not crossed the line for this many laps of the leader counts as stopped."""
UNPLACED = 10**6
"""Stands for no qualifying position: behind every one."""


def start_order(snapshot: Snapshot) -> IntArray:
    """Places on the grid without gaps, 1..n, in the order of `entries`: int64 (n,).

    Starts from the pit lane (grid 0) come last; equal slots keep the order of qualifying, then of entries.
    """
    entries = snapshot.entries
    grid = entries["grid"].to_numpy()
    qualifying = entries["qualifying_position"].fill_null(UNPLACED).to_numpy()
    return _places(np.lexsort((np.arange(len(grid)), qualifying, grid, grid == 0)))


def current_order(snapshot: Snapshot) -> IntArray:
    """Running order at the cut, 1..n, in the order of `entries`: int64 (n,), from laps up to the cut only.

    First the cars still going, by laps completed (more first), then by running position at the end of
    that lap, then by when it ended. Then the stopped ones, in the same order: those that have crossed
    the line at no time since the leader was two laps short of the cut. Last those without a lap. Before
    anyone but the leader can have ended a lap (the cut after lap 1), nobody has stopped. Cars that none
    of this tells apart keep the order of the start.
    """
    return running_order(snapshot)[0]


def running_order(snapshot: Snapshot, start: IntArray | None = None) -> tuple[IntArray, BoolArray]:
    """`current_order`, and whether each car counts as stopped: int64 (n,), bool (n,).

    `start` is the `start_order`, for those who have it; None: found here.
    """
    start = start_order(snapshot) if start is None else start
    laps, n = snapshot.lap_matrices, snapshot.entries.height
    completed = laps.completed
    position = np.where(completed > 0, at_lap(laps.position, completed), 0.0)
    crossed = np.where(completed > 0, at_lap(laps.end_time_s, completed), -np.inf)
    two_laps_ago = at_lap(laps.end_time_s, np.full(n, snapshot.cutoff_lap - STOPPED_AFTER_LAPS))
    two_laps_ago = two_laps_ago[~np.isnan(two_laps_ago)]
    # Early in the race nobody has ended such a lap, and nobody counts as stopped.
    stopped = crossed < two_laps_ago.min() if len(two_laps_ago) else np.zeros(n, dtype=np.bool_)
    order = np.lexsort((start, crossed, position, -completed, stopped))
    return _places(order), stopped


def _places(rows_in_order: npt.NDArray[np.int64]) -> IntArray:
    places = np.empty(len(rows_in_order), dtype=np.int64)
    places[rows_in_order] = np.arange(1, len(rows_in_order) + 1)
    return places
