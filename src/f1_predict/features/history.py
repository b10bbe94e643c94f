"""What all earlier races say: logs and ratings, extended race by race.

The state before a race is the same whether it was reached from a Snapshot's past or on the way
through an archive: both go through `begin` and `add`, in the order of time.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable
from itertools import takewhile

from f1_predict.config import FeatureConfig
from f1_predict.features.catalogue import LINEAR_INPUTS
from f1_predict.features.linear import LinearForecast
from f1_predict.features.ratings import Ratings
from f1_predict.features.records import RaceRecord, Start
from f1_predict.features.sessions import field_rank


def mean(values: Iterable[float]) -> float:
    """Mean of what is known, NaN if nothing is."""
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else math.nan


class History:
    """The state before a race.

    Attributes:
        races: circuit records by circuit.
        circuits: code of each circuit, 1 + order of first appearance.
        drivers: starts of each driver, oldest first.
        constructors: of each constructor, its races oldest first, each a list of its cars' starts.
        circuit_drivers, circuit_constructors: starts by (circuit, name), oldest first.
        result_ratings, pace_ratings: from full results, and from the order of the classified alone.
        linear: the linear forecast.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self.season: int | None = None
        self.circuits: dict[str, int] = {}
        self.races: dict[str, list[RaceRecord]] = defaultdict(list)
        self.recent: deque[RaceRecord] = deque(maxlen=config.finish_window)
        self.drivers: dict[str, list[Start]] = defaultdict(list)
        self.constructors: dict[str, list[list[Start]]] = defaultdict(list)
        self.circuit_drivers: dict[tuple[str, str], list[Start]] = defaultdict(list)
        self.circuit_constructors: dict[tuple[str, str], list[Start]] = defaultdict(list)
        self.result_ratings = self._ratings()
        self.pace_ratings = self._ratings()
        self.linear = LinearForecast(len(LINEAR_INPUTS), config.linear_penalty, config.linear_memory)

    def _ratings(self) -> Ratings:
        config = self.config
        return Ratings(
            driver_step=config.rating_step,
            constructor_step=config.constructor_step,
            driver_keep=config.driver_keep,
            constructor_keep=config.constructor_keep,
            new_driver=config.new_driver_rating,
            new_constructor=config.new_constructor_rating,
        )

    def begin(self, season: int) -> None:
        """Enter a season: ratings are drawn to the mean once, at the first race of each season."""
        if self.season is not None and season != self.season:
            for ratings in (self.result_ratings, self.pace_ratings):
                ratings.new_season()
        self.season = season

    def add(self, record: RaceRecord) -> None:
        """Add a finished race; one without a result only puts its circuit on the calendar."""
        self.begin(record.season)
        self.circuits.setdefault(record.circuit_id, len(self.circuits) + 1)
        if not record.starts:
            return
        self.races[record.circuit_id].append(record)
        self.recent.append(record)
        teams: dict[str, list[Start]] = {}
        for driver, start in zip(record.field.driver_ids, record.starts, strict=True):
            self.drivers[driver].append(start)
            self.circuit_drivers[record.circuit_id, driver].append(start)
            self.circuit_constructors[record.circuit_id, start.constructor_id].append(start)
            teams.setdefault(start.constructor_id, []).append(start)
        for name, cars in teams.items():
            self.constructors[name].append(cars)
        self._rate(record)

    def constructor_season(self, name: str, season: int) -> list[Start]:
        """The starts of a constructor's cars in a season, the latest race first."""
        races = takewhile(lambda cars: cars[0].season == season, reversed(self.constructors.get(name, [])))
        return [start for cars in races for start in cars]

    def finish_rate(self) -> float:
        """Mean share of classified starters in the last `finish_window` races, NaN before the first."""
        return mean(record.finish_rate for record in self.recent)

    def _rate(self, record: RaceRecord) -> None:
        drivers, teams = record.field.driver_ids, record.field.constructor_ids
        self.result_ratings.update(drivers, teams, record.position)
        kept = record.classified == 1.0
        if kept.any():
            order = field_rank(record.position[kept])
            chosen = kept.nonzero()[0].tolist()
            self.pace_ratings.update([drivers[i] for i in chosen], [teams[i] for i in chosen], order)
