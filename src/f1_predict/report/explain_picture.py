"""An explanation as a picture: heat map over the driver's picture, laps below it, shares and features beside it.

In the report's colours and the font of the pictures, whatever matplotlib settings the user has. Knows nothing of files.
"""

from __future__ import annotations

import io
import textwrap

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from f1_predict.explain import Explanation, heated
from f1_predict.report import explain_words as words
from f1_predict.report.charts import light

FEATURES = 14
"""Features shown: the most telling."""
_FONT = "DejaVu Sans"  # comes with matplotlib, so the picture does not depend on the fonts of the machine
_DPI, _WIDTH, _HEIGHT = 100, 1600, 1040
"""Pixels an inch, and of the page; below: of its parts, from the top left corner."""
_PICTURE = (92, 146, 640, 640)
_LAPS = (92, 858, 640, 124)
_SCALE = (744, 146, 14, 640)
_SHARES = (1090, 170, 476, 84)
_FEATURES = (1090, 334, 476, 648)
_NAMES = 836
"""Where the names of shares and features begin, at the longest."""
_WRAP = 180


def explanation_png(explanation: Explanation) -> bytes:
    """The picture as a PNG file, 1600 pixels wide; equal explanations give equal bytes."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["font.family"] = [_FONT]
        figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI, facecolor=light("surface"))
        FigureCanvasAgg(figure)
        _head(figure, explanation)
        _picture(figure, explanation)
        _shares(_axes(figure, _SHARES), explanation)
        _features(_axes(figure, _FEATURES), explanation)
        content = io.BytesIO()
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _axes(figure: Figure, box: tuple[int, int, int, int]) -> Axes:
    """Axes in a box of pixels (left, top, width, height), without a frame."""
    left, top, width, height = box
    place = (left / _WIDTH, 1.0 - (top + height) / _HEIGHT, width / _WIDTH, height / _HEIGHT)
    axes = figure.add_axes(place)
    axes.tick_params(length=0, labelsize=11, colors=light("muted"))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _head(figure: Figure, explanation: Explanation) -> None:
    left = 36 / _WIDTH
    figure.text(left, 1 - 46 / _HEIGHT, words.title(explanation), fontsize=20, fontweight="bold", color=light("ink"))
    lines = textwrap.wrap(" ".join([words.headline(explanation), *words.remarks(explanation)]), _WRAP)
    figure.text(
        left, 1 - 62 / _HEIGHT, "\n".join(lines[:3]), fontsize=11.5, color=light("muted"), va="top", linespacing=1.4
    )
    made = f'What moved the network "{explanation.model}", not what moved the race. f1-predict'
    figure.text(1 - 22 / _WIDTH, 16 / _HEIGHT, made, fontsize=9.5, color=light("muted"), ha="right")


def _picture(figure: Figure, explanation: Explanation) -> None:
    """The driver's picture under its heat map, its axes, the scale of the heat, and the laps below."""
    axes = _axes(figure, _PICTURE)
    layout = explanation.layout
    if explanation.picture is None or layout is None:
        axes.set(xticks=[], yticks=[], facecolor=light("ground"))
        axes.text(0.5, 0.5, "no picture", transform=axes.transAxes, ha="center", fontsize=14, color=light("muted"))
        return
    height, width = explanation.picture.shape[:2]
    axes.imshow(explanation.overlay(), extent=(0, width, height, 0), interpolation="antialiased", aspect="auto")
    axes.set_yticks([])
    axes.set_xticks([float(layout.x(np.array(share))) for share, _ in layout.x_ticks], [t for _, t in layout.x_ticks])
    for panel in layout.panels.values():
        for value, text in panel.ticks:
            axes.text(-6, float(panel.y(np.array(value))), text, ha="right", va="center", fontsize=8.5,
                      color=light("muted"))  # fmt: skip
        axes.text(-44, panel.top + panel.height / 2, panel.label, rotation=90, ha="center", va="center", fontsize=10,
                  color=light("muted"))  # fmt: skip
    axes.set_title("Where the network looked", loc="left", fontsize=14, fontweight="bold", color=light("ink"), pad=8)
    axes.set_xlabel(layout.x_label, fontsize=11, color=light("muted"))
    scale = _axes(figure, _SCALE)
    column = np.linspace(1.0, 0.0, 256, dtype=np.float32)[:, None]
    scale.imshow(heated(np.full((256, 1, 3), explanation.picture[-1, -1], np.uint8), column), aspect="auto")
    scale.set(xticks=[])
    scale.yaxis.tick_right()
    scale.set_yticks([6, 249], ["most", "little"])
    if explanation.laps.height:
        _laps(_axes(figure, _LAPS), explanation, width)


