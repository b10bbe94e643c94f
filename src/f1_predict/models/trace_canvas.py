"""Draws speed-trace pictures with matplotlib's Agg renderer, on one canvas that is used again and again.

What all pictures of a scene share is drawn once; a driver's picture restores those pixels and draws the
driver's own lines. Inside the plot box there is no text, and colours are the same for everyone. Knows nothing
of races, files or horizons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform, Transform

from f1_predict.config import PictureConfig
from f1_predict.models import trace_layout as look
from f1_predict.models.trace_data import AxesKey, Floats, Scene, Trace
from f1_predict.models.trace_layout import Layout, Panel, make_layout

Pixels = npt.NDArray[np.uint8]

_DPI = 100.0
_POINTS_PER_PIXEL = 72.0 / _DPI
_FONT = "DejaVu Sans"  # comes with matplotlib, so pictures do not depend on the fonts of the machine
_FRAMES_KEPT, _STAMPS_KEPT = 8, 256
_AGES = (1.0, 0.55, 0.38, 0.27, 0.20)
"""Opacity of a driver's past races, the latest first."""
_PANEL_COLOURS = {"speed": look.BLUE, "gap": look.PURPLE, "position": look.GREEN}

# What matplotlib reads while it draws text; a user's own settings must not change the pictures.
_TEXT_SETTINGS: dict[Any, Any] = {
    "text.usetex": False,
    "text.antialiased": True,
    "text.hinting": "force_autohint",
    "path.effects": [],
    "path.sketch": None,
    "path.snap": True,
    "font.family": [_FONT],
    "font.stretch": "normal",
    "font.style": "normal",
    "font.variant": "normal",
}


_IDENTITY = IdentityTransform()


@lru_cache(maxsize=64)
def _mark(marker: str, size: float) -> tuple[Path, Transform]:
    style = MarkerStyle(marker)
    return style.get_path(), style.get_transform() + Affine2D().scale(size)


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw under fixed matplotlib settings; the user's are back afterwards."""
    with mpl.rc_context({name: value for name, value in _TEXT_SETTINGS.items() if name in mpl.rcParams}):
        yield


@lru_cache(maxsize=1024)
def printable(text: str, length: int) -> str:
    """The text on one line, cut to `length` characters; what the font cannot show becomes a replacement mark."""
    glyphs = get_font(findfont(FontProperties(family=_FONT)))
    shown = "".join(c if c.isprintable() and glyphs.get_char_index(ord(c)) else "\ufffd" for c in text)
    return shown if len(shown) <= length else shown[: length - 1] + "…"


