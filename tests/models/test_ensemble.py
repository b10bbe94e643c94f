"""The tabular baseline: what it learns, that nothing is impossible to it, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from f1_predict.config import EnsembleConfig
from f1_predict.errors import ConfigError, FeatureError, LabelError
from f1_predict.models.ensemble import EnsemblePredictor, mixture_weights

SMALL = EnsembleConfig(threads=1, boosting_max_rounds=25, boosting_min_rows=10, forest_trees=20, ridge_alpha=10.0)
CLASSES = 6


def ordered_rows(rows: int, seed: int, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Five features, two of which decide an ordered class; a tenth of the values is missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5))
    score = x[:, 0] - 0.8 * x[:, 1] + 0.7 * rng.normal(size=rows)
    y = np.searchsorted(np.linspace(-2.0, 2.0, classes - 1), score)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x, y


@pytest.fixture(scope="module")
def fitted() -> EnsemblePredictor:
    return EnsemblePredictor(CLASSES, config=SMALL).fit(*ordered_rows(600, 0), *ordered_rows(200, 1))


def loss(probs: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(probs[np.arange(len(y)), y]).mean())


class TestForecast:
    def test_learns_and_beats_the_frequencies_of_the_classes(self, fitted):
        x, y = ordered_rows(400, 2)
        frequencies = np.bincount(ordered_rows(600, 0)[1], minlength=CLASSES) / 600
        assert loss(fitted.predict_proba(x), y) < 0.85 * loss(np.tile(frequencies, (400, 1)), y)

    def test_rows_are_distributions_without_zeros(self, fitted):
        x, _ = ordered_rows(50, 3)
        x[0] = np.nan  # a driver of whom nothing is known
        x[1] = 1e12  # and one of whom nonsense is
        probs = fitted.predict_proba(x)
        assert probs.shape == (50, CLASSES)
        assert probs.sum(axis=1) == pytest.approx(np.ones(50), abs=1e-12)
        assert probs.min() >= fitted.weights_["uniform"] / CLASSES * (1 - 1e-9)

    def test_is_the_mixture_of_its_members(self, fitted):
        x, _ = ordered_rows(30, 4)
        mixture = fitted.weights_["uniform"] / CLASSES + sum(
            fitted.weights_[name] * learner.predict(x) for name, learner in fitted.learners_.items()
        )
        assert set(fitted.learners_) == {"boosting", "forest", "ordinal"}
        assert fitted.classes_.tolist() == list(range(CLASSES))
        assert fitted.predict_proba(x) == pytest.approx(mixture, abs=1e-12)

    def test_same_seed_gives_the_same_bits(self, fitted):
        x, _ = ordered_rows(100, 5)
        again = EnsemblePredictor(CLASSES, config=SMALL).fit(*ordered_rows(600, 0), *ordered_rows(200, 1))
        assert np.array_equal(again.predict_proba(x), fitted.predict_proba(x))
        other = EnsemblePredictor(CLASSES, config=SMALL.model_copy(update={"seed": 1}))
        other.fit(*ordered_rows(600, 0), *ordered_rows(200, 1))
        assert not np.array_equal(other.predict_proba(x), fitted.predict_proba(x))

    def test_trees_of_a_share_of_the_rows_differ_and_still_learn(self, fitted):
        x, y = ordered_rows(300, 6)
        config = SMALL.model_copy(update={"forest_row_share": 0.3})
        share = EnsemblePredictor(CLASSES, config=config).fit(*ordered_rows(600, 0), *ordered_rows(200, 1))
        votes = [model.learners_["forest"].predict(x) for model in (fitted, share)]
        assert not np.array_equal(*votes)
        assert loss(votes[1] + 1e-9, y) < 0.85 * math.log(CLASSES)
        leaves = [model.learners_["forest"]._trees.estimators_[0].get_n_leaves() for model in (fitted, share)]
        assert leaves[1] < 0.6 * leaves[0]  # of fewer rows

    def test_several_threads_forecast_the_same_bits_each_time(self):
        model = EnsemblePredictor(CLASSES, config=SMALL.model_copy(update={"threads": 2, "boosting_max_rounds": 2}))
        model.fit(*ordered_rows(300, 0), *ordered_rows(100, 1))
        x, _ = ordered_rows(50, 2)
        assert all(np.array_equal(model.predict_proba(x), model.predict_proba(x)) for _ in range(3))

    def test_no_rows_give_no_forecasts(self, fitted):
        assert fitted.predict_proba(np.empty((0, 5))).shape == (0, CLASSES)

    def test_features_without_any_value_are_harmless(self):
        (x, y), (x_val, y_val) = ordered_rows(300, 0), ordered_rows(100, 1)
        x[:, 4], x_val[:, 4] = np.nan, np.nan
        x[:, 3], x_val[:, 3] = 7.0, 7.0
        probs = EnsemblePredictor(CLASSES, config=SMALL).fit(x, y, x_val, y_val).predict_proba(ordered_rows(20, 2)[0])
        assert np.isfinite(probs).all()


class TestClassesWithoutRows:
    def test_class_that_nobody_trained_on_keeps_a_probability(self):
        """Training fields of 6, a model of 9: the places 7 to 9 are improbable, not impossible."""
        model = EnsemblePredictor(9, config=SMALL).fit(*ordered_rows(300, 0), *ordered_rows(100, 1))
        probs = model.predict_proba(ordered_rows(40, 2)[0])
        assert model.classes_.tolist() == list(range(6))
        assert (probs[:, 6:] > 0.0).all()
        assert probs[:, 6:].max() < 0.01

    def test_class_seen_on_validation_only_raises_the_uniform_part_and_is_learned(self):
        (x, y), (x_val, y_val) = ordered_rows(300, 0), ordered_rows(100, 1)
        plain = EnsemblePredictor(7, config=SMALL).fit(x, y, x_val, y_val)
        y_val = y_val.copy()
        y_val[:10] = 6
        model = EnsemblePredictor(7, config=SMALL).fit(x, y, x_val, y_val)
        assert model.weights_["uniform"] > plain.weights_["uniform"]
        assert model.weights_["uniform"] > 0.05
        assert 6 in model.classes_

    def test_validation_of_unknown_classes_only_leaves_the_uniform_part(self):
        x, y = ordered_rows(200, 0)
        x_val, _ = ordered_rows(50, 1)
        model = EnsemblePredictor(7, config=SMALL).fit(x, y, x_val, np.full(50, 6))
        assert model.weights_["uniform"] == pytest.approx(1.0)

    def test_gap_between_the_classes_is_bridged(self):
        (x, y), (x_val, y_val) = ordered_rows(300, 0), ordered_rows(100, 1)
        keep, keep_val = y != 2, y_val != 2
        model = EnsemblePredictor(6, config=SMALL).fit(x[keep], y[keep], x_val[keep_val], y_val[keep_val])
        probs = model.predict_proba(x)
        assert (probs[:, 2] > 0.0).all()
        assert probs[:, 2].max() < 0.01
        assert loss(probs[keep], y[keep]) < math.log(6)


class TestFit:
    def test_weights_are_a_convex_combination(self, fitted):
        assert sum(fitted.weights_.values()) == pytest.approx(1.0, abs=1e-12)
        assert min(fitted.weights_.values()) >= 0.0
        assert fitted.weights_["uniform"] >= 1e-4 / (1 + 1e-4)

    def test_mixture_is_at_least_as_good_as_each_member_on_validation(self, fitted):
        losses = fitted.validation_log_loss_
        assert set(losses) == {"boosting", "forest", "ordinal", "mixture"}
        assert losses["mixture"] <= min(losses.values()) + 1e-4

    def test_boosting_stops_early(self):
        config = SMALL.model_copy(update={"boosting_max_rounds": 400, "boosting_learning_rate": 0.5})
        model = EnsemblePredictor(CLASSES, config=config).fit(*ordered_rows(400, 0), *ordered_rows(100, 1))
        assert model.learners_["boosting"].rounds_ < 100

    def test_validation_rows_are_learned_from_in_the_end(self):
        """A member fitted on training rows alone could not know what only the validation rows show."""
        rng = np.random.default_rng(0)
        x, x_val, x_later = (rng.normal(size=(300, 3)) for _ in range(3))
        x_val[:, 0] += 10.0
        x_later[:, 0] += 10.0
        y, y_val = rng.integers(0, 2, 300), rng.integers(2, 4, 300)
        model = EnsemblePredictor(4, config=SMALL).fit(x, y, np.vstack([x, x_val]), np.r_[y, y_val])
        later = model.predict_proba(x_later)
        assert later[:, 2:].sum(axis=1).mean() > later[:, :2].sum(axis=1).mean()

    def test_weights_are_the_optimum_that_a_general_solver_finds(self):
        rng = np.random.default_rng(4)
        likelihoods = rng.uniform(0.01, 1.0, size=(500, 4)) * [1.0, 0.9, 1.1, 0.3]

        def objective(w):
            return -np.log(likelihoods @ w).mean()

        solved = minimize(
            objective,
            np.full(4, 0.25),
            bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-12},
        )
        weights = mixture_weights(likelihoods)
        assert objective(weights) <= solved.fun + 1e-7
        assert weights == pytest.approx(solved.x, abs=2e-3)

    def test_finish_head_gives_the_probability_of_being_classified(self):
        def rows(seed):
            rng = np.random.default_rng(seed)
            x = rng.normal(size=(400, 3))
            return x, (x[:, 0] + 0.3 * rng.normal(size=400) > 0).astype(int)

        model = EnsemblePredictor(2, head="finish", config=SMALL).fit(*rows(0), *rows(1))
        x, y = rows(2)
        probs = model.predict_proba(x)
        assert probs.shape == (400, 2)
        assert np.mean((probs[:, 1] > 0.5) == y) > 0.85


class TestRefusals:
    def test_other_number_of_columns(self, fitted):
        with pytest.raises(FeatureError, match="x has 4 columns, the ensemble was fitted on 5"):
            fitted.predict_proba(np.zeros((3, 4)))

    def test_other_names_or_another_order(self):
        names = ["grid", "rating", "form", "age", "weather"]
        model = EnsemblePredictor(CLASSES, config=SMALL)
        model.fit(*ordered_rows(300, 0), *ordered_rows(100, 1), feature_names=names)
        x = ordered_rows(5, 2)[0]
        assert np.array_equal(model.predict_proba(x, names), model.predict_proba(x))
        with pytest.raises(FeatureError, match="column 1 of x is 'form', the ensemble was fitted with 'rating'"):
            model.predict_proba(x, ["grid", "form", "rating", "age", "weather"])
        with pytest.raises(FeatureError, match="5 columns need as many names, got 4"):
            model.predict_proba(x, names[:4])

    def test_prediction_before_fit(self):
        with pytest.raises(FeatureError, match=r"not fitted\. Call fit"):
            EnsemblePredictor(20).predict_proba(np.zeros((1, 3)))

    def test_infinities(self, fitted):
        with pytest.raises(FeatureError, match=r"infinity in row 1, column 2. Use NaN"):
            fitted.predict_proba([[0.0] * 5, [0.0, 0.0, math.inf, 0.0, 0.0]])

    def test_names_that_do_not_suit_the_columns(self):
        with pytest.raises(FeatureError, match="5 columns need as many different names, got 2"):
            EnsemblePredictor(CLASSES).fit(*ordered_rows(20, 0), *ordered_rows(20, 1), feature_names=["a", "b"])

    def test_validation_table_with_other_columns(self):
        x_val, y_val = ordered_rows(20, 1)
        with pytest.raises(FeatureError, match="x_val has 4 columns, the ensemble was fitted on 5"):
            EnsemblePredictor(CLASSES).fit(*ordered_rows(20, 0), x_val[:, :4], y_val)

    def test_validation_without_rows(self):
        with pytest.raises(FeatureError, match=r"x_val must have shape \(rows, features\), 1 row\(s\) or more"):
            EnsemblePredictor(CLASSES).fit(*ordered_rows(20, 0), np.empty((0, 5)), np.empty(0, dtype=int))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda y: y + 20, r"classes 0..5, got \d+ in row 0. Class = position - 1"),
            (lambda y: y - 1000, r"classes 0..5, got -\d+ in row 0"),
            (lambda y: y + 0.5, r"classes 0..5, got .*5 in row 0"),
            (lambda y: np.full(len(y), math.nan), r"classes 0..5, got nan in row 0"),
            (lambda y: y[:-1], r"one label a row, 20, got shape \(19,\)"),
            (lambda y: y * 0 + 3, r"one class only \(3\)"),
        ],
    )
    def test_labels(self, change, message):
        x, y = ordered_rows(20, 0)
        with pytest.raises(LabelError, match=message):
            EnsemblePredictor(CLASSES).fit(x, change(y), x, y)

    def test_heads(self):
        with pytest.raises(ConfigError, match="'position' and 'finish', got 'position_regression'"):
            EnsemblePredictor(20, head="position_regression")
        with pytest.raises(ConfigError, match="'finish' needs output_dim 2, got 20"):
            EnsemblePredictor(20, head="finish")
        with pytest.raises(ConfigError, match="'position' needs output_dim of 2 or more, got 1"):
            EnsemblePredictor(1)
