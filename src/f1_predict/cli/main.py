"""The entry point: runs a command and turns errors into one line and an exit code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.logging import RichHandler

from f1_predict.cli import (
    backtesting,
    caching,
    data,
    explaining,
    fetching,
    forecasting,
    judging,
    models,
    pretraining,
    probing,
    reporting,
    serving,
    simulating,
)
from f1_predict.cli.options import app
from f1_predict.errors import F1PredictError

COMMANDS = (
    data,
    simulating,
    fetching,
    models,
    forecasting,
    explaining,
    backtesting,
    probing,
    pretraining,
    judging,
    reporting,
    serving,
    caching,
)
"""Importing a module registers its commands, in this order of `--help`."""


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
