"""How long a forecast takes, from laps to probabilities: draw, encode, fuse, on a warm process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        field: median for a whole field in one batch.
        field_per_prediction: `field` divided by the cars of each field, median.
        slowest: of all calls.
        features: median to compute a field's features from all earlier races, which comes on top.
        calls: forecasts timed in each of the two ways.
    """

    one_driver: float
    field: float
    field_per_prediction: float
    slowest: float
    features: float
    calls: int


def measure_latency(forecaster: Forecaster, snapshots: Sequence[Snapshot]) -> Latency:
    """Time forecasts of snapshots, after one that warms up.

    Raises:
        ConfigError: if there are no snapshots.
    """
    if not snapshots:
        raise ConfigError("latency needs one snapshot or more, got none.")
    one, field, per_car, built = [], [], [], []
    for number, snapshot in enumerate([snapshots[0], *snapshots]):
        start = time.perf_counter()
        table = features.build(snapshot, forecaster.feature_config)
        feature_ms = 1000.0 * (time.perf_counter() - start)
        values = table.select(features.FEATURE_NAMES).to_numpy().astype(np.float64)
        alone = replace(snapshot, entries=snapshot.entries.head(1))
        milliseconds = []
        for cut, rows in ((alone, values[:1]), (snapshot, values)):
            start = time.perf_counter()
            forecaster.predict_from_features(cut, rows)
            milliseconds.append(1000.0 * (time.perf_counter() - start))
        if number > 0:
            one.append(milliseconds[0])
            field.append(milliseconds[1])
            per_car.append(milliseconds[1] / len(values))
            built.append(feature_ms)
    return Latency(
        one_driver=float(np.median(one)),
        field=float(np.median(field)),
        field_per_prediction=float(np.median(per_car)),
        slowest=max(one + field),
        features=float(np.median(built)),
        calls=len(snapshots),
    )
