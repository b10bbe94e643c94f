"""The few numbers watched while a network is fitted. The scores that count are in `evaluation`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from f1_predict.models.multimodal_fusion import MultiModalFusionModel


@dataclass(frozen=True)
class Scores:
    """How well a network forecasts some rows.

    Attributes:
        loss: the head's loss, mean over rows.
        accuracy: share of rows whose position (head "finish": whether classified) is the most probable one;
            head "position_regression": the place of the field that the forecast falls into.
        log_loss: -ln P(truth), mean over rows; None for the head that forecasts no probability.
        mae: mean absolute difference of expected and true position, in places; None for "finish".
    """

    loss: float
    accuracy: float
    log_loss: float | None
    mae: float | None


def score(model: MultiModalFusionModel, logits: Tensor, targets: Tensor, n_starters: Tensor) -> Scores:
    """Score a model's logits (n, output_dim) against targets (n,); `n_starters` (n,) gives the size of each field."""
    head = model.head
    logits = logits.double()
    targets = targets if head == "position" else targets.double()
    loss = model.loss(logits, targets).item()
    if head == "position":
        probabilities = torch.softmax(logits, dim=1)
        places = torch.arange(logits.shape[1], device=logits.device, dtype=torch.float64)
        mae = (probabilities @ places - targets).abs().mean().item()
        return Scores(loss, (logits.argmax(1) == targets).double().mean().item(), loss, mae)
    forecast = torch.sigmoid(logits[:, 0])
    if head == "finish":
        return Scores(loss, ((forecast >= 0.5) == (targets >= 0.5)).double().mean().item(), loss, None)
    right = torch.floor(forecast * n_starters) == torch.floor(targets * n_starters)
    mae = ((forecast - targets).abs() * n_starters).mean().item()
    return Scores(loss, right.double().mean().item(), None, mae)
