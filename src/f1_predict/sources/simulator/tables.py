"""Simulated seasons as canonical tables. Knows the schemas; what happens in a race is in `race`."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict.config import SimulatorConfig
from f1_predict.errors import ConfigError
from f1_predict.schemas import (
    IMPLAUSIBLE_FAST_S,
    IMPLAUSIBLE_SLOW_S,
    MAX_SEASON,
    TABLE_NAMES,
    Tables,
    dtypes,
)
from f1_predict.sources.simulator.race import TYRES, Laps, Qualifying, Weather, draw_weather, qualify, run_race
from f1_predict.sources.simulator.world import CIRCUITS, Circuit, Season, first_season, next_season

Names = NDArray[np.str_]
Columns = dict[str, object]
_DEFAULT = SimulatorConfig()


def simulate(seasons: int, seed: int, config: SimulatorConfig = _DEFAULT) -> Tables:
    """Simulated seasons as canonical tables, validated and sorted.

    The same arguments give the same rows; more seasons only add rows behind them. Names, circuits
    and season numbers are invented. Lap times are multiples of 1/1024 s, so `end_time_s` equals
    the sum of `lap_time_s` exactly. Driver IDs count from `driver_001` in the order of debut.

    Args:
        seasons: how many, 1 or more.
        seed: 0 or more.
        config: first season, races a season, teams (two cars each).

    Raises:
        ConfigError: if `seasons` or `seed` is out of range, or the last season would be after 2200.
    """
    if seasons < 1:
        raise ConfigError(f"the number of seasons must be 1 or more, got {seasons}. Ask for at least one.")
    if seed < 0:
        raise ConfigError(f"the seed must be 0 or more, got {seed}. Use a non-negative whole number.")
    if config.first_season + seasons - 1 > MAX_SEASON:
        raise ConfigError(
            f"the last season must be {MAX_SEASON} at most, got {config.first_season + seasons - 1}. "
            "Simulate fewer seasons, or set simulator.first_season lower."
        )
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLE_NAMES}
    field: Season | None = None
    for number in range(seasons):
        rng = _generator(seed, number, 0)
        field = first_season(config.teams, rng) if field is None else next_season(field, rng)
        calendar = np.resize(rng.permutation(len(CIRCUITS)), config.races_per_season)
        for i, circuit in enumerate(calendar):
            part = i / config.races_per_season
            day = date(config.first_season + number, 3, 1) + timedelta(days=int(280 * part))
            race = _weekend(CIRCUITS[circuit], field, part, day, i + 1, _generator(seed, number, i + 1))
            for name, columns in race.items():
                frames[name].append(pl.DataFrame(columns, schema=dtypes(name), nan_to_null=True))
    return Tables(**{name: pl.concat(parts) for name, parts in frames.items()}).sort().validate()


def _generator(seed: int, season: int, race: int) -> np.random.Generator:
    """One generator for each race (and race 0, the winter before): none depends on another's draws."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(season, race)))


def _weekend(
    circuit: Circuit, field: Season, part: float, day: date, number: int, rng: np.random.Generator
) -> dict[str, Columns]:
    """The canonical rows of one race weekend, by table."""
    race_id = f"{day.year}_race_{number}"
    cars, teams = field.driver.size, field.car.size
    pace = field.pace(part) + rng.normal(0.0, 0.0015, teams)[field.team]
    qualifying = qualify(circuit, pace, rng)
    weather = draw_weather(circuit, rng)
    laps = run_race(circuit, field, pace + rng.normal(0.0, 0.0015, cars), qualifying.grid, weather, rng)
    drivers = np.array([f"driver_{driver:03d}" for driver in field.driver])
    return {
        "races": {
            "race_id": [race_id],
            "season": [day.year],
            "round": [number],
            "name": [f"{circuit.name} Grand Prix"],
            "date": [day],
            "circuit_id": [circuit.name.lower().replace(" ", "_")],
            "course_length_km": [circuit.length_km],
            "scheduled_laps": [circuit.laps],
            "circuit_type": [circuit.kind],
            "direction": [circuit.direction],
            "turns": [circuit.turns],
        },
        "entries": _entries(race_id, drivers, field, qualifying),
        "results": _results(race_id, drivers, qualifying, laps),
        "laps": _laps(race_id, drivers, circuit, laps),
        "weather": _weather(race_id, weather, float(laps.end_s[laps.run].max())),
    }


