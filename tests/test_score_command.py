"""`f1-predict score`: anybody's predictions file against the results of a store."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from f1_predict.cli import main
from f1_predict.evaluation.predictions import write_predictions
from f1_predict.evaluation.scorecard import make_scorecard
from f1_predict.schemas import Tables, empty
from f1_predict.tables import write_store
from tests.evaluation.forecasts import calendar_and_results, random_predictions

SIZES = (8, 12, 10)
LADDER = (
    "uniform",
    "grid",
    "current_order",
    "ensemble_pre",
    "network_table",
    "network_fusion",
    "ensemble_inrace",
    "best",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, the ladder's predictions and somebody else's."""
    folder = tmp_path_factory.mktemp("score")
    races, results = calendar_and_results(sizes=SIZES)
    write_store(Tables(races, empty("entries"), results, empty("laps"), empty("weather")), folder / "store")
    write_predictions(folder / "ladder.parquet", random_predictions(LADDER, sizes=SIZES, with_finish=["best"]))
    write_predictions(folder / "mine.parquet", random_predictions(["mine"], sizes=SIZES, seed=9))
    return folder


def run(place: Path, *arguments: str) -> int:
    return main(["score", *arguments, "--data", str(place / "store")])


def text(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_ladder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, str(place / "ladder.parquet")) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 120
    shown = " ".join(printed.split())
    order = [
        "worse (-) than ensemble_inrace",
        "Scores before the race",
        "Scores after 50% of the race",
        "The design's criterion: network_fusion",
        "The expert's comparison: best",
        "network_fusion against ensemble_pre, log_loss:",
        "best against ensemble_inrace, log_loss:",
        "Scored 3 races of season 2101; the predictions have 450 rows of 8 models.",
    ]
    places = [shown.find(part) for part in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_somebody_elses_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, str(place / "mine.parquet"), "--metric", "mae", "--metric", "winner") == 0
    shown = text(capsys)
    assert "mae, lower is better, at each part of the race" in shown
    assert "log_loss" not in shown
    assert "Neither network_fusion nor best is among the models: the ladder is not compared." in shown
    assert "Scored 3 races of season 2101; the predictions have 60 rows of 1 model." in shown


def test_somebody_elses_file_beside_the_ladder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(place / "mine.parquet"), str(place / "ladder.parquet")]
    assert run(place, *files, "--against", "mine", "--out", str(place / "new" / "card.json")) == 0
    shown = text(capsys)
    assert "worse (-) than mine" in shown
    assert "510 rows of 9 models" in shown
    made = json.loads((place / "new" / "card.json").read_text())
    both = pl.concat([pl.read_parquet(file) for file in files])
    card = make_scorecard(both, *calendar_and_results(sizes=SIZES), against="mine")
    assert made == json.loads(json.dumps(card.to_dict()))
    assert [entry.name for entry in (place / "new").iterdir()] == ["card.json"]


def test_scored_twice_is_the_same_to_the_byte(place: Path) -> None:
    for name in ("first.json", "second.json"):
        assert run(place, str(place / "mine.parquet"), "--out", str(place / name)) == 0
    assert (place / "first.json").read_bytes() == (place / "second.json").read_bytes()


def test_skipped_races_are_named(place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    races, results = calendar_and_results(sizes=SIZES)
    run_only = results.filter(pl.col("race_id") != "2101_race_12")
    write_store(Tables(races, empty("entries"), run_only, empty("laps"), empty("weather")), tmp_path / "store")
    assert run(tmp_path, str(place / "mine.parquet")) == 0
    shown = text(capsys)
    assert "Scored 2 races of season 2101" in shown
    assert "Note: races without results, skipped: 1 (2101_race_12)." in shown


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--help"]) == 0
    assert "Example: f1-predict score" in text(capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["none.parquet"],
            "none.parquet: the predictions cannot be read (No such file or directory). Give the Parquet",
        ),
        (["mine.parquet", "--against", "best"], "no model 'best'."),
        (["ladder.parquet", "--metric", "logloss"], "no metric 'logloss'. Did you mean log_loss"),
        (["mine.parquet", "mine.parquet"], "mine.parquet: model 'mine' is in"),
        (["broken.parquet"], "broken.parquet, row 1 (2101_race_2, driver 'driver_00', model 'mine'): 'p_win' must be"),
        (["elsewhere.parquet"], "no race '1999_race_2'."),
    ],
)
def test_bad_input_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    rows = pl.read_parquet(place / "mine.parquet")
    rows.with_columns(p_win=0.9).write_parquet(place / "broken.parquet")
    write_predictions(place / "elsewhere.parquet", rows.with_columns(pl.col("race_id").str.replace("2101", "1999")))
    given = [str(place / part) if part.endswith(".parquet") else part for part in arguments]
    assert run(place, *given) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_no_store(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, str(place / "mine.parquet")) == 1
    assert "there is no processed store here" in capsys.readouterr().err
