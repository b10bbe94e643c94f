"""Builds the dataset: draws the pictures, computes the features, joins the labels, writes the cache file.

One of the two places where labels are read. Safe to interrupt: pictures that are there and current are not
drawn again, and the cache file is replaced only when it is complete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from f1_predict import features as feature_stage
from f1_predict.config import FeatureConfig
from f1_predict.errors import DataError, HorizonError, LabelError
from f1_predict.horizon import Horizon, RaceArchive
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.scale import Engine
from f1_predict.training.drawing import DrawingSummary, draw_cuts
from f1_predict.training.files import write_atomically
from f1_predict.training.progress import ProgressCallback

Cut = tuple[str, Horizon, str]
"""race_id, horizon and split ("train", "validation", "test") of the rows of one race at one cut."""


def build_dataset_cache(
    archive: RaceArchive,
    cuts: Sequence[Cut],
    generator: SpeedTraceGenerator,
    cache_file: str | Path,
    *,
    features: FeatureConfig | None = None,
    workers: int = 1,
    allow_leaking: bool = False,
    progress: ProgressCallback | None = None,
    engine: Engine | None = None,
) -> DrawingSummary:
    """Draw, compute and write the dataset of some cuts, rows in the order of `cuts` and of the races' entries.

    Args:
        archive: the races, with their results.
        cuts: which races, when, and for which split.
        generator: draws the pictures into its folder.
        cache_file: `dataset_cache.json`; replaced when all is done.
        features: settings of the features; None takes the usual ones.
        workers, engine: what to draw with, see `draw_cuts`.
        allow_leaking: permit FullRace, whose rows see their own label. The cache is then marked `"leaks": true`.
        progress: told of the pictures drawn, those already there not counted.

    Raises:
        DataError: if a cut is given twice, or a race belongs to two splits.
        HorizonError: if FullRace is asked for without `allow_leaking`, or a race does not reach a cut.
        NotFoundError: if there is no such race.
        LabelError: if a starter has no result.
        PictureError: if pictures cannot be written.
        ArtefactError: if the cache file cannot be written.
    """
    _check_cuts(cuts, allow_leaking)
    labels = [_labels(archive, race_id) for race_id, _, _ in cuts]
    settings_used = features or FeatureConfig()
    table = feature_stage.build_many(archive, [(race_id, horizon) for race_id, horizon, _ in cuts], settings_used)
    names = list(feature_stage.FEATURE_NAMES)
    pictures, summary = draw_cuts(
        archive, [(race_id, horizon) for race_id, horizon, _ in cuts], generator, workers, progress, engine
    )

    rows: list[dict[str, Any]] = []
    values = table.select(names).iter_rows()
    for (race_id, horizon, split), results, drawn in zip(cuts, labels, pictures, strict=True):
        lap = archive.snapshot(race_id, horizon).cutoff_lap
        for driver_id, (position, classified) in results.items():
            rows.append(
                {
                    "race_id": race_id,
                    "driver_id": driver_id,
                    "image_path": _written_path(drawn.paths.get(driver_id), generator),
                    "tabular_features": [_json_number(value) for value in next(values)],
                    "label": position,
                    "finished": classified,
                    "horizon": horizon.name,
                    "cutoff_lap": lap,
                    "split": split,
                    "n_starters": len(results),
                }
            )
    settings = {"picture": generator.config.model_dump(mode="json"), "features": settings_used.model_dump(mode="json")}
    head = {
        "feature_names": names,
        "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "leaks": any(horizon.leaks for _, horizon, _ in cuts),
        "settings": settings,
    }
    _write(Path(cache_file), rows, head)
    return summary


def _check_cuts(cuts: Sequence[Cut], allow_leaking: bool) -> None:
    splits: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for race_id, horizon, split in cuts:
        if horizon.leaks and not allow_leaking:
            raise HorizonError(
                f"{race_id}: the horizon '{horizon.name}' sees the result it is to forecast, so a dataset of it must "
                "be asked for with allow_leaking=True. Use 'pre_race' or 'lap_20' (any lap) for forecasts."
            )
        if (race_id, horizon.name) in seen:
            raise DataError(f"the cut {race_id}, {horizon.name} is given twice. Give each cut once.")
        if splits.setdefault(race_id, split) != split:
            raise DataError(
                f"{race_id} must belong to one split, got '{splits[race_id]}' and '{split}'. "
                "Split by race or season, so that no race stands on both sides."
            )
        seen.add((race_id, horizon.name))


def _labels(archive: RaceArchive, race_id: str) -> dict[str, tuple[int, bool]]:
    """Finishing position (from 1) and whether classified, of every starter, in the order of entries."""
    entries = archive.rows("entries", race_id).select("driver_id")
    results = archive.rows("results", race_id).select("driver_id", "position", "classified")
    joined = entries.join(results, on="driver_id", how="left", maintain_order="left")
    without = joined.filter(pl.col("position").is_null())
    if without.height:
        raise LabelError(
            f"{race_id}, {without['driver_id'][0]}: no result, so there is no label "
            f"({without.height} of {joined.height} starters have none). Leave races without results out of the dataset."
        )
    return {driver: (position, classified) for driver, position, classified in joined.iter_rows()}


def _written_path(path: str | None, generator: SpeedTraceGenerator) -> str | None:
    """As the generator gives it, below a folder like data/multimodal/speed_traces; else relative to its folder.

    So that the dataset and its pictures can be moved together: no absolute path is written.
    """
    if path is None:
        return None
    if Path(path).is_absolute() or ".." in Path(path).parts:
        return Path(path).relative_to(generator.output_dir).as_posix()
    return Path(path).as_posix()


def _json_number(value: float | None) -> float | None:
    """Null for what is unknown: JSON has no NaN."""
    return None if value is None or math.isnan(value) else value


def _write(cache_file: Path, rows: list[dict[str, Any]], head: dict[str, Any]) -> None:
    """The design's schema, one row a line so that people can read it and tools can compare it."""
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    text = f'{json.dumps(head)[:-1]}, "metadata": [\n{lines}\n]}}\n'
    write_atomically(cache_file, text.encode())
