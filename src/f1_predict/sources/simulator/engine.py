"""The race, lap by lap, for a block of races at once: every array is (races, cars).

Safety cars, rain and retirements happen on each race's clock, so that cars on different laps meet them at the same
moment. Not modelled: the two-hour limit, time penalties as such. Knows nothing of tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_predict.sources.simulator.draws import Bools, Draws, Floats, Ints, exponential
from f1_predict.sources.simulator.incidents import SAFETY_CAR, VIRTUAL, Incidents
from f1_predict.sources.simulator.parameters import EraParameters
from f1_predict.sources.simulator.status import Statuses, span
from f1_predict.sources.simulator.traffic import NEVER, Lapping, running_order, through_traffic
from f1_predict.sources.simulator.tyres import INTERMEDIATE, Tyres
from f1_predict.sources.simulator.weekend import Weather

TICK = 1024.0
"""Lap times are multiples of 1/1024 s, so that any sum of them is exact in binary floating point."""
_NOISE, _DRIFT, _STINT, _MISTAKE, _LUCK, _GAP, _WILLING, _SLOW = range(8)
_NORMALS, _KINDS = 3, 8
_RELEASE_S = 1.2  # between cars that leave the pit lane after the race was stopped


@dataclass(frozen=True)
class Block:
    """Races of one era that are run together.

    Attributes:
        base_s, laps, difficulty_s, pit_loss_s, line_share: (races,) of the circuits.
        pace, wet: (races, cars) dry share of the pace, and what a soaked track adds.
        grid: (races, cars) 0 = pit lane.
        weather, incidents, tyres: of these races.
        era: the numbers.
    """

    base_s: Floats
    laps: Ints
    difficulty_s: Floats
    pit_loss_s: Floats
    line_share: Floats
    pace: Floats
    wet: Floats
    grid: Ints
    weather: Weather
    incidents: Incidents
    tyres: Tyres
    era: EraParameters


@dataclass(frozen=True)
class Laps:
    """The races: arrays (laps, races, cars). `run` marks laps that were completed before the race was over.

    `status` indexes `status.CODES`; `out` is (races, cars), a car that did not reach the end.
    """

    run: Bools
    end_s: Floats
    tyre: NDArray[np.int8]
    tyre_life: NDArray[np.int8]
    pit_in: Bools
    pit_out: Bools
    status: NDArray[np.int8]
    out: Bools


def run_races(block: Block, draws: Draws) -> Laps:
    """Run the races. Each ends with its winner's last lap: the others finish the lap they are on."""
    race = _Races(block, draws)
    shape = (int(block.laps.max()), *block.pace.shape)
    done, end = np.zeros(shape, dtype=np.bool_), np.zeros(shape)
    tyre, life, status = (np.zeros(shape, dtype=np.int8) for _ in range(3))
    pit_in, pit_out = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    for lap in range(shape[0]):
        tyre[lap], life[lap], pit_out[lap] = race.tyre, np.minimum(race.age + 1, 127), race.left_pits
        done[lap], end[lap], pit_in[lap], status[lap] = race.lap(lap)
    races = np.arange(block.laps.size)
    final = np.where(done, end, NEVER)[block.laps - 1, races].min(axis=1)
    finish = np.where(block.incidents.ended, np.minimum(final, block.incidents.red_s), final)
    begin = np.concatenate([np.zeros_like(end[:1]), end[:-1]])
    halted = block.incidents.ended & (block.incidents.red_s < final)
    run = done & np.where(halted[:, None], end <= finish[:, None], begin < finish[:, None])
    last_s = np.where(run, end, 0.0).max(axis=0)
    whole = run.sum(axis=0) >= block.laps[:, None]
    stops = block.incidents.stop_s
    out = ~race.alive & ~whole & np.where(halted[:, None], stops < finish[:, None], last_s < finish[:, None])
    return Laps(run, end, tyre, life, pit_in, pit_out, status, out)


