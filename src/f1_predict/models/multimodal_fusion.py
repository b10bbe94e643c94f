"""The design's network: picture and table, early fusion. Knows tensors only: nothing of races, files or training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from f1_predict.config import Head
from f1_predict.errors import ConfigError, FeatureError, LabelError, PictureError
from f1_predict.models.vision_encoder import VisionEncoder

_BACKBONE = "_vision_encoder."
_ROUNDING = 1e-6
"""Relative spread of a float32 channel that is constant: to divide by it would turn rounding into a signal."""


class MultiModalFusionModel(nn.Module):
    """Frozen picture embedding (512) and dense table encoding (128), concatenated (640) -> 256 -> 128 -> out.

    Heads, and what `forward` and `fuse` return (float32):

    - "position": (B, output_dim), softmax: the probability of each finishing position, class = position - 1.
    - "position_regression": (B, 1), sigmoid: the relative finishing position in [0, 1], 0 the front and 1 the back:
      (position - 1/2) / n_starters (`probabilities.relative_position`; `probabilities.spread` is the way back).
    - "finish": (B, 1), sigmoid: the probability of being classified.

    A missing picture is the zero vector, for a row (`has_image`) or for all (`images=None`); it is put in after the
    embeddings are standardised, so it is the average picture, and what the masked row held does not matter.

    The backbone belongs to no model: it is frozen, can be shared, is made when first needed (a model that is only
    given embeddings never makes one) and is not in `state_dict`.

    Shape:
        images (B, 3, H, W), tabular (B, F) -> (B, output_dim) or (B, 1).

    Args:
        image_feature_dim: width of the embeddings.
        tabular_input_dim: F, must be given.
        output_dim: classes of head "position" (the largest field); the other heads have one output whatever it is.
        head: what is forecast.
        vision_encoder: the backbone to use; None makes `VisionEncoder()` when pictures first come.
        tabular_dim: width of the table's encoding.
        hidden: widths of the two hidden layers.
        dropout: share of hidden units dropped in training.

    Raises:
        ConfigError: if an argument cannot be used.

    Example:
        >>> model = MultiModalFusionModel(tabular_input_dim=3).eval_mode()
        >>> model(None, torch.zeros(2, 3)).shape
        torch.Size([2, 20])
    """

    image_mean: Tensor
    image_scale: Tensor

    def __init__(
        self,
        image_feature_dim: int = 512,
        tabular_input_dim: int | None = None,
        output_dim: int = 20,
        *,
        head: Head = "position",
        vision_encoder: VisionEncoder | None = None,
        tabular_dim: int = 128,
        hidden: tuple[int, int] = (256, 128),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if tabular_input_dim is None:
            raise ConfigError("tabular_input_dim must be given: the number of features, e.g. len(feature_names).")
        sizes = {
            "image_feature_dim": image_feature_dim,
            "tabular_input_dim": tabular_input_dim,
            "output_dim": output_dim,
            "tabular_dim": tabular_dim,
            "hidden[0]": hidden[0],
            "hidden[1]": hidden[1],
        }
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"{name} must be at least 1, got {size}.")
        if head not in get_args(Head):
            raise ConfigError(f"head must be one of {', '.join(get_args(Head))}, got '{head}'.")
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"dropout must be in [0, 1), got {dropout}.")
        self.head: Head = head
        self.image_feature_dim = image_feature_dim
        self.tabular_input_dim = tabular_input_dim
        self.output_dim = output_dim if head == "position" else 1
        self.tabular_encoder = nn.Sequential(nn.Linear(tabular_input_dim, tabular_dim), nn.ReLU())
        self.fusion_network = nn.Sequential(
            nn.Linear(image_feature_dim + tabular_dim, hidden[0]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden[1], self.output_dim),
        )
        self.register_buffer("image_mean", torch.zeros(image_feature_dim))
        self.register_buffer("image_scale", torch.ones(image_feature_dim))
        self._vision_encoder: VisionEncoder | None = None
        if vision_encoder is not None:
            self._attach(vision_encoder)
        self.register_load_state_dict_post_hook(_ignore_backbone)  # type: ignore[no-untyped-call]

    @property
    def vision_encoder(self) -> VisionEncoder:
        """The backbone; made now, on the model's device, if there is none yet."""
        encoder = self._vision_encoder
        if encoder is None:
            encoder = VisionEncoder().to(self.image_mean.device).train(self.training)
            self._attach(encoder)
        return encoder

    def _attach(self, encoder: VisionEncoder) -> None:
        if encoder.feature_dim != self.image_feature_dim:
            raise ConfigError(
                f"image_feature_dim must be the encoder's {encoder.feature_dim}, got {self.image_feature_dim}."
            )
        self._vision_encoder = encoder

    def forward(self, images: Tensor | None, tabular_features: Tensor, has_image: Tensor | None = None) -> Tensor:
        """Forecast from pictures and table.

        Args:
            images: float (B, 3, H, W), normalised (VisionEncoder.preprocess), or None: no row has one.
            tabular_features: float (B, F), standardised and finite.
            has_image: bool (B,), False where a row has no picture; None: all rows have one.

        Returns:
            Probabilities, or the relative position: see the class. For a loss take `logits`: cross-entropy and its
            kin take the logarithm themselves, and of probabilities rounded to 0 there is none.

        Raises:
            PictureError, FeatureError: if a shape, dtype or value is wrong; the message says which.
        """
        return self.activate(self.logits(images, tabular_features, has_image))

    def logits(self, images: Tensor | None, tabular_features: Tensor, has_image: Tensor | None = None) -> Tensor:
        """As `forward`, before softmax or sigmoid: (B, output_dim), unbounded. What `loss` takes."""
        if images is None:
            return self.fuse_logits(None, tabular_features, has_image)
        tabular = self._table(tabular_features)
        if len(images) != len(tabular):
            raise PictureError(
                f"images must have the {len(tabular)} rows of tabular_features, got {len(images)}. "
                "Pad missing pictures and mask them with has_image (see multimodal_dataset.collate)."
            )
        mask = self._mask(has_image, tabular)
        features = tabular.new_zeros((len(tabular), self.image_feature_dim))
        if mask.any():
            seen = images if mask.all() else images[mask.to(images.device)]
            features[mask] = self.vision_encoder(seen).to(features)
        return self.fuse_logits(features, tabular, mask)

    def fuse(self, image_features: Tensor | None, tabular_features: Tensor, has_image: Tensor | None = None) -> Tensor:
        """As `forward`, from pictures already encoded: `image_features` float (B, image_feature_dim) or None."""
        return self.activate(self.fuse_logits(image_features, tabular_features, has_image))

    def fuse_logits(
        self, image_features: Tensor | None, tabular_features: Tensor, has_image: Tensor | None = None
    ) -> Tensor:
        """As `logits`, from pictures already encoded: `image_features` float (B, image_feature_dim) or None."""
        return self.combine(*self.prepare(image_features, tabular_features, has_image))

    def prepare(
        self, image_features: Tensor | None, tabular_features: Tensor, has_image: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What of `fuse_logits` no weight has a part in, so that a fit does it once: checks, and standardised pictures.

        Returns:
            (B, image_feature_dim), zeros where a row has no picture, and the table (B, F): what `combine` takes.
        """
        tabular = self._table(tabular_features)
        expected = (len(tabular), self.image_feature_dim)
        mask = self._mask(has_image, tabular)
        if image_features is None:
            return tabular.new_zeros((1, self.image_feature_dim)).expand(expected), tabular
        if image_features.shape != expected:
            raise FeatureError(
                f"image_features must have shape {expected}, got {tuple(image_features.shape)}. "
                "Encode the pictures with VisionEncoder, or pass them to forward."
            )
        standard = (image_features.to(tabular) - self.image_mean) / self.image_scale
        visual = torch.where(mask[:, None], standard, 0.0)
        _check_finite("image_features", visual, "Encode the picture again or mask the row with has_image.")
        return visual, tabular

    def combine(self, visual: Tensor, tabular: Tensor) -> Tensor:
        """The logits (B, output_dim) of rows that `prepare` gave."""
        fused = torch.cat([visual, self.tabular_encoder(tabular)], dim=1)
        output: Tensor = self.fusion_network(fused)
        return output

    def activate(self, logits: Tensor) -> Tensor:
        """Softmax for head "position", sigmoid for the others."""
        return torch.softmax(logits, dim=1) if self.head == "position" else torch.sigmoid(logits)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The head's mean loss, a scalar: cross-entropy, mean squared error of the sigmoid, or binary cross-entropy.

        Args:
            logits: (B, output_dim) from `logits` or `fuse_logits`.
            targets: (B,): classes int64 in 0 .. output_dim - 1 ("position"), relative positions in [0, 1]
                ("position_regression"), or 1 = classified and 0 = not ("finish").

        Raises:
            LabelError: if shape or range are wrong.
        """
        if logits.ndim != 2 or logits.shape[1] != self.output_dim:
            raise LabelError(f"logits must have shape (B, {self.output_dim}), got {tuple(logits.shape)}.")
        if targets.shape != (len(logits),):
            raise LabelError(f"targets must have shape ({len(logits)},), got {tuple(targets.shape)}.")
        targets = targets.to(logits.device)
        largest = self.output_dim - 1 if self.head == "position" else 1
        wrong = ~((targets >= 0) & (targets <= largest))
        if wrong.any():
            row = int(torch.argmax(wrong.int()))
            raise LabelError(
                f"targets of head '{self.head}' must be in 0 .. {largest}, row {row} is {targets[row].item()}. "
                "For positions, see labels.classes_from_positions."
            )
        return self.criterion(logits, targets)

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """`loss` of targets that were checked before, on the device of the logits."""
        if self.head == "position":
            return functional.cross_entropy(logits, targets.long())
        if self.head == "position_regression":
            return functional.mse_loss(torch.sigmoid(logits[:, 0]), targets.to(logits))
        return functional.binary_cross_entropy_with_logits(logits[:, 0], targets.to(logits))

    def set_image_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise embeddings with these from now on: mean and std (image_feature_dim,) of the training rows.

        The std of a channel that never moves, but for float rounding, counts as 1.

        Raises:
            FeatureError: if a shape is wrong, a value is not finite, or a std is negative.
        """
        for name, values in (("mean", mean), ("std", std)):
            if values.shape != (self.image_feature_dim,):
                raise FeatureError(f"{name} must have shape ({self.image_feature_dim},), got {tuple(values.shape)}.")
            if not torch.isfinite(values).all():
                raise FeatureError(f"{name} of the embeddings must be finite.")
        if (std < 0).any():
            raise FeatureError(f"std must not be negative, the least is {std.min().item()}.")
        self.image_mean.copy_(mean)
        self.image_scale.copy_(torch.where(std > _ROUNDING * mean.abs(), std, torch.ones_like(std)))

    def eval_mode(self) -> Self:
        """Evaluation: no dropout. Returns the model."""
        return self.eval()

    def train_mode(self) -> Self:
        """Training: dropout on; the backbone stays frozen (see VisionEncoder.train). Returns the model."""
        return self.train()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """What was learnt and the image statistics; the frozen backbone is left out (a manifest names it by hash)."""
        state: dict[str, Any] = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", args[1] if len(args) > 1 else "") + _BACKBONE
        for key in [key for key in state if key.startswith(prefix)]:
            del state[key]
        return state

    def head_state_dict(self) -> dict[str, Tensor]:
        """`state_dict` as plain tensors by name: what an artefact stores."""
        return dict(self.state_dict())

    def load_head_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `head_state_dict` gave.

        Raises:
            FeatureError: if names or shapes are not this network's.
        """
        try:
            self.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise FeatureError(f"the tensors are not of this network: {' '.join(str(error).split())}.") from error

    def _table(self, tabular: Tensor) -> Tensor:
        """`tabular_features`, checked, on the network's device and of its dtype."""
        if tabular.ndim != 2 or tabular.shape[1] != self.tabular_input_dim:
            raise FeatureError(
                f"tabular_features must have shape (B, {self.tabular_input_dim}), got {tuple(tabular.shape)}. "
                "Build the network with tabular_input_dim=len(feature_names)."
            )
        if not tabular.is_floating_point():
            raise FeatureError(
                f"tabular_features must be floating point, got {tabular.dtype}. "
                "Pass features through FeatureNormaliser.transform."
            )
        _check_finite("tabular_features", tabular, "Pass features through FeatureNormaliser.transform.")
        return tabular.to(self.image_mean)

    def _mask(self, has_image: Tensor | None, tabular: Tensor) -> Tensor:
        """`has_image` as bool (B,) on the table's device."""
        if has_image is None:
            return torch.ones(len(tabular), dtype=torch.bool, device=tabular.device)
        if has_image.dtype != torch.bool or has_image.shape != (len(tabular),):
            raise PictureError(
                f"has_image must be bool of shape ({len(tabular)},), got {has_image.dtype} {tuple(has_image.shape)}. "
                "Give one True or False a row."
            )
        return has_image.to(tabular.device)


def _check_finite(name: str, values: Tensor, remedy: str) -> None:
    finite = torch.isfinite(values)
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        raise FeatureError(
            f"{name} must be finite, row {row} column {column} is {values[row, column].item()}. {remedy}"
        )


def _ignore_backbone(module: nn.Module, incompatible: Any) -> None:
    """A state without the backbone is complete."""
    for key in [key for key in incompatible.missing_keys if f".{key}".find(f".{_BACKBONE}") >= 0]:
        incompatible.missing_keys.remove(key)
