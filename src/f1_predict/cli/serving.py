"""The command that serves forecasts: an HTTP API and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import DATA, MODEL, ModelFolder, Store, Verbose, app, console


@app.command()
def serve(
    data: Store = DATA,
    model: ModelFolder = MODEL,
    host: Annotated[str, typer.Option(help="Address to listen at; others than the loopback let others in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    predictions: Annotated[
        Path | None, typer.Option(help="A backtest's predictions, for how reliable forecasts have been.")
    ] = None,
    rate: Annotated[int, typer.Option(min=1, help="Requests a minute that a client is answered.")] = 1200,
    verbose: Verbose = False,
) -> None:
    """Serve a page and an API: any race, any lap, who wins, how sure, why, and how reliable that has been.

    Example: f1-predict serve --model artifacts/model --data data/processed --port 8000
    """
    from f1_predict.jobs import serving

    serving.serve(console, data, model, serving.Address(host, port), predictions, rate, verbose=verbose)