class _Races:
    """The state of running races; `lap` advances all cars by one lap."""

    def __init__(self, block: Block, draws: Draws) -> None:
        self.block, self.era, self.tyres, self.incidents = block, block.era, block.tyres, block.incidents
        races, cars = block.pace.shape
        self.base, self.laps = block.base_s[:, None], block.laps[:, None]
        self.raining: Bools = block.weather.wetness.max(axis=1) > 0.0
        self.statuses, self.lapping = Statuses(block.incidents), Lapping(races, cars)
        start = draws.normal(cars)
        slots = np.where(block.grid > 0, block.grid, cars + 5)
        self.late = self.era.grid_gap_s * slots**self.era.grid_gap_power + self.era.start_sd_s * start * (
            0.3 + 0.117 * np.minimum(slots, 6)
        )
        self.late -= np.minimum(self.late.min(axis=1, keepdims=True), 0.0)
        self.clock = np.zeros((races, cars))  # end of the last lap, seconds since the start
        self.alive = np.ones((races, cars), dtype=np.bool_)
        self.left_pits = np.zeros((races, cars), dtype=np.bool_)
        self.provoked = np.zeros((races, cars), dtype=np.bool_)
        self.under = np.zeros((races, cars), dtype=np.bool_)
        self.age = np.zeros((races, cars), dtype=np.int64)
        self.space, self.closing_s = np.full((races, cars), 0.5), np.full((races, cars), -1.0)
        self.drift, self.hurt = np.zeros((races, cars)), np.zeros((races, cars))
        self.chaos = exponential(draws.uniform(1))  # of the first lap: some starts go wrong for many
        self.safety_car_time = self.era.safety_car_time * (1.0 + self.era.safety_car_sd * draws.normal(1))
        self.queue = draws.uniform(1)[:, 0] < self.era.unlapping_chance
        wetness = block.weather.wet_at(self.clock)
        self.tyre = self.tyres.first(wetness, draws)
        self.used = np.where(self.tyre < INTERMEDIATE, 1 << self.tyre, 0)
        self.target = self.tyres.target(self.tyre, self.laps, self._both(), draws.normal(cars))
        self.fuel = (
            np.minimum(self.target, self.laps) if self.era.refuelling else np.broadcast_to(self.laps, slots.shape)
        )
        self.draws = draws.by_lap(block.laps, _KINDS, _NORMALS, cars)

    def _both(self) -> Bools:
        """Two dry compounds used, or the rule of two waived for rain."""
        return np.asarray((self.used & (self.used - 1) != 0) | (self.tyre >= INTERMEDIATE))

    def lap(self, lap: int) -> tuple[Bools, Floats, Bools, NDArray[np.int8]]:
        """Advance by a lap (from 0): who completed it, when, who ended it in the pits, the track status seen."""
        draws, left = self.draws[lap], self.laps - lap - 1
        running = self.alive & (left >= 0)
        begin = self._begin(running)
        order, ahead, behind = running_order(begin, running)
        real, virtual = self._caution_shares(begin, running)
        wetness = self._wetness()
        alone = self._alone(lap, draws, wetness, ahead, behind)
        calm = np.take_along_axis(real + virtual, order[:, :1], axis=1)[:, 0] == 0.0
        lapped, laps_others = self.lapping(self.clock, running, 1.03 * self.block.base_s, calm)
        alone += self.era.blue_flag_s * lapped + self.era.lapping_s * laps_others
        wanted = begin + self._behind_safety_car(draws, begin, alone, real, virtual, order)
        end = through_traffic(
            order,
            np.where(running, wanted, NEVER),
            self._threshold(lap, draws, real + virtual, wetness),
            np.where(self.raining, 0.5, 1.0)[:, None] * self.era.reach_s,
            self._follow_gaps(lap, draws, real),
        )
        return self._finish_lap(lap, draws, end, running, np.maximum(real, 0.7 * virtual), wetness)

    def _begin(self, running: Bools) -> Floats:
        """When the cars begin the lap; nobody does while the race is stopped."""
        begin, incidents = self.clock + self.late, self.incidents
        held = running & (self.clock >= incidents.red_s[:, None]) & (self.clock < incidents.restart_s[:, None])
        rows = np.flatnonzero(held.any(axis=1))
        if rows.size:
            first = np.where(held[rows], self.clock[rows], np.inf)
            place = np.argsort(np.argsort(first, axis=1, kind="stable"), axis=1)
            restart = incidents.restart_s[rows, None] + _RELEASE_S * place
            begin[rows] = np.where(held[rows], restart, begin[rows])
        return begin

    def _caution_shares(self, begin: Floats, running: Bools) -> tuple[Floats, Floats]:
        """Share of the lap behind the safety car, real and virtual."""
        real, virtual, incidents = np.zeros(begin.shape), np.zeros(begin.shape), self.incidents
        length = 1.3 * self.base
        until = begin + length
        opens, closes = span(begin, until, running)
        for i in range(incidents.kind.shape[1]):
            rows = np.flatnonzero((opens < incidents.end_s[:, i]) & (closes > incidents.start_s[:, i]))
            if not rows.size:
                continue
            inside = np.minimum(until[rows], incidents.end_s[rows, i, None])
            inside -= np.maximum(begin[rows], incidents.start_s[rows, i, None])
            share = np.maximum(inside, 0.0) / length[rows]
            real[rows] += share * (incidents.kind[rows, i, None] == SAFETY_CAR)
            virtual[rows] += share * (incidents.kind[rows, i, None] == VIRTUAL)
        return np.minimum(real, 1.0), np.minimum(virtual, 1.0)

    def _wetness(self) -> Floats:
        wetness = np.zeros(self.clock.shape)
        if self.raining.any():
            wetness = self.block.weather.wet_at(self.clock)
        return wetness

    def _alone(self, lap: int, draws: NDArray[np.float32], wetness: Floats, ahead: Floats, behind: Floats) -> Floats:
        """Seconds the lap takes before safety cars and those who are in the way."""
        era = self.era
        noisy = 1.0 + era.wet_noise * np.minimum(wetness, 1.0)
        self.drift = era.drift_kept * self.drift + era.drift_noise * draws[_DRIFT] * noisy
        share = self.block.pace + self.block.wet * wetness + self.drift + self.hurt
        share += era.lap_noise * draws[_NOISE] * noisy
        share += self.tyres.loss(self.tyre, self.age, wetness, self.raining)
        share += era.fuel * np.maximum(self.fuel - self.age if era.refuelling else self.fuel - lap, 0.0) / self.laps
        free = np.clip(np.minimum(ahead, behind) / era.ease_gap_s - 1.0, 0.0, 1.0)
        share += era.ease * free
        away = np.clip(behind / era.lead_ease_gap_s - 1.0, 0.0, 1.0)
        share += np.where(ahead == NEVER, era.lead_ease * away, 0.0)
        seconds = self.base * (1.0 + share)
        slip = draws[_MISTAKE]
        rate, mean = (era.mistake_rate, era.mistake_s) if lap else (era.first_lap_rate * self.chaos, era.first_lap_s)
        chance = np.minimum(rate * noisy, 0.5)
        seconds += np.where(slip < chance, -mean * np.log(np.maximum(slip, 1e-6) / np.maximum(chance, 1e-6)), 0.0)
        if lap:
            seconds += era.dirty_air_s * np.exp(-np.minimum(ahead, 60.0) / era.dirty_reach_s)
        else:
            seconds += era.start_loss_s
        hit = self.incidents.damage_lap == lap
        self.hurt = np.where(hit, self.incidents.damage, self.hurt)
        return np.asarray(seconds + hit * 400.0 * np.minimum(self.incidents.damage, 0.03))

    def _behind_safety_car(
        self, draws: NDArray[np.float32], begin: Floats, alone: Floats, real: Floats, virtual: Floats, order: Ints
    ) -> Floats:
        """Seconds the lap takes with cautions: the leader sets the pace, the others close up."""
        era = self.era
        noise = 1.0 + era.caution_noise * draws[_DRIFT]
        held = np.full(begin.shape, era.catch_up_time)
        np.put_along_axis(held, order[:, :1], self.safety_car_time, axis=1)
        gap = begin - np.take_along_axis(begin, order[:, :1], axis=1)
        down = (gap > 0.98 * self.base) & ~self.queue[:, None]
        rows = np.flatnonzero((down & (real > 0.0)).any(axis=1))
        if rows.size:  # lapped cars that may not unlap themselves close up to the queue, and stay a lap behind
            share, base = np.maximum(real[rows], 1e-3), self.base[rows]
            first = self.closing_s[rows] < 0.0
            rest = np.where(first, gap[rows] % base, self.closing_s[rows])
            slow = self.safety_car_time[rows]
            step = np.minimum(rest, np.maximum(slow - era.catch_up_time, 0.0) * base * share)
            held[rows] = np.where(down[rows], slow - step / share / base, held[rows])
            self.closing_s[rows] = rest - step
        self.closing_s[real == 0.0] = -1.0
        held *= self.base * noise
        slowed = alone + real * np.maximum(held - alone, 0.0)
        return np.asarray(
            slowed + virtual * np.maximum(era.virtual_time * self.base * noise - alone, 0.0) * (real < 1.0)
        )

    def _threshold(self, lap: int, draws: NDArray[np.float32], caution: Floats, wetness: Floats) -> Floats:
        """How much quicker over the lap each car must be for a pass, in seconds."""
        luck = np.clip(draws[_LUCK], 1e-4, 1.0 - 1e-4)
        difficulty = self.block.difficulty_s[:, None] * self.era.difficulty * (1.0 - 0.5 * wetness)
        needs = difficulty * (lap > 0) + self.era.overtake_scale_s * np.log(luck / (1.0 - luck))
        return np.where(caution > 0.0, NEVER, np.minimum(needs, 5.0))

    def _follow_gaps(self, lap: int, draws: NDArray[np.float32], real: Floats) -> Floats:
        """Seconds behind the car ahead at the line, at least."""
        self.space = 0.8 * self.space + 0.2 * draws[_GAP]
        gap = self.era.follow_gap_s * np.clip(4.0 * self.space - 1.0, 0.2, 3.0)
        return np.asarray(gap * (0.6 if lap == 0 else np.where(real > 0.0, 0.8, 1.0)))

    def _finish_lap(
        self, lap: int, draws: NDArray[np.float32], end: Floats, running: Bools, caution: Floats, wetness: Floats,
    ) -> tuple[Bools, Floats, Bools, NDArray[np.int8]]:  # fmt: skip
        """Stops, retirements and what they do to the state."""
        era, block, incidents, left = self.era, self.block, self.incidents, self.laps - lap - 1
        under = caution > 0.35
        repair = (incidents.damage_lap == lap) & (draws[_WILLING] < era.damage_stop_chance) & (left > 0)
        enter = running & (self._stops(lap, draws, left, under, wetness) | repair)
        slow = draws[_SLOW]
        trouble = np.where(
            slow < era.slow_stop_rate,
            -era.slow_stop_s * np.log(np.maximum(slow, 1e-6) / max(era.slow_stop_rate, 1e-6)),
            0.0,
        )
        loss = (block.pit_loss_s * era.pit_loss)[:, None] * np.where(under, era.caution_loss, 1.0)
        loss = loss + np.abs(era.stop_sd_s * draws[_STINT]) + trouble + 5.0 * repair
        line = block.line_share[:, None]
        end = end + enter * line * loss
        fails = running & (end >= incidents.stop_s)
        limping = fails & incidents.limps
        end = np.where(running, end + limping * self.base * (0.04 + 0.6 * draws[_WILLING] ** 2), 0.0)
        end = np.maximum(np.round(end * TICK), np.round(self.clock * TICK)) / TICK
        red = incidents.red_s[:, None]
        halted = running & (self.clock < red) & (end >= red) & (end < incidents.restart_s[:, None])
        status = self.statuses(self.clock, end, running)
        done = running & (~fails | limping)
        pit_in = (enter | halted | limping) & done
        self.alive &= ~fails
        change = (enter | (halted & (draws[_WILLING] < 0.8))) & done
        self._provoke(end, done, enter)
        self.clock = np.where(done, end, self.clock)
        self.late = np.where(enter & ~halted, (1.0 - line) * loss, 0.0)
        self._change(change, left, wetness, draws)
        self.left_pits, self.under = pit_in & self.alive, under
        self.hurt = np.where(change, 0.35 * self.hurt, self.hurt)
        return done, end, pit_in, status

    def _stops(self, lap: int, draws: NDArray[np.float32], left: Ints, under: Bools, wetness: Floats) -> Bools:
        """Who stops for tyres at the end of this lap, with `left` laps to go."""
        era, willing, age = self.era, draws[_WILLING], self.age + 1
        time_left = left > np.maximum(3.0, era.late_stop_share * self.laps)
        worn = (age >= self.target) & time_left
        cheap = under & (age > era.caution_age * np.minimum(self.target, self.tyres.life_of(self.tyre))) & time_left
        cheap &= willing < np.where(self.under, 0.3, 1.0) * era.caution_chance
        covers = self.provoked & (age > 0.6 * self.target) & time_left & (willing < era.cover_chance)
        stops = worn | cheap | covers
        rows = np.flatnonzero(self.raining)
        if rows.size:
            stops[rows] |= self._wrong_tyre(rows, wetness[rows], left[rows]) & (willing[rows] < 0.5)
        return np.asarray(stops & (left > 0))

    def _wrong_tyre(self, rows: Ints, wetness: Floats, left: Ints) -> Bools:
        """The tyre is of the wrong kind for the water by more than the teams overlook."""
        slick, inter, wet = self.tyres.in_rain(wetness)
        tyre = self.tyre[rows]
        own = np.where(tyre < INTERMEDIATE, slick, np.where(tyre == INTERMEDIATE, inter, wet))
        return np.asarray((own > np.minimum(np.minimum(slick, inter), wet) + self.era.overlooked) & (left > 2))

    def _provoke(self, end: Floats, done: Bools, enter: Bools) -> None:
        """Remember whose follower has stopped: it may stop next lap to stay ahead."""
        key = np.where(done, end, NEVER)
        order = np.argsort(key, axis=1, kind="stable")
        at, pits = np.take_along_axis(key, order, axis=1), np.take_along_axis(enter, order, axis=1)
        threat = np.zeros(pits.shape, dtype=np.bool_)
        threat[:, :-1] = pits[:, 1:] & (np.diff(at, axis=1) < self.era.cover_gap_s + 5.0)
        np.put_along_axis(self.provoked, order, threat, axis=1)

    def _change(self, change: Bools, left: Ints, wetness: Floats, draws: NDArray[np.float32]) -> None:
        """New tyres (and fuel), and the next plan; a lap more on the others."""
        self.age += 1
        rows = np.flatnonzero(change.any(axis=1))
        if not rows.size:
            return
        at = _Rows(self.tyres, rows)
        mine, left = change[rows], np.broadcast_to(left[rows], change[rows].shape)
        tyre = at.next(self.tyre[rows], self.used[rows], left, wetness[rows], draws[_GAP][rows].astype(np.float64))
        tyre = np.where(mine, tyre, self.tyre[rows])
        self.tyre[rows] = tyre
        self.used[rows] |= np.where(mine & (tyre < INTERMEDIATE), 1 << np.minimum(tyre, 2), 0)
        used = self.used[rows]
        both = (used & (used - 1) != 0) | (tyre >= INTERMEDIATE)
        target = at.target(tyre, left, both, draws[_STINT][rows].astype(np.float64))
        self.target[rows] = np.where(mine, target, self.target[rows])
        self.age[rows] = np.where(mine, 0, self.age[rows])
        if self.era.refuelling:
            self.fuel[rows] = np.where(mine, np.minimum(target, left), self.fuel[rows])


class _Rows(Tyres):
    """The tyres of some of the races."""

    def __init__(self, tyres: Tyres, rows: Ints) -> None:
        self.era, self.laps, self.new = tyres.era, tyres.laps[rows], tyres.new
        self.life, self.usual = tyres.life[rows], tyres.usual[rows]
