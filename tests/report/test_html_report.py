"""The report page shows the scorecard's and the file's numbers, says losses as plainly as wins, and loads nothing."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image
from scipy.stats import binomtest

from f1_predict.cli import main
from f1_predict.errors import ConfigError, NotFoundError
from f1_predict.evaluation.bootstrap import Change
from f1_predict.evaluation.metrics import EVENTS
from f1_predict.evaluation.predictions import write_predictions
from f1_predict.evaluation.scorecard import SHOWN, PairedChange
from f1_predict.jobs.reporting import read_facts, summarised
from f1_predict.report import charts, page_text
from f1_predict.report.html_report import embedded, heat_of, render, rich
from f1_predict.report.page_data import PageData, rival_of
from f1_predict.report.page_pictures import examples
from tests.report.conftest import FRACTIONS, TO_COME, WITHOUT_LAPS, World
from tests.report.made_up import made_up


class Page(HTMLParser):
    """First table, embedded data, links and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: dict[tuple[str, float, str], str] = {}
        self.verdicts: dict[tuple[str, float], str] = {}
        self.links: list[str] = []
        self.images: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self._row: tuple[str, float] | None = None
        self._cell: tuple[str, float, str] | None = None
        self._inside = ""
        self.feed(text)
        self.data: dict[str, Any] = json.loads(self.scripts[1])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "tr" and "data-model" in given:
            self._row = (given["data-model"], float(given["data-fraction"]))
        if tag == "td" and self._row is not None:
            self._cell = (*self._row, given.get("data-metric") or given["class"].split()[0])
            self.cells[self._cell] = ""
        if tag == "script":
            self.scripts.append("")
        if tag == "img":
            self.images.append((given["src"], given["alt"]))
        self.links += [given[name] for name in ("href", "src") if name in given]
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self._row = None
        if tag == "td":
            self._cell = None
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._cell is not None:
            self.cells[self._cell] += data


@pytest.fixture(scope="module")
def page(world: World) -> Page:
    return Page(world.html.read_text())


def summed(world: World, models: Mapping[str, float | None], **options: Any) -> PageData:
    races = [race for race in world.archive.race_ids if race not in (WITHOUT_LAPS, TO_COME)]
    predictions = made_up(world.archive, races, options.pop("fractions", (0.5,)), models, options.pop("finish", True))
    return summarised(predictions, world.archive, {}, **options)


def with_change(page: PageData, improvement: float, low: float, high: float) -> PageData:
    """The page with one outcome of the main model against its rival, everywhere."""
    change = Change(baseline=2.0, candidate=2.0, improvement=improvement, low=low, high=high, races=5)
    changes = [
        replace(item, change=change) if (item.candidate, item.rival) == (page.main, page.rival) else item
        for item in page.card.changes
    ]
    rows = {
        fraction: tuple(replace(row, change=change) if row.model == page.main else row for row in rows)
        for fraction, rows in page.ladder.items()
    }
    return replace(page, card=replace(page.card, changes=changes), ladder=rows)


def test_the_first_table_has_the_scorecards_numbers(world: World, page: Page) -> None:
    card = world.page.card
    seen = 0
    for model in card.models:
        for fraction, scores in card.scores[model].items():
            for metric in SHOWN[:3]:
                assert page.cells[model, fraction, metric] == f"{scores[metric]:.3f}"
                seen += 1
    assert seen == sum(key[2] in SHOWN for key in page.cells) == 3 * (7 + 8 + 8)
    for item in card.changes:
        if item.rival == "ensemble_inrace" and item.metric == "log_loss":
            text = " ".join(page.cells[item.candidate, item.fraction, "change"].split())
            change = item.change
            assert text == f"{change.improvement:+.1f} % [{change.low:+.1f}, {change.high:+.1f}]"
            word = "better" if change.low > 0 else "worse" if change.high < 0 else "not told apart"
            assert page.cells[item.candidate, item.fraction, "verdict"] == word


