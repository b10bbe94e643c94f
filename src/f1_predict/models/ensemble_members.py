"""The members of the tabular baseline's vote: boosting, a forest, an ordinal regression.

Each learns from a feature table and class labels as arrays. Knows nothing of races, nor of how votes are weighed.
"""

from __future__ import annotations

from typing import Protocol

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer, StandardScaler

from f1_predict.config import EnsembleConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Learner(Protocol):
    """One member of the vote. Labels are 0..k-1, every class present."""

    def tune(self, x: FloatArray, y: IntArray, x_val: FloatArray, y_val: IntArray) -> None:
        """Choose on the validation rows what is chosen on them, for `fit` to keep to."""

    def fit(self, x: FloatArray, y: IntArray) -> None:
        """Fit on all rows given."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Probabilities (n, k)."""


def boosting_settings(config: EnsembleConfig) -> dict[str, object]:
    """What LightGBM is told of a config, whatever it is to learn; the same rows give the same trees."""
    return {
        "learning_rate": config.boosting_learning_rate,
        "num_leaves": config.boosting_leaves,
        "min_data_in_leaf": config.boosting_min_rows,
        "lambda_l2": config.boosting_l2,
        "feature_fraction": config.boosting_feature_share,
        "bagging_fraction": config.boosting_row_share,
        "bagging_freq": 1,
        "seed": config.seed,
        "deterministic": True,
        "verbosity": -1,
    }


class Boosting:
    """LightGBM, multiclass or, for two classes, binary; `tune` finds the number of rounds by early stopping."""

    def __init__(self, config: EnsembleConfig) -> None:
        self._config = config
        self.rounds_ = config.boosting_max_rounds

    def _params(self, classes: int) -> dict[str, object]:
        kind: dict[str, object] = {"objective": "multiclass", "num_class": classes}
        return (kind if classes > 2 else {"objective": "binary"}) | {
            **boosting_settings(self._config),
            "max_bin": 63,
            # The choice LightGBM would otherwise time, differently each run: with a part of the features for each
            # tree, the quicker one, and the same for any number of threads.
            "force_col_wise": True,
            "num_threads": self._config.threads,
        }

    def tune(self, x: FloatArray, y: IntArray, x_val: FloatArray, y_val: IntArray) -> None:
        """See Learner."""
        params = self._params(int(y.max()) + 1)
        train = lgb.Dataset(x, label=y, params=params)
        validation = lgb.Dataset(x_val, label=y_val, reference=train, params=params)
        stop = lgb.early_stopping(self._config.boosting_patience, verbose=False)
        self._booster = lgb.train(
            params, train, self._config.boosting_max_rounds, valid_sets=[validation], callbacks=[stop]
        )
        self.rounds_ = max(1, int(self._booster.best_iteration))

    def fit(self, x: FloatArray, y: IntArray) -> None:
        """See Learner."""
        params = self._params(int(y.max()) + 1)
        self._booster = lgb.train(params, lgb.Dataset(x, label=y, params=params), self.rounds_)

    def predict(self, x: FloatArray) -> FloatArray:
        """See Learner."""
        probs = np.asarray(self._booster.predict(x, num_iteration=self.rounds_), dtype=np.float64)
        return probs if probs.ndim == 2 else np.column_stack([1.0 - probs, probs])


class Filler:
    """Medians for what is missing, flags for where, and unit variance; made once for all members that want it.

    A table is known by its identity: the members are given the same array one after the other, which nobody changes
    in between.
    """

    def __init__(self) -> None:
        self._scaler = StandardScaler()
        self.forget()

    def forget(self) -> None:
        """Let go of the tables."""
        self._fitted_on: FloatArray | None = None
        self._seen: FloatArray | None = None
        self._filled: FloatArray | None = None

    def fit_transform(self, x: FloatArray) -> FloatArray:
        """Learn medians and scales from a table, and fill it."""
        if self._fitted_on is not x:
            self.forget()
            unknown = np.isnan(x)
            known = ~unknown.all(axis=0)
            self._medians = np.zeros(x.shape[1])  # of a column never known too
            self._medians[known] = np.nanmedian(x[:, known], axis=0)
            self._flagged = unknown.any(axis=0)
            self._seen, self._filled = x, self._scaler.fit_transform(self._with_flags(x))
            self._fitted_on = x
        return self.transform(x)

    def transform(self, x: FloatArray) -> FloatArray:
        """A table, filled and scaled."""
        if self._filled is None or self._seen is not x:
            self._seen, self._filled = x, self._scaler.transform(self._with_flags(x))
        return self._filled

    def _with_flags(self, x: FloatArray) -> FloatArray:
        unknown = np.isnan(x)
        return np.hstack([np.where(unknown, self._medians, x), unknown[:, self._flagged]])


