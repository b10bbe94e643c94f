"""From a Snapshot to the field's forecast: draw, encode, fuse.

The one object that a user needs after training. It sees a Snapshot and nothing else; the result of
the race is not in it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

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


class RaceForecaster(ABC):
    """What forecasts a whole field from a Snapshot, whatever its network is.

    Args:
        encoder: the backbone that the network was trained with.
        normaliser: fitted on the training rows of its table.
        generator: draws the pictures; nothing is written.
        feature_config: settings of the features that it was trained with.

    Raises:
        FeatureError: if the normaliser was fitted on other features than this version computes.
    """

    catalogue: tuple[features.Feature, ...]
    """What the columns of the network's table are."""
    command: str
    """That trains one."""

    def __init__(
        self,
        encoder: VisionEncoder,
        normaliser: FeatureNormaliser,
        generator: SpeedTraceGenerator,
        feature_config: FeatureConfig,
    ) -> None:
        names = [feature.name for feature in self.catalogue]
        if list(normaliser.names) != names:
            different = sorted(set(normaliser.names) ^ set(names))
            raise FeatureError(
                f"the model was trained on other features than this version computes "
                f"(different: {', '.join(different) or 'their order'}). "
                f"Train it again with `f1-predict {self.command}`."
            )
        self.encoder = encoder
        self.normaliser = normaliser
        self.generator = generator
        self.feature_config = feature_config

    @property
    @abstractmethod
    def head(self) -> str:
        """What is forecast: "position", "position_regression" or "finish"."""

    @property
    @abstractmethod
    def says_finish(self) -> bool:
        """Whether it says who will be classified; one of head "finish" says nothing else."""

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
            p_points, position_low and position_high (80 % range), has_image, p_finish (probability of
            being classified). What the model does not say is null: p_finish, or all that is about places.
        """
        if snapshot.horizon.leaks:
            log.warning("%s: a forecast from the full race has seen the finish it forecasts", snapshot.race_id)
        known = features.RaceFeatures.of(snapshot, self.feature_config)
        return self.predict_from_features(snapshot, known.values(snapshot))

    def predict_from_features(self, snapshot: Snapshot, values: np.ndarray) -> pl.DataFrame:
        """As `predict`, with the features already built: the path from laps to probabilities.

        Args:
            snapshot: what is known at the horizon.
            values: (n_starters, len(FEATURE_NAMES)) float64, NaN = unknown, in the order of entries.
        """
        return self.predict_from_embeddings(snapshot, values, *self.embed(snapshot, snapshot.driver_ids))

    @abstractmethod
    def predict_from_embeddings(
        self, snapshot: Snapshot, values: np.ndarray, embeddings: np.ndarray, present: np.ndarray
    ) -> pl.DataFrame:
        """As `predict`, with features and encoded pictures at hand: the path of a replay.

        Args:
            snapshot: what is known at the horizon.
            values: (n_starters, len(FEATURE_NAMES)) float64, NaN = unknown, in the order of entries.
            embeddings: (n_starters, feature_dim) float32, of the pictures of this snapshot; any value without one.
            present: (n_starters,) bool, whether there is a picture.
        """

    def table(self, snapshot: Snapshot, values: np.ndarray) -> np.ndarray:
        """The network's table: float64 (n_starters, len(catalogue)), NaN = unknown.

        Args:
            snapshot: what is known at the horizon.
            values: (n_starters, len(FEATURE_NAMES)) float64, NaN = unknown, in the order of entries.
        """
        return values

    def embed(self, snapshot: Snapshot, drivers: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings of some starters' pictures (n, feature_dim), and whether they have one (n,)."""
        traces = self.generator.render(snapshot, drivers)
        embeddings = np.zeros((len(drivers), self.encoder.feature_dim), dtype=np.float32)
        if traces.present.any():
            embeddings[traces.present] = self.encoder.encode_arrays(traces.images[traces.present])
        return embeddings, traces.present


