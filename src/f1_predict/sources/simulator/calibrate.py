"""Tune the simulator's numbers until its races have the figures of real ones, era by era.

Each knob turns one number (or a few, by a common factor) until one figure agrees. Asks for figures alone: it gets no
race, no result and no name. Reading and writing the file of numbers is in `calibrate_file`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from f1_predict.errors import ConfigError
from f1_predict.sources.simulator.figures import ERAS
from f1_predict.sources.simulator.parameters import EraParameters

Values = dict[str, float]
"""Numbers of one era, or figures, by key."""
Measure = Callable[[EraParameters, int], Mapping[str, float | None]]
"""The figures of races simulated with some numbers, in a round (from 0) of the tuning."""

MOST = 1.35
"""A number changes by no more than this factor in a round."""
CAREFUL_FROM = 0.5
"""From this share of the rounds on steps are halved, and the numbers of these rounds are averaged."""
DIGITS = 3


@dataclass(frozen=True)
class Knob:
    """Numbers that one figure decides.

    Attributes:
        parameters: turned together.
        figure: the first of these that is known of the era.
        start: first value of each parameter.
        gain: of the step. "ratio": log(parameter) changes by gain log(real / simulated). "rest": the same of
            1 - figure, for correlations. "difference": the parameter changes by gain (real - simulated).
        low, high: limits of every parameter.
        refuelling: only in eras with (True) or without (False) it.
    """

    parameters: tuple[str, ...]
    figure: tuple[str, ...]
    start: tuple[float, ...]
    gain: float
    mode: Literal["ratio", "rest", "difference"] = "ratio"
    low: float = 0.0
    high: float = 100.0
    refuelling: bool | None = None


KNOBS: tuple[Knob, ...] = (
    Knob(("car_sd",), ("pace_spread",), (0.010,), 1.0, high=0.03),
    Knob(("car_skew",), ("pace_front",), (0.2,), -0.6, "difference", low=-0.9, high=0.9),
    Knob(("car_kept",), ("pace_next_season",), (0.8,), 0.5, "difference", low=0.3, high=0.97),
    Knob(("race_driver_sd",), ("team_mate_gap",), (0.002,), 1.3, low=0.0003, high=0.01),
    Knob(("team_form_sd", "race_team_sd"), ("pace_next_race",), (0.0025, 0.002), 0.6, "rest", low=0.0003, high=0.01),
    Knob(("qualifying_sd",), ("pole_wins",), (0.0030,), -0.7, low=0.0003, high=0.01),
    Knob(("missed",), ("qualifying_pace",), (0.012,), 0.6, "rest", low=0.001, high=0.06),
    Knob(("lap_noise",), ("lap_noise",), (0.0024,), 1.2, low=0.0003, high=0.01),
    Knob(("drift_noise",), ("own_spread",), (0.0024,), 1.0, low=0.0003, high=0.01),
    Knob(("drift_kept",), ("autocorrelation_5",), (0.8,), 0.6, "difference", low=0.3, high=0.97),
    Knob(("mistake_rate",), ("mistakes",), (0.006,), 1.0, low=0.0005, high=0.05),
    Knob(("fuel",), ("trend",), (0.040,), -0.012, "difference", low=0.01, high=0.09, refuelling=False),
    Knob(("wear",), ("wear_slope",), (0.012,), 0.15, "difference", low=0.001, high=0.05, refuelling=False),
    Knob(("fuel",), ("wear_slope",), (0.036,), -0.3, "difference", low=0.01, high=0.09, refuelling=True),
    Knob(
        ("soft_life", "medium_life", "hard_life"), ("stops_recorded", "stops_seen"), (0.26, 0.32, 0.39), -1.0,
        low=0.08, high=0.95,
    ),
    Knob(("hard_life",), ("first_stop",), (0.39,), -0.7, low=0.08, high=0.95, refuelling=False),
    Knob(("pit_loss",), ("pit_loss",), (1.0,), 1.0, low=0.5, high=2.0),
    Knob(("mechanical_rate",), ("retired_by_fault",), (0.12,), 1.0, low=0.01, high=0.6),
    Knob(("crash_rate",), ("retired_by_accident",), (0.06,), 1.0, low=0.005, high=0.4),
    Knob(("back_trouble",), ("retired_front",), (0.35,), -0.015, "difference", high=1.5),
    Knob(("first_lap_share",), ("out_on_lap_1",), (0.32,), 1.0, low=0.02, high=0.9),
    Knob(
        ("crash_caution_chance", "breakdown_caution_chance", "debris_rate"),
        ("slow_phases",), (0.35, 0.10, 0.11), 1.0, low=0.005, high=0.95,
    ),
    Knob(("safety_car_laps",), ("slow_laps",), (3.6,), 0.8, low=1.5, high=9.0),
    Knob(("start_sd_s",), ("changes_lap_1",), (1.7,), 1.0, low=0.2, high=6.0),
    Knob(("difficulty",), ("passes",), (1.1,), -1.0, low=0.1, high=8.0),
    Knob(("follow_gap_s",), ("close",), (0.9,), -0.7, low=0.3, high=2.0),
    Knob(("lead_ease",), ("gap_2",), (0.004,), -0.7, low=0.001, high=0.015),
)  # fmt: skip
RULES = ("teams", "refuelling", "virtual_share")
"""Numbers that the rules of an era and its entry list give before its first race: never tuned, never taken over.

