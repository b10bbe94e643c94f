"""A replay drawn: the forecasts' own numbers in chart, table and picture, and what happened marked where it did."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from f1_predict.forecasting import RaceForecast, forecast_of
from f1_predict.forecasting.events import COLUMNS
from f1_predict.horizon import RaceArchive
from f1_predict.models.forecaster import forecast_frame
from f1_predict.models.probabilities import coherent
from f1_predict.report.charts import PALETTE
from f1_predict.report.replay_charts import CAUTION_COLOURS, DRIVERS, dark_partners, labels, lap_ticks, replay_figure
from f1_predict.report.replay_data import COLOURED, Caution, ReplayData, replay_data, whole
from f1_predict.report.replay_page import replay_html
from f1_predict.report.replay_picture import replay_png
from tests.browsing import needs_browser
from tests.forecasting.conftest import LAPS, RACE, moments, short_races

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def forecasts() -> list[RaceForecast]:
    """Of every lap of a small race, made up."""
    archive = RaceArchive(short_races())
    rng = np.random.default_rng(4)
    made = []
    for horizon in moments(archive, RACE):
        snapshot = archive.snapshot(RACE, horizon)
        field = snapshot.entries.height
        frame = forecast_frame(snapshot, coherent(rng.dirichlet(np.ones(field), field)), np.ones(field, dtype=np.bool_))
        made.append(forecast_of(snapshot, frame.with_columns(p_finish=pl.lit(None, pl.Float64)), "a <model>"))
    return made


@pytest.fixture(scope="module")
def drivers(forecasts: list[RaceForecast]) -> list[str]:
    return sorted(forecasts[0].rows["driver_id"])


@pytest.fixture(scope="module")
def events(drivers: list[str]) -> pl.DataFrame:
    rows = [
        (RACE, "stop", 3, 3, drivers[0], True),
        (RACE, "stop", 3, 3, drivers[1], False),
        (RACE, "retired", 5, 5, drivers[2], True),
        (RACE, "safety_car", 5, 6, None, True),
        (RACE, "red_flag", 7, 7, None, True),
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


@pytest.fixture(scope="module")
def data(forecasts: list[RaceForecast], events: pl.DataFrame, drivers: list[str]) -> ReplayData:
    return replay_data(forecasts, events, {driver: place for place, driver in enumerate(drivers, start=1)})


@pytest.fixture(scope="module")
def page(data: ReplayData) -> str:
    return replay_html(data)


def test_lines_are_the_forecasts(data: ReplayData, forecasts: list[RaceForecast], drivers: list[str]) -> None:
    assert data.laps == tuple(range(LAPS + 1))
    for event in ("p_win", "p_podium"):
        assert sorted(line.driver for line in data.lines[event]) == drivers
        for line in data.lines[event]:
            expected = [forecast.rows.filter(driver_id=line.driver)[event][0] for forecast in forecasts]
            assert list(line.values) == expected


def test_what_happened_stands_on_the_line_it_happened_to(data: ReplayData, drivers: list[str]) -> None:
    lines = {line.driver: line for line in data.lines["p_win"]}
    assert lines[drivers[0]].stops == ((3, lines[drivers[0]].values[3]),)
    assert lines[drivers[2]].out == (5, lines[drivers[2]].values[5])
    assert lines[drivers[3]].stops == ()
    assert lines[drivers[3]].out is None
    assert data.cautions == (Caution("safety_car", 5, 6), Caution("red_flag", 7, 7))
    assert data.happened[0][:2] == ("3", "stop")
    assert data.happened[0][2].count(",") == 1
    assert ("5-6", "safety car", "") in data.happened
    assert "Not recorded, inferred from lap times: stops." in data.remarks


def test_between_forecasts_a_mark_lies_on_the_line(forecasts: list[RaceForecast], events: pl.DataFrame) -> None:
    some = replay_data([forecasts[0], forecasts[4], forecasts[8]], events)
    line = next(line for line in some.lines["p_win"] if line.out is not None)
    assert line.out is not None
    assert line.out[1] == pytest.approx(0.75 * line.values[1] + 0.25 * line.values[2])


def test_the_headline_says_who_was_the_favourite(data: ReplayData, forecasts: list[RaceForecast]) -> None:
    first = [forecast.rows.sort("p_win", descending=True)["driver_id"][0] for forecast in forecasts]
    names = [driver.replace("_", " ").title() for driver in first]
    changes = sum(a != b for a, b in pairwise(first))
    assert data.headline.startswith(f"Favourite before the race: {names[0]} (")
    assert f"; after lap {LAPS}: {names[-1]} (" in data.headline
    times = {0: "never changed", 1: "changed once", 2: "changed twice"}.get(changes, f"changed {changes} times")
    assert times in data.headline
    wins = np.array([forecast.rows.sort("driver_id")["p_win"].to_list() for forecast in forecasts])
    lap, row = np.unravel_index(np.abs(np.diff(wins, axis=0)).argmax(), (LAPS, wins.shape[1]))
    assert f"to {whole(wins[lap + 1, row])} after lap {lap + 1}." in data.headline
    assert re.search(r"Won by \S", data.headline)


def test_a_race_without_a_result_has_no_winner_and_one_forecast_is_enough(
    forecasts: list[RaceForecast], events: pl.DataFrame
) -> None:
    alone = replay_data(forecasts[:1], events)
    assert "Won by" not in alone.headline
    assert "The favourite never changed." in alone.headline
    assert replay_png(alone).startswith(b"\x89PNG")
    assert "forecasts lap by lap" in replay_html(alone)


def test_drivers_without_a_chance_are_grey(forecasts: list[RaceForecast], events: pl.DataFrame) -> None:
    flat = [
        replace(
            forecast,
            rows=forecast.rows.with_columns(
                p_win=pl.when(pl.col("driver_id") == pl.col("driver_id").sort().first()).then(0.95).otherwise(0.01),
                p_podium=pl.lit(0.05),
            ),
        )
        for forecast in forecasts
    ]
    made = replay_data(flat, events)
    assert [line.colour for line in made.coloured] == [0, 1, 2]
    assert made.lines["p_win"][-1].colour == 0  # drawn last, on top
    assert made.lines["p_win"][0].colour is None


def test_a_model_of_who_finishes_has_one_panel(forecasts: list[RaceForecast], events: pl.DataFrame) -> None:
    rng = np.random.default_rng(1)
    only = [
        replace(
            forecast,
            rows=forecast.rows.with_columns(
                p_win=pl.lit(None, pl.Float64),
                p_podium=pl.lit(None, pl.Float64),
                p_finish=pl.Series(rng.uniform(size=forecast.rows.height)),
            ),
        )
        for forecast in forecasts
    ]
    made = replay_data(only, events)
    assert list(made.lines) == ["p_finish"]
    assert made.headline.startswith("Least likely to finish over the race: ")
    assert "To be classified at the finish" in replay_html(made)
    height = {event: Image.open(io.BytesIO(replay_png(one))).height for event, one in (("finish", made),)}
    assert height["finish"] < 800


def test_probabilities_are_rounded_without_becoming_certain() -> None:
    assert [whole(p) for p in (0.0, 0.001, 0.506, 0.999, 1.0)] == [
        "0\u00a0%",
        "<1\u00a0%",
        "51\u00a0%",
        ">99\u00a0%",
        "100\u00a0%",
    ]


def test_labels_of_neighbouring_cautions_become_one() -> None:
    near = [Caution("virtual_safety_car", 1, 2), Caution("safety_car", 3, 3), Caution("safety_car", 30, 34)]
    assert labels(near, 50) == [(1.5, "VSC, SC"), (31.5, "SC")]
    assert labels([], 50) == []
    assert lap_ticks(53) == [0, 10, 20, 30, 40, 50]
    assert lap_ticks(12) == [0, 5, 10]


def test_every_light_colour_has_one_dark_partner() -> None:
    pairs = dict(PALETTE.values()) | dark_partners()
    assert len(pairs) == len(PALETTE) + len(DRIVERS) + 1
    assert len(DRIVERS) == COLOURED


def test_the_chart_holds_lines_marks_and_bands(data: ReplayData, drivers: list[str]) -> None:
    figure = replay_figure(data).to_plotly_json()
    by_mode: dict[str, list[dict[str, Any]]] = {"lines": [], "markers": []}
    for trace in figure["data"]:
        by_mode[trace["mode"]].append(trace)
    assert len(by_mode["lines"]) == 2 * len(drivers)
    first = next(trace for trace in by_mode["lines"] if trace["legendgroup"] == drivers[0])
    line = next(line for line in data.lines["p_win"] if line.driver == drivers[0])
    assert list(first["y"]) == [100 * value for value in line.values]
    crosses = [trace for trace in by_mode["markers"] if trace["marker"]["symbol"] == "x"]
    assert [trace["legendgroup"] for trace in crosses] == [drivers[2]] * 2
    bands = [(shape["x0"], shape["x1"], shape["fillcolor"]) for shape in figure["layout"]["shapes"]]
    assert bands == 2 * [(4, 6, CAUTION_COLOURS["safety_car"]), (6, 7, CAUTION_COLOURS["red_flag"])]


def test_the_page_is_complete_and_escapes_names(page: str, data: ReplayData) -> None:
    assert "http://" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "<code>a &lt;model&gt;</code>" in page
    assert "a <model>" not in page
    assert page.count("<h1>") == 1
    embedded = re.search(r'<script type="application/json" id="replay-data">(.*?)</script>', page, flags=re.DOTALL)
    assert embedded is not None
    loaded = json.loads(embedded[1])
    assert len(loaded["figure"]["data"]) == len(replay_figure(data).data)


def test_the_picture_is_the_same_bytes_whatever_the_users_settings(data: ReplayData) -> None:
    import matplotlib as mpl

    first = replay_png(data)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "lines.linewidth": 9}):
        assert replay_png(data) == first
    picture = Image.open(io.BytesIO(first))
    assert picture.width == 1600
    colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert tuple(bytes.fromhex(DRIVERS[0][0][1:])) in colours


def opened(browser: Browser, path: Path, width: int, scheme: str) -> tuple[Page, list[str], list[str]]:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, reduced_motion="reduce"
    )  # type: ignore[arg-type]
    found, said, asked = context.new_page(), [], []
    found.on("console", lambda message: said.append(message.text))
    found.on("pageerror", lambda error: said.append(str(error)))
    found.on("request", lambda request: asked.append(request.url))
    found.goto(path.as_uri())
    found.wait_for_selector("html[data-ready=yes]")
    return found, said, asked


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_works_in_a_browser_offline(
    browser: Browser, page: str, data: ReplayData, drivers: list[str], tmp_path: Path, width: int, scheme: str
) -> None:
    path = tmp_path / "replay.html"
    path.write_text(page)
    shown, said, asked = opened(browser, path, width, scheme)
    assert shown.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    lines = "traces => document.getElementById('plot').data.filter(trace => trace.mode === 'lines')"
    values = shown.evaluate(f"({lines})().map(trace => [trace.legendgroup, [...trace.y]])")
    for name, numbers in values[: len(drivers)]:
        line = next(line for line in data.lines["p_win"] if line.driver == name)
        assert numbers == pytest.approx([100 * value for value in line.values], rel=1e-5)
    own = DRIVERS[0][0 if scheme == "light" else 1]
    assert shown.evaluate(f"({lines})().some(trace => trace.line.color === '{own}')")
    shown.focus("#driver")
    shown.select_option("#driver", drivers[3])
    bold = shown.evaluate(f"({lines})().filter(trace => trace.opacity !== 0.25).map(trace => trace.legendgroup)")
    assert bold == [drivers[3]] * 2
    shown.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert shown.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    cell = shown.inner_text(f'tr[data-driver="{drivers[0]}"] td >> nth=0')
    first = next(line for line in data.lines["p_win"] if line.driver == drivers[0])
    assert cell == f"{100 * first.values[0]:.1f}"
    assert said == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    shown.context.close()
