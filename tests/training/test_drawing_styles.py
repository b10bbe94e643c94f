"""Two picture styles, one cache: what a style shows is in its key, and nothing else is; files stand side by side."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from f1_predict.cli import main
from f1_predict.config import PictureConfig
from f1_predict.horizon import AfterLap, FullRace, Horizon, PreRace, RaceArchive
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.schemas import Tables
from f1_predict.tables import write_store
from f1_predict.training.artefacts import load_model, save_model
from f1_predict.training.drawing import digest_of_inputs, draw_cuts, picture_inputs
from f1_predict.training.manifests import read_manifest
from tests.small_tables import random_tables
from tests.training.stand_ins import make_model
from tests.training.test_artefacts import make_manifest

SPEED = PictureConfig(width=200, height=160, plot_box=(20, 20, 128, 128), past_races=2)
RACE = SPEED.model_copy(update={"style": "race"})
CUTS: list[tuple[str, Horizon]] = [
    ("2001_race_2", PreRace()), ("2001_race_2", AfterLap(6)), ("2001_race_2", FullRace()),
]  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> Tables:
    return random_tables(3)


def digests(tables: Tables, picture: PictureConfig) -> list[str]:
    archive, generator = RaceArchive(tables), SpeedTraceGenerator("unused", picture)
    return [digest_of_inputs(picture_inputs(archive.snapshot(*cut), picture), generator) for cut in CUTS]


def changed(tables: Tables, picture: PictureConfig, name: str, race_id: str, **values: pl.Expr) -> list[bool]:
    """Which digests change with some values of one race in one table."""
    here = pl.col("race_id") == race_id
    columns = [pl.when(here).then(value).otherwise(pl.col(column)).alias(column) for column, value in values.items()]
    other = tables.map(lambda table, frame: frame.with_columns(columns) if table == name else frame).validate()
    pairs = zip(digests(tables, picture), digests(other, picture), strict=True)
    return [one != two for one, two in pairs]


def test_the_style_and_what_it_shows_are_in_the_key(tables: Tables) -> None:
    assert not set(digests(tables, SPEED)) & set(digests(tables, RACE))
    early, rain = pl.col("time_s") < 200.0, ~pl.col("rainfall")
    shown = pl.when(early).then(rain).otherwise(pl.col("rainfall"))
    assert changed(tables, RACE, "weather", "2001_race_2", rainfall=shown) == [True, True, True]
    assert changed(tables, SPEED, "weather", "2001_race_2", rainfall=shown) == [False, False, False]
    late = pl.when(pl.col("time_s") > 900.0).then(rain).otherwise(pl.col("rainfall"))
    assert changed(tables, RACE, "weather", "2001_race_2", rainfall=late) == [False, False, True]
    assert changed(tables, RACE, "weather", "2001_race_1", rainfall=rain) == [False, False, False]
    for column, value in (("track_status", pl.lit("4")), ("compound", pl.lit("WET")), ("tyre_life", pl.lit(9))):
        change = {column: value.cast(tables.laps.schema[column])}
        assert changed(tables, RACE, "laps", "2001_race_2", **change) == [False, True, True]
    assert changed(tables, RACE, "results", "2001_race_1", laps_completed=pl.lit(1, pl.Int32)) == [False] * 3


@pytest.mark.parametrize("picture", [SPEED, RACE], ids=["speed", "race"])
def test_the_inputs_hold_all_that_is_drawn(tables: Tables, picture: PictureConfig) -> None:
    archive, generator = RaceArchive(tables), SpeedTraceGenerator("unused", picture)
    for cut in CUTS:
        snapshot = archive.snapshot(*cut)
        whole, trimmed = generator.render(snapshot), generator.render(picture_inputs(snapshot, picture))
        assert whole.present.any()
        assert whole.images.tobytes() == trimmed.images.tobytes()


def test_drawing_one_style_leaves_the_other(tables: Tables, tmp_path: Path) -> None:
    archive = RaceArchive(tables)
    generators = [SpeedTraceGenerator(tmp_path, picture) for picture in (SPEED, RACE)]
    first = [draw_cuts(archive, CUTS[1:2], generator)[1] for generator in generators]
    again = [draw_cuts(archive, CUTS[1:2], generator)[1] for generator in generators]
    assert [summary.drawn for summary in first] == [summary.pictures for summary in again]
    assert [summary.drawn for summary in again] == [0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"2001_race_2", "race"}


def test_a_model_folder_remembers_the_style(tmp_path: Path) -> None:
    model = make_model()
    folders = [save_model(tmp_path / p.style, model, make_manifest(picture=p)) for p in (SPEED, RACE)]
    assert [load_model(folder)[1].picture for folder in folders] == [SPEED, RACE]
    manifest = folders[0] / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"style": "speed",', ""))
    assert read_manifest(folders[0]).picture == SPEED  # from before there were styles


def test_the_command_draws_a_style(tables: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_store(tables, tmp_path / "store")
    common = ["traces", "--data", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*common, "--at", "lap_6", "--seasons", "2001", "--style", "race"]) == 0
    pictures = list((tmp_path / "out" / "race" / "2001_race_2" / "lap_6").glob("*.png"))
    assert pictures
    with Image.open(pictures[0]) as picture:
        assert picture.info["style"] == "race"
    assert main([*common, "--style", "pretty"]) == 1
    assert "setting 'picture.style': Input should be 'speed' or 'race'" in " ".join(capsys.readouterr().err.split())