Virtual safety cars came in 2015; that half of all safety cars are virtual was seen in 2018."""


@dataclass(frozen=True)
class Window:
    """Which real seasons decide the numbers of an era.

    `tuned` is the era whose numbers these are: the era's own, or, where `seasons` of the calibration end too early for
    it, the last era before it.
    """

    era: str
    tuned: str
    first: int
    last: int


def windows(first: int, last: int) -> dict[str, Window]:
    """Where the numbers of each era come from, when the real seasons `first` to `last` may be looked at.

    An era is tuned if all its seasons may be. The last tuned one also takes the seasons after it, and later eras take
    its numbers over.

    Raises:
        ConfigError: if no era lies wholly inside.
    """
    inside = [era for era, (begin, end) in ERAS.items() if first <= begin and end <= last]
    if not inside:
        raise ConfigError(
            f"the seasons to calibrate on must hold one era at least, got {first}-{last}. Eras are {', '.join(ERAS)}."
        )
    found: dict[str, Window] = {}
    for era, (begin, end) in ERAS.items():
        if era in inside:
            found[era] = Window(era, era, begin, last if era == inside[-1] else end)
        else:
            before = [name for name in inside if ERAS[name][0] < begin]
            source = found[before[-1]] if before else Window(era, inside[0], *ERAS[inside[0]])
            found[era] = Window(era, source.tuned, source.first, source.last)
    return found


def knobs_of(refuelling: bool) -> list[Knob]:
    """The knobs of an era with or without refuelling."""
    return [knob for knob in KNOBS if knob.refuelling in (None, refuelling)]


def starting_numbers(own: EraParameters) -> EraParameters:
    """An era's numbers with every knob where it begins, so that a calibration does not start from the last one."""
    values = own.model_dump()
    for knob in knobs_of(bool(own.refuelling)):
        values |= dict(zip(knob.parameters, knob.start, strict=True))
    return EraParameters.model_validate(values)


@dataclass(frozen=True)
class Round:
    """One round of a tuning: the numbers tried and the figures they gave."""

    values: Values
    figures: Mapping[str, float | None]


def tune(
    own: EraParameters,
    real: Mapping[str, float | None],
    measure: Measure,
    rounds: int = 16,
    watch: Callable[[int, Round], None] | None = None,
) -> EraParameters:
    """Turn the knobs until the simulated figures are the real ones.

    A damped fixed-point iteration: in each round all knobs move at once, each by its own figure. The numbers returned
    are averages over the later rounds, rounded.

    Args:
        own: the era's numbers; those without a knob stay.
        real: figures of the real seasons; a knob whose figures are unknown stays where it begins.
        measure: simulates and measures.
        rounds: how often.
        watch: is told of each round.
    """
    numbers = starting_numbers(own)
    knobs = knobs_of(bool(own.refuelling))
    tried: list[Values] = []
    for number in range(rounds):
        simulated = measure(numbers, number)
        values = numbers.model_dump()
        if watch:
            watch(number, Round(dict(values), simulated))
        careful = number >= CAREFUL_FROM * rounds
        for knob in knobs:
            key = next((key for key in knob.figure if real.get(key) is not None), None)
            if key is not None:
                values |= _turned(knob, values, real[key], simulated.get(key), 0.5 if careful else 1.0)
        numbers = EraParameters.model_validate(values)
        if careful:
            tried.append(values)
    turned = {key for knob in knobs for key in knob.parameters}
    mean = {key: _rounded(float(np.mean([values[key] for values in tried]))) for key in turned} if tried else {}
    return EraParameters.model_validate(numbers.model_dump() | mean)


def _turned(knob: Knob, values: Values, real: float | None, simulated: float | None, damping: float) -> Values:
    """The knob's parameters after a step; they stay where they are while the simulated figure is unknown."""
    if real is None or simulated is None:
        return {}
    now = [values[key] for key in knob.parameters]
    if knob.mode == "difference":
        moved = [value + damping * knob.gain * (real - simulated) for value in now]
    else:
        one, other = (real, simulated) if knob.mode == "ratio" else (1.0 - real, 1.0 - simulated)
        step = damping * knob.gain * math.log(max(one, 1e-6) / max(other, 1e-6))
        factor = math.exp(min(max(step, -math.log(MOST)), math.log(MOST)))
        moved = [value * factor for value in now]
    return {key: min(max(value, knob.low), knob.high) for key, value in zip(knob.parameters, moved, strict=True)}


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
