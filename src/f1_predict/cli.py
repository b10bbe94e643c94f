"""The command line: parses, calls the same functions that Python users call, and prints.

Every intended error becomes one line and exit code 1; `-v` adds the traceback. Commands import `jobs` when they
run, since it brings PyTorch along and `--help` should not wait for it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from f1_predict.config import Config
from f1_predict.errors import ConfigError, F1PredictError
from f1_predict.horizon import AfterLap, PreRace, parse_horizon

app = typer.Typer(
    name="f1-predict",
    help="Forecasts Formula 1 races from pictures and tables together.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
console = Console()
if not console.is_terminal:  # in a pipe or a file: tables as wide as they are made for
    console = Console(width=120)

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More log lines, and the traceback of an error.")]
Settings = Annotated[Path | None, typer.Option("--config", help="TOML file with settings, one section a stage.")]
Store = Annotated[Path, typer.Option("--data", help="Folder of the canonical tables.")]
Traces = Annotated[Path, typer.Option("--traces", help="Folder of the pictures.")]
DatasetFile = Annotated[Path, typer.Option("--dataset", help="The dataset file.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="The model folder.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that draw.")]

DATA = Path("data/processed")
TRACES = Path("data/multimodal/speed_traces")
DATASET = Path("data/multimodal/dataset_cache.json")
MODEL = Path("artifacts/model")


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
    from f1_predict import jobs

    jobs.ingest_races(console, ergast, f1db, fastf1, span(seasons), out)


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
    from f1_predict import jobs

    jobs.simulate_races(console, seasons, seed, out, settings(config))


@app.command()
def traces(
    data: Store = DATA,
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = TRACES,
    at: Annotated[str, typer.Option(help="pre_race, lap_20 (any lap) or full_race.")] = "full_race",
    seasons: Annotated[str | None, typer.Option(help="First and last season, as 2018-2024.")] = None,
    workers: Workers = 2,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Draw a picture of every driver's race; full races by default, to describe finished ones.

    Example: f1-predict traces --at lap_20 --seasons 2023-2024
    """
    from f1_predict import jobs

    jobs.draw_traces(console, data, out, parse_horizon(at), span(seasons), workers, settings(config))


