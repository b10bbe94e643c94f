"""The command that writes the report page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import DATA, Store, Verbose, app, console


@app.command()
def report(
    predictions: Annotated[list[Path], typer.Argument(help="Predictions files (Parquet), each with other models.")],
    data: Store = DATA,
    out: Annotated[Path, typer.Option(help="The page, one HTML file.")] = Path("artifacts/report.html"),
    race: Annotated[
        str | None, typer.Option(help="Open the heat map with this race; the last one if not given.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Hold the page's model against this one; ensemble_inrace if not given.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    facts: Annotated[
        Path | None,
        typer.Option(
            help="JSON object of texts to show: how the predictions were made. A backtest leaves one beside them."
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a page about forecasts that opens anywhere: ladder, skill, reliability, every race, best and worst.

    Example: f1-predict report artifacts/predictions.parquet --out report.html --race 2024_race_8
    """
    from f1_predict.jobs import reporting

    read = None if facts is None else reporting.read_facts(facts)
    reporting.write_report(console, predictions, data, out, race_id=race, against=against, title=title, facts=read)
