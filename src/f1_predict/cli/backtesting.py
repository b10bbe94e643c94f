"""The command that forecasts whole seasons walk-forward."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import (
    DATA,
    EMBEDDINGS,
    Embeddings,
    EngineChoice,
    MaxMemory,
    Settings,
    Store,
    Verbose,
    app,
    changed,
    console,
    fractions_of,
    settings,
    span,
)
from f1_predict.errors import ConfigError
from f1_predict.scale import EngineKind, default_workers, open_engine


@app.command()
def backtest(
    test_seasons: Annotated[str, typer.Option(help="Forecast these, each from the seasons before it.")],
    models: Annotated[str | None, typer.Option(help="Rungs with commas between; all if not given.")] = None,
    fractions: Annotated[str, typer.Option(help="Of the scheduled laps; 0 = before the race.")] = "0,.1,.25,.5,.75",
    data: Store = DATA,
    embeddings: Embeddings = EMBEDDINGS,
    out: Annotated[Path, typer.Option(help="Where the predictions go, as Parquet.")] = Path("predictions.parquet"),
    weights: Annotated[str | None, typer.Option(help="auto, imagenet, trace, random or a file.")] = None,
    results: Annotated[Path | None, typer.Option(help="Also write a results page (Markdown) here.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that fit; one a core if not given.")] = None,
    engine: EngineChoice = EngineKind.local,
    max_memory: MaxMemory = None,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Forecast seasons walk-forward with every model of the ladder, and score them.

    Safe to interrupt: finished season x model pairs are kept beside the predictions and not worked again.

    Example: f1-predict backtest --test-seasons 2015-2024 --out predictions.parquet
    """
    seasons = span(test_seasons)
    chosen = changed(settings(config), "encoder", weights=weights)
    names = tuple(name.strip() for name in models.split(",")) if models else ()
    from f1_predict.jobs import backtesting, scoring

    if seasons is None:
        raise ConfigError("a backtest needs test seasons. Give them as --test-seasons 2015-2024.")
    workers = workers or default_workers()
    request = backtesting.Request(data, embeddings, out, seasons, names, fractions_of(fractions), workers)
    with open_engine(engine, workers) as opened:
        facts = backtesting.backtest(console, request, chosen, opened)
    card = scoring.score_predictions(console, [out], data)
    if results is not None:
        given = {"models": models, "weights": weights, "config": config}
        options = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
        command = f"f1-predict backtest --test-seasons {test_seasons} --fractions {fractions}{options} --results FILE"
        backtesting.write_results(console, request, facts, card, command, results)
