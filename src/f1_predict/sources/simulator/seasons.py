"""The field of each season: drivers, teams, and how their strengths drift.

Pace is a share of the lap time (0.01 = one per cent slower than the reference car); smaller is faster. Knows nothing of
races.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from f1_predict.sources.simulator.draws import Floats, Ints
from f1_predict.sources.simulator.parameters import EraParameters


@dataclass(frozen=True)
class Season:
    """The field of one season, two cars a team.

    Attributes:
        driver: (cars,) number of the driver in each seat, counted from 1 in the order of debut.
        skill, wet: (cars,) the driver's share of the pace in the dry, and what rain adds to it.
        car, growth: (teams,) the car's share of the pace, and its change over the season.
        trouble: (teams,) how often the car breaks down, 1 = the era's average.
        debuts: how many drivers there have been.
    """

    driver: Ints
    skill: Floats
    wet: Floats
    car: Floats
    growth: Floats
    trouble: Floats
    debuts: int

    @property
    def team(self) -> Ints:
        """(cars,) each car's team, from 0."""
        return np.arange(self.driver.size) // 2

    def pace(self, part: float) -> Floats:
        """(cars,) dry pace when `part` of the season (0 to 1) is over."""
        return np.asarray(self.skill + (self.car + part * self.growth)[self.team])


def first_season(teams: int, era: EraParameters, rng: np.random.Generator) -> Season:
    """The field of the first season."""
    cars = 2 * teams
    return Season(
        driver=np.arange(1, cars + 1),
        skill=rng.normal(0.0, era.driver_sd, cars),
        wet=rng.normal(0.0, era.driver_wet_sd, cars),
        car=_cars(teams, era, rng),
        growth=rng.normal(0.0, era.car_growth_sd, teams),
        trouble=np.exp(rng.normal(0.0, era.reliability_sd, teams) - 0.5 * era.reliability_sd**2),
        debuts=cars,
    )


def _cars(teams: int, era: EraParameters, rng: np.random.Generator) -> Floats:
    """Pace of unrelated cars: normal, bent to one side by the era's skew; mean 0."""
    z = rng.normal(0.0, 1.0, teams)
    bent = (z + 0.5 * era.car_skew * (z**2 - 1.0)) / math.sqrt(1.0 + 0.5 * era.car_skew**2)
    return np.asarray(era.car_sd * bent)


def next_season(last: Season, teams: int, era: EraParameters, rng: np.random.Generator) -> Season:
    """The season after `last`: cars drift towards the mean, some drivers change seats, some give way to rookies.

    Teams close at the end of the list, or new ones come in there. At least one driver leaves, slow ones sooner; who
    leaves does not come back.
    """
    cars, fresh = 2 * teams, first_season(teams, era, rng)
    kept = min(cars, last.driver.size)
    driver, skill, wet = np.zeros(cars, dtype=np.int64), fresh.skill, fresh.wet
    driver[:kept] = last.driver[:kept]
    skill[:kept] = 0.9 * last.skill[:kept] + rng.normal(0.0, 0.4 * era.driver_sd, cars)[:kept]
    wet[:kept] = last.wet[:kept]
    count = min(kept, 1 + rng.binomial(kept - 1, 0.7 * era.turnover))  # the rest of the turnover are moves
    leaving = np.argsort(skill[:kept] + rng.gumbel(0.0, era.driver_sd, cars)[:kept])[-count:]
    rookies = np.r_[np.sort(leaving), np.arange(kept, cars)]
    driver[rookies] = last.debuts + 1 + np.arange(rookies.size)
    skill[rookies] = rng.normal(era.rookie_loss, era.driver_sd, rookies.size)
    wet[rookies] = rng.normal(0.0, era.driver_wet_sd, rookies.size)
    movers = rng.choice(cars, size=rng.binomial(cars, 0.6 * era.turnover), replace=False)
    seat = np.arange(cars)
    seat[movers] = np.roll(movers, 1)
    car, same = fresh.car, min(teams, last.car.size)
    lead = (last.car + last.growth)[:same]
    car[:same] = era.car_kept * (lead - lead.mean()) + math.sqrt(1.0 - era.car_kept**2) * car[:same]
    trouble = fresh.trouble
    trouble[:same] = 0.5 * (last.trouble[:same] + trouble[:same])
    return Season(driver[seat], skill[seat], wet[seat], car, fresh.growth, trouble, last.debuts + rookies.size)