@app.command()
def dataset(
    data: Store = DATA,
    traces: Traces = TRACES,
    out: Annotated[Path, typer.Option(help="The dataset file.")] = DATASET,
    train_seasons: Annotated[str | None, typer.Option(help="Learn from these, the latest of them validate.")] = None,
    test_seasons: Annotated[str | None, typer.Option(help="Score these.")] = None,
    fractions: Annotated[str | None, typer.Option(help="Of the scheduled laps, as 0,0.25,0.5; 0 = before.")] = None,
    workers: Workers = 2,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Draw the pictures at each cut, compute the features, join the labels: the dataset to train on.

    Example: f1-predict dataset --train-seasons 1996-2018 --test-seasons 2019-2024 --fractions 0,0.25,0.5
    """
    chosen = with_fractions(settings(config), fractions)
    from f1_predict import jobs

    jobs.build_dataset(console, data, traces, out, span(train_seasons), span(test_seasons), workers, chosen)


@app.command()
def train(
    dataset: DatasetFile = DATASET,
    traces: Traces = TRACES,
    model: ModelFolder = MODEL,
    head: Annotated[str | None, typer.Option(help="position, position_regression or finish.")] = None,
    weights: Annotated[str | None, typer.Option(help="auto, imagenet, trace, random or a file.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Train the fusion network on pictures and table, and write it as a model folder.

    Example: f1-predict train --head position --weights random --epochs 20
    """
    chosen = settings(config)
    chosen = changed(chosen, "fusion", head=head)
    chosen = changed(chosen, "encoder", weights=weights)
    chosen = changed(chosen, "training", epochs=epochs, seed=seed)
    from f1_predict import jobs

    jobs.train_model(console, dataset, traces, model, chosen)


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
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Train and score the tabular baseline and the networks on the same split, with intervals.

    Example: f1-predict compare --fractions 0,0.25,0.5
    """
    chosen = changed(with_fractions(settings(config), fractions), "encoder", weights=weights)
    from f1_predict import jobs

    jobs.compare_models(console, data, dataset, traces, out, chosen, drop_pictures)


@app.command()
def predict(
    race: Annotated[str, typer.Option(help="Season and round, as 2023_race_14.")],
    lap: Annotated[
        int | None, typer.Option(help="After the leader completes this lap; before the race if not given.")
    ] = None,
    data: Store = DATA,
    model: ModelFolder = MODEL,
    verbose: Verbose = False,
) -> None:
    """Forecast a race: win, podium and points probabilities and expected position of the whole field.

    Example: f1-predict predict --race 2023_race_14 --lap 20
    """
    from f1_predict import jobs

    jobs.show_forecast(console, data, model, race, AfterLap(lap) if lap is not None else PreRace())


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
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Do the whole job: races, pictures, dataset, training, comparison, and a forecast.

    Example: f1-predict run --seasons 3 --seed 1
    """
    chosen = settings(config)
    from f1_predict import jobs

    where = jobs.Places.under(work)
    if ergast is None:
        count = count_of(seasons)
        jobs.simulate_races(console, count, seed, where.data, chosen)
    else:
        jobs.ingest_races(console, ergast, f1db, fastf1, span(seasons), where.data)
    options = {"seasons": seasons, "train-seasons": train_seasons, "test-seasons": test_seasons}
    sources = {"ergast": ergast, "f1db": f1db, "fastf1": fastf1}
    given = [f"--{name} DIR" for name, folder in sources.items() if folder is not None] or [f"--seed {seed}"]
    given += [f"--{name} {value}" for name, value in options.items() if value is not None]
    command = " ".join(["f1-predict run", *given, "--results FILE"])
    jobs.whole_job(console, where, span(train_seasons), span(test_seasons), workers, chosen, results, command)


def span(text: str | None) -> tuple[int, int] | None:
    """First and last season of "1996-2024" or "2024"; None stays None.

    Raises:
        ConfigError: if the text is neither.
    """
    if text is None:
        return None
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()) or int(first) > int(last or first):
        raise ConfigError(f"seasons must be given as 1996-2024 or 2024, got '{text}'.")
    return int(first), int(last or first)


def count_of(text: str | None) -> int:
    """The number of simulated seasons, 3 if none is given.

    Raises:
        ConfigError: if the text is no number of seasons.
    """
    if text is None:
        return 3
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(
            f"without --ergast the races are simulated and --seasons says how many (as 3), got '{text}'. "
            "Give --ergast to use real seasons."
        )
    return int(text)


def settings(path: Path | None) -> Config:
    """The settings of a file, or the defaults."""
    return Config() if path is None else Config.from_toml(path)


def changed(config: Config, stage: str, **values: object) -> Config:
    """A copy of the settings with those values of a stage that are not None, checked.

    Raises:
        ConfigError: if a value cannot be used.
    """
    given = {key: value for key, value in values.items() if value is not None}
    return config.changed(stage, given) if given else config


def with_fractions(config: Config, text: str | None) -> Config:
    """A copy of the settings with the fractions of "0,0.25,0.5".

    Raises:
        ConfigError: if a part is no number.
    """
    if text is None:
        return config
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"fractions must be numbers with commas between, as 0,0.25,0.5; got '{text}'.") from error
    return config.changed("evaluation", {"fractions": fractions})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: as in sys.argv[1:], which is the default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "-v" in given or "--verbose" in given
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_path=False, show_time=False)],
        force=True,
    )
    try:
        app(given, prog_name="f1-predict")
    except F1PredictError as error:
        if verbose:
            logging.getLogger(__name__).exception("the traceback")
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:
        if verbose:
            logging.getLogger(__name__).exception("the traceback")
        sys.stderr.write(f"error: {error}. Give a file or folder that can be read, or written to.\n")
        return 1
    except SystemExit as stop:  # typer's own end: help, usage errors, interruption
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0
