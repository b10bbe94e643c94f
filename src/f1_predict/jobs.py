"""What each command does, step by step, in calls of the public functions; prints as it goes.

Knows no options and parses nothing: the command line does.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from rich.console import Console

from f1_predict.config import Config
from f1_predict.errors import DataError, StoreError
from f1_predict.evaluation.compare import ANY_LAP, Comparison, FewerPictures, compare, moment, train_with_fewer_pictures
from f1_predict.evaluation.latency import Latency, measure_latency
from f1_predict.horizon import AfterLap, FullRace, Horizon, PreRace, RaceArchive
from f1_predict.models.forecaster import Forecaster
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.report import summaries, terminal
from f1_predict.report.results_page import Results, write_results
from f1_predict.sources.simulator import simulate
from f1_predict.tables import (
    SIMULATED,
    count_skipped,
    ingest,
    read_store,
    store_source,
    write_skipped_races,
    write_store,
)
from f1_predict.training.artefacts import read_manifest
from f1_predict.training.dataset_cache import build_dataset_cache
from f1_predict.training.drawing import DrawingSummary, draw_cuts
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.files import write_atomically
from f1_predict.training.split import SeasonSplit, cuts_of, split_seasons
from f1_predict.training.train import EncodedDataset, encode_split, load_forecaster, save_network, train_network

Seasons = tuple[int, int] | None
LATENCY_CALLS = 20
MULTIMODAL_README = """# Pictures and dataset, made by f1-predict

- `speed_traces/[race_id]/[driver_id].png`: full races, to describe them; `pre_race/` and `lap_[k]/` below a race: what
  was known at that cut, to forecast from.
- `dataset_cache.json`: one row per race, driver and cut: picture, features (null = unknown), finishing position.
- `embeddings/`: encoded pictures by content; can be removed at any time and is made again.
- `skipped_races.json`: races and drivers without laps, which have no picture.
- `generation_errors.log`: pictures that could not be drawn, with the reason; there only if there were any.

Everything here can be made again: `f1-predict traces`, then `f1-predict dataset`.
"""
DROPPED_SHARE = 0.2
"""Of the pictures, for the results page's second training."""


@dataclass(frozen=True)
class Places:
    """Where the whole job writes."""

    data: Path
    traces: Path
    dataset: Path
    model: Path
    predictions: Path

    @classmethod
    def under(cls, work: Path) -> Places:
        """The usual places under a folder."""
        multimodal = work / "data/multimodal"
        return cls(
            data=work / "data/processed",
            traces=multimodal / "speed_traces",
            dataset=multimodal / "dataset_cache.json",
            model=work / "artifacts/model",
            predictions=work / "artifacts/predictions.parquet",
        )


@dataclass(frozen=True)
class Compared:
    """A comparison with what it was made from; `fewer` where pictures were dropped, `latency` where there are laps."""

    archive: RaceArchive
    comparison: Comparison
    fewer: FewerPictures | None
    latency: Latency | None
    learned: tuple[EncodedDataset, EncodedDataset]
    encoder: VisionEncoder


def ingest_races(
    console: Console, ergast: Path, f1db: Path | None, fastf1: Path | None, seasons: Seasons, out: Path
) -> None:
    """Read real races, write the store, say what was found untidy."""
    start = time.perf_counter()
    found = ingest(ergast, f1db, fastf1, seasons)
    quality = out.with_name(f"{out.name}_quality.json")
    checks = [asdict(check) for check in found.quality]
    write_atomically(quality, (json.dumps(checks, indent=1, ensure_ascii=False) + "\n").encode())
    skipped = write_skipped_races(found.tables, skipped_file(out))
    write_store(found.tables, out)  # last, so that whatever fails leaves the old store
    tables = found.tables
    console.print(
        f"Ingested {tables.races.height:,} races, {tables.results.height:,} results, {tables.laps.height:,} laps "
        f"in {time.perf_counter() - start:.1f} s -> {out}"
    )
    console.print(terminal.quality_table(found.quality))
    console.print(f"All rows behind these counts -> {quality}")
    console.print(f"{skipped}, listed in {skipped_file(out)}")


def simulate_races(console: Console, seasons: int, seed: int, out: Path, config: Config) -> None:
    """Write simulated seasons, never in the place of ingested ones.

    Raises:
        StoreError: if `out` holds ingested races, or a store that cannot be read.
    """
    start = time.perf_counter()
    tables = simulate(seasons, seed, config.simulator)
    if store_source(out) not in (None, SIMULATED):
        raise StoreError(
            f"{out} holds ingested races, which simulated ones would replace. "
            "Give another folder (--out, or --work of the whole job), or remove that one yourself."
        )
    write_skipped_races(tables, skipped_file(out))
    write_store(tables, out, source=SIMULATED)
    console.print(
        f"Simulated {tables.races.height} races of {seasons} seasons (seed {seed}), {tables.laps.height:,} laps, "
        f"in {time.perf_counter() - start:.1f} s -> {out}"
    )


def skipped_file(data: Path) -> Path:
    """Where the races and drivers without laps of a store are listed."""
    return data.parent / "multimodal/skipped_races.json"


def skipped_text(data: Path) -> str:
    """How many races and drivers have no laps and so no picture; a store may have come without the list of them."""
    if not skipped_file(data).is_file():
        return f"races and drivers without laps were not counted: there is no {skipped_file(data)}"
    return str(count_skipped(skipped_file(data)))


