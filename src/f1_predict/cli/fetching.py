"""Commands that bring real races from data services, keep them up to date, and say what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import (
    DATA,
    EMBEDDINGS,
    TRACES,
    Embeddings,
    Settings,
    Store,
    Traces,
    Verbose,
    app,
    console,
    settings,
    span,
)

RAW = Path("data/raw")
ALL_SOURCES = "jolpica,fastf1,f1db"

Sources = Annotated[str, typer.Option("--source", help="Services to ask, with commas between.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the canonical tables.")]
Raw = Annotated[Path, typer.Option("--raw", help="Folder of the fetched answers; kept, so that none is asked twice.")]

data_app = typer.Typer(help="What there is, and what is missing.", no_args_is_help=True, rich_markup_mode=None)
entries_app = typer.Typer(help="Entries and grid of a coming race.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
app.add_typer(entries_app, name="entries")


@app.command()
def fetch(
    seasons: Annotated[str, typer.Option(help="First and last season, as 2018-2024.")],
    source: Sources = ALL_SOURCES,
    out: Out = DATA,
    raw: Raw = RAW,
    telemetry: Annotated[bool, typer.Option("--telemetry", help="Keep FastF1's car data too (large).")] = False,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Download real races and make the canonical tables of them; goes on where it was interrupted.

    A season takes about 270 requests to Jolpica, which allows 500 an hour: ten seasons take about five hours.

    Example: f1-predict fetch --seasons 2023-2024
    """
    first, last = span(seasons) or (0, 0)
    chosen = settings(config).fetch
    from f1_predict.jobs import fetching

    request = fetching.Request(
        tuple(range(first, last + 1)), fetching.parse_sources(source), out, raw, telemetry=telemetry
    )
    fetching.fetch_races(console, request, chosen)


@app.command()
def update(
    seasons: Annotated[str | None, typer.Option(help="As 2023-2024; from the last one there if not given.")] = None,
    source: Sources = ALL_SOURCES,
    out: Out = DATA,
    raw: Raw = RAW,
    config: Settings = None,
    verbose: Verbose = False,
) -> None:
    """Ask again for new races and corrected results, and say what changed.

    Example: f1-predict update
    """
    chosen = settings(config).fetch
    from f1_predict.jobs import fetching

    fetching.update_races(console, out, raw, fetching.parse_sources(source), span(seasons), chosen)


@data_app.command("status")
def status(
    seasons: Annotated[str | None, typer.Option(help="As 2018-2024; one season shows its races.")] = None,
    data: Store = DATA,
    traces: Traces = TRACES,
    embeddings: Embeddings = EMBEDDINGS,
    raw: Annotated[Path, typer.Option(help="Folder of the fetched answers, for the commands that are named.")] = RAW,
    verbose: Verbose = False,
) -> None:
    """Show seasons by kind of data, what is missing, and the command that gets it.

    Example: f1-predict data status --seasons 2024
    """
    from f1_predict.jobs.status import show_status

    show_status(console, data, traces, embeddings, span(seasons), raw=raw)


@entries_app.command("template")
def template(
    race: Annotated[str, typer.Option(help="The coming race: season and round, as 2025_race_3.")],
    out: Annotated[Path | None, typer.Option(help="The file; entries_[race].csv if not given.")] = None,
    data: Store = DATA,
    verbose: Verbose = False,
) -> None:
    """Write a CSV file for the entries and the grid of a coming race, to be filled in.

    Example: f1-predict entries template --race 2025_race_3
    """
    from f1_predict.jobs.entry_lists import write_template

    write_template(console, data, race, out or Path(f"entries_{race}.csv"))


@entries_app.command("add")
def add(
    race: Annotated[str, typer.Option(help="The coming race: season and round, as 2025_race_3.")],
    file: Annotated[Path, typer.Option(help="The filled-in file.")],
    data: Store = DATA,
    verbose: Verbose = False,
) -> None:
    """Read the filled-in entries of a coming race into the store.

    Example: f1-predict entries add --race 2025_race_3 --file entries_2025_race_3.csv
    """
    from f1_predict.jobs.entry_lists import add_entries

    add_entries(console, data, race, file)
