"""The design's comparison: tabular baseline, network on the table, network on picture and table.

All rungs learn from the same rows and the same table and forecast the same races of later seasons. Results are
read here to score, never to forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict.config import Config
from f1_predict.errors import ConfigError, DataError, NotFoundError
from f1_predict.evaluation import metrics
from f1_predict.evaluation.baselines import CurrentOrderBaseline, GridBaseline, UniformBaseline
from f1_predict.evaluation.bootstrap import Change, paired_change
from f1_predict.horizon import RaceArchive, Snapshot
from f1_predict.models.ensemble import EnsemblePredictor
from f1_predict.models.forecaster import forecast_frame
from f1_predict.models.multimodal_dataset import MultiModalDataset
from f1_predict.models.probabilities import to_field
from f1_predict.training.train import EncodedDataset, OnEpoch, TrainedNetwork, train_network

Floats = NDArray[np.float64]

LADDER = ("uniform", "grid", "current_order", "ensemble_pre", "network_table", "network_fusion")
"""Models compared, in the order of every table."""
CANDIDATE, RIVALS = "network_fusion", ("ensemble_pre", "network_table")
"""The design asks that the first be more than 5 % better than the others."""
TARGET_PERCENT = 5.0
METRICS = ("accuracy", "log_loss", "mae", "rps", "spearman")
COMPARED = ("accuracy", "log_loss", "mae")


@dataclass(frozen=True)
class Improvement:
    """The candidate against a rival on one metric at one fraction of the race; positive is better."""

    fraction: float
    rival: str
    metric: str
    change: Change

    @property
    def met(self) -> bool:
        """Whether the design's target is met; never where the rival's score is 0 and no percentage is defined."""
        return isfinite(self.change.improvement) and self.change.improvement > TARGET_PERCENT


@dataclass(frozen=True)
class PictureShare:
    """Rows with and without a picture at one fraction, and the candidate's mean score on each (None: no rows)."""

    fraction: float
    rows: int
    without: int
    log_loss_with: float | None
    log_loss_without: float | None
    accuracy_with: float | None
    accuracy_without: float | None


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to.

    Attributes:
        predictions: one row per race x driver x fraction x model, with the true position and
            whether classified beside the forecast (see forecaster.forecast_frame).
        scores: model -> fraction -> metric -> value.
        improvements: the candidate against its rivals.
        pictures: per fraction.
        network: the trained candidate.
        rows: training, validation and test rows.
        weights: of the ensemble's members, by name.
    """

    predictions: pl.DataFrame
    scores: Mapping[str, Mapping[float, Mapping[str, float]]]
    improvements: Sequence[Improvement]
    pictures: Sequence[PictureShare]
    network: TrainedNetwork
    rows: tuple[int, int, int]
    weights: Mapping[str, float]


def compare(
    archive: RaceArchive,
    train: EncodedDataset,
    validation: EncodedDataset,
    test: EncodedDataset,
    config: Config,
    *,
    on_epoch: OnEpoch | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Comparison:
    """Train and score the rungs of the ladder that this version has.

    Args:
        archive: the races, with results (to score, and to count the baselines on training races).
        train, validation, test: rows of seasons that follow each other; the same features in all.
        config: settings; `evaluation.fractions` are scored.
        on_epoch: told of every epoch of both networks.
        on_step: told what begins.

    Raises:
        ConfigError: if the head forecasts no positions, or the test rows lack a cut that is to be scored.
        NotFoundError: if the archive lacks a race of the dataset.
    """
    if config.fusion.head != "position":
        raise ConfigError(f"the comparison needs head 'position', got '{config.fusion.head}'. Set fusion.head.")
    learned, known = set(train.dataset.race_ids) | set(validation.dataset.race_ids), set(archive.race_ids)
    if lost := sorted((learned | set(test.dataset.race_ids)) - known):
        raise NotFoundError("race", lost[0], known, remedy="Build the dataset again from this store.")
    say = on_step or (lambda text: None)
    say("ensemble_pre: fitting the tabular baseline")
    ensemble = EnsemblePredictor(_classes(train, validation), config=config.ensemble)
    ensemble.fit(
        train.dataset.tabular_raw,
        train.dataset.labels - 1,
        validation.dataset.tabular_raw,
        validation.dataset.labels - 1,
        train.dataset.feature_names,
    )
    say("network_table: training the network with every picture masked")
    table_only = train_network(train, validation, config, use_pictures=False, on_epoch=on_epoch)
    say("network_fusion: training the network on picture and table")
    fusion = train_network(train, validation, config, on_epoch=on_epoch)

    outputs = {
        "ensemble_pre": ensemble.predict_proba(test.dataset.tabular_raw),
        "network_table": table_only.predict(test, use_pictures=False),
        "network_fusion": fusion.predict(test),
    }
    say("scoring")
    in_order = [race_id for race_id in archive.race_ids if race_id in learned]
    predictions = _predictions(archive, test, outputs, in_order, config.evaluation.fractions)
    scored = _by_model_and_fraction(predictions)
    fractions = [f for f in config.evaluation.fractions if (CANDIDATE, f) in scored]
    for fraction in sorted(set(config.evaluation.fractions) - set(fractions)):
        say(f"fraction {fraction:g} is left out: no test race has laps")
    return Comparison(
        predictions=predictions,
        scores={
            model: {f: metrics.score(scored[model, f]) for f in fractions if (model, f) in scored} for model in LADDER
        },
        improvements=_improvements(scored, fractions, config),
        pictures=[_picture_share(scored[CANDIDATE, f], f) for f in fractions],
        network=fusion,
        rows=(len(train.dataset), len(validation.dataset), len(test.dataset)),
        weights=ensemble.weights_,
    )


@dataclass(frozen=True)
class FewerPictures:
    """The candidate, trained and tested with a share of the pictures removed; scores by fraction and metric."""

    share: float
    scores: Mapping[float, Mapping[str, float]]


def train_with_fewer_pictures(
    archive: RaceArchive,
    train: EncodedDataset,
    validation: EncodedDataset,
    test: EncodedDataset,
    config: Config,
    share: float,
) -> FewerPictures:
    """Train and score the candidate once more, after removing a random share of the pictures of all rows.

    Args: as `compare`; `share` in [0, 1].
    """
    seed = config.training.seed
    kept = [part.without_pictures(share, seed) for part in (train, validation, test)]
    network = train_network(kept[0], kept[1], config)
    predictions = _predictions(archive, kept[2], {CANDIDATE: network.predict(kept[2])}, (), config.evaluation.fractions)
    scored = _by_model_and_fraction(predictions)
    return FewerPictures(share, {f: metrics.score(rows) for (_, f), rows in scored.items()})


def _by_model_and_fraction(predictions: pl.DataFrame) -> dict[tuple[str, float], pl.DataFrame]:
    parts = predictions.partition_by("model", "fraction", as_dict=True)
    return {(model, fraction): rows for (model, fraction), rows in parts.items()}


def _classes(*parts: EncodedDataset) -> int:
    return int(max(part.dataset.n_starters.max() for part in parts))


def _predictions(
    archive: RaceArchive,
    test: EncodedDataset,
    outputs: Mapping[str, Floats],
    learned: Sequence[str],
    fractions: Sequence[float],
) -> pl.DataFrame:
    """All models' forecasts of all test races at all fractions, with the true positions beside them.

    The counted baselines are among them if there are races to count, `learned`.
    """
    dataset = test.dataset
    rows_of: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(dataset.race_ids, dataset.horizons, strict=True)):
        rows_of.setdefault(key, []).append(row)
    races = list(dict.fromkeys(dataset.race_ids))
    grid = GridBaseline().fit(archive, learned) if learned else None
    frames = []
    counted = [race_id for race_id in learned if archive.laps_completed(race_id) > 0]
    for fraction in fractions:
        order = CurrentOrderBaseline().fit(archive, counted, fraction) if counted and fraction > 0 else None
        for race_id in races:
            if fraction > 0 and archive.laps_completed(race_id) == 0:
                continue
            horizon = archive.horizon_at(race_id, fraction)
            rows = rows_of.get((race_id, horizon.name))
            if rows is None:
                raise ConfigError(
                    f"the dataset has no rows of {race_id} at {horizon.name} (fraction {fraction}). "
                    "Build it again with `f1-predict dataset --fractions ...` including this fraction."
                )
            snapshot = archive.snapshot(race_id, horizon)
            truth = archive.rows("results", race_id).select("race_id", "driver_id", "position", "classified")
            _require_same_rows(dataset, rows, snapshot, truth)
            field = snapshot.entries.height
            forecasts: dict[str, Floats] = {}
            if grid is not None:
                forecasts = {"uniform": UniformBaseline().predict(snapshot), "grid": grid.predict(snapshot)}
            if order is not None:
                forecasts["current_order"] = order.predict(snapshot)
            forecasts |= {name: to_field(values[rows], field) for name, values in outputs.items()}
            for model, probabilities in forecasts.items():
                frame = forecast_frame(snapshot, probabilities, test.has_image[rows])
                frame = frame.with_columns(model=pl.lit(model), fraction=pl.lit(float(fraction)))
                frames.append(frame.join(truth, on=["race_id", "driver_id"], how="left", maintain_order="left"))
    return pl.concat(frames)


def _require_same_rows(dataset: MultiModalDataset, rows: list[int], snapshot: Snapshot, truth: pl.DataFrame) -> None:
    """A dataset made from another store would be scored against the wrong drivers."""
    positions = dict(truth.select("driver_id", "position").iter_rows())
    here = [(dataset.driver_ids[row], int(dataset.positions[row])) for row in rows]
    if here != [(driver, positions.get(driver)) for driver in snapshot.driver_ids]:
        raise DataError(
            f"{dataset.cache_file}: the drivers or positions of {snapshot.race_id} are not those of the store. "
            "Build the dataset again with `f1-predict dataset`."
        )


def _improvements(
    scored: Mapping[tuple[str, float], pl.DataFrame], fractions: Sequence[float], config: Config
) -> list[Improvement]:
    """The candidate against each rival, paired by race."""
    found = []
    for fraction in fractions:
        for rival in RIVALS:
            for metric in COMPARED:
                change = paired_change(
                    metrics.per_race(scored[rival, fraction], metric),
                    metrics.per_race(scored[CANDIDATE, fraction], metric),
                    higher_is_better=metric in metrics.HIGHER_IS_BETTER,
                    draws=config.evaluation.bootstrap_draws,
                    seed=config.evaluation.seed,
                )
                found.append(Improvement(fraction, rival, metric, change))
    return found


def _picture_share(rows: pl.DataFrame, fraction: float) -> PictureShare:
    """Mean scores of rows with and without a picture."""
    contributions = []
    for race in metrics.races_of(rows):
        ordered = rows.filter(pl.col("race_id") == race.race_id).sort("driver_id")
        contributions.append(
            pl.DataFrame(
                {
                    "has_image": ordered["has_image"],
                    "log_loss": metrics.log_loss(race.probs, race.position),
                    "accuracy": metrics.accuracy(race.probs, race.position),
                }
            )
        )
    table = pl.concat(contributions)
    seen, unseen = table.filter("has_image"), table.filter(~pl.col("has_image"))

    def mean(frame: pl.DataFrame, metric: str) -> float | None:
        return float(frame[metric].to_numpy().mean()) if frame.height else None

    return PictureShare(
        fraction=fraction,
        rows=table.height,
        without=unseen.height,
        log_loss_with=mean(seen, "log_loss"),
        log_loss_without=mean(unseen, "log_loss"),
        accuracy_with=mean(seen, "accuracy"),
        accuracy_without=mean(unseen, "accuracy"),
    )
