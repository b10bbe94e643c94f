"""From a Snapshot, or from many cuts of an archive, to feature tables.

Both ways share one computation: the History before the race, extended race by race, then a pure
function of that state and the Snapshot. Labels are never touched here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from f1_predict.config import FeatureConfig
from f1_predict.errors import FeatureError
from f1_predict.features.before import before_start, learn
from f1_predict.features.catalogue import FEATURE_NAMES
from f1_predict.features.conditions import at_cut
from f1_predict.features.history import History
from f1_predict.features.records import race_records
from f1_predict.features.sessions import Field, Floats
from f1_predict.horizon import Horizon, PreRace, RaceArchive, Snapshot

DEFAULTS = FeatureConfig()
_COLUMNS = {name: column for column, name in enumerate(FEATURE_NAMES)}


@dataclass(frozen=True)
class RaceFeatures:
    """The features of one race at any of its cuts: what earlier races say is computed once, and is most of the work.

    Attributes:
        race_id: of the race.
        before: (n, len(FEATURE_NAMES)) float64, the features known before the start; NaN = unknown, or for the cut to
            tell.
        config: settings.
    """

    race_id: str
    before: Floats
    config: FeatureConfig

    @classmethod
    def of(cls, snapshot: Snapshot, config: FeatureConfig = DEFAULTS) -> RaceFeatures:
        """From a Snapshot of the race at any cut: nothing but its calendar row, entries and past is read."""
        history = History(config)
        for record in race_records(snapshot.past):
            learn(history, record)
        return cls(snapshot.race_id, _before(history, snapshot), config)

    def values(self, snapshot: Snapshot) -> Floats:
        """(n, len(FEATURE_NAMES)) float64, NaN = unknown, in the order of the entries.

        Raises:
            FeatureError: if the Snapshot is of another race.
        """
        if snapshot.race_id != self.race_id:
            raise FeatureError(
                f"the features of {self.race_id} need Snapshots of that race, got one of {snapshot.race_id}. "
                "Make RaceFeatures of each race."
            )
        return _values(snapshot, self.before, self.config)


def features_of_races(archive: RaceArchive, config: FeatureConfig = DEFAULTS) -> dict[str, RaceFeatures]:
    """RaceFeatures of every race by race_id, in one pass through the archive.

    Each is that of `RaceFeatures.of` bit for bit: a race is learnt from only after its own were made.
    """
    return {
        race_id: RaceFeatures(race_id, _before(history, archive.snapshot(race_id, PreRace())), config)
        for race_id, history in _before_each(archive, config)
    }


def build(snapshot: Snapshot, config: FeatureConfig = DEFAULTS) -> pl.DataFrame:
    """The features of all starters of one race at one cut.

    Returns:
        race_id, driver_id and FEATURE_NAMES (Float64, null = unknown, else finite); one row per row
        of `snapshot.entries`, in that order.
    """
    keys = {"race_id": [snapshot.race_id] * snapshot.entries.height, "driver_id": snapshot.driver_ids}
    return _table(keys, RaceFeatures.of(snapshot, config).values(snapshot))


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
    drivers: list[list[str]] = [[] for _ in cuts]
    blocks = [np.empty((0, len(FEATURE_NAMES))) for _ in cuts]
    for index, snapshot, values in values_of_cuts(archive, cuts, config):
        drivers[index], blocks[index] = snapshot.driver_ids, values
    counts = [len(names) for names in drivers]
    keys = {
        "race_id": [race_id for (race_id, _), n in zip(cuts, counts, strict=True) for _ in range(n)],
        "driver_id": [name for names in drivers for name in names],
        "horizon": [horizon.name for (_, horizon), n in zip(cuts, counts, strict=True) for _ in range(n)],
    }
    return _table(keys, np.concatenate([np.empty((0, len(FEATURE_NAMES))), *blocks]))


def values_of_cuts(
    archive: RaceArchive, cuts: Sequence[tuple[str, Horizon]], config: FeatureConfig = DEFAULTS
) -> Iterator[tuple[int, Snapshot, Floats]]:
    """As `build_many`, cut by cut, race after race: for those who compute more from the Snapshot of each.

    Yields:
        Number of the cut in `cuts`, its Snapshot, and its features (n, len(FEATURE_NAMES)) float64, NaN = unknown.
    """
    wanted: dict[str, list[int]] = {}
    for index, (race_id, _) in enumerate(cuts):
        archive.rows("races", race_id)  # an unknown race is an error, not a missing row
        wanted.setdefault(race_id, []).append(index)
    for race_id, history in _before_each(archive, config):
        race: RaceFeatures | None = None
        for index in wanted.get(race_id, ()):
            snapshot = archive.snapshot(*cuts[index])
            race = race or RaceFeatures(race_id, _before(history, snapshot), config)
            yield index, snapshot, race.values(snapshot)


def _before_each(archive: RaceArchive, config: FeatureConfig) -> Iterator[tuple[str, History]]:
    """Every race in the order of time, and what the races before it tell: the race itself is learnt afterwards."""
    history = History(config)
    for record in race_records(archive.tables):
        yield record.race_id, history
        learn(history, record)


def _before(history: History, snapshot: Snapshot) -> Floats:
    """What is known before the start, (n, len(FEATURE_NAMES)) float64; NaN = unknown, or for the cut to tell."""
    values = np.full((snapshot.entries.height, len(FEATURE_NAMES)), np.nan)
    for name, column in before_start(history, snapshot.race, Field.of(snapshot.entries)).items():
        values[:, _COLUMNS[name]] = column
    return values


def _values(snapshot: Snapshot, before: Floats, config: FeatureConfig) -> Floats:
    """(n, len(FEATURE_NAMES)) float64, NaN = unknown."""
    values = before.copy()
    for name, column in at_cut(snapshot.lap_matrices, snapshot.weather_columns, config.rain_window_s).items():
        values[:, _COLUMNS[name]] = column
    values[:, _COLUMNS["race_share"]] = snapshot.cutoff_lap / snapshot.race.scheduled_laps
    return values


def _table(keys: dict[str, list[str]], values: Floats) -> pl.DataFrame:
    names = pl.DataFrame(keys, schema=dict.fromkeys(keys, pl.String))
    numbers = pl.from_numpy(values, schema=dict.fromkeys(FEATURE_NAMES, pl.Float64), orient="row")
    return names.hstack(numbers.fill_nan(None))
