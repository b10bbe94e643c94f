"""Probes of embeddings: equal to scikit-learn and scipy, ranks without ties, honest splits, one split for rung 6."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from f1_predict.config import EnsembleConfig
from f1_predict.errors import ConfigError, DataError
from f1_predict.evaluation.probe import (
    ALPHAS,
    Cars,
    cars_at,
    rank_contributions,
    ranks_within,
    ridge_forecasts,
    ridge_probe,
    score_lines,
    tree_ranks,
)
from f1_predict.training.cut_table import CutTable

WIDTH = 12


def field(seasons: dict[int, int], seed: int, cars: int = 7, noise: float = 1.0, unseen: float = 0.1) -> Cars:
    """Races whose order follows from the first two columns, with odd scales, a constant column, and cars unseen."""
    rng = np.random.default_rng(seed)
    season = [year for year, races in seasons.items() for _ in range(races)]
    fields = np.array([cars + i % 3 for i in range(len(season))])
    n = int(fields.sum())
    values = rng.normal(size=(n, WIDTH)) * np.geomspace(0.1, 50.0, WIDTH) + 9.0
    values[:, -1] = 4.0
    pace = (values[:, 0] - 9.0) / values[:, 0].std() - (values[:, 1] - 9.0) / values[:, 1].std()
    pace += noise * rng.normal(size=n)
    return Cars(
        race_ids=tuple(f"{year}_race_{number}" for number, year in enumerate(season)),
        seasons=np.array(season),
        fields=fields,
        places=ranks_within(pace, fields),
        values=values,
        known=rng.random(n) >= unseen,
    )


LEARN, SCORE = field({2001: 5, 2002: 4, 2003: 6}, 1), field({2004: 5, 2005: 3}, 2)


def within(cars: Cars, forecast: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Forecasts and places race by race, the slow way."""
    ends = np.cumsum(cars.fields).tolist()
    return [
        (forecast[end - size : end], cars.places[end - size : end])
        for end, size in zip(ends, cars.fields.tolist(), strict=True)
    ]


class TestRidge:
    @pytest.mark.parametrize("alpha", [1.0, 31.6, 1e6])
    def test_forecasts_are_those_of_scikit_learn(self, alpha: float) -> None:
        slow = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(LEARN.values, LEARN.shares)
        mine = ridge_forecasts(LEARN.values, LEARN.shares, SCORE.values, (5.0, alpha))[1]
        np.testing.assert_allclose(mine, slow.predict(SCORE.values), atol=1e-9)

    def test_penalty_ranks_and_scores_are_those_of_scikit_learn_and_scipy(self) -> None:
        """The whole probe once more, from its definition."""
        seen, share = LEARN.known, LEARN.places / np.repeat(LEARN.fields, LEARN.fields)
        x, y, season = LEARN.values[seen], share[seen], np.repeat(LEARN.seasons, LEARN.fields)[seen]
        errors = []
        for alpha in ALPHAS:
            parts = [
                make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(x[kept], y[kept]).predict(x[out]) - y[out]
                for kept, out in LeaveOneGroupOut().split(x, y, season)
            ]
            errors.append(np.mean(np.concatenate(parts) ** 2))
        alpha = ALPHAS[int(np.argmin(errors))]
        model = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(x, y)
        forecast = np.where(SCORE.known, model.predict(SCORE.values), share[~seen].mean())
        order = [np.argsort(np.argsort(values, kind="stable")) + 1 for values, _ in within(SCORE, forecast)]
        correlations = [
            spearmanr(ranks, places).statistic
            for ranks, (_, places) in zip(order, within(SCORE, forecast), strict=True)
        ]

        probed = ridge_probe(LEARN, SCORE)
        assert probed.alpha == alpha
        assert probed.unread == int((~SCORE.known).sum())
        np.testing.assert_array_equal(probed.ranks, np.concatenate(order))
        line = score_lines(
            {"a": [rank_contributions(SCORE, probed.ranks)]}, 0.5, {}, ("mae", "spearman"), draws=50, seed=0
        )[0]
        assert line.scores["mae"].mean == pytest.approx(np.abs(np.concatenate(order) - SCORE.places).mean(), abs=1e-12)
        assert line.scores["spearman"].mean == pytest.approx(np.mean(correlations), abs=1e-12)
        assert line.races == 8

    def test_a_signal_is_found_and_none_is_not(self) -> None:
        later = field({2003: 9}, 4, noise=0.1, unseen=0.0)
        clear = ridge_probe(field({2001: 9, 2002: 9}, 3, noise=0.1), later)
        blind = replace(LEARN, values=np.random.default_rng(0).normal(size=LEARN.values.shape))
        nothing = ridge_probe(blind, SCORE)
        assert np.abs(clear.ranks - later.places).mean() < 1.0
        assert np.abs(nothing.ranks - SCORE.places).mean() > 1.7

    def test_what_the_scored_races_came_to_moves_nothing(self) -> None:
        swapped = replace(SCORE, places=np.concatenate([places[::-1] for _, places in within(SCORE, SCORE.shares)]))
        np.testing.assert_array_equal(ridge_probe(LEARN, SCORE).ranks, ridge_probe(LEARN, swapped).ranks)

    def test_what_an_unseen_car_holds_is_not_looked_at(self) -> None:
        odd = [replace(c, values=np.where(c.known[:, None], c.values, np.nan)) for c in (LEARN, SCORE)]
        np.testing.assert_array_equal(ridge_probe(*odd).ranks, ridge_probe(LEARN, SCORE).ranks)

    def test_unseen_cars_of_races_that_all_had_pictures_come_last(self) -> None:
        learn = replace(LEARN, known=np.ones_like(LEARN.known))
        ranks = ridge_probe(learn, SCORE).ranks
        for (here, _), (known, _) in zip(within(SCORE, ranks), within(SCORE, SCORE.known), strict=True):
            assert here[~known].tolist() == list(range(int(known.sum()) + 1, len(known) + 1))

    def test_no_race_stands_on_both_sides(self) -> None:
        with pytest.raises(DataError, match=r"2001_race_0 must be learnt from or scored, not both"):
            ridge_probe(LEARN, field({2001: 1, 2004: 2}, 5))

    def test_one_season_is_too_few(self) -> None:
        with pytest.raises(ConfigError, match=r"two seasons or more to fit on.*got \[2001\]"):
            ridge_probe(field({2001: 8}, 1), SCORE)

    def test_no_picture_at_all(self) -> None:
        with pytest.raises(DataError, match="there are no pictures to learn from"):
            ridge_probe(replace(LEARN, known=np.zeros_like(LEARN.known)), SCORE)


