"""The report page: page data rendered into one HTML file that needs no network.

Puts figures, captions and numbers into the template; computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from f1_predict import __version__
from f1_predict.evaluation import ladder
from f1_predict.evaluation.ladder import moment
from f1_predict.evaluation.metrics import EVENTS
from f1_predict.evaluation.scorecard import SHOWN
from f1_predict.report import charts, page_text
from f1_predict.report.page_data import MULTIMODAL, PageData, RaceForecasts
from f1_predict.report.page_pictures import Examples
from f1_predict.report.score_tables import design_table, expert_table, verdicts
from f1_predict.report.templating import environment_of
from f1_predict.training.files import write_atomically

Panels = list[dict[str, Any]]
THOUSAND = 1000
"""Probabilities are embedded in thousandths, as whole numbers: three decimals in half the room."""


def render(page: PageData, shown: Examples | None) -> str:
    """The page as one HTML document.

    Args:
        page: its numbers.
        shown: best and worst races with pictures; None where there is nothing to hold the model against.
    """
    environment = page_environment()
    figures = figures_of(page)
    design = design_table(page.card)
    template = environment.get_template("report.html.j2")
    return template.render(
        page=page,
        examples=shown,
        version=__version__,
        headline=page_text.headline(page),
        losses=page_text.losses(page),
        criteria=[]
        if design is None
        else [line for line in verdicts(page.card) if not line.startswith(f"{page.main} against {page.rival}")],
        tables=[made for made in (design, expert_table(page.card)) if made is not None],
        rungs=ladder.RUNGS | ladder.ABLATIONS,
        names=charts.NAMES,
        metrics=SHOWN,
        events=EVENTS,
        models=ladder.ordered(list(page.card.models)),
        races_by_season=_by_season(page.races),
        figures=figures,
        palette=charts.PALETTE,
        font=charts.FONT,
        css=asset("report.css"),
        script=asset("figures.js") + asset("report.js"),
        plotly_js=get_plotlyjs(),
        data=embedded(
            {
                "figures": figures,
                "heat": heat_of(page),
                "dark": {colours[0]: colours[1] for colours in charts.PALETTE.values()},
            }
        ),
    )


def write_html(path: Path, page: PageData, shown: Examples | None) -> int:
    """Write the page in place of the old one, whole or not at all; returns its bytes.

    Raises:
        ArtefactError: if it cannot be written there.
    """
    content = render(page, shown).encode()
    write_atomically(path, content)
    return len(content)


def page_environment() -> jinja2.Environment:
    """As `environment_of` for the reports, with the filters that their templates use."""
    environment = environment_of("f1_predict.report")
    environment.filters |= {
        "moment": moment,
        "moments": page_text.moments,
        "percent": page_text.percent,
        "rich": rich,
        "bare": bare,
    }
    return environment


def asset(name: str) -> str:
    """The text of a file beside the templates."""
    return (resources.files("f1_predict.report") / "templates" / name).read_text(encoding="utf-8")


def embedded(value: object) -> str:
    """JSON that can stand in a script element, whatever the names in it."""
    text = json.dumps(_prepared(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def tie(text: str) -> str:
    """Text in which no line breaks between a number and its per cent sign."""
    return text.replace(" %", "\u00a0%")


def rich(text: str) -> Markup:
    """A caption as HTML: tied, with what is between backticks as code."""
    parts = tie(text).split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def bare(text: str) -> str:
    """A caption as an attribute: tied, without backticks."""
    return tie(text).replace("`", "")


def _prepared(value: Any) -> Any:
    """Texts tied, numbers of six digits; infinities and NaN, which JSON has not, become null: not drawn."""
    if isinstance(value, Mapping):
        return {key: _prepared(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_prepared(part) for part in value]
    if isinstance(value, str):
        return tie(value)
    if isinstance(value, float):
        return float(f"{value:.6g}") if isfinite(value) else None
    return value


def _by_season(races: Sequence[RaceForecasts]) -> dict[int, list[RaceForecasts]]:
    seasons: dict[int, list[RaceForecasts]] = {}
    for race in races:
        seasons.setdefault(race.season, []).append(race)
    return seasons


def figures_of(page: PageData) -> dict[str, dict[str, dict[str, Any]]]:
    """Figure -> choice of its selects (joined by "|") -> {"caption", "panels"}; a figure without data is left out."""
    found = {
        "ladder": _ladder(page),
        "skill": _skill(page),
        "reliability": _reliability(page),
        "seasons": _seasons(page),
    }
    return {name: choices for name, choices in found.items() if choices}


def plain_figure(figure: go.Figure) -> dict[str, Any]:
    """A figure as JSON holds it, without Plotly's own template."""
    plain: dict[str, Any] = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return plain


