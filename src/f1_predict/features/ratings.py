"""Ratings of drivers and cars, updated race by race from finishing orders.

A race is read as all pairwise comparisons of its starters (Bradley and Terry 1952, Biometrika 39,
324-345): car i beats car j with probability sigmoid(s_i - s_j), where a car's strength s is its
driver's rating plus its constructor's. Both parts move along the gradient of the log-likelihood,
as in Elo's system (Elo 1978, The Rating of Chessplayers); teammates share the constructor's part,
so only what differs between them moves drivers of one team apart. Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def beaten_by(strength: Floats) -> Floats:
    """(n, n) float64: entry [i, j] is the probability that j finishes ahead of i."""
    probability: Floats = 1.0 / (1.0 + np.exp(strength[:, None] - strength[None, :]))
    return probability


def expected_position(strength: Floats) -> Floats:
    """(n,) expected positions, 1 + the sum over the others of the chance that they are ahead."""
    positions: Floats = 0.5 + beaten_by(strength).sum(axis=1)
    return positions


@dataclass(slots=True)
class Ratings:
    """The current ratings of everybody seen so far.

    Attributes:
        driver_step: step of a driver's rating along the gradient, per comparison.
        constructor_step: the same of a constructor's, per comparison of one of its cars.
        driver_keep: share of a driver's distance to 0 that survives into a new season.
        constructor_keep: the same of a constructor's.
        new_driver: rating of a driver who never started.
        new_constructor: rating of a constructor that never started.
    """

    driver_step: float
    constructor_step: float
    driver_keep: float
    constructor_keep: float
    new_driver: float
    new_constructor: float
    drivers: dict[str, float] = field(default_factory=dict)
    constructors: dict[str, float] = field(default_factory=dict)

    def new_season(self) -> None:
        """Draw all ratings towards 0."""
        for name in self.drivers:
            self.drivers[name] *= self.driver_keep
        for name in self.constructors:
            self.constructors[name] *= self.constructor_keep

    def of_drivers(self, names: Sequence[str]) -> Floats:
        """(n,) ratings, the prior for unseen drivers."""
        return np.array([self.drivers.get(name, self.new_driver) for name in names])

    def of_constructors(self, names: Sequence[str]) -> Floats:
        """(n,) ratings, the prior for unseen constructors."""
        return np.array([self.constructors.get(name, self.new_constructor) for name in names])

    def update(self, drivers: Sequence[str], constructors: Sequence[str], rank: Floats) -> None:
        """Learn one race: n drivers, their constructors, and the ranks 1..n they took."""
        own, cars = self.of_drivers(drivers), self.of_constructors(constructors)
        surplus = (expected_position(own + cars) - rank).tolist()
        for name, rating, gain in zip(drivers, own.tolist(), surplus, strict=True):
            self.drivers[name] = rating + self.driver_step * gain
        for name, rating in zip(constructors, cars.tolist(), strict=True):
            self.constructors.setdefault(name, rating)
        for name, gain in zip(constructors, surplus, strict=True):
            self.constructors[name] += self.constructor_step * gain
