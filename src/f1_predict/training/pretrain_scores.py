"""How well a pretrained network reads simulated pictures that it never saw. Knows nothing of how it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from f1_predict.training.pretrain_labels import COLUMN, TASKS
from f1_predict.training.pretrain_network import RANKS, PretrainNetwork, expected_place, losses
from f1_predict.training.pretrain_pictures import STYLES, Batch

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RankScore:
    """Forecast order of finish against the true one, mean over cuts.

    Attributes:
        cuts, pictures: how many.
        mae: mean difference of rank and true rank, places.
        spearman: of the two orders.
        order_mae, order_spearman: the same of the running order at the cut; NaN before the start.
    """

    cuts: int
    pictures: int
    mae: float
    spearman: float
    order_mae: float
    order_spearman: float


@dataclass(frozen=True)
class Scores:
    """Scores over held-out pictures.

    Attributes:
        losses: mean loss of each task, and of the finishing bins under RANKS.
        correlations: of answer and output, of each task that is a value.
        ranks: by style, cuts during the race, and under "before" those before the start.
    """

    losses: dict[str, float]
    correlations: dict[str, float]
    ranks: dict[str, RankScore]


def score(network: PretrainNetwork, pictures: Batch, label_spread: float, batch_size: int, *, half: bool) -> Scores:
    """Score a network, which is left in training mode if it was.

    Args:
        network: with its heads.
        pictures: whole cuts, as `PictureSource.whole_cuts` makes them.
        label_spread: as in training.
        batch_size: pictures at a time.
        half: compute in bfloat16 as training does; False in float32 as the encoder does.
    """
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    outputs = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
        for start in range(0, len(pictures), batch_size):
            images = torch.from_numpy(pictures.images[start : start + batch_size]).to(device).float()
            outputs.append(network(images.contiguous(memory_format=torch.channels_last)).cpu())
    network.train(training)
    said = torch.cat(outputs)
    answers = torch.from_numpy(pictures.answers)
    tasks = losses(said, answers, label_spread).tasks.tolist()
    names = [*(task.name for task in TASKS), RANKS]
    place = expected_place(said).double().numpy()
    return Scores(
        losses={name: value for name, value in zip(names, tasks, strict=True) if value == value},
        correlations=_correlations(said.double().numpy(), pictures.answers.astype(np.float64)),
        ranks=_ranks(place, pictures),
    )


def _correlations(said: Floats, answers: Floats) -> dict[str, float]:
    found = {}
    for column, task in enumerate(TASKS):
        known = ~np.isnan(answers[:, column])
        if task.kind == "value" and known.sum() > 2:
            pair = np.stack([said[known, column], answers[known, column]])
            if (pair.std(axis=1) > 0.0).all():
                found[task.name] = float(np.corrcoef(pair)[0, 1])
    return found


def _ranks(place: Floats, pictures: Batch) -> dict[str, RankScore]:
    groups: dict[str, list[tuple[float, float, float, float, int]]] = {}
    for rows in _cuts(pictures.cuts):
        if len(rows) < 2:
            continue
        answers = pictures.answers[rows].astype(np.float64)
        running = answers[:, COLUMN["place"]]
        before = np.isnan(running).all()
        name = "before" if before else STYLES[int(pictures.styles[rows[0]])]
        true = _rank(answers[:, COLUMN["finish_place"]])
        forecast = _compare(_rank(place[rows]), true)
        order = (np.nan, np.nan) if before else _compare(_rank(running), true)
        groups.setdefault(name, []).append((*forecast, *order, len(rows)))
    scores = {}
    for name, found in sorted(groups.items()):
        mae, spearman, order_mae, order_spearman = np.mean([cut[:4] for cut in found], axis=0).tolist()
        scores[name] = RankScore(len(found), sum(cut[4] for cut in found), mae, spearman, order_mae, order_spearman)
    return scores


def _cuts(cuts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for cut in np.unique(cuts):
        yield np.flatnonzero(cuts == cut)


def _rank(values: Floats) -> NDArray[np.int64]:
    return np.asarray(np.argsort(np.argsort(values, kind="stable"), kind="stable"))


def _compare(rank: NDArray[np.int64], true: NDArray[np.int64]) -> tuple[float, float]:
    """Mean absolute difference of two orders, and Spearman's correlation."""
    n, apart = len(rank), (rank - true).astype(np.float64)
    return float(np.abs(apart).mean()), 1.0 - 6.0 * float((apart**2).sum()) / (n * (n * n - 1))