def _laps(axes: Axes, explanation: Explanation, width: int) -> None:
    """What each lap adds, below its place in the picture; the last one, cut off where it must be, in its own words."""
    laps = explanation.laps
    change = laps["change"].to_numpy() * (1.0 if words.in_places(explanation) else 100.0)
    left, right = laps["left"].to_numpy(), laps["right"].to_numpy()
    most = float(np.abs(change[:-1]).max(initial=0.0)) or float(np.abs(change).max()) or 1.0
    colours = [light("better" if words.better(explanation, value) else "worse") for value in change]
    axes.bar(left, np.clip(change, -1.15 * most, 1.15 * most), right - left - 0.6, align="edge", color=colours)
    axes.axhline(0.0, color=light("muted"), linewidth=0.8)
    axes.set_xlim(0, width)
    axes.set_ylim(-1.2 * most, 1.2 * most)
    axes.set_xticks([])
    axes.set_yticks([-most, 0.0, most], [f"−{most:.2g}", "0", f"+{most:.2g}"])
    axes.set_title(
        f"What each lap adds ({words.unit(explanation)})", loc="left", fontsize=11, color=light("ink"), pad=6
    )
    now = words.changed(explanation, float(laps["change"][-1]))
    axes.text(
        float(right[-1]) + 6, 0.02, f"lap {laps['lap'][-1]}, with the mark of where\nthe driver is now: {now}",
        transform=axes.get_xaxis_transform(), fontsize=9.5, color=light("muted"), va="bottom",
        ha="left" if right[-1] < 0.66 * width else "right",
    )  # fmt: skip


def _shares(axes: Axes, explanation: Explanation) -> None:
    names = list(explanation.shares)
    values = [100.0 * explanation.shares[name] for name in names]
    axes.barh(names, values, height=0.62, color=[light("main"), light("rival")])
    axes.barh(names, [100.0] * len(names), height=0.62, color=light("line"), zorder=0)
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        without = words.shown(explanation, explanation.without[name])
        inside = value >= 50.0
        text = f"{value:.0f} %; {without} without it"
        axes.text(
            value - 1.5 if inside else value + 1.5, row, text, va="center", ha="right" if inside else "left",
            fontsize=11, color=light("surface") if inside else light("ink"),
        )  # fmt: skip
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xticks([])
    axes.tick_params(labelsize=12, labelcolor=light("ink"))
    _title(axes, _SHARES, "What it rests on")


def _title(axes: Axes, box: tuple[int, int, int, int], text: str, caption: str = "") -> None:
    """Above axes, from where the names at their left begin."""
    left, above = -(box[0] - _NAMES) / box[2], 1.0 + 12.0 / box[3]
    if caption:
        axes.text(left, above, caption, transform=axes.transAxes, fontsize=10.5, color=light("muted"), va="bottom")
        above += 22.0 / box[3]
    axes.text(
        left, above, text, transform=axes.transAxes, fontsize=14, fontweight="bold", color=light("ink"), va="bottom"
    )


def _features(axes: Axes, explanation: Explanation) -> None:
    top = explanation.features.head(FEATURES)
    change = top["attribution"].to_numpy() * (1.0 if words.in_places(explanation) else 100.0)
    most = float(np.abs(change).max()) or 1.0
    names = [f"{name}  {words.value_text(value)}" for name, value in top.select("feature", "value").iter_rows()]
    rows = np.arange(len(names))
    colours = [light("better" if words.better(explanation, value) else "worse") for value in change]
    axes.barh(rows, change, height=0.62, color=colours)
    axes.axvline(0.0, color=light("muted"), linewidth=0.8)
    for row, value in enumerate(top["attribution"]):
        at = float(change[row])
        axes.text(
            at + (0.02 if at >= 0.0 else -0.02) * most, row, words.changed(explanation, value), va="center",
            ha="left" if at >= 0.0 else "right", fontsize=10, color=light("ink"),
        )  # fmt: skip
    axes.set_yticks(rows, names)
    axes.tick_params(axis="y", labelsize=10, labelcolor=light("ink"))
    axes.invert_yaxis()
    axes.set_xlim(-1.3 * most, 1.3 * most)
    axes.set_xticks([])
    together = words.changed(explanation, float(explanation.features["attribution"].sum()))
    _title(
        axes, _FEATURES, f"What the table's features add ({words.unit(explanation)})",
        f"from an average table on, all together {together}; green is to the driver's good, brown is not",
    )  # fmt: skip