def test_the_heat_map_has_the_files_probabilities_and_the_true_places(world: World, page: Page) -> None:
    races = page.data["heat"]["races"]
    assert list(races) == world.archive.race_ids
    for race_id, race in races.items():
        rows = world.predictions.filter(pl.col("race_id") == race_id, pl.col("model") == "best")
        assert sorted(map(float, race["cuts"])) == rows["fraction"].unique().sort().to_list()
        for fraction, cut in race["cuts"].items():
            mine = rows.filter(pl.col("fraction") == float(fraction)).sort("driver_id")
            names = [driver.replace("_", " ").title() for driver in mine["driver_id"]]
            assert race["drivers"] == names
            assert cut["rank"] == mine["predicted_rank"].to_list()
            for shown, true in zip(cut["p"], mine["position_probs"].to_list(), strict=True):
                assert shown == [round(1000 * value) for value in true]
            assert cut["podium"] == [round(1000 * value) for value in mine["p_podium"]]
        places = dict(world.archive.rows("results", race_id).select("driver_id", "position").iter_rows())
        drivers = sorted(world.archive.rows("entries", race_id)["driver_id"])
        assert race["places"] == (None if race_id == TO_COME else [places[driver] for driver in drivers])


def test_a_race_to_come_is_shown_without_rings_and_not_scored(world: World) -> None:
    assert world.page.card.skipped == (TO_COME,)
    assert any(TO_COME in note for note in world.page.notes)
    race = next(race for race in world.page.races if race.race_id == TO_COME)
    assert page_text.heat_caption(world.page, race, 0.0).endswith("The race has no complete result yet: no rings.")


def test_curves_are_the_scorecards(world: World, page: Page) -> None:
    for fraction in FRACTIONS:
        panels = page.data["figures"]["reliability"][f"best|{fraction:g}"]["panels"]
        for event, panel in zip(EVENTS, panels, strict=True):
            rows = world.page.card.reliability.filter(
                pl.col("model") == "best", pl.col("fraction") == fraction, pl.col("event") == event
            ).sort("bin")
            curve = panel["figure"]["data"][1]
            assert curve["x"] == pytest.approx((100 * rows["mean_probability"]).to_list(), rel=1e-5)
            assert curve["y"] == pytest.approx((100 * rows["frequency"]).to_list(), rel=1e-5)
            assert curve["customdata"] == rows["rows"].to_list()
            assert (
                f"off by {100 * world.page.card.scores['best'][fraction][f'ece_{event}']:.1f} points" in panel["note"]
            )


def test_dots_skill_and_seasons_are_the_scorecards(world: World, page: Page) -> None:
    card = world.page.card
    for metric in SHOWN:
        for fraction, panel in zip(FRACTIONS, page.data["figures"]["ladder"][metric]["panels"], strict=False):
            dots = panel["figure"]["data"][-1]
            assert dots["x"] == pytest.approx([card.scores[model][fraction][metric] for model in dots["y"]], rel=1e-5)
            ends = [card.intervals[model][fraction][metric] for model in dots["y"]]
            assert [tuple(pair) for pair in dots["customdata"]] == [pytest.approx(end, rel=1e-5) for end in ends]
    lines = {line["name"]: line for line in page.data["figures"]["skill"]["all"]["panels"][0]["figure"]["data"]}
    assert "uniform" not in lines
    wanted = [
        world.page.changes["best", "grid" if fraction == 0 else "current_order", fraction, "log_loss"].improvement
        for fraction in FRACTIONS
    ]
    assert lines["best"]["y"] == pytest.approx(wanted, rel=1e-5)
    seasons = page.data["figures"]["seasons"]["0.5"]["panels"][0]["figure"]["data"]
    best = next(line for line in seasons if line["name"] == "best")
    rows = card.by_season.filter(pl.col("model") == "best", pl.col("fraction") == 0.5).sort("season")
    assert best["x"] == rows["season"].to_list()
    assert best["y"] == pytest.approx(rows["log_loss"].to_list(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "words", "loss"),
    [
        ((1.2, 0.3, 2.0), "it beats it before the race (+1.2 % [+0.3, +2.0])", "`best` nowhere loses for certain."),
        (
            (-1.2, -2.0, -0.3),
            "it loses to it before the race (-1.2 % [-2.0, -0.3])",
            "`best` loses to `ensemble_inrace` before the race and after 25% and 50% of the race.",
        ),
        (
            (-0.4, -2.0, 0.3),
            "it cannot be told from it before the race (-0.4 % [-2.0, +0.3])",
            "`best` nowhere loses for certain, and is behind by less than the races can tell before the race and "
            "after 25% and 50% of the race.",
        ),
    ],
)
def test_wins_and_losses_are_said_alike(
    world: World, change: tuple[float, float, float], words: str, loss: str
) -> None:
    changed = with_change(world.page, *change)
    assert page_text.headline(changed).startswith(
        f"`best` against `ensemble_inrace`, log-loss better by, with 95 % intervals: {words}"
    )
    assert page_text.losses(changed).startswith(loss)
    text = render(changed, None)
    head = text[: text.index("<table>")]
    assert page_text.losses(changed).split("`")[2].strip() in re.sub(r"<[^>]+>", "", head)


