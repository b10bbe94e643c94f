"""The page in a real browser: its numbers are those of `predict --json`, it plays, explains, and never complains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from f1_predict.cli import main
from f1_predict.report.forecast_view import percent
from tests.browsing import NARROW, PATIENCE_MS, WIDE, Opened, needs_browser
from tests.forecasting.conftest import CARS, LAPS, RACE, World
from tests.serve.conftest import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_browser

SETTLED_MS = 220
"""After which the page takes it that the reader stays at a lap."""


def opened(browser: Browser, served: Running, width: int, where: str = "", scheme: str = "light") -> Opened:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce" if width == NARROW else "no-preference",
    )
    context.set_default_timeout(PATIENCE_MS)
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.messages.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(f"{served.url}/{where}")
    at(found)
    return found


def at(page: Opened, race: str = "", lap: int | None = None) -> None:
    """Wait until the page shows a race and a lap, and rests there."""
    place = f'^="{race}/{"" if lap is None else f"{lap}/"}"' if race else ""
    page.page.wait_for_selector(f"body[data-settled{place}]:not(.waiting)")


@pytest.fixture(scope="module", params=[WIDE, NARROW])
def page(browser: Browser, served: Running, request: pytest.FixtureRequest) -> Iterator[Opened]:
    found = opened(browser, served, request.param)
    yield found
    assert found.messages == []
    assert all(url.startswith((served.url, "data:")) for url in found.requests)
    found.page.context.close()


def predicted(world: World, race: str, lap: int, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, float]]:
    """The field by driver, as the command writes it."""
    assert main(["predict", race, "--lap", str(lap), "--json", "-", *world.arguments()]) == 0
    return {row["driver_id"]: row for row in json.loads(capsys.readouterr().out)["field"]}


def test_a_race_is_picked_dragged_through_and_played(
    page: Opened, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    at(page, RACE, LAPS // 2)  # it opens with the last race, in the middle
    page.choose("race", "2101_race_2")
    at(page, "2101_race_2", LAPS // 2)
    slider = page.page.locator("#lap")
    box = slider.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] * 0.62, middle, steps=4)
    page.page.mouse.up()
    at(page, "2101_race_2", 5)
    assert page.text("#lap-text").startswith("Lap 5 of ")
    field = predicted(world, "2101_race_2", 5, capsys)
    for event in ("p_win", "p_finish"):
        assert shown_chances(page, event) == {
            driver: (percent(row[event]), row[event]) for driver, row in field.items()
        }
    page.page.wait_for_selector("body:not([data-streaming])")
    page.choose("speed", "8")
    page.page.click("#play")
    assert page.text("#play") == "Pause"
    at(page, "2101_race_2", LAPS)  # it stops by itself
    assert page.text("#play") == "Play"
    last = predicted(world, "2101_race_2", LAPS, capsys)
    assert {driver: value for driver, (_, value) in shown_chances(page).items()} == {
        driver: row["p_win"] for driver, row in last.items()
    }
    lines = page.page.locator("#chart-lines .line").evaluate_all("paths => paths.map(one => one.getAttribute('d'))")
    assert len(lines) == CARS
    assert all(line.count("L") == LAPS for line in lines)


def shown_chances(page: Opened, event: str = "p_win") -> dict[str, tuple[str, float]]:
    """What the table says of winning, or of another event: the text and the number behind it, by driver."""
    cells: list[tuple[str, str, str]] = page.page.locator("#field tbody tr").evaluate_all(
        f"rows => rows.map(row => {{ const cell = row.querySelector('[data-column={event}] .number');"
        " return [row.dataset.driver, cell.textContent, cell.dataset.value]; })"
    )
    return {driver: (text, float(value)) for driver, text, value in cells}


def test_the_field_is_sorted_and_says_how(page: Opened) -> None:
    chances = [value for _, value in shown_chances(page).values()]
    page.page.click('#field th[data-column="p_win"] button')
    ordered = [value for _, value in shown_chances(page).values()]
    assert ordered == sorted(chances, reverse=True)
    assert page.page.get_attribute('#field th[data-column="p_win"]', "aria-sort") == "descending"
    page.page.click('#field th[data-column="rank"] button')
    assert page.page.locator("#field th[aria-sort]").count() == 1
    ranks = page.page.locator("#field tbody .k-rank").all_inner_texts()
    assert [int(rank.split("▲")[0].split("▼")[0]) for rank in ranks] == list(range(1, CARS + 1))


def test_an_explanation_is_opened(page: Opened, served: Running) -> None:
    page.page.evaluate("location.hash = '#race=2101_race_3&lap=4&driver=driver_003'")
    at(page, RACE, 4)
    assert page.page.input_value("#driver") == "driver_003"
    page.page.click("#explain")
    page.page.wait_for_selector("#explanation .features tbody tr")
    told = served.get(f"/api/races/{RACE}/explanation?driver=driver_003&lap=4").json()
    assert page.page.locator("#explanation .features tbody th").all_inner_texts() == [
        one["label"] for one in told["features"][:8]
    ]
    assert page.page.locator("#explanation .lap-bars rect").count() == len(told["laps"]) > 0
    assert f"expected place {told['value']:.1f}" in page.text("#explanation .said")
    assert "heat=true" in (page.page.get_attribute("#picture", "src") or "")
    page.page.wait_for_selector("#picture")
    assert page.page.evaluate("document.getElementById('picture').decode().then(() => true)")
    page.page.keyboard.press("Escape")


def test_a_chance_is_explained_too_and_arrows_scroll_what_has_the_focus(page: Opened, served: Running) -> None:
    page.page.evaluate("location.hash = '#race=2101_race_3&lap=4&driver=driver_003'")
    page.page.wait_for_selector(f'body[data-settled="{RACE}/4/driver_003"]')
    page.choose("explain-of", "p_finish")
    page.page.click("#explain")
    page.page.wait_for_selector("#explanation .features tbody tr")
    told = served.get(f"/api/races/{RACE}/explanation?driver=driver_003&lap=4&of=p_finish").json()
    assert told["target"] == "p_finish"
    assert f"chance of being classified {percent(told['value'])}" in page.text("#explanation .said")
    assert "of=p_finish" in (page.page.get_attribute("#picture", "src") or "")
    page.page.focus("#explanation .scroll")
    page.page.keyboard.press("ArrowRight")
    assert page.text("#lap-text").startswith("Lap 4 of ")
    assert page.page.locator("#explanation .features").count() == 1
    page.choose("explain-of", "expected_position")


def test_what_is_known_and_how_reliable_it_was(page: Opened, served: Running) -> None:
    told = served.get(f"/api/races/{RACE}/moment?lap=4").json()
    assert page.page.locator("#known .yes li").all_inner_texts() == told["known"]
    assert page.page.locator("#known .no li").all_inner_texts() == told["to_come"]
    record = served.get("/api/reliability").json()
    model = next(one for one in record["models"] if one["name"] == record["shown"])
    moment = min(model["moments"], key=lambda one: abs(one["fraction"] - 4 / served_laps(served)))
    assert page.page.locator("#reliability circle").count() == len(moment["events"]["win"])
    assert f"Off by {moment['scores']['mae']['value']:.2f} places" in page.text("#reliability")
    page.choose("reliability-event", "podium")
    assert page.page.locator("#reliability circle").count() == len(moment["events"]["podium"])


def served_laps(served: Running) -> int:
    return int(served.get(f"/api/races/{RACE}/field").json()["race"]["scheduled_laps"])


def test_it_fits_the_screen_and_is_read_aloud(page: Opened) -> None:
    assert page.overflow() <= 0
    page.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.page.wait_for_selector("#numbers-table tbody tr")
    assert page.overflow() <= 0
    assert page.page.locator("h1").count() == 1
    unnamed = page.page.evaluate(
        "[...document.querySelectorAll('button, select, input, summary, [role=img], img:not([hidden])')].filter(one =>"
        " !(one.labels && one.labels.length) && !one.getAttribute('aria-label') && !one.alt"
        " && !one.textContent.trim()).map(one => one.outerHTML)"
    )
    assert unnamed == []
    assert page.page.get_attribute("#lap", "aria-valuetext", strict=True) is not None
    assert page.text("#status").startswith("after lap 4 of ")
    assert "To win: " in page.text("#status")


@pytest.mark.parametrize("width", [1280, 1240, 1180, 1100, 1021, 800, 390, 375, 360, 320])
def test_the_field_fits_its_card_at_any_width(browser: Browser, served: Running, width: int) -> None:
    """With the longest name and the widest numbers that a field can have; what counts most stays to be seen."""
    page = opened(browser, served, width)
    page.page.evaluate(
        "document.querySelectorAll('#field .name').forEach(one => { one.textContent = 'Brendon Hartley'; });"
        "document.querySelectorAll('#field .number').forEach(one => { one.textContent = '>99.9%'; });"
        "document.querySelectorAll('#field .k-range:not(th)').forEach(one => { one.textContent = '11–20'; })"
    )
    room, taken = page.page.evaluate(
        "[document.querySelector('.field-box').clientWidth, document.getElementById('field').scrollWidth]"
    )
    assert taken <= room
    assert page.overflow() <= 0
    for column in ("p_win", "p_finish", "expected"):
        assert page.page.locator(f'#field th[data-column="{column}"]').is_visible(), column
    assert page.page.locator('#field th[data-column="range"]').is_visible() == (width in (1280, 1240, 800))
    page.page.context.close()


def test_the_keyboard_is_enough(page: Opened) -> None:
    page.page.focus("#play")
    page.page.keyboard.press("ArrowRight")
    at(page, RACE, 5)
    page.page.keyboard.press("ArrowLeft")
    at(page, RACE, 4)
    page.page.focus("#lap")
    page.page.keyboard.press("ArrowRight")
    at(page, RACE, 5)
    page.page.keyboard.press("Home")
    at(page, RACE, 0)
    assert page.text("#lap-text") == "Before the race"
    page.page.evaluate("document.activeElement.blur()")
    page.page.keyboard.press("ArrowRight")
    at(page, RACE, 1)
    page.page.keyboard.press("Space")
    assert page.text("#play") == "Pause"
    page.page.keyboard.press("Space")
    assert page.text("#play") == "Play"
    page.page.locator("#field .name").nth(2).focus()
    page.page.keyboard.press("Enter")
    driver = page.page.locator("#field tbody tr").nth(2).get_attribute("data-driver")
    assert page.page.input_value("#driver") == driver
    assert page.page.locator('#field .name[aria-pressed="true"]').count() == 1


def test_dark_is_the_systems_choice_or_the_readers(browser: Browser, served: Running) -> None:
    page = opened(browser, served, WIDE, scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.page.evaluate(colour) == "rgb(18, 17, 22)"
    assert page.page.get_attribute("#theme", "aria-pressed") == "true"
    page.page.click("#theme")
    assert page.page.evaluate(colour) == "rgb(246, 245, 248)"
    page.page.reload()
    at(page)
    assert page.page.evaluate(colour) == "rgb(246, 245, 248)"  # the reader's choice stays
    assert page.messages == []
    page.page.context.close()


def test_a_problem_is_said_on_the_page(browser: Browser, served: Running) -> None:
    page = opened(browser, served, WIDE, "#race=nowhere&lap=abc")
    assert page.text("#title").endswith(str(served.get(f"/api/races/{RACE}/field").json()["race"]["name"]))
    page.page.route("**/forecast?lap=*", lambda route: route.abort())
    page.page.route("**/replay", lambda route: route.abort())
    page.choose("race", "2101_race_1")
    page.page.wait_for_selector("#problem:not([hidden])")
    assert page.text("#problem")
    # nothing of the race before stands under this one's name, and nothing can be asked of it
    assert (
        page.text("#headline") == page.text("#field-moment") == page.text("#driver-facts") == page.text("#known") == ""
    )
    assert page.page.locator("#field tr, #legend li, #chart-lines .line").count() == 0
    assert page.page.is_disabled("#explain")
    page.page.locator("#event input").nth(1).check(force=True)
    page.page.keyboard.press("ArrowRight")
    assert page.messages == [one for one in page.messages if "ERR_FAILED" in one]
    page.page.context.close()


def test_a_race_left_before_the_page_came_to_rest_leaves_nothing_behind(browser: Browser, served: Running) -> None:
    """What waits until the reader stays at a lap must not meet a race of which nothing is known yet."""
    page = opened(browser, served, WIDE, f"#race={RACE}&lap=3")
    page.page.wait_for_selector("body:not([data-streaming])")
    page.page.route("**/events", lambda route: None)  # nothing is known of the next race, for as long as it takes
    page.page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));"
        "location.hash = '#race=2101_race_1&lap=2'"
    )
    page.page.wait_for_selector("body.waiting:not([data-race])")
    page.page.wait_for_timeout(2 * SETTLED_MS)
    assert page.page.get_attribute("body", "data-settled") is None
    assert page.page.evaluate("location.hash") == "#race=2101_race_1&lap=2"
    assert page.text("#status") == page.text("#picture-text") == ""
    assert page.messages == []
    page.page.context.close()


def test_the_description_of_the_api_loads_nothing_else(browser: Browser, served: Running) -> None:
    page = opened(browser, served, NARROW)
    page.requests.clear()
    page.page.goto(f"{served.url}/docs")
    assert page.text("h1") == "The API"
    assert "/api/races/{race}/forecast" in page.text("main")
    assert page.overflow() <= 0
    assert all(url.startswith(served.url) for url in page.requests)
    assert page.messages == []
    page.page.context.close()
