"""A driver's picture lap by lap: what is left of it when the driver's marks on a lap are taken out.

Draws from a Snapshot with the code that draws the pictures. Knows nothing of networks or forecasts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.horizon import Snapshot
from f1_predict.models.page_canvas import own_settings
from f1_predict.models.race_canvas import RaceCanvas
from f1_predict.models.race_data import RaceScene, race_scene
from f1_predict.models.race_layout import make_race_layout
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.trace_canvas import TraceCanvas
from f1_predict.models.trace_data import Scene, scene_of_snapshot
from f1_predict.models.trace_layout import Layout, make_layout

Pixels = npt.NDArray[np.uint8]

_REACH = 6
"""Pixels that the mark of the last lap reaches beyond it."""


@dataclass(frozen=True, eq=False)
class DriverPicture:
    """One driver's picture, and the same without the driver.

    Attributes:
        pixels: uint8 (H, W, 3), what the network sees.
        field: uint8 (H, W, 3), the same axes, field and conditions, without this driver.
        layout: of the axes, in pixels of `pixels`.
        laps: the driver's laps in this race, in order; none before the start, where the picture shows earlier races.
        distance: laps on the horizontal axis.
    """

    pixels: Pixels
    field: Pixels
    layout: Layout
    laps: list[int]
    distance: int

    def columns(self, lap: int) -> tuple[int, int]:
        """First and end column of a lap: halfway to its neighbours, and for the last lap as far as its mark reaches."""
        left, right = (round(float(self.layout.x(np.array((lap + side) / self.distance)))) for side in (-0.5, 0.5))
        if lap == self.laps[-1]:
            right += _REACH
        return max(left, 0), min(max(right, left + 1), self.layout.left + self.layout.width)

    def blanked(self, lap: int) -> Pixels:
        """The picture with the columns of a lap as they are without the driver."""
        left, right = self.columns(lap)
        pixels = self.pixels.copy()
        pixels[:, left:right] = self.field[:, left:right]
        return pixels


def picture_of(snapshot: Snapshot, driver_id: str, generator: SpeedTraceGenerator) -> DriverPicture | None:
    """A starter's picture; None where there is no lap to show."""
    drawn = generator.render(snapshot, [driver_id])
    if not drawn.present[0]:
        return None
    config = generator.config
    box = (0, 0, *config.plot_box[2:])
    layout: Layout
    if config.style == "race":
        race = race_scene(snapshot, config.past_races)
        layout, distance = make_race_layout(race.axes, box), race.axes.laps
        field = _drawn(_RaceField(config), _without_in_race(race, driver_id), driver_id)
    else:
        scene = scene_of_snapshot(snapshot, "relative", config.past_races)
        layout, distance = make_layout(scene.axes, box), scene.axes.laps
        field = _drawn(_SpeedField(config), _without(scene, driver_id), driver_id)
    laps = snapshot.laps.filter(pl.col("driver_id") == driver_id)["lap"].sort().to_list()
    return DriverPicture(drawn.images[0], field, layout, laps, distance)


class _SpeedField(TraceCanvas):
    """Style "speed" without the driver."""

    def _draw_driver(self, scene: Scene, driver_id: str) -> None:
        """Draw nothing."""


class _RaceField(RaceCanvas):
    """Style "race" without the driver."""

    def _draw_driver(self, scene: RaceScene, driver_id: str) -> None:
        """Draw nothing."""


def _drawn(canvas: Any, scene: Scene | RaceScene, driver_id: str) -> Pixels:
    with own_settings():
        return np.array(canvas.draw_area(scene, driver_id)[..., :3])


def _without(scene: Scene, driver_id: str) -> Scene:
    """The scene with a field that lacks the driver, whose grey line would else stay behind."""
    own = scene.drivers[driver_id][-1]
    return replace(scene, field=[trace for trace in scene.field if trace is not own])


def _without_in_race(scene: RaceScene, driver_id: str) -> RaceScene:
    """As `_without`, for style "race"."""
    race, car = scene.drivers[driver_id][-1]
    history = scene.histories[race]
    changed = {name: getattr(history, name).copy() for name in ("pace", "gap", "position")}
    for values in changed.values():
        values[car] = np.nan
    histories = list(scene.histories)
    histories[race] = replace(history, **changed)
    return replace(scene, histories=histories)
