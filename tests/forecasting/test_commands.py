"""predict and replay on the command line: what they print and write, and one clear line when something is wrong."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from f1_predict.cli import main
from f1_predict.jobs import forecasts as jobs
from f1_predict.tables import write_store
from tests.forecasting.conftest import CARS, LAPS, RACE, World


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_predict_prints_the_field_with_bars(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "2101", "round", "3", "--lap", "4", *world.arguments()]) == 0
    shown = capsys.readouterr().out
    assert f"({RACE}), after lap 4 of" in shown
    table = [line for line in shown.splitlines() if "%" in line and " 80% " not in line]
    assert len(table) == CARS
    assert all("█" in line or "▏" in line or "▌" in line or "▎" in line or "▍" in line for line in table)
    assert all(line.count("●") == 1 for line in table)
    assert all(name in shown for name in (" win ", " podium", " points", " finish", " place", " range"))


def test_one_driver_is_shown_with_every_place(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    driver = world.archive.rows("entries", RACE)["driver_id"][2]
    assert main(["predict", RACE, "--lap", "2", "--driver", driver, *world.arguments()]) == 0
    shown = capsys.readouterr().out
    assert f"{driver}: every place" in shown
    assert sum(other in shown for other in world.archive.rows("entries", RACE)["driver_id"]) == 1


def test_all_formats_are_written_with_the_same_numbers(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"forecast.{name}" for name in ("json", "csv", "parquet")}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    assert main(["predict", RACE, "--lap", "5", *options, *world.arguments()]) == 0
    shown = capsys.readouterr().out
    assert all(f"-> {path}" in shown for path in files.values())
    rows = pl.read_parquet(files["parquet"])
    field = json.loads(files["json"].read_text())["field"]
    table = pl.read_csv(files["csv"])
    for name in ("driver_id", "predicted_rank", "p_win", "p_podium", "p_points", "expected_position", "position_low"):
        assert rows[name].to_list() == table[name].to_list() == [row[name] for row in field], name
    assert rows["position_probs"].to_list() == [row["position_probs"] for row in field]


def test_standard_output_holds_nothing_but_the_format(world: World, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["predict", RACE, "--lap", "5", "--json", "-", *world.arguments()]) == 0
    field = json.loads(capfdbinary.readouterr().out)["field"]
    assert main(["predict", RACE, "--lap", "5", "--parquet", "-", *world.arguments()]) == 0
    rows = pl.read_parquet(io.BytesIO(capfdbinary.readouterr().out))
    assert rows["p_win"].to_list() == [row["p_win"] for row in field]


def test_a_model_of_who_finishes_is_shown_as_that(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", RACE, "--lap", "2", *world.arguments(world.finish_model)]) == 0
    shown = capsys.readouterr().out
    head = next(line for line in shown.splitlines() if "driver" in line)
    assert "finish" in head
    assert "win" not in head
    assert "place" not in head
    assert main(["replay", RACE, "--every", "4", *world.arguments(world.finish_model)]) == 0
    assert "least likely to finish: " in capsys.readouterr().out


def coming(world: World, folder: Path) -> Path:
    """The world's store, its last race still to come and without entries."""
    tables = world.tables
    parts = {name: getattr(tables, name).filter(pl.col("race_id") != RACE) for name in vars(tables) if name != "races"}
    write_store(replace(tables, **parts), folder / "processed", source="simulated")
    return folder / "processed"