def test_foreign_models_without_a_ladder_are_reported_too(world: World) -> None:
    made = summed(world, {"theirs": 0.3, "ours": 0.6}, finish=False)
    assert (made.main, made.rival) == ("theirs", "ours")
    assert summed(world, {"theirs": 0.3, "ours": 0.6}, against="theirs").main == "ours"
    text = render(made, None)
    shown = Page(text)
    assert shown.cells["theirs", 0.5, "verdict"] in ("better", "worse", "not told apart")
    assert "Not drawn: no model was compared with the running order or the grid" in text
    assert "There is no multi-modal model here" in text
    finish = shown.data["figures"]["reliability"]["theirs|0.5"]["panels"][3]
    assert finish["figure"] is None
    assert finish["note"] == "The file has no finish probabilities of `theirs`."
    assert shown.data["figures"]["reliability"]["theirs|0.5"]["panels"][0]["figure"] is not None
    assert "Not shown: there is no other model" in text


def test_one_model_alone_has_no_rival(world: World) -> None:
    made = summed(world, {"ours": 0.6})
    assert made.rival is None
    text = render(made, None)
    assert "<code>ours</code> is the only model in the file" in text
    assert Page(text).cells["ours", 0.5, "change"] == "not compared"


def test_the_rival_is_the_strongest_there_is() -> None:
    assert rival_of(["best", "grid", "ensemble_inrace", "current_order"]) == "ensemble_inrace"
    assert rival_of(["best", "grid", "current_order"]) == "current_order"
    assert rival_of(["best", "grid"]) == "grid"
    assert rival_of(["best", "network_fusion"]) == "network_fusion"
    assert rival_of(["best", "zeta", "alpha"]) == "alpha"
    assert rival_of(["best", "grid"], "best") == "best"
    with pytest.raises(NotFoundError, match=r"no model 'gird'\. Did you mean grid"):
        rival_of(["best", "grid"], "gird")


def test_best_and_worst_are_those_of_the_greatest_difference(world: World, page: Page) -> None:
    shown = world.shown
    assert shown is not None
    races = world.page.card.by_race.filter(pl.col("fraction") == 0.5)
    losses = {(race, model): loss for race, model, loss in races.select("race_id", "model", "log_loss").iter_rows()}
    gains = {race: losses[race, "ensemble_inrace"] - losses[race, "best"] for race, _ in losses}
    order = sorted(gains, key=lambda race: -gains[race])
    found = [example.race.race_id for example in shown.best]
    assert found == [race for race in order if gains[race] > 0][:3]
    assert [e.race.race_id for e in shown.worst] == [race for race in reversed(order) if gains[race] < 0][:3]
    assert WITHOUT_LAPS not in order
    pictures = [picture for example in (*shown.best, *shown.worst) for picture in example.pictures]
    assert len(pictures) == len(page.images) == 2 * (len(found) + len(shown.worst))
    for picture in pictures:
        assert picture.png is not None
        assert len(picture.png) < 200_000
        with Image.open(io.BytesIO(picture.png)) as image:
            assert image.size == (800, 600)
    assert all(source.startswith("data:image/png;base64,") and alt for source, alt in page.images)
    first = shown.best[0]
    rows = world.predictions.filter(
        pl.col("race_id") == first.race.race_id, pl.col("model") == "best", pl.col("fraction") == 0.5
    )
    driver = first.pictures[0].driver.replace(" ", "_").lower()
    place = first.race.positions[first.race.drivers.index(driver)]
    given = rows.filter(pl.col("driver_id") == driver)["position_probs"][0][place - 1]
    assert first.pictures[0].text.startswith(f"finished {place}; `best` gave that place {100 * given:.0f} %")


