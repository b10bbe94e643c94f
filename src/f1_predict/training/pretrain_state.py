"""The state of a pretraining run and its checkpoint: one safetensors file, so that it is whole or not there.

Knows nothing of pictures or of how a step is made.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from f1_predict.config import PretrainConfig
from f1_predict.errors import ArtefactError, ConfigError
from f1_predict.training.files import write_atomically
from f1_predict.training.pretrain_network import PretrainNetwork

ADAM_BETAS = (0.9, 0.98)
_RECORD = "state"
_FREE = frozenset({"workers", "evaluate_every", "checkpoint_minutes", "held_out_cuts", "final_cuts"})
"""Settings that change nothing of what is learnt: a run may go on with others."""


@dataclass
class Counters:
    """How far a run has come: steps made, pictures seen, seconds of training over all its starts."""

    steps: int = 0
    pictures: int = 0
    seconds: float = 0.0


class PretrainState:
    """Network, optimiser, running average of the weights, and counters.

    Args:
        config: settings; the seed makes the first weights.
        device: where the network is.
    """

    def __init__(self, config: PretrainConfig, device: torch.device) -> None:
        self.config = config
        self.network = PretrainNetwork(config.seed).to(device).to(memory_format=torch.channels_last)
        # Decay is for what multiplies: biases and batch-norm are left alone.
        plain = [p for p in self.network.parameters() if p.ndim < 2]
        decayed = [p for p in self.network.parameters() if p.ndim >= 2]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=ADAM_BETAS)
        self.average = {name: tensor.detach().clone() for name, tensor in self._moving().items()}
        self.done = Counters()

    def _moving(self) -> dict[str, Tensor]:
        """The tensors that are averaged: weights and batch-norm statistics, counters not."""
        return {name: t for name, t in self.network.state_dict().items() if t.is_floating_point()}

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average, which reaches back over about `average_share` of the steps so far."""
        decay = self.done.steps / (self.done.steps + 1.0 / self.config.average_share)
        now = self._moving()
        torch._foreach_lerp_([self.average[name] for name in now], list(now.values()), 1.0 - decay)

    @torch.no_grad()
    def exchange(self) -> None:
        """Put the average into the network, and what the network had into its place; twice changes nothing."""
        for name, tensor in self._moving().items():
            had = tensor.clone()
            tensor.copy_(self.average[name])
            self.average[name].copy_(had)

    def save(self, path: Path) -> None:
        """Write the checkpoint; an interruption leaves the one before.

        Raises:
            ArtefactError: if it cannot be written.
        """
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in values.items()}
        # Values in their logical order: safetensors refuses memory that is laid out otherwise.
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        record = json.dumps({"config": self.config.model_dump(mode="json"), "done": asdict(self.done)})
        write_atomically(path, save(plain, metadata={_RECORD: record}))

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ArtefactError: if it cannot be read.
            ConfigError: if it belongs to a run with other settings; the message names the first.
        """
        remedy = f"Delete {path} to start anew."
        try:
            with safe_open(path, framework="pt") as file:
                record: dict[str, Any] = json.loads(file.metadata()[_RECORD])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"{path}: is no checkpoint of a pretraining ({error}). {remedy}") from error
        asked = self.config.model_dump(mode="json")
        for key in asked.keys() - _FREE:
            had = record["config"].get(key)
            if had != asked[key]:
                raise ConfigError(
                    f"{path} is of a pretraining with {key} = {had!r}, the settings say {asked[key]!r}. "
                    f"Give those settings, or another folder with --work. {remedy}"
                )
        try:
            self._restore(tensors)
            self.done = Counters(**record["done"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise ArtefactError(f"{path}: does not fit this network ({error}). {remedy}") from error

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        self.network.load_state_dict(parts["network"])
        for name, mean in self.average.items():
            mean.copy_(parts["average"][name])
        whole = self.optimiser.state_dict()
        whole["state"] = {}
        for key, tensor in parts["optimiser"].items():
            number, _, name = key.partition(".")
            whole["state"].setdefault(int(number), {})[name] = tensor
        self.optimiser.load_state_dict(whole)
