"""From a model's classes to a forecast of one race: field size, ranks, events, coherence.

Pure functions on arrays of probabilities. Knows nothing of which model made them, nor of results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from f1_predict.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FLOOR = 1e-9
"""Smallest probability before normalising: nothing that can happen is called impossible."""
PODIUM_PLACES = 3
POINTS_PLACES = 10
"""Places that score points, under the rules since 2010, whatever the season of the race."""
INTERVAL = 0.8
"""Probability that the position interval holds at least."""
_CDF_SLACK = 1e-12
_SINKHORN_TOLERANCE = 1e-11
_SINKHORN_ROUNDS = 200
_NEWTON_ROUNDS = 200


@dataclass(frozen=True)
class Forecast:
    """What one race's position probabilities come to; every array has shape (n,), row for row.

    Attributes:
        expected_position: float64, mean of the distribution, in 1..n_starters.
        predicted_rank: int64, 1..n, each once.
        p_win: float64, probability of the first place.
        p_podium: float64, probability of one of the first three places.
        p_points: float64, probability of one of the first ten places.
        interval_low: int64, first place of the 80 % interval.
        interval_high: int64, last place of the 80 % interval.
    """

    expected_position: FloatArray
    predicted_rank: IntArray
    p_win: FloatArray
    p_podium: FloatArray
    p_points: FloatArray
    interval_low: IntArray
    interval_high: IntArray


def normalise(probs: npt.ArrayLike) -> FloatArray:
    """Rows clipped at 1e-9 from below and divided by their sum, as float64 of shape (n, classes).

    Raises:
        DataError: if `probs` is not two-dimensional with a column or more, or holds a negative or
            non-finite value, or a row without any probability.
    """
    values = np.asarray(probs, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise DataError(f"probabilities must have shape (rows, classes), got {values.shape}. Pass one row per driver.")
    bad = ~np.isfinite(values) | (values < 0.0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"probabilities must be finite and not negative, got {values[row, column]} in row {row}, class {column}. "
            "Check the model's input for missing values and its weights for divergence."
        )
    sums = values.sum(axis=1, keepdims=True)
    if (sums == 0.0).any():
        raise DataError(f"row {int(np.argmin(sums))} has no probability in any class. Pass rows that sum to 1.")
    clipped = np.maximum(values / sums, FLOOR)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True), dtype=np.float64)


def to_field(probs: npt.ArrayLike, n_starters: int) -> FloatArray:
    """Probabilities over a model's classes, as probabilities over the places of a field.

    A field smaller than the model's classes: the places that do not exist are cut off and the rest
    renormalised, which is the model's forecast given that they cannot happen. A larger field: the
    cumulative distribution, linear between class edges, is stretched over it, so class c of C covers
    the share [c/C, (c+1)/C] of the field. All results are positive (clipped at 1e-9, renormalised); a
    row whose whole probability was cut off, up to 1e-9, puts what is left on the last place.

    Args:
        probs: (n, classes), not negative; rows are normalised.
        n_starters: cars in the race, 1 or more.

    Returns:
        float64 (n, n_starters), rows sum to 1.

    Raises:
        DataError: if `n_starters` is less than 1, or as `normalise`.
    """
    if n_starters < 1:
        raise DataError(f"a field has one starter or more, got n_starters={n_starters}. Pass the number of entries.")
    values = normalise(probs)
    classes = values.shape[1]
    if classes < n_starters:
        edges = np.arange(n_starters + 1) / n_starters * classes
        left = np.maximum(edges[:-1][None, :], np.arange(classes)[:, None])
        right = np.minimum(edges[1:][None, :], np.arange(1, classes + 1)[:, None])
        return normalise(values @ np.maximum(right - left, 0.0))
    if classes > n_starters:
        kept = values[:, :n_starters].copy()
        # Rows that the model sees behind this field altogether: last, rather than anywhere at all.
        kept[kept.sum(axis=1) <= 2 * n_starters * FLOOR, -1] = 1.0
        return normalise(kept)
    return values


def summarise(probs: npt.ArrayLike) -> Forecast:
    """Ranks, events and interval of one race.

    `predicted_rank` orders the rows by expected position. Rows with the same one (to 1e-12) are
    ordered by their distributions, the greater probability of the first place first, then of the
    first two, and so on; rows with the same distribution keep their order. The interval runs from
    the first place whose cumulative probability reaches 0.1 to the first that reaches 0.9.

    Args:
        probs: (n, n_starters), the rows of one race; rows are normalised.

    Raises:
        DataError: as `normalise`.
    """
    values = normalise(probs)
    n_starters = values.shape[1]
    cumulative = np.cumsum(values, axis=1)
    expected = values @ np.arange(1, n_starters + 1, dtype=np.float64)
    tie_breakers = -np.round(cumulative, 12).T[::-1]  # lexsort's last key counts most
    order = np.lexsort((*tie_breakers, np.round(expected, 12)))
    rank = np.empty(len(values), dtype=np.int64)
    rank[order] = np.arange(1, len(values) + 1)
    tail = (1.0 - INTERVAL) / 2.0
    return Forecast(
        expected_position=expected,
        predicted_rank=rank,
        p_win=values[:, 0],
        p_podium=np.minimum(values[:, :PODIUM_PLACES].sum(axis=1), 1.0),
        p_points=np.minimum(values[:, :POINTS_PLACES].sum(axis=1), 1.0),
        interval_low=_first_place_reaching(cumulative, tail),
        interval_high=_first_place_reaching(cumulative, 1.0 - tail),
    )


def _first_place_reaching(cumulative: FloatArray, level: float) -> IntArray:
    return np.asarray(np.argmax(cumulative >= level - _CDF_SLACK, axis=1) + 1, dtype=np.int64)


def relative_position(position: npt.ArrayLike, n_starters: npt.ArrayLike) -> FloatArray:
    """The target of a regression of positions: (position - 1/2) / n_starters, in (0, 1).

    Place p covers the share [(p-1)/n, p/n] of the field and is named by its middle, so fields of
    different sizes share one scale. `spread` is the way back.
    """
    return np.asarray((np.asarray(position, float) - 0.5) / np.asarray(n_starters, float), dtype=np.float64)


def spread(relative: npt.ArrayLike, n_starters: int, sigma: float) -> FloatArray:
    """A point forecast of the relative position, as probabilities over places.

    The forecast becomes a normal distribution with mean `relative` and standard deviation `sigma`,
    truncated to [0, 1]; place p gets its probability of [(p-1)/n, p/n]. So heads that forecast a
    number are scored like those that forecast a distribution.

    Args:
        relative: (n,), on the scale of `relative_position`, in [0, 1].
        n_starters: cars in the race, 1 or more.
        sigma: positive; the root mean square error of `relative` on validation races.

    Returns:
        float64 (n, n_starters), rows sum to 1, all positive (clipped at 1e-9, renormalised).

    Raises:
        DataError: if `relative` is not one-dimensional in [0, 1], `n_starters` less than 1 or `sigma`
            not positive.
    """
    centre = np.asarray(relative, dtype=np.float64)
    if centre.ndim != 1 or not ((centre >= 0.0) & (centre <= 1.0)).all():
        raise DataError(
            f"relative positions must be a row of numbers in [0, 1], got shape {centre.shape}, values {centre!r:.60}. "
            "Divide (position - 0.5) by the number of starters."
        )
    if n_starters < 1 or not (np.isfinite(sigma) and sigma > 0.0):
        raise DataError(
            f"spread needs n_starters of 1 or more and a positive sigma, got {n_starters} and {sigma}. "
            "Take sigma from the errors on validation races."
        )
    edges = np.arange(n_starters + 1) / n_starters
    return normalise(np.diff(ndtr((edges[None, :] - centre[:, None]) / sigma), axis=1))


def coherent(probs: npt.ArrayLike) -> FloatArray:
    """A race's driver x position matrix with rows and columns that sum to 1 within 1e-9.

    Every driver ends in one place and every place has one driver, so the matrix should be doubly
    stochastic; rows that were forecast one by one are not. The result is diag(u) P diag(v), the
    doubly stochastic matrix nearest to P in Kullback-Leibler divergence: R. Sinkhorn and P. Knopp,
    "Concerning nonnegative matrices and doubly stochastic matrices", Pacific J. Math. 21 (1967).
    Their alternating scaling is slow where drivers with almost certain places compete for them; there
    Newton's method on the same (convex) problem finishes: P. Knight and D. Ruiz, "A fast algorithm
    for matrix balancing", IMA J. Numer. Anal. 33 (2013).

    Args:
        probs: (n, n), entries are clipped at 1e-9 first, rows normalised.

    Raises:
        DataError: if the matrix is not square, or as `normalise`.
    """
    matrix = normalise(probs)
    if matrix.shape[0] != matrix.shape[1]:
        raise DataError(
            f"a coherent forecast needs as many rows as places, got shape {matrix.shape}. "
            "Pass all starters of one race, after to_field."
        )
    scaled = matrix
    for _ in range(_SINKHORN_ROUNDS):
        scaled = scaled / scaled.sum(axis=0, keepdims=True)
        scaled = scaled / scaled.sum(axis=1, keepdims=True)
        if float(np.abs(scaled.sum(axis=0) - 1.0).max()) < _SINKHORN_TOLERANCE:
            return np.asarray(scaled, dtype=np.float64)
    return _balance_by_newton(scaled)


def _balance_by_newton(matrix: FloatArray) -> FloatArray:
    """Minimise sum_ij P_ij exp(a_i + b_j) - sum(a) - sum(b): its gradient is row and column sums less 1."""
    n = len(matrix)
    scaled = matrix
    for _ in range(_NEWTON_ROUNDS):
        rows, columns = scaled.sum(axis=1), scaled.sum(axis=0)
        gradient = np.concatenate([rows - 1.0, columns - 1.0])
        if np.abs(gradient).max() < _SINKHORN_TOLERANCE:
            return scaled
        hessian = np.block([[np.diag(rows), scaled], [scaled.T, np.diag(columns)]])
        # The problem does not change with (a + t, b - t): the least-norm step leaves t alone.
        step = -np.linalg.lstsq(hessian, gradient, rcond=1e-13)[0]
        step *= min(1.0, 1.0 / np.abs(step).max())  # no more than a factor e a round: exp stays tame
        scaled = np.asarray(scaled * np.exp(step[:n, None] + step[None, n:]), dtype=np.float64)
    raise DataError(
        f"the driver x position matrix could not be balanced in {_NEWTON_ROUNDS} rounds. "
        "Pass probabilities that are less certain, or mix them with a uniform forecast."
    )
