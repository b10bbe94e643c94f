"""What comes before the race, for a block of races at once: weather, practice, qualifying, the grid. Knows no laps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f1_predict.sources.simulator.draws import Bools, Draws, Floats, Ints, exponential, rank
from f1_predict.sources.simulator.parameters import EraParameters

BEFORE_MIN, AFTER_MIN = 60, 300
"""Weather is drawn by the minute, from an hour before the start."""


@dataclass(frozen=True)
class Weather:
    """By the minute from an hour before the start: shape (races, minutes)."""

    rainfall: Bools
    wetness: Floats  # of the track, 0 dry to 1 soaked
    air_c: Floats
    track_c: Floats
    humidity: Floats
    wind: Floats

    def wet_at(self, clock: Floats) -> Floats:
        """Track wetness at times of the race in seconds: (races, cars) for (races, cars)."""
        minute = (np.maximum(clock, 0.0) / 60.0).astype(np.int64) + BEFORE_MIN
        return np.take_along_axis(self.wetness, np.minimum(minute, self.wetness.shape[1] - 1), axis=1)


@dataclass(frozen=True)
class Qualifying:
    """Times in seconds, NaN = none set: practice and sessions (races, 3, cars); the rest (races, cars)."""

    practice: Floats
    sessions: Floats
    position: Ints
    grid: Ints  # 0 = pit lane
    penalty: Ints


def draw_weather(rain: Floats, era: EraParameters, draws: Draws) -> Weather:
    """Weather by the minute; rain falls in one or two showers, and the track dries slowly.

    Args:
        rain: (races,) the circuits' chance of it.
        era: the numbers.
        draws: of these races.
    """
    minutes = np.arange(-BEFORE_MIN, AFTER_MIN)
    luck = draws.uniform(9)
    wet_race = luck[:, 0] < rain * era.rain
    rainfall = np.zeros((rain.size, minutes.size), dtype=np.bool_)
    for shower in range(2):
        start = -40.0 + 130.0 * luck[:, 1 + shower, None]
        length = 10.0 + 60.0 * luck[:, 3 + shower, None] ** 1.5
        falls = wet_race if shower == 0 else wet_race & (luck[:, 5] < 0.5)
        rainfall |= falls[:, None] & (minutes >= start) & (minutes < start + length)
    wetness = np.zeros(rainfall.shape)
    strength = era.wetting * (0.3 + 1.4 * luck[:, 6])
    for i in range(1, minutes.size):
        wetness[:, i] = np.clip(wetness[:, i - 1] + np.where(rainfall[:, i], strength, -era.drying), 0.0, 1.0)
    drift = np.cumsum(0.05 * draws.normal(4, minutes.size), axis=2)
    level = draws.normal(1) * 5.0 + 23.0
    air = level - 3.0 * wetness + drift[:, 0]
    track = air + (5.0 + 15.0 * luck[:, 7, None]) * (1.0 - wetness) + drift[:, 1]
    humidity = np.clip(30.0 + 35.0 * luck[:, 8, None] + 30.0 * wetness + 4.0 * drift[:, 2], 5.0, 100.0)
    wind = np.abs(0.5 + 4.5 * draws.uniform(1) + 2.0 * drift[:, 3])
    return Weather(rainfall, wetness, air.round(1), track.round(1), humidity.round(1), wind.round(1))


def qualify(base_s: Floats, pace: Floats, era: EraParameters, draws: Draws) -> Qualifying:
    """Practice, three-part qualifying (a quarter of the field leaves after each part but the last), and the grid.

    Args:
        base_s: (races,) lap time of the reference car.
        pace: (races, cars) this weekend.
        era: the numbers.
        draws: of these races.
    """
    cars = pace.shape[1]
    lap = (base_s[:, None] * (1.0 + pace))[:, None]
    slower = np.array([[0.014], [0.010], [0.006]])
    practice = lap * (1.0 + slower + era.practice_sd * draws.normal(3, cars))
    practice[draws.uniform(3, cars) < 0.04] = np.nan
    # Most sessions give a clean lap and a few go wrong, so the front of the grid is in order but for a car or two.
    missed = era.missed * exponential(draws.uniform(3, cars)) * (draws.uniform(3, cars) < era.missed_rate)
    luck = era.qualifying_sd * draws.normal(3, cars) + missed
    sessions = lap * (1.0 + np.array([[0.004], [0.002], [0.0]]) + luck)
    sessions = sessions.round(3)
    draw = draws.uniform(4, cars)
    sessions[:, 0][draw[:, 0] < era.no_time_rate] = np.nan
    through = ~np.isnan(sessions[:, 0])
    key = _last(sessions[:, 0])
    for part, places in ((1, (3 * cars + 2) // 4), (2, (cars + 1) // 2)):
        through &= rank(key) < places
        sessions[:, part][~through] = np.nan
        key = np.where(through, sessions[:, part] - 1e4 * part, key)  # who goes on stands before who does not
    position = rank(key) + 1
    steps = np.array([3, 5, 10])[(3 * draw[:, 1]).astype(np.int64)]
    penalty = np.where(draw[:, 2] < era.penalty_rate, steps, 0)
    pit_lane = draw[:, 3] < era.pit_lane_rate
    pit_lane[:, 0] &= ~pit_lane.all(axis=1)  # somebody stands on the grid
    grid = rank(position + penalty + 0.5 * (penalty > 0) + 100.0 * pit_lane) + 1
    return Qualifying(practice.round(3), sessions, position, np.where(pit_lane, 0, grid), penalty)


def _last(times: Floats) -> Floats:
    return np.where(np.isnan(times), 1e6, times)