def draw_traces(
    console: Console, data: Path, out: Path, horizon: Horizon, seasons: Seasons, workers: int, config: Config
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
        _, summary = draw_cuts(archive, [(race_id, horizon) for race_id in reached], generator, workers, progress)
    console.print(
        f"{summary.pictures:,} pictures of {len(reached)} races ({summary.drawn:,} drawn now, "
        f"{summary.pictures_per_second:.0f}/s on {workers} processes), success {summary.success_rate:.1%}, "
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


def train_model(console: Console, dataset: Path, traces: Path, model: Path, config: Config) -> None:
    """Train the fusion network on a dataset's training rows, watch its validation rows, write the model folder."""
    encoder = make_encoder(console, config)
    train = encoded(console, dataset, traces, "train", encoder, config)
    validation = encoded(console, dataset, traces, "validation", encoder, config)
    network = train_network(
        train, validation, config, encoder=encoder, on_epoch=lambda report: console.print(terminal.epoch_line(report))
    )
    save_network(model, network, train, validation, encoder, config)
    console.print(f"Best epoch {network.result.best_epoch} of {len(network.result.history)} -> {model}")


def compare_models(
    console: Console, data: Path, dataset: Path, traces: Path, out: Path, config: Config, drop_pictures: float = 0.0
) -> Compared:
    """Train and score the ladder on a dataset, print the tables, write the predictions.

    Where `drop_pictures` is above 0, the fusion network is trained once more with that share of the pictures removed.
    """
    archive = open_archive(data)
    encoder = make_encoder(console, config)
    train, validation, test = (
        encoded(console, dataset, traces, split, encoder, config) for split in ("train", "validation", "test")
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
    content = io.BytesIO()
    comparison.predictions.write_parquet(content)
    write_atomically(out, content.getvalue())
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


def whole_job(
    console: Console,
    where: Places,
    train_seasons: Seasons,
    test_seasons: Seasons,
    workers: int,
    config: Config,
    results: Path | None,
    command: str,
) -> None:
    """Pictures, dataset, comparison, model, forecast, results page: all that follows once the races are there."""
    full = draw_traces(console, where.data, where.traces, FullRace(), None, workers, config)
    split = build_dataset(
        console, where.data, where.traces, where.dataset, train_seasons, test_seasons, workers, config
    )
    dropped = DROPPED_SHARE if results is not None else 0.0
    compared = compare_models(console, where.data, where.dataset, where.traces, where.predictions, config, dropped)
    comparison, archive = compared.comparison, compared.archive
    save_network(where.model, comparison.any_lap, *compared.learned, compared.encoder, config)
    console.print(f"Model ({ANY_LAP}) -> {where.model}")
    forecaster = load_forecaster(where.model, compared.encoder)
    race_id = comparison.predictions["race_id"][-1]
    cut = archive.horizon_at(race_id, 0.5 if archive.laps_completed(race_id) else 0.0)
    print_forecast(console, forecaster, archive, race_id, PreRace())
    print_forecast(console, forecaster, archive, race_id, cut)
    if results is not None:
        facts = facts_of(archive, split, full, comparison, compared.encoder) | {"skipped": skipped_text(where.data)}
        write_results(results, Results(command, facts, comparison, compared.fewer, compared.latency))
        console.print(f"Results page -> {results}")
    files = {"tables": where.data, "pictures": where.traces, "dataset": where.dataset}
    files |= {"predictions": where.predictions, "model": where.model}
    console.print(terminal.table("Files", ["what", "where"], [[name, path] for name, path in files.items()]))


def facts_of(
    archive: RaceArchive, split: SeasonSplit, full: DrawingSummary, comparison: Comparison, encoder: VisionEncoder
) -> dict[str, str]:
    """What the results page was made from, and what it took."""
    train, validation, test = comparison.rows
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    peak, child = (
        resource.getrusage(who).ru_maxrss * unit / 1e9 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "races": f"{len(archive.race_ids):,}, {archive.tables.laps.height:,} laps",
        "split": split.describe(),
        "rows": f"{train:,} train, {validation:,} validation, {test:,} test",
        "full-race pictures": (
            f"{full.pictures:,}, success {full.success_rate:.1%}; {full.drawn:,} of them drawn in this run"
            + (f", {full.pictures_per_second:.0f}/s" if full.drawn else "")
            + f"; {full.without_laps} drivers without laps have none"
        ),
        "backbone": encoder.weights_note,
        "weights of the ensemble": "; ".join(
            f"{moment(fraction)} " + ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
            for fraction, weights in comparison.weights.items()
        ),
        "peak memory": f"{peak:.1f} GB resident; the largest of the drawing processes {child:.1f} GB",
    }


def open_archive(data: Path, seasons: Seasons = None) -> RaceArchive:
    """The races of a store, of some seasons or all."""
    return RaceArchive(read_store(data, None if seasons is None else range(seasons[0], seasons[1] + 1)))


def make_encoder(console: Console, config: Config) -> VisionEncoder:
    """The backbone that the settings ask for; says which it is and why."""
    encoder = VisionEncoder(weights=config.encoder.weights, seed=config.encoder.seed, device=config.encoder.device)
    console.print(f"Backbone: {encoder.weights_note}")
    return encoder


def encoded(
    console: Console, dataset: Path, traces: Path, split: str, encoder: VisionEncoder, config: Config
) -> EncodedDataset:
    """One split of a dataset with its pictures encoded, those encoded before from the cache beside it."""
    cache = EmbeddingCache(dataset.parent / "embeddings")
    with terminal.progress_bar(console, f"Encoding {split}") as progress:
        return encode_split(dataset, traces, split, encoder, cache, config, progress)
