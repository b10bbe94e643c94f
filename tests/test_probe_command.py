"""`f1-predict probe` as a user runs it, on a few simulated races: page, parts, and rung 6 as in the backtest."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from f1_predict.cli import main
from f1_predict.config import Config
from f1_predict.evaluation import metrics
from f1_predict.evaluation.predictions import read_predictions
from f1_predict.jobs import probing
from f1_predict.report.probe_page import WANTED, ProbeResults, render, verdicts
from f1_predict.tables import read_store

TINY = """
[simulator]
races_per_season = 2
teams = 3
[evaluation]
training_cuts = 0
patience = 1
bootstrap_draws = 50
[training]
epochs = 2
[ensemble]
forest_trees = 5
boosting_max_rounds = 5
[inrace_ensemble]
forest_row_share = 1.0
forest_trees = 5
boosting_max_rounds = 5
boosting_min_rows = 5
[encoder]
weights = "random"
"""
PROBE = (
    "probe --weights random --styles speed,race --fit-seasons 2101-2103 --score-seasons 2104 --fractions .5 --fits 2 "
    "--workers 1 --config tiny.toml"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where four seasons are, and a probe with both styles was run."""
    made = tmp_path_factory.mktemp("probe")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        Path("tiny.toml").write_text(TINY)
        assert main(["simulate", "--seasons", "4", "--config", "tiny.toml"]) == 0
        assert main([*PROBE.split(), "--page", "page.md"]) == 0
    return made


def again(folder: Path) -> tuple[ProbeResults, str]:
    """The probe of `folder` once more, from its parts; and what it printed."""
    request = probing.Request(
        data=folder / "data/processed",
        embeddings=folder / "data/multimodal/embeddings",
        work=folder / "data/probe",
        weights=("random",),
        styles=("speed", "race"),
        fit_seasons=(2101, 2103),
        score_seasons=(2104, 2104),
        fractions=(0.5,),
        fits=2,
        workers=1,
    )
    printed = io.StringIO()
    config = Config.from_toml(folder / "tiny.toml")
    results = probing.probe(Console(file=printed, width=200), request, config, "the command", folder / "again.md")
    return results, printed.getvalue()


@pytest.fixture(scope="module")
def rerun(folder: Path) -> tuple[ProbeResults, str]:
    """What a second probe returned and printed; its page is again.md."""
    return again(folder)


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells of every table row of a page by its first one; the first table that has it."""
    found: dict[str, list[str]] = {}
    for line in page.splitlines():
        if line.startswith("| "):
            name, *cells = (cell.strip() for cell in line.strip("|").split(" |"))
            found.setdefault(name.strip(), cells)
    return found


def test_the_page_says_what_was_returned(folder: Path, rerun: tuple[ProbeResults, str]) -> None:
    results, printed = rerun
    page, rows = (folder / "again.md").read_text(), rows_of((folder / "again.md").read_text())
    first = rows_of((folder / "page.md").read_text())
    assert [line.model for line in results.ridge] == [
        *("grid", "current_order", "trees on in-race features", "trees on all features", "random/speed", "random/race")
    ]
    for line in results.ridge:
        mae, spearman = line.scores["mae"], line.scores["spearman"]
        assert rows[line.model][:2] == [
            f"{mae.mean:.3f} ({mae.low:.3f}-{mae.high:.3f})",
            f"{spearman.mean:.3f} ({spearman.low:.3f}-{spearman.high:.3f})",
        ]
        assert first[line.model] == rows[line.model]
    for model in ("network_table", "ensemble_inrace", "network_fusion random/speed", "network_fusion random/race"):
        scores = next(line for line in results.rung if line.model == model).scores
        loss = scores["log_loss"]
        assert rows[model][0] == f"{loss.mean:.3f} ({loss.low:.3f}-{loss.high:.3f})"
        assert rows[model][-1] == f"{scores['spearman'].mean:.3f}"
        assert first[model] == rows[model]
        assert len(loss.fits) == (1 if model == "ensemble_inrace" else 2)
    change = results.ridge[-1].changes["current_order"]["mae"]
    assert f"{change.improvement:+.1f} ({change.low:+.1f} to {change.high:+.1f})" in rows["random/race"]
    assert "imagenet was not measured" in page
    assert "imagenet was not measured" in printed
    assert "Written by `the command`" in page
    assert "train 2101-2102, validate 2103, test 2104" in rows["races"][0]


def test_a_second_run_encodes_and_fits_nothing(folder: Path, rerun: tuple[ProbeResults, str]) -> None:
    printed = rerun[1]
    assert printed.count(" 0 encoded in this run") == 2
    assert "8 fits of rungs, 8 of them there already" in printed
    assert not (folder / "data/probe/rows").exists()


def test_a_damaged_part_is_made_again(folder: Path, rerun: tuple[ProbeResults, str]) -> None:
    part = sorted((folder / "data/probe").glob("current_order-*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:99])
    after, printed = again(folder)
    assert "7 of them there already" in printed
    assert after.rung == rerun[0].rung


def test_rung_6_is_that_of_the_backtest(
    folder: Path, rerun: tuple[ProbeResults, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one season to score, the walk-forward backtest fits on the very same rows."""
    monkeypatch.chdir(folder)
    models = "current_order,network_table,network_fusion"
    backtest = f"backtest --test-seasons 2104 --models {models} --fractions .5 --workers 1 --config tiny.toml"
    assert main(backtest.split()) == 0
    truth = read_store(folder / "data/processed").results.select("race_id", "driver_id", "position", "classified")
    predictions = read_predictions(Path("predictions.parquet")).join(truth, on=["race_id", "driver_id"])
    lines = {line.model: line for line in rerun[0].rung}
    for model, mine in (("current_order", "current_order"), ("network_fusion", "network_fusion random/speed")):
        scores = metrics.score(predictions.filter(model=model))
        for name, score in lines[mine].scores.items():
            assert score.fits[0] == pytest.approx(scores[name], abs=1e-12)


