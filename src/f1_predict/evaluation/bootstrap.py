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
    means = totals.sum(axis=1) / weight.sum()
    sign = 1.0 if higher_is_better else -1.0

    races = len(weight)
    picks = np.random.default_rng(seed).integers(0, races, size=(draws, races))
    drawn = totals[:, picks].sum(axis=2) / weight[picks].sum(axis=1)
    changes = np.sort(_percent(drawn[0], drawn[1], sign))
    tail = (1.0 - CONFIDENCE) / 2.0
    return Change(
        baseline=float(means[0]),
        candidate=float(means[1]),
        improvement=float(_percent(means[:1], means[1:], sign)[0]),
        low=_quantile(changes, tail),
        high=_quantile(changes, 1.0 - tail),
        races=races,
    )


def _percent(baseline: FloatArray, candidate: FloatArray, sign: float) -> FloatArray:
    difference = sign * (candidate - baseline)
    zero = baseline == 0.0
    ratio = difference / np.where(zero, 1.0, np.abs(baseline))
    return 100.0 * np.where(zero & (difference != 0.0), np.copysign(np.inf, difference), ratio)


def _quantile(ordered: FloatArray, level: float) -> float:
    # Rounded first: 0.975 x 2000 must not become 1951 by an error in the last bit.
    return float(ordered[max(0, int(np.ceil(round(level * len(ordered), 9))) - 1)])