class Forecaster(RaceForecaster):
    """The design's network, trained, with everything that it needs to forecast a race.

    Args:
        model: the trained network; one of head "finish" says who will be classified, and nothing of places.
        encoder: the backbone that it was trained with.
        normaliser: fitted on the training rows of the features.
        generator: draws the pictures; nothing is written.
        feature_config: settings of the features that it was trained with.
        sigma: error of the regression head on validation races (see probabilities.spread); unused by the others.
        finish: a network of head "finish" beside one of places, fitted on the same inputs; None: a model of places then
            says nothing of who will be classified.

    Raises:
        ConfigError: if the regression head comes without sigma, or another one with it; if `finish` is of another head,
            or comes beside a model that is of this head itself.
        FeatureError: if the normaliser was fitted on other features than this version computes.
    """

    catalogue = features.FEATURES
    command = "train"

    def __init__(
        self,
        model: MultiModalFusionModel,
        encoder: VisionEncoder,
        normaliser: FeatureNormaliser,
        generator: SpeedTraceGenerator,
        feature_config: FeatureConfig,
        sigma: float | None = None,
        finish: MultiModalFusionModel | None = None,
    ) -> None:
        if (model.head == "position_regression") != (sigma is not None):
            raise ConfigError(
                f"a forecaster needs head 'position_regression' with its sigma, or another head without one; "
                f"got head '{model.head}' with sigma {sigma}. Train with `f1-predict train --head position`."
            )
        if finish is not None and (finish.head, model.head == "finish") != ("finish", False):
            raise ConfigError(
                f"beside a model of places, `finish` must be of head 'finish'; got head '{finish.head}' beside head "
                f"'{model.head}'. Leave it out, or train both with `f1-predict train`."
            )
        super().__init__(encoder, normaliser, generator, feature_config)
        self.model = model.eval_mode()
        self.sigma = sigma
        self.finish = self.model if model.head == "finish" else finish and finish.eval_mode()

    @property
    def head(self) -> str:
        """The model's."""
        return self.model.head

    @property
    def says_finish(self) -> bool:
        """Whether there is a network of head "finish"."""
        return self.finish is not None

    def predict_from_embeddings(
        self, snapshot: Snapshot, values: np.ndarray, embeddings: np.ndarray, present: np.ndarray
    ) -> pl.DataFrame:
        """See RaceForecaster."""
        p_finish = pl.Series("p_finish", [None] * len(values), pl.Float64)
        if self.finish is not None:
            p_finish = pl.Series("p_finish", self._fuse(self.finish, values, embeddings, present)[:, 0])
        if self.finish is self.model:
            return _without_places(snapshot, present).with_columns(p_finish)
        output = self._fuse(self.model, values, embeddings, present)
        frame = forecast_frame(snapshot, coherent(self._positions(output, snapshot)), present)
        return frame.with_columns(p_finish)

    def predict_one(self, snapshot: Snapshot, row: int, values: np.ndarray) -> np.ndarray:
        """One starter's probabilities (n_starters,), not balanced against the others'.

        Args:
            snapshot: what is known at the horizon.
            row: the starter's row in `snapshot.entries`.
            values: (1, len(FEATURE_NAMES)) float64, NaN = unknown.
        """
        output = self._fuse(self.model, values, *self.embed(snapshot, snapshot.driver_ids[row : row + 1]))
        return np.asarray(self._positions(output, snapshot)[0])

    def _fuse(
        self, model: MultiModalFusionModel, values: np.ndarray, embeddings: np.ndarray, present: np.ndarray
    ) -> np.ndarray:
        """A network's output for n rows, float64 (n, output_dim)."""
        tabular = torch.from_numpy(self.normaliser.transform(values))
        with torch.inference_mode():
            output = model.fuse(torch.from_numpy(embeddings), tabular, torch.from_numpy(present))
        return output.double().numpy()

    def _positions(self, output: np.ndarray, snapshot: Snapshot) -> np.ndarray:
        """The network's output as (n_starters, n_starters) probabilities over finishing positions."""
        field = snapshot.entries.height
        if self.model.head == "finish":
            raise ConfigError("a model of head 'finish' says nothing of places. Train one with head 'position'.")
        if self.sigma is not None:
            return spread(output[:, 0], field, self.sigma)
        return to_field(output, field)


def forecast_frame(snapshot: Snapshot, probabilities: np.ndarray, present: np.ndarray) -> pl.DataFrame:
    """A field's probabilities (n, n) as rows of the predictions file (see RaceForecaster.predict)."""
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


def _without_places(snapshot: Snapshot, present: np.ndarray) -> pl.DataFrame:
    """A field of which nothing is said, in the columns of `forecast_frame`: all that is about places is null."""
    field = snapshot.entries.height
    nothing = forecast_frame(snapshot, np.full((field, field), 1.0 / field), present)
    places = [name for name in nothing.columns if name.startswith(("p_", "position_", "expected_", "predicted_"))]
    return nothing.with_columns(*(pl.lit(None, nothing.schema[name]).alias(name) for name in places))
