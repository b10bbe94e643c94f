"""From a Snapshot to the field's forecast: draw, encode, fuse.

The one object that a user needs after training. It sees a Snapshot and nothing else; the result of
the race is not in it.
"""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
import torch

from f1_predict import features
from f1_predict.config import FeatureConfig
from f1_predict.errors import ConfigError, FeatureError
from f1_predict.horizon import Snapshot
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.probabilities import coherent, spread, summarise, to_field
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder

log = logging.getLogger(__name__)


class Forecaster:
    """A trained fusion network with everything that it needs to forecast a race.

    Args:
        model: the trained network, head "position" or "position_regression".
        encoder: the backbone that it was trained with.
        normaliser: fitted on the training rows of the features.
        generator: draws the pictures; nothing is written.
        feature_config: settings of the features that it was trained with.
        sigma: error of the regression head on validation races (see probabilities.spread); unused by the others.

    Raises:
        ConfigError: if the head forecasts no positions, or the regression head comes without sigma.
        FeatureError: if the normaliser was fitted on other features than this version computes.
    """

    def __init__(
        self,
        model: MultiModalFusionModel,
        encoder: VisionEncoder,
        normaliser: FeatureNormaliser,
        generator: SpeedTraceGenerator,
        feature_config: FeatureConfig,
        sigma: float | None = None,
    ) -> None:
        if (model.head == "position_regression") != (sigma is not None) or model.head == "finish":
            raise ConfigError(
                f"a forecast of positions needs head 'position', or 'position_regression' with its sigma; "
                f"got head '{model.head}' with sigma {sigma}. Train with `f1-predict train --head position`."
            )
        if tuple(normaliser.names) != tuple(features.FEATURE_NAMES):
            different = sorted(set(normaliser.names) ^ set(features.FEATURE_NAMES))
            raise FeatureError(
                f"the model was trained on other features than this version computes "
                f"(different: {', '.join(different) or 'their order'}). Train it again with `f1-predict train`."
            )
        self.model = model.eval_mode()
        self.encoder = encoder
        self.normaliser = normaliser
        self.generator = generator
        self.feature_config = feature_config
        self.sigma = sigma

    def predict(self, snapshot: Snapshot) -> pl.DataFrame:
        """Forecast the whole field.

        The drivers' distributions are balanced against each other (probabilities.coherent): every place goes to one
        driver, so the probabilities of winning sum to 1.

        Args:
            snapshot: what is known at the horizon.

        Returns:
            One row per starter, in the order of `snapshot.entries`: race_id, driver_id, horizon,
            cutoff_lap, n_starters, position_probs (list of n_starters floats that sum to 1),
            expected_position, predicted_rank (1..n, unique), p_win, p_podium,
            p_points, position_low and position_high (80 % range), has_image.
        """
        if snapshot.horizon.leaks:
            log.warning("%s: a forecast from the full race has seen the finish it forecasts", snapshot.race_id)
        table = features.build(snapshot, self.feature_config)
        return self.predict_from_features(snapshot, table.select(features.FEATURE_NAMES).to_numpy())

    def predict_from_features(self, snapshot: Snapshot, values: np.ndarray) -> pl.DataFrame:
        """As `predict`, with the features already built: the path from laps to probabilities.

        Args:
            snapshot: what is known at the horizon.
            values: (n_starters, len(FEATURE_NAMES)) float64, NaN = unknown, in the order of entries.
        """
        output, present = self._output(snapshot, snapshot.driver_ids, values)
        return forecast_frame(snapshot, coherent(self._positions(output, snapshot)), present)

    def predict_one(self, snapshot: Snapshot, row: int, values: np.ndarray) -> np.ndarray:
        """One starter's probabilities (n_starters,), not balanced against the others'.

        Args:
            snapshot: what is known at the horizon.
            row: the starter's row in `snapshot.entries`.
            values: (1, len(FEATURE_NAMES)) float64, NaN = unknown.
        """
        output, _ = self._output(snapshot, snapshot.driver_ids[row : row + 1], values)
        return np.asarray(self._positions(output, snapshot)[0])

    def _output(self, snapshot: Snapshot, drivers: list[str], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The network's output for some starters (n, output_dim), and whether they have a picture (n,)."""
        traces = self.generator.render(snapshot, drivers)
        embeddings = np.zeros((len(drivers), self.encoder.feature_dim), dtype=np.float32)
        if traces.present.any():
            embeddings[traces.present] = self.encoder.encode_arrays(traces.images[traces.present])
        tabular = torch.from_numpy(self.normaliser.transform(values))
        with torch.inference_mode():
            output = self.model.fuse(torch.from_numpy(embeddings), tabular, torch.from_numpy(traces.present))
        return output.double().numpy(), traces.present

    def _positions(self, output: np.ndarray, snapshot: Snapshot) -> np.ndarray:
        """The network's output as (n_starters, n_starters) probabilities over finishing positions."""
        field = snapshot.entries.height
        if self.sigma is not None:
            return spread(output[:, 0], field, self.sigma)
        return to_field(output, field)


def forecast_frame(snapshot: Snapshot, probabilities: np.ndarray, present: np.ndarray) -> pl.DataFrame:
    """A field's probabilities (n, n) as rows of the predictions file (see Forecaster.predict)."""
    field = snapshot.entries.height
    forecast = summarise(probabilities)
    return pl.DataFrame(
        {
            "race_id": [snapshot.race_id] * field,
            "driver_id": snapshot.driver_ids,
            "horizon": [snapshot.horizon.name] * field,
            "cutoff_lap": [snapshot.cutoff_lap] * field,
            "n_starters": [field] * field,
            "position_probs": probabilities.tolist(),
            "expected_position": forecast.expected_position,
            "predicted_rank": forecast.predicted_rank,
            "p_win": forecast.p_win,
            "p_podium": forecast.p_podium,
            "p_points": forecast.p_points,
            "position_low": forecast.interval_low,
            "position_high": forecast.interval_high,
            "has_image": present,
        },
        schema_overrides={"cutoff_lap": pl.Int32, "n_starters": pl.Int32, "predicted_rank": pl.Int32},
    )
