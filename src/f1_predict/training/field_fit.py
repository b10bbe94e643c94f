"""The fit of the network over whole fields, and its forecasts: rows in, coherent matrices out.

Here labels meet inputs. Knows nothing of files, of races' tables or of how progress is shown.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from f1_predict.config import FieldConfig
from f1_predict.errors import DataError, F1PredictError
from f1_predict.models.field_network import FieldNetwork, averaged
from f1_predict.models.probabilities import FLOOR, coherent
from f1_predict.training.field_rows import FieldBatch, FieldRows, FieldTensors

__all__ = ["FieldEpoch", "FieldRows", "TrainedField", "fit_field"]

EMBEDDING_DIM = 512
"""Width of the pictures' embeddings where there are none to take it from."""
_PASS_FIELDS = 256
"""Fields that a pass without gradients takes at a time."""
_AVERAGED = 10.0
"""The running average of the weights reaches back over about the steps so far divided by this."""
_CLIP = 1.0
"""Largest norm of a step's gradient."""

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class FieldEpoch:
    """One epoch of a fit.

    Attributes:
        member, members: 1-based number of the network, and how many there are to be.
        epoch, epochs: 1-based number of this epoch, and how many there are at most.
        train_loss: mean over cars while they were learnt from: log-loss and weighted loss of being classified.
        validation_log_loss: mean over cars, of the averaged weights; None without validation rows.
        seconds: this epoch took.
    """

    member: int
    members: int
    epoch: int
    epochs: int
    train_loss: float
    validation_log_loss: float | None
    seconds: float


EpochCallback = Callable[[FieldEpoch], None]


@dataclass(frozen=True)
class TrainedField:
    """What a fit came to.

    Attributes:
        networks: the members, in evaluation mode, with the weights of their best epochs.
        best_epochs: 1-based, one a member.
        history: all epochs, member after member.
    """

    networks: tuple[FieldNetwork, ...]
    best_epochs: tuple[int, ...]
    history: tuple[FieldEpoch, ...]

    def predict(self, rows: FieldRows, use_pictures: bool = True) -> tuple[Probabilities, Probabilities]:
        """Forecast fields; positions and classified are not looked at.

        Args:
            rows: n cars.
            use_pictures: False forecasts as if no row had a picture.

        Returns:
            Position probabilities float64 (n, widest field): zeros beyond a row's own field, whose matrix has rows
            and columns that sum to 1 within 1e-9, none below about 1e-9. And the probabilities of being classified,
            float64 (n,), in (0, 1).

        Raises:
            FeatureError, PictureError: if the rows are not as wide as those of the fit.
            DataError: if a forecast is not finite, or cannot be balanced.
        """
        sizes = rows.sizes
        positions = np.zeros((len(rows), int(sizes.max(initial=0))))
        finish = np.zeros(len(rows))
        fields = FieldTensors(rows, use_pictures)
        with _one_thread(), torch.inference_mode():
            for batch in fields.batches(np.argsort(sizes, kind="stable"), _PASS_FIELDS):
                matrix, classified = (mean.numpy() for mean in averaged(self.networks, *batch.inputs))
                for place, field in enumerate(batch.fields):
                    n, start = int(sizes[field]), int(rows.fields[field])
                    positions[start : start + n, :n] = coherent(matrix[place, :n, :n])
                    finish[start : start + n] = classified[place, :n]
        return positions, np.clip(finish, FLOOR, 1.0 - FLOOR)


