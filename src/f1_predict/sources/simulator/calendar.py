"""Seasons of races, and their races run in blocks of bounded memory. Knows nothing of tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from f1_predict.config import SimulatorConfig
from f1_predict.errors import ConfigError
from f1_predict.schemas import MAX_SEASON
from f1_predict.sources.simulator.circuits import CIRCUITS, Circuit
from f1_predict.sources.simulator.draws import Draws, Ints, stream
from f1_predict.sources.simulator.engine import Block, Laps, run_races
from f1_predict.sources.simulator.incidents import draw_incidents
from f1_predict.sources.simulator.parameters import MIXED, Parameters
from f1_predict.sources.simulator.seasons import Season, first_season, next_season
from f1_predict.sources.simulator.tyres import Tyres
from f1_predict.sources.simulator.weekend import Qualifying, draw_weather, qualify

BLOCK = 512
"""Races that are run together: more are no faster, and these take some 200 MB."""


@dataclass(frozen=True)
class Race:
    """A race to be run: its place in the calendar and who takes part."""

    era: str
    day: date
    number: int  # round of the season
    circuit: Circuit
    field: Season
    part: float  # of the season that is over
    key: tuple[int, int, int]  # of its random stream


@dataclass(frozen=True)
class Weekends:
    """Some races that have been run: `places` says which of the calendar, (races,)."""

    places: Ints
    qualifying: Qualifying
    block: Block
    laps: Laps


def seasons_of(seasons: int, seed: int, config: SimulatorConfig, parameters: Parameters) -> list[Race]:
    """The calendar: every race of every season, in the order of time.

    Raises:
        ConfigError: if `seasons` or `seed` is out of range, the last season would be after 2200, or the era is unknown.
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
    eras = list(parameters) if config.era == MIXED else [config.era]
    if not set(eras) <= set(parameters):
        known = "', '".join([*parameters, MIXED])
        raise ConfigError(f"the era must be one of '{known}', got '{config.era}'. Set simulator.era to one of them.")
    races: list[Race] = []
    field: Season | None = None
    for season in range(seasons):
        name = eras[season % len(eras)]
        era, rng = parameters[name], stream(seed, season, 0)
        teams = era.teams if config.teams is None else config.teams
        field = first_season(teams, era, rng) if field is None else next_season(field, teams, era, rng)
        calendar = np.resize(rng.permutation(len(CIRCUITS)), config.races_per_season)
        for i, circuit in enumerate(calendar):
            part = i / config.races_per_season
            day = date(config.first_season + season, 3, 1) + timedelta(days=int(280 * part))
            races.append(Race(name, day, i + 1, CIRCUITS[circuit], field, part, (seed, season, i + 1)))
    return races


def run_all(races: Sequence[Race], parameters: Parameters, block: int = BLOCK) -> Iterator[Weekends]:
    """Run the races, those of an era and of like length together; what happens in one depends on no other.

    Args:
        races: any.
        parameters: by era.
        block: how many to run together.
    """
    order = sorted(range(len(races)), key=lambda i: (races[i].era, races[i].field.driver.size, races[i].circuit.laps))
    start = 0
    for stop in range(1, len(order) + 1):
        ends = stop == len(order) or stop - start == block
        if ends or _kind(races[order[start]]) != _kind(races[order[stop]]):
            yield _run([races[i] for i in order[start:stop]], np.array(order[start:stop]), parameters)
            start = stop


def _kind(race: Race) -> tuple[str, int]:
    return race.era, race.field.driver.size


def _run(races: Sequence[Race], places: Ints, parameters: Parameters) -> Weekends:
    era = parameters[races[0].era]
    circuits, draws = [race.circuit for race in races], Draws([stream(*race.key) for race in races])
    team, cars = races[0].field.team, races[0].field.driver.size
    base_s = np.array([circuit.base_lap_s for circuit in circuits])
    rain, caution = np.array([[c.rain, c.caution] for c in circuits]).T
    form = draws.normal(2, cars // 2)[:, :, team]
    pace = np.array([race.field.pace(race.part) for race in races]) + era.team_form_sd * form[:, 0]
    weather = draw_weather(rain, era, draws)
    qualifying = qualify(base_s, pace, era, draws)
    laps = np.array([circuit.laps for circuit in circuits])
    laps = laps - (draws.uniform(1)[:, 0] < era.shortened_rate)
    trouble = np.array([race.field.trouble for race in races])[:, team]
    back = np.exp(era.back_trouble * (pace - pace.mean(axis=1, keepdims=True)) / pace.std(axis=1, keepdims=True))
    back /= back.mean(axis=1, keepdims=True)
    slots = np.where(qualifying.grid > 0, qualifying.grid, cars + 1)
    block = Block(
        base_s=base_s,
        laps=laps,
        difficulty_s=np.array([circuit.difficulty_s for circuit in circuits]),
        pit_loss_s=np.array([circuit.pit_loss_s for circuit in circuits]),
        line_share=np.array([circuit.line_share for circuit in circuits]),
        pace=pace + era.race_team_sd * form[:, 1] + era.race_driver_sd * draws.normal(cars),
        wet=np.array([race.field.wet for race in races]),
        grid=qualifying.grid,
        weather=weather,
        incidents=draw_incidents(base_s, laps, caution, slots, trouble * back, back, weather, era, draws),
        tyres=Tyres(era, laps, np.array([circuit.wear for circuit in circuits]), draws),
        era=era,
    )
    return Weekends(places, qualifying, block, run_races(block, draws))
