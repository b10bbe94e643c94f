"""`f1-predict backtest` and `report` as a user runs them, on a few simulated races."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from f1_predict.cli import main
from f1_predict.evaluation.predictions import read_predictions

TINY = """
[simulator]
races_per_season = 2
teams = 3
[evaluation]
training_cuts = 1
[ensemble]
forest_trees = 5
boosting_max_rounds = 5
[encoder]
weights = "random"
"""
BACKTEST = "backtest --test-seasons 2104 --models grid,current_order,ensemble_pre --fractions 0,.5 --workers 1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a backtest of the last of four seasons was run."""
    made = tmp_path_factory.mktemp("backtest")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        Path("tiny.toml").write_text(TINY)
        assert main(["simulate", "--seasons", "4", "--config", "tiny.toml"]) == 0
        assert main([*BACKTEST.split(), "--config", "tiny.toml", "--results", "results.md"]) == 0
    return made


def test_predictions_facts_and_results_are_there(folder: Path) -> None:
    predictions = read_predictions(folder / "predictions.parquet")
    assert set(predictions["model"]) == {"grid", "current_order", "ensemble_pre"}
    assert predictions["race_id"].n_unique() == 2
    facts = json.loads((folder / "predictions.facts.json").read_text())
    assert facts["test seasons"].startswith("2104-2104")
    assert "random" in facts["backbone"]
    page = (folder / "results.md").read_text()
    assert "f1-predict backtest --test-seasons 2104" in page
    assert page.count("| ensemble_pre |") >= 4
    assert (folder / "data/multimodal/embeddings").is_dir()


def test_a_second_run_fits_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = (folder / "predictions.parquet").read_bytes()
    took = json.loads((folder / "predictions.facts.json").read_text())["time"]
    assert main([*BACKTEST.split(), "--config", "tiny.toml"]) == 0
    assert capsys.readouterr().out.count("was there already") == 3
    assert (folder / "predictions.parquet").read_bytes() == before
    assert json.loads((folder / "predictions.facts.json").read_text())["time"] == took


def test_the_report_shows_what_the_backtest_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert main(["report", "predictions.parquet", "--out", "report.html"]) == 0
    page = Path("report.html").read_text()
    assert "each forecast by models that saw only earlier seasons" in page
    assert "19 fits" in page


def test_facts_of_other_predictions_are_not_shown(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    other = tmp_path / "predictions.parquet"
    read_predictions(folder / "predictions.parquet").filter(model="grid").write_parquet(other)
    other.with_name("predictions.facts.json").write_bytes((folder / "predictions.facts.json").read_bytes())
    assert main(["report", str(other), "--out", str(tmp_path / "report.html")]) == 0
    assert "is about other predictions" in " ".join(capsys.readouterr().out.split())
    assert "19 fits" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--models grids", "no model 'grids'. Did you mean grid?"),
        ("--fractions 0,half", "fractions must be numbers with commas between"),
        ("--fractions 0,1.2", "fractions must be one or more in [0, 1)"),
        ("--test-seasons 2199", "there is no season of 2199-2199 in the store, which holds 2101-2104"),
        ("--test-seasons 2102", "season 2102 cannot be forecast: 1 season(s) with results before it"),
        ("--data nowhere", "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    monkeypatch.chdir(folder)
    assert main([*BACKTEST.split(), "--config", "tiny.toml", *arguments.split(), "--out", "other.parquet"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not Path("other.parquet").exists()
