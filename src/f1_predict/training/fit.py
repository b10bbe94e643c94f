"""The fit loop of the fusion network, over encoded pictures.

Adam, shuffled batches, the loss of the head. Knows nothing of files, races' tables or of how
progress is shown.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f1_predict.config import TrainingConfig
from f1_predict.errors import DataError, F1PredictError
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.training.diagnostics import Diagnostics, Distribution
from f1_predict.training.memory import BatchSize
from f1_predict.training.rows import TrainingRows
from f1_predict.training.scores import Scores, score

logger = logging.getLogger(__name__)

PREDICTION_BATCH = 4096
"""Rows a validation pass takes at a time."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch of a fit.

    Attributes:
        epoch, epochs: 1-based number of this epoch, and how many there are to be.
        attempt: 1, or 2 after the fit was started again at the lower learning rate.
        learning_rate: of this epoch.
        train_loss: mean over rows while they were learnt from (with dropout).
        validation: scores after the epoch; None without validation rows.
        seconds: this epoch took.
        seconds_left: for the epochs to come, at the mean pace of this attempt.
    """

    epoch: int
    epochs: int
    attempt: int
    learning_rate: float
    train_loss: float
    validation: Scores | None
    seconds: float
    seconds_left: float


EpochCallback = Callable[[EpochReport], None]


@dataclass(frozen=True)
class FitResult:
    """What a fit came to; the model itself holds the weights.

    Attributes:
        history: the epochs of the attempt that counts.
        best_epoch: 1-based epoch whose weights the model now has.
        learning_rate: of the attempt that counts.
        converged: whether the training loss fell in the attempt that counts.
        diagnostics: why the fit was started again; None if it was not.
    """

    history: tuple[EpochReport, ...]
    best_epoch: int
    learning_rate: float
    converged: bool
    diagnostics: Diagnostics | None

    @property
    def restarted(self) -> bool:
        """Whether the fit was started again at the lower learning rate."""
        return self.diagnostics is not None


def fit(
    model: MultiModalFusionModel,
    train: TrainingRows,
    validation: TrainingRows | None,
    config: TrainingConfig,
    progress: EpochCallback | None = None,
) -> FitResult:
    """Fit a network, in place, and leave it in evaluation mode.

    A fit whose training loss does not fall (see TrainingConfig; a loss that is not finite counts as not
    falling) is started again once from the first weights, at `fallback_learning_rate` or half of the learning
    rate, whichever is less; why is logged with Diagnostics. With validation rows and `restore_best`, the model
    ends with the weights of the epoch with the lowest validation loss: hundreds of frozen inputs overfit within
    a few epochs. The embeddings' mean and spread over `train` are set as the model's image statistics.

    On a CPU the same weights, rows and `config.seed` give bit-identical results; the caller's random state is
    neither used nor changed. When memory runs out, batches are worked off in parts whose gradients are added up,
    which changes the result by rounding and dropout's draws only.

    Args:
        model: on the device to be used; its backbone is not touched.
        train: rows to learn from.
        validation: rows to watch, of later races.
        config: settings.
        progress: told of every epoch.

    Raises:
        DataError: if `train` or `validation` has no rows.
        LabelError: if a target is none of the head's.
        F1PredictError: if the loss is not finite at the lower learning rate either, or if memory runs out with
            a single row.
    """
    for name, rows in (("train", train), ("validation", validation)):
        if rows is not None:
            if len(rows) == 0:
                raise DataError(f"there are no {name} rows to fit on. Choose a split with races in it.")
            rows.check_targets(model.head, model.output_dim)
    with _reproducible(config.seed, _device(model)):
        return _Fit(model, train, validation, config, progress).run()


def predict(
    model: MultiModalFusionModel, rows: TrainingRows, batch_size: int = PREDICTION_BATCH
) -> NDArray[np.float64]:
    """The network's forecasts for rows, whose targets are not looked at.

    Args:
        model: fitted; used in evaluation mode and left in the mode it was in.
        rows: n rows.
        batch_size: rows at a time; halved when memory runs out.

    Returns:
        float64 (n, output_dim): probabilities of positions; for the other heads the one number of each.

    Raises:
        F1PredictError: if memory runs out with a single row.
    """
    was_training = model.training
    model.eval_mode()
    size = BatchSize(_no_more_than(batch_size, len(rows)), "forecasting")
    with torch.inference_mode():
        output = model.activate(_in_batches(model, _Tensors(rows, model), size))
    if was_training:
        model.train_mode()
    return output.cpu().double().numpy()


def _device(model: MultiModalFusionModel) -> torch.device:
    return next(parameter for parameter in model.parameters() if parameter.requires_grad).device


def _is_finite(report: EpochReport) -> bool:
    """Whether the losses of an epoch are numbers."""
    return math.isfinite(report.train_loss) and (report.validation is None or math.isfinite(report.validation.loss))


def _no_more_than(batch_size: int, rows: int) -> int:
    """A first batch size that halving makes smaller at once."""
    return min(batch_size, max(rows, 1))


@contextmanager
def _reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators (dropout draws from them) and put them back as they were.

    On one thread: a step multiplies matrices so small that threads cost more than they save (measured: five times
    as slow on two busy cores), and sums come out the same however many cores there are.
    """
    devices = [*range(torch.cuda.device_count())] if device.type == "cuda" else []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


