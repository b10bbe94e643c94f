"""The program, the options that several commands have, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from f1_predict.config import Config
from f1_predict.errors import ConfigError
from f1_predict.scale import EngineKind

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
Embeddings = Annotated[Path, typer.Option("--embeddings", help="Folder of the encoded pictures.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="The model folder.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that draw.")]
EngineChoice = Annotated[
    EngineKind, typer.Option("--engine", help="local, or ray: the cluster at RAY_ADDRESS, else Ray on this machine.")
]


def _capped(text: str | None) -> str | None:
    """Set the limit as soon as it is read: it is the process's, whatever the command."""
    if text is not None:
        size = bytes_of(text)
        from f1_predict.training.memory import limit_resident

        limit_resident(size)
    return text


MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        callback=_capped,
        help="Most resident memory of each process that this command starts, as 1500MB or 1.5GB: batches of pictures "
        "and rows are kept small enough. Processes of a Ray cluster that runs already are not reached.",
    ),
]

DATA = Path("data/processed")
TRACES = Path("data/multimodal/speed_traces")
DATASET = Path("data/multimodal/dataset_cache.json")
MODEL = Path("artifacts/model")
FIELD_MODEL = Path("artifacts/field")
EMBEDDINGS = Path("data/multimodal/embeddings")


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
    return config if text is None else config.changed("evaluation", {"fractions": fractions_of(text)})


def fractions_of(text: str) -> tuple[float, ...]:
    """The numbers of "0,0.25,0.5".

    Raises:
        ConfigError: if a part is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"fractions must be numbers with commas between, as 0,0.25,0.5; got '{text}'.") from error


def bytes_of(text: str) -> int:
    """The bytes of "1500MB" or "1.5GB" (powers of ten).

    Raises:
        ConfigError: if it is neither.
    """
    units = {"MB": 10**6, "GB": 10**9}
    number, unit = text[:-2].strip(), text[-2:].upper()
    try:
        size = float(number) * units[unit]
    except (ValueError, KeyError):
        size = 0.0
    if not 0.0 < size < 1e15:
        raise ConfigError(f"memory must be given as 1500MB or 1.5GB, got '{text}'.")
    return int(size)
