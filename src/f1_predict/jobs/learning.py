"""Commands that learn from a dataset: train a network, compare the ladder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console

from f1_predict.config import Config
from f1_predict.evaluation import ladder
from f1_predict.evaluation.compare import ANY_LAP, Comparison, FewerPictures, compare, train_with_fewer_pictures
from f1_predict.evaluation.latency import Latency, measure_latency
from f1_predict.evaluation.predictions import PREDICTION_COLUMNS, write_predictions
from f1_predict.horizon import RaceArchive
from f1_predict.jobs.stores import open_archive, skipped_text
from f1_predict.models.forecaster import Forecaster
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.report import summaries, terminal
from f1_predict.scale import Engine
from f1_predict.training.artefacts import check_replaceable
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.train import (
    EncodedDataset,
    TrainedNetwork,
    encode_split,
    for_finish,
    save_network,
    train_network,
)

LATENCY_CALLS = 20


@dataclass(frozen=True)
class Compared:
    """A comparison with what it was made from; `fewer` where pictures were dropped, `latency` where there are laps."""

    archive: RaceArchive
    comparison: Comparison
    fewer: FewerPictures | None
    latency: Latency | None
    learned: tuple[EncodedDataset, EncodedDataset]
    encoder: VisionEncoder


def train_model(
    console: Console, dataset: Path, traces: Path, model: Path, config: Config, engine: Engine | None = None
) -> None:
    """Train the fusion network on a dataset's training rows, watch its validation rows, write the model folder."""
    check_replaceable(model)
    encoder = make_encoder(console, config)
    train = encoded(console, dataset, traces, "train", encoder, config, engine)
    validation = encoded(console, dataset, traces, "validation", encoder, config, engine)
    network = train_network(
        train, validation, config, encoder=encoder, on_epoch=lambda report: console.print(terminal.epoch_line(report))
    )
    save_with_finish(console, model, network, train, validation, encoder, config)
    console.print(f"Best epoch {network.result.best_epoch} of {len(network.result.history)} -> {model}")


def save_with_finish(
    console: Console,
    model: Path,
    network: TrainedNetwork,
    train: EncodedDataset,
    validation: EncodedDataset,
    encoder: VisionEncoder,
    config: Config,
) -> None:
    """Write a trained network as a model folder; then, beside one of places, a network of who will be classified."""
    save_network(model, network, train, validation, encoder, config)
    if network.model.head == "finish":
        return
    console.print("[bold]Who will be classified[/bold]")
    finish = train_network(
        train, validation, for_finish(config), on_epoch=lambda report: console.print(terminal.epoch_line(report))
    )
    save_network(model, network, train, validation, encoder, config, finish)


def compare_models(
    console: Console,
    data: Path,
    dataset: Path,
    traces: Path,
    out: Path,
    config: Config,
    drop_pictures: float = 0.0,
    engine: Engine | None = None,
) -> Compared:
    """Train and score the ladder on a dataset, print the tables, write the predictions.

    Where `drop_pictures` is above 0, the fusion network is trained once more with that share of the pictures removed.
    """
    archive = open_archive(data)
    encoder = make_encoder(console, config)
    train, validation, test = (
        encoded(console, dataset, traces, split, encoder, config, engine) for split in ("train", "validation", "test")
    )
    comparison = compare(
        archive,
        train,
        validation,
        test,
        config,
        on_epoch=lambda report: console.print(terminal.epoch_line(report)),
        on_step=lambda text: console.print(f"[bold]{text}[/bold]"),
    )
    for shown in terminal.comparison_tables(comparison):
        console.print(shown)
    fewer = None
    if drop_pictures > 0.0:
        fewer = train_with_fewer_pictures(archive, train, validation, test, config, drop_pictures)
        console.print(terminal.table(*summaries.fewer_pictures_table(comparison, fewer)))
    write_predictions(out, prediction_rows_of(comparison))
    console.print(f"Predictions -> {out}")
    console.print(f"Skipped: {skipped_text(data)}")
    with_laps = [race_id for race_id in test.dataset.race_ids if archive.laps_completed(race_id) > 0]
    latency = None
    if with_laps:
        network = comparison.any_lap
        generator = SpeedTraceGenerator(config=config.picture)
        forecaster = Forecaster(network.model, encoder, network.normaliser, generator, config.features)
        snapshot = archive.snapshot(with_laps[-1], archive.horizon_at(with_laps[-1], 0.5))
        latency = measure_latency(forecaster, [snapshot] * LATENCY_CALLS)
        console.print(terminal.table(*summaries.latency_table(latency)))
    return Compared(archive, comparison, fewer, latency, (train, validation), encoder)


def prediction_rows_of(comparison: Comparison) -> pl.DataFrame:
    """The forecasts of a comparison as a predictions file has them: no result, a picture only where a model looked.

    Who is classified is not forecast, so `p_finish` is null.
    """
    looks = [*ladder.LOOKS_AT_PICTURES, ANY_LAP]
    return comparison.predictions.with_columns(
        p_finish=pl.lit(None, dtype=pl.Float64), has_image=pl.col("has_image") & pl.col("model").is_in(looks)
    ).select(*PREDICTION_COLUMNS)


def make_encoder(console: Console, config: Config) -> VisionEncoder:
    """The backbone that the settings ask for; says which it is and why."""
    asked = config.encoder
    encoder = VisionEncoder(weights=asked.weights, seed=asked.seed, device=asked.device, runtime=asked.runtime)
    computed = "" if asked.runtime == "torch" else f"; computed by {asked.runtime}"
    console.print(f"Backbone: {encoder.weights_note}{computed}")
    return encoder


def encoded(
    console: Console,
    dataset: Path,
    traces: Path,
    split: str,
    encoder: VisionEncoder,
    config: Config,
    engine: Engine | None = None,
) -> EncodedDataset:
    """One split of a dataset with its pictures encoded, those encoded before from the cache beside it."""
    cache = EmbeddingCache(dataset.parent / "embeddings", config.encoder.keep)
    with terminal.progress_bar(console, f"Encoding {split}") as progress:
        return encode_split(dataset, traces, split, encoder, cache, config, progress, engine)
