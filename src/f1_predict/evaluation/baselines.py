"""The first rungs of the ladder: uniform, grid order, running order, as real probability forecasts.

Fitted by counting past races (results are read here); a forecast sees a Snapshot and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.errors import DataError, HorizonError
from f1_predict.features.order import current_order, start_order
from f1_predict.horizon import RaceArchive, Snapshot
from f1_predict.models.probabilities import to_field

__all__ = [
    "CurrentOrderBaseline",
    "GridBaseline",
    "UniformBaseline",
    "current_order",
    "start_order",
    "true_results",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

GRID_NEIGHBOUR_WIDTH = 0.85
ORDER_NEIGHBOUR_WIDTH = 0.6
"""Standard deviation, in places, of the kernel by which neighbouring places lend their counts: chosen on
2011-2014, counted on the seasons before, as is PSEUDO_COUNT."""
PSEUDO_COUNT = 6.0
"""Races' worth of a uniform outcome that every place is given."""


class UniformBaseline:
    """Every place equally likely for every starter; there is nothing to fit."""

    def predict(self, snapshot: Snapshot) -> FloatArray:
        """Forecast a race: float64 (n, n), rows in the order of entries."""
        n = snapshot.entries.height
        return np.full((n, n), 1.0 / n)

    def predict_finish(self, snapshot: Snapshot) -> FloatArray:
        """Probability of being classified, 0.5 for every starter: float64 (n,)."""
        return np.full(snapshot.entries.height, 0.5)


def true_results(archive: RaceArchive, race_id: str) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """The result, in the order of the race's entries: positions int64 (n,), and whether classified bool (n,).

    Raises:
        DataError: naming race and driver, if a starter has no result.
        NotFoundError: if there is no such race.
    """
    results = archive.rows("results", race_id).select("driver_id", "position", "classified")
    joined = archive.rows("entries", race_id).join(results, on="driver_id", how="left", maintain_order="left")
    without = joined.filter(pl.col("position").is_null())
    if without.height:
        raise DataError(f"{race_id}: driver '{without['driver_id'][0]}' has no result. Ingest the race's results.")
    return joined["position"].cast(pl.Int64).to_numpy(), joined["classified"].to_numpy().astype(np.bool_)


@dataclass(frozen=True)
class _Counted:
    """One race: the place of each starter at the cut, his finishing position, and whether he was classified."""

    places: IntArray
    positions: IntArray
    classified: npt.NDArray[np.bool_]


class _Frequencies:
    """How often a car in place s ended in place p, and was classified, smoothed so that nothing is impossible."""

    def __init__(self, races: list[_Counted], neighbour_width: float) -> None:
        size = max(len(race.places) for race in races)
        counts, finishes = np.zeros((size, size)), np.zeros(size)
        for race in races:
            np.add.at(counts, (race.places - 1, race.positions - 1), 1.0)
            np.add.at(finishes, race.places - 1, race.classified.astype(np.float64))
        distance = np.subtract.outer(np.arange(size), np.arange(size))
        kernel = np.exp(-0.5 * (distance / neighbour_width) ** 2)
        self.table = kernel @ counts + PSEUDO_COUNT / size
        # One start in each direction keeps the probability of finishing away from 0 and 1.
        rate = (finishes.sum() + 1.0) / (counts.sum() + 2.0)
        self.finish = (kernel @ finishes + PSEUDO_COUNT * rate) / (kernel @ counts.sum(axis=1) + PSEUDO_COUNT)

    def forecast(self, places: IntArray) -> FloatArray:
        """(n, n) for a field in these places; places beyond any seen are taken as the last one seen."""
        return to_field(self.table[self._rows(places)], len(places))

    def forecast_finish(self, places: IntArray) -> FloatArray:
        """Probability of being classified (n,) for a field in these places."""
        return np.asarray(self.finish[self._rows(places)], dtype=np.float64)

    def _rows(self, places: IntArray) -> IntArray:
        return np.minimum(places, len(self.table)) - 1


