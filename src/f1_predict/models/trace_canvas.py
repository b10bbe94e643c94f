"""Draws the inside of speed pictures: the field's pace, speed against the field, gap and running position.

There is no text, and colours are the same for everyone. Knows nothing of races, files or horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f1_predict.config import PictureConfig
from f1_predict.models import trace_layout as look
from f1_predict.models.page_canvas import FRAMES_KEPT, PageCanvas, Pixels, keep
from f1_predict.models.trace_data import AxesKey, Bools, Floats, Scene, Trace
from f1_predict.models.trace_layout import Layout, make_layout

_AGES = (1.0, 0.55, 0.38, 0.27, 0.20)
"""Opacity of a driver's past races, the latest first."""
_PANEL_COLOURS = {"speed": look.BLUE, "gap": look.PURPLE, "position": look.GREEN}


@dataclass(frozen=True, eq=False)
class _Line:
    """Values of a panel, lap by lap.

    Attributes:
        y: (n,) pixels from the top of the page, NaN where unknown.
        known: (n,) bool.
        lonely: (n,) bool, known, but unknown on both sides: no line is seen there.
    """

    y: Floats
    known: Bools
    lonely: Bools


@dataclass(frozen=True, eq=False)
class _Placed:
    """All traces of a scene in pixels, one after the other with a gap behind each: so little dearer than one alone.

    Attributes:
        spans: where each trace stands.
        field: end of the field's traces, which come first.
        x: (n,) pixels from the left of the page.
        lines: each panel's, (n,).
    """

    spans: dict[Trace, slice]
    field: int
    x: Floats
    lines: dict[str, _Line]


class TraceCanvas(PageCanvas[Scene]):
    """The canvas of pictures in style "speed"."""

    def _layout_of(self, scene: Scene) -> Layout:
        return make_layout(scene.axes, self._box)

    def _legend_of(self, scene: Scene, panel: str) -> list[tuple[str, str, str]]:
        return look.legend_of(scene.axes, panel)

    def __init__(self, config: PictureConfig) -> None:
        super().__init__(config)
        self._grids: dict[AxesKey, Pixels] = {}
        self._placed = _Placed({}, 0, np.empty(0), {})

    def _draw_shared(self, scene: Scene) -> None:
        layout = self._layout_of(scene)
        if scene.axes in self._grids:
            self._area[...] = self._grids[scene.axes]
        else:
            self._draw_grid(layout)
            keep(self._grids, scene.axes, self._area.copy(), FRAMES_KEPT)
        self._draw_pace(layout, scene)
        self._placed = self._place(layout, scene)
        self._draw_field(self._placed)

    def _place(self, layout: Layout, scene: Scene) -> _Placed:
        gap = np.array([np.nan])
        traces = list(dict.fromkeys([*scene.field, *(trace for own in scene.drivers.values() for trace in own)]))
        if not traces:
            return _Placed({}, 0, gap, {})
        ends = np.cumsum([len(trace.x) + 1 for trace in traces]).tolist()
        spans = {trace: slice(end - 1 - len(trace.x), end - 1) for trace, end in zip(traces, ends, strict=True)}
        x = layout.x(np.concatenate([part for trace in traces for part in (trace.x, gap)]))
        lines = {}
        for name in _PANEL_COLOURS:
            if name in layout.panels:
                values = np.concatenate([part for trace in traces for part in (getattr(trace, name), gap)])
                known = ~np.isnan(values)
                lonely = known.copy()
                lonely[1:] &= ~known[:-1]
                lonely[:-1] &= ~known[1:]
                lines[name] = _Line(layout.panels[name].y(values), known, lonely)
        return _Placed(spans, ends[len(scene.field) - 1] if scene.field else 0, x, lines)

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
        x = scene.pace_x[known]
        for start, end, y in zip(layout.x(x - half), layout.x(x + half), panel.y(scene.pace[known]), strict=True):
            self._line(np.array([start, end, end, start]), np.array([zero, zero, y, y]), look.AMBER, 0.0, fill=True)

    def _draw_field(self, placed: _Placed) -> None:
        """All cars of a panel as one line with gaps: the same grey where lines cross, and one call."""
        if placed.field:
            for line in placed.lines.values():
                self._line(placed.x[: placed.field], line.y[: placed.field], look.FIELD, 1.0)

    def _draw_driver(self, scene: Scene, driver_id: str) -> None:
        placed = self._placed
        traces = scene.drivers[driver_id]
        for age in range(len(traces) - 1, -1, -1):
            trace = traces[len(traces) - 1 - age]
            span = placed.spans[trace]
            x = placed.x[span]
            alpha = _AGES[min(age, len(_AGES) - 1)]
            for name, line in placed.lines.items():
                own = _Line(line.y[span], line.known[span], line.lonely[span])
                self._draw_values(x, own, _PANEL_COLOURS[name], alpha, newest=age == 0)
            if trace.pit.any():
                self._marks(
                    x[trace.pit], placed.lines["speed"].y[span][trace.pit], look.VERMILION, 8.0, alpha, marker="v"
                )

    def _draw_values(self, x: Floats, line: _Line, colour: str, alpha: float, *, newest: bool) -> None:
        if not line.known.any():
            return
        self._line(x, line.y, colour, 2.2 if newest else 1.6, alpha)
        if line.lonely.any():
            self._marks(x[line.lonely], line.y[line.lonely], colour, 5.0, alpha)
        if newest:
            last = np.flatnonzero(line.known)[-1:]
            self._marks(x[last], line.y[last], colour, 9.0, edge="#FFFFFF")
