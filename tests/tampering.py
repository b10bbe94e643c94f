"""Change everything that is not yet known at a cut, so that whatever depends on it shows."""

from __future__ import annotations

import numpy as np
import polars as pl

from f1_predict.horizon import RaceArchive, Snapshot
from f1_predict.schemas import Tables


def tamper(tables: Tables, snapshot: Snapshot, seed: int) -> Tables:
    """Alter laps and weather after the cut, the race's result, and every later race."""
    rng = np.random.default_rng(seed)
    archive = RaceArchive(tables)
    later = archive.race_ids[archive.race_ids.index(snapshot.race_id) + 1 :]
    here, cut = pl.col("race_id") == snapshot.race_id, snapshot.cut_time_s
    later_rows = pl.col("race_id").is_in(later)
    unknown_lap = (here & (pl.col("end_time_s") > cut)) | later_rows

    laps = tables.laps.with_columns(_noise=pl.Series(rng.uniform(1.05, 3.0, tables.laps.height)))
    laps = laps.filter(~unknown_lap | (pl.col("_noise") < 2.6))
    late = here & (pl.col("end_time_s") > cut)
    laps = laps.with_columns(
        lap_time_s=pl.when(late | later_rows)
        .then((pl.col("lap_time_s") * pl.col("_noise")).clip(1.0, 9000.0))
        .otherwise("lap_time_s"),
        end_time_s=pl.when(late).then(pl.col("end_time_s") * pl.col("_noise")).otherwise("end_time_s"),
        position=pl.when(late).then(1 + pl.col("position") % 7).otherwise("position"),
        speed_kmh=pl.when(late).then(pl.col("speed_kmh") / pl.col("_noise")).otherwise("speed_kmh"),
        compound=pl.when(late).then(pl.lit("WET")).otherwise("compound"),
        tyre_life=pl.when(late).then(pl.lit(77, pl.Int32)).otherwise("tyre_life"),
        pit_in=pl.when(late).then(~pl.col("pit_in").fill_null(False)).otherwise("pit_in"),
        pit_out=pl.when(late).then(~pl.col("pit_out").fill_null(False)).otherwise("pit_out"),
        track_status=pl.when(late).then(pl.lit("45")).otherwise("track_status"),
        speed_trap_kmh=pl.when(late).then(pl.lit(99.0)).otherwise("speed_trap_kmh"),
        implausible=pl.when(late).then(~pl.col("implausible")).otherwise("implausible"),
    ).drop("_noise")

    results = tables.results.filter(~later_rows)
    field = results.filter(here).height
    mine = results.filter(here).with_columns(
        position=pl.Series(rng.permutation(field) + 1, dtype=pl.Int32),
        classified=~pl.col("classified"),
        laps_completed=pl.lit(3, pl.Int32),
        status=pl.lit("Altered"),
    )
    results = pl.concat([results.filter(~here), mine])

    entries = tables.entries.with_columns(
        grid=pl.when(later_rows).then(1 + (pl.col("grid") + 5) % 20).otherwise("grid"),
        q1_s=pl.when(later_rows).then(77.7).otherwise("q1_s"),
    )
    weather = tables.weather.with_columns(
        rainfall=pl.when((here & (pl.col("time_s") > cut)) | later_rows)
        .then(~pl.col("rainfall"))
        .otherwise("rainfall"),
        track_temp_c=pl.when((here & (pl.col("time_s") > cut)) | later_rows).then(-5.0).otherwise("track_temp_c"),
    )
    return Tables(tables.races, entries, results, laps, weather).sort().validate()
