"""The walk-forward backtest: every season forecast by models that saw only earlier ones.

Works off season x model pairs in several processes and keeps each as a file when it is done, so that an
interrupted backtest goes on where it was. How a model is fitted is in `rungs`; scores are made elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from threadpoolctl import threadpool_limits

from f1_predict.config import Config
from f1_predict.errors import ArtefactError, DataError
from f1_predict.evaluation import ladder
from f1_predict.evaluation.folds import Cuts, Fold, Plan, fold_of
from f1_predict.evaluation.predictions import (
    PREDICTION_COLUMNS,
    prediction_rows,
    read_predictions,
    validate_predictions,
)
from f1_predict.evaluation.rungs import RUNG_FUNCTIONS, Output, snapshot_of
from f1_predict.horizon import RaceArchive
from f1_predict.models.probabilities import coherent, to_field
from f1_predict.scale import Engine, LocalEngine, digest_of_code
from f1_predict.tables import read_store
from f1_predict.tables.store import MANIFEST
from f1_predict.training.cut_table import CutTable
from f1_predict.training.files import write_atomically

COSTS = {"ensemble_inrace": 90, "best": 90, "network_fusion": 50, "ensemble_pre": 40, "network_table": 30}
"""Seconds that a fit takes, roughly, 2 for all others. The longest go first, so that no process waits for another at
the end; and the time left is told from them."""
_CODE = (
    "features",
    "horizon",
    "models",
    "training",
    *(f"evaluation/{name}.py" for name in ("backtest", "folds", "rungs", "baselines", "predictions", "ladder")),
)
_LIBRARIES = ("lightgbm", "numpy", "polars", "scikit-learn", "scipy", "torch")


@dataclass(frozen=True)
class Unit:
    """One season forecast by one rung: what a process works off."""

    season: int
    model: str
    file: Path


@dataclass(frozen=True)
class UnitDone:
    """A finished unit, for those who watch.

    Attributes:
        unit: which.
        seconds: it took; 0 where it was there already.
        done, total: how many are finished, of how many.
        share: of all the work of this run, about; 1.0 at the end.
    """

    unit: Unit
    seconds: float
    done: int
    total: int
    share: float


@dataclass(frozen=True)
class Workshop:
    """Where the processes of a backtest find what they need.

    Attributes:
        store: the canonical tables.
        rows: folder of the CutTable.
        parts: folder of the finished units.
    """

    store: Path
    rows: Path
    parts: Path


def run_backtest(
    workshop: Workshop,
    cuts: Cuts,
    plan: Plan,
    config: Config,
    workers: int,
    on_unit: Callable[[UnitDone], None] | None = None,
    engine: Engine | None = None,
) -> pl.DataFrame:
    """Fit and forecast every season x model that is not there yet.

    The forecasts do not depend on the number of processes: each fit has one thread of its own.

    Args:
        workshop: store, rows and parts.
        cuts: those of the rows.
        plan: seasons, models and fractions.
        config: settings of all models.
        workers: processes; 1 works in this one.
        on_unit: told of every unit, those found finished included (0 seconds).
        engine: works in place of the processes; its machines must see the workshop's folders.

    Returns:
        The predictions (predictions.PREDICTION_COLUMNS), by model in the order of the ladder, then in the order of
        time.

    Raises:
        ConfigError: if a season has too few before it.
        ArtefactError: if a part cannot be written.
        F1PredictError: as the models raise.
    """
    fold_of(CutTable.read(workshop.rows), cuts, plan, min(plan.seasons))  # too few seasons are told before any work
    units = [
        Unit(
            season, model, workshop.parts / f"{season}-{model}-{_digest(workshop, plan, config, season, model)}.parquet"
        )
        for model in sorted(plan.models, key=_cost, reverse=True)
        for season in sorted(plan.seasons, reverse=True)
    ]
    frames: dict[Unit, pl.DataFrame] = {}
    for unit in units:
        if (found := _finished(unit)) is not None:
            frames[unit] = found
            if on_unit is not None:
                on_unit(UnitDone(unit, 0.0, len(frames), len(units), 0.0))
    missing = [unit for unit in units if unit not in frames]
    work, worked = sum(_cost(unit.model) for unit in missing), 0
    engine = engine or LocalEngine(min(workers, len(missing)))
    run = partial(run_unit, workshop=workshop, cuts=cuts, plan=plan, config=config)
    for number, seconds in engine.unordered(run, missing):
        unit = missing[number]
        made = _finished(unit)
        if made is None:
            raise ArtefactError(
                f"{unit.file}: was written and cannot be read. Run the backtest again; on several machines, let all "
                "see the same folder."
            )
        frames[unit] = made
        worked += _cost(unit.model)
        if on_unit is not None:
            on_unit(UnitDone(unit, seconds, len(frames), len(units), worked / work))
    together = pl.concat([frames[unit] for unit in sorted(units, key=lambda unit: (unit.season, unit.model))])
    order = ladder.ordered(together["model"].unique().to_list())
    ranked = together.with_columns(_model=pl.col("model").replace_strict(order, range(len(order))))
    return ranked.sort("_model", maintain_order=True).drop("_model")


def _cost(model: str) -> int:
    return COSTS.get(model, 2)


def run_unit(unit: Unit, workshop: Workshop, cuts: Cuts, plan: Plan, config: Config) -> float:
    """Fit one rung for one season, forecast, write the part; the seconds it took."""
    start = time.perf_counter()
    archive = RaceArchive(read_store(workshop.store))
    table = CutTable.read(workshop.rows)
    fold = fold_of(table, cuts, plan, unit.season)
    single = config
    for stage in ("ensemble", "inrace_ensemble"):
        single = single.changed(stage, {"threads": 1})
    with one_thread():
        outputs = RUNG_FUNCTIONS[unit.model](archive, table, fold, single)
    frames = [_rows(archive, table, fold, model, output) for model, output in outputs.items()]
    frame = pl.concat(frames)
    if not frame.is_empty():
        validate_predictions(frame, f"forecasts of {unit.model} for {unit.season}")
    content = io.BytesIO()
    frame.write_parquet(content)
    write_atomically(unit.file, content.getvalue())
    return time.perf_counter() - start


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep numpy, scikit-learn and torch to one thread each: results do not depend on the cores there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def _rows(archive: RaceArchive, table: CutTable, fold: Fold, model: str, output: Output) -> pl.DataFrame:
    """A model's output for the test cuts as rows of the predictions file, at each fraction that stands at a cut.

    None where the season has no race that the model can forecast, such as running orders of races not yet run.
    """
    starters = table.starters_of(fold.test)
    first = dict(zip(fold.test.tolist(), (np.cumsum(starters) - starters).tolist(), strict=True))
    frames = []
    for fraction in fold.scored:
        if fraction == 0.0 and model in ladder.IN_RACE_ONLY:
            continue
        for cut in fold.at[fraction]:
            if int(cut) not in first:
                continue
            snapshot = snapshot_of(archive, table, int(cut))
            field = snapshot.entries.height
            rows = slice(first[int(cut)], first[int(cut)] + field)
            has_image = table.has_image(table.rows_of(np.array([cut]))) & (model in ladder.LOOKS_AT_PICTURES)
            probabilities = to_field(output.probabilities[rows], field)
            if model not in ladder.COUNTED:
                probabilities = coherent(probabilities)
            frames.append(prediction_rows(snapshot, fraction, model, probabilities, output.finish[rows], has_image))
    return pl.concat(frames) if frames else pl.DataFrame(schema=PREDICTION_COLUMNS)


def _finished(unit: Unit) -> pl.DataFrame | None:
    """The forecasts of a unit if its file is there and whole."""
    if not unit.file.exists():
        return None
    try:
        return read_predictions(unit.file, may_be_empty=True)
    except DataError:
        unit.file.unlink(missing_ok=True)  # damaged: made again
        return None


def _digest(workshop: Workshop, plan: Plan, config: Config, season: int, model: str) -> str:
    """What a unit's forecasts are made from: rows (whose name tells their code), settings and fractions."""
    settings = config.model_dump(mode="json", exclude={"evaluation": {"bootstrap_draws", "seed", "fractions"}})
    made_from = [workshop.rows.name, settings, plan.fractions, season, model]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def rows_digest(store: Path, plan: Plan, config: Config, encoder_identity: str) -> str:
    """What the rows of a backtest are made from: the store, settings, backbone and code."""
    try:
        manifest = (store / MANIFEST).read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{store / MANIFEST}: cannot be read ({error.strerror}). Ingest the races again."
        ) from error
    settings = [config.picture.model_dump(mode="json"), config.features.model_dump(mode="json")]
    fractions = plan.learning_fractions(config.evaluation.training_cuts)
    made_from = [settings, plan.fractions, fractions, max(plan.seasons), encoder_identity, code_digest()]
    return hashlib.sha256(manifest + json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def code_digest() -> str:
    """SHA-256 of what makes features, pictures and forecasts, libraries included: nothing of other code is reused."""
    return digest_of_code(_LIBRARIES, _CODE)
