"""The walk-forward backtest: every season forecast by models that saw only earlier ones.

Works off season x model pairs in several processes and keeps each as a file when it is done, so that an
interrupted backtest goes on where it was. How a model is fitted is in `rungs`; scores are made elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import f1_predict
from f1_predict.config import Config
from f1_predict.errors import ArtefactError, ConfigError, DataError, NotFoundError
from f1_predict.evaluation import ladder
from f1_predict.evaluation.predictions import prediction_rows, validate_predictions
from f1_predict.evaluation.rungs import RUNG_FUNCTIONS, Fold, Output, snapshot_of
from f1_predict.horizon import Horizon, RaceArchive
from f1_predict.models.probabilities import to_field
from f1_predict.tables import read_store
from f1_predict.tables.store import MANIFEST
from f1_predict.training.cut_table import CutTable
from f1_predict.training.files import write_atomically
from f1_predict.training.split import split_seasons

COSTLY_FIRST = ("ensemble_inrace", "best", "network_fusion", "network_table", "ensemble_pre")
"""Order of work: the longest fits first, so that no process waits for another at the end."""
_CODE = ("features", "horizon", "models", "training", "evaluation/rungs.py", "evaluation/baselines.py")


@dataclass(frozen=True)
class Plan:
    """What a backtest is to forecast.

    Attributes:
        seasons: the test seasons, each forecast from what came before it.
        models: rungs of the ladder, in its order.
        fractions: of the scheduled laps; 0 is before the race.
    """

    seasons: tuple[int, ...]
    models: tuple[str, ...]
    fractions: tuple[float, ...]

    @classmethod
    def of(
        cls, archive: RaceArchive, seasons: tuple[int, int], models: Sequence[str], fractions: Sequence[float]
    ) -> Plan:
        """A plan that the races allow.

        Args:
            archive: the races there are.
            seasons: first and last test season.
            models: names of rungs; none means all.
            fractions: in [0, 1).

        Raises:
            NotFoundError: if a model is no rung.
            ConfigError: if a fraction is not in [0, 1), or there is no such season, or too few before the first.
        """
        for model in models:
            if model not in RUNG_FUNCTIONS:
                raise NotFoundError("model", model, RUNG_FUNCTIONS)
        outside = [fraction for fraction in fractions if not 0.0 <= fraction < 1.0]
        if outside or not fractions:
            raise ConfigError(f"fractions must be one or more in [0, 1), got {list(fractions)}.")
        there = archive.races["season"].unique().sort().to_list()
        tested = tuple(season for season in there if seasons[0] <= season <= seasons[1])
        if not tested:
            raise ConfigError(
                f"there is no season of {seasons[0]}-{seasons[1]} in the store, which holds {there[0]}-{there[-1]}. "
                "Ingest it, or choose others with --test-seasons."
            )
        chosen = tuple(name for name in ladder.RUNGS if name in models or not models)
        return cls(tested, chosen, tuple(sorted(set(fractions))))

    def learning_fractions(self, training_cuts: int) -> tuple[float, ...]:
        """The start, evenly spread fractions of the race, and those that are scored."""
        spread = [round(step / (training_cuts + 1), 6) for step in range(training_cuts + 1)]
        return tuple(sorted({*spread, *self.fractions}))


@dataclass(frozen=True)
class Cuts:
    """The cuts of a plan's races: which there are, and which fractions they stand at.

    Attributes:
        cuts: (race_id, horizon), each once, in the order of time.
        at: fraction -> (race_id, horizon) of each race that reaches it.
    """

    cuts: tuple[tuple[str, Horizon], ...]
    at: Mapping[float, tuple[tuple[str, Horizon], ...]]

    @classmethod
    def of(cls, archive: RaceArchive, plan: Plan, config: Config) -> Cuts:
        """All cuts to learn from and to forecast; a race without laps is cut before the start only."""
        races = archive.races.filter(pl.col("season") <= max(plan.seasons))
        at: dict[float, list[tuple[str, Horizon]]] = {}
        cuts: dict[tuple[str, Horizon], None] = {}
        for race_id, season in races.select("race_id", "season").iter_rows():
            if archive.rows("entries", race_id).is_empty():
                continue
            tested = season in plan.seasons
            fractions = plan.learning_fractions(config.evaluation.training_cuts)
            if not tested and archive.rows("results", race_id).is_empty():
                continue  # nothing to learn from it, and it is not asked for
            for fraction in fractions:
                if fraction == 0.0 or archive.laps_completed(race_id) > 0:
                    cut = (race_id, archive.horizon_at(race_id, fraction))
                    cuts[cut] = None
                    at.setdefault(fraction, []).append(cut)
        return cls(tuple(cuts), {fraction: tuple(found) for fraction, found in at.items()})

    def scored(self, plan: Plan) -> list[tuple[str, Horizon]]:
        """The cuts at the scored fractions, which need pictures; in the order of time."""
        wanted = {cut for fraction in plan.fractions for cut in self.at.get(fraction, ())}
        return [cut for cut in self.cuts if cut in wanted]


def fold_of(table: CutTable, cuts: Cuts, plan: Plan, season: int) -> Fold:
    """What may be learnt from and what is to be forecast, for one test season.

    Walk-forward by season: every training and validation race is of an earlier season and has a result; the latest
    two earlier seasons (one, where there are few) validate.

    Raises:
        ConfigError: if fewer than two earlier seasons have results.
    """
    number = {key: i for i, key in enumerate(zip(table.cuts["race_id"], table.cuts["horizon"], strict=True))}
    at = {
        fraction: np.array([number[race_id, horizon.name] for race_id, horizon in found], dtype=np.int64)
        for fraction, found in cuts.at.items()
    }
    seasons = table.cuts["season"].to_numpy()
    has_result = table.positions[table.cuts["first_row"].to_numpy()] > 0
    earlier = sorted({int(s) for s in seasons[has_result] if s < season})
    if len(earlier) < 2:
        raise ConfigError(
            f"season {season} cannot be forecast: {len(earlier)} season(s) with results before it; one to train, one "
            "to validate are needed. Ingest earlier seasons, or start with a later one (--test-seasons)."
        )
    split = split_seasons([*earlier, season], (earlier[0], earlier[-1]), (season, season))
    scored = tuple(fraction for fraction in plan.fractions if fraction in at)
    wanted = np.unique(np.concatenate([at[fraction] for fraction in scored]))
    return Fold(
        season=season,
        train=np.flatnonzero(np.isin(seasons, split.train) & has_result),
        validation=np.flatnonzero(np.isin(seasons, split.validation) & has_result),
        test=wanted[seasons[wanted] == season],
        at=at,
        scored=scored,
    )


@dataclass(frozen=True)
class Unit:
    """One season forecast by one rung: what a process works off."""

    season: int
    model: str
    file: Path


@dataclass(frozen=True)
class UnitDone:
    """A finished unit, for those who watch."""

    unit: Unit
    seconds: float
    done: int
    total: int


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
        for model in sorted(plan.models, key=_cost_rank)
        for season in sorted(plan.seasons, reverse=True)
    ]
    frames: dict[Unit, pl.DataFrame] = {}
    for unit in units:
        if (found := _finished(unit)) is not None:
            frames[unit] = found
            if on_unit is not None:
                on_unit(UnitDone(unit, 0.0, len(frames), len(units)))
    missing = [unit for unit in units if unit not in frames]
    for unit, seconds in _work(missing, workshop, cuts, plan, config, workers):
        made = _finished(unit)
        if made is None:
            raise ArtefactError(f"{unit.file}: was written and cannot be read. Run the backtest again.")
        frames[unit] = made
        if on_unit is not None:
            on_unit(UnitDone(unit, seconds, len(frames), len(units)))
    together = pl.concat([frames[unit] for unit in sorted(units, key=lambda unit: (unit.season, unit.model))])
    order = ladder.ordered(together["model"].unique().to_list())
    ranked = together.with_columns(_model=pl.col("model").replace_strict(order, range(len(order))))
    return ranked.sort("_model", maintain_order=True).drop("_model")


def _cost_rank(model: str) -> int:
    return COSTLY_FIRST.index(model) if model in COSTLY_FIRST else len(COSTLY_FIRST)


def _work(
    units: Sequence[Unit], workshop: Workshop, cuts: Cuts, plan: Plan, config: Config, workers: int
) -> Iterator[tuple[Unit, float]]:
    if workers < 2 or len(units) < 2:
        for unit in units:
            yield unit, run_unit(unit, workshop, cuts, plan, config)
        return
    # Spawned, not forked: polars' and torch's threads do not survive a fork.
    with ProcessPoolExecutor(min(workers, len(units)), mp_context=multiprocessing.get_context("spawn")) as pool:
        pending: dict[Future[float], Unit] = {
            pool.submit(run_unit, unit, workshop, cuts, plan, config): unit for unit in units
        }
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_unit(unit: Unit, workshop: Workshop, cuts: Cuts, plan: Plan, config: Config) -> float:
    """Fit one rung for one season, forecast, write the part; the seconds it took."""
    start = time.perf_counter()
    archive = RaceArchive(read_store(workshop.store))
    table = CutTable.read(workshop.rows)
    fold = fold_of(table, cuts, plan, unit.season)
    single = config
    for stage in ("ensemble", "inrace_ensemble"):
        single = single.changed(stage, {"threads": 1})
    outputs = RUNG_FUNCTIONS[unit.model](archive, table, fold, single)
    frames = [_rows(archive, table, fold, model, output) for model, output in outputs.items()]
    frame = validate_predictions(pl.concat(frames), f"forecasts of {unit.model} for {unit.season}")
    content = io.BytesIO()
    frame.write_parquet(content)
    write_atomically(unit.file, content.getvalue())
    return time.perf_counter() - start


def _rows(archive: RaceArchive, table: CutTable, fold: Fold, model: str, output: Output) -> pl.DataFrame:
    """A model's output for the test cuts as rows of the predictions file, at each fraction that stands at a cut."""
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
            has_image = table.has_image(table.rows_of(np.array([cut])))
            probabilities = to_field(output.probabilities[rows], field)
            frames.append(prediction_rows(snapshot, fraction, model, probabilities, output.finish[rows], has_image))
    if not frames:
        raise DataError(f"{model} forecast nothing for {fold.season}. Give fractions after the start as well.")
    return pl.concat(frames)


def _finished(unit: Unit) -> pl.DataFrame | None:
    """The forecasts of a unit if its file is there and whole."""
    try:
        return validate_predictions(pl.read_parquet(unit.file), str(unit.file))
    except FileNotFoundError:
        return None
    except (OSError, pl.exceptions.PolarsError, DataError):
        unit.file.unlink(missing_ok=True)  # damaged: made again
        return None


def _digest(workshop: Workshop, plan: Plan, config: Config, season: int, model: str) -> str:
    """What a unit's forecasts are made from: rows, code, settings and fractions."""
    settings = config.model_dump(mode="json", exclude={"evaluation": {"bootstrap_draws", "seed", "fractions"}})
    made_from = [workshop.rows.name, code_digest(), settings, plan.fractions, season, model]
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
    """SHA-256 of the code that makes features, pictures and forecasts: results of other code are not reused."""
    hasher = hashlib.sha256()
    package = Path(f1_predict.__file__).parent
    for part in _CODE:
        for path in sorted([package / part] if part.endswith(".py") else (package / part).rglob("*.py")):
            hasher.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()


def default_workers() -> int:
    """One process a core."""
    return os.cpu_count() or 1
