"""Forecasts on the terminal: a table with bars, the same table moving in a replay, and a line a lap for a file.

Renders what it is given: probabilities are those of the forecast, bars are them in eighths of a character.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from f1_predict.forecasting import CAUTIONS, DRIVER_MISSING, RACE_MISSING, RaceForecast
from f1_predict.models.probabilities import INTERVAL

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MAX_BAR, _MIN_BAR = 10, 2
_COLOURS = {"p_win": "magenta", "p_podium": "blue", "p_points": "green", "p_finish": "yellow"}
"""Of the bars; names, so that the terminal's own theme decides how dark they are."""
_WORDS = {"p_win": "win", "p_podium": "podium", "p_points": "points", "p_finish": "finish"}
_TEAM_FROM, _PLACES_FROM = 92, 112
"""Columns of the terminal from which the team and what is missing, and the places as a strip, are shown."""
_STRIP, _MISSING = "first to last", "missing"
"""Heads of columns."""
_NAMED = 3
"""Drivers on a line of a replay."""


def bar(probability: float, cells: int) -> str:
    """A probability as `cells` characters, the last one that is filled in eighths; above 0 something is seen."""
    eighths = round(8 * cells * probability)
    if probability >= 0.005:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def percent(probability: float) -> str:
    """A probability of one decimal; what is neither 0 nor 1 is not shown as if it were."""
    if 0.0 < probability < 0.0005:
        return "<0.1%"
    if 0.9995 <= probability < 1.0:
        return ">99.9%"
    return f"{probability:.1%}"


def strip(low: int, high: int, expected: float, places: int) -> Text:
    """Places 1..n as characters: a line over the 80 % range, a dot at the expected one."""
    made = Text()
    for place in range(1, places + 1):
        if place == round(expected):
            made.append("●", style="bold")
        else:
            made.append("━" if low <= place <= high else "·", style="" if low <= place <= high else "dim")
    return made


def moment_of(forecast: RaceForecast) -> str:
    """ "before the race" or "after lap 23 of 53"."""
    return f"after lap {forecast.lap} of {forecast.race.scheduled_laps}" if forecast.lap else "before the race"


