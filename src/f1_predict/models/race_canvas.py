"""Draws the inside of `race` pictures: lanes over the laps, and instruments for the moment of the cut.

There is no text, and colours are the same for everyone. Knows nothing of races, files or horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from f1_predict.config import PictureConfig
from f1_predict.models import race_layout as look
from f1_predict.models.page_canvas import PageCanvas, opaque
from f1_predict.models.race_data import History, RaceScene
from f1_predict.models.race_layout import INSTRUMENTS, RaceLayout, Rect, make_race_layout
from f1_predict.models.trace_data import Floats
from f1_predict.models.trace_layout import Panel

Ints = npt.NDArray[np.int64]

_AGES = (1.0, 0.5, 0.36, 0.26, 0.2)
"""Opacity of a driver's past races, the latest first."""
_LINES = {"pace": look.FIELD, "gap": look.FIELD, "position": look.FIELD_PLACES}
"""Lanes with a line for each car, and the field's colour there."""
BEFORE = ("qualifying", "practice", "start")
"""Instruments that are known before the start."""
LATELY = 3
"""Laps up to the cut with rain on one of which it counts as wet now."""
NEAR = 6
"""Places ahead and behind up to which cars have a line in the lane of cars around."""
_BREAK = np.array([np.nan])


@dataclass(frozen=True, eq=False)
class _Placed:
    """What the pictures of a scene share, in pixels.

    Attributes:
        layout: of the scene.
        edges: for each race (laps + 2,) columns between which its laps stand, from the left of the plot box.
        rows: (lane, name) -> (n,) rows of the instruments' values from the top of the plot box; -1 = unknown.
        ladders: name -> (n, n) the same for the distance of car j from car i.
        strands: for each race (n, n, laps + 3) y of car j's distance from car i on the page: lap by lap, at the flag at
            the present pace, and NaN.
        strand_x: for each race (laps + 3,) the x of these.
    """

    layout: RaceLayout
    edges: list[Ints]
    rows: dict[tuple[str, str], Ints]
    ladders: dict[str, Ints]
    strands: list[Floats]
    strand_x: list[Floats]


