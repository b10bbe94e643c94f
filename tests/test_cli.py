"""The command line: the whole job on tiny races, each command's help, and one clear line for bad input."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from f1_predict.cli import main
from f1_predict.evaluation.predictions import read_predictions
from f1_predict.tables import write_store
from tests.small_tables import random_tables

COMMANDS = (
    *("ingest", "simulate", "traces", "dataset", "train", "compare", "predict", "replay", "run"),
    *("backtest", "probe", "score", "report"),
)
TINY = """
[simulator]
races_per_season = 3
teams = 9
[training]
epochs = 2
[encoder]
weights = "random"
[evaluation]
fractions = [0.0, 0.5]
bootstrap_draws = 100
[ensemble]
threads = 1
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `run` has done the whole job."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "tiny.toml").write_text(TINY)
    code = main(
        [
            *("run", "--seasons", "3", "--seed", "4", "--workers", "1"),
            *("--work", str(folder), "--config", str(folder / "tiny.toml"), "--results", str(folder / "results.md")),
        ]
    )
    assert code == 0
    return folder


def out(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_whole_job_leaves_what_it_says(job: Path) -> None:
    assert (job / "data/processed/manifest.json").is_file()
    assert (job / "data/multimodal/skipped_races.json").is_file()
    assert (job / "data/multimodal/README.md").is_file()
    assert (job / "artifacts/model/model.safetensors").is_file()
    pictures = list((job / "data/multimodal/speed_traces/2103_race_3").glob("*.png"))
    assert 15 <= len(pictures) <= 18
    predictions = read_predictions(job / "artifacts/predictions.parquet")
    assert set(predictions["model"]) == {
        "uniform",
        "grid",
        "current_order",
        "ensemble_pre",
        "network_table",
        "network_fusion",
        "network_fusion_any_lap",
    }
    per_race = predictions.group_by("race_id", "model", "fraction").len()
    assert per_race["len"].unique().to_list() == [18]
    assert set(predictions["race_id"]) == {"2103_race_1", "2103_race_2", "2103_race_3"}


def test_the_report_is_about_the_forecasts_of_the_job(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (job / "artifacts/report.html").read_text()
    for text in ("network_fusion", "current_order", "train 2101, validate 2102, test 2103", "2103_race_3"):
        assert text in page
    predictions = read_predictions(job / "artifacts/predictions.parquet")
    assert not predictions.filter(model="network_table")["has_image"].any()
    assert predictions.filter(model="network_fusion")["has_image"].any()
    where = ["--data", str(job / "data/processed")]
    assert main(["score", str(job / "artifacts/predictions.parquet"), *where]) == 0
    assert "Scored 3 races of season 2103" in out(capsys)


def test_the_results_page_shows_every_model_and_the_verdict(job: Path) -> None:
    page = (job / "results.md").read_text()
    expected = ("network_fusion", "ensemble_pre", "current_order", "the design's 5 %", "train 2101", "test 2103")
    for text in (*expected, "Written by `f1-predict run --seed 4 --seasons 3 --results FILE`", "one driver (batch 1)"):
        assert text in page


def test_a_forecast_is_a_table_of_the_field(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data", str(job / "data/processed"), "--model", str(job / "artifacts/model")]
    assert main(["predict", "2103_race_2", "--lap", "9", *where]) == 0
    shown = out(capsys)
    assert "(2103_race_2), after lap 9 of" in shown
    assert len(set(re.findall(r"driver_\d+", shown))) == 18
    assert "of a season that the model learnt from" not in shown
    assert main(["predict", "2101_race_2", *where]) == 0
    assert "2101_race_2 is of a season that the model learnt from" in out(capsys)


def test_the_steps_one_by_one_do_the_same_job(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is drawn or encoded twice, and the model is the same to the bit."""
    config = ["--config", str(job / "tiny.toml")]
    data = ["--data", str(job / "data/processed")]
    traces = ["--traces", str(job / "data/multimodal/speed_traces")]
    cache = job / "data/multimodal/dataset_cache.json"
    assert main(["dataset", *data, *traces, "--out", str(cache), "--workers", "1", *config]) == 0
    assert "(0 drawn now" in out(capsys)
    model = job / "again"
    assert main(["train", "--dataset", str(cache), *traces, "--model", str(model), *config]) == 0
    first, second = (path / "model.safetensors" for path in (job / "artifacts/model", model))
    assert first.read_bytes() == second.read_bytes()
    assert (
        main(["traces", *data, "--out", traces[1], "--at", "lap_5", "--seasons", "2101", "--workers", "1", *config])
        == 0
    )
    assert "success 100.0%" in out(capsys)
    assert len(list((job / "data/multimodal/speed_traces/2101_race_1/lap_5").glob("*.png"))) >= 1


def test_simulated_races_never_replace_ingested_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = tmp_path / "data" / "processed"
    write_store(random_tables(0), real)
    before = {path.name: path.read_bytes() for path in real.iterdir()}
    assert main(["simulate", "--seasons", "1", "--out", str(real)]) == 1
    assert "holds ingested races, which simulated ones would replace" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in real.iterdir()} == before


def test_an_error_after_reading_leaves_the_old_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "processed"
    assert main(["simulate", "--seasons", "1", "--seed", "1", "--out", str(store)]) == 0
    before = (store / "manifest.json").read_bytes()
    (tmp_path / "multimodal" / "skipped_races.json").unlink()
    (tmp_path / "multimodal").rmdir()
    (tmp_path / "multimodal").write_text("a file in the way")
    assert main(["simulate", "--seasons", "1", "--seed", "2", "--out", str(store)]) == 1
    assert "multimodal" in capsys.readouterr().err
    assert (store / "manifest.json").read_bytes() == before


def test_a_damaged_store_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_store(random_tables(0), tmp_path / "processed")
    (tmp_path / "processed" / "manifest.json").write_text("{")
    assert main(["simulate", "--seasons", "1", "--out", str(tmp_path / "processed")]) == 1
    assert "manifest.json" in capsys.readouterr().err


def test_settings_must_be_those_of_the_dataset(job: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(TINY + "[features]\nform_races = 2\n")
    arguments = ["--dataset", str(job / "data/multimodal/dataset_cache.json"), "--model", str(tmp_path / "model")]
    assert main(["train", *arguments, "--config", str(other)]) == 1
    assert "was made with features.form_races = 5, the settings say 2" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_dataset_of_another_store_is_refused(job: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tiny = ["--config", str(job / "tiny.toml")]
    dataset = [
        "--dataset",
        str(job / "data/multimodal/dataset_cache.json"),
        "--out",
        str(tmp_path / "predictions.parquet"),
    ]
    traces = ["--traces", str(job / "data/multimodal/speed_traces")]
    for seasons, message in (("3", "are not those of the store"), ("1", "no race '2102_race_1'")):
        store = tmp_path / seasons / "processed"
        assert main(["simulate", "--seasons", seasons, "--seed", "9", "--out", str(store), *tiny]) == 0
        capsys.readouterr()
        assert main(["compare", "--data", str(store), *dataset, *traces, *tiny]) == 1
        shown = capsys.readouterr().err
        assert message in shown
        assert "f1-predict dataset" in shown or "Build the dataset again" in shown
    assert not (tmp_path / "predictions.parquet").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Example: f1-predict {command}" in out(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "2024_race_1", "--data", "nowhere"], "f1-predict ingest"),
        (["ingest", "--ergast", "nowhere"], "nowhere"),
        (
            ["ingest", "--ergast", ".", "--seasons", "2024-1996"],
            "seasons must be given as 1996-2024 or 2024, got '2024-1996'",
        ),
        (["run", "--seasons", "1996-2024"], "Give --ergast to use real seasons"),
        (["run", "--seasons", "²"], "--seasons says how many"),
        (["dataset", "--fractions", "0,half"], "fractions must be numbers with commas between"),
        (["traces", "--at", "lap_x"], "'lap_x' is no horizon"),
        (["train", "--dataset", "nowhere.json"], "nowhere.json"),
        (["simulate", "--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_verbose_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "2024_race_1", "--data", "nowhere", "-v"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "error: " in shown


def test_an_unknown_race_comes_with_the_closest_names(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data", str(job / "data/processed"), "--model", str(job / "artifacts/model")]
    assert main(["predict", "2103_rase_2", *where]) == 1
    assert "no race '2103_rase_2'. Did you mean 2103_race_2" in capsys.readouterr().err


def test_a_wrong_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--rase", "x"]) == 2
    assert "No such option" in capsys.readouterr().err
