"""Does what is learnt on simulated races hold on real ones? A regression of the result on the state in mid-race.

The simulator is right for its purpose when a regression fitted on its races ranks real cars nearly as well as one
that was fitted on real races. Knows nothing of pictures, of features or of the simulator's numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from f1_predict.sources.simulator.race_arrays import Floats, RaceArrays, median, read_race
from f1_predict.sources.simulator.race_measures import correlation

RECENT = 10
"""Laps whose racing ones tell the pace of the moment."""
GONE = 2.5
"""A car that has not come round for so many laps is out."""
STATE = ("place", "gap to the leader", "recent pace", "stops made", "laps since the stop")
RIDGE = 1e-3


@dataclass(frozen=True)
class MidRace:
    """The running cars of many races at one cut.

    Attributes:
        state: (cars, len(STATE)), in the order of STATE: place / cars running; gap in laps' times; slower than the
            field's median (1 = one per cent); stops seen; laps since the last stop / scheduled laps.
        race: (cars,) number of the race.
        rank: (cars,) rank of the result among the cars still running at the cut, 1 = best.
        season: (cars,).
    """

    state: Floats
    race: Floats
    rank: Floats
    season: Floats


def mid_race(races: Iterable[RaceArrays], fraction: float = 0.5) -> MidRace:
    """The state when the leader has done `fraction` of the scheduled laps; races that ended sooner are left out."""
    parts = []
    for number, race in enumerate(races):
        cut = int(fraction * race.scheduled)
        if 5 <= cut < race.end_s.shape[0]:
            parts.append(_state(race, cut, number))
    return MidRace(*(np.concatenate([part[i] for part in parts]) for i in range(4)))


def _state(race: RaceArrays, cut: int, number: int) -> tuple[Floats, Floats, Floats, Floats]:
    reading = read_race(race)
    now = np.nanmin(race.end_s[cut - 1])
    seen = race.end_s <= now  # a lapped car has done fewer laps
    done = np.where(seen.any(axis=0), seen.shape[0] - np.argmax(seen[::-1], axis=0), 0)
    lap_s = float(np.nanmedian(reading.field_s[:cut]))
    cars = np.flatnonzero(done > 0)
    last_s = race.end_s[done[cars] - 1, cars]
    cars, last_s = cars[now - last_s < GONE * lap_s], last_s[now - last_s < GONE * lap_s]
    leader_s = np.nanmin(race.end_s, axis=1)[done[cars] - 1]
    laps = np.arange(race.end_s.shape[0])[:, None]
    recent = reading.clean & (laps < done) & (laps >= done - RECENT)
    own = np.nan_to_num(100.0 * median(np.where(recent, reading.relative, np.nan), axis=0))[cars]
    stops = (reading.stop & (laps < done)).sum(axis=0)[cars]
    age = reading.age[done[cars] - 1, cars]
    gap = (last_s - leader_s) / lap_s
    place = np.lexsort((last_s, -done[cars])).argsort() + 1.0
    state = np.stack([place / cars.size, gap, own.clip(-5.0, 5.0), stops, age / race.scheduled], axis=1)
    rank = cars.argsort().argsort() + 1.0  # cars stand in the order of the result
    return state, np.full(cars.size, float(number)), rank, np.full(cars.size, float(race.season))


@dataclass(frozen=True)
class Ranking:
    """How well cars were ranked: means over races."""

    mae: float
    spearman: float
    races: int


@dataclass(frozen=True)
class Regression:
    """Least squares of the result (as a share of the field) on the standardised state: `weights` (len(STATE) + 1,)."""

    mean: Floats
    sd: Floats
    weights: Floats

    def predict(self, state: Floats) -> Floats:
        """The expected result as a share of the field: (cars,)."""
        scaled = (state - self.mean) / self.sd
        return np.asarray(self.weights[0] + scaled @ self.weights[1:])


def fit(data: MidRace) -> Regression:
    """Fit to the cars of `data`. The share of the field is the rank over the number of cars running."""
    mean, sd = data.state.mean(axis=0), np.maximum(data.state.std(axis=0), 1e-9)
    design = np.column_stack([np.ones(data.rank.size), (data.state - mean) / sd])
    share = data.rank / _sizes(data)
    weights = np.linalg.solve(design.T @ design + RIDGE * data.rank.size * np.eye(design.shape[1]), design.T @ share)
    return Regression(mean, sd, weights)


def rank_races(predicted: Floats, data: MidRace) -> Ranking:
    """Rank the cars of each race by `predicted` (smaller = better) and compare with the result."""
    errors, agreements = [], []
    for number in np.unique(data.race):
        cars = data.race == number
        rank = predicted[cars].argsort(kind="stable").argsort() + 1.0
        errors.append(float(np.abs(rank - data.rank[cars]).mean()))
        agreements.append(correlation(rank, data.rank[cars]))
    return Ranking(float(np.mean(errors)), float(np.nanmean(agreements)), len(errors))


def part_of(data: MidRace, first: int, last: int) -> MidRace:
    """The races of some seasons."""
    chosen = (data.season >= first) & (data.season <= last)
    return MidRace(data.state[chosen], data.race[chosen], data.rank[chosen], data.season[chosen])


def _sizes(data: MidRace) -> Floats:
    _, at, counts = np.unique(data.race, return_inverse=True, return_counts=True)
    return np.asarray(counts[at].astype(np.float64))
