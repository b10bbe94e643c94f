"""From a Snapshot to the field's forecast by networks that see all cars of it together, and how the race stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from f1_predict import features
from f1_predict.config import FeatureConfig
from f1_predict.errors import ConfigError
from f1_predict.horizon import Snapshot
from f1_predict.models.field_network import FieldNetwork, averaged
from f1_predict.models.forecaster import RaceForecaster, forecast_frame
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.probabilities import FLOOR, coherent
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder


class FieldForecaster(RaceForecaster):
    """Trained networks over whole fields, whose forecasts are averaged, with everything that they need.

    Args:
        networks: the members, one or more.
        encoder: the backbone that they were trained with.
        normaliser: fitted on the training rows of FEATURE_NAMES and IN_RACE_NAMES.
        generator: draws the pictures; nothing is written.
        feature_config: settings of the features that they were trained with.

    Raises:
        ConfigError: if there is no network.
        FeatureError: if the normaliser was fitted on other features than this version computes.
    """

    catalogue = (*features.FEATURES, *features.IN_RACE_FEATURES)
    command = "train-field"

    def __init__(
        self,
        networks: Sequence[FieldNetwork],
        encoder: VisionEncoder,
        normaliser: FeatureNormaliser,
        generator: SpeedTraceGenerator,
        feature_config: FeatureConfig,
    ) -> None:
        super().__init__(encoder, normaliser, generator, feature_config)
        if not networks:
            raise ConfigError("a forecaster needs a network or more, got none. Train with `f1-predict train-field`.")
        self.networks = tuple(network.eval() for network in networks)

    @property
    def head(self) -> str:
        """Places."""
        return "position"

    @property
    def says_finish(self) -> bool:
        """Beside the places."""
        return True

    def table(self, snapshot: Snapshot, values: np.ndarray) -> np.ndarray:
        """What is known before the race, and how it stands: see RaceForecaster."""
        return np.hstack([values, features.in_race_values(snapshot, self.feature_config)])

    def predict_from_embeddings(
        self, snapshot: Snapshot, values: np.ndarray, embeddings: np.ndarray, present: np.ndarray
    ) -> pl.DataFrame:
        """See RaceForecaster."""
        tabular = torch.from_numpy(self.normaliser.transform(self.table(snapshot, values)))
        cars, shown = torch.ones(1, len(tabular), dtype=torch.bool), torch.from_numpy(present)
        with torch.inference_mode():
            position, finish = averaged(
                self.networks, tabular[None], torch.from_numpy(embeddings)[None], shown[None], cars
            )
        frame = forecast_frame(snapshot, coherent(position[0].numpy()), present)
        return frame.with_columns(pl.Series("p_finish", finish[0].clamp(FLOOR, 1.0 - FLOOR).numpy()))
