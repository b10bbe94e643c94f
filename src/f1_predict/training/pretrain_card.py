"""What pretraining leaves: the backbone's weights in half precision, and a card that says what they are.

Knows nothing of how they were learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from f1_predict.errors import WeightsError
from f1_predict.models.preprocessing import Preprocessing
from f1_predict.training.files import write_atomically
from f1_predict.training.pretrain_scores import Scores

MAX_BYTES = 23_000_000
STYLES_KEY = "styles"
"""Under which the file's metadata names the picture styles that were learnt."""


def round_to_half(network: nn.Module) -> None:
    """Round weights and statistics to what half precision holds, so that scores are those of the file.

    Raises:
        WeightsError: naming a tensor with a value that half precision does not hold.
    """
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                rounded = tensor.half().to(tensor.dtype)
                if not torch.isfinite(rounded).all():
                    raise WeightsError(
                        f"tensor '{name}' has values that half precision does not hold (largest "
                        f"{float(tensor.abs().max()):.3g}). Train with a lower learning rate or more weight decay."
                    )
                tensor.copy_(rounded)


def write_weights(path: Path, backbone: nn.Module, preprocessing: Preprocessing, styles: Sequence[str]) -> int:
    """Write a ResNet-18 without head as safetensors in half precision; returns the bytes.

    Raises:
        ArtefactError: if the file cannot be written.
    """
    tensors: dict[str, Tensor] = {
        name: tensor.detach().cpu().half().contiguous().clone()
        for name, tensor in backbone.state_dict().items()
        if tensor.is_floating_point()
    }
    content = save(tensors, metadata={**preprocessing.to_metadata(), STYLES_KEY: ",".join(styles)})
    write_atomically(path, content)
    return len(content)


@dataclass(frozen=True)
class Card:
    """What a card tells.

    Attributes:
        command: that made the weights.
        sha256: of the weights, as `load_weights` computes it.
        size_bytes: of the file.
        preprocessing: that the weights want.
        facts: (what, value) on data, schedule and time.
        settings: TOML of the settings.
        scores: on held-out simulated races.
    """

    command: str
    sha256: str
    size_bytes: int
    preprocessing: Preprocessing
    facts: Sequence[tuple[str, str]]
    settings: str
    scores: Scores

    def text(self) -> str:
        """The card as Markdown."""
        use = self.preprocessing
        white = "mean " + "/".join(f"{x:g}" for x in use.mean) + ", std " + "/".join(f"{x:g}" for x in use.std)
        facts = [
            *self.facts,
            ("Input", f"{use.size} x {use.size} pixels, resampling {use.resampling}, {white}"),
            ("File", f"{self.size_bytes / 1e6:.1f} MB, half precision"),
            ("SHA-256 of the tensors", f"`{self.sha256}`"),
            ("Licence", "MIT, as the package"),
        ]
        scores, ranks = self.scores, self.scores.ranks.items()
        return "\n".join(
            [
                "# Trace backbone",
                "",
                'A ResNet-18 without its head that has learnt to read pictures of races (`weights="trace"`). It saw',
                "simulated races only: no picture, lap or result of a real one. The heads that it learnt with are not",
                "kept.",
                "",
                f"Made by `{self.command}`.",
                "",
                "| What | |",
                "| --- | --- |",
                *(f"| {what} | {value} |" for what, value in facts),
                "",
                "## Tasks, and scores on simulated races that were not trained on",
                "",
                "Computed with the weights of the file. Correlation is of answer and output; loss is smooth L1 of the",
                "standardised answer, or cross-entropy.",
                "",
                "| Task | Loss | Correlation |",
                "| --- | --- | --- |",
                *(
                    f"| {name} | {loss:.3f} | {scores.correlations.get(name, float('nan')):.3f} |".replace("nan", "")
                    for name, loss in scores.losses.items()
                ),
                "",
                "The order of finish by the finishing head, beside the running order at the cut:",
                "",
                "| Pictures | Cuts | MAE, places | Spearman | Running order: MAE | Spearman |",
                "| --- | --- | --- | --- | --- | --- |",
                *(
                    f"| {name} | {rank.cuts} | {rank.mae:.2f} | {rank.spearman:.3f} | {rank.order_mae:.2f} | "
                    f"{rank.order_spearman:.3f} |".replace("nan", "")
                    for name, rank in ranks
                ),
                "",
                "## Settings",
                "",
                "```toml",
                self.settings,
                "```",
                "",
            ]
        )
