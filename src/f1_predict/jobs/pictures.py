"""Commands that draw: pictures of races, and the dataset of pictures, features and labels."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from rich.console import Console

from f1_predict.config import Config
from f1_predict.horizon import AfterLap, Horizon
from f1_predict.jobs.stores import Seasons, open_archive, skipped_text
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.report import terminal
from f1_predict.scale import Engine
from f1_predict.training.dataset_cache import build_dataset_cache
from f1_predict.training.drawing import DrawingSummary, draw_cuts
from f1_predict.training.files import write_atomically
from f1_predict.training.split import SeasonSplit, cuts_of, split_seasons

MULTIMODAL_README = """# Pictures and dataset, made by f1-predict

- `speed_traces/[race_id]/[driver_id].png`: full races, to describe them; `pre_race/` and `lap_[k]/` below a race: what
  was known at that cut, to forecast from. Pictures in style `race` are in `speed_traces/race/`, else alike.
- `dataset_cache.json`: one row per race, driver and cut: picture, features (null = unknown), finishing position.
- `embeddings/`: encoded pictures by content; can be removed at any time and is made again.
- `skipped_races.json`: races and drivers without laps, which have no picture.
- `generation_errors.log`: pictures that could not be drawn, with the reason; there only if there were any.

Everything here can be made again: `f1-predict traces`, then `f1-predict dataset`.
"""


def draw_traces(
    console: Console,
    data: Path,
    out: Path,
    horizon: Horizon,
    seasons: Seasons,
    workers: int,
    config: Config,
    engine: Engine | None = None,
) -> DrawingSummary:
    """Draw every race at one horizon; races that do not reach it are counted."""
    archive = open_archive(data)
    asked = archive.races.filter(pl.col("season").is_between(*seasons)) if seasons else archive.races
    if horizon.leaks:
        console.print("Full races show their own finish: these pictures describe races and never forecast them.")
    reached = [
        race_id
        for race_id in asked["race_id"]
        if archive.laps_completed(race_id) >= (horizon.lap if isinstance(horizon, AfterLap) else 1)
    ]
    generator = SpeedTraceGenerator(out, config.picture)
    with terminal.progress_bar(console, "Drawing") as progress:
        cuts = [(race_id, horizon) for race_id in reached]
        _, summary = draw_cuts(archive, cuts, generator, workers, progress, engine)
    where = f"on {workers} processes" if engine is None else "on Ray"
    console.print(
        f"{summary.pictures:,} pictures of {len(reached)} races ({summary.drawn:,} drawn now, "
        f"{summary.pictures_per_second:.0f}/s {where}), success {summary.success_rate:.1%}, "
        f"{summary.failed} failed -> {out}"
    )
    left_out = asked.height - len(reached)
    if left_out or summary.without_laps:
        console.print(
            f"Without a picture: {left_out} races without these laps, {summary.without_laps} drivers without laps."
        )
    console.print(f"Skipped: {skipped_text(data)}")
    return summary


def build_dataset(
    console: Console,
    data: Path,
    traces: Path,
    out: Path,
    train_seasons: Seasons,
    test_seasons: Seasons,
    workers: int,
    config: Config,
    engine: Engine | None = None,
) -> SeasonSplit:
    """Pictures, features and labels at every cut, as one dataset file."""
    archive = open_archive(data)
    run = archive.races.join(archive.tables.results, on="race_id", how="semi")["season"].to_list()
    split = split_seasons(run, train_seasons, test_seasons)  # seasons without results have no labels
    cuts = cuts_of(archive, split, config.evaluation.fractions)
    with terminal.progress_bar(console, "Drawing") as progress:
        summary = build_dataset_cache(
            archive,
            cuts,
            SpeedTraceGenerator(traces, config.picture),
            out,
            features=config.features,
            workers=workers,
            progress=progress,
            engine=engine,
        )
    write_atomically(out.parent / "README.md", MULTIMODAL_README.encode())
    console.print(f"Split: {split.describe()}; fractions {', '.join(f'{f:g}' for f in config.evaluation.fractions)}")
    console.print(
        f"Dataset: {summary.rows:,} rows of {len({race_id for race_id, _, _ in cuts})} races, "
        f"{summary.pictures:,} with a picture ({summary.drawn:,} drawn now, {summary.pictures_per_second:.0f}/s), "
        f"success {summary.success_rate:.1%}; without: {summary.without_laps} no laps, {summary.failed} failed -> {out}"
    )
    console.print(f"Skipped: {skipped_text(data)}")
    return split
