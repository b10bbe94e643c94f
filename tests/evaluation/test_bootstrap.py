"""The paired bootstrap against plain Python, and its sign convention."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from f1_predict.errors import DataError
from f1_predict.evaluation.bootstrap import change_between, draw_races, paired_change


def contributions(totals, weights=None, first=1):
    names = [f"2101_race_{i + first:02d}" for i in range(len(totals))]
    weights = [20.0] * len(totals) if weights is None else weights
    return pl.DataFrame({"race_id": names, "total": list(totals), "weight": list(weights)})


@pytest.fixture
def pair():
    rng = np.random.default_rng(5)
    weights = rng.integers(18, 25, size=30).astype(float)
    baseline = weights * rng.uniform(2.0, 3.0, size=30)
    return contributions(baseline, weights), contributions(baseline * rng.uniform(0.8, 1.05, size=30), weights)


def plain(baseline, candidate, *, sign, draws, seed):
    """The definition, one draw and one race at a time; only the random integers are shared."""
    a, b, w = baseline["total"].to_list(), candidate["total"].to_list(), baseline["weight"].to_list()
    picks = np.random.default_rng(seed).integers(0, len(a), size=(draws, len(a)))
    changes = []
    for draw in picks.tolist():
        weight = sum(w[i] for i in draw)
        mean_a, mean_b = sum(a[i] for i in draw) / weight, sum(b[i] for i in draw) / weight
        changes.append(100.0 * sign * (mean_b - mean_a) / abs(mean_a))
    changes.sort()
    point = 100.0 * sign * (sum(b) - sum(a)) / abs(sum(a))
    return point, changes[math.ceil(0.025 * draws) - 1], changes[math.ceil(0.975 * draws) - 1]


@pytest.mark.parametrize(("higher", "sign"), [(False, -1.0), (True, 1.0)])
def test_agrees_with_plain_python(pair, higher, sign):
    change = paired_change(*pair, higher_is_better=higher, draws=2000, seed=11)
    expected = plain(*pair, sign=sign, draws=2000, seed=11)
    assert (change.improvement, change.low, change.high) == pytest.approx(expected, abs=1e-9)
    assert change.races == 30


def test_lower_log_loss_and_higher_accuracy_are_both_improvements():
    loss = paired_change(contributions([50.0, 50.0]), contributions([45.0, 45.0]), higher_is_better=False)
    accuracy = paired_change(contributions([4.0, 4.0]), contributions([5.0, 5.0]), higher_is_better=True)
    assert loss.improvement == pytest.approx(10.0)
    assert accuracy.improvement == pytest.approx(25.0)
    assert (loss.baseline, loss.candidate) == pytest.approx((2.5, 2.25))


def test_negative_means_are_compared_by_their_size():
    """A mean correlation can be negative; from -0.2 to -0.1 is up by half."""
    change = paired_change(contributions([-4.0, -4.0]), contributions([-2.0, -2.0]), higher_is_better=True)
    assert change.improvement == pytest.approx(50.0)


def test_same_models_differ_by_nothing(pair):
    change = paired_change(pair[0], pair[0], higher_is_better=False)
    assert (change.improvement, change.low, change.high) == (0.0, 0.0, 0.0)


def test_pairing_removes_what_the_races_have_in_common():
    """A candidate that is 5 % better on every race is 5 % better in every draw, however races differ."""
    totals = np.random.default_rng(0).uniform(10.0, 90.0, size=25)
    change = paired_change(contributions(totals), contributions(0.95 * totals), higher_is_better=False)
    assert (change.low, change.improvement, change.high) == pytest.approx((5.0, 5.0, 5.0))


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(8)
    covered = 0
    for trial in range(200):
        base = 20 * (2.5 + 0.3 * rng.normal(size=60))
        other = base - 20 * (0.1 + 0.2 * rng.normal(size=60))
        change = paired_change(contributions(base), contributions(other), higher_is_better=False, draws=400, seed=trial)
        covered += change.low <= 4.0 <= change.high
    assert 180 <= covered <= 199


def test_order_of_races_does_not_matter(pair):
    baseline, candidate = pair
    shuffled = candidate.sample(fraction=1.0, shuffle=True, seed=3)
    assert paired_change(baseline, shuffled, higher_is_better=False) == paired_change(
        baseline, candidate, higher_is_better=False
    )


def test_seed_decides_the_draws(pair):
    one, same, other = (paired_change(*pair, higher_is_better=False, draws=200, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one.low != other.low


def test_draws_in_which_the_baseline_never_hits_are_infinite():
    change = paired_change(
        contributions([0.0, 0.0, 1.0]), contributions([1.0, 0.0, 1.0]), higher_is_better=True, draws=500
    )
    assert change.improvement == pytest.approx(100.0)
    assert change.high == math.inf
    assert change.low == 0.0


def test_other_races_are_refused():
    with pytest.raises(DataError, match=r"needs the same races.*only one model has 2101_race_01"):
        paired_change(contributions([1.0, 2.0]), contributions([1.0, 2.0], first=2), higher_is_better=True)


def test_other_numbers_of_rows_are_refused():
    with pytest.raises(DataError, match="2101_race_02: the two models have different numbers of rows"):
        paired_change(contributions([1.0, 2.0]), contributions([1.0, 2.0], weights=[20.0, 19.0]), higher_is_better=True)


def test_no_races_are_refused():
    with pytest.raises(DataError, match="one or more; 0 against 0"):
        paired_change(contributions([]), contributions([]), higher_is_better=True)


def test_a_baseline_of_zero_has_an_infinite_change():
    better = paired_change(contributions([0.0]), contributions([1.0]), higher_is_better=True)
    assert (better.improvement, better.low, better.high) == (math.inf, math.inf, math.inf)
    worse = paired_change(contributions([0.0]), contributions([1.0]), higher_is_better=False)
    assert worse.improvement == -math.inf
    assert paired_change(contributions([0.0]), contributions([0.0]), higher_is_better=True).improvement == 0.0


def test_undefined_values_are_refused():
    with pytest.raises(DataError, match="not finite"):
        paired_change(contributions([1.0]), contributions([math.nan]), higher_is_better=True)


def test_draws_shared_by_models_give_the_same_change_and_intervals(pair):
    """Bit for bit what `paired_change` gives, and the interval of a mean from the definition."""
    weights = np.stack([pair[0]["weight"].to_numpy()] * 2)
    before, after = draw_races(np.stack([frame["total"].to_numpy() for frame in pair]), weights, draws=500, seed=11)
    change = change_between(before, after, higher_is_better=False)
    assert change == paired_change(*pair, higher_is_better=False, draws=500, seed=11)
    totals, w = pair[0]["total"].to_list(), pair[0]["weight"].to_list()
    picks = np.random.default_rng(11).integers(0, 30, size=(500, 30)).tolist()
    means = sorted(sum(totals[i] for i in draw) / sum(w[i] for i in draw) for draw in picks)
    assert before.interval == pytest.approx((means[12], means[487]), abs=1e-9)
    assert before.mean == pytest.approx(sum(totals) / sum(w), abs=1e-12)