def test_a_coming_race_is_forecast_from_an_entry_list(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, file = coming(world, tmp_path), tmp_path / "entries.csv"
    where = ["--data", str(store)]
    arguments = [*where, "--model", str(world.model)]
    assert main(["predict", RACE, *arguments]) == 1
    refused = capsys.readouterr().err
    assert f"{RACE} has no entries yet" in refused
    assert f"'f1-predict entries template --race {RACE}'" in refused
    assert main(["entries", "template", "--race", RACE, "--out", str(file), *where]) == 0
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    gridded = [f"{line}{place}" for place, line in enumerate(lines[1:-1], start=1)]
    file.write_text("\n".join([lines[0], *gridded, "rookie,new_team,,"]) + "\n")
    assert main(["entries", "add", "--race", RACE, "--file", str(file), *where]) == 0
    capsys.readouterr()
    assert main(["predict", RACE, "--json", "-", *arguments]) == 0
    loaded = json.loads(capsys.readouterr().out)
    assert len(loaded["field"]) == CARS
    assert sum(row["p_win"] for row in loaded["field"]) == pytest.approx(1.0)
    assert {"qualifying", "practice", "weather"} <= set(loaded["missing"])
    rookie = next(row for row in loaded["field"] if row["driver_id"] == "rookie")
    assert rookie["missing"] == ["picture", "driver", "team", "grid"]
    assert main(["predict", RACE, *arguments]) == 0
    shown = squeezed(capsys.readouterr().out)
    assert "before the race" in shown
    assert "Driver new to the store: rookie." in shown
    assert "No picture: rookie." in shown
    for command in (["predict", RACE, "--lap", "1"], ["replay", RACE]):
        assert main([*command, *arguments]) == 1
        assert f"error: {RACE} has no laps in the store" in capsys.readouterr().err


def test_replay_prints_a_line_a_lap_and_writes_everything(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"replay.{name}" for name in ("parquet", "png", "html")}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    assert main(["replay", "2101", "round", "3", *options, *world.arguments()]) == 0
    shown = capsys.readouterr().out
    scheduled = world.archive.rows("races", RACE)["scheduled_laps"][0]
    lines = [line for line in shown.splitlines() if line.startswith("lap ")]
    assert [re.findall(r"^lap +(\d+)/(\d+)  ", line) for line in lines] == [
        [(str(lap), str(scheduled))] for lap in range(LAPS + 1)
    ]
    assert all(line.count("%") == 3 for line in lines)
    assert f"{LAPS + 1} forecasts of {CARS} drivers in " in shown
    rows = pl.read_parquet(files["parquet"])
    assert rows.height == (LAPS + 1) * CARS
    assert main(["predict", RACE, "--lap", "5", "--parquet", str(tmp_path / "one.parquet"), *world.arguments()]) == 0
    one = pl.read_parquet(tmp_path / "one.parquet")
    assert_frame_equal(rows.filter(pl.col("cutoff_lap") == 5), one, abs_tol=1e-6, rel_tol=0.0)
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert "forecasts lap by lap" in files["html"].read_text()


def test_replay_moves_a_table_on_a_terminal(world: World) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40, color_system=None)
    jobs.show_replay(console, world.data, world.model, RACE, every=4)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "before the race" in shown
    assert f"after lap {LAPS} of" in shown
    assert f"lap {LAPS} of" in shown
    assert "\x1b[" in shown  # drawn over the table before
    assert "3 forecasts of 6 drivers" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "2101_rase_3"], "no race '2101_rase_3'. Did you mean 2101_race_3"),
        (["predict", "1995 monza"], "no race '1995 monza'."),
        (["predict", "2101"], "'2101' names 3 races, the latest 2101_race_3"),
        (["predict", "../../etc/passwd"], "no race '../../etc/passwd'"),
        (
            ["predict", RACE, "--lap", "0"],
            f"from 1 to {LAPS}, the laps that the leader of {RACE} has completed, got '0'",
        ),
        (["predict", RACE, "--lap", "999"], "got '999'. Leave it out for the forecast before the race"),
        (["predict", RACE, "--lap", "-3"], "got '-3'"),
        (["predict", RACE, "--lap", "five"], f"the lap must be a whole number from 1 to {LAPS}"),
        (["predict", RACE, "--lap", "2.0"], "got '2.0'"),
        (["predict", RACE, "--driver", "nobody_at_all"], "no driver 'nobody_at_all'."),
        (
            ["predict", RACE, "--json", "-", "--csv", "-"],
            "only one format can go to the standard output (-), got --json",
        ),
        (["replay", "2101_rase_3"], "Did you mean 2101_race_3"),
        (["replay", RACE, "--every", "0"], "every must be a whole number of laps, 1 or more, got '0'"),
        (["replay", RACE, "--every", "x"], "every must be a whole number of laps, 1 or more, got 'x'"),
    ],
)
def test_wrong_input_is_one_clear_line(
    world: World, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *world.arguments()]) == 1
    shown = capsys.readouterr()
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert shown.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "Missing argument"),
        (["replay"], "Missing argument"),
        (["predict", RACE, "--lapp", "5"], "No such option"),
    ],
)
def test_wrong_options_are_usage_errors(
    world: World, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *world.arguments()]) == 2
    assert message in capsys.readouterr().err


def test_model_folders_that_cannot_be_used_are_named(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(folder: Path) -> str:
        assert main(["predict", RACE, *world.arguments(folder)]) == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        return lines[0]

    assert "Give a folder that `f1-predict train` or `train-field` wrote" in refused(tmp_path / "nowhere")
    folder = shutil.copytree(world.model, tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text("{")
    assert "is no JSON" in refused(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format_version": 0}))
    assert "the format version must be 1, got 0. Train the model again" in refused(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"feature_names": ["a"]}))
    assert "Train the model again" in refused(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "model.safetensors").unlink()
    assert "model.safetensors: cannot be read" in refused(folder)


def test_parquet_is_not_written_to_a_terminal(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["predict", RACE, "--parquet", "-", *world.arguments()]) == 1
    assert "--parquet - writes bytes, which a terminal cannot show" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / "file" / "forecast.json"
    assert main(["predict", RACE, "--json", str(target), *world.arguments()]) == 1
    assert f"{target}: cannot be written" in capsys.readouterr().err
