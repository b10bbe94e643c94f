"""A replay as a chart shows it: a line a driver and event, what happened on it, and a few sentences.

Made of forecasts and events; computes no probability. Results are read here alone, to say who won: the forecasts
did not see them. Knows nothing of matplotlib, Plotly or HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from f1_predict.forecasting import CAUTIONS, RACE_MISSING, RaceForecast
from f1_predict.forecasting.events import RETIRED, STOP
from f1_predict.horizon import RaceInfo
from f1_predict.report.page_text import listed, person

EVENTS = {"p_win": "win", "p_podium": "podium", "p_finish": "finish"}
"""Columns that a chart can show, and what they are called."""
COLOURED = 8
"""Drivers in colour; the others are grey."""
_WORTH = 0.10
"""A driver whose chance was ever above this is worth a colour."""
_LEAST = 3


@dataclass(frozen=True)
class Line:
    """One driver's chances in one event.

    Attributes:
        driver: the driver_id.
        colour: number of the colour, the same in all events; None: grey.
        values: probability after each of the laps of ReplayData.
        stops: (lap, probability) at his stops.
        out: (lap, probability) where he retired; None if he did not.
    """

    driver: str
    colour: int | None
    values: tuple[float, ...]
    stops: tuple[tuple[int, float], ...]
    out: tuple[int, float] | None

    @property
    def name(self) -> str:
        """The driver for people."""
        return person(self.driver)


@dataclass(frozen=True)
class Caution:
    """Laps that were no racing, both ends included; `word` as people say it."""

    kind: str
    first: int
    last: int

    @property
    def word(self) -> str:
        """What people call it."""
        return CAUTIONS[self.kind]


@dataclass(frozen=True)
class ReplayData:
    """One race's replay.

    Attributes:
        race: the calendar row.
        model: the model's name.
        laps: those after which there is a forecast; 0 is before the race.
        lines: event ("p_win", "p_podium", or "p_finish" alone) -> a line a driver, grey ones first, then those in
            colour from the last to the first, as they are drawn.
        cautions: in the order of laps.
        happened: (lap, what, who) for a table.
        headline: what the forecasts said, in sentences.
        remarks: what was missing, and notes.
    """

    race: RaceInfo
    model: str
    laps: tuple[int, ...]
    lines: dict[str, tuple[Line, ...]]
    cautions: tuple[Caution, ...]
    happened: tuple[tuple[str, str, str], ...]
    headline: str
    remarks: tuple[str, ...]

    @property
    def title(self) -> str:
        """ "2018 Italian Grand Prix"."""
        return f"{self.race.season} {self.race.name}"

    @property
    def coloured(self) -> list[Line]:
        """The lines in colour of the first event, the first colour first."""
        first = next(iter(self.lines.values()))
        return sorted((line for line in first if line.colour is not None), key=lambda line: line.colour or 0)


def replay_data(
    forecasts: Sequence[RaceForecast], events: pl.DataFrame, places: Mapping[str, int] | None = None
) -> ReplayData:
    """The chart's data.

    Args:
        forecasts: of one race, in the order of laps, one or more.
        events: what happened, as forecasting.race_events.
        places: where everybody finished by driver; empty or None where that is not known.
    """
    laps = tuple(forecast.lap for forecast in forecasts)
    rows = pl.concat([forecast.rows for forecast in forecasts])
    shown = [name for name in ("p_win", "p_podium") if rows[name].null_count() == 0] or ["p_finish"]
    values = {name: rows.pivot("cutoff_lap", index="driver_id", values=name).sort("driver_id").rows() for name in shown}
    chances = {name: {driver: np.array(row) for driver, *row in table} for name, table in values.items()}
    colours = _colours(chances)
    lines = {
        name: tuple(
            sorted(
                (_line(driver, line, laps, colours.get(driver), events) for driver, line in of_event.items()),
                key=lambda line: -COLOURED - 1 if line.colour is None else -line.colour,
            )
        )
        for name, of_event in chances.items()
    }
    cautions = tuple(
        Caution(kind, first, last)
        for kind, first, last in events.filter(pl.col("driver_id").is_null()).select("kind", "lap", "until").rows()
    )
    return ReplayData(
        race=forecasts[0].race,
        model=rows["model"][0],
        laps=laps,
        lines=lines,
        cautions=cautions,
        happened=_happened(events),
        headline=_headline(laps, chances, places or {}),
        remarks=_remarks(forecasts[-1], events),
    )


def whole(probability: float) -> str:
    """A probability in whole per cent; what is neither 0 nor 1 is not shown as if it were."""
    if 0.0 < probability < 0.005:
        return "<1\u00a0%"
    if 0.995 <= probability < 1.0:
        return ">99\u00a0%"
    return f"{100 * probability:.0f}\u00a0%"


def _colours(chances: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, int]:
    """Numbers of colours by driver: those with the greatest chances over the whole race come first."""
    drivers = list(next(iter(chances.values())))
    mean = {driver: sum(float(event[driver].mean()) for event in chances.values()) for driver in drivers}
    most = {driver: max(float(event[driver].max()) for event in chances.values()) for driver in drivers}
    ranked = sorted(drivers, key=lambda driver: (-mean[driver], driver))
    worth = [driver for number, driver in enumerate(ranked) if number < _LEAST or most[driver] > _WORTH]
    return {driver: number for number, driver in enumerate(worth[:COLOURED])}


def _line(driver: str, values: np.ndarray, laps: Sequence[int], colour: int | None, events: pl.DataFrame) -> Line:
    def at(lap: int) -> tuple[int, float]:
        return lap, float(np.interp(lap, laps, values))

    mine = events.filter(pl.col("driver_id") == driver)
    out = mine.filter(pl.col("kind") == RETIRED)["lap"].to_list()
    stops = mine.filter(pl.col("kind") == STOP)["lap"].to_list()
    return Line(driver, colour, tuple(values.tolist()), tuple(map(at, stops)), at(out[0]) if out else None)


def _happened(events: pl.DataFrame) -> tuple[tuple[str, str, str], ...]:
    """Events by lap, drivers of one lap together."""
    words = {STOP: "stop", RETIRED: "retired"} | CAUTIONS
    together = events.group_by("lap", "until", "kind", maintain_order=True).agg(pl.col("driver_id").drop_nulls())
    return tuple(
        (str(lap) if lap == until else f"{lap}-{until}", words[kind], ", ".join(person(driver) for driver in drivers))
        for lap, until, kind, drivers in together.sort("lap", "until").rows()
    )


def _headline(laps: Sequence[int], chances: Mapping[str, Mapping[str, np.ndarray]], places: Mapping[str, int]) -> str:
    """Who was the favourite and when that changed, where the chances turned most, and who won."""
    if "p_win" not in chances:
        mean = {driver: float(line.mean()) for driver, line in chances["p_finish"].items()}
        least = min(mean, key=lambda driver: (mean[driver], driver))
        return f"Least likely to finish over the race: {person(least)}, {whole(mean[least])} on average."
    win = chances["p_win"]
    drivers = list(win)
    matrix = np.stack([win[driver] for driver in drivers])
    first = matrix.argmax(axis=0)
    changes = np.flatnonzero(np.diff(first))
    begun, ended = (f"{person(drivers[first[i]])} ({whole(matrix[first[i], i])})" for i in (0, -1))
    when = "before the race" if laps[0] == 0 else f"after lap {laps[0]}"
    text = f"Favourite {when}: {begun}; after lap {laps[-1]}: {ended}. "
    if len(changes) == 0:
        text += "The favourite never changed. "
    else:
        times = {1: "once", 2: "twice"}.get(len(changes), f"{len(changes)} times")
        text += f"The favourite changed {times}, for the last time after lap {laps[int(changes[-1]) + 1]}. "
    if matrix.shape[1] > 1:
        turns = np.diff(matrix, axis=1)
        row, step = (int(i) for i in np.unravel_index(np.abs(turns).argmax(), turns.shape))
        text += (
            f"The greatest turn: {person(drivers[row])}, from {whole(matrix[row, step])} "
            f"{'before the race' if laps[step] == 0 else f'after lap {laps[step]}'} to "
            f"{whole(matrix[row, step + 1])} after lap {laps[step + 1]}. "
        )
    winners = [driver for driver, place in places.items() if place == 1]
    return (text + (f"Won by {person(winners[0])}." if winners else "")).strip()


def _remarks(forecast: RaceForecast, events: pl.DataFrame) -> tuple[str, ...]:
    """What was missing at the last lap, what was inferred, and the forecast's notes."""
    found = list(forecast.notes)
    if forecast.missing:
        found.append(f"Missing for the race: {', '.join(RACE_MISSING[code] for code in forecast.missing)}.")
    inferred = events.filter(~pl.col("recorded"))["kind"].unique().to_list()
    if inferred:
        what = ["stops"] * (STOP in inferred) + ["slow laps of the field"] * any(kind in CAUTIONS for kind in inferred)
        found.append(f"Not recorded, inferred from lap times: {listed(what)}.")
    return tuple(found)
