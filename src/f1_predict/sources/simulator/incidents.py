"""What happens to a block of races by the clock: retirements, damage, safety cars, red flags. Knows no laps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f1_predict.sources.simulator.draws import Bools, Draws, Floats, Ints, exponential
from f1_predict.sources.simulator.parameters import EraParameters
from f1_predict.sources.simulator.weekend import Weather

FAULTS = ("Engine", "Gearbox", "Hydraulics", "Brakes", "Suspension", "Electrical", "Power Unit", "Retired")
CRASHES = ("Collision", "Accident", "Spun off")
REASONS = ("", *FAULTS, *CRASHES)
"""Why a car stopped; "" if it did not."""
SAFETY_CAR, VIRTUAL = 1, 2
MOST_CAUTIONS = 6
YELLOW_S = 50.0
"""Yellow flags wave for a stopped car for so long."""
_FAULT_WEIGHTS = np.array([0.30, 0.14, 0.13, 0.11, 0.10, 0.09, 0.07, 0.06])
_CRASH_WEIGHTS = np.array([0.55, 0.28, 0.17])


@dataclass(frozen=True)
class Incidents:
    """Times are seconds on the race's clock, inf = never.

    Attributes:
        stop_s: (races, cars) when a car stops for good.
        reason: (races, cars) index in REASONS.
        limps: (races, cars) it reaches the pits before that.
        damage_lap: (races, cars) lap (from 0) on which it is damaged, -1 for none.
        damage: (races, cars) share of the lap lost by it.
        kind: (races, MOST_CAUTIONS) SAFETY_CAR, VIRTUAL, or 0 for none.
        start_s, end_s: (races, MOST_CAUTIONS) of each caution.
        red_s, restart_s: (races,) when the race is stopped, and when it goes on.
        ended: (races,) it is not started again.
    """

    stop_s: Floats
    reason: Ints
    limps: Bools
    damage_lap: Ints
    damage: Floats
    kind: Ints
    start_s: Floats
    end_s: Floats
    red_s: Floats
    restart_s: Floats
    ended: Bools


def draw_incidents(
    base_s: Floats, laps: Ints, caution: Floats, slots: Ints, trouble: Floats, back: Floats, weather: Weather,
    era: EraParameters, draws: Draws,
) -> Incidents:  # fmt: skip
    """Draw them before the race, which then runs into them.

    Args:
        base_s, laps, caution: (races,) of the circuits: reference lap, race distance, chance of safety cars.
        slots: (races, cars) places on the grid, the pit lane last.
        trouble: (races, cars) how often the car breaks down, 1 = average.
        back: (races, cars) how often it crashes, 1 = average.
        weather: for crashes on a wet track.
        era: the numbers.
        draws: of these races.
    """
    cars = slots.shape[1]
    duration = (1.06 * base_s * laps)[:, None]
    luck = draws.uniform(14, cars)
    wet_s = duration * luck[:, 0]
    wet = weather.wet_at(wet_s)
    broken = luck[:, 1] < era.mechanical_rate * trouble
    crashed = luck[:, 2] < era.crash_rate * back * (1.0 + era.wet_trouble * wet)
    early = luck[:, 3] < era.first_lap_share
    crash_s = np.where(early, 8.0 + 0.75 * base_s[:, None] * luck[:, 0], wet_s)
    fault_s = duration * luck[:, 4] ** 0.9
    stop = np.where(broken, fault_s, np.inf)
    crashes = crashed & (crash_s < stop)
    stop = np.where(crashes, crash_s, stop)
    stop, crashes = _second_cars(stop, crashes, slots, luck[:, 5] < era.second_car_chance)
    everybody = np.isfinite(stop).all(axis=1)
    last = np.argmax(stop, axis=1)
    stop[everybody, last[everybody]] = np.inf  # somebody has to win
    crashes &= np.isfinite(stop)
    fault = np.searchsorted(np.cumsum(_FAULT_WEIGHTS)[:-1], luck[:, 6], side="right")
    crash = np.searchsorted(np.cumsum(_CRASH_WEIGHTS)[:-1], luck[:, 6], side="right")
    reason = np.where(crashes, 1 + len(FAULTS) + crash, np.where(np.isfinite(stop), 1 + fault, 0))
    damaged = luck[:, 7] < era.damage_rate
    on_lap = np.where(luck[:, 8] < 0.5, 0, luck[:, 8] * 2.0 - 1.0) * laps[:, None]
    chance = np.where(crashes, era.crash_caution_chance, era.breakdown_caution_chance) * caution[:, None]
    calls = np.where(np.isfinite(stop) & (luck[:, 9] < chance), stop, np.inf)
    kind, start, end, red, restart, ended = _cautions(calls, base_s, laps, caution, era, draws)
    pause = np.subtract(restart, red, out=np.zeros_like(red), where=np.isfinite(red))[:, None]
    return Incidents(
        stop_s=np.where(stop > red[:, None], stop + pause, stop),
        reason=reason,
        limps=~crashes & (luck[:, 10] < era.limp_chance),
        damage_lap=np.where(damaged, on_lap.astype(np.int64), -1),
        damage=era.damage * exponential(luck[:, 11]),
        kind=kind, start_s=start, end_s=end, red_s=red, restart_s=restart, ended=ended,
    )  # fmt: skip


def _second_cars(stop: Floats, crashes: Bools, slots: Ints, hits: Bools) -> tuple[Floats, Bools]:
    """A crash takes the car from the next place of the grid along, if `hits`."""
    at_slot = np.argsort(slots, axis=1, kind="stable")
    by_slot = np.take_along_axis(np.where(crashes & hits, stop, np.inf), at_slot, axis=1)
    hit_s = np.full_like(stop, np.inf)
    hit_s[:, 1:] = by_slot[:, :-1]
    reached = np.empty_like(stop)
    np.put_along_axis(reached, at_slot, hit_s, axis=1)
    return np.minimum(stop, reached), crashes | (reached < stop)


def _cautions(
    calls: Floats, base_s: Floats, laps: Ints, caution: Floats, era: EraParameters, draws: Draws
) -> tuple[Ints, Floats, Floats, Floats, Floats, Bools]:
    """Safety cars for the incidents that call for one, and the stop of the race that one may become."""
    races = base_s.size
    luck, debris = draws.uniform(6, MOST_CAUTIONS), draws.uniform(3)
    spare = np.where(debris[:, 0] < era.debris_rate * caution, debris[:, 1] * base_s * laps, np.inf)
    calls = np.sort(np.concatenate([calls, spare[:, None]], axis=1), axis=1)[:, :MOST_CAUTIONS]
    calls = np.pad(calls, ((0, 0), (0, MOST_CAUTIONS - calls.shape[1])), constant_values=np.inf)
    kind = np.zeros((races, MOST_CAUTIONS), dtype=np.int64)
    start, end = np.full(kind.shape, np.inf), np.full(kind.shape, np.inf)
    red, restart = np.full(races, np.inf), np.full(races, np.inf)
    ended, free, pause = np.zeros(races, dtype=np.bool_), np.zeros(races), np.zeros(races)
    for i in range(calls.shape[1]):
        at = calls[:, i] + 12.0 + 25.0 * luck[:, 0, i] + pause
        new = np.isfinite(at) & (at > free)
        virtual = luck[:, 1, i] < era.virtual_share
        lengths = np.where(virtual, era.virtual_laps * era.virtual_time, era.safety_car_laps * era.safety_car_time)
        length = lengths * base_s * (0.5 + 0.5 * exponential(luck[:, 2, i]))
        stopped = new & ~virtual & (luck[:, 3, i] < era.red_flag_share) & ~np.isfinite(red)
        over = stopped & (luck[:, 4, i] < era.red_flag_end_chance) & (at > 0.6 * base_s * laps)
        length = np.where(stopped, np.minimum(length, 60.0 + 60.0 * luck[:, 5, i]), length)
        red = np.where(stopped, at + length, red)
        halt = 60.0 * era.red_flag_min * (0.4 + 0.6 * exponential(luck[:, 5, i] * 0.999))
        restart = np.where(stopped, red + halt, restart)
        pause = np.where(stopped, halt, pause)
        ended |= over
        kind[new, i] = np.where(virtual, VIRTUAL, SAFETY_CAR)[new]
        start[new, i] = at[new]  # after a stop the race goes on behind the safety car
        end[new, i] = np.where(stopped, restart + 2.5 * luck[:, 5, i] * base_s, at + length)[new]
        free = np.where(new, at + length + 20.0, free)
        free = np.where(stopped, end[:, i] + 20.0, free)
    return kind, start, end, red, restart, ended
