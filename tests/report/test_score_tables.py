"""A scorecard on the terminal: what the tables say, and that they can be read at 120 columns."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from f1_predict.errors import NotFoundError
from f1_predict.evaluation.bootstrap import Change
from f1_predict.evaluation.scorecard import PairedChange, Scorecard, make_scorecard
from f1_predict.report import terminal
from f1_predict.report.score_tables import scorecard_tables, verdict_word, verdicts
from tests.evaluation.forecasts import calendar_and_results, random_predictions

LADDER = (
    *("uniform", "grid", "current_order", "ensemble_pre", "network_table", "network_fusion", "ensemble_inrace", "best"),
    "best_without_pictures",
)
FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75)


@pytest.fixture(scope="module")
def card() -> Scorecard:
    rows = random_predictions(LADDER, FRACTIONS, sizes=(8, 12))
    return make_scorecard(rows, *calendar_and_results(sizes=(8, 12)), draws=50)


@pytest.fixture(scope="module")
def foreign() -> Scorecard:
    rows = random_predictions(["mine"], sizes=(8, 12))
    return make_scorecard(rows, *calendar_and_results(sizes=(8, 12)), draws=50)


def with_change(card: Scorecard, candidate: str, rival: str, fraction: float, metric: str, change: Change) -> Scorecard:
    """The same scorecard with one comparison come out otherwise."""
    key = (candidate, rival, fraction, metric)
    kept = [i for i in card.changes if (i.candidate, i.rival, i.fraction, i.metric) != key]
    return replace(card, changes=[*kept, PairedChange(*key, change)])


def found(card: Scorecard, candidate: str, rival: str, fraction: float, metric: str) -> Change:
    key = (candidate, rival, fraction, metric)
    return next(i.change for i in card.changes if (i.candidate, i.rival, i.fraction, i.metric) == key)


WORSE = Change(baseline=2.0, candidate=2.1, improvement=-5.0, low=-7.5, high=-2.5, races=2)
BETTER = Change(baseline=2.0, candidate=1.8, improvement=10.0, low=6.0, high=14.0, races=2)
OPEN = Change(baseline=2.0, candidate=1.99, improvement=0.5, low=-1.0, high=2.0, races=2)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (WORSE, "worse"),
        (BETTER, "better"),
        (OPEN, "not told apart"),
        (replace(OPEN, low=0.0), "not told apart"),
        (replace(OPEN, high=0.0), "not told apart"),
    ],
)
def test_words(change: Change, word: str) -> None:
    assert verdict_word(change) == word


class TestTables:
    def test_first_table_says_where_the_multimodal_models_lose(self, card: Scorecard) -> None:
        lost = with_change(card, "best", "ensemble_inrace", 0.75, "log_loss", WORSE)
        lost = with_change(lost, "network_fusion", "ensemble_inrace", 0.0, "log_loss", BETTER)
        title, columns, rows = scorecard_tables(lost)[0]
        assert title == (
            "log_loss, lower is better, at each part of the race; in brackets % better (+) or worse (-) than "
            "ensemble_inrace, * if the 95 % interval leaves out 0"
        )
        assert columns == ["model", "before", "10 %", "25 %", "50 %", "75 %"]
        cells = {row[0]: row[1:] for row in rows}
        assert list(cells) == list(LADDER)
        assert cells["best"][4] == f"{card.scores['best'][0.75]['log_loss']:.3f} (-5.0*)"
        assert cells["network_fusion"][0].endswith(" (+10.0*)")
        assert cells["ensemble_inrace"][0] == f"{card.scores['ensemble_inrace'][0.0]['log_loss']:.3f}"
        assert cells["current_order"][0] == "-"

    def test_horizon_table(self, card: Scorecard) -> None:
        lost = with_change(card, "best", "ensemble_inrace", 0.75, "log_loss", WORSE)
        tables = scorecard_tables(lost)
        title, columns, rows = tables[5]
        assert title.startswith("Scores after 75% of the race; against ensemble_inrace, + is better")
        assert columns == [
            *("model", "log_loss (95 %)", "% against ensemble_inrace", "rps", "accuracy", "mae", "spearman")
        ]
        cells = {row[0]: row for row in rows}
        low, high = card.intervals["best"][0.75]["log_loss"]
        scores = card.scores["best"][0.75]
        assert cells["best"] == [
            "best",
            f"{scores['log_loss']:.3f} ({low:.3f}-{high:.3f})",
            "-5.0 (-7.5 to -2.5) worse",
            *(f"{scores[name]:.3f}" for name in ("rps", "accuracy", "mae", "spearman")),
        ]
        assert cells["ensemble_inrace"][2] == ""
        assert "current_order" not in {row[0] for row in tables[1][2]}

    def test_metrics_and_rival_can_be_chosen(self, card: Scorecard) -> None:
        tables = scorecard_tables(card, ("mae", "winner"), "current_order")
        assert tables[0][0].endswith("worse (-) than current_order, * if the 95 % interval leaves out 0")
        assert tables[0][0].startswith("mae, lower is better")
        assert tables[2][1] == ["model", "mae (95 %)", "% against current_order", "winner"]
        assert tables[1][1] == ["model", "mae (95 %)", "winner"]  # before the race there is no running order
        change = found(card, "best", "current_order", 0.1, "mae")
        cell = next(row for row in tables[2][2] if row[0] == "best")[2]
        assert cell.startswith(f"{change.improvement:+.1f} ({change.low:+.1f} to {change.high:+.1f})")

    def test_metric_without_comparisons_has_no_such_column(self, card: Scorecard) -> None:
        title, columns, rows = scorecard_tables(card, ("kendall",))[1]
        assert title == "Scores before the race"
        assert columns == ["model", "kendall (95 %)"]
        assert rows[0][1] == f"{card.scores['uniform'][0.0]['kendall']:.3f}"
        assert scorecard_tables(card, ("kendall",))[0][0] == "kendall, higher is better, at each part of the race"

    def test_unknown_metric(self, card: Scorecard) -> None:
        with pytest.raises(NotFoundError, match=r"no metric 'logloss'\. Did you mean log_loss"):
            scorecard_tables(card, ("logloss",))

    def test_the_two_comparisons(self, card: Scorecard) -> None:
        changed = with_change(card, "network_fusion", "ensemble_pre", 0.5, "accuracy", BETTER)
        changed = with_change(changed, "best", "ensemble_inrace", 0.5, "rps", WORSE)
        design, expert = scorecard_tables(changed)[-2:]
        assert design[0] == "The design's criterion: network_fusion"
        assert len(design[2]) == 5 * 2 * 2
        row = ["50 %", "ensemble_pre", "accuracy", "2.000", "1.800", "+10.0 (+6.0 to +14.0)", "better", "yes"]
        assert row in design[2]
        assert expert[0] == "The expert's comparison: best"
        assert ["50 %", "ensemble_inrace", "rps", "2.000", "2.100", "-5.0 (-7.5 to -2.5)", "worse"] in expert[2]
        assert {row[1] for row in expert[2]} == {"ensemble_inrace", "best_without_pictures"}

    def test_exactly_five_percent_is_not_more(self, card: Scorecard) -> None:
        changed = with_change(card, "network_fusion", "ensemble_pre", 0.5, "accuracy", replace(BETTER, improvement=5.0))
        row = next(r for r in scorecard_tables(changed)[-2][2] if r[3] == "2.000")
        assert row[-1] == "NO"

    def test_no_percentage_from_nothing(self, card: Scorecard) -> None:
        change = Change(baseline=0.0, candidate=0.1, improvement=math.inf, low=0.0, high=math.inf, races=2)
        changed = with_change(card, "network_fusion", "ensemble_pre", 0.5, "accuracy", change)
        row = next(r for r in scorecard_tables(changed)[-2][2] if r[3] == "0.000" and r[4] == "0.100")
        assert row[-3:] == ["undefined (+0.0 to undefined)", "not told apart", "NO"]

    def test_one_model_of_somebody_else(self, foreign: Scorecard) -> None:
        tables = scorecard_tables(foreign)
        assert [title for title, _, _ in tables] == [
            "log_loss, lower is better, at each part of the race",
            "Scores before the race",
            "Scores after 50% of the race",
        ]
        assert [row[0] for _, _, rows in tables for row in rows] == ["mine"] * 3

    def test_tables_are_readable_at_120_columns(self, card: Scorecard) -> None:
        """Not a row is broken or cut off, however wide the numbers get."""
        wide = Change(baseline=-0.015, candidate=-0.002, improvement=-123.4, low=-1497.8, high=1903.6, races=2)
        changed = with_change(card, "best", "ensemble_inrace", 0.5, "spearman", wide)
        for name, columns, rows in scorecard_tables(changed):
            console = Console(width=120, record=True, file=io.StringIO())
            console.print(terminal.table("", columns, rows))
            lines = console.export_text().splitlines()
            assert "…" not in "".join(lines), name
            assert len([line for line in lines if line.startswith("│")]) == len(rows), name


class TestVerdicts:
    def test_sentences(self, card: Scorecard) -> None:
        changed = card
        for fraction, change in zip(FRACTIONS, (WORSE, OPEN, BETTER, BETTER, OPEN), strict=True):
            changed = with_change(changed, "best", "ensemble_inrace", fraction, "log_loss", change)
            changed = with_change(changed, "network_fusion", "network_table", fraction, "log_loss", BETTER)
            changed = with_change(changed, "network_fusion", "network_table", fraction, "accuracy", change)
            changed = with_change(changed, "best", "best_without_pictures", fraction, "log_loss", OPEN)
        lines = verdicts(changed)
        assert len(lines) == 4
        assert lines[0].startswith("network_fusion against ensemble_pre, log_loss: ")
        assert lines[1] == (
            "network_fusion against network_table, log_loss: better before the race, at 10 %, at 25 %, at 50 %, "
            "at 75 %. More than 5 % better in accuracy at 2 of 5 parts of the race, with the whole interval above "
            "5 % at 2."
        )
        assert lines[2] == (
            "best against ensemble_inrace, log_loss: worse before the race; not told apart at 10 %, at 75 %; "
            "better at 25 %, at 50 %."
        )
        assert lines[3] == (
            "best against best_without_pictures, log_loss: not told apart before the race, at 10 %, at 25 %, at 50 %, "
            "at 75 %."
        )

    def test_models_that_the_file_lacks(self, foreign: Scorecard) -> None:
        assert verdicts(foreign) == ["Neither network_fusion nor best is among the models: the ladder is not compared."]
        rows = random_predictions(["best", "grid"], sizes=(8, 12))
        lines = verdicts(make_scorecard(rows, *calendar_and_results(sizes=(8, 12)), draws=10))
        assert lines[0] == (
            "network_fusion against ensemble_pre: not compared, the predictions have no network_fusion and no "
            "ensemble_pre."
        )
        assert lines[2] == "best against ensemble_inrace: not compared, the predictions have no ensemble_inrace."

    def test_models_without_a_common_race(self) -> None:
        rows = random_predictions(["best", "ensemble_inrace"], sizes=(8, 12))
        early = pl.col("race_id") == "2101_race_2"
        apart = rows.filter(pl.when(pl.col("model") == "best").then(early).otherwise(~early))
        lines = verdicts(make_scorecard(apart, *calendar_and_results(sizes=(8, 12)), draws=10))
        assert lines[2] == "best against ensemble_inrace: not compared, they share no race."