def fit_field(
    train: FieldRows,
    validation: FieldRows | None,
    config: FieldConfig,
    on_epoch: EpochCallback | None = None,
) -> TrainedField:
    """Fit `config.members` networks, each from its own seed; their forecasts are averaged.

    AdamW with a warm-up and a cosine, on batches of fields of about the same size. An epoch sees the fields marked
    `always` and a share of the others, drawn anew. A share of the fields is shown with all its pictures masked, so
    that the network forecasts without them too, and a share of the cars is left out of their fields. What is kept
    is a running average of the weights, with validation rows as it was after the epoch with the lowest validation
    log-loss. The embeddings' mean and spread over `train` become part of the network;
    one that saw no picture ignores those it is shown later.

    On a CPU the same rows and `config` give bit-identical results; the caller's random state is neither used nor
    changed, and one thread is used.

    Args:
        train: rows to learn from.
        validation: rows of later races to choose the epoch by; None: the last one.
        config: settings.
        on_epoch: told of every epoch.

    Raises:
        DataError: if `train` or `validation` has no rows.
        FeatureError, PictureError: if their widths differ.
        LabelError: if the positions of a field are not 1..n.
        F1PredictError: if a loss is not finite.
    """
    for name, rows in (("train", train), ("validation", validation)):
        if rows is not None:
            if len(rows) == 0:
                raise DataError(f"there are no {name} rows to fit on. Choose a split with races in it.")
            rows.check_labels(name)
    networks, best_epochs, history = [], [], []
    for member in range(1, config.members + 1):
        with _one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + member - 1)
            fit = _Fit(train, validation, config, member, on_epoch)
            networks.append(fit.run())
        best_epochs.append(fit.best_epoch)
        history += fit.history
    return TrainedField(tuple(networks), tuple(best_epochs), tuple(history))


