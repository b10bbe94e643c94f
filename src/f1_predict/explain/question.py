"""A forecast as one number that gradients can be taken of: one driver's chance of something, or expected place.

It is the network's own answer for that driver: of the design's network before the field's answers are balanced against
each other, of networks over whole fields, which balance inside, before the last balancing.
Knows tensors only: nothing of pictures, laps or files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from f1_predict.errors import ConfigError
from f1_predict.forecasting.names import quoted
from f1_predict.models.field_forecaster import FieldForecaster
from f1_predict.models.field_network import averaged
from f1_predict.models.forecaster import Forecaster, RaceForecaster
from f1_predict.models.probabilities import FLOOR, PODIUM_PLACES, POINTS_PLACES, to_field

PLACES = ("expected_position", "p_win", "p_podium", "p_points")
"""What a model of places can be asked for, under the names that its forecasts have; the first one is the default."""
FINISH = ("p_finish",)
"""What a network of head "finish" can be asked for, by itself or beside one of places."""


def targets_of(forecaster: RaceForecaster) -> tuple[str, ...]:
    """What a model can be asked to explain, the default first."""
    if forecaster.head == "finish":
        return FINISH
    return PLACES + FINISH if forecaster.says_finish else PLACES


def target_of(forecaster: RaceForecaster, name: str | None) -> str:
    """The name, if the model can be asked to explain it; None: its first.

    Raises:
        ConfigError: if the model says nothing of it.
    """
    known = targets_of(forecaster)
    if name is not None and name not in known:
        raise ConfigError(
            f"a model of head '{forecaster.head}' can explain {', '.join(known)}, got {quoted(name)}. "
            "Ask for one of these."
        )
    return known[0] if name is None else name


class Question(ABC):
    """What is asked of a model about one starter.

    Shape:
        vectors (B, image_feature_dim) and table (B, F) of that starter -> outcomes (B, n), value (B,). The n outcomes
        are the places of the field, or for "p_finish" classified and not.

    Args:
        target: one of the model's `targets_of`.
        n_starters: cars in the race.
    """

    def __init__(self, target: str, n_starters: int) -> None:
        self.target = target
        self._weights = _weights(target, n_starters)

    @abstractmethod
    def outcomes(self, vectors: Tensor | None, table: Tensor) -> Tensor:
        """The probability of each outcome: float64 (B, n), rows sum to 1.

        Args:
            vectors: float32 (B, image_feature_dim) encoded pictures, or None for no picture.
            table: float32 (B, F) standardised features.
        """

    def value(self, vectors: Tensor | None, table: Tensor) -> Tensor:
        """The number that is explained: float64 (B,); arguments as `outcomes`."""
        return self.worth(self.outcomes(vectors, table))

    def worth(self, outcomes: Tensor) -> Tensor:
        """The number that is explained, of `outcomes` float64 (B, n): float64 (B,)."""
        worth: Tensor = outcomes @ self._weights
        return worth


class CarQuestion(Question):
    """What is asked of the design's network, which sees one starter at a time.

    Args:
        forecaster: the trained model.
        n_starters: cars in the race.
        target: one of its `targets_of`; None: the first of them.

    Raises:
        ConfigError: if the model says nothing of the target.
    """

    def __init__(self, forecaster: Forecaster, n_starters: int, target: str | None = None) -> None:
        super().__init__(target_of(forecaster, target), n_starters)
        finish = forecaster.finish if self.target in FINISH else None
        model = self.model = finish or forecaster.model
        self._field, self._sigma = n_starters, forecaster.sigma
        classes = np.eye(model.output_dim)
        stretched = to_field(classes, n_starters) if model.output_dim < n_starters else classes[:, :n_starters]
        self._stretched = torch.from_numpy(np.ascontiguousarray(stretched))

    def outcomes(self, vectors: Tensor | None, table: Tensor) -> Tensor:
        """See Question."""
        mask = torch.full((len(table),), vectors is not None)
        activated = self.model.activate(self.model.fuse_logits(vectors, table, mask)).double()
        if self.model.head == "finish":
            return torch.cat([activated, 1.0 - activated], dim=1)
        if self._sigma is not None:  # as probabilities.spread
            edges = torch.arange(self._field + 1, dtype=torch.float64) / self._field
            places = torch.special.ndtr((edges - activated) / self._sigma).diff(dim=1).clamp_min(FLOOR)
        else:  # as probabilities.to_field
            places = activated @ self._stretched
            behind = places.sum(dim=1) <= 2 * self._field * FLOOR
            last = torch.nn.functional.one_hot(torch.tensor(self._field - 1), self._field)
            places = torch.where(behind[:, None], places + last, places)
        shares: Tensor = places / places.sum(dim=1, keepdim=True)
        return shares


class FieldQuestion(Question):
    """What is asked of networks over whole fields about one starter, all others as they are.

    Args:
        forecaster: the trained model.
        row: the starter's, in the field.
        table: float32 (N, F), of all starters, standardised.
        vectors: float32 (N, image_feature_dim), their encoded pictures, any value without one.
        has_image: bool (N,).
        target: one of its `targets_of`; None: the first of them.

    Raises:
        ConfigError: if the model says nothing of the target.
    """

    def __init__(
        self,
        forecaster: FieldForecaster,
        row: int,
        table: Tensor,
        vectors: Tensor,
        has_image: Tensor,
        target: str | None = None,
    ) -> None:
        super().__init__(target_of(forecaster, target), len(table))
        self._networks, self._row = forecaster.networks, row
        self._table, self._vectors, self._has_image = table, vectors, has_image

    def outcomes(self, vectors: Tensor | None, table: Tensor) -> Tensor:
        """See Question."""
        cars = torch.ones(len(table), len(self._table), dtype=torch.bool)
        own = torch.arange(len(self._table)) == self._row
        has_image = torch.where(own, vectors is not None, self._has_image).expand(cars.shape)
        pictures = self._vectors.expand(len(table), -1, -1)
        if vectors is not None:
            pictures = torch.where(own[:, None], vectors[:, None, :], pictures)
        tables = torch.where(own[:, None], table[:, None, :], self._table)
        position, finish = averaged(self._networks, tables, pictures, has_image, cars)
        if self.target in FINISH:
            classified = finish[:, self._row, None]
            return torch.cat([classified, 1.0 - classified], dim=1)
        places = position[:, self._row]
        shares: Tensor = places / places.sum(dim=1, keepdim=True)
        return shares


def _weights(target: str, n_starters: int) -> Tensor:
    """What each outcome counts."""
    if target == "p_finish":
        return torch.tensor([1.0, 0.0], dtype=torch.float64)
    places = torch.arange(1, n_starters + 1, dtype=torch.float64)
    if target == "expected_position":
        return places
    best = {"p_win": 1, "p_podium": PODIUM_PLACES, "p_points": POINTS_PLACES}[target]
    return (places <= best).double()