def test_the_seeds_differ_and_the_styles_too(rerun: tuple[ProbeResults, str]) -> None:
    lines = {line.model: line.scores["log_loss"] for line in rerun[0].rung}
    assert len(set(lines["network_fusion random/speed"].fits)) == 2
    assert lines["network_fusion random/speed"].mean != lines["network_fusion random/race"].mean
    assert len(lines["current_order"].fits) == 1


def test_trace_weights_are_held_against_what_is_wanted(rerun: tuple[ProbeResults, str]) -> None:
    results = rerun[0]
    speed = results.ridge[4]
    assert not [line for line in verdicts(results) if "wanted" in line]
    mae, spearman = WANTED["speed"]
    for better, word in ((0.01, "met"), (-0.01, "NOT met")):
        scores = {
            "mae": replace(speed.scores["mae"], mean=mae - better),
            "spearman": replace(speed.scores["spearman"], mean=spearman + 0.001),
        }
        made = replace(
            results, weights=("random", "trace"), ridge=(replace(speed, model="trace/speed", scores=scores),)
        )
        told = f"Spearman {spearman + 0.001:.3f} (wanted {spearman:.3f} or more): {word}."
        assert [line for line in verdicts(made) if told in line]
        assert told in render(made)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--weights random,nowhere.safetensors", "nowhere.safetensors"),
        ("--weights random,random", "weights 'random' are 'random' again"),
        ("--weights ,", "a probe needs weights and styles"),
        ("--weights random,imagenet", "f1_predict"),
        ("--styles speeds", "setting 'picture.style': Input should be 'speed' or 'race', got 'speeds'"),
        ("--fractions 0,.5", "a probe looks at fractions of the race in (0, 1), got [0.0, 0.5]"),
        ("--fractions half", "fractions must be numbers with commas between"),
        ("--fit-seasons 2101", "the split has no train season"),
        ("--fit-seasons 2101-2104", "must follow each other in time"),
        ("--score-seasons 2199", "the split has no test season"),
        ("--fit-seasons 2104-2101", "seasons must be given as 1996-2024 or 2024"),
        ("--data nowhere", "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line_before_any_work(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("F1_PREDICT_OFFLINE", "1")
    there = [
        "--embeddings",
        str(tmp_path / "embeddings"),
        "--work",
        str(tmp_path / "work"),
        "--page",
        str(tmp_path / "p"),
    ]
    assert main([*PROBE.split(), *arguments.split(), *there]) == 1
    shown = capsys.readouterr().err.strip()
    assert len(shown.splitlines()) == 1
    assert message.lower() in shown.lower()
    assert not list(tmp_path.glob("[ewp]*"))
