"""The command that turns predictions files into the report page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from rich.console import Console

from f1_predict.errors import ConfigError
from f1_predict.evaluation import ladder
from f1_predict.evaluation.scorecard import make_scorecard
from f1_predict.horizon import RaceArchive
from f1_predict.jobs.scoring import read_all
from f1_predict.jobs.stores import open_archive
from f1_predict.report.html_report import write_html
from f1_predict.report.page_data import PageData, page_data, rival_of
from f1_predict.report.page_pictures import examples
from f1_predict.tables import store_source

FILE_DIGEST = "predictions sha256"
"""Name of the fact that says which predictions the facts are about."""
DRAWS, SEED = 2000, 0
"""Of the bootstrap behind every interval of the page."""


def write_report(
    console: Console,
    files: Sequence[Path],
    data: Path,
    out: Path,
    *,
    race_id: str | None = None,
    against: str | None = None,
    title: str | None = None,
    facts: Mapping[str, str] | None = None,
) -> PageData:
    """Score predictions with the results of a store and write the page.

    Args:
        console: printed to.
        files: predictions files, each with other models.
        data: folder of the store that has the results.
        out: HTML file to write, whole or not at all.
        race_id: the race that the heat map opens with; default the last one.
        against: what the page's model is held against; default see `rival_of`.
        title: of the page; default names the seasons.
        facts: weights and settings that the predictions were made with, by name; shown after those known here. If not
            given, what a backtest left beside its predictions.

    Raises:
        DataError: if a file cannot be used.
        NotFoundError: if a race or the model `against` is not there.
        StoreError: if the store cannot be read.
        ArtefactError: if the page cannot be written.
    """
    predictions = read_all(files)
    archive = open_archive(data)
    told = told_beside(console, files) if facts is None else facts
    known = facts_of(files, predictions, data, archive) | dict(told)
    page = summarised(predictions, archive, known, race_id=race_id, against=against, title=title)
    shown = examples(page, predictions, archive)
    size = write_html(out, page, shown)
    console.print(
        f"Report on {page.card.races:,} races by {len(page.card.models)} models, about {page.main}"
        + (f" against {page.rival}" if page.rival is not None else "")
        + f": {size / 1e6:.1f} MB -> {out}"
    )
    return page


def summarised(
    predictions: pl.DataFrame,
    archive: RaceArchive,
    facts: Mapping[str, str],
    *,
    race_id: str | None = None,
    against: str | None = None,
    title: str | None = None,
) -> PageData:
    """Score predictions, all models against the page's rival, and summarise them; see `write_report`."""
    models = ladder.ordered(predictions["model"].unique().to_list())
    rival = rival_of(models, against)
    tables = archive.tables
    card = make_scorecard(predictions, tables.races, tables.results, against=rival, draws=DRAWS, seed=SEED)
    return page_data(card, predictions, archive, facts, against=rival, race_id=race_id, title=title)


def facts_of(files: Sequence[Path], predictions: pl.DataFrame, data: Path, archive: RaceArchive) -> dict[str, str]:
    """What can be told of files and store."""
    hashes = [f"{file.name} (sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:16]})" for file in files]
    seasons = archive.races["season"].to_list()
    return {
        "predictions": f"{', '.join(hashes)}, {predictions.height:,} rows",
        "data": (
            f"{data.name}: {store_source(data)} races of {seasons[0]}-{seasons[-1]}, {len(seasons):,} races, "
            f"{archive.tables.laps.height:,} laps"
        ),
        "intervals": f"{DRAWS:,} draws of whole races, seed {SEED}",
    }


def told_beside(console: Console, files: Sequence[Path]) -> dict[str, str]:
    """What the files beside predictions tell of how they were made; those about another state of them are left out."""
    told: dict[str, str] = {}
    for file in files:
        beside = file.with_name(f"{file.stem}.facts.json")
        if not beside.is_file():
            continue
        read = read_facts(beside)
        if read.pop(FILE_DIGEST, "") == hashlib.sha256(file.read_bytes()).hexdigest():
            told |= read if len(files) == 1 else {f"{file.name}: {name}": value for name, value in read.items()}
        else:
            console.print(f"Note: {beside} is about other predictions than {file} now holds, and is not shown.")
    return told


def read_facts(path: Path) -> dict[str, str]:
    """Weights and settings from a JSON file: an object of texts.

    Raises:
        ConfigError: if it is no such file.
    """
    try:
        read = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f'{path}: is no JSON ({error}). Give an object as {{"weights": "trace"}}.') from error
    if not isinstance(read, dict) or not all(isinstance(value, str) for value in read.values()):
        raise ConfigError(f'{path}: must be a JSON object of texts, as {{"weights": "trace"}}. Quote its values.')
    return read
