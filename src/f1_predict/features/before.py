"""Features known before the start, from the history, the calendar row and the entries.

The history is only moved on to the race's season, which a second call does not repeat. Never sees
laps, weather or results of the race itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

import numpy as np

from f1_predict.features.catalogue import LINEAR_INPUTS, RANKED
from f1_predict.features.history import History, mean
from f1_predict.features.linear import centred_rank
from f1_predict.features.ratings import expected_position
from f1_predict.features.records import RaceRecord, Start
from f1_predict.features.sessions import (
    Field,
    Floats,
    field_rank,
    fullest_session_gap_pct,
    gap_pct,
    grid_rank,
    latest_session_gap_pct,
    relative,
    smallest,
    teammate_gap_pct,
    teammates,
)
from f1_predict.horizon import RaceInfo

Columns = dict[str, Floats]


def before_start(history: History, race: RaceInfo, field: Field) -> Columns:
    """The features known before the start, each (n,) float64 with NaN for unknown.

    A race without entries has no columns.
    """
    if len(field) == 0:
        return {}
    history.begin(race.season)
    finish_rate = history.finish_rate()
    key = _key_columns(history, race.season, field)
    columns = {
        **_calendar(history, race, len(field), finish_rate),
        **key,
        **_sessions(field),
        **_ratings(history, field),
        **_logs([_driver(history, race, name, finish_rate) for name in field.driver_ids]),
        **_logs([_constructor(history, race, name, finish_rate) for name in field.constructor_ids]),
        "linear_forecast": history.linear.forecast(_linear_inputs(key)),
    }
    return {**columns, **{f"{name}_rank": field_rank(columns[name]) for name in RANKED}}


def learn(history: History, record: RaceRecord) -> None:
    """Add a finished race to the history, and teach the linear forecast what it knew before it."""
    history.begin(record.season)
    if record.starts:
        inputs = _linear_inputs(_key_columns(history, record.season, record.field))
        history.linear.learn(inputs, relative(record.position))
    history.add(record)


def _linear_inputs(key: Columns) -> Floats:
    return np.column_stack([centred_rank(key[name]) for name in LINEAR_INPUTS])


def _key_columns(history: History, season: int, field: Field) -> Columns:
    """The features that the linear forecast is made of."""
    ratings, names, teams = history.pace_ratings, field.driver_ids, field.constructor_ids
    drivers = [history.drivers.get(name, []) for name in names]
    seasons = [_of_season(log, season) for log in drivers]
    cars = {name: mean(start.pace for start in history.constructor_season(name, season)) for name in set(teams)}
    return {
        "grid_rank": grid_rank(field.grid),
        "qualifying_gap_pct": gap_pct(smallest(field.qualifying)),
        "practice_gap_pct": gap_pct(smallest(field.practice)),
        "pace_expected_position": expected_position(ratings.of_drivers(names) + ratings.of_constructors(teams)),
        "driver_form_pace": np.array([mean(s.pace for s in log[-history.config.form_races :]) for log in drivers]),
        "driver_season_classified": np.array([mean(s.finish_classified for s in starts) for starts in seasons]),
        "constructor_season_pace": np.array([cars[name] for name in teams]),
    }


def _of_season(log: Sequence[Start], season: int) -> list[Start]:
    """The starts of a season, the latest one first."""
    return list(takewhile(lambda start: start.season == season, reversed(log)))


def _logs(rows: Sequence[dict[str, float]]) -> Columns:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _calendar(history: History, race: RaceInfo, n: int, finish_rate: float) -> Columns:
    known = history.races.get(race.circuit_id, [])
    values = {
        "season": race.season,
        "round": race.round,
        "n_starters": n,
        "circuit_id": history.circuits.get(race.circuit_id, 0),
        "course_length_km": race.course_length_km,
        "scheduled_laps": race.scheduled_laps,
        "street_circuit": None if race.circuit_type is None else race.circuit_type == "STREET",
        "turns": race.turns,
        "circuit_attrition": mean(1.0 - record.finish_rate for record in known),
        "circuit_grid_correlation": mean(record.grid_correlation for record in known),
        "field_finish_rate": finish_rate,
    }
    return {name: np.full(n, np.nan if value is None else float(value)) for name, value in values.items()}


def _sessions(field: Field) -> Columns:
    return {
        "pit_lane_start": (field.grid == 0).astype(np.float64),
        "grid_penalty": field.grid_penalty,
        "qualifying_position": field.qualifying_position,
        "qualifying_session_gap_pct": latest_session_gap_pct(field.qualifying),
        "qualifying_teammate_gap_pct": teammate_gap_pct(field.qualifying, teammates(field.constructor_ids)),
        "practice_session_gap_pct": fullest_session_gap_pct(field.practice),
    }


def _ratings(history: History, field: Field) -> Columns:
    driver = history.result_ratings.of_drivers(field.driver_ids)
    constructor = history.result_ratings.of_constructors(field.constructor_ids)
    return {
        "driver_rating": driver,
        "constructor_rating": constructor,
        "expected_position": expected_position(driver + constructor),
    }


def _driver(history: History, race: RaceInfo, name: str, finish_rate: float) -> dict[str, float]:
    config = history.config
    log = history.drivers.get(name, [])
    form = log[-config.form_races :]
    here = history.circuit_drivers.get((race.circuit_id, name), [])
    return {
        "driver_starts": float(len(log)),
        "driver_form": mean(start.finish for start in form),
        "driver_last_finish": log[-1].finish if log else math.nan,
        "driver_form_teammate": mean(start.teammate for start in form),
        "driver_season_finish": mean(start.finish for start in _of_season(log, race.season)),
        "driver_finish_rate": _rate(history, log[-config.finish_window :], finish_rate),
        "driver_circuit_starts": float(len(here)),
        "driver_circuit_finish": mean(start.finish for start in here),
    }


def _constructor(history: History, race: RaceInfo, name: str, finish_rate: float) -> dict[str, float]:
    config = history.config
    races = history.constructors.get(name, [])
    form = [start for cars in races[-config.form_races :] for start in cars]
    recent = [start for cars in races[-config.finish_window :] for start in cars]
    season = history.constructor_season(name, race.season)
    here = history.circuit_constructors.get((race.circuit_id, name), [])
    return {
        "constructor_races": float(len(races)),
        "constructor_form": mean(start.finish for start in form),
        "constructor_form_pace": mean(start.pace for start in form),
        "constructor_season_finish": mean(start.finish for start in season),
        "constructor_finish_rate": _rate(history, recent, finish_rate),
        "constructor_circuit_starts": float(len(here)),
        "constructor_circuit_finish": mean(start.finish for start in here),
    }


def _rate(history: History, starts: Sequence[Start], prior: float) -> float:
    """Share of classified starts, with `finish_prior_starts` more starts at the prior rate."""
    weight = history.config.finish_prior_starts
    return (sum(start.classified for start in starts) + weight * prior) / (len(starts) + weight)
