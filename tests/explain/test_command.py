"""explain on the command line and as pictures: what is shown, what is written, and one clear line when it cannot be."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from f1_predict.api import open_predictor
from f1_predict.cli import main
from f1_predict.config import PictureConfig
from f1_predict.errors import NotFoundError
from f1_predict.explain import Explanation, known_causes
from f1_predict.jobs.explaining import found_table
from f1_predict.report.explain_picture import explanation_png
from f1_predict.report.explain_view import explanation_view
from tests.forecasting.conftest import LAPS, RACE, World, write_model

LAP = 5


@pytest.fixture(scope="module")
def driver(world: World) -> str:
    """The leader at that lap: nobody else has ended it."""
    return str(world.archive.rows("laps", RACE).filter(lap=LAP, position=1)["driver_id"][0])


@pytest.fixture(scope="module")
def found(world: World, driver: str) -> Explanation:
    return open_predictor(world.model, world.data).explain(RACE, driver, LAP)


def text_of(explanation: Explanation, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for part in explanation_view(explanation, width):
        console.print(part, highlight=False)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_explain_shows_and_writes_the_same(
    world: World,
    driver: str,
    found: Explanation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text, picture = tmp_path / "one.json", tmp_path / "one.png"
    options = ["--lap", str(LAP), "--driver", driver, "--json", str(text), "--out", str(picture)]
    assert main(["explain", "2101", "round", "3", *options, *world.arguments()]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"({RACE}), after lap {LAP} of" in shown
    assert f"Expected place: {found.value:.1f} by the network's own answer" in shown
    assert f"{found.field_value:.1f} in the forecast" in shown
    assert found.features["feature"][0] in shown
    assert f"Lap {LAP}, with the mark of where the driver is now" in shown
    assert all(f"-> {path}" in shown for path in (text, picture))
    read = json.loads(text.read_text())
    assert read["value"] == pytest.approx(found.value, abs=1e-6)
    assert read["laps"] == [pytest.approx(row, abs=1e-5) for row in found.laps.to_dicts()]
    with Image.open(picture) as image:
        assert image.size == (1600, 1040)


def test_the_forecast_is_that_of_predict(world: World, driver: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", RACE, "--driver", driver, "--of", "p_win", "--json", "-", *world.arguments()]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert main(["predict", RACE, "--json", "-", *world.arguments()]) == 0
    field = json.loads(capsys.readouterr().out)["field"]
    assert explained["target"] == "p_win"
    assert explained["lap"] is None
    assert explained["laps"] == []
    assert explained["field_value"] == next(row["p_win"] for row in field if row["driver_id"] == driver)


def test_a_model_of_who_finishes_is_explained(world: World, driver: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explain", RACE, "--lap", str(LAP), "--driver", driver, *world.arguments(world.finish_model)]
    assert main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Chance to be classified: " in shown
    assert "which is the forecast" in shown
    assert "percentage points" in shown
    assert main([*arguments, "--of", "p_win"]) == 1
    assert "a model of head 'finish' can explain p_finish, got 'p_win'" in capsys.readouterr().err


def test_a_model_of_places_on_a_scale_is_explained(world: World, driver: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", world.archive, "position_regression", scores={"sigma": 0.2})
    model = open_predictor(folder, world.data)
    one = model.explain(RACE, driver, LAP)
    row = model.predict(RACE, LAP).row(by_predicate=pl.col("driver_id") == driver, named=True)
    assert one.field_value == row["expected_position"]
    assert one.features["attribution"].sum() == pytest.approx(one.value - one.without["table"], abs=0.01)


def test_the_terminal_has_a_column_a_lap(found: Explanation) -> None:
    for width in (80, 120, 160):
        shown = text_of(found, width)
        assert all(len(line.rstrip()) <= width for line in shown.splitlines())
        row = next(line for line in shown.splitlines() if line.strip() and set(line.strip()) <= set("▁▂▃▄▅▆▇█"))
        assert len(row.strip()) == LAP
        names = found.features["feature"].head(10).to_list()
        assert all(name in shown for name in names)
    sizes = np.abs(found.laps["change"].to_numpy())[:-1]
    assert row.strip()[int(sizes.argmax())] == "█"


def test_the_picture_is_drawn_alike_and_shows_the_heat(found: Explanation) -> None:
    first = explanation_png(found)
    assert first == explanation_png(found)
    assert found.heat is not None
    with Image.open(io.BytesIO(first)) as image, Image.open(io.BytesIO(explanation_png(
        replace(found, heat=np.zeros_like(found.heat))
    ))) as cold:  # fmt: skip
        changed = np.asarray(image.convert("RGB")) != np.asarray(cold.convert("RGB"))
    rows, columns = np.nonzero(changed.any(axis=2))
    assert rows.min() >= 145
    assert rows.max() <= 787
    assert columns.min() >= 91
    assert columns.max() <= 733


def test_what_is_missing_is_said(world: World, driver: str) -> None:
    model = open_predictor(world.model, world.data)
    first = model.explain("2101_race_1", driver)
    shown = " ".join(text_of(first, 100).split())
    assert "No picture: this driver has no lap to show" in shown
    assert Image.open(io.BytesIO(explanation_png(first))).size == (1600, 1040)
    before = " ".join(text_of(model.explain(RACE, driver), 100).split())
    assert "No laps to blank: before the start the picture shows earlier races." in before
    with pytest.raises(NotFoundError, match=f"no picture '{driver}'"):
        first.picture_png()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["2101_rase_3", "--driver", "x"], "no race '2101_rase_3'. Did you mean 2101_race_3"),
        ([RACE, "--driver", "nobody_at_all"], "no driver 'nobody_at_all'."),
        ([RACE, "--driver", "driver_001", "--lap", "99"], f"from 1 to {LAPS}"),
        ([RACE, "--driver", "driver_001", "--lap", "0"], "got '0'"),
        ([RACE, "--driver", "driver_001", "--of", "glory"], "can explain expected_position, p_win"),
        ([RACE, "--driver", "driver_001", "--out", "-"], "--out takes the name of a picture file"),
    ],
)
def test_wrong_input_is_one_clear_line(
    world: World,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", *options, *world.arguments()]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) == 1
    assert message in shown.err


def test_without_captum_nothing_is_begun(
    world: World,
    driver: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    assert main(["explain", RACE, "--driver", driver, *world.arguments()]) == 1
    assert "pip install 'f1-predict[explain]'" in capsys.readouterr().err


def test_races_that_were_learnt_from_are_no_test(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learnt = {"first_race_id": RACE, "last_race_id": RACE, "seasons": (2101,), "races": 1, "rows": 6}
    folder = write_model(tmp_path / "model", world.archive, "position", data=learnt)
    assert main(["explain-check", *world.arguments(folder)]) == 1
    assert "has no race with laps of a season that the model" in capsys.readouterr().err


def test_a_check_puts_trouble_into_races_and_counts(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["explain-check", "--rounds", "1", *world.arguments()]
    assert main(command) == 1
    assert "too short, or too eventful" in capsys.readouterr().err
    monkeypatch.setattr(known_causes, "FIRST", 1)
    assert main(command) == 0
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if "both" in line)
    cells = [cell.strip() for cell in line.split("│")[2:-1]]
    assert int(cells[0]) >= 2
    assert all("%" in cell for cell in cells[2:])


def test_pictures_of_the_other_style_are_explained(world: World, driver: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", world.archive, "position", picture=PictureConfig(style="race"))
    one = open_predictor(folder, world.data).explain(RACE, driver, LAP)
    assert one.laps.height == LAP
    assert Image.open(io.BytesIO(explanation_png(one))).size == (1600, 1040)


def test_the_table_of_a_check_counts_what_was_found() -> None:
    rows = pl.DataFrame(
        {
            "cause": ["slow stop", "slow stop", "puncture"],
            "laps": [20, 20, 40],
            "rank": [1, 2, 9],
            "share": [0.3, 0.1, 0.2],
        }
    )
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(found_table(rows))
    lines = [line.split("│") for line in console.file.getvalue().splitlines() if "│" in line]  # type: ignore[attr-defined]
    cells = {line[1].strip(): [cell.strip() for cell in line[2:-1]] for line in lines}
    assert cells["slow stop"][:2] == ["2", "20"]
    assert cells["slow stop"][2].startswith("50%, ")
    assert cells["slow stop"][2].endswith("(10%)")
    assert cells["both"][3].startswith("67%, ")
    assert cells["slow stop"][4] == "20.0% (10.0%)"
