"""How sure a difference between two models is: a paired bootstrap over races.

Knows nothing of metrics but what each race contributes to one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.errors import DataError

FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_TAIL = (1.0 - CONFIDENCE) / 2.0


@dataclass(frozen=True)
class Change:
    """A candidate against a baseline on one metric.

    Attributes:
        baseline: mean of the metric, baseline.
        candidate: mean of the metric, candidate.
        improvement: in percent of the baseline's absolute mean; positive when the candidate is better,
            whichever way the metric runs.
        low: lower end of the 95 % interval of `improvement`.
        high: upper end.
        races: number of races compared.
    """

    baseline: float
    candidate: float
    improvement: float
    low: float
    high: float
    races: int


def paired_change(
    baseline: pl.DataFrame, candidate: pl.DataFrame, *, higher_is_better: bool, draws: int = 2000, seed: int = 0
) -> Change:
    """Relative change of a metric's mean, with a 95 % percentile interval.

    Each draw takes as many races as there are, with replacement, the same ones for both models; rows of
    a race stay together, since they are not independent. A mean is sum(total) / sum(weight), so it
    averages over race x driver where weights are rows. The interval runs from the ceil(0.025 draws)-th
    smallest of the draws to the ceil(0.975 draws)-th: B. Efron and R. Tibshirani, "An Introduction to the
    Bootstrap" (1993), chapter 13. Where the baseline's mean, or a draw's, is 0, the change is plus or
    minus infinity, or 0 if the candidate's is 0 too.

    Args:
        baseline: race_id, total, weight, as `metrics.per_race` gives them.
        candidate: the same races with the same weights, in any order.
        higher_is_better: whether more of the metric is better (accuracy) or less (log-loss, MAE).
        draws: number of bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: if the two do not cover the same races with the same weights, there are none, a value
            is not finite.
    """
    left, right = baseline.sort("race_id"), candidate.sort("race_id")
    if left.is_empty() or left["race_id"].to_list() != right["race_id"].to_list():
        only = sorted(set(left["race_id"].to_list()) ^ set(right["race_id"].to_list()))
        raise DataError(
            f"a paired comparison needs the same races, one or more; {left.height} against {right.height}"
            f"{', only one model has ' + only[0] if only else ''}. Score both models on the same races."
        )
    if left["weight"].to_list() != right["weight"].to_list():
        different = left.filter(left["weight"] != right["weight"])["race_id"][0]
        raise DataError(f"{different}: the two models have different numbers of rows. Score all starters with both.")
    weight = left["weight"].to_numpy()
    totals = np.stack([left["total"].to_numpy(), right["total"].to_numpy()])
    if not np.isfinite(totals).all():
        raise DataError("a race contributes a value that is not finite. Leave out races with fewer than two starters.")
    left_drawn, right_drawn = draw_races(totals, np.stack([weight, weight]), draws=draws, seed=seed)
    return change_between(left_drawn, right_drawn, higher_is_better=higher_is_better)


@dataclass(frozen=True)
class Drawn:
    """What races contribute to one metric of one model, and its mean in every draw.

    Attributes:
        total: (races,), weight: (races,), as `metrics.per_race` gives them.
        means: (draws,), sum(total) / sum(weight) over the races of each draw.
    """

    total: FloatArray
    weight: FloatArray
    means: FloatArray

    @property
    def mean(self) -> float:
        """Of the races themselves."""
        return float(self.total.sum() / self.weight.sum())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % percentile interval of the mean."""
        ordered = np.sort(self.means)
        return _quantile(ordered, _TAIL), _quantile(ordered, 1.0 - _TAIL)


def draw_races(totals: FloatArray, weights: FloatArray, *, draws: int = 2000, seed: int = 0) -> list[Drawn]:
    """Draw as many races as there are, with replacement, `draws` times; the same ones for all metrics.

    Args:
        totals: (metrics, races), of one model or several; races in the same order.
        weights: (metrics, races), positive.
        draws: number of bootstrap draws.
        seed: of the draws; the same seed and number of races give the same draws.
    """
    races = totals.shape[1]
    picks = np.random.default_rng(seed).integers(0, races, size=(draws, races))
    return [
        Drawn(total, weight, total[picks].sum(axis=1) / weight[picks].sum(axis=1))
        for total, weight in zip(totals, weights, strict=True)
    ]


def change_between(baseline: Drawn, candidate: Drawn, *, higher_is_better: bool) -> Change:
    """As `paired_change`, from draws already made: both with the same races, number of draws and seed."""
    sign = 1.0 if higher_is_better else -1.0
    changes = np.sort(_percent(baseline.means, candidate.means, sign))
    before, after = np.array([baseline.mean]), np.array([candidate.mean])
    return Change(
        baseline=baseline.mean,
        candidate=candidate.mean,
        improvement=float(_percent(before, after, sign)[0]),
        low=_quantile(changes, _TAIL),
        high=_quantile(changes, 1.0 - _TAIL),
        races=len(baseline.total),
    )


def _percent(baseline: FloatArray, candidate: FloatArray, sign: float) -> FloatArray:
    difference = sign * (candidate - baseline)
    zero = baseline == 0.0
    ratio = difference / np.where(zero, 1.0, np.abs(baseline))
    return 100.0 * np.where(zero & (difference != 0.0), np.copysign(np.inf, difference), ratio)


def _quantile(ordered: FloatArray, level: float) -> float:
    # Rounded first: 0.975 x 2000 must not become 1951 by an error in the last bit.
    return float(ordered[max(0, int(np.ceil(round(level * len(ordered), 9))) - 1)])
