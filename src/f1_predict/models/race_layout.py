"""Where things stand on a `race` picture: lanes over the laps, instruments at the cut, scales, ticks and colours.

Pure arithmetic from values to pixels. Knows nothing of matplotlib, files or where the values come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from f1_predict.models.race_data import RaceAxes
from f1_predict.models.trace_data import Floats
from f1_predict.models.trace_layout import Layout, Panel, asinh, distance_axis, linear

CELLS = 112
"""The plot box is laid out in so many cells each way, four pixels each: the pixels that a network is shown."""

BACK, LINE, TICK, FIELD, INK = "#10151C", "#3B4654", "#1E2630", "#566373", "#FFFFFF"
FIELD_PLACES = "#3A4553"
"""The field in the lane of positions, where its lines lie closest."""
COMING = "#8C9AAA"
OTHER, FEWER, MORE = "#9AA7B5", "#FFB000", "#3FA0FF"
AHEAD, BEHIND = "#FF5FB0", "#8BE04E"
FASTER, SLOWER, GAP, PLACE, STOPPED = "#2ECC87", "#FF5A4F", "#B48CFF", "#E9EEF3", "#B3121D"
CAUTION, CAUTION_JUDGED, CAUTION_BACK = "#FFD000", "#B89A30", "#3D3510"
RAIN, RAIN_JUDGED, RAIN_BACK = "#2F7BFF", "#3D639F", "#10264D"
UNKNOWN = "#78828E"
COMPOUND_COLOURS = (
    UNKNOWN, "#FF8AC4", "#A24BD0", "#B5002E", "#F02B2B", "#FFD21F", "#FFFFFF", "#FF8A1F", "#2FBF4A", "#1E63FF",
)  # fmt: skip
"""By compound code: 0 unknown, 1..9 as schemas.COMPOUNDS. Soft red, medium yellow, hard white, rain green and blue."""

PACE_RANGE, PACE_LINEAR = (-5.0, 4.0), 0.6
"""Per cent against the field's median; about linear up to the second, logarithmic beyond (asinh)."""
AROUND_RANGE, AROUND_LINEAR = (-100.0, 100.0), 4.0
GAP_RANGE, GAP_LINEAR = (0.0, 150.0), 4.0
"""Seconds. What lies outside a range is drawn at its edge."""
MAX_AGE = 45.0
MAX_LOSS = 60.0
"""Laps on a set, and per cent that the field loses, at the full height of their lanes."""

LANES = (("field", 8), ("tyres", 16), ("pace", 26), ("around", 24), ("gap", 14), ("position", 24))
"""Lanes from top to bottom with their height in cells."""
_HISTORY, _NOW = 79, 82
"""Cells from the left at which the lanes end and the instruments begin."""

INSTRUMENTS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "field": (("caution", 0, 6), ("rain", 7, 6), ("left", 14, 16)),
    "tyres": (("ahead", 0, 5), ("own", 6, 9), ("behind", 16, 5), ("stops", 22, 4), ("stops_field", 27, 3)),
    "pace": (
        ("qualifying", 0, 4), ("practice", 5, 4), ("pace_all", 11, 4), ("pace_stint", 16, 4), ("pace_10", 21, 4),
        ("pace_3", 26, 4),
    ),
    "around": (("gap", 0, 12), ("flag_gap", 13, 8), ("net_gap", 22, 8)),
    "gap": (("gap", 0, 9), ("flag_gap", 10, 9), ("net_gap", 20, 10)),
    "position": (
        ("start", 0, 5), ("place", 6, 6), ("net_rank", 13, 5), ("expected", 19, 5), ("expected_net", 25, 5),
    ),
}  # fmt: skip
"""Instruments of each lane as (name, first cell right of the lanes, cells wide)."""


@dataclass(frozen=True)
class Rect:
    """A rectangle of whole pixels, counted from the top left corner of the plot box; right and bottom excluded."""

    left: int
    right: int
    top: int
    bottom: int


@dataclass(frozen=True)
class RaceLayout(Layout):
    """Lanes as panels, and the instruments to their right.

    Attributes:
        cell: pixels of a cell across and down.
        places: rectangle of each instrument by (lane, name), the lane's height less a margin.
    """

    cell: tuple[float, float]
    places: dict[tuple[str, str], Rect]


