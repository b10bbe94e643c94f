"""Simulated seasons as canonical tables. Knows the schemas; what happens in a race is in `engine`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict.config import SimulatorConfig
from f1_predict.schemas import IMPLAUSIBLE_FAST_S, IMPLAUSIBLE_SLOW_S, Tables, dtypes
from f1_predict.sources.simulator.calendar import Race, Weekends, run_all, seasons_of
from f1_predict.sources.simulator.draws import Ints, rank
from f1_predict.sources.simulator.incidents import REASONS
from f1_predict.sources.simulator.parameters import Parameters, read_parameters
from f1_predict.sources.simulator.status import CODES
from f1_predict.sources.simulator.tyres import TYRES
from f1_predict.sources.simulator.weekend import BEFORE_MIN

Columns = dict[str, NDArray[np.generic]]
_DEFAULT = SimulatorConfig()
_MOST_DOWN = 260
_STATUS = ("Finished", "+1 Lap", *(f"+{down} Laps" for down in range(2, _MOST_DOWN)), *REASONS[1:])


def simulate(
    seasons: int, seed: int, config: SimulatorConfig = _DEFAULT, parameters: Parameters | None = None
) -> Tables:
    """Simulated seasons as canonical tables, sorted, and valid as they are made.

    The same arguments give the same rows; more seasons only add rows behind them. Names, circuits
    and season numbers are invented. Lap times are multiples of 1/1024 s, so `end_time_s` equals
    the sum of `lap_time_s` exactly. Driver IDs count from `driver_001` in the order of debut.

    Args:
        seasons: how many, 1 or more.
        seed: 0 or more.
        config: first season, races a season, teams (two cars each), era.
        parameters: the numbers of every era; None for the package's own.

    Raises:
        ConfigError: if `seasons` or `seed` is out of range, the last season would be after 2200, or the era is unknown.
    """
    parameters = read_parameters() if parameters is None else parameters
    races = seasons_of(seasons, seed, config, parameters)
    names = np.array([f"driver_{number:03d}" for number in range(1 + max(race.field.debuts for race in races))])
    by_name = np.empty(names.size, dtype=np.int64)
    by_name[np.argsort(names)] = np.arange(names.size)
    parts = [_rows(races, by_name, weekends) for weekends in run_all(races, parameters)]
    frames = {name: _frame(name, [part[name] for part in parts], races, names) for name in parts[0]}
    return Tables(races=_races(races), **frames)


def _races(races: Sequence[Race]) -> pl.DataFrame:
    rows = [
        (
            _race_id(race), race.day.year, race.number, f"{race.circuit.name} Grand Prix", race.day,
            race.circuit.name.lower().replace(" ", "_"), race.circuit.length_km, race.circuit.laps, race.circuit.kind,
            race.circuit.direction, race.circuit.turns,
        )
        for race in races
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dtypes("races"), orient="row")


def _race_id(race: Race) -> str:
    return f"{race.day.year}_race_{race.number}"


def _frame(table: str, parts: Sequence[Columns], races: Sequence[Race], names: NDArray[np.str_]) -> pl.DataFrame:
    """Rows of all blocks in the order of the calendar, with codes turned to text."""
    place = np.concatenate([part["race_id"] for part in parts])
    order = np.argsort(place, kind="stable")
    texts: dict[str, Sequence[str]] = {
        "race_id": [_race_id(race) for race in races],
        "driver_id": list(names),
        "constructor_id": [f"team_{team + 1:02d}" for team in range(13)],
        "status": _STATUS,
        "compound": TYRES,
        "track_status": CODES,
    }
    columns = []
    for name, dtype in dtypes(table).items():
        if name not in parts[0]:
            columns.append(pl.repeat(None, place.size, dtype=dtype, eager=True).alias(name))
            continue
        values = np.concatenate([part[name] for part in parts])[order]
        if name in texts:
            columns.append(pl.Series(name, texts[name], dtype=pl.String).gather(values))
        else:
            columns.append(pl.Series(name, values, nan_to_null=True).cast(dtype))
    return pl.DataFrame(columns)


def _rows(races: Sequence[Race], by_name: Ints, weekends: Weekends) -> dict[str, Columns]:
    """The canonical rows of a block by table, races in the block's order, drivers by name; text still as codes."""
    driver = np.array([races[place].field.driver for place in weekends.places])
    cars = np.argsort(by_name[driver], axis=1)
    return {
        "entries": _entries(weekends, driver, cars),
        "results": _results(weekends, driver, cars),
        "laps": _laps(races, weekends, driver, cars),
        "weather": _weather(weekends),
    }


