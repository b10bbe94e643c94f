"""One simulated race weekend: practice, qualifying, grid, weather, and the race lap by lap.

All cars of a lap are advanced together; safety cars, rain and retirements happen on the race's
clock, so that cars on different laps meet them at the same moment. Not modelled: red flags, the
two-hour limit, time penalties, full wet tyres, lapped traffic. Knows nothing of tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_predict.sources.simulator.world import Circuit, Floats, Ints, Season

Bools = NDArray[np.bool_]

TYRES = ("SOFT", "MEDIUM", "HARD", "INTERMEDIATE")
_RAIN_TYRE = 3
_LIFE = np.array([0.28, 0.42, 0.60, 0.60])  # usual stint, as a share of the race
_SLOWER = np.array([0.0, 0.0055, 0.0095, 0.0])  # new tyre, against the softest, as a share of the lap
_WORN, _FUEL = 0.025, 0.028  # share of the lap lost on a tyre at the end of its life, and to a full tank
_FAULTS = ("Engine", "Gearbox", "Hydraulics", "Brakes", "Suspension", "Electrical")
_BEFORE_MIN, _AFTER_MIN = 60, 240  # weather is drawn from an hour before the start
_WET = 0.22  # wetness from which the tyre for rain is quicker
_SCATTER = 0.0024  # of lap times, as a share of the lap
_TICK = 1024.0
"""Lap times are multiples of 1/1024 s, so that any sum of them is exact in binary floating point."""


@dataclass(frozen=True)
class Weather:
    """Each minute from an hour before the start: shape (minutes,)."""

    time_s: Floats
    rainfall: Bools
    wetness: Floats  # of the track, 0 dry to 1 soaked
    air_c: Floats
    track_c: Floats
    humidity: Floats
    wind: Floats

    def wet_at(self, clock: Floats) -> Floats:
        """Track wetness at times of the race in seconds, same shape."""
        minute = (clock / 60.0).astype(np.int64) + _BEFORE_MIN
        return self.wetness[np.minimum(minute, self.wetness.size - 1)]


@dataclass(frozen=True)
class Qualifying:
    """Times in seconds, NaN = none set: practice (3, cars), sessions (3, cars); the rest (cars,)."""

    practice: Floats
    sessions: Floats
    position: Ints
    grid: Ints  # 0 = pit lane
    penalty: Ints


@dataclass(frozen=True)
class Laps:
    """The race: shape (laps, cars); `run` marks the laps that were completed, `out` is (cars,).

    `status` holds FastF1's codes seen during the lap ("1" green, "2" yellow, "4" safety car);
    `out` says why a car stopped, "" if it reached the end.
    """

    run: Bools
    end_s: Floats
    tyre: Ints
    tyre_life: Ints
    pit_in: Bools
    pit_out: Bools
    status: NDArray[np.str_]
    out: list[str]


def draw_weather(circuit: Circuit, rng: np.random.Generator) -> Weather:
    """Weather by the minute; rain falls in one or two showers, and the track dries slowly."""
    minutes = np.arange(float(-_BEFORE_MIN), _AFTER_MIN)
    rainfall = np.zeros(minutes.size, dtype=np.bool_)
    if rng.random() < circuit.rain:
        for _ in range(rng.integers(1, 3)):
            start = rng.integers(-40, 80)
            rainfall |= (minutes >= start) & (minutes < start + rng.integers(10, 70))
    wetness = np.zeros(minutes.size)
    for i in range(1, minutes.size):
        wetness[i] = np.clip(wetness[i - 1] + (0.08 if rainfall[i] else -0.03), 0.0, 1.0)
    drift = np.cumsum(rng.normal(0.0, 0.05, (4, minutes.size)), axis=1)
    air = rng.normal(23.0, 5.0) - 3.0 * wetness + drift[0]
    track = air + rng.uniform(5.0, 20.0) * (1.0 - wetness) + drift[1]
    humidity = np.clip(rng.uniform(30.0, 65.0) + 30.0 * wetness + drift[2], 5.0, 100.0)
    wind = np.abs(rng.uniform(0.5, 5.0) + drift[3])
    return Weather(minutes * 60.0, rainfall, wetness, air.round(1), track.round(1), humidity.round(1), wind.round(1))


def qualify(circuit: Circuit, pace: Floats, rng: np.random.Generator) -> Qualifying:
    """Practice, three-part qualifying (a quarter of the field leaves after each part but the last), and the grid."""
    cars = pace.size
    lap = circuit.base_lap_s * (1.0 + pace)
    slower = 1.0 + np.array([[0.014], [0.010], [0.006]])
    practice = lap * (slower + rng.normal(0.0, 0.003, (3, cars)))
    practice[rng.random((3, cars)) < 0.04] = np.nan
    sessions = lap * (1.0 + np.array([[0.004], [0.002], [0.0]]) + rng.normal(0.0, 0.002, (3, cars)))
    sessions[0, rng.random(cars) < 0.015] = np.nan  # no time set
    order = np.argsort(sessions[0], kind="stable")
    for part, places in ((1, (3 * cars + 2) // 4), (2, (cars + 1) // 2)):
        sessions[part, order[places:]] = np.nan
        sessions[part, np.isnan(sessions[0])] = np.nan
        order[:places] = order[np.argsort(sessions[part, order[:places]], kind="stable")]
    position = np.empty(cars, dtype=np.int64)
    position[order] = np.arange(1, cars + 1)
    penalty = np.where(rng.random(cars) < 0.06, rng.choice([3, 5, 10], cars), 0)
    pit_lane = rng.random(cars) < 0.008
    grid = np.empty(cars, dtype=np.int64)
    grid[np.argsort(position + penalty + 0.5 * (penalty > 0) + 100 * pit_lane, kind="stable")] = np.arange(1, cars + 1)
    grid[pit_lane] = 0
    return Qualifying(practice.round(3), sessions.round(3), position, grid, penalty)


def _incidents(season: Season, slots: Ints, duration_s: float, rng: np.random.Generator) -> tuple[Floats, list[str]]:
    """When each car stops, in seconds since the start (inf = never), and why: both (cars,)."""
    cars = slots.size
    stop = np.full(cars, np.inf)
    why = [""] * cars
    broken = np.flatnonzero(rng.random(cars) < season.trouble[season.team])
    crashed = np.flatnonzero(rng.random(cars) < 0.045)
    stop[broken] = rng.uniform(0.0, duration_s, broken.size)
    for car in broken:
        why[car] = str(rng.choice(_FAULTS))
    for car in crashed:
        at = rng.uniform(10.0, 60.0) if rng.random() < 0.35 else rng.uniform(0.0, duration_s)
        near = np.flatnonzero(np.abs(slots - slots[car]) == 1)
        for hit in (car, *(near[:1] if rng.random() < 0.3 else ())):
            if at < stop[hit]:
                stop[hit], why[hit] = at, "Collision"
    if np.isfinite(stop).all():  # somebody has to win
        last = int(np.argmax(stop))
        stop[last], why[last] = np.inf, ""
    return stop, why


def _safety_cars(stop: Floats, why: list[str], base_s: float, rng: np.random.Generator) -> Floats:
    """Start and end of each safety car on the race's clock: shape (safety cars, 2)."""
    windows = []
    for car in np.flatnonzero(np.isfinite(stop)):
        if rng.random() < (0.45 if why[car] == "Collision" else 0.15):
            windows.append((stop[car] + 15.0, stop[car] + 15.0 + rng.uniform(3.5, 6.0) * 1.45 * base_s))
    return np.array(windows).reshape(-1, 2)


