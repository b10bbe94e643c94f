"""The pretraining loop: batches in, a network that has learnt to read pictures out.

Knows nothing of where the weights go, or of how progress is shown.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from f1_predict.config import PretrainConfig
from f1_predict.errors import F1PredictError
from f1_predict.training.pretrain_feed import batches_ahead
from f1_predict.training.pretrain_labels import TASKS
from f1_predict.training.pretrain_network import RANKS, PretrainNetwork, losses
from f1_predict.training.pretrain_pictures import Batch, PictureSource
from f1_predict.training.pretrain_scores import Scores, score
from f1_predict.training.pretrain_state import Counters, PretrainState

CLIP = 5.0
"""Largest norm of a step's gradient."""
REPORT_STEPS = 20
_SPEED_STEPS = 100
"""Steps that the rate told is of."""


@dataclass(frozen=True)
class StepReport:
    """Some steps of training.

    Attributes:
        done: counters after them.
        total: pictures of the whole run, by the clock's measure an estimate.
        learning_rate: of the last of them.
        size: side of the pictures, pixels.
        loss: mean of the weighted sums.
        losses: mean loss of each task, and of the finishing bins under RANKS.
        per_second: pictures, lately.
    """

    done: Counters
    total: int
    learning_rate: float
    size: int
    loss: float
    losses: dict[str, float]
    per_second: float


@dataclass(frozen=True)
class Listeners:
    """Who is told: of steps, of scores on held-out pictures (after so many), and of what is going on."""

    step: Callable[[StepReport], None]
    scores: Callable[[Counters, Scores], None]
    note: Callable[[str], None]


