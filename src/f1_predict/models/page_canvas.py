"""The page of a picture, drawn with matplotlib's Agg renderer on one canvas that is used again and again.

What all pictures of a scene share is drawn once; a driver's picture restores those pixels and draws the driver's
own marks. Around the plot box stand title, axes and legend. Knows nothing of what is drawn inside the box.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Generic, Literal, Protocol, TypeVar

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
from f1_predict.models.trace_data import Floats
from f1_predict.models.trace_layout import Layout, Panel

Pixels = npt.NDArray[np.uint8]
KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")

_DPI = 100.0
_POINTS_PER_PIXEL = 72.0 / _DPI
_FONT = "DejaVu Sans"  # comes with matplotlib, so pictures do not depend on the fonts of the machine
FRAMES_KEPT, _STAMPS_KEPT, _PENS_KEPT = 8, 256, 64

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


@lru_cache(maxsize=64)
def opaque(colour: str) -> np.uint32:
    """The four bytes of a pixel as one number: setting it is several times as fast as setting each."""
    return np.uint32(
        np.array([*(round(255 * part) for part in to_rgb(colour)), 255], dtype=np.uint8).view(np.uint32)[0]
    )


def keep(kept: dict[KeyT, ValueT], key: KeyT, value: ValueT, most: int) -> None:
    """Keep a value that was made, in place of the oldest where there are `most` already."""
    while len(kept) >= most:
        del kept[next(iter(kept))]
    kept[key] = value


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


PAPER = "#FFFFFF"


class Shown(Protocol):
    """What a scene of any style has: its axes, and the drivers who can be drawn with a few facts on each."""

    @property
    def axes(self) -> Hashable:
        """All that the layout depends on."""

    @property
    def facts(self) -> Callable[[str], Sequence[tuple[str, str]]]:
        """Gives lines on a driver as (what, value)."""


SceneT = TypeVar("SceneT", bound=Shown)


class PageCanvas(ABC, Generic[SceneT]):
    """One figure of the configured size and what has been drawn on it.

    Draw inside `own_settings()`. Not safe for concurrent use: one canvas a thread.

    Args:
        config: picture size and plot box, in pixels.
    """

    back = PAPER
    """Colour of the empty plot box."""
    legend_step = 20.0
    """Pixels between the lines of a legend."""

    def __init__(self, config: PictureConfig) -> None:
        self._box = config.plot_box
        self._height = config.height
        left, top, width, height = config.plot_box
        size = ((config.width + 0.01) / _DPI, (config.height + 0.01) / _DPI)  # matplotlib cuts off, not rounds
        self._figure = Figure(figsize=size, dpi=_DPI)
        self._renderer = FigureCanvasAgg(self._figure).get_renderer()  # type: ignore[no-untyped-call]
        self._page: Pixels = np.asarray(self._renderer.buffer_rgba())
        self._area = self._page[top : top + height, left : left + width]
        self._pixels: npt.NDArray[np.uint32] = self._area.view(np.uint32)[..., 0]
        self._inside = Bbox.from_bounds(left, config.height - top - height, width, height)
        self._everywhere = Bbox.from_bounds(0, 0, config.width, config.height)
        self._frames: dict[Hashable, Pixels] = {}
        self._stamps: dict[tuple[str, float, str, str], Pixels] = {}
        self._points = Path(np.empty((0, 2)))  # one for all lines: making one takes longer than to draw a short line
        self._pens: dict[Hashable, GraphicsContextBase] = {}
        self._scene: SceneT | None = None
        self._background: Pixels = self._area.copy()

    def draw_area(self, scene: SceneT, driver_id: str) -> Pixels:
        """The plot box with the driver's traces: a view, uint8 (height, width, 4), valid until the next call."""
        self._show(scene)
        self._area[...] = self._background
        self._draw_driver(scene, driver_id)
        return self._area

    def draw_page(self, scene: SceneT, driver_id: str, title: Sequence[str]) -> Pixels:
        """The whole picture: a view, uint8 (height, width, 4), valid until the next call.

        Args:
            scene: what is shown.
            driver_id: whose traces, a key of `scene.drivers`.
            title: title and subtitle.
        """
        self._show(scene)
        self._page[...] = self._frame(scene)
        left, top, width, height = self._box
        self._stamp(left, top - 56, 690, 24, printable(title[0], 70), 15, weight="bold")
        self._stamp(left, top - 28, 690, 20, printable(title[1], 96), 11.5)
        facts = scene.facts(driver_id)
        for row, (what, value) in enumerate(facts):
            y = top + height - 18 - 17 * (len(facts) - 1 - row)
            self._stamp(left + width + 16, y, 118, 17, printable(what, 24), 11, colour=look.EDGE)
            self._stamp(left + width + 136, y, 110, 17, printable(value, 20), 11)
        self._area[...] = self._background
        self._draw_driver(scene, driver_id)
        return self._page

    def _show(self, scene: SceneT) -> None:
        """Draw what the pictures of the scene share, unless it is the scene drawn last."""
        if self._scene is scene:
            return
        self._pixels[...] = opaque(self.back)
        self._draw_shared(scene)
        self._background = self._area.copy()
        self._scene = scene

    @abstractmethod
    def _layout_of(self, scene: SceneT) -> Layout:
        """Where things stand on the pictures of the scene."""

    @abstractmethod
    def _draw_shared(self, scene: SceneT) -> None:
        """Draw inside the empty plot box what all pictures of the scene share."""

    @abstractmethod
    def _draw_driver(self, scene: SceneT, driver_id: str) -> None:
        """Draw inside the plot box what is this driver's own."""

    @abstractmethod
    def _legend_of(self, scene: SceneT, panel: str) -> list[tuple[str, str, str]]:
        """Legend entries of a panel as (mark, colour, text); the mark is "line", "thin", "bar" or a marker."""

    # ---- lines and marks: straight to the renderer, which is much faster than through artists ----

    def _line(
        self, x: Floats, y: Floats, colour: str, width: float, alpha: float = 1.0, *, clip: Bbox | None = None,
        fill: bool = False, cap: Literal["butt", "round"] = "round", join: Literal["bevel", "round"] = "round",
        snap: bool = False,
    ) -> None:  # fmt: skip
        """A line (NaN breaks it) or a filled shape; pixels from the top left."""
        context = self._pen(colour, alpha, 0.0 if fill else width, clip, cap, join, snap)
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
        self._points.vertices = points
        self._points.should_simplify = False  # pixels must not depend on rcParams["path.simplify"]
        return self._points

    def _pen(
        self, colour: str, alpha: float, width: float, clip: Bbox | None,
        cap: Literal["butt", "round"] = "butt", join: Literal["bevel", "round"] = "round",
        snap: bool = False,
    ) -> GraphicsContextBase:  # fmt: skip
        """A pen, made once: a scene's pictures are all drawn with the same few."""
        key = (colour, alpha, width, None if clip is None else clip.bounds, cap, join, snap)
        if key not in self._pens:
            pen: GraphicsContextBase = self._renderer.new_gc()
            pen.set_clip_rectangle(self._inside if clip is None else clip)
            pen.set_foreground((*to_rgb(colour), alpha), isRGBA=True)
            pen.set_linewidth(width * _POINTS_PER_PIXEL)
            pen.set_antialiased(True)
            pen.set_capstyle(cap)
            pen.set_joinstyle(join)
            pen.set_snap(snap)
            keep(self._pens, key, pen, _PENS_KEPT)
        return self._pens[key]

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
            clip = Bbox.from_bounds(x, self._height - y - height, width, height)
            self._text(x, y + height / 2, text, size, colour=colour, weight=weight, clip=clip)
            keep(self._stamps, key, place.copy(), _STAMPS_KEPT)
        else:
            place[...] = self._stamps[key]

    def _frame(self, scene: SceneT) -> Pixels:
        """The picture around the plot box: frame, axis labels, ticks and legend."""
        layout = self._layout_of(scene)
        axes = scene.axes
        if axes in self._frames:
            return self._frames[axes]
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
            self._legend(scene, panel)
        keep(self._frames, axes, page.copy(), FRAMES_KEPT)
        return self._frames[axes]

    def _legend(self, scene: SceneT, panel: Panel) -> None:
        """The legend of a panel, beside it; what lies beyond a scale is drawn at its edge."""
        x = float(self._box[0] + self._box[2] + 16)
        for row, (mark, colour, text) in enumerate(self._legend_of(scene, panel.name)):
            y = panel.top + 14.0 + self.legend_step * row
            ends, middle = np.array([x, x + 22]), np.array([x + 11])
            if mark and self.back != PAPER:
                ground = np.array([x - 3, x + 25])
                self._line(
                    ground, np.array([y, y]), self.back, self.legend_step - 2.0, cap="butt", clip=self._everywhere
                )
            if mark == "line":
                self._line(ends, np.array([y, y]), colour, 2.2, clip=self._everywhere)
            elif mark == "thin":
                self._line(ends, np.array([y, y]), colour, 1.0, clip=self._everywhere, snap=True)
            elif mark == "bar":
                self._line(ends, np.array([y, y]), colour, 9.0, cap="butt", clip=self._everywhere)
            elif mark:
                self._marks(middle, np.array([y]), colour, 7.0, marker=mark, clip=self._everywhere)
            self._text(x + 32, y, text, 11, clip=self._everywhere)
