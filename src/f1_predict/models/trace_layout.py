"""Where things stand on a speed-trace picture: panels, scales, ticks and colours.

Pure arithmetic from values to pixels. Knows nothing of matplotlib, files or where the values come from.
Pixels are counted from the top left corner of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from f1_predict.models.trace_data import AxesKey, Floats, Kind

# Okabe and Ito's palette (2008), which people with the common colour blindnesses can tell apart.
BLUE, GREEN, AMBER, VERMILION, PURPLE = "#0072B2", "#009E73", "#E69F00", "#D55E00", "#A8457F"
INK, FIELD, GRID, ZERO, EDGE = "#222222", "#C9CCD1", "#ECEEF0", "#8A8F98", "#5F6570"

SPEED_RANGE = (-40.0, 10.0)
"""Per cent against the field's median; what lies outside is drawn at the edge."""
SPEED_LINEAR = 0.5
"""Per cent up to which the speed scale is about linear; beyond, it is about logarithmic (asinh)."""
GAP_RANGE = (0.0, 180.0)
"""Seconds behind the first car; larger gaps are drawn at the edge."""
GAP_LINEAR = 5.0
PACE_RANGE = (-60.0, 10.0)
"""Field's pace in per cent of its racing pace."""

_SHARES: dict[Kind, tuple[tuple[str, float], ...]] = {
    "race": (("pace", 0.11), ("speed", 0.42), ("gap", 0.19), ("position", 0.28)),
    "past": (("speed", 0.48), ("gap", 0.22), ("position", 0.30)),
    "laps": (("pace", 0.14), ("speed", 0.86)),
    "solo": (("speed", 1.0),),
}
_PAD_X, _PAD_Y = 6, 6
"""Pixels kept free inside each panel so that lines at the edge are not cut."""


@dataclass(frozen=True)
class Panel:
    """One panel of the plot area.

    Attributes:
        name: "pace", "speed", "gap" or "position".
        top, height: pixels of the page.
        label: what the vertical axis shows, with its unit.
        ticks: (value, text) of the labelled ticks.
        share: maps values to 0 (bottom) .. 1 (top).
    """

    name: str
    top: int
    height: int
    label: str
    ticks: tuple[tuple[float, str], ...]
    share: Callable[[Floats], Floats]

    def y(self, values: Floats) -> Floats:
        """Pixels from the top of the picture; NaN stays NaN."""
        room = self.height - 2 * _PAD_Y
        pixels: Floats = self.top + _PAD_Y + (1.0 - self.share(values)) * room
        return pixels


@dataclass(frozen=True)
class Layout:
    """Panels, top to bottom, and the horizontal axis of one kind of picture."""

    panels: dict[str, Panel]
    left: int
    width: int
    x_label: str
    x_ticks: tuple[tuple[float, str], ...]

    def x(self, shares: Floats) -> Floats:
        """Pixels from the left of the picture, for shares of the scheduled distance."""
        pixels: Floats = self.left + _PAD_X + shares * (self.width - 2 * _PAD_X)
        return pixels


@lru_cache(maxsize=8)
def make_layout(axes: AxesKey, box: tuple[int, int, int, int]) -> Layout:
    """The layout of the pictures that share `axes`, in the plot box (left, top, width, height)."""
    left, top, width, height = box
    panels, used = {}, 0.0
    for name, share in _SHARES[axes.kind]:
        start, end = round(used * height), round((used + share) * height)
        label, ticks, scale = _scale(name, axes)
        panels[name] = Panel(name, top + start, end - start, label, ticks, scale)
        used += share
    x_label, x_ticks = distance_axis(axes.laps, "Share of the scheduled distance (%)")
    return Layout(panels, left, width, x_label, x_ticks)


def _scale(name: str, axes: AxesKey) -> tuple[str, tuple[tuple[float, str], ...], Callable[[Floats], Floats]]:
    """Axis label, ticks and scale of a panel."""
    if name == "pace":
        return "Field (%)", ((0.0, "0"), (-40.0, "−40")), linear(*PACE_RANGE)
    if name == "gap":
        ticks = tuple((float(s), str(s)) for s in (0, 5, 20, 60, 180))
        return "Gap (s)", ticks, asinh(GAP_RANGE[1], GAP_RANGE[0], GAP_LINEAR)
    if name == "position":
        places = (1, *range(5, axes.positions + 1, 5))
        return "Position", tuple((float(p), str(p)) for p in places), linear(float(axes.positions), 1.0)
    if axes.scale == "relative":
        signed = (10, 3, 1, 0, -1, -3, -10, -30)
        ticks = tuple((float(v), f"{v:+d}".replace("-", "−") if v else "0") for v in signed)
        against = "own median" if axes.kind == "solo" else "the field"
        return f"Speed against {against} (%)", ticks, asinh(*SPEED_RANGE, SPEED_LINEAR)
    low, high = axes.speed_range
    step = next(step for step in (10, 20, 50, 100, 200, 500) if high - low <= 8 * step or step == 500)
    whole = range(int(-(-low // step) * step), int(high) + 1, step)
    return "Lap speed (km/h)", tuple((float(v), str(v)) for v in whole), linear(low, high)


def distance_axis(laps: int, label_of_shares: str) -> tuple[str, tuple[tuple[float, str], ...]]:
    """Label and ticks (share of the distance, text) of the horizontal axis; 0 laps for an axis of shares."""
    if laps == 0:
        return label_of_shares, tuple((share / 100.0, str(share)) for share in (0, 20, 40, 60, 80, 100))
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if laps <= 8 * step or step == 200)
    return f"Lap (of {laps})", tuple((lap / laps, str(lap)) for lap in range(0, laps + 1, step))


def linear(bottom: float, top: float) -> Callable[[Floats], Floats]:
    """A scale from values to 0 (`bottom`) .. 1 (`top`); what lies outside is at its edge, NaN stays NaN."""
    return lambda values: np.clip((values - bottom) / (top - bottom), 0.0, 1.0)


def asinh(bottom: float, top: float, near: float) -> Callable[[Floats], Floats]:
    """As `linear`, about linear up to `near` on both sides of zero and about logarithmic beyond."""
    low, high = np.arcsinh(bottom / near), np.arcsinh(top / near)
    return lambda values: np.clip((np.arcsinh(values / near) - low) / (high - low), 0.0, 1.0)


def legend_of(axes: AxesKey, panel: str) -> list[tuple[str, str, str]]:
    """Legend entries of a panel as (mark, colour, text); the mark is "line", "thin", "bar" or a marker."""
    if panel == "pace":
        return [("bar", AMBER, "Field against its racing pace:"), ("", INK, "deep = safety car, rain, stop")]
    if panel == "gap":
        return [("line", PURPLE, "Gap to the leader")]
    if panel == "position":
        return [("line", GREEN, "Running position")]
    entries = [("line", BLUE, "This driver" if axes.kind != "past" else "Latest race (older ones fainter)")]
    if axes.kind != "solo":
        entries.append(("thin", "#A9ADB5", "Field" if axes.kind != "past" else "Other drivers' latest race"))
    if axes.scale == "relative":
        entries.append(("thin", ZERO, "Own median" if axes.kind == "solo" else "Field's median on that lap"))
    if axes.kind in ("race", "past"):
        entries.append(("v", VERMILION, "Lap ending in the pits"))
    entries.append(("", EDGE, "Beyond the scale: at its edge"))
    return entries