def test_races_without_laps_have_a_note_for_pictures(world: World) -> None:
    first = world.archive.race_ids[0]
    tables = replace(world.archive.tables, laps=world.archive.tables.laps.clear())
    archive = type(world.archive)(tables)
    predictions = world.predictions.filter(pl.col("fraction") == 0.0, pl.col("race_id") == first)
    shown = examples(summarised(predictions, archive, {}), predictions, archive)
    assert shown is not None
    example = (*shown.best, *shown.worst)[0]
    assert example.note == "No pictures: there is no lap of this race before the cut."
    assert example.pictures == ()


def test_nothing_is_loaded_and_names_cannot_break_out(world: World) -> None:
    evil = '</script><img src="http://x.test/a.png">'
    predictions = made_up(world.archive, world.archive.race_ids[:1], (0.0, 0.5), {evil: 0.5, "grid": 0.0})
    text = render(summarised(predictions, world.archive, {evil: evil}, title=evil), None)
    assert evil not in text
    parsed = Page(text)
    assert not [link for link in parsed.links if not link.startswith(("#", "data:"))]
    names = parsed.data["figures"]["ladder"]["log_loss"]["panels"][0]["figure"]["data"][-1]["y"]
    assert charts.plain(evil) in names
    assert "default-src 'none'" in text


def test_links_of_the_page_stay_in_it(page: Page) -> None:
    assert {link for link in page.links if not link.startswith("data:")} >= {"#table", "#methods"}
    assert all(link.startswith(("#", "data:")) for link in page.links)


def test_numbers_that_json_has_not_become_null() -> None:
    assert (
        embedded({"a": [math.inf, math.nan, 1.0], "b": "1 %</x>"})
        == '{"a":[null,null,1.0],"b":"1\u00a0%\\u003c/x\\u003e"}'
    )
    assert rich("<b> `a<b` 5 %") == "&lt;b&gt; <code>a&lt;b</code> 5\u00a0%"


@pytest.mark.parametrize(("happened", "rows"), [(0, 16), (3, 16), (16, 16), (120, 266)])
def test_wilson_intervals_are_scipys(happened: int, rows: int) -> None:
    wanted = binomtest(happened, rows).proportion_ci(method="wilson")
    assert charts.wilson(happened / rows, rows) == pytest.approx((wanted.low, wanted.high), abs=1e-4)


def test_the_palette_can_be_swapped() -> None:
    lights = [light for light, _ in charts.PALETTE.values()]
    assert len(set(lights)) == len(lights)
    assert not set(lights) & {dark for _, dark in charts.PALETTE.values()}


def test_changes_that_are_not_finite_are_said(world: World) -> None:
    change = Change(baseline=0.0, candidate=1.0, improvement=-math.inf, low=-math.inf, high=-math.inf, races=5)
    assert page_text.with_interval(change) == "undefined [undefined, undefined]"
    changes = [*world.page.card.changes, PairedChange("best", "ensemble_inrace", 0.5, "log_loss", change)]
    broken = replace(world.page, card=replace(world.page.card, changes=changes))
    assert Page(render(broken, None)).data["heat"] == json.loads(embedded(heat_of(world.page)))


def test_the_command_writes_the_page_whole(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text('{"weights": "trace 1f2e"}')
    out, file = tmp_path / "pages" / "report.html", tmp_path / "one.parquet"
    write_predictions(file, world.predictions.filter(pl.col("race_id") == "2101_race_1"))
    arguments = ["report", str(file), "--data", str(world.data), "--out", str(out), "--race", "2101_race_1"]
    assert main([*arguments, "--title", "Ours & theirs", "--facts", str(facts)]) == 0
    assert "Report on 1 races by 8 models, about best against ensemble_inrace" in " ".join(
        capsys.readouterr().out.split()
    )
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    text = out.read_text()
    assert "<title>Ours &amp; theirs</title>" in text
    assert '<option value="2101_race_1" selected>' in text
    for fact in ("trace 1f2e", "simulated races of 2101-2102, 6 races", "2,000 draws of whole races, seed 0"):
        assert fact in text
    assert main([*arguments[:-1], "2101_race_9"]) == 1
    assert "no race '2101_race_9'. Did you mean 2101_race_" in capsys.readouterr().err
    assert out.read_text() == text


def test_facts_must_be_texts(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text('{"weights": 3}')
    with pytest.raises(ConfigError, match="must be a JSON object of texts"):
        read_facts(file)
    file.write_text("weights")
    with pytest.raises(ConfigError, match="is no JSON"):
        read_facts(file)