class GridBaseline:
    """Position frequencies given the place on the grid, counted on past races.

    Counts of neighbouring places are added with a normal kernel, and a uniform outcome with a small
    weight. Attributes after `fit`: `frequencies_`.
    """

    def fit(self, archive: RaceArchive, race_ids: Iterable[str]) -> GridBaseline:
        """Count races.

        Args:
            archive: tables with results.
            race_ids: races to count, all before those to forecast.

        Raises:
            DataError: if there are none, or a starter has no result.
            NotFoundError: if there is no such race.
        """
        cuts = [(archive.snapshot(race_id, archive.horizon_at(race_id, 0.0)), race_id) for race_id in race_ids]
        if not cuts:
            raise DataError("grid frequencies need one past race or more, got none. Give races before the forecast.")
        counted = [_Counted(start_order(cut), *true_results(archive, race_id)) for cut, race_id in cuts]
        self.frequencies_ = _Frequencies(counted, GRID_NEIGHBOUR_WIDTH)
        return self

    def predict(self, snapshot: Snapshot) -> FloatArray:
        """Forecast a race: float64 (n, n), rows in the order of entries, sum to 1.

        Raises:
            DataError: if `fit` was not called.
        """
        return self._counted().forecast(start_order(snapshot))

    def predict_finish(self, snapshot: Snapshot) -> FloatArray:
        """Probability of being classified: float64 (n,), rows in the order of entries.

        Raises:
            DataError: if `fit` was not called.
        """
        return self._counted().forecast_finish(start_order(snapshot))

    def _counted(self) -> _Frequencies:
        if not hasattr(self, "frequencies_"):
            raise DataError("the grid frequencies are not counted. Call fit before predict.")
        return self.frequencies_


class CurrentOrderBaseline:
    """Position frequencies given the running order at a fraction of the race, counted on past races.

    Smoothed as `GridBaseline`. Attributes after `fit`: `frequencies_`, `fraction_`, `races_` (those counted).
    """

    def fit(self, archive: RaceArchive, race_ids: Iterable[str], fraction: float) -> CurrentOrderBaseline:
        """Count races, each cut at the fraction of its scheduled laps; races without laps are left out.

        Args:
            archive: tables with laps and results.
            race_ids: races to count, all before those to forecast.
            fraction: of the scheduled laps, in (0, 1].

        Raises:
            DataError: if no race with laps is left, or a starter has no result.
            HorizonError: if the fraction is not in (0, 1].
            NotFoundError: if there is no such race.
        """
        if not 0.0 < fraction <= 1.0:
            raise HorizonError(
                f"a running order needs a fraction of the race in (0, 1], got {fraction}. "
                "Before the race, use GridBaseline."
            )
        self.races_ = [race_id for race_id in race_ids if archive.laps_completed(race_id) > 0]
        if not self.races_:
            raise DataError("running-order frequencies need one past race with laps or more, got none. Ingest laps.")
        counted = []
        for race_id in self.races_:
            cut = archive.snapshot(race_id, archive.horizon_at(race_id, fraction))
            counted.append(_Counted(current_order(cut), *true_results(archive, race_id)))
        self.frequencies_ = _Frequencies(counted, ORDER_NEIGHBOUR_WIDTH)
        self.fraction_ = fraction
        return self

    def predict(self, snapshot: Snapshot) -> FloatArray:
        """Forecast a race from its running order: float64 (n, n), rows in the order of entries, sum to 1.

        Args:
            snapshot: cut at the fraction that was counted.

        Raises:
            DataError: if `fit` was not called.
        """
        return self._counted().forecast(current_order(snapshot))

    def predict_finish(self, snapshot: Snapshot) -> FloatArray:
        """Probability of being classified: float64 (n,), rows in the order of entries.

        Raises:
            DataError: if `fit` was not called.
        """
        return self._counted().forecast_finish(current_order(snapshot))

    def _counted(self) -> _Frequencies:
        if not hasattr(self, "frequencies_"):
            raise DataError("the running-order frequencies are not counted. Call fit before predict.")
        return self.frequencies_
