"""The list of races and drivers without laps: they get no picture, and this file says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from f1_predict.errors import StoreError
from f1_predict.files import replace_file
from f1_predict.schemas import Tables


@dataclass(frozen=True)
class SkippedCounts:
    """How many races have no laps at all, and how many drivers have none in the other races."""

    races: int
    drivers: int

    def __str__(self) -> str:
        return f"{self.races} races without laps, {self.drivers} drivers without laps in the others"


def skipped_file(data: Path) -> Path:
    """Where the races and drivers without laps of a store are listed."""
    return data.parent / "multimodal/skipped_races.json"


def skipped_races(tables: Tables) -> dict[str, Any]:
    """Races without laps, and (race, driver) pairs without laps in races that have some, each with the reason."""
    with_laps = tables.laps.select("race_id").unique()
    races = tables.races.join(with_laps, on="race_id", how="anti", maintain_order="left")
    entries = tables.entries.join(with_laps, on="race_id", how="semi", maintain_order="left")
    pair = ["race_id", "driver_id"]
    idle = entries.join(tables.laps.select(pair).unique(), on=pair, how="anti", maintain_order="left")
    idle = idle.join(tables.results, on=pair, how="left", maintain_order="left")
    ran = pl.col("laps_completed") > 0
    reason = (
        pl.when(ran)
        .then(pl.format("{} laps completed, none recorded", "laps_completed"))
        .otherwise(pl.format("completed no lap ({})", pl.col("status").fill_null("no result")))
    )
    drivers = idle.select(*pair, reason=reason).to_dicts()
    listed = races.select("race_id", "season", "name", reason=pl.lit("no lap is recorded")).to_dicts()
    return {"counts": {"races": len(listed), "drivers": len(drivers)}, "races": listed, "drivers": drivers}


def write_skipped_races(tables: Tables, path: Path = Path("data/multimodal/skipped_races.json")) -> SkippedCounts:
    """Write `skipped_races` as JSON, in place of what was there, whole or not at all.

    Raises:
        StoreError: if the file cannot be written.
    """
    content = skipped_races(tables)
    try:
        replace_file(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error}). Free the place, or choose another.") from error
    return SkippedCounts(**content["counts"])


def refresh_skipped_races(tables: Tables, data: Path) -> None:
    """Write the list that belongs to a store again, if it is not there or says something else.

    Raises:
        StoreError: if the file cannot be written.
    """
    file = skipped_file(data)
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        there = None  # not there, or damaged: written anew
    if there != skipped_races(tables):
        write_skipped_races(tables, file)


def count_skipped(path: Path = Path("data/multimodal/skipped_races.json")) -> SkippedCounts:
    """The counts in a file of `write_skipped_races`.

    Raises:
        StoreError: if the file is missing or is no such file.
    """
    remedy = "Write it again with 'f1-predict fetch --seasons YEAR' or 'f1-predict ingest --ergast DIR'."
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))["counts"]
        return SkippedCounts(races=int(counts["races"]), drivers=int(counts["drivers"]))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}). {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: is no list of skipped races ({error!r}). {remedy}") from error
