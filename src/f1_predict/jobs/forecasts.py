"""Commands that forecast a race with a trained model: at one moment, and lap after lap."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.live import Live

from f1_predict.api import Predictor, open_predictor
from f1_predict.errors import ConfigError
from f1_predict.forecasting import RaceForecast, entries_of, find_driver, find_race, horizon_after, race_events
from f1_predict.forecasting.rows import parquet_of
from f1_predict.horizon import RaceArchive
from f1_predict.report import forecast_view
from f1_predict.tables import read_store
from f1_predict.training.files import write_atomically

STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True)
class Outputs:
    """Where a forecast is written; "-" is the standard output, None is nowhere."""

    json: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None

    @property
    def given(self) -> dict[str, Path]:
        """Those that are wanted, by format."""
        return {name: path for name, path in vars(self).items() if path is not None}

    def check(self) -> None:
        """Refuse what cannot be written, before anything is computed.

        Raises:
            ConfigError: if two formats go to the standard output, or Parquet to a terminal.
        """
        piped = [f"--{name}" for name, path in self.given.items() if path == STANDARD_OUTPUT]
        if len(piped) > 1:
            raise ConfigError(f"only one format can go to the standard output (-), got {' and '.join(piped)}.")
        if self.parquet == STANDARD_OUTPUT and sys.stdout.isatty():
            raise ConfigError("--parquet - writes bytes, which a terminal cannot show. Give a file, or a pipe.")


def show_forecast(
    console: Console,
    data: Path,
    model: Path,
    race: str,
    lap: object,
    drivers: Sequence[str] = (),
    outputs: Outputs | None = None,
) -> None:
    """Forecast one race and print the table, or write the forecast.

    Args:
        console: where the table goes; there is none where a format goes to the standard output.
        data: the store.
        model: the model folder.
        race: its id, or season and parts of its name.
        lap: after this one; None: before the race.
        drivers: only these, by id or parts of it; all if empty.
        outputs: where the forecast is written.

    Raises:
        NotFoundError, AmbiguousError: if a name fits no race or driver, or several.
        HorizonError: if the race has no such lap.
        DataError: if it has no entries yet.
        ArtefactError: if the model cannot be read, or a file not be written.
    """
    outputs = outputs or Outputs()
    outputs.check()
    archive = RaceArchive(read_store(data))
    race_id = find_race(archive.races, race)  # what is not there is said before a model is loaded
    horizon_after(archive, race_id, lap)
    field = entries_of(archive, race_id)["driver_id"].to_list()
    chosen = [find_driver(field, name) for name in drivers]
    forecast = open_predictor(model, data, archive).forecast(race_id, lap)
    shown = forecast.only(chosen) if chosen else forecast
    for name, path in outputs.given.items():
        write_output(path, _content(shown, name))
    if STANDARD_OUTPUT in outputs.given.values():
        return
    print_forecast(console, forecast, chosen)
    for path in outputs.given.values():
        console.print(f"-> {path}", highlight=False)


def _content(forecast: RaceForecast, name: str) -> bytes:
    if name == "parquet":
        return forecast.to_parquet()
    return (forecast.to_json() if name == "json" else forecast.to_csv()).encode()


def write_output(path: Path, content: bytes) -> None:
    """Write to a file, whole or not at all, or to the standard output.

    Raises:
        ArtefactError: if it cannot be written there.
    """
    if path != STANDARD_OUTPUT:
        write_atomically(path, content)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def print_forecast(console: Console, forecast: RaceForecast, drivers: Sequence[str] = ()) -> None:
    """Print the table, of some drivers or all, the places of those asked for by name, and what is missing."""
    console.print(forecast_view.forecast_table(forecast, console.width, drivers))
    if forecast.rows["position_probs"].null_count() == 0:
        for driver in drivers:
            console.print(forecast_view.places_table(forecast, driver, console.width))
    for line in forecast_view.remarks(forecast):
        console.print(line, highlight=False, markup=False)


@dataclass(frozen=True)
class ReplayOutputs:
    """Files that a replay leaves; None for those that are not wanted."""

    parquet: Path | None = None
    png: Path | None = None
    html: Path | None = None


def show_replay(
    console: Console, data: Path, model: Path, race: str, every: object, outputs: ReplayOutputs | None = None
) -> None:
    """Forecast a race lap after lap, show it as it goes, write table, picture and chart.

    Raises:
        NotFoundError, AmbiguousError: if the name fits no race, or several.
        HorizonError: if the race has no laps.
        DataError: if it has no entries.
        ConfigError: if `every` is less than 1.
        ArtefactError: if the model cannot be read, or a file not be written.
    """
    outputs = outputs or ReplayOutputs()
    archive = RaceArchive(read_store(data))
    race_id = find_race(archive.races, race)
    entries_of(archive, race_id)
    events = race_events(archive, race_id)
    predictor = open_predictor(model, data, archive)
    start = time.perf_counter()
    view = forecast_view.ReplayView(console, events, archive.laps_completed(race_id))
    forecasts = list(_shown(console, view, predictor.stream(race_id, every)))
    seconds = time.perf_counter() - start
    starters = forecasts[-1].rows.height
    console.print(f"{len(forecasts)} forecasts of {starters} drivers in {seconds:.1f} s", highlight=False)
    for line in forecast_view.remarks(forecasts[-1]):
        console.print(line, highlight=False, markup=False)
    rows = pl.concat([forecast.rows for forecast in forecasts])
    if outputs.parquet is not None:
        write_atomically(outputs.parquet, parquet_of(rows))
    if outputs.png is not None or outputs.html is not None:
        _draw(forecasts, events, _places(predictor, race_id), outputs)
    for path in vars(outputs).values():
        if path is not None:
            console.print(f"-> {path}", highlight=False)


def _shown(
    console: Console, view: forecast_view.ReplayView, forecasts: Iterator[RaceForecast]
) -> Iterator[RaceForecast]:
    """The forecasts, each shown as it comes: in place on a terminal, a line each elsewhere."""
    before: RaceForecast | None = None
    if not console.is_terminal:
        for forecast in forecasts:
            console.print(view.line(forecast, before), highlight=False, markup=False, soft_wrap=True)
            yield forecast
            before = forecast
        return
    with Live(console=console, auto_refresh=False) as live:
        for forecast in forecasts:
            live.update(view.frame(forecast, before), refresh=True)
            yield forecast
            before = forecast


def _places(predictor: Predictor, race_id: str) -> dict[str, int]:
    """Where everybody finished, for people who look back; empty if the race has no result yet."""
    results = predictor.archive.rows("results", race_id)
    return dict(results.select("driver_id", "position").iter_rows())


def _draw(
    forecasts: Sequence[RaceForecast], events: pl.DataFrame, places: dict[str, int], outputs: ReplayOutputs
) -> None:
    """Write picture and chart."""
    from f1_predict.report.replay_data import replay_data  # with all of a report's imports, for who wants a chart

    data = replay_data(forecasts, events, places)
    if outputs.png is not None:
        from f1_predict.report.replay_picture import replay_png

        write_atomically(outputs.png, replay_png(data))
    if outputs.html is not None:
        from f1_predict.report.replay_page import replay_html

        write_atomically(outputs.html, replay_html(data).encode())