class RaceCanvas(PageCanvas[RaceScene]):
    """The canvas of pictures in style "race"."""

    back = look.BACK
    legend_step = 16.0

    def __init__(self, config: PictureConfig) -> None:
        super().__init__(config)
        self._scale = config.plot_box[3] / (4.0 * look.CELLS)  # lines are as wide as in the usual plot box
        self._placed: _Placed | None = None

    def _layout_of(self, scene: RaceScene) -> RaceLayout:
        return make_race_layout(scene.axes, self._box)

    def _legend_of(self, scene: RaceScene, panel: str) -> list[tuple[str, str, str]]:
        return look.race_legend(scene.axes, panel)

    def _place(self, scene: RaceScene) -> _Placed:
        layout = self._layout_of(scene)
        edges, strands, strand_x = [], [], []
        around = layout.panels["around"]
        for history in scene.histories:
            half = 0.5 * (history.x[1] - history.x[0])
            bounds = np.concatenate([history.x - half, history.x[-1:] + half])
            edges.append(np.maximum(np.rint(layout.x(bounds) - self._box[0]), 0.0).astype(np.int64))
            strands.append(around.y(self._distances(scene, history)))
            strand_x.append(layout.x(np.concatenate([history.x, [1.0, np.nan]])))
        rows = {
            (lane, name): self._rows(layout.panels[lane], scene.now[name])
            for lane in ("pace", "gap", "position")
            for name, _, _ in INSTRUMENTS[lane]
        }
        ladders = {}
        for name, _, _ in INSTRUMENTS["around"]:
            values = scene.now[name]
            ladder = self._rows(around, values[:, None] - values[None, :])
            np.fill_diagonal(ladder, -1)
            ladders[name] = ladder
        return _Placed(layout, edges, rows, ladders, strands, strand_x)

    def _distances(self, scene: RaceScene, history: History) -> Floats:
        """Seconds by which car j is ahead of car i: (n, n, laps + 3), see `_Placed.strands`."""
        laps, n = len(history.x), len(history.end)
        ahead = np.full((n, n, laps + 2), np.nan)
        ahead[:, :, :laps] = history.end[:, None, :] - history.end[None, :, :]
        if scene.axes.kind == "race":  # the cut is when the leader ends a lap, alone: from there on by gaps
            now, flag = scene.now["gap"], scene.now["flag_gap"]
            last = ahead[:, :, laps - 1]
            last[...] = np.where(np.isnan(last), now[:, None] - now[None, :], last)
            ahead[:, :, laps] = flag[:, None] - flag[None, :]
        np.einsum("iik->ik", ahead)[...] = np.nan  # a car is no distance from itself
        return ahead

    # ---- small things ----

    def _fill(self, left: int, right: int, top: int, bottom: int, colour: str) -> None:
        """A rectangle of whole pixels of the plot box."""
        self._pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = opaque(colour)

    def _rows(self, panel: Panel, values: Floats) -> Ints:
        """Pixels from the top of the plot box; -1 for NaN."""
        y = panel.y(values) - self._box[1]
        return np.where(np.isnan(y), -1.0, np.rint(y)).astype(np.int64)

    def _ticks(self, place: Rect, rows: Ints, half: int, colour: str) -> None:
        """Marks across an instrument, 2 * half + 1 pixels high."""
        rows = rows[rows >= 0]
        if len(rows):
            every = (rows[:, None] + np.arange(-half, half + 1)).ravel()
            every = every[(every >= 0) & (every < self._box[3])]
            self._pixels[every, place.left : place.right] = opaque(colour)

    def _thin(self, x: Floats, y: Floats, colour: str, wide: float) -> None:
        """Thin lines, where round ends would not be seen and take time."""
        self._line(x, y, colour, wide * self._scale, cap="butt", join="bevel")

    # ---- shared ----

    def _draw_shared(self, scene: RaceScene) -> None:
        placed = self._placed = self._place(scene)
        layout = placed.layout
        self._draw_ground(placed, scene)
        if scene.axes.kind == "race":
            self._draw_conditions(placed, scene)
            shown = [(scene.histories[0], row) for row in range(len(scene.histories[0].position))]
        else:
            shown = [(scene.histories[race], row) for race, row in (own[-1] for own in scene.drivers.values())]
        for name, colour in _LINES.items():
            if shown:
                x = np.concatenate([part for history, _ in shown for part in (history.x, _BREAK)])
                y = np.concatenate([part for history, row in shown for part in (getattr(history, name)[row], _BREAK)])
                self._thin(layout.x(x), layout.panels[name].y(y), colour, 1.2)
        for name, _, _ in INSTRUMENTS["pace"]:
            self._ticks(layout.places["pace", name], placed.rows["pace", name], 0, look.OTHER)

    def _draw_ground(self, placed: _Placed, scene: RaceScene) -> None:
        """Shading of the laps under a safety car or in rain, grid lines, and frames of the lanes."""
        layout, (_, top, width, height) = placed.layout, self._box
        if scene.axes.kind == "race":
            history, edges = scene.histories[0], placed.edges[0]
            for lap in np.flatnonzero(history.caution | history.rain | history.slow):
                colour = look.CAUTION_BACK if history.caution[lap] else look.RAIN_BACK
                self._fill(edges[lap], edges[lap + 1], 0, height, colour)
        for share, _ in layout.x_ticks:
            column = round(float(layout.x(np.array(share)))) - self._box[0]
            self._fill(column, column + 1, 0, height, look.TICK)
        for panel in layout.panels.values():
            for value, row in zip(panel.ticks, self._rows(panel, np.array([v for v, _ in panel.ticks])), strict=True):
                strong = value[0] == 0.0 and panel.name in ("pace", "around")
                self._fill(0, width, row, row + 1, look.LINE if strong else look.TICK)
        for panel in layout.panels.values():
            self._fill(0, width, panel.top - top, panel.top - top + 1, look.LINE)
        self._fill(layout.width + 2, layout.width + 4, 0, height, look.LINE)

    def _draw_conditions(self, placed: _Placed, scene: RaceScene) -> None:
        """The lane of the field's own pace, its state now, and where the cut is."""
        layout, history, edges = placed.layout, scene.histories[0], placed.edges[0]
        panel = layout.panels["field"]
        top, bottom = panel.top - self._box[1] + 2, panel.top - self._box[1] + panel.height - 1
        caution = look.CAUTION if history.caution_recorded else look.CAUTION_JUDGED
        loss = np.sqrt(np.clip(np.nan_to_num(history.field_loss) / look.MAX_LOSS, 0.0, 1.0))
        heights = np.rint((0.12 + 0.88 * loss) * (bottom - top)).astype(np.int64)
        for lap in range(1, len(history.x)):
            wet = look.RAIN if history.rain[lap] else look.RAIN_JUDGED if history.slow[lap] else look.FIELD
            colour = caution if history.caution[lap] else wet
            self._fill(edges[lap], edges[lap + 1], bottom - heights[lap], bottom, colour)
        under_caution = bool((scene.now["caution"] == 1.0).any())
        lately = look.RAIN_JUDGED if history.slow[-LATELY:].any() else None
        lately = look.RAIN if history.rain[-LATELY:].any() else lately
        for name, lit in (("caution", caution if under_caution else None), ("rain", lately)):
            place = layout.places["field", name]
            self._fill(place.left, place.right, place.top, place.bottom, lit or look.TICK)
        self._fill(edges[-1], edges[-1] + 2, 0, self._box[3], look.LINE)

    # ---- one driver ----

    def _draw_driver(self, scene: RaceScene, driver_id: str) -> None:
        placed = self._placed
        if placed is None:
            return
        races, row = scene.drivers[driver_id], scene.rows[driver_id]
        last, car = races[-1]
        history = scene.histories[last]
        self._draw_tyres(placed, history, placed.edges[last], car)
        self._draw_around(placed, scene, last, car, row)
        for age in range(len(races) - 1, 0, -1):
            race, own = races[len(races) - 1 - age]
            self._draw_lines(placed, scene.histories[race], own, look.INK, 3.0, _AGES[min(age, len(_AGES) - 1)])
        if scene.axes.kind == "race":
            for other, colour in ((scene.ahead[row], look.AHEAD), (scene.behind[row], look.BEHIND)):
                if other >= 0:
                    self._draw_values(placed, "pace", history.x, history.pace[other], colour, 3.5, 1.0)
            self._draw_coming(placed, scene, row)
        raw = history.raw[car]
        known = ~np.isnan(raw)
        if known.any():
            x, y = placed.layout.x(history.x[known]), placed.layout.panels["pace"].y(raw[known])
            self._marks(x, y, look.OTHER, 3.0 * self._scale)
        self._draw_lines(placed, history, car, look.INK, 6.0, 1.0)
        self._draw_now(placed, scene, row, races)

    def _draw_lines(self, placed: _Placed, history: History, car: int, colour: str, wide: float, alpha: float) -> None:
        for lane in _LINES:
            self._draw_values(placed, lane, history.x, getattr(history, lane)[car], colour, wide, alpha)

    def _draw_values(
        self, placed: _Placed, lane: str, x: Floats, values: Floats, colour: str, wide: float, alpha: float
    ) -> None:
        known = ~np.isnan(values)
        if not known.any():
            return
        x, y = placed.layout.x(x), placed.layout.panels[lane].y(values)
        self._line(x, y, colour, wide * self._scale, alpha)
        padded = np.concatenate(([False], known, [False]))
        lonely = known & ~padded[:-2] & ~padded[2:]
        if lonely.any():
            self._marks(x[lonely], y[lonely], colour, (wide + 2.0) * self._scale, alpha)

    def _draw_coming(self, placed: _Placed, scene: RaceScene, row: int) -> None:
        """From now to the flag at the present pace: gap and position."""
        ends = np.array([scene.histories[0].x[-1], 1.0])
        for lane, now, flag in (("gap", "gap", "flag_gap"), ("position", "place", "expected")):
            values = np.array([scene.now[now][row], scene.now[flag][row]])
            if not np.isnan(values).any():
                self._draw_values(placed, lane, ends, values, look.COMING, 2.5, 1.0)

    def _draw_tyres(self, placed: _Placed, history: History, edges: Ints, car: int) -> None:
        """A bar a lap: colour is the compound, height the laps on the set; stops as bars of the lane's height."""
        panel = placed.layout.panels["tyres"]
        top, bottom = panel.top - self._box[1] + 1, panel.top - self._box[1] + panel.height
        heights = self._age_height(history.age[car], bottom - top)
        for lap in np.flatnonzero(~np.isnan(history.compound[car])):
            colour = look.COMPOUND_COLOURS[int(history.compound[car, lap])]
            self._fill(edges[lap], edges[lap + 1], bottom - heights[lap], bottom, colour)
        middle = (top + bottom) // 2
        for lap in np.flatnonzero(history.stop[car]):
            column = edges[lap + 1]
            self._fill(column - 2, column + 2, top, bottom, look.BACK)
            self._fill(column - 2, column + 2, top, bottom if history.stops_recorded else middle, look.INK)

    def _age_height(self, age: Floats, room: int) -> Ints:
        share = 0.2 + 0.8 * np.clip(np.nan_to_num(age) / look.MAX_AGE, 0.0, 1.0)
        return np.rint(share * room).astype(np.int64)

    def _draw_around(self, placed: _Placed, scene: RaceScene, race: int, car: int, row: int) -> None:
        """The cars around in time: up is ahead. Colours tell who has stopped less or more than this car.

        In the lane those NEAR it in the order, among the instruments all.
        """
        layout, strands, x = placed.layout, placed.strands[race][car], placed.strand_x[race]
        known = np.flatnonzero(~np.isnan(scene.histories[race].end[car]))
        if scene.axes.kind == "past":
            groups = [(np.ones(len(strands), dtype=np.bool_), look.FIELD)]
            near = groups[0][0]
        else:
            more = np.nan_to_num(scene.now["stops"] - scene.now["stops"][row])
            groups = [(more == 0, look.OTHER), (more > 0, look.MORE), (more < 0, look.FEWER)]
            near = np.abs(scene.now["place"] - scene.now["place"][row]) <= NEAR
        for mask, colour in groups:
            others = np.flatnonzero(mask & near)
            if len(others):
                self._thin(np.tile(x, len(others)), strands[others].ravel(), colour, 1.8)
            if scene.axes.kind == "race":
                for name, ladder in placed.ladders.items():
                    self._ticks(layout.places["around", name], ladder[row, mask], 1, colour)
        zero = layout.panels["around"].y(np.array([0.0, 0.0]))
        self._line(x[known[[0, -1]]], zero, look.INK, 4.0 * self._scale)

    # ---- instruments ----

    def _draw_now(self, placed: _Placed, scene: RaceScene, row: int, races: list[tuple[int, int]]) -> None:
        """The numbers of this car: pace from the field's median, gaps from the leader, places from the last one."""
        layout, past = placed.layout, scene.axes.kind == "past"
        stopped = scene.now["stopped"][row] == 1.0
        for (lane, name), rows in placed.rows.items():
            if rows[row] >= 0 and not (past and name not in BEFORE):
                colour = look.STOPPED if stopped else look.PLACE if name == "place" else look.OTHER
                self._draw_number(layout, lane, name, int(rows[row]), colour)
        if past:
            self._draw_form(layout, scene, races)
            return
        if stopped:
            for panel in layout.panels.values():
                bottom = panel.top - self._box[1] + panel.height
                self._fill(layout.width + 4, self._box[2], bottom - round(8 * self._scale), bottom, look.STOPPED)
        self._draw_tyres_now(layout, scene, row)
        place = layout.places["field", "left"]
        middle = (place.top + place.bottom) // 2
        self._bar(place.left, place.right, place.top, middle - 1, scene.now["laps_left"][row], look.INK)
        self._bar(place.left, place.right, middle + 1, place.bottom, scene.now["overdue"][row] / 4.0, look.SLOWER)

    def _draw_number(self, layout: RaceLayout, lane: str, name: str, y: int, colour: str) -> None:
        """One instrument of a lane with numbers; `colour` is that of places."""
        place = layout.places[lane, name]
        if lane == "pace":
            zero = int(self._rows(layout.panels["pace"], np.array(0.0)))
            inset = (place.right - place.left) // 5
            faster = look.FASTER if y < zero else look.SLOWER
            self._fill(place.left + inset, place.right - inset, min(y, zero), max(y, zero) + 1, faster)
        elif lane == "gap":
            self._fill(place.left, place.right, place.top, max(y, place.top) + 2, look.GAP)
        else:
            self._fill(place.left, place.right, y, place.bottom, colour)

    def _draw_form(self, layout: RaceLayout, scene: RaceScene, races: list[tuple[int, int]]) -> None:
        """Before the start, in the place of what is not known yet: pace and last position in the last races."""
        for lane in ("pace", "position"):
            free = [name for name, _, _ in INSTRUMENTS[lane] if name not in BEFORE]
            for name, (race, car) in zip(free, reversed(races), strict=False):
                values = getattr(scene.histories[race], lane)[car]
                known = values[~np.isnan(values)]
                if len(known):
                    value = known.mean() if lane == "pace" else known[-1]
                    y = int(self._rows(layout.panels[lane], np.array(value)))
                    self._draw_number(layout, lane, name, y, look.FIELD)

    def _bar(self, left: int, right: int, top: int, bottom: int, share: float, colour: str) -> None:
        """A bar from the left that fills a share of its place."""
        self._fill(left, right, top, bottom, look.TICK)
        if not np.isnan(share):
            self._fill(left, left + round(min(max(share, 0.0), 1.0) * (right - left)), top, bottom, colour)

    def _draw_tyres_now(self, layout: RaceLayout, scene: RaceScene, row: int) -> None:
        compound, age = scene.now["compound"], scene.now["age"]
        for name, car in (("ahead", scene.ahead[row]), ("own", row), ("behind", scene.behind[row])):
            place = layout.places["tyres", name]
            if car >= 0 and not np.isnan(compound[car]) and not np.isnan(age[car]):
                height = int(self._age_height(age[car], place.bottom - place.top))
                colour = look.COMPOUND_COLOURS[int(compound[car])]
                self._fill(place.left, place.right, place.bottom - height, place.bottom, colour)
        for name, colour in (("stops", look.INK), ("stops_field", look.OTHER)):
            place, value = layout.places["tyres", name], scene.now[name][row]
            if not np.isnan(value):
                height = max(round(min(value / 5.0, 1.0) * (place.bottom - place.top)), 1)
                self._fill(place.left, place.right, place.bottom - height, place.bottom, colour)
