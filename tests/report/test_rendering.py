"""What people read says what was measured: the same numbers, the right words for met and missed."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from f1_predict.evaluation.bootstrap import Change
from f1_predict.evaluation.compare import CANDIDATE, LADDER, Comparison, FewerPictures, Improvement, PictureShare
from f1_predict.evaluation.latency import Latency
from f1_predict.report import summaries, terminal
from f1_predict.report.results_page import Results, markdown_table, render, write_results
from f1_predict.tables import Check, QualityReport
from f1_predict.training.fit import EpochReport, FitResult
from f1_predict.training.scores import Scores
from f1_predict.training.train import TrainedNetwork

SCORES = {"accuracy": 0.25, "log_loss": 2.125, "mae": 1.5, "rps": 0.0625, "spearman": 0.75}
LATENCY = Latency(40.0, one_driver_slowest=60.0, field=500.0, field_per_prediction=25.0, features=90.0, calls=3)


def change(improvement: float, low: float, high: float) -> Change:
    return Change(baseline=0.2, candidate=0.25, improvement=improvement, low=low, high=high, races=7)


def comparison(improvement: float = 25.0, low: float = 12.0) -> Comparison:
    epoch = EpochReport(1, 2, 1, 1e-3, 2.5, Scores(2.25, 0.125, 2.25, 3.0), 0.5, 0.5)
    last = EpochReport(2, 2, 1, 1e-3, 2.375, Scores(2.5, 0.1, 2.5, 3.1), 0.5, 0.0)
    result = FitResult((epoch, last), 1, 1e-3, converged=True, diagnostics=None)
    found = [
        Improvement(fraction, rival, metric, change(improvement, low, 40.0))
        for fraction in (0.0, 0.5)
        for rival in ("ensemble_pre", "network_table")
        for metric in ("accuracy", "log_loss", "mae")
    ]
    scores = {model: {0.5: SCORES} if model == "current_order" else {0.0: SCORES, 0.5: SCORES} for model in LADDER}
    network = TrainedNetwork(None, None, result, None)  # type: ignore[arg-type]
    networks = {0.0: network, 0.5: network}
    shares = [PictureShare(0.0, 40, 10, 2.0, 2.5, 0.3, 0.1), PictureShare(0.5, 40, 0, 2.0, None, 0.3, None)]
    return Comparison(None, scores, found, shares, networks, network, (100, 20, 40), {})  # type: ignore[arg-type]


def test_score_tables_keep_the_order_of_the_ladder() -> None:
    before, half = summaries.score_tables(comparison())
    assert before[0] == "Scores before the race"
    assert half[0] == "Scores after 50% of the race"
    assert [row[0] for row in before[2]] == [model for model in LADDER if model != "current_order"]
    assert [row[0] for row in half[2]] == list(LADDER)
    assert half[2][-2] == [CANDIDATE, "0.250", "2.125", "1.500", "0.062", "0.750"]


@pytest.mark.parametrize(
    ("improvement", "low", "words"),
    [
        (25.0, 12.0, "is met; against ensemble_pre accuracy +25.0 % (+12.0 to +40.0), log-loss"),
        (25.0, -1.0, "is met; against ensemble_pre accuracy +25.0 % (-1.0 to +40.0), an interval that holds 0, log"),
        (4.9, -3.0, "is NOT met; against ensemble_pre accuracy +4.9 % (-3.0 to +40.0), an interval that holds 0"),
        (-8.0, -20.0, "is NOT met; against ensemble_pre accuracy -8.0 %"),
        (math.inf, -math.inf, "is NOT met; against ensemble_pre accuracy undefined % (undefined to +40.0)"),
    ],
)
def test_the_verdict_flatters_nobody(improvement: float, low: float, words: str) -> None:
    lines = summaries.verdict(comparison(improvement, low)).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("before the race: the design's 5 % in accuracy " + words)
    assert "against network_table accuracy" in lines[0]


def test_both_rivals_must_be_beaten() -> None:
    whole = comparison()
    weaker = [
        replace(i, change=change(1.0, -5.0, 8.0)) if i.rival == "network_table" else i for i in whole.improvements
    ]
    assert "is NOT met; against ensemble_pre accuracy +25.0 %" in summaries.verdict(replace(whole, improvements=weaker))


def test_missing_pictures_are_told_with_their_scores() -> None:
    _, _, rows = summaries.picture_table(comparison())
    assert rows[0] == ["before the race", "40", "25.0%", "0.300", "0.100", "2.000", "2.500"]
    assert rows[1] == ["after 50% of the race", "40", "0.0%", "0.300", "-", "2.000", "-"]


def test_fewer_pictures_are_set_against_all() -> None:
    fewer = FewerPictures(0.2, {f: SCORES | {"accuracy": 0.2} for f in (0.0, 0.5)})
    title, _, rows = summaries.fewer_pictures_table(comparison(), fewer)
    assert title == "The same training with 20% of the pictures removed"
    assert rows[0] == ["before the race", "accuracy", "0.250", "0.200", "-0.050"]


@pytest.mark.parametrize(("slowest", "words"), [(60.0, ": under the design's 1 s"), (950.0, "NOT under")])
def test_latency_of_one_prediction_with_its_features_is_held_against_the_designs_bound(
    slowest: float, words: str
) -> None:
    latency = Latency(40.0, slowest, field=5000.0, field_per_prediction=25.0, features=90.0, calls=3)
    assert words in summaries.latency_table(latency)[0]


def test_the_page_holds_every_table_and_is_written_whole(tmp_path: Path) -> None:
    fewer = FewerPictures(0.2, dict.fromkeys((0.0, 0.5), SCORES))
    results = Results("make results", {"races": "7"}, comparison(), fewer, LATENCY)
    page = render(results)
    for text in (
        "Written by `make results`",
        "| races | 7 |",
        "is met",
        "| before the race | 2 | 1 | 2.500 | 2.375 | 2.250 | 2.500 | 1.0 |",
    ):
        assert text in page
    assert page.count(f"| {CANDIDATE} | 0.250 |") == 2
    write_results(tmp_path / "docs" / "results.md", results)
    assert (tmp_path / "docs" / "results.md").read_text() == page
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["results.md"]


def test_markdown_tables_are_tables() -> None:
    assert markdown_table(("T", ["a", "b"], [["1", "2"]])) == "### T\n\n| a | b |\n|---|---:|\n| 1 | 2 |\n"


def test_the_quality_table_shows_counts_and_examples() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    checks = (Check("ergast", "duplicate laps removed", 3, 1000, ("2009_race_1 alonso 4",)), Check("f1db", "none", 0))
    console.print(terminal.quality_table(QualityReport(checks)))
    shown = console.export_text()
    assert "3 of 1,000" in shown
    assert "2009_race_1 alonso 4" in shown


def test_an_epoch_is_one_line() -> None:
    epoch = EpochReport(3, 20, 1, 1e-3, 2.5, Scores(2.25, 0.125, 2.25, 3.0), 0.5, 8.4)
    line = terminal.epoch_line(epoch)
    assert line == "epoch  3/20  loss 2.5000  accuracy 0.1250  log_loss 2.2500  mae 3.0000  lr 0.001  8 s left"
