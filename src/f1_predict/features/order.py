"""Places on the grid and on the road: the order of a field at the start and at the cut.

Pure functions of a Snapshot's entries and laps. Knows nothing of results.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.horizon import Snapshot

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

STOPPED_AFTER_LAPS = 2
"""A car that has not crossed the line for this many laps of the leader counts as stopped."""


def start_order(snapshot: Snapshot) -> IntArray:
    """Places on the grid without gaps, 1..n, in the order of `entries`: int64 (n,).

    Starts from the pit lane (grid 0) come last; equal slots keep the order of qualifying, then of entries.
    """
    order = snapshot.entries.with_row_index("row").sort(
        pl.col("grid") == 0, "grid", "qualifying_position", "row", nulls_last=True
    )
    return _places(order["row"].to_numpy())


def current_order(snapshot: Snapshot) -> IntArray:
    """Running order at the cut, 1..n, in the order of `entries`: int64 (n,), from laps up to the cut only.

    First the cars still going, by laps completed (more first), then by running position at the end of
    that lap, then by when it ended. Then the stopped ones, in the same order: those that have crossed
    the line at no time since the leader was two laps short of the cut. Last those without a lap. Before
    anyone but the leader can have ended a lap (the cut after lap 1), nobody has stopped. Cars that none
    of this tells apart keep the order of the start.
    """
    return running_order(snapshot)[0]


def running_order(snapshot: Snapshot) -> tuple[IntArray, BoolArray]:
    """`current_order`, and whether each car counts as stopped: int64 (n,), bool (n,)."""
    start = pl.DataFrame({"driver_id": snapshot.driver_ids, "start": start_order(snapshot)})
    last = (
        snapshot.laps.sort("driver_id", "lap").group_by("driver_id").agg(pl.col("lap", "position", "end_time_s").last())
    )
    field = start.with_row_index("row").join(last, on="driver_id", how="left", maintain_order="left")
    two_laps_ago = snapshot.laps.filter(pl.col("lap") == snapshot.cutoff_lap - STOPPED_AFTER_LAPS)["end_time_s"].min()
    # Early in the race two_laps_ago is null, and so is the comparison: nobody counts as stopped.
    crossed_since = pl.col("end_time_s") >= pl.lit(two_laps_ago, dtype=pl.Float64)
    field = field.with_columns(stopped=crossed_since.not_().fill_null(two_laps_ago is not None))
    order = field.sort(
        "stopped",
        pl.col("lap").is_null(),
        pl.col("lap").neg(),
        "position",
        "end_time_s",
        "start",
        nulls_last=True,
    )
    return _places(order["row"].to_numpy()), field["stopped"].to_numpy()


def _places(rows_in_order: npt.NDArray[np.uint32]) -> IntArray:
    places = np.empty(len(rows_in_order), dtype=np.int64)
    places[rows_in_order] = np.arange(1, len(rows_in_order) + 1)
    return places
