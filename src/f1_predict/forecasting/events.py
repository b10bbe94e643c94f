"""What happened in a race, to be marked beside its forecasts: stops, retirements, safety cars, red flags.

Read from all laps that there are, so with hindsight: for people who look back. No forecast sees it.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from f1_predict.errors import HorizonError
from f1_predict.features.inrace_laps import LapGrid
from f1_predict.features.order import running_order
from f1_predict.horizon import AfterLap, RaceArchive, Snapshot

STOP, RETIRED = "stop", "retired"
CAUTIONS = {
    "red_flag": "red flag",
    "safety_car": "safety car",
    "virtual_safety_car": "virtual safety car",
    "slow_field": "slow field",
}
"""Kinds of laps that were no racing, and what people call them; `slow_field` where nobody recorded why."""
_CODES = {"red_flag": "5", "safety_car": "4", "virtual_safety_car": "[67]"}
"""FastF1's track status."""

COLUMNS = {
    "race_id": pl.String(),
    "kind": pl.String(),
    "lap": pl.Int32(),
    "until": pl.Int32(),
    "driver_id": pl.String(),
    "recorded": pl.Boolean(),
}


def race_events(archive: RaceArchive, race_id: str) -> pl.DataFrame:
    """What happened in a race so far, on the laps of its leader.

    Returns:
        race_id; kind ("stop", "retired" or one of CAUTIONS); lap: the first lap of the leader after which it is
        known to have happened, or on which it began; until: its last lap (Int32, the same for stops and
        retirements); driver_id (null for cautions); recorded: False where it was inferred from lap times. In the
        order of laps.

    Raises:
        NotFoundError: if there is no such race.
        HorizonError: if it has no laps.
    """
    completed = archive.laps_completed(race_id)
    if completed == 0:
        raise HorizonError(f"{race_id} has no laps in the store: nothing has happened yet.")
    snapshot = archive.snapshot(race_id, AfterLap(completed))
    grid = LapGrid.of(snapshot)
    rows = [*_cautions(snapshot, grid), *_of_drivers(snapshot, grid)]
    found = pl.DataFrame([(race_id, *row) for row in rows], schema=COLUMNS, orient="row")
    return found.sort("lap", "kind", "driver_id")


_Row = tuple[str, int, int, str | None, bool]


def _of_drivers(snapshot: Snapshot, grid: LapGrid) -> list[_Row]:
    """Stops and retirements. A car that drove to its box and stayed there has retired, and made no stop."""
    cuts = np.nanmin(np.where(np.isnan(grid.ends), np.inf, grid.ends), axis=0)
    recorded = dict(
        snapshot.laps.group_by("driver_id").agg(pl.col("pit_in").is_not_null().any()).iter_rows()
    )  # where one lap of a driver is recorded, all are
    _, stopped = running_order(snapshot)
    rows: list[_Row] = []
    for number, driver in enumerate(snapshot.driver_ids):
        known = recorded.get(driver, True)
        for lap in np.flatnonzero(grid.pit_in[number]) + 1:
            if stopped[number] and lap == grid.completed[number]:
                continue
            shown = _lap_after(cuts, float(grid.ends[number, lap - 1]))
            rows.append((STOP, shown, shown, driver, known))
        if stopped[number]:
            last = grid.completed[number]
            shown = _lap_after(cuts, float(grid.ends[number, last - 1])) if last else 1
            rows.append((RETIRED, shown, shown, driver, True))
    return rows


def _lap_after(cuts: np.ndarray, time_s: float) -> int:
    """The lap that the leader ends at a moment, or first after it; the last one at most."""
    return min(int(np.searchsorted(cuts, time_s)), len(cuts) - 1) + 1


def _cautions(snapshot: Snapshot, grid: LapGrid) -> list[_Row]:
    """Laps under caution, neighbours of one kind as one row."""
    status = snapshot.laps.group_by("lap").agg(
        **{kind: pl.col("track_status").str.contains(code).mean() for kind, code in _CODES.items()}
    )
    shares = {row["lap"]: row for row in status.iter_rows(named=True)}
    rows: list[_Row] = []
    for lap in (np.flatnonzero(grid.caution) + 1).tolist():
        share = {kind: shares[lap][kind] for kind in _CODES}
        recorded = all(value is not None for value in share.values()) and any(share.values())
        kind = max(share, key=lambda name: share[name]) if recorded else "slow_field"
        if rows and rows[-1][0] == kind and rows[-1][2] == lap - 1:
            rows[-1] = (kind, rows[-1][1], lap, None, recorded)
        else:
            rows.append((kind, lap, lap, None, recorded))
    return rows
