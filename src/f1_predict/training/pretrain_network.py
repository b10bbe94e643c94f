"""The network that is pretrained: a ResNet-18 and a linear head on its 512 features, and what it is to minimise.

The heads are linear so that what a picture says can be read linearly from the features; they are thrown away.
Knows nothing of pictures' origin, of files, or of time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from f1_predict.training.pretrain_labels import COLUMN, TASKS

BINS = 20
"""Classes of the finishing place: equal parts of the field."""
RANKS = "finish_ranks"
"""The task of their distribution."""
RANKS_WEIGHT = 1.0
FEATURES = 512


class PretrainNetwork(nn.Module):
    """ResNet-18 with one linear layer for all tasks.

    Shape:
        images (n, 3, H, W) -> features (n, 512), outputs (n, tasks + bins).

    Args:
        seed: of the initial weights; the caller's random state is left as it was.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = resnet18(weights=None)
            self.backbone.fc = nn.Identity()
            self.heads = nn.Linear(FEATURES, len(TASKS) + BINS)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs float32 (n, tasks + bins): of each task in the order of TASKS, then the logits of the bins."""
        features = self.backbone(images).float()
        with torch.autocast(images.device.type, enabled=False):
            outputs: Tensor = self.heads(features)
        return outputs


@dataclass(frozen=True, eq=False)
class Losses:
    """The loss of each task over a batch.

    Attributes:
        total: the weighted sum, to be minimised.
        tasks: (tasks + 1,) mean loss of each task and of the bins over the rows that have an answer, detached;
            NaN where none has.
    """

    total: Tensor
    tasks: Tensor


def losses(outputs: Tensor, answers: Tensor, label_spread: float) -> Losses:
    """What the outputs are worth. Rows without an answer (NaN) contribute nothing to a task.

    Values: smooth L1 of the standardised answer. Chances: cross-entropy. Bins: cross-entropy against the finishing
    place blurred by a normal distribution, so that near misses cost less than far ones.

    Args:
        outputs: (n, tasks + bins).
        answers: (n, tasks), NaN where a task has none.
        label_spread: standard deviation of the blur, as a share of the field.
    """
    known = ~torch.isnan(answers)
    given = torch.where(known, answers, 0.0)
    centre, scale, weight, chance = _constants(answers.device)
    said = outputs[:, : len(TASKS)]
    value_loss = functional.smooth_l1_loss(said, (given - centre) / scale, reduction="none")
    chance_loss = functional.binary_cross_entropy_with_logits(said, given, reduction="none")
    each = torch.where(known, torch.where(chance, chance_loss, value_loss), 0.0)
    count = known.sum(dim=0)
    mean = each.sum(dim=0) / count.clamp(min=1)

    place = given[:, COLUMN["finish_place"]]
    placed = known[:, COLUMN["finish_place"]]
    surprise = -(blurred(place, label_spread) * functional.log_softmax(outputs[:, len(TASKS) :], dim=1)).sum(dim=1)
    ranks = torch.where(placed, surprise, 0.0).sum() / placed.sum().clamp(min=1)

    # Weighted by the share of rows that have an answer: a task that few rows have must not shout in small batches.
    total = (weight * mean * count).sum() / len(answers) + RANKS_WEIGHT * ranks
    counts = torch.cat([count, placed.sum()[None]])
    tasks = torch.where(counts > 0, torch.cat([mean, ranks[None]]), torch.nan)
    return Losses(total, tasks.detach())


def blurred(place: Tensor, spread: float) -> Tensor:
    """A place (n,) in [0, 1] as probabilities of the bins (n, BINS): a normal distribution cut off at the ends."""
    edges = torch.linspace(0.0, 1.0, BINS + 1, device=place.device)
    below = 0.5 * (1.0 + torch.erf((edges - place[:, None]) / (spread * math.sqrt(2.0))))
    inside = below[:, 1:] - below[:, :-1]
    return inside / inside.sum(dim=1, keepdim=True)


def expected_place(outputs: Tensor) -> Tensor:
    """The mean finishing place (n,) of the bins' distribution, as a share of the field."""
    middle = (torch.arange(BINS, device=outputs.device) + 0.5) / BINS
    return torch.softmax(outputs[:, len(TASKS) :], dim=1) @ middle


def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    def row(values: list[float]) -> Tensor:
        return torch.tensor(values, device=device)

    return (
        row([task.centre for task in TASKS]),
        row([task.scale for task in TASKS]),
        row([task.weight for task in TASKS]),
        torch.tensor([task.kind == "chance" for task in TASKS], device=device),
    )
