"""Calibrates the race simulator on a store of real races, and writes its numbers and the page about them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from f1_predict.config import SimulatorConfig
from f1_predict.errors import DataError
from f1_predict.jobs.calibration_page import Comparison, page
from f1_predict.schemas import Tables
from f1_predict.sources.simulator import calibrate_transfer as transfer
from f1_predict.sources.simulator import simulate
from f1_predict.sources.simulator.calibrate import (
    RULES,
    Round,
    Window,
    knobs_of,
    tune,
    windows,
)
from f1_predict.sources.simulator.calibrate_file import with_numbers
from f1_predict.sources.simulator.figures import ERAS, era_figures, race_figures
from f1_predict.sources.simulator.parameters import EraParameters, Parameters, read_parameters
from f1_predict.sources.simulator.race_arrays import races_as_arrays
from f1_predict.tables import read_store
from f1_predict.training.files import write_atomically

ALWAYS = (1950, 2200)
"""Seasons of anything simulated."""
SCORED = (2015, 2018)
"""Seasons whose races are ranked by both fits; the real fit learns from those before."""
FIRST, RUN = 1960, 3
"""First simulated season, and how many there are to a run."""
CHECK = 3
"""Times as many seasons are simulated for the page as in a round of the tuning."""


def calibrate_simulator(
    console: Console,
    data: Path,
    out: Path,
    page_out: Path | None,
    seasons: tuple[int, int],
    simulated: int,
    rounds: int,
    seed: int,
) -> None:
    """Tune the numbers, write them, and set simulated races beside real ones.

    Args:
        console: where progress goes.
        data: the store of real races.
        out: the file of numbers.
        page_out: the page; None for none.
        seasons: first and last real season that may be looked at in tuning.
        simulated: seasons simulated in each round for each era.
        rounds: of the tuning.
        seed: of the simulated races.

    Raises:
        ConfigError: if the seasons hold no whole era.
        DataError: if the store has no races of them.
    """
    start = time.perf_counter()
    chosen = windows(*seasons)
    tables = read_store(data)
    real = race_figures(tables)
    numbers = _tuned(console, real, chosen, simulated, rounds, seed)
    text = resources.files("f1_predict.sources.simulator").joinpath("parameters.toml").read_text(encoding="utf-8")
    text = with_numbers(text, list(ERAS), {era: own.model_dump() for era, own in numbers.items()})
    write_atomically(out, text.encode())
    console.print(f"Numbers of {len(numbers)} eras -> {out} ({time.perf_counter() - start:.0f} s)")
    if page_out is not None:
        numbers = read_parameters(out)  # what the page tells of is what was written
        found = compare(tables, real, numbers, chosen, CHECK * simulated, seed + 1, seasons)
        write_atomically(page_out, page(found).encode())
        console.print(f"Simulated beside real -> {page_out} ({time.perf_counter() - start:.0f} s)")


def _tuned(
    console: Console, real: pl.DataFrame, chosen: Mapping[str, Window], simulated: int, rounds: int, seed: int
) -> Parameters:
    """The numbers of every era: tuned ones, and those that later eras take over."""
    numbers = read_parameters()
    for era, window in chosen.items():
        if window.tuned != era:
            continue
        figures = _figures(real, window.first, window.last)
        if figures["starters"] is None:
            raise DataError(
                f"the store has no races of {window.first}-{window.last}, to which era {era} is to be tuned. "
                "Ingest those seasons, or give others (--seasons)."
            )

        def measure(own: EraParameters, number: int, era: str = era) -> Mapping[str, float | None]:
            runs = _runs(era, own, simulated, seed + number)
            return _figures(pl.concat(race_figures(run) for run in runs), *ALWAYS)

        def watch(number: int, done: Round, era: str = era, goal: Mapping[str, float | None] = figures) -> None:
            console.print(f"{era}: round {number + 1} of {rounds}, figures off by {_off(goal, done):.1%} in the middle")

        numbers[era] = tune(numbers[era], figures, measure, rounds, watch)
    for era, window in chosen.items():
        if window.tuned != era:
            own = numbers[era].model_dump()
            taken = {key: value for key, value in numbers[window.tuned].model_dump().items() if key not in RULES}
            numbers[era] = EraParameters.model_validate(own | taken)
    return numbers


def _off(goal: Mapping[str, float | None], done: Round) -> float:
    """The middle of the relative differences of the figures that knobs turn to."""
    off = []
    for knob in knobs_of(bool(done.values["refuelling"])):
        key = next((key for key in knob.figure if goal.get(key) is not None), knob.figure[0])
        one, other = goal.get(key), done.figures.get(key)
        if one and other is not None:
            off.append(abs(other / one - 1.0))
    return float(np.median(off)) if off else float("nan")


def compare(
    tables: Tables,
    real: pl.DataFrame,
    numbers: Parameters,
    chosen: Mapping[str, Window],
    simulated: int,
    seed: int,
    seasons: tuple[int, int],
) -> Comparison:
    """Simulate every era anew and measure it beside the real races of the store."""
    fits: dict[str, transfer.MidRace] = {}
    found: dict[str, pl.DataFrame] = {}
    races = 0
    for era, own in numbers.items():
        runs = _runs(era, own, simulated, seed)
        races = sum(run.races.height for run in runs)
        found[era] = era_figures(pl.concat(race_figures(run) for run in runs), *ALWAYS)
        fits[era] = transfer.mid_race(race for run in runs for race in races_as_arrays(run))
    there = set(real["season"].unique().to_list())
    beside = {era: era_figures(real, *span) for era, span in ERAS.items() if there & set(range(span[0], span[1] + 1))}
    learnt = (min(there), SCORED[0] - 1)
    return Comparison(
        real=beside,
        simulated=found,
        windows=chosen,
        transfer=_rankings(tables, fits, learnt),
        scored=SCORED,
        learnt=learnt,
        races=races,
        seed=seed,
        seasons=seasons,
    )


def _rankings(
    tables: Tables, fits: Mapping[str, transfer.MidRace], learnt: tuple[int, int]
) -> dict[str, transfer.Ranking]:
    """Real races in mid-race, ranked by the order of the moment and by fits to real and to simulated races."""
    cars = transfer.mid_race(races_as_arrays(tables))
    scored = transfer.part_of(cars, *SCORED)
    if not scored.rank.size or not transfer.part_of(cars, *learnt).rank.size:
        return {}
    fitted = {"a fit to real races": transfer.fit(transfer.part_of(cars, *learnt))}
    fitted |= {f"a fit to simulated races of {era}": transfer.fit(data) for era, data in fits.items()}
    order = {"the order of the moment": transfer.rank_races(scored.state[:, 0], scored)}
    return order | {who: transfer.rank_races(fit.predict(scored.state), scored) for who, fit in fitted.items()}


def _figures(frame: pl.DataFrame, first: int, last: int) -> dict[str, float | None]:
    return {row["key"]: row["value"] for row in era_figures(frame, first, last).iter_rows(named=True)}


def _runs(era: str, own: EraParameters, seasons: int, seed: int) -> list[Tables]:
    """Simulated seasons of an era, a few to a run: teams keep what they have for years, so one long run tells less."""
    runs = -(-seasons // RUN)
    config = [SimulatorConfig(era=era, first_season=FIRST + (RUN + 1) * run) for run in range(runs)]
    return [simulate(RUN, 1000 * seed + run, config[run], {era: own}) for run in range(runs)]
