"""The report in a real browser, offline: no error, nothing loaded, no sideways scrolling, the file's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl
import pytest

from tests.browsing import NARROW, WIDE, Opened, needs_browser
from tests.report.conftest import TO_COME, World

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_browser


def opened(browser: Browser, world: World, width: int, scheme: str = "light") -> Opened:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        offline=True,
        reduced_motion="reduce",
    )
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.messages.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(world.html.as_uri())
    found.page.wait_for_selector("html[data-ready=yes]")
    return found


@pytest.fixture(scope="module", params=[WIDE, NARROW])
def page(browser: Browser, world: World, request: pytest.FixtureRequest) -> Iterator[Opened]:
    found = opened(browser, world, request.param)
    yield found
    found.page.context.close()


def test_it_says_nothing_and_asks_for_nothing(page: Opened, world: World) -> None:
    assert page.messages == []
    assert page.requests[0] == world.html.as_uri()
    assert all(url.startswith("data:") for url in page.requests[1:])
    assert page.page.locator(".plot svg.main-svg").count() > 10


def test_it_fits_the_screen(page: Opened) -> None:
    assert page.overflow() <= 0
    page.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.overflow() <= 0
    box = page.page.evaluate(
        "[document.querySelector('.scroll').clientWidth, document.querySelector('.scroll table').scrollWidth]"
    )
    if page.page.viewport_size and page.page.viewport_size["width"] == NARROW:
        assert box[0] < box[1]  # the wide table scrolls in its own box
    else:
        assert box[0] == box[1]


def test_the_first_table_is_the_scorecards(page: Opened, world: World) -> None:
    for model, fraction in (("best", 0.5), ("current_order", 0.25), ("grid", 0.0)):
        for metric in ("log_loss", "mae", "accuracy"):
            cell = f'tr[data-model="{model}"][data-fraction="{fraction:g}"] td[data-metric="{metric}"]'
            assert page.text(cell) == f"{world.page.card.scores[model][fraction][metric]:.3f}"


def test_the_heat_map_follows_the_select(page: Opened, world: World) -> None:
    opening = page.plotted("#heat-plot")
    for race_id, fraction in (("2101_race_1", 0.25), ("2102_race_1", 0.5)):
        page.choose("heat-race", race_id)
        page.choose("heat-fraction", f"{fraction:g}")
        rows = world.predictions.filter(
            pl.col("race_id") == race_id, pl.col("model") == "best", pl.col("fraction") == fraction
        ).sort("predicted_rank")
        heat, _, rings = page.plotted("#heat-plot")
        assert heat != opening[0]
        assert heat["x"] == list(range(1, rows.height + 1))
        assert heat["y"] == [driver.replace("_", " ").title() for driver in rows["driver_id"]]
        for shown, true in zip(heat["z"], rows["position_probs"].to_list(), strict=True):
            assert shown == pytest.approx(true, abs=5.1e-4)
        places = dict(world.archive.rows("results", race_id).select("driver_id", "position").iter_rows())
        assert rings["x"] == [places[driver] for driver in rows["driver_id"]]
        page.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        cells = page.page.locator("#heat-table tbody tr").first.locator("td").all_inner_texts()
        first = rows.row(0, named=True)
        assert cells[:2] == ["1", f"{first['expected_position']:.2f}"]
        assert float(cells[2].split()[0]) == pytest.approx(100 * first["p_win"], abs=0.051)
        assert cells[5] == str(places[first["driver_id"]])
    assert page.messages == []


def test_a_race_to_come_has_no_rings_and_a_moment_that_is_not_there_says_so(page: Opened) -> None:
    page.choose("heat-fraction", "0")
    page.choose("heat-race", TO_COME)
    assert page.plotted("#heat-plot")[2]["x"] == []
    assert page.text("#heat-caption").endswith("no rings.")
    page.choose("heat-fraction", "0.5")
    assert page.text("#heat-caption") == "Not drawn: there is no forecast of this race at this moment."
    page.choose("heat-race", "2101_race_3")
    assert page.messages == []


def test_curves_and_captions_follow_their_selects(page: Opened, world: World) -> None:
    page.choose("reliability-model", "grid")
    page.choose("reliability-fraction", "0")
    rows = world.page.card.reliability.filter(
        pl.col("model") == "grid", pl.col("fraction") == 0.0, pl.col("event") == "podium"
    ).sort("bin")
    curve = page.plotted('[data-figure="reliability"] .panel:nth-child(2) .plot')[1]
    assert curve["x"] == pytest.approx((100 * rows["mean_probability"]).to_list(), rel=1e-5)
    assert page.text('[data-figure="reliability"] figcaption').startswith("grid before the race:")
    page.choose("reliability-model", "current_order")
    assert page.text('[data-figure="reliability"] figcaption').startswith("Not drawn: this model has no forecast")
    page.choose("reliability-fraction", "0.5")
    assert page.text('[data-figure="reliability"] figcaption').startswith("current_order after 50% of the race:")
    page.choose("ladder-metric", "mae")
    dots = page.plotted('[data-figure="ladder"] .panel:nth-child(3) .plot')[-1]
    assert dots["x"][-1] == pytest.approx(world.page.card.scores["best"][0.5]["mae"], rel=1e-5)
    assert page.overflow() <= 0
    assert page.messages == []


def test_charts_keep_their_height_when_the_window_changes(browser: Browser, world: World) -> None:
    page = opened(browser, world, WIDE)
    size = "(() => { const box = document.querySelector('[data-figure=skill] svg').getBoundingClientRect(); "
    size += "return [box.width, box.height]; })()"
    wide = page.page.evaluate(size)
    page.page.set_viewport_size({"width": NARROW, "height": 800})
    page.page.wait_for_selector(f'[data-figure=skill] svg[width]:not([width="{wide[0]:g}"])')
    narrow = page.page.evaluate(size)
    assert narrow[0] < NARROW < wide[0]
    assert narrow[1] == wide[1] == 400
    assert page.overflow() <= 0
    assert page.messages == []
    page.page.context.close()


def test_selects_are_reached_and_changed_by_keyboard(page: Opened) -> None:
    page.page.focus("#heat-race")
    before = page.page.input_value("#heat-race")
    page.page.keyboard.press("ArrowUp")
    assert page.page.input_value("#heat-race") != before
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.id") == "heat-fraction"
    for select in page.page.locator("select").all():
        name = select.get_attribute("id")
        assert page.page.locator(f'label[for="{name}"]').count() == 1


def test_dark_screens_get_dark_figures_and_paper_gets_light_ones(browser: Browser, world: World) -> None:
    page = opened(browser, world, WIDE, "dark")
    colour = "document.querySelector('[data-figure=skill] .plot').layout.font.color"
    assert page.page.evaluate(colour) == "#ecebf2"
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 17, 22)"
    page.page.emulate_media(color_scheme="light")
    page.page.wait_for_selector("html[data-theme=light]")
    assert page.page.evaluate(colour) == "#1b1a22"
    page.page.emulate_media(color_scheme="dark")
    page.page.wait_for_selector("html[data-theme=dark]")
    page.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.page.evaluate(colour) == "#1b1a22"
    page.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.page.evaluate(colour) == "#ecebf2"
    assert page.messages == []
    page.page.context.close()
