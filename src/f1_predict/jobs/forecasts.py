"""Commands that forecast a race with a trained model."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from f1_predict.errors import DataError
from f1_predict.horizon import Horizon, RaceArchive
from f1_predict.jobs.stores import open_archive
from f1_predict.models.forecaster import Forecaster
from f1_predict.report import terminal
from f1_predict.training.artefacts import read_manifest
from f1_predict.training.train import load_forecaster


def show_forecast(console: Console, data: Path, model: Path, race_id: str, horizon: Horizon) -> None:
    """Print the forecast of one race.

    Raises:
        DataError: if the race has no entries yet.
    """
    archive = open_archive(data)
    snapshot = archive.snapshot(race_id, horizon)  # what is not there is said before a model is loaded
    if snapshot.entries.is_empty():
        raise DataError(f"{race_id} has no entries yet. Ingest it again once its qualifying or entry list is known.")
    season = snapshot.race.season
    manifest = read_manifest(model)
    print_forecast(console, load_forecaster(model), archive, race_id, horizon)
    if season in manifest.data.seasons + manifest.data.validation_seasons:
        console.print(f"Note: {race_id} is of a season that the model learnt from; its forecast is no test of it.")


def print_forecast(
    console: Console, forecaster: Forecaster, archive: RaceArchive, race_id: str, horizon: Horizon
) -> None:
    """Forecast a race and print the table."""
    snapshot = archive.snapshot(race_id, horizon)
    constructors = dict(snapshot.entries.select("driver_id", "constructor_id").iter_rows())
    console.print(terminal.forecast_table(snapshot.race, forecaster.predict(snapshot), constructors))
