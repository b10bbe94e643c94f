"""Draws the inside of speed pictures: the field's pace, speed against the field, gap and running position.

There is no text, and colours are the same for everyone. Knows nothing of races, files or horizons.
"""

from __future__ import annotations

import numpy as np

from f1_predict.config import PictureConfig
from f1_predict.models import trace_layout as look
from f1_predict.models.page_canvas import FRAMES_KEPT, PageCanvas, Pixels, keep
from f1_predict.models.trace_data import AxesKey, Floats, Scene, Trace
from f1_predict.models.trace_layout import Layout, Panel, make_layout

_AGES = (1.0, 0.55, 0.38, 0.27, 0.20)
"""Opacity of a driver's past races, the latest first."""
_PANEL_COLOURS = {"speed": look.BLUE, "gap": look.PURPLE, "position": look.GREEN}


class TraceCanvas(PageCanvas[Scene]):
    """The canvas of pictures in style "speed"."""

    def _layout_of(self, scene: Scene) -> Layout:
        return make_layout(scene.axes, self._box)

    def _legend_of(self, scene: Scene, panel: str) -> list[tuple[str, str, str]]:
        return look.legend_of(scene.axes, panel)

    def __init__(self, config: PictureConfig) -> None:
        super().__init__(config)
        self._grids: dict[AxesKey, Pixels] = {}

    def _draw_shared(self, scene: Scene) -> None:
        layout = self._layout_of(scene)
        if scene.axes in self._grids:
            self._area[...] = self._grids[scene.axes]
        else:
            self._draw_grid(layout)
            keep(self._grids, scene.axes, self._area.copy(), FRAMES_KEPT)
        self._draw_pace(layout, scene)
        self._draw_field(layout, scene.field)

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

    def _draw_driver(self, scene: Scene, driver_id: str) -> None:
        layout = self._layout_of(scene)
        traces = scene.drivers[driver_id]
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
