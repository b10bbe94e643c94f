"""One forecast, one table: all formats say the same, and say what is missing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from f1_predict.api import Predictor
from f1_predict.evaluation.predictions import PREDICTION_COLUMNS, validate_predictions
from f1_predict.forecasting import DRIVER_MISSING, FORECAST_COLUMNS, RACE_MISSING, forecast_of
from f1_predict.forecasting.known import missing_of_drivers, missing_of_race
from f1_predict.forecasting.rows import SCHEMA
from f1_predict.horizon import AfterLap, PreRace, Snapshot
from f1_predict.models.forecaster import forecast_frame
from f1_predict.schemas import empty
from tests.forecasting.conftest import CARS, RACE, World

DOCS = Path(__file__).resolve().parents[2] / "docs" / "forecasts.md"


def made(snapshot: Snapshot, present: np.ndarray | None = None) -> pl.DataFrame:
    """A forecast that says something of places, drawn at random."""
    field = snapshot.entries.height
    probabilities = np.random.default_rng(1).dirichlet(np.ones(field), field)
    seen = np.ones(field, dtype=np.bool_) if present is None else present
    return forecast_frame(snapshot, probabilities, seen).with_columns(p_finish=pl.lit(None, pl.Float64))


def test_the_columns_are_those_told_and_the_best_come_first(world: World) -> None:
    snapshot = world.archive.snapshot(RACE, AfterLap(4))
    forecast = forecast_of(snapshot, made(snapshot), "mine", ("A note.",))
    assert forecast.rows.schema == pl.Schema(FORECAST_COLUMNS)
    assert forecast.rows["predicted_rank"].to_list() == list(range(1, CARS + 1))
    head = forecast.rows.row(0, named=True)
    assert (head["model"], head["horizon"], head["cutoff_lap"]) == ("mine", "lap_4", 4)
    assert head["fraction"] == 4 / snapshot.race.scheduled_laps
    team = snapshot.entries.filter(driver_id=head["driver_id"])["constructor_id"][0]
    assert head["constructor_id"] == team
    assert forecast.lap == 4


def test_the_rows_are_those_of_a_predictions_file(world: World) -> None:
    parts = []
    for horizon in (PreRace(), AfterLap(1), AfterLap(4)):
        snapshot = world.archive.snapshot(RACE, horizon)
        parts.append(forecast_of(snapshot, made(snapshot), "mine").rows)
    validate_predictions(pl.concat(parts).select(*PREDICTION_COLUMNS), "a replay")


def test_all_formats_hold_the_same_numbers_to_the_last_bit(world: World) -> None:
    snapshot = world.archive.snapshot(RACE, AfterLap(4))
    present = np.arange(CARS) != 2
    forecast = forecast_of(snapshot, made(snapshot, present), "mine", ("A note.",))
    rows = forecast.rows
    assert_frame_equal(pl.read_parquet(io.BytesIO(forecast.to_parquet())), rows, check_exact=True)

    loaded = json.loads(forecast.to_json())
    assert loaded["schema"] == SCHEMA
    assert loaded["race"]["race_id"] == RACE
    assert loaded["race"]["date"] == snapshot.race.date.isoformat()
    assert loaded["moment"] == {"horizon": "lap_4", "fraction": rows["fraction"][0], "cutoff_lap": 4}
    assert (loaded["model"], loaded["n_starters"], loaded["notes"]) == ("mine", CARS, ["A note."])
    shared = [name for name in FORECAST_COLUMNS if name in loaded["field"][0]]
    assert [row[name] for row in loaded["field"] for name in shared] == [
        row[name] for row in rows.to_dicts() for name in shared
    ]
    assert set(FORECAST_COLUMNS) - set(shared) == {
        *("race_id", "model", "horizon", "fraction", "cutoff_lap", "n_starters", "race_missing")
    }

    table = pl.read_csv(io.StringIO(forecast.to_csv()))
    for name in ("p_win", "p_podium", "p_points", "expected_position", "position_low", "position_high", "fraction"):
        assert table[name].to_list() == rows[name].to_list(), name
    places = table.select(f"place_{place}" for place in range(1, CARS + 1)).rows()
    assert [list(row) for row in places] == rows["position_probs"].to_list()
    assert table["missing"].fill_null("").to_list() == [" ".join(codes) for codes in rows["missing"]]
    assert table["p_finish"].null_count() == CARS


def test_what_is_missing_is_told_of_race_and_drivers(world: World) -> None:
    snapshot = world.archive.snapshot(RACE, AfterLap(4))
    assert missing_of_race(snapshot) == ["circuit"]
    been_there = replace(snapshot.race, circuit_id=snapshot.past.races["circuit_id"][0])
    assert missing_of_race(replace(snapshot, race=been_there)) == []
    present = np.arange(CARS) != 2
    assert missing_of_drivers(snapshot, present) == [[] if seen else ["picture"] for seen in present]
    first = world.archive.snapshot("2101_race_1", PreRace())
    assert missing_of_race(first)[0] == "past"
    assert missing_of_drivers(first, np.zeros(CARS, dtype=np.bool_)) == [["picture", "driver", "team"]] * CARS

    times = [name for name in snapshot.entries.columns if name.startswith(("q", "fp"))]
    bare = replace(
        snapshot,
        race=replace(snapshot.race, circuit_id="elsewhere", course_length_km=None),
        entries=snapshot.entries.with_columns(*(pl.lit(None).cast(snapshot.entries[n].dtype).alias(n) for n in times)),
        weather=empty("weather"),
        laps=snapshot.laps.with_columns(compound=pl.lit(None, pl.String)),
    )
    assert missing_of_race(bare) == ["circuit", "length", "practice", "qualifying", "weather", "tyres"]
    nowhere = replace(bare, entries=bare.entries.with_columns(grid=pl.lit(0, pl.Int32)))
    assert "grid" in missing_of_race(nowhere)
    assert missing_of_drivers(nowhere, present)[0] == ["grid"]
    before = replace(bare, horizon=PreRace(), laps=empty("laps"))
    assert "tyres" not in missing_of_race(before)  # nobody has put tyres on that a table could hold


def test_the_page_names_every_column_and_every_code(predictor: Predictor) -> None:
    text = DOCS.read_text()
    loaded = json.loads(predictor.forecast(RACE, 2).to_json())
    keys = {*loaded, *loaded["race"], *loaded["moment"], *loaded["field"][0], *FORECAST_COLUMNS}
    for name in keys | RACE_MISSING.keys() | DRIVER_MISSING.keys() | {SCHEMA}:
        assert f"`{name}`" in text, name