def _entries(race_id: str, drivers: Names, field: Season, qualifying: Qualifying) -> Columns:
    sessions = {f"q{i + 1}_s": times for i, times in enumerate(qualifying.sessions)}
    practice = {f"fp{i + 1}_s": times for i, times in enumerate(qualifying.practice)}
    return {
        "race_id": [race_id] * drivers.size,
        "driver_id": drivers,
        "constructor_id": [f"team_{team + 1:02d}" for team in field.team],
        "car_number": field.driver % 1000,
        "grid": qualifying.grid,
        "grid_penalty": qualifying.penalty,
        "qualifying_position": qualifying.position,
        **sessions,
        **practice,
        "fp4_s": [None] * drivers.size,
    }


def _results(race_id: str, drivers: Names, qualifying: Qualifying, laps: Laps) -> Columns:
    """Laps completed, then the time of the last one, then the grid, decide the order."""
    completed = laps.run.sum(axis=0)
    last_s = np.where(laps.run, laps.end_s, 0.0).max(axis=0)
    grid = np.where(qualifying.grid > 0, qualifying.grid, drivers.size + 1)
    position = np.empty(drivers.size, dtype=np.int64)
    position[np.lexsort((grid, last_s, -completed))] = np.arange(1, drivers.size + 1)
    down = completed.max() - completed
    finished = ["Finished" if d == 0 else f"+{d} Lap{'s' if d > 1 else ''}" for d in down]
    return {
        "race_id": [race_id] * drivers.size,
        "driver_id": drivers,
        "position": position,
        "classified": completed >= 9 * completed.max() // 10,  # 90 % of the winner's laps, rounded down
        "status": [reason or status for reason, status in zip(laps.out, finished, strict=True)],
        "laps_completed": completed,
    }


def _laps(race_id: str, drivers: Names, circuit: Circuit, laps: Laps) -> Columns:
    time_s = np.diff(laps.end_s, axis=0, prepend=0.0)
    rank = np.argsort(np.argsort(np.where(laps.run, laps.end_s, np.inf), axis=1, kind="stable"), axis=1) + 1
    lap, car = np.nonzero(laps.run)
    run_s = time_s[laps.run]
    return {
        "race_id": [race_id] * lap.size,
        "driver_id": drivers[car],
        "lap": lap + 1,
        "lap_time_s": run_s,
        "end_time_s": laps.end_s[laps.run],
        "position": rank[laps.run],
        "speed_kmh": circuit.length_km / run_s * 3600.0,
        "compound": np.array(TYRES)[laps.tyre[laps.run]],
        "tyre_life": laps.tyre_life[laps.run],
        "pit_in": laps.pit_in[laps.run],
        "pit_out": laps.pit_out[laps.run],
        "track_status": laps.status[laps.run],
        "speed_trap_kmh": [None] * lap.size,
        "implausible": (run_s > IMPLAUSIBLE_SLOW_S) | (run_s < IMPLAUSIBLE_FAST_S),
    }


def _weather(race_id: str, weather: Weather, end_s: float) -> Columns:
    shown = weather.time_s <= end_s + 300.0
    return {
        "race_id": [race_id] * int(shown.sum()),
        "time_s": weather.time_s[shown],
        "air_temp_c": weather.air_c[shown],
        "track_temp_c": weather.track_c[shown],
        "humidity_pct": weather.humidity[shown],
        "wind_ms": weather.wind[shown],
        "rainfall": weather.rainfall[shown],
    }
