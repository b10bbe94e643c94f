"""f1_predict.load: light to import, runnable as documented, equal to the forecaster, clear when something is wrong."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import f1_predict
from f1_predict import api
from f1_predict.api import Predictor, open_predictor
from f1_predict.errors import AmbiguousError, ArtefactError, ConfigError, HorizonError, NotFoundError, StoreError
from f1_predict.forecasting import FORECAST_COLUMNS
from f1_predict.horizon import AfterLap, PreRace
from tests.forecasting.conftest import CARS, LAPS, RACE, World, write_model


def test_importing_it_loads_neither_torch_nor_polars() -> None:
    code = (
        "import sys, f1_predict; print(f1_predict.__version__, sorted({'torch', 'polars', 'numpy'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == f"{f1_predict.__version__} []\n"


def test_the_examples_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)
    for module in (f1_predict, api):
        found = doctest.testmod(module)
        assert found.failed == 0
        assert found.attempted > 1


def test_a_forecast_is_the_forecasters(predictor: Predictor) -> None:
    for lap, horizon in ((None, PreRace()), (LAPS // 2, AfterLap(LAPS // 2))):
        rows = predictor.predict(RACE, lap)
        assert rows.schema == pl.Schema(FORECAST_COLUMNS)
        direct = predictor.forecaster.predict(predictor.archive.snapshot(RACE, horizon))
        shared = [name for name in direct.columns if name in rows.columns]
        assert len(shared) == len(direct.columns)
        assert_frame_equal(rows.sort("driver_id").select(shared), direct.select(shared), abs_tol=1e-6, rel_tol=0.0)


def test_a_replay_is_its_forecasts_below_each_other(predictor: Predictor) -> None:
    laps = predictor.replay("2101 round 3", every=3)
    assert laps["cutoff_lap"].unique().sort().to_list() == [0, 3, 6, LAPS]
    one = predictor.predict(RACE, 6)
    assert_frame_equal(laps.filter(pl.col("cutoff_lap") == 6), one, abs_tol=1e-6, rel_tol=0.0)
    assert laps.group_by("cutoff_lap").agg(pl.col("p_win").sum())["p_win"].to_list() == pytest.approx([1.0] * 4)


def test_pandas_frames_hold_the_same(predictor: Predictor) -> None:
    rows, frame = predictor.predict(RACE, 3), predictor.predict(RACE, 3, pandas=True)
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict(orient="list") == rows.to_dict(as_series=False)
    assert isinstance(predictor.events(RACE, pandas=True), pd.DataFrame)
    assert predictor.races(pandas=True)["race_id"].tolist() == predictor.races()["race_id"].to_list()
    assert isinstance(predictor.replay(RACE, every=LAPS, pandas=True), pd.DataFrame)


def test_races_can_be_listed(predictor: Predictor) -> None:
    races = predictor.races()
    assert races["race_id"].to_list() == ["2101_race_1", "2101_race_2", RACE]
    assert races["laps"].to_list() == [LAPS] * 3
    assert races["starters"].to_list() == [CARS] * 3
    assert predictor.races(1999).is_empty()


def test_a_model_of_who_finishes_says_that_alone(world: World) -> None:
    rows = open_predictor(world.finish_model, world.data).predict(RACE, 2)
    assert rows["p_finish"].is_between(0, 1).all()
    assert rows["p_finish"].to_list() == sorted(rows["p_finish"], reverse=True)
    for name in ("p_win", "p_podium", "p_points", "expected_position", "predicted_rank", "position_probs"):
        assert rows[name].null_count() == CARS, name


@pytest.mark.parametrize("every", [0, -1, 1.5, "2", True])
def test_laps_between_forecasts_must_be_a_number(predictor: Predictor, every: object) -> None:
    with pytest.raises(ConfigError, match=f"every must be a whole number of laps, 1 or more, got '{every}'"):
        predictor.replay(RACE, every)  # type: ignore[call-overload]


def test_names_and_laps_are_refused_as_on_the_command_line(predictor: Predictor) -> None:
    with pytest.raises(NotFoundError, match=r"no race '2101_rase_3'\. Did you mean 2101_race_3"):
        predictor.predict("2101_rase_3")
    with pytest.raises(AmbiguousError, match="'2101' names 3 races"):
        predictor.replay("2101")
    with pytest.raises(HorizonError, match=f"from 1 to {LAPS}"):
        predictor.predict(RACE, lap=999)


def test_what_cannot_be_opened_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="f1-predict ingest"):
        f1_predict.load(world.model, data=tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match=r"manifest.json: cannot be read .* `f1-predict train`"):
        f1_predict.load(tmp_path / "nowhere", data=world.data)
    broken = shutil.copytree(world.model, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ArtefactError, match="is damaged or belongs to another manifest"):
        f1_predict.load(broken, data=world.data)
    manifest = json.loads((world.model / "manifest.json").read_text())
    (broken / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(ArtefactError, match="the format version must be 1, got 99"):
        f1_predict.load(broken, data=world.data)


def test_notes_say_what_a_reader_should_know(world: World, tmp_path: Path) -> None:
    learnt = {"first_race_id": RACE, "last_race_id": RACE, "seasons": (2101,), "races": 1, "rows": 6}
    folder = write_model(
        tmp_path / "model", world.archive, "position", horizons=("pre_race",), data=learnt,
    )  # fmt: skip
    model = open_predictor(folder, world.data)
    own, early = model.forecast(RACE, 1).notes
    assert own == f"{RACE} is of a season that the model learnt from; its forecast is no test of it."
    assert early == "The model learnt from races before their start only, never during one."
    assert model.forecast(RACE).notes == (own,)


def test_what_is_prepared_changes_no_forecast(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {lap: predictor.predict(RACE, lap) for lap in (None, 3)}
    fresh = Predictor(predictor.forecaster, predictor.archive, "m")
    fresh.prepare()
    monkeypatch.setattr("f1_predict.features.RaceFeatures.of", lambda *_: pytest.fail("computed again"))
    for lap, expected in wanted.items():
        assert fresh.predict(RACE, lap).drop("model").equals(expected.drop("model"))


def test_a_few_races_are_kept_and_no_more(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "RACES_KEPT", 2)
    fresh = Predictor(predictor.forecaster, predictor.archive, "m")
    for race in ("2101_race_1", "2101_race_2", RACE, "2101_race_2"):
        fresh.predict(race)
    assert list(fresh._replays) == [RACE, "2101_race_2"]
