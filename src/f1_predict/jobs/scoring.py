"""The command that scores a predictions file, whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console

from f1_predict.errors import DataError
from f1_predict.evaluation.predictions import read_predictions
from f1_predict.evaluation.scorecard import Scorecard, make_scorecard
from f1_predict.jobs.stores import Seasons
from f1_predict.report import terminal
from f1_predict.report.score_tables import MAIN_METRICS, scorecard_tables, verdicts
from f1_predict.tables import read_store
from f1_predict.training.files import write_atomically


def score_predictions(
    console: Console,
    files: Sequence[Path],
    data: Path,
    against: str | None = None,
    metrics: Sequence[str] = (),
    out: Path | None = None,
    seasons: Seasons = None,
) -> Scorecard:
    """Score predictions with the results of a store, print the tables, write the scorecard as JSON if asked.

    Args:
        console: printed to.
        files: predictions files, each with other models.
        data: folder of the store that has the results.
        against: model that all others are compared with; the strong rival of the ladder if not given.
        metrics: shown instead of the main ones, the first with its interval.
        out: JSON file to write, whole or not at all.
        seasons: first and last season to score; all if not given.

    Raises:
        DataError: if a file cannot be used, or two files have a model of one name.
        NotFoundError: if a race, the model `against` or a metric is not there.
        StoreError: if the store cannot be read.
    """
    predictions = of_seasons(read_all(files), seasons)
    tables = read_store(data)
    card = make_scorecard(predictions, tables.races, tables.results, against=against)
    for name, columns, rows in scorecard_tables(card, tuple(metrics) or MAIN_METRICS, against):
        console.print(terminal.table(name, columns, rows))
    for line in verdicts(card):
        console.print(line)
    first, last = card.seasons[0], card.seasons[-1]
    which = f"season {first}" if first == last else f"seasons {first} to {last}"
    console.print(
        f"Scored {_count(card.races, 'race')} of {which}; the predictions have {_count(predictions.height, 'row')} "
        f"of {_count(len(card.models), 'model')}."
    )
    for note in card.notes:
        console.print(f"Note: {note}")
    if out is not None:
        text = json.dumps(card.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(out, f"{text}\n".encode())
        console.print(f"Scorecard -> {out}")
    return card


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def of_seasons(predictions: pl.DataFrame, seasons: Seasons) -> pl.DataFrame:
    """The forecasts of some seasons.

    Raises:
        DataError: if there are none.
    """
    if seasons is None:
        return predictions
    season = pl.col("race_id").str.extract(r"^(\d{4})_").cast(pl.Int32)
    kept = predictions.filter(season.is_between(*seasons))
    if kept.is_empty():
        raise DataError(f"no forecast is of {seasons[0]}-{seasons[1]}. Choose seasons that were forecast.")
    return kept


def read_all(files: Sequence[Path]) -> pl.DataFrame:
    """Several predictions files as one.

    Raises:
        DataError: as `read_predictions`, or if two files have a model of one name.
    """
    frames = []
    owner: dict[str, Path] = {}
    for file in files:
        frame = read_predictions(file)
        for model in frame["model"].unique().sort():
            if model in owner:
                raise DataError(
                    f"{file}: model '{model}' is in {owner[model]} too. Rename the model in one of the files."
                )
            owner[model] = file
        frames.append(frame)
    return pl.concat(frames)