def _under(windows: Floats, start: Floats, duration_s: float) -> Floats:
    """Share of [start, start + duration_s] that lies in any window, per car: shape of `start`."""
    inside = np.minimum(windows[:, 1:], start + duration_s) - np.maximum(windows[:, :1], start)
    return np.asarray(np.minimum(inside.clip(min=0.0).sum(axis=0) / duration_s, 1.0))


def _through_traffic(wanted: Floats, order: Ints, luck: Floats, difficulty_s: Floats, gap_s: Floats) -> Floats:
    """When cars that want to end a lap at `wanted` do so, given who began it before whom.

    Neighbours change places while the one behind is quicker by enough for its luck; a car that
    does not get past ends the lap `gap_s` behind the car ahead at best. All (cars,), but `order`
    holds only the cars that still run.
    """
    order = order.copy()
    changed = True
    while changed:
        changed = False
        for first in (0, 1):
            ahead, behind = order[first:-1:2].copy(), order[first + 1 :: 2].copy()
            gain = wanted[ahead] - wanted[behind]
            chance = 0.5 + 0.5 * np.tanh((gain - difficulty_s[behind]) / 0.7)
            passes = (gain > 0.0) & (luck[behind] < chance)
            order[first:-1:2], order[first + 1 :: 2] = np.where(passes, behind, ahead), np.where(passes, ahead, behind)
            changed |= bool(passes.any())
    room = np.cumsum(gap_s[order])
    end = wanted.copy()
    end[order] = np.maximum.accumulate(wanted[order] - room) + room
    return end


