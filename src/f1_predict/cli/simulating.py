"""The command that calibrates the race simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f1_predict.cli.options import DATA, Store, Verbose, app, console, span


@app.command()
def calibrate(
    data: Store = DATA,
    out: Annotated[Path, typer.Option(help="The simulator's file of numbers.")] = Path("parameters.toml"),
    page: Annotated[Path | None, typer.Option(help="Also write the page that sets simulated beside real.")] = None,
    seasons: Annotated[str, typer.Option(help="Real seasons that may be looked at, as 1996-2018.")] = "1996-2018",
    simulated: Annotated[int, typer.Option(min=2, help="Seasons simulated in each round, for each era.")] = 16,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of the tuning.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated races.")] = 1,
    verbose: Verbose = False,
) -> None:
    """Tune the simulator's numbers until its races behave as real ones, and set both side by side.

    Example: f1-predict calibrate --data data/processed --out parameters.toml --page docs/simulator.md
    """
    from f1_predict.jobs import calibrating

    looked_at = span(seasons) or (1996, 2018)
    calibrating.calibrate_simulator(console, data, out, page, looked_at, simulated, rounds, seed)
