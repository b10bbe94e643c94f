"""Commands that forecast a race: at one moment, and lap after lap."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import DATA, MODEL, ModelFolder, Store, Verbose, app, console

RaceName = Annotated[
    list[str], typer.Argument(metavar="RACE...", help="Its id, as 2023_race_14, or season and name: 2023 monza.")
]


def number(text: str) -> int | str:
    """A whole number, or the text as it came: who knows what it must be says so in the same words for both."""
    return int(text) if re.fullmatch(r"[-+]?\d{1,9}", text, flags=re.ASCII) else text


@app.command()
def predict(
    race: RaceName,
    lap: Annotated[
        str | None, typer.Option(metavar="LAP", help="After the leader completes it; before the race if not given.")
    ] = None,
    driver: Annotated[
        list[str] | None, typer.Option(help="Only this driver, with every place; again for more.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write it as JSON; - is the standard output.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write it as CSV; - is the standard output.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write it as Parquet; - is the standard output.")] = None,
    data: Store = DATA,
    model: ModelFolder = MODEL,
    verbose: Verbose = False,
) -> None:
    """Forecast a race: chances of win, podium and points and the expected place of the whole field.

    A coming race needs entries: those of its qualifying, or typed in with "entries template" and "entries add".

    Example: f1-predict predict 2023 monza --lap 20 --json forecast.json
    """
    from f1_predict.jobs import forecasts

    outputs = forecasts.Outputs(json, csv, parquet)
    forecasts.show_forecast(
        console, data, model, " ".join(race), None if lap is None else number(lap), driver or (), outputs
    )


@app.command()
def replay(
    race: RaceName,
    every: Annotated[
        str, typer.Option(metavar="LAPS", help="Forecast after each so many laps, and after the last.")
    ] = "1",
    parquet: Annotated[Path | None, typer.Option(help="Write all forecasts as Parquet.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the chances to win and of a podium by lap.")] = None,
    html: Annotated[Path | None, typer.Option(help="The same as a chart to explore, one HTML file.")] = None,
    data: Store = DATA,
    model: ModelFolder = MODEL,
    verbose: Verbose = False,
) -> None:
    """Forecast a race before its start and after every lap, each from what was known at that moment.

    Example: f1-predict replay 2023 monza --html replay.html
    """
    from f1_predict.jobs import forecasts

    outputs = forecasts.ReplayOutputs(parquet, png, html)
    forecasts.show_replay(console, data, model, " ".join(race), number(every), outputs)
