"""Commands that explain forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.forecasting import RaceName, number
from f1_predict.cli.options import DATA, MODEL, ModelFolder, Store, Verbose, app, console

Target = Annotated[
    str | None,
    typer.Option(
        "--of",
        metavar="WHAT",
        help="expected_position (if not given), p_win, p_podium, p_points or p_finish.",
    ),
]


@app.command()
def explain(
    race: RaceName,
    driver: Annotated[str, typer.Option(help="Whose forecast: an id, or parts of it.")],
    lap: Annotated[
        str | None, typer.Option(metavar="LAP", help="After the leader completes it; before the race if not given.")
    ] = None,
    of: Target = None,
    json: Annotated[Path | None, typer.Option(help="Write it as JSON; - is the standard output.")] = None,
    out: Annotated[Path | None, typer.Option(help="Draw it: heat map, laps, features.")] = None,
    data: Store = DATA,
    model: ModelFolder = MODEL,
    verbose: Verbose = False,
) -> None:
    """Explain one driver's forecast: picture or table, which features, which laps, where the network looked.

    Needs captum: pip install 'f1-predict[explain]'.

    Example: f1-predict explain 2023 monza --lap 20 --driver sainz --out explanation.png
    """
    from f1_predict.jobs import explaining

    when = None if lap is None else number(lap)
    explaining.show_explanation(console, data, model, " ".join(race), driver, when, of, json, out)


@app.command("explain-check")
def explain_check(
    rounds: Annotated[int, typer.Option(min=1, help="Times that each race gets a slow stop and a puncture.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of drivers, laps, losses and moments.")] = 1,
    of: Target = None,
    data: Store = DATA,
    model: ModelFolder = MODEL,
    verbose: Verbose = False,
) -> None:
    """Measure how often blanked laps find a slow stop or a puncture that was put into races not learnt from.

    Example: f1-predict explain-check --data data/processed --model artifacts/model
    """
    from f1_predict.jobs import explaining

    explaining.check_explanations(console, data, model, rounds, seed, of)
