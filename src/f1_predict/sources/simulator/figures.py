"""The figures that say how races behave, by era: the same ones from real and from simulated seasons.

Starts from the canonical tables and asks nothing else, so that one function measures both. Knows nothing of the
simulator's parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict.schemas import Tables
from f1_predict.sources.simulator import race_measures as measures
from f1_predict.sources.simulator.race_arrays import Floats, RaceArrays, races_as_arrays, read_race

ERAS: dict[str, tuple[int, int]] = {
    "1996-2009": (1996, 2009),
    "2010-2013": (2010, 2013),
    "2014-2017": (2014, 2017),
    "2018-2021": (2018, 2021),
    "2022-2024": (2022, 2024),
}
"""Seasons of like rules: first and last."""
FEW_RACES = 4
"""Races with a pace that a driver needs in a season to have a mean pace."""
DRAWS = 200
"""Bootstrap draws of a median's standard error."""


@dataclass(frozen=True)
class Figure:
    """A figure: its key, what it is, in which unit, and how it is averaged over races.

    `asked` marks those that the calibration is judged by; `decimals` is for printing.
    """

    key: str
    text: str
    unit: str
    decimals: int = 2
    middle: bool = False  # the median race, not the mean of all
    asked: bool = False


FIGURES: tuple[Figure, ...] = (
    Figure("pace_spread", "drivers' race pace, standard deviation in the field", "%", asked=True),
    Figure("pace_iqr", "drivers' race pace, middle half of the field", "%"),
    Figure("pace_front", "fastest driver against the middle of the field", "%"),
    Figure("team_mate_gap", "race pace, team-mates apart", "%"),
    Figure("qualifying_spread", "best qualifying laps, standard deviation in the field", "%"),
    Figure("qualifying_pace", "correlation of qualifying and race pace", ""),
    Figure("pace_next_race", "correlation of a driver's race pace with the race before", ""),
    Figure("pace_next_season", "correlation of a driver's mean pace with the season before", ""),
    Figure("lap_noise", "a driver's laps, noise from one to the next", "%", asked=True),
    Figure("lap_tail", "large steps between laps: 95 % quantile over median", ""),
    Figure("own_spread", "a driver's racing laps in a race, 10 % to 90 % quantile", "%"),
    Figure("autocorrelation_1", "relative pace, correlation 1 lap apart", ""),
    Figure("autocorrelation_5", "relative pace, correlation 5 laps apart", ""),
    Figure("autocorrelation_10", "relative pace, correlation 10 laps apart", ""),
    Figure("autocorrelation_20", "relative pace, correlation 20 laps apart", ""),
    Figure("mistakes", "laps over 5 % slower than the driver's own, no stop", "% of laps", middle=True),
    Figure("trend", "field's lap times, late in the race against early", "%", middle=True),
    Figure("wear_slope", "lost per lap of tyre age, against cars with tyres of another age", "% a lap", 4),
    Figure("stops_recorded", "stops per classified car, recorded", "", asked=True),
    Figure("stops_seen", "stops per classified car, seen in lap times (none in slow phases)", "", asked=True),
    Figure("stops_shown", "recorded stops that lap times show", "%", 0),
    Figure("stops_false", "stops shown by lap times that were none", "%", 0),
    Figure("first_stop", "first stop of the middle car, share of the race", "", middle=True),
    Figure("pit_loss", "time lost by a stop", "s", 1),
    Figure("starters", "starters", "", 1),
    Figure("retired", "retirements per race", "", asked=True),
    Figure("retired_by_accident", "of them by accident", ""),
    Figure("retired_by_fault", "of them by a fault of the car", ""),
    Figure("retired_front", "of them from the front half of the grid", "%", 1),
    Figure("out_on_lap_1", "of them without a whole lap", ""),
    Figure("out_in_second_half", "of them in the second half", ""),
    Figure("classified", "classified", "% of starters", 1),
    Figure("slow_phases", "slow phases per race, seen in lap times", "", asked=True),
    Figure("slow_laps", "laps in slow phases", "% of laps", 1),
    Figure("safety_cars", "safety cars per race, recorded", "", asked=True),
    Figure("virtual_safety_cars", "virtual safety cars per race, recorded", ""),
    Figure("red_flags", "red flags per race, recorded", ""),
    Figure("wet", "races in which rain tyres were used", "% of races", 0),
    Figure("changes_lap_1", "pairs of cars that changed order between grid and first lap", "", 1),
    Figure("changes", "pairs of cars that changed order, per green lap", "", asked=True),
    Figure("passes", "of them on the track: both cars at racing speed", ""),
    Figure("grid_result", "Spearman of grid and result", "", 3, asked=True),
    Figure("pole_wins", "wins from pole", "% of races", 0, asked=True),
    Figure("order_25", "Spearman of the order after 25 % and the result", "", 3),
    Figure("order_50", "Spearman of the order after 50 % and the result", "", 3),
    Figure("order_75", "Spearman of the order after 75 % and the result", "", 3),
    Figure("gap_2", "second behind the winner", "s", 1, middle=True, asked=True),
    Figure("gap_5", "fifth behind the winner", "s", 1, middle=True, asked=True),
    Figure("gap_10", "tenth behind the winner", "s", 1, middle=True, asked=True),
    Figure("lapped", "classified cars that were lapped", "%", 1),
    Figure("field_length", "middle car behind the leader at half distance", "s", 1, middle=True),
    Figure("gap_ahead", "gap to the car ahead, median", "s"),
    Figure("close", f"cars within {measures.CLOSE_S} s of the car ahead", "%", 1),
)
_FORMULAS = (
    measures.pace_figures,
    measures.lap_figures,
    measures.stop_figures,
    measures.trouble_figures,
    measures.order_figures,
    measures.gap_figures,
)
KEYS = tuple(figure.key for figure in FIGURES)


