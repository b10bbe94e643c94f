"""Predictions beside results: which races can be scored, and their rows as the metrics take them.

Reads results, to score. Knows nothing of the models' names, nor of means over races.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.errors import DataError, NotFoundError
from f1_predict.evaluation.metrics import RaceRows
from f1_predict.evaluation.predictions import FORECAST_KEYS, validate_predictions
from f1_predict.horizon.horizons import lap_of_fraction
from f1_predict.models.probabilities import summarise

NAMED = 5
"""Drivers or races that a message names at most."""


@dataclass(frozen=True)
class Forecasts:
    """One model at one fraction.

    Attributes:
        races: those scored, in the order of race_id, their rows in the order of driver_id.
        has_image: bool, whether the model saw a picture, one a row of all races in that order.
        some_finish: whether any race has `p_finish`.
    """

    races: list[RaceRows]
    has_image: npt.NDArray[np.bool_]
    some_finish: bool


@dataclass(frozen=True)
class ScoredRaces:
    """All predictions that have a result.

    Attributes:
        forecasts: by model and fraction.
        calendar: race_id, season, round of the races scored, in the order of time.
        skipped: races that were forecast and have no results, in the order of time.
    """

    forecasts: Mapping[tuple[str, float], Forecasts]
    calendar: pl.DataFrame
    skipped: tuple[str, ...]


def score_rows(predictions: pl.DataFrame, races: pl.DataFrame, results: pl.DataFrame) -> ScoredRaces:
    """Put predictions beside results.

    Args:
        predictions: see `predictions.PREDICTION_COLUMNS`; checked here.
        races: the canonical table.
        results: the canonical table.

    Raises:
        NotFoundError: if a race is not in `races`.
        DataError: as `validate_predictions`; if no race has results; a forecast's drivers are not the race's
            starters in `results`, or its cut is later than its fraction of the race; results are not 1..n.
    """
    rows = validate_predictions(predictions, "the predictions")
    forecast = rows["race_id"].unique(maintain_order=True)
    known = races["race_id"].to_list()
    if unknown := [race_id for race_id in forecast if race_id not in known]:
        raise NotFoundError("race", unknown[0], known, remedy="Ingest its season, or score with the store it is in.")
    calendar = races.filter(pl.col("race_id").is_in(forecast.implode())).sort("season", "round")
    _require_fair_cuts(rows, calendar)
    run = results.join(calendar, on="race_id", how="semi").select("race_id", "driver_id", "position", "classified")
    skipped = calendar.join(run, on="race_id", how="anti", maintain_order="left")["race_id"].to_list()
    scored = rows.join(run, on="race_id", how="semi", maintain_order="left")
    if scored.is_empty():
        raise DataError(
            f"none of the {len(skipped)} races forecast has results, first '{skipped[0]}'. "
            "Ingest their results, or wait until they have been run."
        )
    _require_whole_results(run)
    _require_same_drivers(scored, run)
    joined = scored.join(run, on=["race_id", "driver_id"], how="left").sort("model", "fraction", "race_id", "driver_id")
    return ScoredRaces(
        forecasts=_forecasts(joined),
        calendar=calendar.join(run, on="race_id", how="semi", maintain_order="left").select(
            "race_id", "season", "round"
        ),
        skipped=tuple(skipped),
    )


def _require_fair_cuts(rows: pl.DataFrame, calendar: pl.DataFrame) -> None:
    """A forecast that saw more of a race than its fraction would be scored against models that did not."""
    cuts = rows.filter(pl.col("fraction") > 0).unique(FORECAST_KEYS, maintain_order=True)
    laps = dict(calendar.select("race_id", "scheduled_laps").iter_rows())
    for race_id, fraction, model, cutoff in cuts.select(*FORECAST_KEYS, "cutoff_lap").iter_rows():
        latest = lap_of_fraction(fraction, laps[race_id])
        if cutoff > latest:
            raise DataError(
                f"{race_id}, model '{model}': at fraction {fraction:g} of {laps[race_id]} scheduled laps the cut must "
                f"be lap {latest} or earlier, got lap {cutoff}. Forecast from what was known then."
            )


def _require_whole_results(run: pl.DataFrame) -> None:
    places = run.group_by("race_id", maintain_order=True).agg(
        good=(pl.col("position").sort() == pl.int_range(1, pl.len() + 1)).all(), places=pl.col("position").sort()
    )
    bad = places.filter(~pl.col("good"))
    if bad.height:
        raise DataError(
            f"{bad['race_id'][0]}: positions in the results must be 1..{len(bad['places'][0])}, each once, got "
            f"{bad['places'][0].to_list()}. Correct the race's results and ingest again."
        )


def _require_same_drivers(scored: pl.DataFrame, run: pl.DataFrame) -> None:
    """Every forecast is of all starters of its race and of nobody else."""
    keys = [*FORECAST_KEYS, "driver_id"]
    groups = scored.select(FORECAST_KEYS).unique(maintain_order=True)
    wanted = groups.join(run.select("race_id", "driver_id"), on="race_id", how="inner", maintain_order="left_right")
    lacking = wanted.join(scored, on=keys, how="anti", maintain_order="left")
    foreign = scored.join(wanted, on=keys, how="anti", maintain_order="left")
    for found in (lacking, foreign):
        if found.is_empty():
            continue
        race_id, fraction, model = found.select(FORECAST_KEYS).row(0)
        here = (pl.col("race_id") == race_id) & (pl.col("fraction") == fraction) & (pl.col("model") == model)
        raise DataError(
            f"{race_id}, model '{model}', fraction {fraction:g}: the drivers forecast must be the starters in the "
            f"results; not forecast: {_names(lacking.filter(here))}; no starters: {_names(foreign.filter(here))}. "
            "Forecast every starter, under the driver_id of the store."
        )


def _names(rows: pl.DataFrame) -> str:
    drivers = sorted(rows["driver_id"].to_list())
    more = f" and {len(drivers) - NAMED} more" if len(drivers) > NAMED else ""
    return ", ".join(drivers[:NAMED]) + more if drivers else "none"


def _forecasts(joined: pl.DataFrame) -> dict[tuple[str, float], Forecasts]:
    """Sorted rows with the truth beside them, cut into races: plain slices of arrays, since there are thousands."""
    sizes = joined["n_starters"].to_numpy().astype(np.int64)
    flat = joined["position_probs"].explode().to_numpy()
    offsets = np.cumsum(sizes) - sizes
    position = joined["position"].cast(pl.Int64).to_numpy()
    classified = joined["classified"].to_numpy()
    finish = joined["p_finish"].fill_null(np.nan).to_numpy()
    has_image = joined["has_image"].to_numpy()
    names = joined["race_id"].to_list()
    made: dict[tuple[str, float], Forecasts] = {}
    start = 0
    for model, fraction, rows in joined.group_by("model", "fraction", maintain_order=True).len().iter_rows():
        races, end, row = [], start + rows, start
        while row < end:
            n = int(sizes[row])
            part = slice(row, row + n)
            probs = flat[offsets[row] : offsets[row] + n * n].reshape(n, n)
            known = not np.isnan(finish[part]).any()
            races.append(
                RaceRows(
                    race_id=names[row],
                    position=position[part],
                    probs=probs,
                    forecast=summarise(probs),
                    finish=(finish[part], classified[part]) if known else None,
                )
            )
            row += n
        made[model, fraction] = Forecasts(races, has_image[start:end], any(race.finish is not None for race in races))
        start = end
    return made
