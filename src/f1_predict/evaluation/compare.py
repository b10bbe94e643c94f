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
from f1_predict.evaluation import ladder, metrics
from f1_predict.evaluation.baselines import CurrentOrderBaseline, GridBaseline, UniformBaseline
from f1_predict.evaluation.bootstrap import Change, paired_change
from f1_predict.horizon import RaceArchive
from f1_predict.models.ensemble import EnsemblePredictor
from f1_predict.models.forecaster import forecast_frame
from f1_predict.models.probabilities import to_field
from f1_predict.training.rows import LabelledRows
from f1_predict.training.train import EncodedDataset, OnEpoch, TrainedNetwork, train_network

Floats = NDArray[np.float64]

ANY_LAP = "network_fusion_any_lap"
"""The network of the fusion rung, trained on the rows of all fractions at once: no rung, but what forecasts any lap."""
LADDER = ("uniform", "grid", "current_order", "ensemble_pre", "network_table", "network_fusion", ANY_LAP)
"""Models compared, in the order of every table."""
CANDIDATE, RIVALS = ladder.DESIGN_CANDIDATE, ladder.DESIGN_RIVALS
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
        return isfinite(self.change.improvement) and self.change.improvement > ladder.DESIGN_TARGET


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
        networks: the trained candidate by fraction.
        any_lap: the network trained on all fractions.
        rows: training, validation and test rows.
        weights: of the ensemble's members, by fraction and name.
    """

    predictions: pl.DataFrame
    scores: Mapping[str, Mapping[float, Mapping[str, float]]]
    improvements: Sequence[Improvement]
    pictures: Sequence[PictureShare]
    networks: Mapping[float, TrainedNetwork]
    any_lap: TrainedNetwork
    rows: tuple[int, int, int]
    weights: Mapping[float, Mapping[str, float]]


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

    Every learnt rung is fitted once per fraction, on the rows at that fraction alone: the same rows, table and target
    for all. One more network, ANY_LAP, learns from the rows of all fractions; it is the one that forecasts any lap.

    Args:
        archive: the races, with results (to score, and to count the baselines on training races).
        train, validation, test: rows of seasons that follow each other; the same features in all.
        config: settings; `evaluation.fractions` are scored.
        on_epoch: told of every epoch of the networks.
        on_step: told what begins.

    Raises:
        ConfigError: if the head forecasts no positions, or the dataset lacks a cut that is to be scored.
        DataError: if the dataset was made from another store.
        NotFoundError: if the archive lacks a race of the dataset.
    """
    if config.fusion.head != "position":
        raise ConfigError(f"the comparison needs head 'position', got '{config.fusion.head}'. Set fusion.head.")
    learned = set(train.dataset.race_ids) | set(validation.dataset.race_ids)
    known = set(archive.race_ids)
    if lost := sorted((learned | set(test.dataset.race_ids)) - known):
        raise NotFoundError("race", lost[0], known, remedy="Build the dataset again from this store.")
    for part in (train, validation, test):
        _require_same_rows(archive, part.dataset)
    say = on_step or (lambda text: None)
    fractions = [f for f in config.evaluation.fractions if len(_at(archive, test, f))]
    for fraction in sorted(set(config.evaluation.fractions) - set(fractions)):
        say(f"fraction {fraction:g} is left out: no test race has laps")
    counted = [race_id for race_id in archive.race_ids if race_id in learned]

    say(f"{ANY_LAP}: training one network on the rows of all fractions")
    any_lap = train_network(train, validation, config, on_epoch=on_epoch)
    frames, networks, weights = [], {}, {}
    for fraction in fractions:
        parts = [part.take(_at(archive, part, fraction)) for part in (train, validation, test)]
        when = ladder.moment(fraction)
        say(f"ensemble_pre, {when}: fitting the tabular baseline")
        ensemble = _fit_ensemble(parts[0], parts[1], config)
        say(f"network_table, {when}: training the network with every picture masked")
        table_only = train_network(parts[0], parts[1], config, use_pictures=False, on_epoch=on_epoch)
        say(f"network_fusion, {when}: training the network on picture and table")
        fusion = train_network(parts[0], parts[1], config, on_epoch=on_epoch)
        outputs = {
            "ensemble_pre": ensemble.predict_proba(parts[2].dataset.tabular_raw),
            "network_table": table_only.predict(parts[2], use_pictures=False),
            CANDIDATE: fusion.predict(parts[2]),
            ANY_LAP: any_lap.predict(parts[2]),
        }
        frames.append(_predictions(archive, parts[2], outputs, fraction, counted))
        networks[fraction], weights[fraction] = fusion, ensemble.weights_
    predictions = pl.concat(frames)
    scored = _by_model_and_fraction(predictions)
    return Comparison(
        predictions=predictions,
        scores={
            model: {f: metrics.score(scored[model, f]) for f in fractions if (model, f) in scored} for model in LADDER
        },
        improvements=_improvements(scored, fractions, config),
        pictures=[_picture_share(scored[CANDIDATE, f], f) for f in fractions],
        networks=networks,
        any_lap=any_lap,
        rows=(len(train), len(validation), len(test)),
        weights=weights,
    )