def race_figures(tables: Tables) -> pl.DataFrame:
    """One row per race with laps, in the order of time: race_id, season, and a column per figure (null = unknown)."""
    return figures_of(races_as_arrays(tables))


def figures_of(races: Iterable[RaceArrays]) -> pl.DataFrame:
    """As `race_figures`, from races in the order of time."""
    rows: list[dict[str, object]] = []
    pace_before: dict[str, float] = {}
    seasons: dict[int, dict[str, list[float]]] = {}
    first_row: dict[int, int] = {}
    for race in races:
        reading = read_race(race)
        figures: dict[str, float] = dict.fromkeys(KEYS, float("nan"))
        for formulas in _FORMULAS:
            figures |= formulas(race, reading)
        own = dict(zip(race.driver, measures.pace(reading).tolist(), strict=True))
        if race.season not in seasons:
            pace_before = {}  # a winter lies between
            seasons[race.season], first_row[race.season] = {}, len(rows)
        figures["pace_next_race"] = _agreement(pace_before, own)
        for driver, value in own.items():
            seasons[race.season].setdefault(driver, []).append(value)
        pace_before = own
        rows.append({"race_id": race.race_id, "season": race.season, **figures})
    for season, at in first_row.items():
        if season - 1 in seasons:
            rows[at]["pace_next_season"] = _agreement(_mean_pace(seasons[season - 1]), _mean_pace(seasons[season]))
    schema = {"race_id": pl.String, "season": pl.Int32, **dict.fromkeys(KEYS, pl.Float64)}
    return pl.DataFrame(rows, schema=schema).fill_nan(None)


def _mean_pace(paces: dict[str, list[float]]) -> dict[str, float]:
    """Of the drivers with a few races."""
    return {driver: float(np.nanmean(own)) for driver, own in paces.items() if np.isfinite(own).sum() >= FEW_RACES}


def _agreement(one: dict[str, float], other: dict[str, float]) -> float:
    both = [driver for driver in one if driver in other]
    return measures.correlation(np.array([one[d] for d in both]), np.array([other[d] for d in both]))


def era_figures(frame: pl.DataFrame, first: int, last: int, seed: int = 0) -> pl.DataFrame:
    """The figures of the races of some seasons.

    Args:
        frame: as `race_figures`.
        first, last: seasons, both included; the winter before `first` is not counted, new rules come with it.
        seed: of the bootstrap by which the standard error of a median over races is had.

    Returns:
        One row per figure: key, value (null = unknown), se (its standard error), races (how many tell it).
    """
    chosen = frame.filter(pl.col("season").is_between(first, last))
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, float | None, float | None, int]] = []
    for figure in FIGURES:
        told = chosen.filter(pl.col("season") > first) if figure.key == "pace_next_season" else chosen
        told = told.select("season", figure.key).drop_nulls()
        value, se = _average(told["season"].to_numpy(), told[figure.key].to_numpy(), figure.middle, rng)
        rows.append((figure.key, value, se, told.height))
    schema = {"key": pl.String, "value": pl.Float64, "se": pl.Float64, "races": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _average(
    seasons: NDArray[np.int32], values: Floats, middle: bool, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """The mean or the median of races, and its standard error: over races or over seasons, whichever is larger."""
    if values.size < FEW_RACES - 1:
        return None, None
    if middle:
        value = float(np.median(values))
        se = float(np.median(rng.choice(values, (DRAWS, values.size)), axis=1).std())
    else:
        value, se = float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))
    own = [np.median(values[seasons == s]) if middle else values[seasons == s].mean() for s in np.unique(seasons)]
    if 2 < len(own) < values.size:  # races of a season are alike: the same cars run in all of them
        se = max(se, float(np.std(own, ddof=1) / np.sqrt(len(own))))
    return value, se