def forecast_table(
    forecast: RaceForecast,
    width: int,
    drivers: Sequence[str] = (),
    changes: dict[str, int] | None = None,
    rows: int | None = None,
) -> Table:
    """The field, the best expected place first, as wide as there is room.

    Args:
        forecast: of one race.
        width: of the terminal.
        drivers: only these; all if empty.
        changes: ranks gained since the last forecast by driver, for a column of arrows.
        rows: only so many, the best.
    """
    race = forecast.race
    shown = forecast.rows.filter(pl.col("driver_id").is_in(list(drivers))) if drivers else forecast.rows
    events = [name for name in _COLOURS if shown[name].null_count() == 0]
    places = shown["position_probs"].null_count() == 0
    lacking = width >= _TEAM_FROM and any(shown["missing"].list.len() > 0)
    field = int(shown["n_starters"][0])
    always = [2, _longest(shown["driver_id"])] + [3] * (changes is not None) + [5] * places
    always += [max(_longest(shown["missing"].list.join(", ")), len(_MISSING))] * lacking
    roomy, roomier = width >= _TEAM_FROM, places and width >= _PLACES_FROM
    choices = ((roomy, roomier, places), (roomy, False, places), (False, False, places), (False, False, False))
    for team, strips, ranges in choices:  # the bars come first
        wide = always + [_longest(shown["constructor_id"])] * team + [max(field, len(_STRIP))] * strips + [5] * ranges
        room = width - sum(wide) - 2 * (len(wide) + len(events)) - 1
        cells = min(room // max(len(events), 1) - 7, _MAX_BAR)
        if cells >= _MIN_BAR:
            break
    made = Table(
        title=f"{race.season} {race.name} ({race.race_id}), {moment_of(forecast)}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    _head(made, events, places=places, ranges=ranges, team=team, strips=strips, lacking=lacking,
          moving=changes is not None)  # fmt: skip
    for number, row in enumerate(shown[:rows].iter_rows(named=True), start=1):
        parts: list[RenderableType] = [str(row["predicted_rank"] or number)]
        parts += [_arrow(changes.get(row["driver_id"], 0))] if changes is not None else []
        parts += [row["driver_id"], *([row["constructor_id"]] if team else [])]
        parts += [_chance(row[name], cells, _COLOURS[name]) for name in events]
        if places:
            parts.append(f"{row['expected_position']:.1f}")
        if ranges:
            parts.append(f"{row['position_low']}-{row['position_high']}")
        if strips:
            parts.append(strip(row["position_low"], row["position_high"], row["expected_position"], field))
        parts += [", ".join(row["missing"])] if lacking else []
        made.add_row(*parts)
    return made


def _longest(texts: pl.Series) -> int:
    return max(len(text) for text in texts)


def _head(
    made: Table,
    events: Sequence[str],
    *,
    places: bool,
    ranges: bool,
    team: bool,
    strips: bool,
    lacking: bool,
    moving: bool,
) -> None:
    made.add_column("", justify="right", no_wrap=True)
    if moving:
        made.add_column("", no_wrap=True, min_width=3)
    made.add_column("driver", no_wrap=True)
    if team:
        made.add_column("team", no_wrap=True)
    for name in events:
        made.add_column(f"{_WORDS[name]:>6}", no_wrap=True)
    if places:
        made.add_column("place", justify="right", no_wrap=True)
    if ranges:
        made.add_column(f"{INTERVAL:.0%}\nrange", justify="right", no_wrap=True)
    if strips:
        made.add_column(_STRIP, no_wrap=True)
    if lacking:
        made.add_column(_MISSING)


def _chance(probability: float, cells: int, colour: str) -> Text:
    made = Text(f"{percent(probability):>6}")
    if cells >= _MIN_BAR:
        made.append(" ")
        made.append(bar(probability, cells), style=colour)
    return made


def _arrow(gained: int) -> Text:
    if gained == 0:
        return Text("")
    return Text(f"▲{gained}", style="green") if gained > 0 else Text(f"▼{-gained}", style="red")


def remarks(forecast: RaceForecast) -> list[str]:
    """What is missing and what else to know, as lines below the table."""
    lines = []
    if forecast.missing:
        lines.append(f"Missing for the race: {', '.join(RACE_MISSING[code] for code in forecast.missing)}.")
    for code, text in DRIVER_MISSING.items():
        lacking = forecast.rows.filter(pl.col("missing").list.contains(code))["driver_id"].to_list()
        if lacking:
            who = "everybody" if len(lacking) == forecast.rows.height else ", ".join(sorted(lacking))
            lines.append(f"{text.capitalize()}: {who}.")
    return lines + [f"Note: {note}" for note in forecast.notes]


def places_table(forecast: RaceForecast, driver: str, width: int) -> Table:
    """One driver's chances of every place.

    Args:
        forecast: one that says something of places.
        driver: the driver_id.
        width: of the terminal.
    """
    row = forecast.rows.row(by_predicate=pl.col("driver_id") == driver, named=True)
    made = Table(title=f"{driver}: every place", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in ("place", "probability"):
        made.add_column(name, justify="right" if name == "place" else "left", no_wrap=True)
    cells = min(40, width - 24)
    most = max(row["position_probs"])
    for place, probability in enumerate(row["position_probs"], start=1):
        inside = row["position_low"] <= place <= row["position_high"]
        made.add_row(str(place), Text(f"{percent(probability):>6} ") + Text(
            bar(probability / most, cells), style="magenta" if inside else "dim"
        ))  # fmt: skip
    return made


@dataclass(frozen=True)
class ReplayView:
    """How the forecasts of a replay are shown as they come.

    Attributes:
        console: where.
        events: what happened, as forecasting.race_events.
        laps: of the leader, the last one that is replayed.
    """

    console: Console
    events: pl.DataFrame
    laps: int

    def frame(self, forecast: RaceForecast, before: RaceForecast | None) -> RenderableType:
        """The table of one lap with arrows since the forecast before it, for a terminal."""
        changes = {}
        if before is not None and forecast.rows["predicted_rank"].null_count() == 0:
            was = dict(before.rows.select("driver_id", "predicted_rank").iter_rows())
            changes = {
                name: was[name] - rank for name, rank in forecast.rows.select("driver_id", "predicted_rank").iter_rows()
            }
        done = Text.assemble(
            (bar(forecast.lap / self.laps, 40), "magenta on grey23"),
            f" lap {forecast.lap} of {forecast.race.scheduled_laps}",
        )
        room = max(self.console.height - 9, 3)
        table = forecast_table(forecast, self.console.width, changes=changes, rows=room)
        happened = self.happened(forecast.lap, 0 if before is None else before.lap)
        return Group(table, done, Text(happened or " ", overflow="ellipsis", no_wrap=True))

    def line(self, forecast: RaceForecast, before: RaceForecast | None) -> str:
        """The likeliest winners after a lap and what happened since the forecast before, for a pipe or a file."""
        digits = len(str(forecast.race.scheduled_laps))
        start = f"lap {forecast.lap:>{digits}}/{forecast.race.scheduled_laps}"
        happened = self.happened(forecast.lap, 0 if before is None else before.lap)
        if forecast.rows["p_win"].null_count():
            least = forecast.rows.sort("p_finish", "driver_id").head(_NAMED)
            names = [f"{name} {percent(p)}" for name, p in least.select("driver_id", "p_finish").iter_rows()]
            chances = f"least likely to finish: {', '.join(names)}"
        else:
            best = forecast.rows.sort("p_win", "driver_id", descending=[True, False]).head(_NAMED)
            chances = "  ".join(
                f"{name} {percent(p):>6}".ljust(24) for name, p in best.select("driver_id", "p_win").iter_rows()
            )
        return f"{start}  {chances}{happened}".rstrip()

    def happened(self, lap: int, since: int) -> str:
        """What happened after lap `since` up to `lap`: "stops: sainz; out: alonso; safety car"."""
        return "; ".join(self._parts(lap, since)) if lap else ""

    def _parts(self, lap: int, since: int) -> Iterator[str]:
        recent = self.events.filter(pl.col("lap").is_between(since + 1, lap))
        for kind, word in (("stop", "stops"), ("retired", "out")):
            drivers = recent.filter(pl.col("kind") == kind)["driver_id"].unique(maintain_order=True).to_list()
            if drivers:
                yield f"{word}: {', '.join(drivers)}"
        for kind, word in CAUTIONS.items():
            under = (pl.col("kind") == kind) & (pl.col("lap") <= lap) & (pl.col("until") > since)
            if self.events.filter(under).height:
                yield word