def _fit_ensemble(train: EncodedDataset, validation: EncodedDataset, config: Config) -> EnsemblePredictor:
    classes = int(max(train.dataset.n_starters.max(), validation.dataset.n_starters.max()))
    return EnsemblePredictor(classes, config=config.ensemble).fit(
        train.dataset.tabular_raw,
        train.dataset.positions - 1,
        validation.dataset.tabular_raw,
        validation.dataset.positions - 1,
        train.dataset.feature_names,
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
    """Train and score the candidate once more per fraction, after removing a random share of the pictures of all rows.

    Args: as `compare`; `share` in [0, 1].
    """
    scores: dict[float, Mapping[str, float]] = {}
    for fraction in config.evaluation.fractions:
        parts = [part.take(_at(archive, part, fraction)) for part in (train, validation, test)]
        if not len(parts[2]):
            continue
        kept = [part.without_pictures(share, config.training.seed) for part in parts]
        network = train_network(kept[0], kept[1], config)
        predictions = _predictions(archive, kept[2], {CANDIDATE: network.predict(kept[2])}, fraction, ())
        scores[fraction] = metrics.score(predictions)
    return FewerPictures(share, scores)


def _at(archive: RaceArchive, part: EncodedDataset, fraction: float) -> NDArray[np.int64]:
    """Numbers of the rows at a fraction of the race; races without laps have none after the start."""
    horizons: dict[str, str | None] = {}
    for race_id in dict.fromkeys(part.dataset.race_ids):
        reached = fraction == 0 or archive.laps_completed(race_id) > 0
        horizons[race_id] = archive.horizon_at(race_id, fraction).name if reached else None
    keys = zip(part.dataset.race_ids, part.dataset.horizons, strict=True)
    rows = [row for row, (race_id, horizon) in enumerate(keys) if horizons[race_id] == horizon]
    found = {part.dataset.race_ids[row] for row in rows}
    for race_id, horizon in horizons.items():
        if horizon is not None and race_id not in found:
            raise ConfigError(
                f"the dataset has no rows of {race_id} at {horizon} (fraction {fraction:g}). "
                "Build it again with `f1-predict dataset --fractions ...` including this fraction."
            )
    return np.array(rows, dtype=np.int64)


def _by_model_and_fraction(predictions: pl.DataFrame) -> dict[tuple[str, float], pl.DataFrame]:
    parts = predictions.partition_by("model", "fraction", as_dict=True)
    return {(model, fraction): rows for (model, fraction), rows in parts.items()}


def _predictions(
    archive: RaceArchive,
    test: EncodedDataset,
    outputs: Mapping[str, Floats],
    fraction: float,
    counted: Sequence[str],
) -> pl.DataFrame:
    """All models' forecasts of the test races at one fraction, with the true positions beside them.

    The counted baselines are among them if there are races to count, `counted`.
    """
    rows_of: dict[str, list[int]] = {}
    for row, race_id in enumerate(test.dataset.race_ids):
        rows_of.setdefault(race_id, []).append(row)
    with_laps = [race_id for race_id in counted if archive.laps_completed(race_id) > 0]
    grid = GridBaseline().fit(archive, counted) if counted else None
    order = CurrentOrderBaseline().fit(archive, with_laps, fraction) if with_laps and fraction > 0 else None
    frames = []
    for race_id, rows in rows_of.items():
        snapshot = archive.snapshot(race_id, archive.horizon_at(race_id, fraction))
        forecasts: dict[str, Floats] = {}
        if grid is not None:
            forecasts = {"uniform": UniformBaseline().predict(snapshot), "grid": grid.predict(snapshot)}
        if order is not None:
            forecasts["current_order"] = order.predict(snapshot)
        forecasts |= {name: to_field(values[rows], snapshot.entries.height) for name, values in outputs.items()}
        truth = archive.rows("results", race_id).select("race_id", "driver_id", "position", "classified")
        for model, probabilities in forecasts.items():
            frame = forecast_frame(snapshot, probabilities, test.has_image[rows])
            frame = frame.with_columns(model=pl.lit(model), fraction=pl.lit(float(fraction)))
            frames.append(frame.join(truth, on=["race_id", "driver_id"], how="left", maintain_order="left"))
    return pl.concat(frames)


def _require_same_rows(archive: RaceArchive, dataset: LabelledRows) -> None:
    """A dataset of another store, or in another order than the entries, would be scored against the wrong drivers."""
    rows = zip(dataset.race_ids, dataset.horizons, dataset.driver_ids, dataset.positions.tolist(), strict=True)
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for race_id, horizon, driver_id, position in rows:
        found.setdefault((race_id, horizon), []).append((driver_id, position))
    for (race_id, _), here in found.items():
        if here != list(archive.rows("results", race_id).select("driver_id", "position").iter_rows()):
            raise DataError(
                f"{dataset.cache_file}: the drivers or positions of {race_id} are not those of the store. "
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
