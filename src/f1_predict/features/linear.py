"""A linear forecast of the finish, refitted after every race on all races before.

Ridge regression (Hoerl and Kennard 1970, Technometrics 12, 55-67) with exponential forgetting
(Haykin, Adaptive Filter Theory, on recursive least squares), kept as its normal equations. Few
weights on ranks need far less data than trees do, so the forecast is a feature for those. Knows
nothing of tables.
"""

from __future__ import annotations

import numpy as np

from f1_predict.features.sessions import Floats, field_rank


def centred_rank(values: Floats) -> Floats:
    """(n,) ranks as shares of the known field, from -0.5 (smallest) to 0.5; 0 = unknown or alone."""
    known = int((~np.isnan(values)).sum())
    if known < 2:
        return np.zeros(len(values))
    share: Floats = np.nan_to_num((field_rank(values) - 1.0) / (known - 1) - 0.5)
    return share


class LinearForecast:
    """Weights of the inputs, learnt race by race.

    Args:
        inputs: number of inputs, k.
        penalty: ridge penalty on the squared weights, in rows.
        memory: weight that a race keeps when the next one is learnt.
    """

    def __init__(self, inputs: int, penalty: float, memory: float) -> None:
        self.penalty = penalty
        self.memory = memory
        self.gram = np.zeros((inputs, inputs))
        self.moment = np.zeros(inputs)

    def forecast(self, inputs: Floats) -> Floats:
        """(n,) expected finish as share of the field from (n, k) inputs; 0.5 before any race."""
        weights = np.linalg.solve(self.gram + self.penalty * np.eye(len(self.moment)), self.moment)
        shares: Floats = 0.5 + inputs @ weights
        return shares

    def learn(self, inputs: Floats, finish: Floats) -> None:
        """Learn one race: (n, k) inputs and (n,) finishes as shares of the field."""
        self.gram = self.memory * self.gram + inputs.T @ inputs
        self.moment = self.memory * self.moment + inputs.T @ (finish - 0.5)