class _Tensors:
    """Rows on a network's device, checked and prepared for it, taken by index."""

    def __init__(self, rows: TrainingRows, model: MultiModalFusionModel) -> None:
        device = _device(model)
        embeddings = None if rows.embeddings is None else torch.from_numpy(rows.embeddings).to(device)
        has_image, tabular = torch.from_numpy(rows.has_image), torch.from_numpy(rows.tabular)
        self.visual, self.tabular = model.prepare(embeddings, tabular.to(device), has_image.to(device))
        self.targets = torch.from_numpy(rows.targets).to(device)
        self.n_starters = torch.from_numpy(rows.n_starters).to(device)

    def __len__(self) -> int:
        return len(self.tabular)

    def inputs(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Pictures and table of some rows, as `combine` takes them."""
        return self.visual[rows], self.tabular[rows]


def _in_batches(model: MultiModalFusionModel, rows: _Tensors, size: BatchSize) -> Tensor:
    """The network's logits (n, output_dim), computed some rows at a time."""
    parts: list[Tensor] = []
    start = 0
    while start < len(rows):

        def attempt(count: int, start: int = start) -> Tensor:
            return model.combine(*rows.inputs(slice(start, start + count)))

        parts.append(size.run(attempt))
        start += len(parts[-1])
    return torch.cat(parts) if parts else model.combine(*rows.inputs(slice(0, 0)))


class _Fit:
    """One call of `fit`: at most two attempts from the same first weights."""

    def __init__(
        self,
        model: MultiModalFusionModel,
        train: TrainingRows,
        validation: TrainingRows | None,
        config: TrainingConfig,
        progress: EpochCallback | None,
    ) -> None:
        self._model, self._config, self._progress = model, config, progress
        device = _device(model)
        self._rows = train
        self._learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._step_size = BatchSize(_no_more_than(config.batch_size, len(train)), "fitting the network")
        most = max(len(train), 0 if validation is None else len(validation))
        self._pass_size = BatchSize(_no_more_than(PREDICTION_BATCH, most), "scoring the network")
        if train.embeddings is not None and train.has_image.any():
            seen = train.embeddings[train.has_image].astype(np.float64)
            model.set_image_statistics(
                torch.from_numpy(seen.mean(axis=0).astype(np.float32)).to(device),
                torch.from_numpy(seen.std(axis=0).astype(np.float32)).to(device),
            )
        self._train = _Tensors(train, model)
        self._validation = None if validation is None else _Tensors(validation, model)

    def run(self) -> FitResult:
        """The first attempt, and the second where it is needed."""
        config = self._config
        first_weights = self._weights()
        before = self._scores(self._train).loss
        history, best, reason = self._attempt(1, config.learning_rate, before)
        if not reason:
            return FitResult(history, best, config.learning_rate, converged=True, diagnostics=None)
        diagnostics = self._diagnose(reason, config.learning_rate, before, history)
        lower = min(config.fallback_learning_rate, config.learning_rate / 2)
        logger.warning("the training loss does not fall: %s. Starting again at learning rate %g", diagnostics, lower)
        self._model.load_head_state_dict(first_weights)
        history, best, reason = self._attempt(2, lower, before)
        if not _is_finite(history[-1]):
            again = self._diagnose(reason, lower, before, history)
            raise F1PredictError(
                f"the network cannot be fitted, at a lower learning rate neither: {again}. "
                "Check the features' distribution, or set training.learning_rate lower still."
            )
        if reason:
            logger.warning(
                "the training loss does not fall at learning rate %g either: %s. The network may have learnt nothing",
                lower,
                self._diagnose(reason, lower, before, history),
            )
        return FitResult(history, best, lower, converged=not reason, diagnostics=diagnostics)

    def _attempt(self, number: int, rate: float, before: float) -> tuple[tuple[EpochReport, ...], int, str]:
        """History, best epoch, and why the loss does not fall ("" if it does).

        The first attempt ends where that is seen; the second goes on for as long as the loss is finite.
        """
        config = self._config
        shuffling = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        optimiser = torch.optim.Adam(self._learnt, lr=rate, fused=True)
        history: list[EpochReport] = []
        best, best_loss, best_weights, reason = 0, math.inf, self._weights(), ""
        start = time.perf_counter()
        for epoch in range(1, config.epochs + 1):
            epoch_start = time.perf_counter()
            train_loss = self._epoch(optimiser, shuffling)
            scores = None if self._validation is None else self._scores(self._validation)
            now = time.perf_counter()
            left = (now - start) / epoch * (config.epochs - epoch)
            report = EpochReport(
                epoch, config.epochs, number, rate, train_loss, scores, now - epoch_start, seconds_left=left
            )
            history.append(report)
            if self._progress is not None:
                self._progress(report)
            if not _is_finite(report):
                return tuple(history), best, f"the loss of epoch {epoch} is not finite"
            if epoch == min(config.stall_epochs, config.epochs):
                reason = self._stalled(epoch, before)
                if reason and number == 1:
                    return tuple(history), best, reason
            if scores is not None and scores.loss < best_loss:
                best, best_loss = epoch, scores.loss
                best_weights = self._weights() if config.restore_best else best_weights
            if best and config.patience is not None and epoch - best >= config.patience:
                break
        if reason and len(history) > config.stall_epochs:
            reason = self._stalled(len(history), before)  # it may have learnt later
        if best == 0 or not config.restore_best:
            best = len(history)
        if best != len(history):
            self._model.load_head_state_dict(best_weights)
        self._model.eval_mode()
        return tuple(history), best, reason

    def _stalled(self, epochs: int, before: float) -> str:
        """Compares like with like: both losses are of all training rows, without dropout."""
        now, bar = self._scores(self._train).loss, before * (1.0 - self._config.stall_margin)
        return "" if now < bar else f"the training loss after {epochs} epochs, {now:.4g}, is not below {bar:.4g}"

    def _epoch(self, optimiser: torch.optim.Optimizer, shuffling: torch.Generator) -> float:
        """Learn from every row once; the mean loss."""
        self._model.train_mode()
        order = torch.randperm(len(self._train), generator=shuffling).to(self._train.tabular.device)
        total = torch.zeros((), device=order.device)
        for batch in torch.split(order, self._config.batch_size):

            def attempt(rows: int, batch: Tensor = batch) -> Tensor:
                return self._gradients(batch, rows)

            total += self._step_size.run(attempt)
            optimiser.step()
        return total.item() / len(self._train)

    def _gradients(self, batch: Tensor, rows: int) -> Tensor:
        """Leave the gradient of a batch's mean loss in the parameters, from parts of at most `rows` rows.

        Begins by clearing them, so that it can be called again after it failed. Returns the summed loss.
        """
        self._forget_gradients()
        total = torch.zeros((), device=batch.device)
        for part in torch.split(batch, rows):
            logits = self._model.combine(*self._train.inputs(part))
            loss = self._model.criterion(logits, self._train.targets[part]) * len(part)
            (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _forget_gradients(self) -> None:
        for parameter in self._learnt:
            parameter.grad = None

    def _scores(self, rows: _Tensors) -> Scores:
        self._model.eval_mode()
        with torch.inference_mode():
            logits = _in_batches(self._model, rows, self._pass_size).cpu()
            return score(self._model, logits, rows.targets.cpu(), rows.n_starters.cpu())

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._model.head_state_dict().items()}

    def _diagnose(self, reason: str, rate: float, before: float, history: tuple[EpochReport, ...]) -> Diagnostics:
        rows = self._rows
        self._model.eval_mode()
        batch = torch.arange(min(self._config.batch_size, len(rows)), device=self._train.tabular.device)
        self._step_size.run(lambda count: self._gradients(batch, count))
        norms = {
            name: parameter.grad.norm().item()
            for name, parameter in self._model.named_parameters()
            if parameter.grad is not None
        }
        self._forget_gradients()
        embeddings = None if rows.embeddings is None else Distribution.of(rows.embeddings[rows.has_image])
        losses = (before, *(report.train_loss for report in history))
        return Diagnostics(reason, rate, losses, Distribution.of(rows.tabular), embeddings, norms)
