"""The whole job: pictures, dataset, comparison, model, forecast and report in one command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from f1_predict.api import Predictor
from f1_predict.config import Config
from f1_predict.evaluation.compare import ANY_LAP, Comparison
from f1_predict.evaluation.ladder import moment
from f1_predict.horizon import AfterLap, FullRace, RaceArchive
from f1_predict.jobs.forecasts import print_forecast
from f1_predict.jobs.learning import compare_models, save_with_finish
from f1_predict.jobs.memory import peak_gb
from f1_predict.jobs.pictures import build_dataset, draw_traces
from f1_predict.jobs.reporting import write_report
from f1_predict.jobs.stores import Seasons, skipped_text
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.report import terminal
from f1_predict.report.results_page import Results, write_results
from f1_predict.scale import Engine
from f1_predict.training.drawing import DrawingSummary
from f1_predict.training.manifests import read_manifest
from f1_predict.training.split import SeasonSplit
from f1_predict.training.train import load_forecaster

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
    report: Path

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
            report=work / "artifacts/report.html",
        )


def whole_job(
    console: Console,
    where: Places,
    train_seasons: Seasons,
    test_seasons: Seasons,
    workers: int,
    config: Config,
    results: Path | None,
    command: str,
    engine: Engine | None = None,
) -> None:
    """Pictures, dataset, comparison, model, forecast, report: all that follows once the races are there."""
    full = draw_traces(console, where.data, where.traces, FullRace(), None, workers, config, engine)
    split = build_dataset(
        console, where.data, where.traces, where.dataset, train_seasons, test_seasons, workers, config, engine
    )
    dropped = DROPPED_SHARE if results is not None else 0.0
    compared = compare_models(
        console, where.data, where.dataset, where.traces, where.predictions, config, dropped, engine
    )
    comparison, archive = compared.comparison, compared.archive
    save_with_finish(console, where.model, comparison.any_lap, *compared.learned, compared.encoder, config)
    console.print(f"Model ({ANY_LAP}) -> {where.model}")
    forecaster = load_forecaster(where.model, compared.encoder)
    predictor = Predictor(forecaster, archive, where.model.resolve().name, read_manifest(where.model))
    race_id = comparison.predictions["race_id"][-1]
    print_forecast(console, predictor.forecast(race_id))
    cut = archive.horizon_at(race_id, 0.5 if archive.laps_completed(race_id) else 0.0)
    if isinstance(cut, AfterLap):
        print_forecast(console, predictor.forecast(race_id, cut.lap))
    facts = facts_of(archive, split, full, comparison, compared.encoder) | {"skipped": skipped_text(where.data)}
    write_report(console, [where.predictions], where.data, where.report, race_id=race_id, facts=facts)
    if results is not None:
        write_results(results, Results(command, facts, comparison, compared.fewer, compared.latency))
        console.print(f"Results page -> {results}")
    files = {"tables": where.data, "pictures": where.traces, "dataset": where.dataset}
    files |= {"predictions": where.predictions, "model": where.model, "report": where.report}
    console.print(terminal.table("Files", ["what", "where"], [[name, path] for name, path in files.items()]))


def facts_of(
    archive: RaceArchive, split: SeasonSplit, full: DrawingSummary, comparison: Comparison, encoder: VisionEncoder
) -> dict[str, str]:
    """What the results page was made from, and what it took."""
    train, validation, test = comparison.rows
    peak, child = peak_gb()
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
