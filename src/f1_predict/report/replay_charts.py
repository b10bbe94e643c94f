"""The replay's chart as a Plotly figure, and what chart and picture share: colours, labels of cautions.

Drawn in light colours, which the page swaps as in the report. Knows nothing of HTML and computes nothing but places
on an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from f1_predict.report.charts import axis, figure, light, plain
from f1_predict.report.replay_data import COLOURED, EVENTS, Caution, Line, ReplayData

DRIVERS: tuple[tuple[str, str], ...] = (
    ("#7a2bd7", "#bd8cfe"),
    ("#0a6cc8", "#6db6fe"),
    ("#e0560b", "#ffa734"),
    ("#0a7444", "#52d991"),
    ("#c2187a", "#ff7cc4"),
    ("#0d8a99", "#54d6e4"),
    ("#8a6a00", "#e5c646"),
    ("#8f3324", "#ff9c86"),
)
"""(light, dark) by a line's colour; near those of the report's roles, and different from them, so that each can be
swapped. Told apart by the marks at stops and in hover too, not by colour alone."""
DASHES = ("solid", "solid", "solid", "solid", "dash", "dash", "dash", "dash")
CAUTION_COLOURS = {
    "red_flag": "#d6362e",
    "safety_car": "#e69f01",
    "virtual_safety_car": "#f0c14b",
    "slow_field": "#b9b4a4",
}
SHORT = {"red_flag": "red", "safety_car": "SC", "virtual_safety_car": "VSC", "slow_field": "slow"}
"""Above a band in the chart."""
FAINT = "#c8c6d1"
TITLES = {"p_win": "To win", "p_podium": "To reach the podium", "p_finish": "To be classified at the finish"}
TICKS = [0, 25, 50, 75, 100]
"""Per cent."""
_PANEL, _GAP, _HEAD, _FOOT = 300, 56, 34, 52
"""Pixels: a panel, between two, above the first, below the last."""


def dark_partners() -> dict[str, str]:
    """Light colour -> dark colour of what only this chart has."""
    return dict(DRIVERS) | {FAINT: "#4a4854"}


def labels(cautions: Sequence[Caution], laps: int) -> list[tuple[float, str]]:
    """(lap, text) above the bands; those of neighbours too close to stand apart become one."""
    groups: list[list[Caution]] = []
    for caution in cautions:
        if groups and caution.first - groups[-1][-1].last < 0.05 * laps:
            groups[-1].append(caution)
        else:
            groups.append([caution])
    return [
        ((group[0].first + group[-1].last - 1) / 2, ", ".join(dict.fromkeys(SHORT[one.kind] for one in group)))
        for group in groups
    ]


def lap_ticks(laps: int) -> list[int]:
    """Laps that are named on the axis: not so many that they would touch on a phone."""
    return list(range(0, laps + 1, 10 if laps > 25 else 5))


def lap_name(lap: int) -> str:
    """A lap on the axis."""
    return str(lap) if lap else "start"


def replay_figure(data: ReplayData) -> go.Figure:
    """The chances by lap, a panel an event, one above the other on the same laps."""
    count = len(data.lines)
    height = _HEAD + count * _PANEL + (count - 1) * _GAP + _FOOT
    inside = height - _HEAD - _FOOT
    traces: list[go.Scatter] = []
    layout: dict[str, Any] = {}
    for number, (event, lines) in enumerate(data.lines.items()):
        suffix = "" if number == 0 else str(number + 1)
        top = 1.0 - number * (_PANEL + _GAP) / inside
        layout[f"yaxis{suffix}"] = axis(
            range=[-3, 110],
            tickvals=TICKS,
            ticktext=[f"{value} %" for value in TICKS],
            domain=[max(top - _PANEL / inside, 0.0), top],
        )
        layout[f"xaxis{suffix}"] = axis(
            anchor=f"y{suffix}",
            range=[-0.01 * data.race.scheduled_laps - 0.5, data.race.scheduled_laps + 0.5],
            showgrid=False,
            tickvals=lap_ticks(data.race.scheduled_laps),
            ticktext=[lap_name(lap) for lap in lap_ticks(data.race.scheduled_laps)],
            **({"matches": "x"} if number else {}),
            **({"title": {"text": "lap of the leader", "standoff": 8}} if number == count - 1 else {}),
        )
        for line in lines:
            traces += _of_driver(data, event, line, suffix, in_legend=number == 0)
    return figure(
        traces,
        height,
        margin={"l": 8, "r": 12, "t": _HEAD, "b": _FOOT},
        hovermode="closest",
        hoverdistance=30,
        shapes=_bands(data),
        annotations=[*_titles(data, inside), *_band_labels(data)],
        **layout,
    )


def _of_driver(data: ReplayData, event: str, line: Line, suffix: str, *, in_legend: bool) -> list[go.Scatter]:
    """The line of a driver, his stops and where he retired."""
    name = plain(line.name)
    colour = FAINT if line.colour is None else DRIVERS[line.colour % COLOURED][0]
    axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "legendgroup": line.driver, "name": name}
    made = [
        go.Scatter(
            x=list(data.laps),
            y=[100 * value for value in line.values],
            mode="lines",
            line={
                "color": colour,
                "width": 1.1 if line.colour is None else 2.6,
                "dash": "solid" if line.colour is None else DASHES[line.colour % COLOURED],
                "shape": "linear",
            },
            hovertemplate=f"{name}, lap %{{x}}: %{{y:.1f}} % to {EVENTS[event]}<extra></extra>",
            **axes,
        )
    ]
    edge = {"color": light("surface"), "width": 1.2}
    if line.colour is not None and line.stops:
        made.append(
            go.Scatter(
                x=[lap for lap, _ in line.stops],
                y=[100 * value for _, value in line.stops],
                mode="markers",
                marker={"symbol": "triangle-down", "size": 11, "color": colour, "line": edge},
                hovertemplate=f"{name}: stop, known after lap %{{x}}<extra></extra>",
                **axes,
            )
        )
    if line.out is not None:
        made.append(
            go.Scatter(
                x=[line.out[0]],
                y=[100 * line.out[1]],
                mode="markers",
                marker={
                    "symbol": "x",
                    "size": 7 if line.colour is None else 10,
                    "color": light("muted") if line.colour is None else colour,
                    "line": edge,
                },
                hovertemplate=f"{name}: retired, last lap ended by lap %{{x}}<extra></extra>",
                **axes,
            )
        )
    return made


def _bands(data: ReplayData) -> list[dict[str, Any]]:
    """Laps that were no racing, behind all panels; a lap runs from the end of the one before to its own end."""
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "y domain" if number == 0 else f"y{number + 1} domain",
            "x0": caution.first - 1,
            "x1": caution.last,
            "y0": 0,
            "y1": 1,
            "fillcolor": CAUTION_COLOURS[caution.kind],
            "opacity": 0.22,
            "line": {"width": 0},
            "layer": "below",
        }
        for number in range(len(data.lines))
        for caution in data.cautions
    ]


def _band_labels(data: ReplayData) -> list[dict[str, Any]]:
    return [
        {
            "text": text,
            "x": lap,
            "xref": "x",
            "y": 1.0,
            "yref": "y domain",
            "yanchor": "top",
            "showarrow": False,
            "font": {"size": 10, "color": light("muted")},
        }
        for lap, text in labels(data.cautions, data.race.scheduled_laps)
    ]


def _titles(data: ReplayData, inside: int) -> list[dict[str, Any]]:
    return [
        {
            "text": f"<b>{TITLES[event]}</b>",
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 1.0 - number * (_PANEL + _GAP) / inside,
            "yref": "paper",
            "yanchor": "bottom",
            "yshift": 6,
            "showarrow": False,
            "font": {"size": 14},
        }
        for number, event in enumerate(data.lines)
    ]
