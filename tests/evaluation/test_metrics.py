"""Metrics against scikit-learn, scipy and plain Python written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
from scipy.stats import kendalltau, spearmanr

from f1_predict.errors import ConfigError, DataError
from f1_predict.evaluation import metrics
from f1_predict.models.probabilities import coherent, summarise

TOLERANCE = 1e-9


def race_frame(race_id: str, n: int, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "race_id": [race_id] * n,
            "driver_id": [f"driver_{i:02d}" for i in range(n)],
            "position": (rng.permutation(n) + 1).tolist(),
            "classified": (rng.random(n) < 0.8).tolist(),
            "n_starters": [n] * n,
            "position_probs": rng.dirichlet(np.full(n, 0.5), size=n).tolist(),
            "p_finish": rng.random(n).tolist(),
        }
    )


@pytest.fixture
def rows() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    return pl.concat([race_frame(f"2101_race_{i + 1}", n, rng) for i, n in enumerate([18, 20, 22, 20, 24])])


def races(rows: pl.DataFrame):
    """(probs, position, classified, p_finish) of each race as plain lists."""
    for _, part in rows.group_by("race_id", maintain_order=True):
        yield (
            part["position_probs"].to_list(),
            part["position"].to_list(),
            part["classified"].to_list(),
            part["p_finish"].to_list(),
        )


def plain_rps(probs: list[float], position: int) -> float:
    total, n = 0.0, len(probs)
    for threshold in range(1, n):
        cumulative = sum(probs[:threshold])
        total += (cumulative - (1.0 if position <= threshold else 0.0)) ** 2
    return total / (n - 1)


def plain_ranks(probs: list[list[float]]) -> list[int]:
    expected = [sum((i + 1) * p for i, p in enumerate(row)) for row in probs]
    return [1 + sum(other < mine for other in expected) for mine in expected]


def plain_ece(probability: list[float], happened: list[bool], bins: int = 15) -> float:
    pairs = sorted(zip(probability, happened, strict=True), key=lambda pair: pair[0])
    total, start = 0.0, 0
    for b in range(bins):
        size = len(pairs) // bins + (1 if b < len(pairs) % bins else 0)
        part = pairs[start : start + size]
        start += size
        if part:
            total += abs(sum(p for p, _ in part) / size - sum(h for _, h in part) / size) * size
    return total / len(pairs)


class TestAgainstIndependentCode:
    def test_log_loss_agrees_with_scikit_learn(self, rows):
        total, count = 0.0, 0
        for probs, position, *_ in races(rows):
            n = len(position)
            total += sklearn.metrics.log_loss(position, np.array(probs), labels=range(1, n + 1), normalize=False)
            count += n
        assert metrics.score(rows)["log_loss"] == pytest.approx(total / count, abs=TOLERANCE)

    def test_rps_agrees_with_plain_python(self, rows):
        values = [plain_rps(p, y) for probs, position, *_ in races(rows) for p, y in zip(probs, position, strict=True)]
        assert metrics.score(rows)["rps"] == pytest.approx(sum(values) / len(values), abs=TOLERANCE)

    def test_accuracy_and_mae_agree_with_plain_python(self, rows):
        hits, errors = [], []
        for probs, position, *_ in races(rows):
            hits += [p.index(max(p)) + 1 == y for p, y in zip(probs, position, strict=True)]
            errors += [abs(r - y) for r, y in zip(plain_ranks(probs), position, strict=True)]
        scores = metrics.score(rows)
        assert scores["accuracy"] == pytest.approx(sum(hits) / len(hits), abs=TOLERANCE)
        assert scores["mae"] == pytest.approx(sum(errors) / len(errors), abs=TOLERANCE)

    def test_rank_correlations_agree_with_scipy(self, rows):
        ranked = [(plain_ranks(probs), position) for probs, position, *_ in races(rows)]
        scores = metrics.score(rows)
        rho = [spearmanr(a, b).statistic for a, b in ranked]
        tau = [kendalltau(a, b).statistic for a, b in ranked]
        assert scores["spearman"] == pytest.approx(np.mean(rho), abs=TOLERANCE)
        assert scores["kendall"] == pytest.approx(np.mean(tau), abs=TOLERANCE)

    def test_winner_and_podium_agree_with_plain_python(self, rows):
        won, shared = [], []
        for probs, position, *_ in races(rows):
            ranks = plain_ranks(probs)
            won.append(ranks[position.index(1)] == 1)
            predicted = {i for i, r in enumerate(ranks) if r <= 3}
            true = {i for i, y in enumerate(position) if y <= 3}
            shared.append(len(predicted & true) / 3)
        scores = metrics.score(rows)
        assert scores["winner"] == pytest.approx(sum(won) / len(won), abs=TOLERANCE)
        assert scores["podium"] == pytest.approx(sum(shared) / len(shared), abs=TOLERANCE)

    @pytest.mark.parametrize(("event", "places"), [("win", 1), ("podium", 3), ("points", 10)])
    def test_events_agree_with_scikit_learn_and_plain_python(self, rows, event, places):
        probability, happened = [], []
        for probs, position, *_ in races(rows):
            probability += [sum(p[:places]) for p in probs]
            happened += [y <= places for y in position]
        scores = metrics.score(rows)
        brier = sklearn.metrics.brier_score_loss(happened, np.minimum(probability, 1.0))
        assert scores[f"brier_{event}"] == pytest.approx(brier, abs=TOLERANCE)
        # The clip at 1e-9 before ranking and summing moves a probability by 1e-9 at most.
        assert scores[f"ece_{event}"] == pytest.approx(plain_ece(probability, happened), abs=3 * TOLERANCE)

    def test_finish_agrees_with_scikit_learn_and_plain_python(self, rows):
        happened = [c for _, _, classified, _ in races(rows) for c in classified]
        probability = [p for *_, p_finish in races(rows) for p in p_finish]
        scores = metrics.score(rows)
        assert scores["brier_finish"] == pytest.approx(
            sklearn.metrics.brier_score_loss(happened, probability), abs=TOLERANCE
        )
        assert scores["ece_finish"] == pytest.approx(plain_ece(probability, happened), abs=TOLERANCE)

    def test_coherence_agrees_with_plain_python(self, rows):
        worst = []
        for probs, *_ in races(rows):
            columns = [sum(row[j] for row in probs) for j in range(len(probs))]
            worst.append(max(abs(s - 1.0) for s in [*columns, *(sum(row) for row in probs)]))
        assert metrics.score(rows)["coherence"] == pytest.approx(np.mean(worst), abs=TOLERANCE)


class TestSingleValues:
    def test_log_loss_is_clipped_at_1e_9(self):
        assert metrics.log_loss(np.array([[1.0, 0.0]]), np.array([2])) == pytest.approx([9 * math.log(10)])

    def test_rps_of_a_sure_forecast_counts_the_places_it_is_wrong_by(self):
        probs = np.eye(5)[[0, 0]]
        assert metrics.rps(probs, np.array([1, 4])) == pytest.approx([0.0, 3 / 4])

    def test_perfect_forecast(self):
        n = 20
        frame = race_frame("2101_race_1", n, np.random.default_rng(0)).with_columns(position=pl.int_range(1, n + 1))
        frame = frame.with_columns(position_probs=pl.Series(np.eye(n).tolist()))
        scores = metrics.score(frame)
        assert {k: scores[k] for k in ("accuracy", "mae", "spearman", "kendall", "winner", "podium")} == {
            "accuracy": 1.0,
            "mae": 0.0,
            "spearman": 1.0,
            "kendall": 1.0,
            "winner": 1.0,
            "podium": 1.0,
        }
        assert scores["log_loss"] == scores["rps"] == scores["coherence"] == 0.0

    def test_reversed_order_correlates_at_minus_one(self):
        rank, position = np.arange(1, 21), np.arange(20, 0, -1)
        assert metrics.spearman(rank, position) == pytest.approx(-1.0)
        assert metrics.kendall(rank, position) == pytest.approx(-1.0)

    def test_one_car_has_no_order(self):
        assert math.isnan(metrics.spearman(np.array([1]), np.array([1])))
        assert math.isnan(metrics.kendall(np.array([1]), np.array([1])))
        assert metrics.rps(np.array([[1.0]]), np.array([1])).tolist() == [0.0]

    def test_calibrated_coin_has_no_calibration_error_and_a_sure_wrong_one_has_all(self):
        happened = np.array([True, False] * 15)
        assert metrics.ece(np.full(30, 0.5), happened) == pytest.approx(0.0)
        assert metrics.ece(np.where(happened, 0.0, 1.0), happened, bins=10) == pytest.approx(1.0)

    def test_coherent_forecast_has_coherence_zero(self):
        probs = np.random.default_rng(2).dirichlet(np.ones(20), size=20)
        assert metrics.coherence(probs) > 0.1
        assert metrics.coherence(coherent(probs)) < 1e-9

    def test_uniform_forecast_has_the_log_loss_of_the_field(self):
        frame = race_frame("2101_race_1", 22, np.random.default_rng(0))
        frame = frame.with_columns(position_probs=pl.Series(np.full((22, 22), 1 / 22).tolist()))
        assert metrics.score(frame)["log_loss"] == pytest.approx(math.log(22))


class TestScore:
    def test_order_of_rows_does_not_matter(self, rows):
        shuffled = rows.sample(fraction=1.0, shuffle=True, seed=1)
        assert metrics.score(shuffled) == metrics.score(rows)

    def test_larger_fields_weigh_more(self):
        """Averages run over race x driver: 18 and 24 cars count 18 to 24."""
        rng = np.random.default_rng(0)
        small, large = race_frame("2101_race_1", 18, rng), race_frame("2101_race_2", 24, rng)
        parts = [metrics.score(frame)["mae"] for frame in (small, large)]
        both = metrics.score(pl.concat([small, large]))["mae"]
        assert both == pytest.approx((18 * parts[0] + 24 * parts[1]) / 42, abs=TOLERANCE)

    def test_without_finish_probabilities_the_finish_is_not_scored(self, rows):
        scores = metrics.score(rows.drop("p_finish"))
        assert "brier_finish" not in scores
        assert "ece_finish" not in scores
        assert scores["log_loss"] == metrics.score(rows)["log_loss"]

    def test_finish_contributions_need_finish_probabilities(self, rows):
        with pytest.raises(DataError, match="2101_race_1: no 'p_finish' to score"):
            metrics.per_race(rows.drop("p_finish"), "brier_finish")

    @pytest.mark.parametrize("metric", [*metrics.PER_ROW, *metrics.PER_RACE])
    def test_contributions_of_races_make_up_the_score(self, rows, metric):
        parts = metrics.per_race(rows, metric)
        assert parts["race_id"].to_list() == sorted(rows["race_id"].unique().to_list())
        assert parts["total"].sum() / parts["weight"].sum() == pytest.approx(metrics.score(rows)[metric], abs=1e-12)

    def test_one_pass_over_the_races_gives_all_contributions(self, rows):
        made = metrics.contributions(metrics.races_of(rows))
        assert made["rows"].to_list() == [18, 20, 22, 20, 24]
        for metric in (*metrics.PER_ROW, *metrics.PER_RACE):
            assert made[metric].to_list() == metrics.per_race(rows, metric)["total"].to_list()
        assert "brier_finish" not in metrics.contributions(metrics.races_of(rows.drop("p_finish"))).columns

    def test_calibration_bins_hold_all_rows_from_the_least_probable(self):
        probability, happened = np.array([0.9, 0.1, 0.5, 0.2]), np.array([True, False, True, True])
        bins = metrics.calibration_bins(probability, happened, bins=3)
        assert [rows for rows, _, _ in bins] == [2, 1, 1]
        assert [mean for _, mean, _ in bins] == pytest.approx([0.15, 0.5, 0.9])
        assert [frequency for _, _, frequency in bins] == [0.5, 1.0, 1.0]
        assert metrics.ece(probability, happened, bins=3) == pytest.approx((2 * 0.35 + 0.5 + 0.1) / 4)

    def test_weights_are_rows_or_races(self, rows):
        assert metrics.per_race(rows, "log_loss")["weight"].to_list() == [18.0, 20.0, 22.0, 20.0, 24.0]
        assert metrics.per_race(rows, "winner")["weight"].to_list() == [1.0] * 5

    def test_calibration_is_no_sum_over_races(self, rows):
        with pytest.raises(ConfigError, match=r"'ece_win' is no metric that races contribute to. Use one of log_loss"):
            metrics.per_race(rows, "ece_win")

    def test_every_metric_has_a_direction(self):
        better_up = {"accuracy", "spearman", "kendall", "winner", "podium"}
        assert better_up == metrics.HIGHER_IS_BETTER
        assert better_up < {*metrics.PER_ROW, *metrics.PER_RACE}

    def test_ranks_of_a_race_are_distinct(self, rows):
        for race in metrics.races_of(rows):
            assert sorted(race.forecast.predicted_rank) == list(range(1, len(race.position) + 1))
            assert race.forecast.predicted_rank.tolist() == summarise(race.probs).predicted_rank.tolist()


class TestRefusals:
    def test_fewer_rows_than_starters_names_the_race(self, rows):
        short = rows.filter(~((pl.col("race_id") == "2101_race_3") & (pl.col("driver_id") == "driver_04")))
        with pytest.raises(DataError, match=r"2101_race_3 has 21 rows for 22 starters. Forecast every starter"):
            metrics.score(short)

    def test_two_models_at_once_are_refused(self, rows):
        with pytest.raises(DataError, match=r"2101_race_1: driver 'driver_00' has several rows. Score one model"):
            metrics.score(pl.concat([rows, rows]))

    def test_missing_column_is_named(self, rows):
        with pytest.raises(DataError, match="lacks position_probs"):
            metrics.score(rows.drop("position_probs"))

    def test_no_rows_are_refused(self, rows):
        with pytest.raises(DataError, match="it has 0 rows"):
            metrics.score(rows.clear())

    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            ("position", 2, "2101_race_1: true positions must be 1..18, each once"),
            ("position", None, "2101_race_1: true positions must be 1..18, each once"),
            ("n_starters", 19, "2101_race_1 has 18 rows for .* starters"),
            ("position_probs", [0.5, 0.5], "driver 'driver_00': 'position_probs' must have 18 numbers.*got 2"),
            ("position_probs", None, "driver 'driver_00': 'position_probs' must have 18 numbers.*got null"),
            ("position_probs", [0.9] * 18, "must not be negative and sum to 1, got 0.9 at least and a sum of 16.2"),
            ("position_probs", [float("nan")] * 18, "must not be negative and sum to 1, got nan"),
            ("p_finish", 1.5, r"2101_race_1: 'p_finish' must be in \[0, 1\]"),
        ],
    )
    def test_bad_value_is_refused(self, rows, column, value, message):
        records = rows.filter(pl.col("race_id") == "2101_race_1").to_dicts()
        if column == "position" and value == records[0]["position"]:
            records[0], records[1] = records[1], records[0]
        records[0][column] = value
        frame = pl.DataFrame(records, schema=rows.schema)
        with pytest.raises(DataError, match=message):
            metrics.score(frame)