@contextmanager
def _one_thread() -> Iterator[None]:
    """The matrices are small, so that threads cost more than they save; and sums come out the same on all machines."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Fit:
    """The fit of one network. Torch's generator is seeded by the caller."""

    def __init__(
        self,
        train: FieldRows,
        validation: FieldRows | None,
        config: FieldConfig,
        member: int,
        on_epoch: EpochCallback | None,
    ) -> None:
        self._config, self._member, self._on_epoch = config, member, on_epoch
        self._train = FieldTensors(train)
        self._validation = None if validation is None else FieldTensors(validation)
        self._random = np.random.default_rng(config.seed + member - 1)
        image_dim = EMBEDDING_DIM if train.embeddings is None else train.embeddings.shape[1]
        self._network = FieldNetwork(train.tabular.shape[1], image_dim, config)
        if train.embeddings is not None and train.has_image.any():
            seen = train.embeddings[train.has_image]
            self._network.set_image_statistics(
                torch.from_numpy(seen.mean(axis=0, dtype=np.float64).astype(np.float32)),
                torch.from_numpy(seen.std(axis=0, dtype=np.float64).astype(np.float32)),
            )
        else:
            self._network.ignore_pictures()
        self._always = np.zeros(len(train.sizes), dtype=np.bool_) if train.always is None else train.always
        self._average = [parameter.detach().clone() for parameter in self._network.parameters()]
        self._step = 0
        self.best_epoch = 0
        self.history: list[FieldEpoch] = []

    def run(self) -> FieldNetwork:
        """All epochs, or until the validation log-loss has stopped falling."""
        config, network = self._config, self._network
        rate = config.learning_rate
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=config.weight_decay, fused=True)
        best_loss, best = math.inf, self._average
        for epoch in range(1, config.epochs + 1):
            start = time.perf_counter()
            train_loss = self._epoch()
            scored = None if self._validation is None else self._log_loss(self._validation)
            report = FieldEpoch(
                self._member, config.members, epoch, config.epochs, train_loss, scored, time.perf_counter() - start
            )
            self.history.append(report)
            if self._on_epoch is not None:
                self._on_epoch(report)
            self._check_finite(report)
            if scored is None or scored < best_loss:
                self.best_epoch, best_loss = epoch, math.inf if scored is None else scored
                best = [weights.clone() for weights in self._average]
            elif epoch - self.best_epoch >= config.patience:
                break
        self._exchange(best)
        return network.eval()

    def _epoch(self) -> float:
        """Learn from the epoch's fields once; the mean loss over cars."""
        self._network.train()
        batches = self._draw()
        steps = self._config.epochs * len(batches)
        total, cars = 0.0, 0
        for fields in batches:
            batch = self._train.take(fields)
            for group in self._optimiser.param_groups:
                group["lr"] = self._config.learning_rate * self._schedule(self._step / steps)
            self._optimiser.zero_grad()
            loss = self._loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP)
            self._optimiser.step()
            self._step += 1
            self._follow()
            count = int(self._train.sizes[fields].sum())
            total, cars = total + loss.item() * count, cars + count
        return total / cars

    def _draw(self) -> list[NDArray[np.int64]]:
        """Batches of an epoch: the fields to be seen always, a share of the others, neighbours in size together."""
        others = np.flatnonzero(~self._always)
        kept = self._random.permutation(others)[: math.ceil(len(others) * self._config.field_share)]
        drawn = self._random.permutation(np.concatenate([np.flatnonzero(self._always), kept]))
        drawn = drawn[np.argsort(self._train.sizes[drawn], kind="stable")]
        size = self._config.batch_fields
        batches = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        return [batches[i] for i in self._random.permutation(len(batches))]

    def _schedule(self, done: float) -> float:
        """Factor of the learning rate: up a line, then down a cosine to 0."""
        warm = self._config.warm_up_share
        if done < warm:
            return (done + 1e-3) / (warm + 1e-3)
        return 0.5 * (1.0 + math.cos(math.pi * min((done - warm) / (1.0 - warm), 1.0)))

    def _loss(self, batch: FieldBatch) -> Tensor:
        tabular, embeddings, has_image, present = batch.inputs
        hidden = torch.from_numpy(self._random.random(len(has_image)) < self._config.mask_pictures)
        present, places = self._leave_out(present, batch.places)
        output = self._network(tabular, embeddings, has_image & ~hidden[:, None], present)
        truth = output.position.gather(2, places[..., None])[..., 0][present]
        finish = functional.binary_cross_entropy_with_logits(
            output.finish[present], batch.classified[present].to(output.finish.dtype)
        )
        loss: Tensor = self._config.finish_weight * finish - truth.mean()
        return loss

    def _leave_out(self, present: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Some cars less, the others' places closed up: the order of those left is as true as that of all."""
        left = present & torch.from_numpy(self._random.random(present.shape) >= self._config.hide_cars)
        left = torch.where(left.any(1, keepdim=True), left, present)
        ahead = left[:, None, :] & (places[:, None, :] < places[:, :, None])
        return left, ahead.sum(2)

    def _follow(self) -> None:
        """The average of the weights over about the last tenth of all steps so far.

        O. Shamir and T. Zhang, "Stochastic gradient descent for non-smooth optimization", ICML (2013), section 4.
        """
        decay = self._step / (self._step + _AVERAGED)
        with torch.no_grad():
            torch._foreach_lerp_(self._average, list(self._network.parameters()), 1.0 - decay)

    def _exchange(self, weights: list[Tensor]) -> list[Tensor]:
        """Put weights into the network; those it had come back."""
        had = [parameter.detach().clone() for parameter in self._network.parameters()]
        with torch.no_grad():
            for parameter, value in zip(self._network.parameters(), weights, strict=True):
                parameter.copy_(value)
        return had

    def _log_loss(self, fields: FieldTensors) -> float:
        """-ln P(true position) of the averaged weights, mean over cars."""
        had = self._exchange(self._average)
        self._network.eval()
        total = 0.0
        with torch.inference_mode():
            for batch in fields.batches(np.argsort(fields.sizes, kind="stable"), _PASS_FIELDS):
                position = self._network(*batch.inputs).position
                truth = position.gather(2, batch.places[..., None])[..., 0]
                total -= float(truth[batch.inputs[3]].double().sum())
        self._exchange(had)
        return total / int(fields.sizes.sum())

    def _check_finite(self, report: FieldEpoch) -> None:
        losses = (report.train_loss, report.validation_log_loss)
        if not all(loss is None or math.isfinite(loss) for loss in losses):
            raise F1PredictError(
                f"the loss of epoch {report.epoch} is not finite (training {losses[0]}, validation {losses[1]}). "
                "Set field.learning_rate lower, and check that the features are standardised."
            )
