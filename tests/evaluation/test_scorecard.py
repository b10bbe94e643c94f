"""The scorecard as a whole against scikit-learn, scipy and plain Python written from the definitions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
from scipy.stats import kendalltau, spearmanr

from f1_predict.errors import DataError, NotFoundError
from f1_predict.evaluation import metrics
from f1_predict.evaluation.ladder import ABLATIONS, IN_RACE_ONLY, RUNGS
from f1_predict.evaluation.metrics import per_race, score
from f1_predict.evaluation.scorecard import CHANGE_METRICS, INTERVAL_METRICS, Scorecard, make_scorecard
from tests.evaluation.forecasts import calendar_and_results, forecast_rows, race_ids, random_predictions
from tests.evaluation.test_bootstrap import plain as plain_change
from tests.evaluation.test_metrics import plain_ece, plain_ranks, plain_rps

TOLERANCE = 1e-9
CLIPPED = 1e-7
"""Event probabilities are clipped at 1e-9 a place and normalised, which moves a mean of them by this at most."""
LADDER = (
    *("uniform", "grid", "current_order", "ensemble_pre", "network_table", "network_fusion", "ensemble_inrace", "best"),
    *("best_without_pictures", "foreign"),
)
DRAWS = 200


@pytest.fixture(scope="module")
def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    return calendar_and_results()


@pytest.fixture(scope="module")
def predictions() -> pl.DataFrame:
    """Rows in no order, of eight rungs, an ablation and a model that the ladder does not know."""
    rows = random_predictions(["foreign", *reversed(LADDER[:-1])], with_finish=["best", "foreign"])
    return rows.sample(fraction=1.0, shuffle=True, seed=5)


@pytest.fixture(scope="module")
def card(predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]) -> Scorecard:
    return make_scorecard(predictions, *tables, draws=DRAWS, seed=3)


@pytest.fixture(scope="module")
def joined(predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]) -> dict[tuple[str, float], list[dict]]:
    """(model, fraction) -> races by name, each with plain lists of its columns, drivers in order."""
    truth = tables[1].select("race_id", "driver_id", "position", "classified")
    rows = predictions.join(truth, on=["race_id", "driver_id"]).sort("race_id", "driver_id")
    found: dict[tuple[str, float], list[dict]] = {}
    for (model, fraction, _), part in rows.group_by("model", "fraction", "race_id", maintain_order=True):
        found.setdefault((model, fraction), []).append(part.to_dict(as_series=False))
    return found


def cells(card: Scorecard) -> Iterator[tuple[str, float]]:
    return ((model, fraction) for model in card.models for fraction in card.scores[model])


def values_of(races: list[dict], metric: str) -> list[list[float]]:
    """Values of a metric of each race, from the definitions: one a row, or one a race."""
    found = []
    for race in races:
        probs, places = race["position_probs"], race["position"]
        ranks = plain_ranks(probs) if len(set(map(tuple, probs))) > 1 else list(range(1, len(probs) + 1))
        top = {"win": 1, "podium": 3, "points": 10}
        if metric == "log_loss":
            values = [-math.log(max(p[y - 1], 1e-9)) for p, y in zip(probs, places, strict=True)]
        elif metric == "rps":
            values = [plain_rps(p, y) for p, y in zip(probs, places, strict=True)]
        elif metric == "accuracy":
            values = [float(p.index(max(p)) + 1 == y) for p, y in zip(probs, places, strict=True)]
        elif metric == "mae":
            values = [float(abs(r - y)) for r, y in zip(ranks, places, strict=True)]
        elif metric == "spearman":
            values = [spearmanr(ranks, places).statistic]
        elif metric == "kendall":
            values = [kendalltau(ranks, places).statistic]
        elif metric == "winner":
            values = [float(ranks[places.index(1)] == 1)]
        elif metric == "podium":
            values = [sum(r <= 3 and y <= 3 for r, y in zip(ranks, places, strict=True)) / 3]
        elif metric == "coherence":
            sums = [sum(row) for row in probs] + [sum(column) for column in zip(*probs, strict=True)]
            values = [max(abs(total - 1.0) for total in sums)]
        elif metric == "brier_finish":
            values = [(p - h) ** 2 for p, h in zip(race["p_finish"], race["classified"], strict=True)]
        else:
            last = top[metric.removeprefix("brier_")]
            values = [(sum(p[:last]) - (y <= last)) ** 2 for p, y in zip(probs, places, strict=True)]
        found.append(values)
    return found


def plain_contributions(races: list[dict], metric: str) -> pl.DataFrame:
    values = values_of(races, metric)
    names = [race["race_id"][0] for race in races]
    weights = [float(len(part)) for part in values]
    return pl.DataFrame({"race_id": names, "total": [float(sum(part)) for part in values], "weight": weights})


class TestAgainstIndependentCode:
    def test_every_score_of_every_model_at_every_fraction(self, card: Scorecard, joined: dict) -> None:
        checked = 0
        for model, fraction in cells(card):
            for metric in (*metrics.PER_ROW, *metrics.PER_RACE):
                if metric == "brier_finish" and model not in ("best", "foreign"):
                    continue
                values = [value for race in values_of(joined[model, fraction], metric) for value in race]
                tolerance = CLIPPED if metric.startswith("brier") else TOLERANCE
                assert card.scores[model][fraction][metric] == pytest.approx(
                    sum(values) / len(values), abs=tolerance
                ), (model, fraction, metric)
                checked += 1
        assert checked == 19 * 12 + 4

    def test_log_loss_agrees_with_scikit_learn(self, card: Scorecard, joined: dict) -> None:
        for model, fraction in cells(card):
            total, rows = 0.0, 0
            for race in joined[model, fraction]:
                n = len(race["position"])
                total += sklearn.metrics.log_loss(
                    race["position"], np.array(race["position_probs"]), labels=range(1, n + 1), normalize=False
                )
                rows += n
            assert card.scores[model][fraction]["log_loss"] == pytest.approx(total / rows, abs=TOLERANCE)

    @pytest.mark.parametrize(("event", "last"), [("win", 1), ("podium", 3), ("points", 10)])
    def test_calibration_error_and_brier_score(self, card: Scorecard, joined: dict, event: str, last: int) -> None:
        for model, fraction in cells(card):
            races = joined[model, fraction]
            probability = [min(sum(p[:last]), 1.0) for race in races for p in race["position_probs"]]
            happened = [y <= last for race in races for y in race["position"]]
            scores = card.scores[model][fraction]
            assert scores[f"ece_{event}"] == pytest.approx(plain_ece(probability, happened), abs=CLIPPED)
            brier = sklearn.metrics.brier_score_loss(happened, probability)
            assert scores[f"brier_{event}"] == pytest.approx(brier, abs=CLIPPED)

    def test_finish_is_scored_where_it_is_forecast(self, card: Scorecard, joined: dict) -> None:
        for model, fraction in cells(card):
            scores = card.scores[model][fraction]
            assert ("brier_finish" in scores) == ("ece_finish" in scores) == (model in ("best", "foreign"))
            if "ece_finish" in scores:
                races = joined[model, fraction]
                probability = [p for race in races for p in race["p_finish"]]
                happened = [h for race in races for h in race["classified"]]
                assert scores["ece_finish"] == pytest.approx(plain_ece(probability, happened), abs=TOLERANCE)

    def test_intervals_agree_with_a_plain_bootstrap(self, card: Scorecard, joined: dict) -> None:
        picks = np.random.default_rng(3).integers(0, 6, size=(DRAWS, 6)).tolist()
        for model in ("best", "uniform", "current_order"):
            for metric in INTERVAL_METRICS:
                if metric == "brier_finish" and model != "best":
                    assert metric not in card.intervals[model][0.5]
                    continue
                values = values_of(joined[model, 0.5], metric)
                means = []
                for draw in picks:
                    drawn = [value for race in draw for value in values[race]]
                    means.append(sum(drawn) / len(drawn))
                means.sort()
                expected = means[math.ceil(0.025 * DRAWS) - 1], means[math.ceil(0.975 * DRAWS) - 1]
                assert card.intervals[model][0.5][metric] == pytest.approx(expected, abs=CLIPPED), (model, metric)

    def test_changes_agree_with_a_plain_bootstrap(self, card: Scorecard, joined: dict) -> None:
        for item in card.changes:
            if (item.candidate, item.rival) not in {("best", "ensemble_inrace"), ("foreign", "current_order")}:
                continue
            before, after = (
                plain_contributions(joined[m, item.fraction], item.metric) for m in (item.rival, item.candidate)
            )
            sign = 1.0 if item.metric in ("accuracy", "spearman") else -1.0
            expected = plain_change(before, after, sign=sign, draws=DRAWS, seed=3)
            change = item.change
            found = (change.improvement, change.low, change.high)
            assert found == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE), item
            assert change.races == 6
            assert change.baseline == pytest.approx(card.scores[item.rival][item.fraction][item.metric], abs=1e-12)
            assert change.candidate == pytest.approx(card.scores[item.candidate][item.fraction][item.metric], abs=1e-12)

    def test_scores_are_those_of_one_model_at_a_time(
        self, card: Scorecard, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        truth = tables[1].select("race_id", "driver_id", "position", "classified")
        for model, fraction in cells(card):
            rows = predictions.filter((pl.col("model") == model) & (pl.col("fraction") == fraction))
            alone = score(rows.join(truth, on=["race_id", "driver_id"]))
            assert card.scores[model][fraction].keys() == alone.keys()
            assert card.scores[model][fraction] == pytest.approx(alone, abs=1e-12)


class TestTables:
    def test_what_was_scored(self, card: Scorecard) -> None:
        assert card.models == LADDER
        assert set(RUNGS) | set(ABLATIONS) | {"foreign"} == set(LADDER)
        assert (card.fractions, card.seasons, card.races, card.skipped) == ((0.0, 0.5), (2101, 2102), 6, ())
        assert list(card.scores["current_order"]) == [0.5]
        assert card.notes == ()

    def test_races_are_in_the_order_of_time(
        self, card: Scorecard, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        assert card.by_race["race_id"].unique(maintain_order=True).to_list() == race_ids()
        assert card.by_race.height == 6 * 19
        first = card.by_race.row(0, named=True)
        assert (first["race_id"], first["season"], first["model"], first["fraction"]) == (
            "2101_race_2",
            2101,
            "uniform",
            0.0,
        )
        truth = tables[1].select("race_id", "driver_id", "position")
        for row in card.by_race.iter_rows(named=True):
            if row["model"] != "best":
                continue
            keys = {name: row[name] for name in ("race_id", "model", "fraction")}
            here = predictions.filter(**keys).join(truth, on=["race_id", "driver_id"])
            alone = score(here)
            assert row["rows"] == here.height
            for metric in ("log_loss", "mae", "accuracy", "spearman"):
                assert row[metric] == pytest.approx(alone[metric], abs=1e-12)

    def test_seasons(
        self, card: Scorecard, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        truth = tables[1].select("race_id", "driver_id", "position")
        assert card.by_season.height == 2 * 19
        for row in card.by_season.filter(model="foreign").iter_rows(named=True):
            here = predictions.filter(model="foreign", fraction=row["fraction"])
            here = here.filter(pl.col("race_id").str.starts_with(str(row["season"])))
            alone = score(here.join(truth, on=["race_id", "driver_id"]))
            assert row["races"] == 3
            for metric in ("log_loss", "mae", "accuracy", "spearman"):
                assert row[metric] == pytest.approx(alone[metric], abs=1e-12)

    def test_reliability_has_the_bins_of_the_calibration_error(self, card: Scorecard, joined: dict) -> None:
        for model, fraction, event in (("best", 0.5, "win"), ("best", 0.0, "finish"), ("foreign", 0.5, "points")):
            bins = card.reliability.filter(model=model, fraction=fraction, event=event)
            assert bins["bin"].to_list() == list(range(1, 16))
            assert bins["rows"].to_list() == [8] * 11 + [7] * 4  # 116 rows
            gaps = sum(r * abs(p - f) for r, p, f in bins.select("rows", "mean_probability", "frequency").iter_rows())
            assert gaps / 116 == pytest.approx(card.scores[model][fraction][f"ece_{event}"], abs=1e-12)
            assert bins["mean_probability"].is_sorted()
        finish = sorted(
            (p, h) for race in joined["best", 0.0] for p, h in zip(race["p_finish"], race["classified"], strict=True)
        )
        last = card.reliability.filter(model="best", fraction=0.0, event="finish").row(-1, named=True)
        assert last["mean_probability"] == pytest.approx(sum(p for p, _ in finish[-7:]) / 7, abs=TOLERANCE)
        assert last["frequency"] == pytest.approx(sum(h for _, h in finish[-7:]) / 7)
        assert card.reliability.filter(model="grid", event="finish").is_empty()

    def test_pictures(self, card: Scorecard, joined: dict) -> None:
        for row in card.pictures.iter_rows(named=True):
            races = joined[row["model"], row["fraction"]]
            seen = [there for race in races for there in race["has_image"]]
            losses = [value for race in values_of(races, "log_loss") for value in race]
            split = [[v for v, there in zip(losses, seen, strict=True) if there == wanted] for wanted in (True, False)]
            assert (row["rows"], row["without_picture"]) == (len(seen), seen.count(False))
            means = [sum(part) / len(part) for part in split]
            assert [row["log_loss_with"], row["log_loss_without"]] == pytest.approx(means, abs=TOLERANCE)

    def test_no_rows_with_a_picture(self, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        rows = random_predictions(["mine"]).with_columns(has_image=False)
        pictures = make_scorecard(rows, *tables, draws=10).pictures
        assert pictures["log_loss_with"].to_list() == [None, None]
        assert pictures["without_picture"].to_list() == pictures["rows"].to_list() == [116, 116]


class TestPairs:
    def test_who_is_compared_with_whom(self, card: Scorecard) -> None:
        for fraction in card.fractions:
            here = [model for model in LADDER if fraction > 0 or model not in IN_RACE_ONLY]
            persistence = "current_order" if fraction > 0 else "grid"
            wanted = {("network_fusion", "ensemble_pre"), ("network_fusion", "network_table")}
            wanted |= {("best", "ensemble_inrace"), ("best", "best_without_pictures")}
            wanted |= {(m, rival) for m in here for rival in ("ensemble_inrace", persistence) if m != rival}
            for metric in CHANGE_METRICS:
                pairs = [
                    (item.candidate, item.rival)
                    for item in card.changes
                    if item.fraction == fraction and item.metric == metric
                ]
                assert len(pairs) == len(set(pairs))
                assert set(pairs) == wanted

    def test_against_a_model(self, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        rows = random_predictions(["mine", "other", "third"], fractions=(0.25,))
        assert make_scorecard(rows, *tables, draws=10).changes == []
        found = make_scorecard(rows, *tables, against="other", draws=10).changes
        assert {(item.candidate, item.rival) for item in found} == {("mine", "other"), ("third", "other")}

    def test_better_is_positive_whichever_way_the_metric_runs(self, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        """A model that puts 0.5 on the truth against one that spreads all evenly."""
        rows = random_predictions(["uniform"], fractions=(0.0,))
        truth = rows.join(tables[1].select("race_id", "driver_id", "position"), on=["race_id", "driver_id"])
        frames = [rows]
        for (race_id,), part in truth.group_by("race_id", maintain_order=True):
            n = part.height
            probs = np.full((n, n), 0.5 / n)
            probs[np.arange(n), part["position"].to_numpy() - 1] += 0.5
            frames.append(forecast_rows(race_id, n, "wise", 0.0, probs, np.random.default_rng(0), False))
        card = make_scorecard(pl.concat(frames), *tables, against="uniform", draws=DRAWS)
        found = {item.metric: item.change for item in card.changes}
        assert set(found) == set(CHANGE_METRICS)
        assert all(change.low > 0.0 for change in found.values()), found
        assert card.scores["wise"][0.0]["mae"] == 0.0

    def test_models_with_other_races_are_compared_over_common_ones(
        self, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        rows = random_predictions(["mine", "other"])
        left_out = {"mine": "2101_race_2", "other": "2102_race_12"}
        kept = rows.filter(pl.col("race_id") != pl.col("model").replace_strict(left_out))
        card = make_scorecard(kept, *tables, against="other", draws=DRAWS, seed=3)
        truth = tables[1].select("race_id", "driver_id", "position")
        common = rows.filter(~pl.col("race_id").is_in(list(left_out.values())), fraction=0.0)
        common = common.join(truth, on=["race_id", "driver_id"])
        before, after = (per_race(common.filter(model=model), "log_loss") for model in ("other", "mine"))
        change = next(i.change for i in card.changes if i.fraction == 0.0 and i.metric == "log_loss")
        assert change.races == 4
        expected = plain_change(before, after, sign=-1.0, draws=DRAWS, seed=3)
        assert (change.improvement, change.low, change.high) == pytest.approx(expected, abs=TOLERANCE)
        assert [note.split(":")[0] for note in card.notes] == [
            "mine lacks 1 of the 6 races before the race",
            "other lacks 1 of the 6 races before the race",
            "mine lacks 1 of the 6 races after 50% of the race",
            "other lacks 1 of the 6 races after 50% of the race",
        ]

    def test_models_without_a_common_race_or_fraction(self, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        rows = random_predictions(["mine", "other", "pre"], fractions=(0.5,))
        early = pl.col("race_id").str.starts_with("2101")
        apart = rows.filter(pl.when(pl.col("model") == "mine").then(early).otherwise(~early))
        apart = pl.concat([apart.filter(pl.col("model") != "pre"), random_predictions(["pre"], fractions=(0.0,))])
        card = make_scorecard(apart, *tables, against="other", draws=10)
        assert card.changes == []
        assert "pre has no forecasts after 50% of the race." in card.notes
        assert "mine has no forecasts before the race." in card.notes


class TestRaces:
    def test_races_without_results_are_skipped_and_listed(
        self, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        races, results = tables
        coming = ["2102_race_9", "2102_race_12"]
        card = make_scorecard(predictions, races, results.filter(~pl.col("race_id").is_in(coming)), draws=10)
        assert (card.races, card.skipped) == (4, ("2102_race_9", "2102_race_12"))
        assert card.notes == ("races without results, skipped: 2 (2102_race_9, 2102_race_12).",)
        run = make_scorecard(predictions.filter(~pl.col("race_id").is_in(coming)), races, results, draws=10)
        assert card.scores == run.scores

    def test_no_race_has_results(self, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        with pytest.raises(DataError, match=r"none of the 6 races forecast has results, first '2101_race_2'. Ingest"):
            make_scorecard(predictions, tables[0], tables[1].clear())

    def test_unknown_race(self, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        with pytest.raises(NotFoundError, match=r"no race '2101_race_9'\. Did you mean .*Ingest its season"):
            make_scorecard(predictions, tables[0].filter(pl.col("race_id") != "2101_race_9"), tables[1])

    def test_unknown_rival(self, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        with pytest.raises(NotFoundError, match=r"no model 'ensemble_inrac'\. Did you mean ensemble_inrace"):
            make_scorecard(predictions, *tables, against="ensemble_inrac")

    def test_starter_who_was_not_forecast(
        self, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        """One driver more in the results than in the file; and one under another name."""
        races, results = tables
        extra = (
            results.filter(race_id="2101_race_12")
            .tail(1)
            .with_columns(driver_id=pl.lit("late_entry"), position=pl.lit(13, dtype=pl.Int32))
        )
        with pytest.raises(DataError) as caught:
            make_scorecard(predictions, races, pl.concat([results, extra]))
        assert "2101_race_12, model '" in str(caught.value)
        assert "the drivers forecast must be the starters in the results; not forecast: late_entry; no star" in str(
            caught.value
        )
        renamed = predictions.with_columns(pl.col("driver_id").replace("driver_03", "max"))
        with pytest.raises(
            DataError, match=r"not forecast: driver_03; no starters: max\. Forecast every starter, under"
        ):
            make_scorecard(renamed, races, results)

    def test_cut_after_its_fraction_of_the_race(self, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        rows = random_predictions(["mine"], fractions=(0.5,))
        late = rows.with_columns(cutoff_lap=pl.lit(29, dtype=pl.Int32), horizon=pl.lit("lap_29"))
        says = "model 'mine': at fraction 0.5 of 57 scheduled laps the cut must be lap 28 or earlier, got lap 29"
        with pytest.raises(DataError, match=says):
            make_scorecard(late, *tables)
        early = rows.with_columns(cutoff_lap=pl.lit(20, dtype=pl.Int32), horizon=pl.lit("lap_20"))  # stopped there
        assert make_scorecard(early, *tables, draws=10).races == 6

    def test_results_that_are_no_order(
        self, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        results = tables[1].with_columns(
            position=pl.when(pl.col("position") == 2).then(1).otherwise("position").cast(pl.Int32)
        )
        with pytest.raises(DataError, match=r"positions in the results must be 1\.\.18, each once, got \[1, 1, 3,"):
            make_scorecard(predictions, tables[0], results)

    def test_broken_predictions_are_refused(
        self, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        with pytest.raises(DataError, match=r"the predictions, row 1 .*'p_win' must be"):
            make_scorecard(predictions.with_columns(p_win=0.99), *tables)

    def test_finish_forecast_for_some_races_only(self, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        rows = random_predictions(["mine"], with_finish=["mine"])
        some = rows.with_columns(p_finish=pl.when(pl.col("race_id") != "2101_race_9").then("p_finish"))
        card = make_scorecard(some, *tables, draws=10)
        assert "brier_finish" not in card.scores["mine"][0.0]
        assert "brier_finish" not in card.intervals["mine"][0.0]
        assert card.notes[0] == (
            "mine forecasts p_finish for a part of the races before the race: finish is not scored there."
        )


class TestReproducible:
    def test_order_of_rows_moves_no_bit(
        self, card: Scorecard, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        races, results = (table.sample(fraction=1.0, shuffle=True, seed=2) for table in tables)
        other = make_scorecard(
            predictions.sample(fraction=1.0, shuffle=True, seed=8), races, results, draws=DRAWS, seed=3
        )
        assert json.dumps(other.to_dict()) == json.dumps(card.to_dict())

    def test_seed_moves_intervals_only(
        self, card: Scorecard, predictions: pl.DataFrame, tables: tuple[pl.DataFrame, pl.DataFrame]
    ) -> None:
        other = make_scorecard(predictions, *tables, draws=DRAWS, seed=4)
        assert other.scores == card.scores
        assert other.intervals != card.intervals

    def test_json_has_everything_and_is_valid(self, card: Scorecard) -> None:
        made = json.loads(json.dumps(card.to_dict(), allow_nan=False))
        assert set(made) == set(Scorecard.__dataclass_fields__)
        assert made["scores"]["best"]["0.5"] == card.scores["best"][0.5]
        assert made["intervals"]["best"]["0"]["mae"] == list(card.intervals["best"][0.0]["mae"])
        assert made["changes"][0]["change"]["improvement"] == card.changes[0].change.improvement
        assert len(made["by_race"]) == card.by_race.height

    def test_change_from_nothing_is_null_in_json(self, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        """A rival that is never right has accuracy 0, from which no percentage is defined."""
        rows = random_predictions(["mine", "other"], sizes=(18,), fractions=(0.0,), seed=2)
        races, results = tables
        truth = dict(results.filter(race_id="2101_race_2").select("driver_id", "position").iter_rows())
        probs = np.full((18, 18), 1 / 19)
        for row, driver in enumerate(sorted(truth)):
            probs[row, truth[driver] % 18] += 1 / 19
        wrong = forecast_rows("2101_race_2", 18, "never", 0.0, probs, np.random.default_rng(0), False)
        card = make_scorecard(pl.concat([rows, wrong]), races, results, against="never", draws=10)
        change = next(i for i in card.changes if i.metric == "accuracy" and i.candidate == "mine")
        assert change.change.baseline == 0.0
        assert change.change.improvement == math.inf
        dumped = json.dumps(card.to_dict(), allow_nan=False)
        found = [item for item in json.loads(dumped)["changes"] if item["metric"] == "accuracy"]
        assert found[0]["change"]["improvement"] is None
