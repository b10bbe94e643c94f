"""Commands that explain: one driver's forecast, and how far blanked laps can be trusted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
from rich.console import Console
from scipy.stats import binomtest

from f1_predict.api import open_predictor
from f1_predict.errors import ConfigError, DataError
from f1_predict.explain import known_causes
from f1_predict.explain.attribution import captum_attr
from f1_predict.forecasting import find_race, find_starter, horizon_after
from f1_predict.horizon import RaceArchive
from f1_predict.jobs.forecasts import STANDARD_OUTPUT, write_output
from f1_predict.report.plain import table
from f1_predict.tables import read_store
from f1_predict.training.files import write_atomically
from f1_predict.training.manifests import read_manifest
from f1_predict.training.train import load_forecaster

BEST = (1, 3)
"""Among how many laps a cause is looked for."""


def show_explanation(
    console: Console,
    data: Path,
    model: Path,
    race: str,
    driver: str,
    lap: object = None,
    target: str | None = None,
    json_to: Path | None = None,
    png_to: Path | None = None,
) -> None:
    """Explain one driver's forecast: on the terminal, as JSON, as a picture.

    Args:
        console: where it is shown; not at all where the JSON goes to the standard output.
        data: the store.
        model: the model folder.
        race: its id, or season and parts of its name.
        driver: its id, or parts of it.
        lap: after this one; None: before the race.
        target: see `Predictor.explain`.
        json_to: file for the JSON, "-" for the standard output.
        png_to: file for the picture.

    Raises:
        NotFoundError, AmbiguousError: if a name fits no race or driver, or several.
        HorizonError: if the race has no such lap.
        DataError: if it has no entries yet.
        ConfigError: if the model says nothing of the target, captum is not installed, or the picture would go to the
            standard output.
        ArtefactError: if the model cannot be read, or a file not be written.
    """
    if png_to == STANDARD_OUTPUT:
        raise ConfigError("--out takes the name of a picture file, as explanation.png; only --json can be -.")
    captum_attr()
    archive = RaceArchive(read_store(data))
    race_id = find_race(archive.races, race)  # what is not there is said before a model is loaded
    horizon_after(archive, race_id, lap)
    driver_id = find_starter(archive, race_id, driver)
    found = open_predictor(model, data, archive).explain(race_id, driver_id, lap, target)  # type: ignore[arg-type]
    if png_to is not None:
        from f1_predict.report.explain_picture import explanation_png  # for who wants a picture

        write_atomically(png_to, explanation_png(found))
    if json_to is not None:
        text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_output(json_to, text.encode())
    if json_to == STANDARD_OUTPUT:
        return
    from f1_predict.report.explain_view import explanation_view

    for part in explanation_view(found, console.width):
        console.print(part, highlight=False)
    for path in (json_to, png_to):
        if path is not None:
            console.print(f"-> {path}", highlight=False)


def check_explanations(console: Console, data: Path, model: Path, rounds: int, seed: int, target: str | None) -> None:
    """Put trouble into races that the model has not learnt from, and print how often blanked laps find it.

    Args:
        console: where the table goes.
        data: the store.
        model: the model folder.
        rounds: times that each race gets a slow stop and a puncture.
        seed: of drivers, laps, losses and cuts.
        target: see `Predictor.explain`.

    Raises:
        DataError: if there is no race with laps of a season that the model has not learnt from, or none is long enough.
        ArtefactError: if the model cannot be read.
        ConfigError: if the model says nothing of the target.
    """
    tables = read_store(data)
    learnt = read_manifest(model).data
    new = tables.races.filter(~pl.col("season").is_in([*learnt.seasons, *learnt.validation_seasons]))
    race_ids = new.filter(pl.col("race_id").is_in(tables.laps["race_id"].unique().to_list()))["race_id"].to_list()
    if not race_ids:
        raise DataError(
            f"{data} has no race with laps of a season that the model in {model} has not learnt from. "
            "Simulate or ingest a season more than it was trained on."
        )
    forecaster = load_forecaster(model)
    rows = pl.concat(
        [known_causes.measure(forecaster, tables, race_ids, seed + number, target) for number in range(rounds)]
    )
    if rows.is_empty():
        raise DataError(
            f"the {len(race_ids)} races of {data} that the model has not learnt from are too short, or too eventful, "
            "for a slow stop or a puncture to be put into one. Simulate or ingest whole races."
        )
    console.print(found_table(rows))


def found_table(rows: pl.DataFrame) -> object:
    """How often the cause is among the laps that changed the forecast most, beside chance; rows of `measure`."""
    heads = ["cause", "cases", "laps", *(f"top {best} (by chance)" for best in BEST), "share of change (by chance)"]
    lines = []
    for cause in [*known_causes.CAUSES, "both"]:
        some = rows if cause == "both" else rows.filter(cause=cause)
        if some.is_empty():
            continue
        laps, share = some["laps"].to_numpy(), some["share"].to_numpy()
        line: list[object] = [cause, some.height, f"{laps.mean():.0f}"]
        for best in BEST:
            hits = binomtest(int((some["rank"] <= best).sum()), some.height)
            low, high = hits.proportion_ci(method="wilson")
            chance = sum(known_causes.by_chance(count, best) for count in laps) / some.height
            line.append(f"{hits.statistic:.0%}, {low:.0%} to {high:.0%} ({chance:.0%})")
        line.append(f"{share.mean():.1%} ({(2.0 / laps).mean():.1%})")
        lines.append(line)
    return table("Is the lap of the trouble among those whose blanking changes the forecast most?", heads, lines)
