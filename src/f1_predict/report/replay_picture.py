"""The replay as a picture: the chances by lap, with stops, safety cars and retirements, as a PNG.

In the colours of the chart and the font of the speed traces, whatever matplotlib settings the user has. Knows
nothing of files.
"""

from __future__ import annotations

import io
import textwrap
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from f1_predict.forecasting import CAUTIONS
from f1_predict.report.charts import light
from f1_predict.report.replay_charts import (
    CAUTION_COLOURS,
    DASHES,
    DRIVERS,
    FAINT,
    TICKS,
    TITLES,
    labels,
    lap_name,
    lap_ticks,
)
from f1_predict.report.replay_data import COLOURED, Line, ReplayData, whole

_FONT = "DejaVu Sans"  # comes with matplotlib, so the picture does not depend on the fonts of the machine
_WIDTH, _PANEL, _DPI = 1600, 440, 100
"""Pixels: of the picture, of a panel; and how many make an inch."""
_HEAD, _GAP, _FOOT = 150, 70, 118
_LEFT, _RIGHT = 84, 344
_DASH = {"solid": "-", "dash": (0, (3, 1.3))}


def replay_png(data: ReplayData) -> bytes:
    """The picture as a PNG file, 1600 pixels wide; equal data gives equal bytes."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["font.family"] = [_FONT]
        figure = _figure(data)
        content = io.BytesIO()
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _figure(data: ReplayData) -> Figure:
    count = len(data.lines)
    height = _HEAD + count * _PANEL + (count - 1) * _GAP + _FOOT
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=light("surface"))
    FigureCanvasAgg(figure)
    figure.text(_LEFT / _WIDTH, 1 - 44 / height, data.title, fontsize=22, fontweight="bold", color=light("ink"))
    caption = "\n".join(textwrap.wrap(data.headline, 150)[:3])
    figure.text(
        _LEFT / _WIDTH, 1 - 62 / height, caption, fontsize=11.5, color=light("muted"), va="top", linespacing=1.4
    )
    for number, event in enumerate(data.lines):
        bottom = height - _HEAD - (number + 1) * _PANEL - number * _GAP
        place = (_LEFT / _WIDTH, bottom / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, _PANEL / height)
        axes = figure.add_axes(place)
        _panel(axes, data, event, last=number == count - 1)
    _legend(figure, data)
    return figure


def _panel(axes: Axes, data: ReplayData, event: str, *, last: bool) -> None:
    laps = data.race.scheduled_laps
    axes.set_facecolor(light("surface"))
    for caution in data.cautions:
        colour = CAUTION_COLOURS[caution.kind]
        axes.axvspan(caution.first - 1, caution.last, facecolor=colour, alpha=0.22, linewidth=0, zorder=0)
    for lap, text in labels(data.cautions, laps):
        axes.text(
            lap, 0.985, text, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=9,
            color=light("muted"),
        )  # fmt: skip
    for depth, line in enumerate(data.lines[event]):
        _draw(axes, data, line, 2 + 0.01 * depth)
    axes.set_title(TITLES[event], loc="left", fontsize=14, fontweight="bold", color=light("ink"), pad=9)
    axes.set_xlim(-0.5, laps + 0.5)
    axes.set_ylim(-3, 110)
    axes.set_xticks(lap_ticks(laps), [lap_name(lap) for lap in lap_ticks(laps)])
    axes.set_yticks(TICKS, [f"{value} %" for value in TICKS])
    axes.grid(axis="y", color=light("line"), linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=11, colors=light("muted"), pad=6)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(light("line"))
    if last:
        axes.set_xlabel("lap of the leader", fontsize=11.5, color=light("muted"), labelpad=8)
    _names(axes, data, event)


def _draw(axes: Axes, data: ReplayData, line: Line, depth: float) -> None:
    """The line of a driver, his stops and where he retired."""
    values = [100 * value for value in line.values]
    if line.colour is None:
        axes.plot(data.laps, values, color=FAINT, linewidth=1.1, zorder=depth)
        colour = light("muted")
    else:
        colour = DRIVERS[line.colour % COLOURED][0]
        style = _DASH[DASHES[line.colour % COLOURED]]
        axes.plot(data.laps, values, color=colour, linewidth=2.6, linestyle=style, zorder=depth, clip_on=False)
        axes.plot(
            [lap for lap, _ in line.stops], [100 * value for _, value in line.stops], linestyle="", marker="v",
            markersize=10, color=colour, markeredgecolor=light("surface"), markeredgewidth=1.2, zorder=depth + 1,
        )  # fmt: skip
    if line.out is not None:
        axes.plot(
            [line.out[0]], [100 * line.out[1]], linestyle="", marker="X", markersize=7 if line.colour is None else 11,
            color=colour, markeredgecolor=light("surface"), markeredgewidth=1.2, zorder=depth + 2, clip_on=False,
        )  # fmt: skip


def _names(axes: Axes, data: ReplayData, event: str) -> None:
    """The drivers in colour beside the panel: name, the first chance and the last."""
    inside = _WIDTH - _LEFT - _RIGHT
    sample, name, first, last = (1 + pixels / inside for pixels in (22, 66, 252, 320))
    look: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "fontsize": 10.5}
    begin = "start" if data.laps[0] == 0 else f"lap {data.laps[0]}"
    for place, text in ((first, begin), (last, f"lap {data.laps[-1]}")):
        axes.text(place, 0.955, text, ha="right", color=light("muted"), **look)
    lines = sorted((line for line in data.lines[event] if line.colour is not None), key=lambda line: line.colour or 0)
    for row, line in enumerate(lines, start=1):
        number = (line.colour or 0) % COLOURED
        y = 0.955 - 0.1 * row
        axes.plot(
            [sample, sample + 30 / inside], [y, y], transform=axes.transAxes, color=DRIVERS[number][0], linewidth=3,
            linestyle=_DASH[DASHES[number]], clip_on=False,
        )  # fmt: skip
        shown = line.name if len(line.name) <= 17 else f"{line.name[:16]}…"
        axes.text(name, y, shown, color=light("ink"), **look)
        for place, value in ((first, line.values[0]), (last, line.values[-1])):
            axes.text(place, y, whole(value), ha="right", color=light("ink"), **look)


def _legend(figure: Figure, data: ReplayData) -> None:
    """What the marks mean, and who made the forecasts."""
    height = figure.get_figheight() * _DPI
    grey: dict[str, Any] = {"color": light("muted"), "linestyle": "", "markeredgecolor": light("surface")}
    handles: list[Line2D | Patch] = [
        Line2D([], [], marker="v", markersize=10, label="stop", **grey),
        Line2D([], [], marker="X", markersize=10, label="retired", **grey),
        Line2D([], [], color=FAINT, linewidth=1.4, label="all others"),
    ]
    kinds = {caution.kind for caution in data.cautions}
    handles += [
        Patch(facecolor=CAUTION_COLOURS[kind], alpha=0.4, label=word)
        for kind, word in CAUTIONS.items()
        if kind in kinds
    ]
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(_LEFT / _WIDTH - 0.005, 22 / height), ncols=len(handles),
        frameon=False, fontsize=11, labelcolor=light("ink"), handletextpad=0.5, columnspacing=1.8,
    )  # fmt: skip
    made = f"{len(data.laps)} forecasts by {data.model}, each from what was known at that lap. f1-predict"
    figure.text(1 - 22 / _WIDTH, 16 / height, made, fontsize=9.5, color=light("muted"), ha="right")
