"""Commands that judge forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import DATA, Store, Verbose, app, console, span


@app.command()
def score(
    predictions: Annotated[list[Path], typer.Argument(help="Predictions files (Parquet), each with other models.")],
    data: Store = DATA,
    against: Annotated[
        str | None, typer.Option(help="Compare every model with this one; ensemble_inrace if not given.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Show this metric; again for more. The first is shown with its interval.")
    ] = None,
    seasons: Annotated[str | None, typer.Option(help="Score these alone, as 2019-2024.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the scorecard here, as JSON.")] = None,
    verbose: Verbose = False,
) -> None:
    """Score anybody's forecasts in a predictions file: all metrics, intervals, who beats whom.

    Example: f1-predict score artifacts/predictions.parquet --against current_order
    """
    from f1_predict.jobs import scoring

    scoring.score_predictions(console, predictions, data, against, metric or (), out, span(seasons))
