"""The tabular-only baseline: a soft vote of boosting, a forest and an ordinal regression.

Sees a feature table and labels as arrays. Knows nothing of races, pictures or how features came about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from f1_predict.config import EnsembleConfig, Head
from f1_predict.errors import ConfigError, FeatureError, LabelError
from f1_predict.models.ensemble_members import Filler, Learner, learners

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

UNIFORM = "uniform"
"""Name of the part of the mixture that is the same for every class."""
_MIN_UNIFORM_WEIGHT = 1e-4
_EM_ROUNDS = 5000
_EM_TOLERANCE = 1e-10


def mixture_weights(likelihoods: FloatArray) -> FloatArray:
    """Weights of a mixture that maximise its likelihood, by expectation-maximisation.

    The log-likelihood of the weights is concave, so the maximum found is the only one: A. Dempster,
    N. Laird and D. Rubin, "Maximum likelihood from incomplete data via the EM algorithm", J. R. Stat.
    Soc. B 39 (1977), section 4.3 with the components held fixed.

    Args:
        likelihoods: (rows, members), the probability that each member gave to what happened; each row
            has one above zero.

    Returns:
        float64 (members,), not negative, sums to 1.
    """
    rows, members = likelihoods.shape
    weights = np.full(members, 1.0 / members)
    for _ in range(_EM_ROUNDS):
        # The mean over rows of each member's share of the row's likelihood.
        updated = weights * ((1.0 / (likelihoods @ weights)) @ likelihoods) / rows
        done = float(np.abs(updated - weights).max()) < _EM_TOLERANCE
        weights = updated
        if done:
            break
    return np.asarray(weights / weights.sum(), dtype=np.float64)


class EnsemblePredictor:
    """Soft vote of LightGBM, extremely randomised trees and an ordinal logistic regression.

    The forecast is a mixture of the members' probabilities and of the uniform distribution. Its weights
    minimise the log-loss on the validation rows, which the members have not seen; then the members are
    fitted again on training and validation rows together, with the number of boosting rounds found on
    validation, so that the latest races are not lost to the fit. The uniform part has a weight of 1e-4
    or more: a class that no row had still gets a positive probability.

    Args:
        output_dim: classes. Head "position": places, class = position - 1. Head "finish": 2, class 1 =
            classified at the finish.
        head: "position" or "finish".
        config: settings of the members, seed and threads.

    Attributes:
        learners_: fitted members by name ("boosting", "forest", "ordinal").
        classes_: int64, the classes that the fitted members know; the others have the uniform part only.
        weights_: weight of each member and of "uniform", by name; they sum to 1.
        validation_log_loss_: log-loss on the validation rows of each member alone and of the mixture
            ("mixture"), before the second fit.
        feature_names_: names of the columns.

    Raises:
        ConfigError: if the head is another one, or `output_dim` does not suit it.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(120, 3))
        >>> y = (x[:, 0] > 0.0).astype(int)
        >>> small = EnsembleConfig(boosting_max_rounds=20, forest_trees=10)
        >>> model = EnsemblePredictor(2, config=small).fit(x[:80], y[:80], x[80:100], y[80:100])
        >>> model.predict_proba(x[100:]).sum(axis=1).round(6).tolist() == [1.0] * 20
        True
    """

    def __init__(self, output_dim: int, head: Head = "position", config: EnsembleConfig | None = None) -> None:
        if head not in ("position", "finish"):
            raise ConfigError(f"the ensemble has the heads 'position' and 'finish', got '{head}'. Choose one of them.")
        if output_dim < 2 or (head == "finish" and output_dim != 2):
            raise ConfigError(
                f"head '{head}' needs output_dim {'2' if head == 'finish' else 'of 2 or more'}, got {output_dim}."
            )
        self.output_dim = output_dim
        self.head: Head = head
        self.config = config or EnsembleConfig()

    def fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        x_val: npt.ArrayLike,
        y_val: npt.ArrayLike,
        feature_names: Sequence[str] | None = None,
    ) -> EnsemblePredictor:
        """Fit the members, find their weights, fit the members again on all rows.

        Args:
            x: (n, F) float64, NaN = unknown.
            y: (n,) int64, classes 0..output_dim-1, two different ones or more.
            x_val: (m, F), rows of later races than x's, one or more.
            y_val: (m,).
            feature_names: F names; "feature_0", ... if not given.

        Returns:
            self.

        Raises:
            FeatureError: if the tables do not have the same columns, have no rows, or hold infinities.
            LabelError: if labels are not whole numbers in 0..output_dim-1, one a row, of two classes or more.
        """
        train = _table(x, "x")
        names = tuple(feature_names) if feature_names is not None else _default_names(train.shape[1])
        if len(names) != train.shape[1] or len(set(names)) != len(names):
            raise FeatureError(f"{train.shape[1]} columns need as many different names, got {len(names)}: {names}.")
        self.feature_names_ = names
        labels = self._labels(y, train, "y")
        if len(np.unique(labels)) < 2:
            raise LabelError(f"training rows hold one class only ({labels[0]}). Give races with different results.")
        validation = self._columns(x_val, None, "x_val")
        labels_val = self._labels(y_val, validation, "y_val")

        filler = Filler()
        self.learners_ = learners(self.config, filler)
        self._tune(train, labels, validation, labels_val)
        self._weigh(validation, labels_val)

        everything, all_labels = np.concatenate([train, validation]), np.concatenate([labels, labels_val])
        self.classes_, codes = np.unique(all_labels, return_inverse=True)
        for learner in self.learners_.values():
            learner.fit(everything, codes)
        filler.forget()
        return self

    def _tune(self, x: FloatArray, y: IntArray, x_val: FloatArray, y_val: IntArray) -> None:
        """Fit on training rows; early stopping looks at the validation rows whose class was trained on."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        known = np.isin(y_val, self.classes_)
        codes_val = np.searchsorted(self.classes_, y_val[known])
        for learner in self.learners_.values():
            if known.any():
                learner.tune(x, codes, x_val[known], codes_val)
            else:
                learner.fit(x, codes)

    def _weigh(self, x_val: FloatArray, y_val: IntArray) -> None:
        rows = np.arange(len(y_val))
        votes = {name: self._vote(learner, x_val) for name, learner in self.learners_.items()}
        likelihoods = np.column_stack([vote[rows, y_val] for vote in votes.values()])
        uniform = np.full((len(rows), 1), 1.0 / self.output_dim)
        found = mixture_weights(np.hstack([likelihoods, uniform]))
        found[-1] = max(found[-1], _MIN_UNIFORM_WEIGHT)
        found = found / found.sum()
        self.weights_ = dict(zip([*votes, UNIFORM], found.tolist(), strict=True))
        floored = np.maximum(likelihoods, 1e-9)
        self.validation_log_loss_ = {
            name: float(loss) for name, loss in zip(votes, -np.log(floored).mean(axis=0), strict=True)
        }
        self.validation_log_loss_["mixture"] = float(-np.log(np.hstack([likelihoods, uniform]) @ found).mean())

    def _vote(self, learner: Learner, x: FloatArray) -> FloatArray:
        """A member's probabilities over all classes, zero where it knows none: (n, output_dim)."""
        probs = np.zeros((len(x), self.output_dim))
        probs[:, self.classes_] = learner.predict(x)
        return probs

    def predict_proba(self, x: npt.ArrayLike, feature_names: Sequence[str] | None = None) -> FloatArray:
        """Class probabilities.

        Args:
            x: (n, F) float64, NaN = unknown, the columns of `fit`.
            feature_names: checked against those of `fit` where given.

        Returns:
            float64 (n, output_dim), all positive, rows sum to 1. Head "finish": column 1 is the
            probability of being classified.

        Raises:
            FeatureError: if the columns differ from those of `fit`, or `fit` was not called.
        """
        if not hasattr(self, "weights_"):
            raise FeatureError("the ensemble is not fitted. Call fit before predict_proba.")
        table = self._columns(x, feature_names, "x")
        probs = np.full((len(table), self.output_dim), self.weights_[UNIFORM] / self.output_dim)
        if len(table):
            for name, learner in self.learners_.items():
                probs += self.weights_[name] * self._vote(learner, table)
        return np.asarray(probs / probs.sum(axis=1, keepdims=True), dtype=np.float64)

    def _columns(self, x: npt.ArrayLike, feature_names: Sequence[str] | None, argument: str) -> FloatArray:
        """`x` as a table, refused unless it has the columns of `fit`."""
        table = _table(x, argument, rows=0 if argument == "x" else 1)
        if table.shape[1] != len(self.feature_names_):
            raise FeatureError(
                f"{argument} has {table.shape[1]} columns, the ensemble was fitted on {len(self.feature_names_)}. "
                "Build the features with the same settings."
            )
        if feature_names is not None and len(feature_names) != len(self.feature_names_):
            raise FeatureError(f"{len(self.feature_names_)} columns need as many names, got {len(feature_names)}.")
        if feature_names is not None and tuple(feature_names) != self.feature_names_:
            pairs = enumerate(zip(feature_names, self.feature_names_, strict=True))
            at, (came, wanted) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
            raise FeatureError(
                f"column {at} of {argument} is '{came}', the ensemble was fitted with '{wanted}' there. "
                "Pass the same columns in the same order."
            )
        return table

    def _labels(self, y: npt.ArrayLike, table: FloatArray, argument: str) -> IntArray:
        values = np.asarray(y)
        if values.shape != (len(table),):
            raise LabelError(f"{argument} must have one label a row, {len(table)}, got shape {values.shape}.")
        bad = ~np.isin(values, np.arange(self.output_dim))
        if bad.any():
            row = int(np.argmax(bad))
            raise LabelError(
                f"{argument} must hold classes 0..{self.output_dim - 1}, got {values[row]} in row {row}. "
                "Class = position - 1; set output_dim to the largest field."
            )
        return np.asarray(values, dtype=np.int64)


def _default_names(columns: int) -> tuple[str, ...]:
    return tuple(f"feature_{i}" for i in range(columns))


def _table(x: npt.ArrayLike, argument: str, rows: int = 1) -> FloatArray:
    table = np.asarray(x, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < rows or table.shape[1] == 0:
        raise FeatureError(f"{argument} must have shape (rows, features), {rows} row(s) or more, got {table.shape}.")
    infinite = np.isinf(table)
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise FeatureError(f"{argument} holds an infinity in row {row}, column {column}. Use NaN for unknown values.")
    return table