class TestRanks:
    def test_equal_forecasts_keep_their_order_and_races_do_not_mix(self) -> None:
        forecast = np.array([0.5, 0.5, 0.1, 0.5, 9.0, 8.0, 8.0])
        assert ranks_within(forecast, np.array([4, 3])).tolist() == [2, 3, 1, 4, 3, 1, 2]

    def test_trees_see_missing_values_and_order_the_field(self) -> None:
        config = EnsembleConfig(boosting_min_rows=5, boosting_l2=1.0, boosting_feature_share=1.0)
        learn, score = field({2001: 30, 2002: 30, 2003: 20}, 3, noise=0.1), field({2004: 12}, 4, noise=0.1)
        holes = replace(
            learn, values=np.where(np.random.default_rng(1).random(learn.values.shape) < 0.05, np.nan, learn.values)
        )
        ranks = tree_ranks(holes, score, (2003,), config)
        assert np.abs(ranks - score.places).mean() < 1.2
        np.testing.assert_array_equal(ranks, tree_ranks(holes, score, (2003,), config))

    def test_a_cut_table_gives_one_moment_a_race(self) -> None:
        cuts = pl.DataFrame(
            {
                "race_id": ["a", "a", "b"],
                "season": [2001, 2001, 2002],
                "horizon": ["lap_1", "lap_2", "lap_3"],
                "lap": [1, 2, 3],
                "first_row": [0, 2, 4],
                "starters": [2, 2, 3],
            }
        )
        nothing = np.empty((7, 0))
        table = CutTable(
            cuts,
            nothing,
            nothing,
            np.empty((0, 1), np.float32),
            np.full(7, -1),
            np.array([1, 2, 1, 2, 3, 1, 2]),
            np.ones(7, bool),
        )
        cars = cars_at(table, np.array([1, 2]), np.arange(7.0)[:, None], np.ones(7, bool))
        assert cars.race_ids == ("a", "b")
        assert cars.values[:, 0].tolist() == [2, 3, 4, 5, 6]
        assert cars.shares.tolist() == [1 / 2, 1, 1, 1 / 3, 2 / 3]
        with pytest.raises(DataError, match="a comes at two moments"):
            cars_at(table, np.array([0, 1]), np.arange(7.0)[:, None], np.ones(7, bool))


class TestScores:
    def test_fits_are_averaged_and_told_one_by_one(self) -> None:
        places = SCORE.places
        good, bad = places, np.concatenate([values[::-1] for values, _ in within(SCORE, places)])
        frames = {
            "both": [rank_contributions(SCORE, good), rank_contributions(SCORE, bad)],
            "bad": [rank_contributions(SCORE, bad)],
        }
        both, worse = score_lines(frames, 0.5, {"both": ["bad"]}, ("mae", "spearman"), draws=200, seed=0)
        assert both.scores["mae"].fits == (0.0, worse.scores["mae"].mean)
        assert both.scores["mae"].mean == pytest.approx(worse.scores["mae"].mean / 2)
        assert worse.scores["mae"].low < worse.scores["mae"].mean < worse.scores["mae"].high
        change = both.changes["bad"]["mae"]
        assert (change.improvement, change.low, change.high) == pytest.approx((50.0, 50.0, 50.0))
        assert worse.changes == {}

    def test_models_are_scored_on_the_same_races(self) -> None:
        frame = rank_contributions(SCORE, SCORE.places)
        with pytest.raises(DataError, match=r"b must be scored on the same 8 races"):
            score_lines({"a": [frame], "b": [frame.head(5)]}, 0.5, {}, ("mae",), draws=5, seed=0)
