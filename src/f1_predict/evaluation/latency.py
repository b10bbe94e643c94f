"""How long a forecast takes, from laps to probabilities: draw, encode, fuse, on a warm process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from f1_predict import features
from f1_predict.errors import ConfigError
from f1_predict.horizon import Snapshot
from f1_predict.models.forecaster import Forecaster


@dataclass(frozen=True)
class Latency:
    """Milliseconds from laps to probabilities, per call.

    Attributes:
        one_driver: median for a single (picture, table) pair.
        one_driver_slowest: the slowest of these.
        field: median for a whole field in one batch.
        field_per_prediction: `field` divided by the cars of each field, median.
        features: median to compute a field's features from all earlier races, which comes on top.
        calls: forecasts timed in each of the two ways.
    """

    one_driver: float
    one_driver_slowest: float
    field: float
    field_per_prediction: float
    features: float
    calls: int

    @property
    def slowest_prediction(self) -> float:
        """The slowest single prediction with its features, the figure that the design's bound is about."""
        return self.one_driver_slowest + self.features


def measure_latency(forecaster: Forecaster, snapshots: Sequence[Snapshot]) -> Latency:
    """Time forecasts of snapshots, after one that warms up.

    Batch 1 is the picture of a driver who has one, drawn before the whole field as ever.

    Raises:
        ConfigError: if there are no snapshots, or nobody has a picture in one.
    """
    if not snapshots:
        raise ConfigError("latency needs one snapshot or more, got none.")
    one, field, per_car, built = [], [], [], []
    for number, snapshot in enumerate([snapshots[0], *snapshots]):
        start = time.perf_counter()
        table = features.build(snapshot, forecaster.feature_config)
        values = table.select(features.FEATURE_NAMES).to_numpy()
        feature_ms = _milliseconds_since(start)
        start = time.perf_counter()
        forecast = forecaster.predict_from_features(snapshot, values)
        field_ms = _milliseconds_since(start)
        seen = forecast["has_image"].arg_max()
        if seen is None or not forecast["has_image"][seen]:
            raise ConfigError(f"{snapshot.race_id}: nobody has a picture, so its latency says nothing.")
        start = time.perf_counter()
        forecaster.predict_one(snapshot, seen, values[seen : seen + 1])
        one_ms = _milliseconds_since(start)
        if number > 0:
            one.append(one_ms)
            field.append(field_ms)
            per_car.append(field_ms / len(values))
            built.append(feature_ms)
    return Latency(
        one_driver=float(np.median(one)),
        one_driver_slowest=max(one),
        field=float(np.median(field)),
        field_per_prediction=float(np.median(per_car)),
        features=float(np.median(built)),
        calls=len(snapshots),
    )


def _milliseconds_since(start: float) -> float:
    return 1000.0 * (time.perf_counter() - start)
