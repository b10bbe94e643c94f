"""The simulated world: circuits, and the drivers and cars of each season.

Knows nothing of laps or tables. Pace is a fraction of the lap time throughout (0.01 = one per
cent slower than the reference car); smaller is faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Circuit:
    """A circuit, and what it does to a race."""

    name: str
    kind: str  # RACE, ROAD or STREET
    length_km: float
    speed_kmh: float  # of the reference car, dry, without fuel, on new tyres
    turns: int
    direction: str
    difficulty_s: float  # how much quicker over a lap a car must be to have an even chance to overtake
    wear: float  # of tyres, 1 = normal
    pit_loss_s: float  # by a stop, both laps together
    rain: float  # chance that a race sees rain

    @property
    def base_lap_s(self) -> float:
        """Lap time of the reference car."""
        return self.length_km / self.speed_kmh * 3600.0

    @property
    def laps(self) -> int:
        """Scheduled laps: the fewest that reach 305 km."""
        return math.ceil(305.0 / self.length_km)


CIRCUITS: tuple[Circuit, ...] = (
    Circuit("Aldervane", "RACE", 6.05, 236.0, 17, "CLOCKWISE", 0.7, 1.25, 20.5, 0.25),
    Circuit("Brakka Bay", "RACE", 5.25, 212.0, 16, "CLOCKWISE", 0.5, 1.2, 22.5, 0.0),
    Circuit("Cinderwick", "RACE", 4.45, 228.0, 9, "CLOCKWISE", 0.6, 1.0, 20.0, 0.2),
    Circuit("Dunmarrow", "ROAD", 7.0, 232.0, 21, "CLOCKWISE", 0.5, 1.05, 18.5, 0.3),
    Circuit("Esterholm", "RACE", 4.55, 204.0, 13, "CLOCKWISE", 1.3, 1.1, 20.5, 0.1),
    Circuit("Fenwick Harbour", "STREET", 3.45, 165.0, 18, "CLOCKWISE", 2.6, 0.75, 19.5, 0.1),
    Circuit("Granvale", "RACE", 4.85, 214.0, 15, "ANTI_CLOCKWISE", 1.0, 1.2, 21.5, 0.08),
    Circuit("Hollis Park", "RACE", 5.65, 252.0, 10, "CLOCKWISE", 0.6, 0.8, 24.0, 0.08),
    Circuit("Istrel Lights", "STREET", 5.1, 180.0, 22, "ANTI_CLOCKWISE", 1.6, 1.0, 27.0, 0.15),
    Circuit("Jarrow Ring", "RACE", 4.15, 220.0, 14, "ANTI_CLOCKWISE", 0.5, 1.1, 20.0, 0.3),
    Circuit("Kestrel Island", "ROAD", 4.7, 216.0, 12, "CLOCKWISE", 0.6, 0.85, 18.5, 0.2),
    Circuit("Lantern Docks", "STREET", 6.2, 205.0, 23, "ANTI_CLOCKWISE", 0.7, 0.8, 20.0, 0.02),
    Circuit("Merrow Plains", "RACE", 5.6, 207.0, 19, "ANTI_CLOCKWISE", 0.7, 1.15, 20.0, 0.05),
    Circuit("Nordhavel", "RACE", 3.9, 208.0, 11, "CLOCKWISE", 1.4, 1.2, 20.5, 0.2),
    Circuit("Okarimo", "RACE", 5.95, 225.0, 20, "CLOCKWISE", 0.9, 1.25, 22.5, 0.25),
    Circuit("Pellworth", "ROAD", 5.35, 224.0, 12, "CLOCKWISE", 0.9, 0.95, 20.0, 0.12),
    Circuit("Quillon", "RACE", 5.5, 206.0, 18, "CLOCKWISE", 0.7, 1.1, 22.5, 0.1),
    Circuit("Rask Oasis", "RACE", 5.15, 222.0, 15, "ANTI_CLOCKWISE", 1.0, 0.9, 21.5, 0.0),
)
"""Invented, all of them."""
SKILL, WET, CAR = 0.0022, 0.004, 0.0065
"""Standard deviations of drivers' pace, of what rain adds to it, and of cars' pace."""
CAR_KEPT = 0.8
"""Share of a car's lead that survives a winter."""


@dataclass(frozen=True)
class Season:
    """The field of one season, two cars a team.

    Attributes:
        driver: (cars,) number of the driver in each seat, counted from 1 in the order of debut.
        skill, wet: (cars,) the driver's share of the pace in the dry, and what rain adds to it.
        car, growth: (teams,) the car's share of the pace, and its change over the season.
        trouble: (teams,) chance of a mechanical retirement in a race.
    """

    driver: Ints
    skill: Floats
    wet: Floats
    car: Floats
    growth: Floats
    trouble: Floats

    @property
    def team(self) -> Ints:
        """(cars,) each car's team, from 0."""
        return np.arange(self.driver.size) // 2

    def pace(self, part: float) -> Floats:
        """(cars,) dry pace when `part` of the season (0 to 1) is over."""
        return self.skill + (self.car + part * self.growth)[self.team]


def first_season(teams: int, rng: np.random.Generator) -> Season:
    """The field of the first season."""
    cars = 2 * teams
    return Season(
        driver=np.arange(1, cars + 1),
        skill=rng.normal(0.0, SKILL, cars),
        wet=rng.normal(0.0, WET, cars),
        car=rng.normal(0.0, CAR, teams),
        growth=rng.normal(0.0, 0.002, teams),
        trouble=rng.uniform(0.02, 0.14, teams),
    )


def next_season(last: Season, rng: np.random.Generator) -> Season:
    """The season after `last`: cars drift towards the mean, some drivers change seats, some give way to rookies.

    At least one driver leaves, slow ones sooner.
    """
    cars, fresh = last.driver.size, first_season(last.car.size, rng)
    driver, wet = last.driver.copy(), last.wet.copy()
    skill = 0.9 * last.skill + rng.normal(0.0, 0.4 * SKILL, cars)
    leaving = np.argsort(last.skill + rng.gumbel(0.0, SKILL, cars))[-(1 + rng.binomial(cars // 4, 0.4)) :]
    driver[leaving] = last.driver.max() + 1 + np.arange(leaving.size)
    skill[leaving], wet[leaving] = fresh.skill[leaving] + 0.5 * SKILL, fresh.wet[leaving]
    seat = np.arange(cars)
    movers = rng.choice(cars, size=2 * rng.integers(0, cars // 6 + 1), replace=False)
    seat[movers] = np.roll(movers, 1)
    car = CAR_KEPT * (last.car + last.growth) + math.sqrt(1.0 - CAR_KEPT**2) * fresh.car
    trouble = 0.5 * (last.trouble + fresh.trouble)
    return replace(fresh, driver=driver[seat], skill=skill[seat], wet=wet[seat], car=car, trouble=trouble)
