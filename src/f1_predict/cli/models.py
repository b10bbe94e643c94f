"""Commands that learn, and the one that does the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import (
    DATA,
    DATASET,
    EMBEDDINGS,
    FIELD_MODEL,
    MODEL,
    TRACES,
    DatasetFile,
    Embeddings,
    EngineChoice,
    MaxMemory,
    ModelFolder,
    Settings,
    Store,
    Traces,
    Verbose,
    Workers,
    app,
    changed,
    console,
    count_of,
    settings,
    span,
    with_fractions,
)
from f1_predict.scale import EngineKind, default_workers, open_engine


@app.command()
def train(
    dataset: DatasetFile = DATASET,
    traces: Traces = TRACES,
    model: ModelFolder = MODEL,
    head: Annotated[str | None, typer.Option(help="position, position_regression or finish.")] = None,
    weights: Annotated[str | None, typer.Option(help="auto, imagenet, trace, random or a file.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    engine: EngineChoice = EngineKind.local,
    max_memory: MaxMemory = None,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Train the fusion network on pictures and table, a second one for who will be classified, and write both.

    Example: f1-predict train --head position --weights random --epochs 20
    """
    chosen = settings(config)
    chosen = changed(chosen, "fusion", head=head)
    chosen = changed(chosen, "encoder", weights=weights)
    chosen = changed(chosen, "training", epochs=epochs, seed=seed)
    from f1_predict.jobs import learning

    with open_engine(engine, default_workers()) as opened:
        learning.train_model(console, dataset, traces, model, chosen, opened)


@app.command("train-field")
def train_field(
    data: Store = DATA,
    embeddings: Embeddings = EMBEDDINGS,
    model: ModelFolder = FIELD_MODEL,
    seasons: Annotated[str | None, typer.Option(help="Learn from these, as 1996-2018; all if not given.")] = None,
    weights: Annotated[str | None, typer.Option(help="auto, imagenet, trace, random or a file.")] = None,
    engine: EngineChoice = EngineKind.local,
    max_memory: MaxMemory = None,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Train the networks that see the whole field, and how the race stands: `best` in the backtest.

    Needs the store alone; pictures are drawn and encoded on the way, and kept. The latest season chooses the epochs.

    Example: f1-predict train-field --seasons 1996-2023
    """
    chosen = changed(settings(config), "encoder", weights=weights)
    from f1_predict.jobs import field_learning

    request = field_learning.Request(data, embeddings, model, span(seasons))
    with open_engine(engine, default_workers()) as opened:
        field_learning.train_field_model(console, request, chosen, opened)


@app.command()
def compare(
    data: Store = DATA,
    dataset: DatasetFile = DATASET,
    traces: Traces = TRACES,
    out: Annotated[Path, typer.Option(help="Where the predictions go, as Parquet.")] = Path(
        "artifacts/predictions.parquet"
    ),
    fractions: Annotated[str | None, typer.Option(help="Score these, as 0,0.25,0.5.")] = None,
    weights: Annotated[str | None, typer.Option(help="auto, imagenet, trace, random or a file.")] = None,
    drop_pictures: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Train once more without this share of the pictures.")
    ] = 0.0,
    engine: EngineChoice = EngineKind.local,
    max_memory: MaxMemory = None,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Train and score the tabular baseline and the networks on the same split, with intervals.

    Example: f1-predict compare --fractions 0,0.25,0.5
    """
    chosen = changed(with_fractions(settings(config), fractions), "encoder", weights=weights)
    from f1_predict.jobs import learning

    with open_engine(engine, default_workers()) as opened:
        learning.compare_models(console, data, dataset, traces, out, chosen, drop_pictures, opened)


@app.command()
def run(
    seasons: Annotated[str | None, typer.Option(help="Simulated: how many. Real: first-last, as 1996-2024.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated races.")] = 1,
    ergast: Annotated[Path | None, typer.Option(help="Use real races: folder or zip of Ergast's dump.")] = None,
    f1db: Annotated[Path | None, typer.Option(help="Folder of f1db's CSV files.")] = None,
    fastf1: Annotated[Path | None, typer.Option(help="Folder of FastF1's Parquet files.")] = None,
    train_seasons: Annotated[str | None, typer.Option(help="Learn from these, the latest of them validate.")] = None,
    test_seasons: Annotated[str | None, typer.Option(help="Score these.")] = None,
    work: Annotated[Path, typer.Option(help="Folder that everything is written under.")] = Path(),
    results: Annotated[Path | None, typer.Option(help="Also write a results page (Markdown) here.")] = None,
    workers: Workers = 2,
    engine: EngineChoice = EngineKind.local,
    max_memory: MaxMemory = None,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Do the whole job: races, pictures, dataset, training, comparison, and a forecast.

    Example: f1-predict run --seasons 3 --seed 1
    """
    chosen = settings(config)
    from f1_predict.jobs import stores, whole

    where = whole.Places.under(work)
    if ergast is None:
        count = count_of(seasons)
        stores.simulate_races(console, count, seed, where.data, chosen)
    else:
        stores.ingest_races(console, ergast, f1db, fastf1, span(seasons), where.data)
    options = {"seasons": seasons, "train-seasons": train_seasons, "test-seasons": test_seasons}
    sources = {"ergast": ergast, "f1db": f1db, "fastf1": fastf1}
    given = [f"--{name} DIR" for name, folder in sources.items() if folder is not None] or [f"--seed {seed}"]
    given += [f"--{name} {value}" for name, value in options.items() if value is not None]
    command = " ".join(["f1-predict run", *given, "--results FILE"])
    learnt, scored = span(train_seasons), span(test_seasons)
    with open_engine(engine, workers) as opened:
        whole.whole_job(console, where, learnt, scored, workers, chosen, results, command, opened)
