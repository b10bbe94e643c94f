"""Commands that make data: tables, pictures, dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import (
    DATA,
    DATASET,
    TRACES,
    EngineChoice,
    Settings,
    Store,
    Traces,
    Verbose,
    Workers,
    app,
    changed,
    console,
    settings,
    span,
    with_fractions,
)
from f1_predict.horizon import parse_horizon
from f1_predict.scale import EngineKind, open_engine


@app.command()
def ingest(
    ergast: Annotated[Path, typer.Option(help="Folder or zip of Ergast's CSV dump.")],
    f1db: Annotated[Path | None, typer.Option(help="Folder of f1db's CSV files.")] = None,
    fastf1: Annotated[Path | None, typer.Option(help="Folder of FastF1's laps and weather as Parquet.")] = None,
    seasons: Annotated[str | None, typer.Option(help="First and last season, as 1996-2024.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the canonical tables.")] = DATA,
    verbose: Verbose = False,
) -> None:
    """Read real races into the canonical tables.

    Example: f1-predict ingest --ergast ergast/ --f1db f1db/ --fastf1 fastf1/
    """
    from f1_predict.jobs import stores

    stores.ingest_races(console, ergast, f1db, fastf1, span(seasons), out)


@app.command()
def simulate(
    seasons: Annotated[int, typer.Option(min=1, help="How many seasons.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed gives the same races.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the canonical tables.")] = DATA,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Write simulated seasons as the canonical tables: data for machines without any.

    Example: f1-predict simulate --seasons 3 --seed 1
    """
    from f1_predict.jobs import stores

    stores.simulate_races(console, seasons, seed, out, settings(config))


@app.command()
def traces(
    data: Store = DATA,
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = TRACES,
    at: Annotated[str, typer.Option(help="pre_race, lap_20 (any lap) or full_race.")] = "full_race",
    style: Annotated[str | None, typer.Option(help="speed, or race: a pit wall's view, in a folder race/.")] = None,
    seasons: Annotated[str | None, typer.Option(help="First and last season, as 2018-2024.")] = None,
    workers: Workers = 2,
    engine: EngineChoice = EngineKind.local,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Draw a picture of every driver's race; full races by default, to describe finished ones.

    Example: f1-predict traces --at lap_20 --seasons 2023-2024
    """
    from f1_predict.jobs import pictures

    chosen = changed(settings(config), "picture", style=style)
    horizon, years = parse_horizon(at), span(seasons)
    with open_engine(engine, workers) as opened:
        pictures.draw_traces(console, data, out, horizon, years, workers, chosen, opened)


@app.command()
def dataset(
    data: Store = DATA,
    traces: Traces = TRACES,
    out: Annotated[Path, typer.Option(help="The dataset file.")] = DATASET,
    train_seasons: Annotated[str | None, typer.Option(help="Learn from these, the latest of them validate.")] = None,
    test_seasons: Annotated[str | None, typer.Option(help="Score these.")] = None,
    fractions: Annotated[str | None, typer.Option(help="Of the scheduled laps, as 0,0.25,0.5; 0 = before.")] = None,
    workers: Workers = 2,
    engine: EngineChoice = EngineKind.local,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Draw the pictures at each cut, compute the features, join the labels: the dataset to train on.

    Example: f1-predict dataset --train-seasons 1996-2018 --test-seasons 2019-2024 --fractions 0,0.25,0.5
    """
    chosen = with_fractions(settings(config), fractions)
    from f1_predict.jobs import pictures

    learnt, scored = span(train_seasons), span(test_seasons)
    with open_engine(engine, workers) as opened:
        pictures.build_dataset(console, data, traces, out, learnt, scored, workers, chosen, opened)
