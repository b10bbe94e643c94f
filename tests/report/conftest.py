"""A small world to report on: simulated races, one without laps and one still to come, and made-up forecasts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest

from f1_predict.config import SimulatorConfig
from f1_predict.evaluation.predictions import write_predictions
from f1_predict.horizon import RaceArchive
from f1_predict.jobs.reporting import summarised
from f1_predict.report.html_report import write_html
from f1_predict.report.page_data import PageData
from f1_predict.report.page_pictures import Examples, examples
from f1_predict.sources.simulator import simulate
from f1_predict.tables import write_store
from tests.report.made_up import made_up

WITHOUT_LAPS, TO_COME = "2101_race_2", "2102_race_3"
FRACTIONS = (0.0, 0.25, 0.5)


@dataclass(frozen=True)
class World:
    """Races, forecasts and the page about them."""

    archive: RaceArchive
    predictions: pl.DataFrame
    page: PageData
    shown: Examples | None
    data: Path
    file: Path
    html: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("report")
    tables = simulate(2, 3, SimulatorConfig(races_per_season=3, teams=4))
    tables = replace(
        tables,
        laps=tables.laps.filter(~pl.col("race_id").is_in([WITHOUT_LAPS, TO_COME])),
        results=tables.results.filter(pl.col("race_id") != TO_COME),
    )
    archive = RaceArchive(tables)
    predictions = made_up(archive, archive.race_ids, FRACTIONS)
    page = summarised(predictions, archive, {"weights": "none: made up"}, race_id="2101_race_3")
    shown = examples(page, predictions, archive)
    write_store(tables, folder / "processed", source="simulated")
    write_predictions(folder / "predictions.parquet", predictions)
    write_html(folder / "report.html", page, shown)
    return World(
        archive,
        predictions,
        page,
        shown,
        folder / "processed",
        folder / "predictions.parquet",
        folder / "report.html",
    )
