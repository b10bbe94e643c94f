"""Race pace of past races: how a driver lapped against the field, lap by lap.

Race-local: the pace of one race depends on that race's laps alone. Knows nothing of results.
"""

from __future__ import annotations

import polars as pl

MIN_DRIVERS = 3
"""A lap counts if at least so many drivers have a usable time on it."""
MIN_LAPS = 5
"""A driver has a pace in a race if at least so many of his laps count."""


def race_pace(laps: pl.DataFrame) -> pl.DataFrame:
    """Median over a driver's laps of lap time / median lap time of the field on the same lap.

    Usable laps are those not flagged implausible and not known to begin or end in the pit lane.
    1.0 is the field's pace, 0.99 is one percent faster.

    Args:
        laps: rows of `laps`, of any number of races.

    Returns:
        race_id, driver_id, pace (Float64), one row per race and driver with a pace, in no order.
    """
    pits = pl.col("pit_in").fill_null(False) | pl.col("pit_out").fill_null(False)
    usable = laps.lazy().filter(~pl.col("implausible"), ~pits)
    field = usable.group_by("race_id", "lap").agg(field_s=pl.col("lap_time_s").median(), drivers=pl.len())
    return (
        usable.join(field.filter(pl.col("drivers") >= MIN_DRIVERS), on=["race_id", "lap"])
        .group_by("race_id", "driver_id")
        .agg(pace=(pl.col("lap_time_s") / pl.col("field_s")).median(), laps=pl.len())
        .filter(pl.col("laps") >= MIN_LAPS)
        .select("race_id", "driver_id", "pace")
        .collect()
    )