class TraceCanvas:
    """One figure of the configured size and what has been drawn on it.

    Draw inside `own_settings()`. Not safe for concurrent use: one canvas a thread.

    Args:
        config: picture size and plot box, in pixels.
    """

    def __init__(self, config: PictureConfig) -> None:
        self._box = config.plot_box
        self._height = config.height
        left, top, width, height = config.plot_box
        size = ((config.width + 0.01) / _DPI, (config.height + 0.01) / _DPI)  # matplotlib cuts off, not rounds
        self._figure = Figure(figsize=size, dpi=_DPI)
        self._renderer = FigureCanvasAgg(self._figure).get_renderer()  # type: ignore[no-untyped-call]
        self._page: Pixels = np.asarray(self._renderer.buffer_rgba())
        self._area = self._page[top : top + height, left : left + width]
        self._inside = Bbox.from_bounds(left, config.height - top - height, width, height)
        self._everywhere = Bbox.from_bounds(0, 0, config.width, config.height)
        self._frames: dict[AxesKey, Pixels] = {}
        self._stamps: dict[tuple[str, float, str, str], Pixels] = {}
        self._scene: Scene | None = None
        self._layout: Layout | None = None
        self._background: Pixels = self._area.copy()

    def draw_area(self, scene: Scene, driver_id: str) -> Pixels:
        """The plot box with the driver's traces: a view, uint8 (height, width, 4), valid until the next call."""
        layout = self._show(scene)
        self._area[...] = self._background
        self._draw_driver(layout, scene.drivers[driver_id])
        return self._area

    def draw_page(self, scene: Scene, driver_id: str, title: Sequence[str]) -> Pixels:
        """The whole picture: a view, uint8 (height, width, 4), valid until the next call.

        Args:
            scene: what is shown.
            driver_id: whose traces, a key of `scene.drivers`.
            title: title and subtitle.
        """
        layout = self._show(scene)
        self._page[...] = self._frame(scene.axes, layout)
        left, top, width, height = self._box
        self._stamp(left, top - 56, 690, 24, printable(title[0], 70), 15, weight="bold")
        self._stamp(left, top - 28, 690, 20, printable(title[1], 96), 11.5)
        facts = scene.facts.get(driver_id, [])
        for row, (what, value) in enumerate(facts):
            y = top + height - 18 - 17 * (len(facts) - 1 - row)
            self._stamp(left + width + 16, y, 118, 17, printable(what, 24), 11, colour=look.EDGE)
            self._stamp(left + width + 136, y, 110, 17, printable(value, 20), 11)
        self._area[...] = self._background
        self._draw_driver(layout, scene.drivers[driver_id])
        return self._page

    def _show(self, scene: Scene) -> Layout:
        """Draw what the pictures of the scene share, unless it is the scene drawn last."""
        if self._scene is scene and self._layout is not None:
            return self._layout
        layout = make_layout(scene.axes, self._box)
        self._area[...] = 255
        self._draw_grid(layout)
        self._draw_pace(layout, scene)
        self._draw_field(layout, scene.field)
        self._background = self._area.copy()
        self._scene, self._layout = scene, layout
        return layout

    # ---- lines and marks: straight to the renderer, which is much faster than through artists ----

    def _line(
        self, x: Floats, y: Floats, colour: str, width: float, alpha: float = 1.0, *, clip: Bbox | None = None,
        fill: bool = False, cap: Literal["butt", "round"] = "round", snap: bool = False,
    ) -> None:  # fmt: skip
        """A line (NaN breaks it) or a filled shape; pixels from the top left."""
        context = self._pen(colour, alpha, 0.0 if fill else width, clip)
        context.set_capstyle(cap)
        context.set_snap(snap)
        self._renderer.draw_path(context, self._path(x, y), _IDENTITY, to_rgb(colour) if fill else None)

    def _marks(
        self, x: Floats, y: Floats, colour: str, size: float, alpha: float = 1.0, *, marker: str = "o",
        clip: Bbox | None = None, edge: str | None = None,
    ) -> None:  # fmt: skip
        """Filled marks of `size` pixels, with a one-pixel edge where a colour is given."""
        shape, scale = _mark(marker, size)
        context = self._pen(edge or colour, alpha, 1.5 if edge else 0.0, clip)
        fill = (*to_rgb(colour), alpha)
        self._renderer.draw_markers(context, shape, scale, self._path(x, y), _IDENTITY, fill)

    def _path(self, x: Floats, y: Floats) -> Path:
        points = np.empty((len(x), 2))
        points[:, 0], points[:, 1] = x, self._height - y
        path = Path(points)
        path.should_simplify = False  # pixels must not depend on rcParams["path.simplify"]
        return path

    def _pen(self, colour: str, alpha: float, width: float, clip: Bbox | None) -> GraphicsContextBase:
        pen: GraphicsContextBase = self._renderer.new_gc()
        pen.set_clip_rectangle(self._inside if clip is None else clip)
        pen.set_foreground((*to_rgb(colour), alpha), isRGBA=True)
        pen.set_linewidth(width * _POINTS_PER_PIXEL)
        pen.set_joinstyle("round")
        pen.set_antialiased(True)
        pen.set_snap(False)
        return pen

    # ---- inside the plot box ----

    def _draw_grid(self, layout: Layout) -> None:
        left, top, width, height = self._box
        across = np.array([left, left + width])
        for share, _ in layout.x_ticks:
            x = float(layout.x(np.array(share)))
            self._line(np.array([x, x]), np.array([top, top + height]), look.GRID, 1.0, cap="butt", snap=True)
        for panel in layout.panels.values():
            values = np.array([value for value, _ in panel.ticks])
            for value, y in zip(values, panel.y(values), strict=True):
                strong = value == 0.0 and panel.name == "speed"
                self._line(across, np.array([y, y]), look.ZERO if strong else look.GRID, 1.0, cap="butt", snap=True)
        for panel in layout.panels.values():
            if panel.top > top:
                self._line(across, np.array([panel.top + 0.5] * 2), look.EDGE, 1.0, cap="butt", snap=True)

    def _draw_pace(self, layout: Layout, scene: Scene) -> None:
        """The field's own pace as a filled strip, hanging from its racing pace: safety cars and rain."""
        panel = layout.panels.get("pace")
        if panel is None:
            return
        known = ~np.isnan(scene.pace)
        half = 0.5 / scene.axes.laps
        zero = float(panel.y(np.array(0.0)))
        for x, y in zip(scene.pace_x[known], panel.y(scene.pace[known]), strict=True):
            start, end = layout.x(np.array([x - half, x + half]))
            self._line(np.array([start, end, end, start]), np.array([zero, zero, y, y]), look.AMBER, 0.0, fill=True)

    def _draw_field(self, layout: Layout, traces: list[Trace]) -> None:
        """All cars of a panel as one line with gaps: the same grey where lines cross, and one call."""
        gap = np.array([np.nan])
        for name in _PANEL_COLOURS:
            panel = layout.panels.get(name)
            if panel is None or not traces:
                continue
            x = np.concatenate([part for trace in traces for part in (trace.x, gap)])
            values = np.concatenate([part for trace in traces for part in (getattr(trace, name), gap)])
            self._line(layout.x(x), panel.y(values), look.FIELD, 1.0)

    def _draw_driver(self, layout: Layout, traces: list[Trace]) -> None:
        for age in range(len(traces) - 1, -1, -1):
            trace = traces[len(traces) - 1 - age]
            alpha = _AGES[min(age, len(_AGES) - 1)]
            x = layout.x(trace.x)
            for name, colour in _PANEL_COLOURS.items():
                if name in layout.panels:
                    self._draw_values(x, layout.panels[name], getattr(trace, name), colour, alpha, newest=age == 0)
            if trace.pit.any():
                y = layout.panels["speed"].y(trace.speed[trace.pit])
                self._marks(x[trace.pit], y, look.VERMILION, 8.0, alpha, marker="v")

    def _draw_values(self, x: Floats, panel: Panel, values: Floats, colour: str, alpha: float, *, newest: bool) -> None:
        known = ~np.isnan(values)
        if not known.any():
            return
        y = panel.y(values)
        self._line(x, y, colour, 2.2 if newest else 1.6, alpha)
        padded = np.concatenate(([False], known, [False]))
        lonely = known & ~padded[:-2] & ~padded[2:]
        if lonely.any():
            self._marks(x[lonely], y[lonely], colour, 5.0, alpha)
        if newest:
            last = np.flatnonzero(known)[-1:]
            self._marks(x[last], y[last], colour, 9.0, edge="#FFFFFF")

    # ---- around the plot box ----

    def _text(
        self, x: float, y: float, text: str, size: float, *, colour: str = look.INK, weight: str = "normal",
        align: Literal["left", "center", "right"] = "left", rotation: float = 0.0, clip: Bbox | None = None,
    ) -> None:  # fmt: skip
        label = Text(
            x, self._height - y, text, color=colour, fontfamily=_FONT, fontsize=size * _POINTS_PER_PIXEL,
            fontweight=weight, horizontalalignment=align, verticalalignment="center", rotation=rotation,
            parse_math=False, antialiased=True, transform=IdentityTransform(),
        )  # fmt: skip
        label.set_figure(self._figure)
        label.set_clip_box(self._everywhere if clip is None else clip)
        label.draw(self._renderer)

    def _stamp(
        self, x: int, y: int, width: int, height: int, text: str, size: float, *, colour: str = look.INK,
        weight: str = "normal",
    ) -> None:  # fmt: skip
        """Text on white in the rectangle (x, y, width, height), from the pixels drawn earlier if there are any."""
        key = (text, size, colour, weight)
        place = self._page[y : y + height, x : x + width]
        if key not in self._stamps:
            while len(self._stamps) >= _STAMPS_KEPT:
                del self._stamps[next(iter(self._stamps))]
            clip = Bbox.from_bounds(x, self._height - y - height, width, height)
            self._text(x, y + height / 2, text, size, colour=colour, weight=weight, clip=clip)
            self._stamps[key] = place.copy()
        else:
            place[...] = self._stamps[key]

    def _frame(self, axes: AxesKey, layout: Layout) -> Pixels:
        """The picture around the plot box: frame, axis labels, ticks and legend."""
        if axes in self._frames:
            return self._frames[axes]
        while len(self._frames) >= _FRAMES_KEPT:
            del self._frames[next(iter(self._frames))]
        left, top, width, height = self._box
        page = self._page
        page[...] = 255
        page[top - 1 : top + height + 1, left - 1 : left + width + 1, :3] = 0x5F
        for share, text in layout.x_ticks:
            x = float(layout.x(np.array(share)))
            page[top + height : top + height + 5, round(x), :3] = 0x5F
            self._text(x, top + height + 15, text, 11, align="center")
        self._text(left + width / 2, top + height + 38, layout.x_label, 12.5, align="center")
        for panel in layout.panels.values():
            for value, text in panel.ticks:
                y = float(panel.y(np.array(value)))
                page[round(y), left - 5 : left, :3] = 0x5F
                self._text(left - 8, y, text, 10, align="right")
            self._text(left - 56, panel.top + panel.height / 2, panel.label, 11, align="center", rotation=90)
            self._legend(axes, panel)
        self._frames[axes] = page.copy()
        return self._frames[axes]

    def _legend(self, axes: AxesKey, panel: Panel) -> None:
        """The legend of a panel, beside it; what lies beyond a scale is drawn at its edge."""
        x = float(self._box[0] + self._box[2] + 16)
        for row, (mark, colour, text) in enumerate(look.legend_of(axes, panel.name)):
            y = panel.top + 14.0 + 20.0 * row
            ends, middle = np.array([x, x + 22]), np.array([x + 11])
            if mark == "line":
                self._line(ends, np.array([y, y]), colour, 2.2, clip=self._everywhere)
            elif mark == "thin":
                self._line(ends, np.array([y, y]), colour, 1.0, clip=self._everywhere, snap=True)
            elif mark == "bar":
                self._line(ends, np.array([y, y]), colour, 9.0, cap="butt", clip=self._everywhere)
            elif mark:
                self._marks(middle, np.array([y]), colour, 7.0, marker=mark, clip=self._everywhere)
            self._text(x + 32, y, text, 11, clip=self._everywhere)