def _next_tyre(tyre: Ints, wetness: Floats, laps_left: int, life: Floats) -> Ints:
    """The tyre for the next stint: another dry compound, the softest that lasts, or the one for rain."""
    lasts = (life[:3] * 1.2 >= laps_left) & (np.arange(3) != tyre[:, None])
    longest = np.where(tyre == 2, 1, 2)
    dry = np.where(lasts.any(axis=1), lasts.argmax(axis=1), longest)
    return np.where(wetness > _WET, _RAIN_TYRE, dry)


class _Race:
    """The state of a running race; every array is (cars,) and `lap` advances all cars by one lap."""

    def __init__(
        self, circuit: Circuit, season: Season, pace: Floats, grid: Ints, weather: Weather, rng: np.random.Generator
    ) -> None:
        self.circuit, self.season, self.pace, self.weather, self.rng = circuit, season, pace, weather, rng
        self.cars = grid.size
        slots = np.where(grid > 0, grid, self.cars + 20)
        self.stop_s, self.why = _incidents(season, slots, circuit.laps * circuit.base_lap_s * 1.06, rng)
        self.cautions = _safety_cars(self.stop_s, self.why, circuit.base_lap_s, rng)
        self.yellows = np.stack([self.stop_s, self.stop_s + 45.0], axis=1)[np.isfinite(self.stop_s)]
        self.life = _LIFE * circuit.laps / circuit.wear
        self.clock = np.zeros(self.cars)  # end of the last lap, seconds since the start
        self.late = (0.22 * slots + rng.normal(0.0, 0.7, self.cars)).clip(min=0.0)  # behind `clock`: grid, pit exit
        self.alive = np.ones(self.cars, dtype=np.bool_)
        self.left_pits = np.zeros(self.cars, dtype=np.bool_)
        self.age = np.zeros(self.cars, dtype=np.int64)
        wet = weather.wet_at(self.clock) > _WET
        self.tyre = np.where(wet, _RAIN_TYRE, rng.choice(3, self.cars, p=rng.dirichlet([1.0, 2.0, 0.5])))
        self.target = self._stint()  # age at which the tyre is to be changed

    def _stint(self) -> Floats:
        usual = self.life[self.tyre] * self.rng.uniform(0.85, 1.1, self.cars)
        return np.minimum(usual, 0.8 * self.circuit.laps)  # nobody may do a dry race on one set

    def _alone(self, lap: int, wetness: Floats) -> Floats:
        """Seconds the lap takes on an empty track."""
        slicks = self.tyre != _RAIN_TYRE
        share = self.pace + self.season.wet * wetness
        share += _SLOWER[self.tyre] + _WORN * (self.age / self.life[self.tyre]) ** 1.5
        share += _FUEL * (1.0 - lap / self.circuit.laps)
        share += np.where(slicks, 0.30 * wetness, 0.06 + 0.05 * wetness)
        share += self.rng.normal(0.0, _SCATTER, self.cars) * (1.0 + 2.0 * wetness)
        share += np.where(self.rng.random(self.cars) < 0.006, self.rng.uniform(0.01, 0.08, self.cars), 0.0)
        return self.circuit.base_lap_s * (1.0 + share) + (4.0 if lap == 0 else 0.0)  # standing start

    def _enter(self, left: int, wetness: Floats, caution: Floats) -> Bools:
        """Who stops at the end of this lap, with `left` laps to go."""
        laps, willing = self.circuit.laps, self.rng.random(self.cars) < 0.55
        worn = (self.age + 1 >= self.target) & (left > max(4, 0.12 * laps))
        cheap = (caution > 0.5) & (self.age > 0.45 * self.target) & (left > 0.15 * laps) & willing
        wrong = np.where(self.tyre == _RAIN_TYRE, wetness < 0.15, wetness > _WET + 0.03) & (left > 2) & willing
        return np.asarray(worn | cheap | wrong)

    def lap(self, lap: int) -> tuple[NDArray[np.generic], ...]:
        """Advance by a lap (from 0) and return the rows of `Laps`, less `out`."""
        circuit, left = self.circuit, self.circuit.laps - lap - 1
        caution = _under(self.cautions, self.clock, circuit.base_lap_s * 1.3)
        wetness = self.weather.wet_at(self.clock)
        begin = self.clock + self.late
        order = np.argsort(np.where(self.alive, begin, np.inf), kind="stable")[: self.alive.sum()]
        alone = self._alone(lap, wetness)
        held = np.full(self.cars, 1.22 * circuit.base_lap_s)  # cars close up to the leader behind the safety car
        held[order[0]] = 1.5 * circuit.base_lap_s
        wanted = begin + alone + caution * np.maximum(held - alone, 0.0)
        difficulty = np.where(caution > 0.0, np.inf, circuit.difficulty_s if lap else 0.0)
        luck, gap = self.rng.random(self.cars), self.rng.uniform(0.4, 1.2, self.cars)
        end = _through_traffic(wanted, order, luck, difficulty, gap)

        enter = self._enter(left, wetness, caution)
        loss = circuit.pit_loss_s * np.where(caution > 0.5, 0.5, 1.0)
        fumble = np.where(self.rng.random(self.cars) < 0.03, self.rng.uniform(3.0, 15.0, self.cars), 0.0)
        end = np.round((end + enter * 0.2 * loss) * _TICK) / _TICK
        self.alive &= end < self.stop_s
        status = _status(caution, _under(self.yellows, self.clock, circuit.base_lap_s) > 0.0)
        row = (self.alive.copy(), end, self.tyre, self.age + 1, enter, self.left_pits, status)

        self.clock = np.where(self.alive, end, self.clock)
        self.late = enter * (0.8 * loss + self.rng.exponential(0.6, self.cars) + fumble)
        self.tyre = np.where(enter, _next_tyre(self.tyre, wetness, left, self.life), self.tyre)
        self.target = np.where(enter, self._stint(), self.target)
        self.age, self.left_pits = np.where(enter, 0, self.age + 1), enter
        return row


