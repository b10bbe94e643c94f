"""The replay's page: its chart, legend and numbers in one HTML file that needs no network.

Puts what it is given into the template; computes nothing.
"""

from __future__ import annotations

from plotly.offline import get_plotlyjs

from f1_predict import __version__
from f1_predict.forecasting import CAUTIONS
from f1_predict.report.charts import FONT, PALETTE, light
from f1_predict.report.html_report import asset, embedded, page_environment, plain_figure
from f1_predict.report.replay_charts import (
    CAUTION_COLOURS,
    DASHES,
    DRIVERS,
    FAINT,
    TITLES,
    dark_partners,
    replay_figure,
)
from f1_predict.report.replay_data import Line, ReplayData

COLUMNS = 12
"""Laps in a table, about so many and the last one."""


def replay_html(data: ReplayData) -> str:
    """The page as one HTML document."""
    dark = {colours[0]: colours[1] for colours in PALETTE.values()} | dark_partners()
    kinds = {caution.kind for caution in data.cautions}
    names = sorted((line.driver, line.name) for line in next(iter(data.lines.values())))
    return (
        page_environment()
        .get_template("replay.html.j2")
        .render(
            replay=data,
            version=__version__,
            titles=[TITLES[event] for event in data.lines],
            tables=[_table(data, event) for event in data.lines],
            names=names,
            kinds=[(kind, word) for kind, word in CAUTIONS.items() if kind in kinds],
            bands=CAUTION_COLOURS,
            palette=PALETTE,
            drivers=DRIVERS,
            dashes=DASHES,
            font=FONT,
            css=asset("report.css") + asset("replay.css"),
            script=asset("figures.js") + asset("replay.js"),
            plotly_js=get_plotlyjs(),
            chart=embedded(
                {
                    "figure": plain_figure(replay_figure(data)),
                    "dark": dark,
                    "faint": FAINT,
                    "ink": light("ink"),
                }
            ),
        )
    )


def _table(data: ReplayData, event: str) -> tuple[str, list[Line], list[int], list[int]]:
    """Title, lines in the order of their last values, laps, and the numbers of these laps."""
    step = -(-len(data.laps) // COLUMNS)
    columns = [*range(0, len(data.laps) - 1, step), len(data.laps) - 1]
    lines = sorted(data.lines[event], key=lambda line: (-line.values[-1], line.driver))
    return TITLES[event], lines, [data.laps[column] for column in columns], columns
