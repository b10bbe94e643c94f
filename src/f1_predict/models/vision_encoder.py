"""Pictures -> 512 numbers each, by a frozen ResNet-18. Knows nothing of races, files of pictures, or labels."""

from __future__ import annotations

import logging
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from f1_predict.errors import ConfigError, PictureError
from f1_predict.models.backbone_weights import empty_backbone, load_weights
from f1_predict.models.preprocessing import Preprocessing

logger = logging.getLogger(__name__)

RESNET18_DIM = 512
"""Channels of ResNet-18's last stage."""


class VisionEncoder(nn.Module):
    """ResNet-18 without its head (He et al. 2016, arXiv:1512.03385), as a frozen feature extractor.

    Frozen means: no parameter requires a gradient, the forward pass records none, and batch-norm uses its stored
    statistics in training mode too, so that `train()` on a model that holds the encoder changes nothing.

    Shape:
        (B, 3, H, W) float, normalised -> (B, 512) float32. Other sizes than the weights' own (`preprocessing.size`,
        224 x 224 for ImageNet's) are letterboxed.

    Args:
        pretrained: False means `weights="random"`.
        feature_dim: must be 512, which is what ResNet-18 gives.
        weights: "auto", "imagenet", "trace", "random" or the path of a .safetensors file; None is "auto". See
            `backbone_weights.load_weights`.
        seed: of random weights.
        device: "cpu", "cuda", "cuda:1" ..., or "auto": a GPU where there is one.

    Attributes:
        preprocessing: what these weights want done to a picture.
        weights_name: which weights these are.
        weights_note: one line: which and why.
        identity: weights by hash and preprocessing; equal identities mean interchangeable embeddings.

    Raises:
        ConfigError: if an argument cannot be used.
        WeightsError: if weights asked for by name are not to be had.

    Example:
        >>> encoder = VisionEncoder(weights="random")
        >>> encoder(torch.zeros(2, 3, 224, 224)).shape
        torch.Size([2, 512])
    """

    def __init__(
        self,
        pretrained: bool = True,
        feature_dim: int = RESNET18_DIM,
        *,
        weights: str | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        if feature_dim != RESNET18_DIM:
            raise ConfigError(f"feature_dim must be {RESNET18_DIM}, the width of ResNet-18, got {feature_dim}.")
        if not pretrained and weights not in (None, "random"):
            raise ConfigError(f"pretrained=False means random weights, but weights='{weights}' was given. Drop one.")
        loaded = load_weights(weights or ("auto" if pretrained else "random"), seed)
        self.feature_dim = feature_dim
        self.preprocessing: Preprocessing = loaded.preprocessing
        self.weights_name = loaded.name
        self.weights_note = loaded.note
        self.identity = f"resnet18-{loaded.kind}-{loaded.sha256}-{self.preprocessing.identity}"
        logger.info("vision encoder: %s", loaded.note)

        self.backbone = empty_backbone()
        counters = {
            key: torch.zeros((), dtype=torch.long)
            for key in self.backbone.state_dict()
            if key.endswith("num_batches_tracked")
        }
        self.backbone.load_state_dict(loaded.tensors | counters, assign=True)
        self.backbone.requires_grad_(False)
        self.to(resolve_device(device)).to(memory_format=torch.channels_last)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    def train(self, mode: bool = True) -> Self:
        """Set the flag, and keep the backbone in evaluation mode: its batch-norm statistics never move."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Embed pictures that are already normalised (see `preprocess`).

        Args:
            images: float (B, 3, H, W) on any device, finite; letterboxed where H or W is not the weights' size.

        Returns:
            float32 (B, 512) on the encoder's device.

        Raises:
            PictureError: if shape, dtype or values are wrong.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
            raise PictureError(f"images must have shape (B, 3, H, W), got {tuple(images.shape)}.")
        if not images.is_floating_point():
            raise PictureError(
                f"images must be floating point and normalised, got {images.dtype}. Pass 8-bit pictures through "
                "VisionEncoder.preprocess or encode_arrays."
            )
        if len(images) == 0:
            return torch.zeros((0, self.feature_dim), device=self.device)
        images = images.to(device=self.device, dtype=torch.float32)
        finite = torch.isfinite(images).flatten(1).all(dim=1)
        if not finite.all():
            row = int(torch.argmin(finite.int()))
            raise PictureError(
                f"images must be finite, picture {row} of {len(images)} is not. Leave it out (has_image)."
            )
        prepared = self.preprocessing.fit(images).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.backbone(prepared)
        return features

    def preprocess(self, image: Image.Image | npt.NDArray[np.uint8]) -> Tensor:
        """One picture (PIL of any mode, or uint8 (H, W, 3)) -> float32 (3, size, size), as these weights want it.

        Raises:
            PictureError: if it is neither.
        """
        return self.preprocessing(image)

    def encode_single(self, image: Image.Image) -> Tensor:
        """Embed one picture: -> float32 (512,) on the encoder's device.

        Raises:
            PictureError: if it cannot be read as RGB.
        """
        features: Tensor = self(self.preprocess(image)[None])
        return features[0]

    def encode_arrays(self, images: npt.NDArray[np.uint8], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """Embed many pictures of one size.

        Worked off in chunks of `batch_size` in their order; the result of a picture does not depend on its company
        beyond float rounding, and equal calls give equal bits on a CPU.

        Args:
            images: uint8 (n, H, W, 3).
            batch_size: pictures at a time, at least 1; bounds the memory.

        Returns:
            float32 (n, 512).

        Raises:
            ConfigError: if `batch_size` is less than 1.
            PictureError: if the array has another shape or dtype.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}.")
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] != 3:
            raise PictureError(f"pictures must be uint8 (n, H, W, 3), got {images.dtype} {images.shape}.")
        result = np.empty((len(images), self.feature_dim), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), batch_size):
                chunk = self.preprocessing.batch(images[start : start + batch_size], self.device)
                result[start : start + len(chunk)] = self(chunk).cpu().numpy()
        return result


def resolve_device(device: str) -> torch.device:
    """The torch device of a setting; "auto" is a GPU where there is one, else the CPU.

    Raises:
        ConfigError: if the name is none that torch knows, or the GPU is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device must be 'auto', 'cpu' or 'cuda', got '{device}'.") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device '{device}' is not there: torch sees {torch.cuda.device_count()} GPUs. Use 'auto'.")
    return found