def _entries(weekends: Weekends, driver: Ints, cars: Ints) -> Columns:
    qualifying, team = weekends.qualifying, np.broadcast_to(np.arange(driver.shape[1]) // 2, driver.shape)
    values = {
        "driver_id": driver,
        "constructor_id": team,
        "car_number": driver % 1000,
        "grid": qualifying.grid,
        "grid_penalty": qualifying.penalty,
        "qualifying_position": qualifying.position,
        **{f"q{part + 1}_s": qualifying.sessions[:, part] for part in range(3)},
        **{f"fp{part + 1}_s": qualifying.practice[:, part] for part in range(3)},
    }
    return _by_driver(weekends, cars, values)


def _by_driver(weekends: Weekends, cars: Ints, values: Mapping[str, NDArray[Any]]) -> Columns:
    columns = {name: np.take_along_axis(value, cars, axis=1).ravel() for name, value in values.items()}
    return {"race_id": np.repeat(weekends.places, cars.shape[1]), **columns}


def _results(weekends: Weekends, driver: Ints, cars: Ints) -> Columns:
    """Laps completed, then the time of the last one, then the grid, decide the order."""
    laps, grid = weekends.laps, weekends.qualifying.grid
    completed = laps.run.sum(axis=0)
    last_s = np.where(laps.run, laps.end_s, 0.0).max(axis=0)
    slots = np.where(grid > 0, grid, driver.shape[1] + 1)
    most = completed.max(axis=1, keepdims=True)
    position = rank((most - completed) * 1e6 + np.where(completed > 0, last_s, slots)) + 1
    reason = _MOST_DOWN - 1 + weekends.block.incidents.reason
    values = {
        "driver_id": driver,
        "position": position,
        "classified": completed >= 9 * most // 10,  # 90 % of the winner's laps, rounded down
        "status": np.where(laps.out, reason, most - completed),
        "laps_completed": completed,
    }
    return _by_driver(weekends, cars, values)


def _laps(races: Sequence[Race], weekends: Weekends, driver: Ints, cars: Ints) -> Columns:
    laps = weekends.laps
    position = (rank(np.where(laps.run, laps.end_s, np.inf)) + 1).astype(np.int8)
    run = np.take_along_axis(laps.run.transpose(1, 2, 0), cars[:, :, None], axis=1)
    race, car, lap = np.nonzero(run)
    seat = cars[race, car]

    def rows(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return values[lap, race, seat]

    time_s = rows(np.diff(laps.end_s, axis=0, prepend=0.0)).astype(np.float64)
    length_km = np.array([races[place].circuit.length_km for place in weekends.places])
    return {
        "race_id": weekends.places[race],
        "driver_id": driver[race, seat],
        "lap": (lap + 1).astype(np.int32),
        "lap_time_s": time_s,
        "end_time_s": rows(laps.end_s),
        "position": rows(position),
        "speed_kmh": length_km[race] / time_s * 3600.0,
        "compound": rows(laps.tyre),
        "tyre_life": rows(laps.tyre_life),
        "pit_in": rows(laps.pit_in),
        "pit_out": rows(laps.pit_out),
        "track_status": rows(laps.status),
        "implausible": (time_s > IMPLAUSIBLE_SLOW_S) | (time_s < IMPLAUSIBLE_FAST_S),
    }


def _weather(weekends: Weekends) -> Columns:
    laps, weather = weekends.laps, weekends.block.weather
    end_s = np.where(laps.run, laps.end_s, 0.0).max(axis=(0, 2))
    time_s = 60.0 * np.arange(-BEFORE_MIN, weather.wetness.shape[1] - BEFORE_MIN)
    race, minute = np.nonzero(time_s <= end_s[:, None] + 300.0)
    return {
        "race_id": weekends.places[race],
        "time_s": time_s[minute],
        "air_temp_c": weather.air_c[race, minute],
        "track_temp_c": weather.track_c[race, minute],
        "humidity_pct": weather.humidity[race, minute],
        "wind_ms": weather.wind[race, minute],
        "rainfall": weather.rainfall[race, minute],
    }
