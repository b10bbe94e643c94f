"""From a Snapshot, or from many cuts of an archive, to feature tables.

Both ways share one computation: the History before the race, extended race by race, then a pure
function of that state and the Snapshot. Labels are never touched here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from f1_predict.config import FeatureConfig
from f1_predict.features.before import Columns, before_start, learn
from f1_predict.features.catalogue import FEATURE_NAMES
from f1_predict.features.conditions import at_cut
from f1_predict.features.history import History
from f1_predict.features.records import race_records
from f1_predict.features.sessions import Field, Floats
from f1_predict.horizon import Horizon, RaceArchive, Snapshot

DEFAULTS = FeatureConfig()


def build(snapshot: Snapshot, config: FeatureConfig = DEFAULTS) -> pl.DataFrame:
    """The features of all starters of one race at one cut.

    Returns:
        race_id, driver_id and FEATURE_NAMES (Float64, null = unknown, else finite); one row per row
        of `snapshot.entries`, in that order.
    """
    history = History(config)
    for record in race_records(snapshot.past):
        learn(history, record)
    keys = {"race_id": [snapshot.race_id] * snapshot.entries.height, "driver_id": snapshot.driver_ids}
    return _table(keys, _values(snapshot, _before(history, snapshot), config))


def build_many(
    archive: RaceArchive, cuts: Sequence[tuple[str, Horizon]], config: FeatureConfig = DEFAULTS
) -> pl.DataFrame:
    """The features of many cuts in one pass through the archive.

    Args:
        archive: the races, later ones and results included; each row sees only what its cut allows.
        cuts: (race_id, horizon) pairs, in any order, repeats allowed.
        config: settings.

    Returns:
        As `build`, with a column `horizon` (Horizon.name) after driver_id; the rows of each cut
        together, in the order of `cuts`, equal to those of `build` bit for bit.

    Raises:
        NotFoundError: if a race is not in the archive.
        HorizonError: if a race does not reach a cut.
    """
    wanted: dict[str, list[int]] = {}
    for index, (race_id, _) in enumerate(cuts):
        archive.rows("races", race_id)  # an unknown race is an error, not a missing row
        wanted.setdefault(race_id, []).append(index)
    drivers: list[list[str]] = [[] for _ in cuts]
    blocks = [np.empty((0, len(FEATURE_NAMES))) for _ in cuts]
    history = History(config)
    for record in race_records(archive.tables):
        before: Columns | None = None
        for index in wanted.get(record.race_id, ()):
            snapshot = archive.snapshot(*cuts[index])
            before = _before(history, snapshot) if before is None else before
            drivers[index], blocks[index] = snapshot.driver_ids, _values(snapshot, before, config)
        learn(history, record)
    counts = [len(names) for names in drivers]
    keys = {
        "race_id": [race_id for (race_id, _), n in zip(cuts, counts, strict=True) for _ in range(n)],
        "driver_id": [name for names in drivers for name in names],
        "horizon": [horizon.name for (_, horizon), n in zip(cuts, counts, strict=True) for _ in range(n)],
    }
    return _table(keys, np.concatenate([np.empty((0, len(FEATURE_NAMES))), *blocks]))


def _before(history: History, snapshot: Snapshot) -> Columns:
    return before_start(history, snapshot.race, Field.of(snapshot.entries))


def _values(snapshot: Snapshot, before: Columns, config: FeatureConfig) -> Floats:
    """(n, len(FEATURE_NAMES)) float64, NaN = unknown."""
    if not before:
        return np.empty((0, len(FEATURE_NAMES)))
    columns = {**before, **at_cut(snapshot.driver_ids, snapshot.laps, snapshot.weather, config.rain_window_s)}
    columns["race_share"] = np.full(snapshot.entries.height, snapshot.cutoff_lap / snapshot.race.scheduled_laps)
    return np.column_stack([columns[name] for name in FEATURE_NAMES])


def _table(keys: dict[str, list[str]], values: Floats) -> pl.DataFrame:
    names = pl.DataFrame(keys, schema=dict.fromkeys(keys, pl.String))
    numbers = pl.from_numpy(values, schema=dict.fromkeys(FEATURE_NAMES, pl.Float64), orient="row")
    return names.hstack(numbers.fill_nan(None))