def _status(caution: Floats, yellow: Bools) -> NDArray[np.str_]:
    """FastF1's track status codes seen during the lap, per car."""
    codes = np.array(["1", "12", "14", "124", "4"])
    return np.asarray(codes[np.where(caution > 0.999, 4, yellow + 2 * (caution > 0.0))])


def run_race(
    circuit: Circuit, season: Season, pace: Floats, grid: Ints, weather: Weather, rng: np.random.Generator
) -> Laps:
    """Run the race. `pace` and `grid` are (cars,); grid 0 starts from the pit lane, behind the field.

    The race ends with the winner's last lap: the others finish the lap they are on.
    """
    race = _Race(circuit, season, pace, grid, weather, rng)
    rows = [race.lap(lap) for lap in range(circuit.laps)]
    done, end, tyre, life, pit_in, pit_out, status = (np.stack(column) for column in zip(*rows, strict=True))
    finish = end[-1][done[-1]].min()
    begin = np.vstack([np.zeros_like(end[:1]), end[:-1]])
    run = done & (begin < finish)
    last_s = np.where(run, end, 0.0).max(axis=0)
    stopped = ~race.alive & (last_s < finish)
    out = [why if s else "" for why, s in zip(race.why, stopped, strict=True)]
    return Laps(run, end, tyre, life, pit_in, pit_out, status, out)
