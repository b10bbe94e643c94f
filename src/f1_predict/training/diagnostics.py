"""What to look at when a loss does not fall: learning rate, inputs and gradients. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Distribution:
    """Mean, standard deviation, smallest and largest value of an array of inputs."""

    mean: float
    std: float
    min: float
    max: float

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Distribution | None:
        """The distribution of all values together, computed in float64; None for an empty array."""
        if values.size == 0:
            return None
        wide = values.astype(np.float64)
        return cls(float(wide.mean()), float(wide.std()), float(wide.min()), float(wide.max()))

    def __str__(self) -> str:
        return f"mean {self.mean:.4g}, std {self.std:.4g}, min {self.min:.4g}, max {self.max:.4g}"


@dataclass(frozen=True)
class Diagnostics:
    """The state of a fit whose loss did not fall.

    Attributes:
        reason: what was seen, as a sentence without a full stop.
        learning_rate: the one that failed.
        losses: training loss before the first epoch, then of each epoch until the fit was given up.
        tabular: distribution of the normalised features.
        embeddings: distribution of the embeddings of rows with a picture; None without any.
        gradient_norms: Euclidean norm of the loss's gradient on the first batch, by parameter, at the
            weights the fit was given up with.
    """

    reason: str
    learning_rate: float
    losses: tuple[float, ...]
    tabular: Distribution | None
    embeddings: Distribution | None
    gradient_norms: dict[str, float]

    def __str__(self) -> str:
        norms = ", ".join(f"{name} {norm:.3g}" for name, norm in self.gradient_norms.items())
        return (
            f"{self.reason}; learning rate {self.learning_rate:g}; losses {', '.join(f'{x:.4g}' for x in self.losses)}"
            f"; features: {self.tabular}; embeddings: {self.embeddings}; gradient norms: {norms}"
        )