def pretrain(config: PretrainConfig, device: torch.device, checkpoint: Path, tell: Listeners) -> PretrainState:
    """Train, or go on from `checkpoint` where that file is; the average of the weights ends up in the network.

    With `config.pictures` the same settings give the same weights on one machine with as many threads, also when
    interrupted and resumed. With `config.minutes` the schedule follows the clock.

    Args:
        config: settings.
        device: that computes.
        checkpoint: written every few minutes and at the end.
        tell: of progress.

    Raises:
        ArtefactError, ConfigError: if the checkpoint cannot be read or belongs to other settings.
        F1PredictError: if a loss is not finite, or drawing fails.
    """
    with _flushed_denormals():
        state = PretrainState(config, device)
        if checkpoint.is_file():
            state.load(checkpoint)
            done = state.done
            tell.note(f"going on from {checkpoint}: {done.pictures:,} pictures in {done.seconds / 60:.1f} min")
        tell.note(f"drawing {config.held_out_cuts} held-out cuts")
        held_out = PictureSource(config, "held_out").whole_cuts(config.held_out_cuts)
        _Run(state, device, checkpoint, held_out, tell).work()
        state.exchange()
        return state


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Numbers next to nothing count as 0 meanwhile, which is quicker; afterwards as the caller had it."""
    before = sys.float_info.min * 0.5 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class _Run:
    """The loop itself."""

    def __init__(
        self, state: PretrainState, device: torch.device, checkpoint: Path, held_out: Batch, tell: Listeners
    ) -> None:
        self._state, self._device, self._tell, self._held_out = state, device, tell, held_out
        self._config, self._checkpoint = state.config, checkpoint
        self._recent: list[tuple[float, Tensor]] = []
        self._clock: list[float] = []

    def work(self) -> None:
        """Train to the end."""
        config, done = self._config, self._state.done
        source = PictureSource(config, "train")
        saved = done.seconds
        self._state.network.train()
        with batches_ahead(source, done.steps, config.workers) as batches:
            last = time.perf_counter()
            while (share := self._share()) < 1.0:
                size, rate = self._step(next(batches), share)
                now = time.perf_counter()
                done.seconds += now - last
                last = now
                self._clock = [*self._clock[-_SPEED_STEPS:], now]
                if done.steps % REPORT_STEPS == 0:
                    self._report(size, rate)
                if (
                    done.pictures // config.evaluate_every
                    > (done.pictures - config.batch_size) // config.evaluate_every
                ):
                    self._score()
                if done.seconds - saved >= 60.0 * config.checkpoint_minutes:
                    self._state.save(self._checkpoint)
                    saved = done.seconds
        self._state.save(self._checkpoint)

    def _share(self) -> float:
        """How much of the run is done, 0 to 1."""
        if self._config.minutes is not None:
            return self._state.done.seconds / (60.0 * self._config.minutes)
        return self._state.done.pictures / self._config.pictures

    def _step(self, batch: Batch, share: float) -> tuple[int, float]:
        """Learn from a batch; the pictures' size and the learning rate."""
        config, state = self._config, self._state
        rate = config.learning_rate * _schedule(share, config.warm_up_share)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        images = torch.from_numpy(batch.images).to(self._device).float()
        if share < config.small_share and config.small_size < images.shape[-1]:
            images = functional.interpolate(images, size=config.small_size, mode="bilinear", antialias=True)
        answers = torch.from_numpy(batch.answers).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16):
            outputs = state.network(images.contiguous(memory_format=torch.channels_last))
        found = losses(outputs, answers, config.label_spread)
        state.optimiser.zero_grad()
        found.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.network.parameters(), CLIP)
        state.optimiser.step()
        state.done.steps += 1
        state.done.pictures += len(batch)
        state.follow()
        self._recent.append((float(found.total.detach()), found.tasks.cpu()))
        return images.shape[-1], rate

    def _report(self, size: int, rate: float) -> None:
        loss = sum(total for total, _ in self._recent) / len(self._recent)
        if not math.isfinite(loss):
            raise F1PredictError(
                f"the loss after {self._state.done.pictures:,} pictures is not finite. "
                "Set pretrain.learning_rate lower."
            )
        means = torch.stack([tasks for _, tasks in self._recent]).nanmean(dim=0).tolist()
        names = [*(task.name for task in TASKS), RANKS]
        by_task = {name: value for name, value in zip(names, means, strict=True) if value == value}
        steps = len(self._clock) - 1
        speed = self._config.batch_size * steps / (self._clock[-1] - self._clock[0]) if steps > 0 else 0.0
        done = self._state.done
        total = max(done.pictures, round(done.pictures / max(self._share(), 1e-9)))
        self._tell.step(StepReport(replace(done), total, rate, size, loss, by_task, speed))
        self._recent.clear()

    def _score(self) -> None:
        self._state.exchange()
        scores = score(
            self._state.network, self._held_out, self._config.label_spread, self._config.batch_size, half=True
        )
        self._state.exchange()
        self._tell.scores(replace(self._state.done), scores)


def _schedule(share: float, warm_up: float) -> float:
    """Factor of the learning rate at a share of the run: up a line, then down a cosine to 0."""
    if share < warm_up:
        return (share + 1e-3) / (warm_up + 1e-3)
    return 0.5 * (1.0 + math.cos(math.pi * min((share - warm_up) / (1.0 - warm_up), 1.0)))


@torch.no_grad()
def settle_statistics(network: PretrainNetwork, config: PretrainConfig, device: torch.device) -> None:
    """Batch-norm statistics anew, from pictures of the full size that nothing was learnt from, in float32.

    An average of weights has activations of its own, and training was in bfloat16 and partly on smaller pictures
    (P. Izmailov et al., "Averaging weights leads to wider optima", UAI 2018, section 3.3).
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all batches
    network.train()
    steps = max(1, config.statistics_pictures // config.batch_size)
    with batches_ahead(PictureSource(config, "statistics"), 0, config.workers) as batches:
        for _ in range(steps):
            images = torch.from_numpy(next(batches).images).to(device).float()
            network(images.contiguous(memory_format=torch.channels_last))
    network.eval()
