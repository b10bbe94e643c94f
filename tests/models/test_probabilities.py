"""From classes to a forecast of a race: values written out from the definitions, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm

from f1_predict.errors import DataError
from f1_predict.models.probabilities import (
    FLOOR,
    coherent,
    normalise,
    relative_position,
    spread,
    summarise,
    to_field,
)


def distributions(rows=(1, 26), classes=(1, 26)):
    shapes = st.tuples(st.integers(*rows), st.integers(*classes))
    weights = st.floats(0.0, 1.0, allow_nan=False) | st.sampled_from([0.0, 1e-12, 1.0])
    return shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=weights)).map(
        lambda a: np.where(a.sum(axis=1, keepdims=True) > 0, a, 1.0)
    )


class TestToField:
    def test_smaller_field_is_the_forecast_given_that_the_other_places_do_not_exist(self):
        assert to_field([[0.2, 0.3, 0.5]], 2) == pytest.approx(np.array([[0.4, 0.6]]), abs=1e-12)

    def test_larger_field_stretches_the_cumulative_distribution(self):
        """Two classes over three places: the middle place takes a third of each."""
        assert to_field([[0.9, 0.1]], 3) == pytest.approx(np.array([[0.6, 1 / 3, 0.2 / 3]]), abs=1e-12)

    def test_larger_field_agrees_with_interpolating_the_cumulative_distribution(self):
        probs = np.random.default_rng(1).dirichlet(np.ones(20), size=5)
        stretched = to_field(probs, 22)
        for row, result in zip(probs, stretched, strict=True):
            cumulative = np.concatenate([[0.0], np.cumsum(row)])
            expected = np.diff(np.interp(np.arange(23) / 22, np.arange(21) / 20, cumulative))
            assert result == pytest.approx(expected, abs=1e-12)

    def test_twenty_classes_can_forecast_the_last_place_of_twenty_two_cars(self):
        probs = np.full((22, 20), 1e-6)
        probs[:, 19] = 1.0
        field = to_field(probs, 22)
        assert field.shape == (22, 22)
        assert (field[:, 21] > 0.9).all()

    def test_car_that_the_model_sees_behind_the_whole_field_comes_last(self):
        probs = np.zeros((1, 24))
        probs[0, 23] = 1.0
        assert to_field(probs, 18)[0, 17] == pytest.approx(1.0, abs=1e-6)

    def test_same_size_changes_nothing_but_the_floor(self):
        result = to_field([[1.0, 0.0]], 2)
        assert result == pytest.approx(np.array([[1 / (1 + FLOOR), FLOOR / (1 + FLOOR)]]), rel=1e-12)

    @settings(max_examples=150, deadline=None)
    @given(probs=distributions(), n_starters=st.integers(1, 26))
    def test_any_model_fits_any_field(self, probs, n_starters):
        field = to_field(probs, n_starters)
        assert field.shape == (len(probs), n_starters)
        assert field.sum(axis=1) == pytest.approx(np.ones(len(probs)), abs=1e-12)
        assert (field >= 0.9 * FLOOR).all()
        classes = probs.shape[1]
        if n_starters > classes:
            known = np.concatenate([np.zeros((len(probs), 1)), np.cumsum(normalise(probs), axis=1)], axis=1)
            for row, cumulative in zip(field, known, strict=True):
                at = np.interp(np.arange(1, n_starters + 1) / n_starters, np.arange(classes + 1) / classes, cumulative)
                assert np.cumsum(row) == pytest.approx(at, abs=1e-6)

    def test_empty_field_is_refused(self):
        with pytest.raises(DataError, match="one starter or more, got n_starters=0"):
            to_field([[1.0]], 0)

    @pytest.mark.parametrize(
        ("probs", "message"),
        [
            ([0.5, 0.5], r"shape \(rows, classes\), got \(2,\)"),
            ([[0.5, 0.5], [0.5, math.nan]], "got nan in row 1, class 1"),
            ([[-0.5, 1.5]], "got -0.5 in row 0, class 0"),
            ([[0.5, 0.5], [0.0, 0.0]], "row 1 has no probability"),
        ],
    )
    def test_what_is_no_distribution_is_refused(self, probs, message):
        with pytest.raises(DataError, match=message):
            to_field(probs, 2)


class TestSummarise:
    def test_values_of_a_small_race(self):
        forecast = summarise([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.05, 0.45, 0.45, 0.05]])
        assert forecast.expected_position == pytest.approx([3.0, 1.6, 2.5])
        assert forecast.predicted_rank.tolist() == [3, 1, 2]
        assert forecast.p_win == pytest.approx([0.1, 0.7, 0.05])
        assert forecast.p_podium == pytest.approx([0.6, 0.9, 0.95])
        assert forecast.p_points == pytest.approx([1.0, 1.0, 1.0])
        assert forecast.interval_low.tolist() == [1, 1, 2]
        assert forecast.interval_high.tolist() == [4, 3, 3]

    def test_points_are_the_first_ten_places(self):
        forecast = summarise(np.full((2, 20), 0.05))
        assert forecast.p_points == pytest.approx([0.5, 0.5])

    def test_equal_expectations_are_ordered_by_the_better_chance_of_winning(self):
        forecast = summarise([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.25, 0.5, 0.25]])
        assert forecast.predicted_rank.tolist() == [3, 1, 2]

    def test_equal_rows_keep_their_order(self):
        assert summarise(np.full((20, 20), 0.05)).predicted_rank.tolist() == list(range(1, 21))

    @settings(max_examples=150, deadline=None)
    @given(probs=distributions())
    def test_every_race_has_distinct_places_and_honest_intervals(self, probs):
        forecast = summarise(probs)
        assert sorted(forecast.predicted_rank) == list(range(1, len(probs) + 1))
        by_rank = forecast.expected_position[np.argsort(forecast.predicted_rank)]
        assert (np.diff(by_rank) >= -1e-9).all()
        assert (forecast.p_win <= forecast.p_podium).all()
        assert (forecast.p_podium <= forecast.p_points + 1e-12).all()
        places = np.arange(1, probs.shape[1] + 1)[None, :]
        inside = (places >= forecast.interval_low[:, None]) & (places <= forecast.interval_high[:, None])
        assert ((normalise(probs) * inside).sum(axis=1) >= 0.8 - 1e-9).all()
        trimmed = (places > forecast.interval_low[:, None]) & (places < forecast.interval_high[:, None])
        assert ((normalise(probs) * trimmed).sum(axis=1) <= 0.8 + 1e-9).all()

    def test_ranks_follow_the_rows(self):
        """Ranks belong to drivers: the same race with its rows in another order has the same ranks."""
        rng = np.random.default_rng(3)
        probs, order = rng.dirichlet(np.ones(20), size=20), rng.permutation(20)
        assert summarise(probs[order]).predicted_rank.tolist() == summarise(probs).predicted_rank[order].tolist()


class TestSpread:
    def test_is_a_truncated_normal_over_the_shares_of_the_field(self):
        result = spread([0.3], 4, 0.25)
        mass = [norm.cdf(e, 0.3, 0.25) for e in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert result[0] == pytest.approx(np.diff(mass) / (mass[-1] - mass[0]), abs=1e-9)

    def test_sure_forecast_of_each_place_comes_back_as_that_place(self):
        centres = relative_position(np.arange(1, 21), 20)
        assert np.argmax(spread(centres, 20, 0.01), axis=1).tolist() == list(range(20))

    def test_is_positive_everywhere_even_when_it_is_sure(self):
        result = spread([0.0, 1.0], 22, 1e-4)
        assert (result > 0.0).all()
        assert result.sum(axis=1) == pytest.approx([1.0, 1.0])

    @pytest.mark.parametrize(
        ("relative", "n", "sigma", "message"),
        [
            ([1.2], 20, 0.2, r"in \[0, 1\], got shape \(1,\)"),
            ([math.nan], 20, 0.2, r"in \[0, 1\]"),
            ([[0.5]], 20, 0.2, r"got shape \(1, 1\)"),
            ([0.5], 0, 0.2, "got 0 and 0.2"),
            ([0.5], 20, 0.0, "positive sigma, got 20 and 0.0"),
        ],
    )
    def test_bad_input_is_refused(self, relative, n, sigma, message):
        with pytest.raises(DataError, match=message):
            spread(relative, n, sigma)


class TestCoherent:
    @staticmethod
    def deviation(matrix):
        return max(np.abs(matrix.sum(axis=0) - 1).max(), np.abs(matrix.sum(axis=1) - 1).max())

    def test_agrees_with_plain_alternating_scaling(self):
        probs = np.random.default_rng(0).dirichlet(np.full(20, 2.0), size=20)
        expected = probs.copy()
        for _ in range(3000):
            expected /= expected.sum(axis=0)
            expected /= expected.sum(axis=1)[:, None]
        assert coherent(probs) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("sharpness", [0.3, 3.0, 20.0, 60.0])
    def test_rows_and_columns_sum_to_one_however_sure_the_rows_are(self, sharpness):
        rng = np.random.default_rng(int(sharpness))
        for n in (1, 2, 7, 20, 26):
            logits = sharpness * rng.normal(size=(n, n))
            matrix = coherent(np.exp(logits - logits.max(axis=1, keepdims=True)))
            assert self.deviation(matrix) < 1e-9
            assert (matrix >= 0.0).all()

    def test_drivers_who_all_expect_to_win_share_the_places(self):
        probs = np.zeros((20, 20))
        probs[:, 0] = 1.0
        assert coherent(probs) == pytest.approx(np.full((20, 20), 0.05), abs=1e-9)

    def test_one_certain_driver_leaves_the_first_place_to_it(self):
        """The slow case of plain scaling: the second driver also wants the place that the first must have."""
        matrix = coherent([[1.0, 0.0], [0.5, 0.5]])
        assert self.deviation(matrix) < 1e-9
        assert matrix[0, 0] > 0.999

    @settings(max_examples=60, deadline=None)
    @given(n=st.integers(1, 26), data=st.data())
    def test_any_square_matrix_can_be_made_coherent(self, n, data):
        assert self.deviation(coherent(data.draw(distributions((n, n), (n, n))))) < 1e-9

    def test_a_race_without_all_its_starters_is_refused(self):
        with pytest.raises(DataError, match=r"as many rows as places, got shape \(2, 3\)"):
            coherent(np.full((2, 3), 1 / 3))