class Forest:
    """Extremely randomised trees that regress the indicators of "class k or below", one output for each k.

    Squared error over these outputs is the ranked probability score, so splits know that classes have an
    order; a leaf holds the cumulative distribution of its rows, as in N. Meinshausen, "Quantile regression
    forests", JMLR 7 (2006).
    """

    def __init__(self, config: EnsembleConfig, filler: Filler) -> None:
        self._threads, self._filler = config.threads, filler
        self._trees = ExtraTreesRegressor(
            n_estimators=config.forest_trees,
            min_samples_leaf=config.forest_min_rows,
            max_features=config.forest_feature_share,
            bootstrap=config.forest_row_share < 1.0,  # each tree draws its own rows
            max_samples=config.forest_row_share if config.forest_row_share < 1.0 else None,
            random_state=config.seed,
        )

    def tune(self, x: FloatArray, y: IntArray, x_val: FloatArray, y_val: IntArray) -> None:
        """See Learner."""
        self.fit(x, y)

    def fit(self, x: FloatArray, y: IntArray) -> None:
        """See Learner."""
        self._classes = int(y.max()) + 1
        at_most = (y[:, None] <= np.arange(self._classes - 1)[None, :]).astype(np.float64)
        self._trees.set_params(n_jobs=self._threads)
        self._trees.fit(self._filler.fit_transform(x), at_most[:, 0] if self._classes == 2 else at_most)
        # Threads add up the trees in whatever order they end: one thread gives the same bits each time.
        self._trees.set_params(n_jobs=None)

    def predict(self, x: FloatArray) -> FloatArray:
        """See Learner."""
        cumulative = self._trees.predict(self._filler.transform(x)).reshape(len(x), self._classes - 1)
        edges = np.hstack([np.zeros((len(x), 1)), cumulative, np.ones((len(x), 1))])
        probs = np.maximum(np.diff(edges, axis=1), 0.0)
        return np.asarray(probs / probs.sum(axis=1, keepdims=True), dtype=np.float64)


class Ordinal:
    """Ridge regression of the class to one score, then multinomial logistic regression on splines of it.

    A multinomial regression on all features has a slope for every class and feature, and overfits a few
    thousand rows; here the order of the classes carries the features, and the second step only the shape.
    """

    def __init__(self, config: EnsembleConfig, filler: Filler) -> None:
        self._filler = filler
        self._score = make_pipeline(FunctionTransformer(_within_five), Ridge(alpha=config.ridge_alpha))
        self._shape = make_pipeline(
            SplineTransformer(n_knots=config.spline_knots, extrapolation="linear"),
            StandardScaler(),
            LogisticRegression(max_iter=2000, tol=1e-3),
        )

    def tune(self, x: FloatArray, y: IntArray, x_val: FloatArray, y_val: IntArray) -> None:
        """See Learner."""
        self.fit(x, y)

    def fit(self, x: FloatArray, y: IntArray) -> None:
        """See Learner."""
        filled = self._filler.fit_transform(x)
        self._score.fit(filled, y)
        self._shape.fit(self._score.predict(filled)[:, None], y)

    def predict(self, x: FloatArray) -> FloatArray:
        """See Learner."""
        score = self._score.predict(self._filler.transform(x))
        return np.asarray(self._shape.predict_proba(score[:, None]), dtype=np.float64)


def _within_five(standardised: FloatArray) -> FloatArray:
    """Cut at five standard deviations, so that one odd value cannot carry a linear score away."""
    return np.clip(standardised, -5.0, 5.0)


def learners(config: EnsembleConfig, filler: Filler) -> dict[str, Learner]:
    """The members of the vote, unfitted, by name."""
    return {"boosting": Boosting(config), "forest": Forest(config, filler), "ordinal": Ordinal(config, filler)}