def _panel(title: str, figure: go.Figure | None, note: str = "") -> dict[str, Any]:
    return {"title": title, "figure": None if figure is None else plain_figure(figure), "note": note}


def _ladder(page: PageData) -> dict[str, dict[str, Any]]:
    made = {}
    for metric in SHOWN:
        span = charts.span_of(page.ladder, metric)
        panels: Panels = [
            _panel(moment(fraction), charts.ladder_dots(rows, metric, span, page))
            for fraction, rows in page.ladder.items()
        ]
        if any((page.main, page.rival, fraction, metric) in page.changes for fraction in page.ladder):
            title = f"Same races: {page.main} against {page.rival}"
            panels.append(_panel(title, charts.paired_dots(page, metric)))
        made[metric] = {"caption": page_text.ladder_caption(page, metric, charts.NAMES[metric]), "panels": panels}
    return made


def _skill(page: PageData) -> dict[str, dict[str, Any]]:
    """Those that count by default: models far below zero would press the others into one line."""
    names = [name for name in dict.fromkeys(item.model for item in page.skill) if name != "uniform"]
    counting = [name for name in names if name in (page.main, page.rival, *MULTIMODAL)]
    choices = {"counting": counting or names, "all": names}
    return {
        key: {"caption": page_text.skill_caption(page), "panels": [_panel("", charts.skill_lines(page, models))]}
        for key, models in choices.items()
        if models
    }


def _reliability(page: PageData) -> dict[str, dict[str, Any]]:
    made = {}
    for model, fraction in dict.fromkeys((model, fraction) for model, fraction, _ in page.reliability):
        panels: Panels = []
        for event in EVENTS:
            bins = page.reliability.get((model, fraction, event))
            if bins is None:
                panels.append(_panel(event, None, f"The file has no {event} probabilities of {page_text.code(model)}."))
            else:
                curve = charts.reliability_curve(bins, charts.role_of(model, page))
                panels.append(
                    _panel(
                        event,
                        curve,
                        page_text.reliability_note(event, bins, page.card.scores[model][fraction][f"ece_{event}"]),
                    )
                )
        caption = page_text.reliability_caption(page, model, fraction)
        made[f"{model}|{fraction:g}"] = {"caption": caption, "panels": panels}
    return made


def _seasons(page: PageData) -> dict[str, dict[str, Any]]:
    return {
        f"{seasons.fraction:g}": {
            "caption": page_text.seasons_caption(page, seasons),
            "panels": [_panel("", charts.season_lines(seasons, page))],
        }
        for seasons in page.seasons
        if seasons.scores
    }


def heat_of(page: PageData) -> dict[str, Any]:
    """The heat map without a race, and every race's numbers: probabilities in thousandths, drivers by row."""
    races: dict[str, Mapping[str, Any]] = {}
    for race in page.races:
        cuts = {
            f"{fraction:g}": {
                "p": [[round(THOUSAND * value) for value in row] for row in cut.probs],
                "rank": cut.rank,
                "expected": [round(value, 2) for value in cut.expected],
                "win": [round(THOUSAND * value) for value in cut.win],
                "podium": [round(THOUSAND * value) for value in cut.podium],
                "points": [round(THOUSAND * value) for value in cut.points],
                "caption": page_text.heat_caption(page, race, fraction),
            }
            for fraction, cut in race.cuts.items()
        }
        drivers = [page_text.person(driver) for driver in race.drivers]
        races[race.race_id] = {"name": race.name, "drivers": drivers, "places": race.positions, "cuts": cuts}
    return {"figure": plain_figure(charts.heat_map()), "races": races}
