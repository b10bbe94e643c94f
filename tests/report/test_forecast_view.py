"""Forecasts on the terminal: bars, strips and words say what the numbers say, at every width."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from rich.table import Table

from f1_predict.forecasting import RaceForecast, forecast_of
from f1_predict.forecasting.events import COLUMNS
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.models.forecaster import forecast_frame
from f1_predict.models.probabilities import coherent
from f1_predict.report.forecast_view import ReplayView, bar, forecast_table, percent, places_table, remarks, strip
from tests.forecasting.conftest import LAPS, RACE, short_races


def made(lap: int, notes: tuple[str, ...] = ()) -> RaceForecast:
    snapshot = RaceArchive(short_races()).snapshot(RACE, AfterLap(lap) if lap else PreRace())
    field = snapshot.entries.height
    present = np.arange(field) != 1
    probabilities = coherent(np.random.default_rng(lap).dirichlet(np.ones(field), field))
    frame = forecast_frame(snapshot, probabilities, present).with_columns(p_finish=pl.lit(None, pl.Float64))
    return forecast_of(snapshot, frame, "model", notes)


@pytest.fixture(scope="module")
def forecast() -> RaceForecast:
    return made(4, ("A note.",))


def text_of(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(0.0, "    "), (0.001, "    "), (0.006, "▏   "), (0.25, "█   "), (0.5, "██  "), (0.53, "██▏ "), (1.0, "████")],
)
def test_a_bar_is_as_long_as_the_probability(probability: float, shown: str) -> None:
    assert bar(probability, 4) == shown


def test_nothing_uncertain_is_shown_as_certain() -> None:
    assert [percent(p) for p in (0.0, 1e-9, 0.123, 0.9999, 1.0)] == ["0.0%", "<0.1%", "12.3%", ">99.9%", "100.0%"]


def test_a_strip_shows_range_and_expected_place() -> None:
    assert strip(2, 5, 3.4, 8).plain == "·━●━━···"
    assert strip(1, 1, 1.0, 3).plain == "●··"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_the_table_fits_and_names_everybody(forecast: RaceForecast, width: int) -> None:
    shown = text_of(forecast_table(forecast, width), width)
    assert all(len(line.rstrip()) <= width for line in shown.splitlines())
    for driver, win in forecast.rows.select("driver_id", "p_win").iter_rows():
        line = next(line for line in shown.splitlines() if f" {driver} " in line)
        assert percent(win) in line
    assert ("●" in shown) == (width >= 112)
    assert (forecast.rows["constructor_id"][0] in shown) == (width >= 92)
    assert ("picture" in shown) == (width >= 92)


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("width", [80, 92, 100, 112, 120, 140, 200])
def test_every_chance_has_a_bar_in_a_full_field_of_long_names(forecast: RaceForecast, width: int, moving: bool) -> None:
    """Twenty drivers, places and finish: what is wide and tells less goes before the bars do."""
    drivers = [f"kevin_magnussen_{number:02}"[-15:] for number in range(20)]
    rows = pl.concat([forecast.rows] * 4)[:20].with_columns(
        pl.lit(20, pl.Int32).alias("n_starters"),
        pl.lit("aston_martin").alias("constructor_id"),
        pl.lit([], pl.List(pl.String)).alias("missing"),
        *(pl.lit(0.9999).alias(name) for name in ("p_win", "p_podium", "p_points", "p_finish")),
        driver_id=pl.Series(drivers),
    )
    changes = dict.fromkeys(drivers, 0) if moving else None
    shown = text_of(forecast_table(replace(forecast, rows=rows), width, changes=changes), width)
    lines = [line for line in shown.splitlines() if "en_" in line]
    assert len(lines) == 20
    for driver, line in zip(drivers, lines, strict=True):
        assert driver in line
        assert line.count(">99.9%") == 4
        assert len(re.findall("█+", line)) == 4
        assert len(line.rstrip()) <= width
    assert all(("●" in line) == (width >= (140 if moving else 120)) for line in lines)


def test_arrows_tell_of_ranks_gained_and_lost(forecast: RaceForecast) -> None:
    first, second = forecast.rows["driver_id"][:2]
    shown = text_of(forecast_table(forecast, 120, changes={first: 2, second: -1}, rows=3), 120)
    assert "▲2" in next(line for line in shown.splitlines() if f" {first} " in line)
    assert "▼1" in next(line for line in shown.splitlines() if f" {second} " in line)
    assert forecast.rows["driver_id"][3] not in shown


def test_what_is_missing_and_the_notes_stand_below(forecast: RaceForecast) -> None:
    lacking = sorted(forecast.rows.filter(~pl.col("has_image"))["driver_id"])
    lines = remarks(forecast)
    assert f"No picture: {', '.join(lacking)}." in lines
    assert "Missing for the race: circuit new to the store." in lines
    assert lines[-1] == "Note: A note."
    blind = RaceForecast(forecast.race, forecast.rows.with_columns(missing=pl.lit(["picture"])))
    assert "No picture: everybody." in remarks(blind)


def test_every_place_of_a_driver(forecast: RaceForecast) -> None:
    driver = forecast.rows["driver_id"][2]
    shown = text_of(places_table(forecast, driver, 100), 100)
    for place, probability in enumerate(forecast.rows["position_probs"][2], start=1):
        assert any(line.split()[:2] == [str(place), percent(probability)] for line in shown.splitlines())


def test_a_line_a_lap_tells_the_likeliest_and_what_happened() -> None:
    forecast, before = made(5), made(3)
    drivers = sorted(forecast.rows["driver_id"])
    rows = [
        (RACE, "stop", 3, 3, drivers[0], True),
        (RACE, "stop", 4, 4, drivers[1], True),
        (RACE, "stop", 5, 5, drivers[2], True),
        (RACE, "retired", 5, 5, drivers[3], True),
        (RACE, "safety_car", 2, 4, None, True),
        (RACE, "red_flag", 6, 6, None, True),
    ]
    view = ReplayView(Console(width=100), pl.DataFrame(rows, schema=COLUMNS, orient="row"), LAPS)
    line = view.line(forecast, before)
    best = forecast.rows.sort("p_win", descending=True)
    assert line.startswith(f"lap  5/{forecast.race.scheduled_laps}  {best['driver_id'][0]}")
    assert line.endswith(f"stops: {drivers[1]}, {drivers[2]}; out: {drivers[3]}; safety car")
    assert view.line(made(0), None).startswith(f"lap  0/{forecast.race.scheduled_laps}")
    assert "stops" not in view.line(made(0), None)
