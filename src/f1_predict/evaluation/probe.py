"""What a frozen backbone reads off pictures: a ridge regression on its numbers alone, ranked within each race.

Beside it stand orders and trees that see no picture, ranked and scored alike. Learns from results of the seasons it is
given to learn from, and reads those of others to score. Knows nothing of files, weights or how pictures are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict.config import EnsembleConfig
from f1_predict.errors import ConfigError, DataError
from f1_predict.evaluation import metrics
from f1_predict.evaluation.bootstrap import Change, Drawn, change_between, draw_races
from f1_predict.models.ensemble_members import boosting_settings
from f1_predict.training.cut_table import CutTable, Integers

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

ALPHAS = tuple(float(10.0 ** (step / 2)) for step in range(13))
"""Penalties that the ridge regression is tried with: 1 to a million, two in each decade."""
FOLDS = 5
"""Parts that the seasons are dealt out to, by turns, when the penalty is chosen; as many as seasons where there are
fewer."""
RANK_METRICS = ("mae", "spearman")
"""Scores of ranks without probabilities."""


@dataclass(frozen=True)
class Cars:
    """The cars of some races, each race at one moment; n cars, those of a race together.

    Attributes:
        race_ids: of each race, once.
        seasons: int64 (races,).
        fields: int64 (races,), cars in each race; they sum to n.
        places: int64 (n,), finishing positions from 1.
        values: float64 (n, d), what is known of a car.
        known: bool (n,); False where nothing is (no picture), whatever `values` holds there.
    """

    race_ids: tuple[str, ...]
    seasons: Integers
    fields: Integers
    places: Integers
    values: Floats
    known: Booleans

    @property
    def shares(self) -> Floats:
        """Finishing position over the size of the field, float64 (n,): what is regressed."""
        return np.asarray(self.places / np.repeat(self.fields, self.fields), dtype=np.float64)

    @property
    def season_of_car(self) -> Integers:
        """int64 (n,)."""
        return np.repeat(self.seasons, self.fields)


def cars_at(table: CutTable, cuts: Integers, values: NDArray[np.floating[Any]], known: Booleans) -> Cars:
    """The cars of some cuts, one cut a race.

    Args:
        table: all rows.
        cuts: numbers of cuts with results.
        values: float (rows of the table, d).
        known: bool (rows of the table,).

    Raises:
        DataError: if a race comes twice.
    """
    rows = table.rows_of(cuts)
    race_ids = tuple(table.cuts["race_id"].gather(cuts).to_list())
    if len(set(race_ids)) < len(race_ids):
        twice = next(race_id for race_id in race_ids if race_ids.count(race_id) > 1)
        raise DataError(f"{twice} comes at two moments. Give one cut a race.")
    return Cars(
        race_ids=race_ids,
        seasons=table.cuts["season"].to_numpy()[cuts].astype(np.int64),
        fields=table.starters_of(cuts),
        places=np.asarray(table.positions[rows], dtype=np.int64),
        values=np.asarray(values[rows], dtype=np.float64),
        known=known[rows],
    )


@dataclass(frozen=True)
class Probed:
    """What a ridge regression came to.

    Attributes:
        ranks: int64 (n,), predicted ranks of the scored cars, 1..field in each race.
        alpha: the penalty chosen.
        unread: scored cars without a picture.
    """

    ranks: Integers
    alpha: float
    unread: int


def ridge_probe(learn: Cars, score: Cars) -> Probed:
    """Ridge regression of finishing position / field size on the values alone, ranked within each race.

    Columns are standardised with the mean and standard deviation of the cars learnt from; the penalty is the one of
    ALPHAS with the least squared error on seasons left out (each standardised by the seasons kept), the smaller one
    where two are equal: A. Hoerl and R. Kennard, "Ridge regression", Technometrics 12 (1970), 55-67. A car of which
    nothing is known (no lap, so no picture) is forecast as such cars of the learning races ended on average. Equal
    forecasts keep the order of the entries, which is that of the drivers' names and tells nothing of the race.

    Args:
        learn: races to fit on, of two seasons or more.
        score: later races.

    Raises:
        ConfigError: if fewer than two seasons can be learnt from.
        DataError: if a race stands on both sides, or nothing is known of any car to learn from.
    """
    if both := sorted(set(learn.race_ids) & set(score.race_ids)):
        raise DataError(f"{both[0]} must be learnt from or scored, not both. Give seasons that follow each other.")
    seasons = np.unique(learn.season_of_car[learn.known])
    if not len(seasons):
        raise DataError("there are no pictures to learn from. Ingest seasons with laps.")
    if len(seasons) < 2:
        raise ConfigError(
            f"a probe needs two seasons or more to fit on, since its penalty is chosen on seasons left out; got "
            f"{seasons.tolist()}. Ingest more, or widen --fit-seasons."
        )
    values, shares = learn.values[learn.known], learn.shares[learn.known]
    fold = np.searchsorted(seasons, learn.season_of_car[learn.known]) % min(FOLDS, len(seasons))
    errors = np.zeros(len(ALPHAS))
    for number in np.unique(fold):
        kept, left_out = fold != number, fold == number
        forecasts = ridge_forecasts(values[kept], shares[kept], values[left_out], ALPHAS)
        errors += ((forecasts - shares[left_out]) ** 2).sum(axis=1)
    alpha = ALPHAS[int(np.argmin(errors))]
    without = learn.shares[~learn.known]
    forecast = np.full(len(score.places), without.mean() if len(without) else 1.0)
    forecast[score.known] = ridge_forecasts(values, shares, score.values[score.known], (alpha,))[0]
    return Probed(ranks_within(forecast, score.fields), alpha, int((~score.known).sum()))


def ridge_forecasts(values: Floats, target: Floats, asked: Floats, alphas: Sequence[float]) -> Floats:
    """Ridge regressions with an intercept on standardised columns, one per penalty; constant columns say nothing.

    Args:
        values: float64 (n, d) to fit on.
        target: float64 (n,).
        asked: float64 (m, d) to forecast.
        alphas: penalties on the sum of squared weights, against the sum of squared errors.

    Returns:
        float64 (len(alphas), m).
    """
    mean, spread = values.mean(axis=0), values.std(axis=0)
    spread = np.where(spread > 0.0, spread, 1.0)
    standardised, centre = (values - mean) / spread, target.mean()
    sizes, axes = np.linalg.eigh(standardised.T @ standardised)
    sizes, moments = np.maximum(sizes, 0.0), axes.T @ (standardised.T @ (target - centre))
    weights = axes @ (moments[:, None] / (sizes[:, None] + np.asarray(alphas)[None, :]))
    return np.asarray(centre + ((asked - mean) / spread @ weights).T, dtype=np.float64)


def tree_ranks(learn: Cars, score: Cars, held_out: Sequence[int], config: EnsembleConfig) -> Integers:
    """Gradient-boosted trees on the same target, ranked in the same way: what hand-made features come to.

    LightGBM with squared error and the settings of the ensembles' boosting; the number of rounds is found on the
    seasons held out, which then are learnt from too.

    Args:
        learn: races to fit on; NaN = unknown.
        score: later races.
        held_out: seasons of `learn`.
        config: settings of the boosting.

    Returns:
        int64 (n,), as Probed.ranks.
    """
    settings: dict[str, object] = {
        "objective": "regression",
        **boosting_settings(config),
        "force_row_wise": True,  # the choice LightGBM would otherwise time, differently each run
        "num_threads": 1,
    }
    later = np.isin(learn.season_of_car, held_out)
    earlier = lgb.Dataset(learn.values[~later], label=learn.shares[~later], params=settings)
    watched = lgb.Dataset(learn.values[later], label=learn.shares[later], reference=earlier, params=settings)
    stop = lgb.early_stopping(config.boosting_patience, verbose=False)
    rounds = config.boosting_max_rounds
    found = lgb.train(settings, earlier, rounds, valid_sets=[watched], callbacks=[stop]).best_iteration
    whole = lgb.Dataset(learn.values, label=learn.shares, params=settings)
    booster = lgb.train(settings, whole, max(1, int(found)))
    return ranks_within(np.asarray(booster.predict(score.values), dtype=np.float64), score.fields)


def ranks_within(forecast: Floats, fields: Integers) -> Integers:
    """Ranks 1..field within each race, the smallest forecast first; equal ones keep their order.

    Args:
        forecast: float64 (n,), race after race.
        fields: int64 (races,), cars in each race.
    """
    race = np.repeat(np.arange(len(fields)), fields)
    order = np.lexsort((forecast, race))  # stable
    ranks = np.empty(len(forecast), dtype=np.int64)
    ranks[order] = np.arange(len(forecast)) - np.repeat(np.cumsum(fields) - fields, fields) + 1
    return ranks


def rank_contributions(cars: Cars, ranks: Integers) -> pl.DataFrame:
    """What each race contributes to RANK_METRICS, as `metrics.contributions` has it: race_id, rows, mae, spearman."""
    ends = np.cumsum(cars.fields)
    races = [slice(int(end - field), int(end)) for end, field in zip(ends, cars.fields, strict=True)]
    return pl.DataFrame(
        {
            "race_id": cars.race_ids,
            "rows": cars.fields,
            "mae": [float(metrics.mae(ranks[race], cars.places[race]).sum()) for race in races],
            "spearman": [metrics.spearman(ranks[race], cars.places[race]) for race in races],
        }
    )


@dataclass(frozen=True)
class Score:
    """A metric of one model at one moment.

    Attributes:
        mean: over all cars (spearman: races) and fits.
        low, high: 95 % interval of the mean, races resampled, the fits averaged first.
        fits: the mean of each fit.
    """

    mean: float
    low: float
    high: float
    fits: tuple[float, ...]


@dataclass(frozen=True)
class Line:
    """A model at one moment.

    Attributes:
        model: its name.
        fraction: of the scheduled laps.
        races: scored.
        scores: by metric.
        changes: rival -> metric -> change, over the same races.
    """

    model: str
    fraction: float
    races: int
    scores: Mapping[str, Score]
    changes: Mapping[str, Mapping[str, Change]]


def score_lines(
    fits: Mapping[str, Sequence[pl.DataFrame]],
    fraction: float,
    rivals: Mapping[str, Sequence[str]],
    wanted: Sequence[str],
    *,
    draws: int,
    seed: int,
) -> list[Line]:
    """Score models on the same races at one moment, and hold them against others, paired by race.

    Args:
        fits: model -> what each race contributes, one table a fit (see `metrics.contributions`).
        fraction: of the scheduled laps.
        rivals: model -> models to hold it against.
        wanted: metrics, columns of the tables.
        draws, seed: of the bootstrap; the same races are drawn for all.

    Raises:
        DataError: if a model was not scored on the races of the first one.
    """
    first = next(iter(fits.values()))[0]
    drawn: dict[str, dict[str, Drawn]] = {}
    for model, tables in fits.items():
        for table in tables:
            if table.select("race_id", "rows").rows() != first.select("race_id", "rows").rows():
                raise DataError(f"{model} must be scored on the same {first.height} races as all. Fit it again.")
        totals = np.stack([np.mean([table[name].to_numpy() for table in tables], axis=0) for name in wanted])
        weights = np.stack([_weights(first, name) for name in wanted])
        drawn[model] = dict(zip(wanted, draw_races(totals, weights, draws=draws, seed=seed), strict=True))
    return [
        Line(
            model,
            fraction,
            first.height,
            {name: _score(drawn[model][name], [_mean(table, name) for table in fits[model]]) for name in wanted},
            {
                rival: {
                    name: change_between(
                        drawn[rival][name],
                        drawn[model][name],
                        higher_is_better=name in metrics.HIGHER_IS_BETTER,
                    )
                    for name in wanted
                }
                for rival in rivals.get(model, ())
            },
        )
        for model in fits
    ]


def _weights(table: pl.DataFrame, metric: str) -> Floats:
    return table["rows"].cast(pl.Float64).to_numpy() if metric in metrics.PER_ROW else np.ones(table.height)


def _mean(table: pl.DataFrame, metric: str) -> float:
    return float(table[metric].to_numpy().sum() / _weights(table, metric).sum())


def _score(drawn: Drawn, fits: Sequence[float]) -> Score:
    low, high = drawn.interval
    return Score(drawn.mean, low, high, tuple(fits))