@lru_cache(maxsize=8)
def make_race_layout(axes: RaceAxes, box: tuple[int, int, int, int]) -> RaceLayout:
    """The layout of the pictures that share `axes`, in the plot box (left, top, width, height)."""
    left, top, width, height = box
    across, down = width / CELLS, height / CELLS
    panels: dict[str, Panel] = {}
    places: dict[tuple[str, str], Rect] = {}
    row = 0
    for name, cells in LANES:
        start, end = round(row * down), round((row + cells) * down)
        label, ticks, share = _scale(name, axes)
        panels[name] = Panel(name, top + start, end - start, label, ticks, share)
        for instrument, first, wide in INSTRUMENTS[name]:
            first += _NOW
            places[name, instrument] = Rect(
                round(first * across), round((first + wide) * across), start + round(down), end - round(down)
            )
        row += cells
    x_label, x_ticks = distance_axis(axes.laps, "Share of the distance (%)")
    return RaceLayout(panels, left, round(_HISTORY * across), x_label, x_ticks, (across, down), places)


def _scale(name: str, axes: RaceAxes) -> tuple[str, tuple[tuple[float, str], ...], Callable[[Floats], Floats]]:
    """Axis label, ticks and scale of a lane."""
    if name == "field":
        return "Field", (), linear(0.0, 1.0)
    if name == "tyres":
        return "Tyres (laps)", ((0.0, "0"), (20.0, "20"), (40.0, "40")), linear(0.0, MAX_AGE)
    if name == "pace":
        ticks = tuple((float(v), f"{v:+d}".replace("-", "−") if v else "0") for v in (3, 1, 0, -1, -3))
        return "Pace (%)", ticks, asinh(*PACE_RANGE, PACE_LINEAR)
    if name == "around":
        ticks = tuple((float(v), f"{v:+d}".replace("-", "−") if v else "0") for v in (60, 20, 5, 0, -5, -20, -60))
        return "Cars around (s)", ticks, asinh(*AROUND_RANGE, AROUND_LINEAR)
    if name == "gap":
        ticks = tuple((float(s), str(s)) for s in (0, 10, 40, 150))
        return "Gap (s)", ticks, asinh(GAP_RANGE[1], GAP_RANGE[0], GAP_LINEAR)
    places = (1, *range(5, axes.positions + 1, 5))
    return "Position", tuple((float(p), str(p)) for p in places), linear(axes.positions + 0.5, 0.5)


def race_legend(axes: RaceAxes, lane: str) -> list[tuple[str, str, str]]:
    """Legend entries of a lane as (mark, colour, text); the mark is "line", "thin", "bar" or a marker."""
    past = axes.kind == "past"
    if lane == "field":
        if past:
            return []
        return [
            ("bar", CAUTION, "Safety car, red flag; now at the right"),
            ("bar", RAIN, "Rain, wet track (dull: by lap times)"),
        ]
    if lane == "tyres":
        return [
            ("bar", COMPOUND_COLOURS[4], "Soft; medium yellow, hard white"),
            ("bar", COMPOUND_COLOURS[8], "Intermediate; wet blue, unknown grey"),
            ("bar", INK, "Stop (half as high: by lap times)"),
            ("", INK, "Right: ahead, own, behind; stops, field" if not past else "The latest race"),
        ]
    if lane == "pace":
        entries = [("line", INK, "This car" if past else "This car's clean laps, smoothed")]
        if not past:
            entries += [("line", AHEAD, "Car ahead now"), ("line", BEHIND, "Car behind now")]
        entries.append(("thin", FIELD, "Field, against its median of the lap"))
        last = "then the last four races" if past else "race, stint, last 10, last 3 laps"
        return [*entries, ("", INK, "Right: qualifying, practice,"), ("", INK, last)]
    if lane == "around":
        if past:
            return [("thin", FIELD, "Others in the latest race, up: ahead")]
        return [
            ("line", FEWER, "Fewer stops than this car"),
            ("line", OTHER, "As many stops"),
            ("line", MORE, "More stops"),
            ("", INK, "Right: now, at the flag at this"),
            ("", INK, "pace, the same with equal stops"),
        ]
    if lane == "gap":
        if past:
            return [("line", INK, "Gap to the first (older races fainter)")]
        return [("bar", GAP, "Gap to the leader, and as above")]
    if past:
        return [("bar", OTHER, "Right: grid, then the last positions"), ("", INK, "in the last four races")]
    return [("bar", OTHER, "Right: grid, now, with equal stops,"), ("", INK, "at the flag, with equal stops too")]
