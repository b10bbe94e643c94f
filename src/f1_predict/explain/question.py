"""A forecast as one number that gradients can be taken of: one driver's chance of something, or expected place.

It is the network's own answer for that driver, before the field's forecasts are balanced against each other. Knows
tensors only: nothing of pictures, laps or files.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from f1_predict.errors import ConfigError
from f1_predict.forecasting.names import quoted
from f1_predict.models.forecaster import Forecaster
from f1_predict.models.probabilities import FLOOR, PODIUM_PLACES, POINTS_PLACES, to_field

PLACES = ("expected_position", "p_win", "p_podium", "p_points")
"""What a model of places can be asked for, under the names that its forecasts have; the first one is the default."""
FINISH = ("p_finish",)
"""What a network of head "finish" can be asked for, by itself or beside one of places."""


def targets_of(forecaster: Forecaster) -> tuple[str, ...]:
    """What a model can be asked to explain, the default first."""
    if forecaster.finish is forecaster.model:
        return FINISH
    return PLACES if forecaster.finish is None else PLACES + FINISH


def target_of(forecaster: Forecaster, name: str | None) -> str:
    """The name, if the model can be asked to explain it; None: its first.

    Raises:
        ConfigError: if the model says nothing of it.
    """
    known = targets_of(forecaster)
    if name is not None and name not in known:
        raise ConfigError(
            f"a model of head '{forecaster.model.head}' can explain {', '.join(known)}, got {quoted(name)}. "
            "Ask for one of these."
        )
    return known[0] if name is None else name


class Question:
    """What is asked of the network about one starter.

    Shape:
        logits (B, output_dim) -> outcomes (B, n), value (B,). The n outcomes are the places of the field, or for head
        "finish" classified and not.

    Args:
        forecaster: the trained model.
        n_starters: cars in the race.
        target: one of its `targets_of`; None: the first of them.

    Raises:
        ConfigError: if the model says nothing of the target.
    """

    def __init__(self, forecaster: Forecaster, n_starters: int, target: str | None = None) -> None:
        self.target = target_of(forecaster, target)
        finish = forecaster.finish if self.target in FINISH else None
        model = self.model = finish or forecaster.model
        self._field, self._sigma = n_starters, forecaster.sigma
        self._weights = _weights(self.target, n_starters)
        classes = np.eye(model.output_dim)
        stretched = to_field(classes, n_starters) if model.output_dim < n_starters else classes[:, :n_starters]
        self._stretched = torch.from_numpy(np.ascontiguousarray(stretched))

    def outcomes(self, vectors: Tensor | None, table: Tensor) -> Tensor:
        """The probability of each outcome: float64 (B, n), rows sum to 1.

        Args:
            vectors: float32 (B, image_feature_dim) encoded pictures, or None for no picture.
            table: float32 (B, F) standardised features.
        """
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

    def value(self, vectors: Tensor | None, table: Tensor) -> Tensor:
        """The number that is explained: float64 (B,); arguments as `outcomes`."""
        return self.worth(self.outcomes(vectors, table))

    def worth(self, outcomes: Tensor) -> Tensor:
        """The number that is explained, of `outcomes` float64 (B, n): float64 (B,)."""
        worth: Tensor = outcomes @ self._weights
        return worth


def _weights(target: str, n_starters: int) -> Tensor:
    """What each outcome counts."""
    if target == "p_finish":
        return torch.tensor([1.0, 0.0], dtype=torch.float64)
    places = torch.arange(1, n_starters + 1, dtype=torch.float64)
    if target == "expected_position":
        return places
    best = {"p_win": 1, "p_podium": PODIUM_PLACES, "p_points": POINTS_PLACES}[target]
    return (places <= best).double()
