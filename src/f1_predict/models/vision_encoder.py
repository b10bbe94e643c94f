"""Pictures -> 512 numbers each, by a frozen ResNet-18. Knows nothing of races, files of pictures, or labels."""

from __future__ import annotations

import logging
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from f1_predict.config import Runtime
from f1_predict.errors import ConfigError, PictureError, WeightsError
from f1_predict.models.backbone_weights import empty_backbone, load_weights
from f1_predict.models.encoder_runtimes import make_runtime
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
        device: "cpu", "cuda", "cuda:1" ..., or "auto": a GPU where there is one, unless the runtime is OpenVINO's.
        runtime: how it is computed. "torch": float32, the reference. "torch-bf16": bfloat16, on CPUs and GPUs that
            have it. "cuda-autocast": half precision on a GPU. "openvino", "openvino-bf16" and "openvino-int8"
            (calibrated on simulated pictures, once): on CPUs, with the [fast] extra. Numbers of others than "torch"
            are near the reference's, not equal, and their identity says so.

    Attributes:
        preprocessing: what these weights want done to a picture.
        weights_name: which weights these are.
        weights_note: one line: which and why.
        runtime: as given.
        identity: weights by hash, preprocessing and runtime; equal identities mean interchangeable embeddings.

    Raises:
        ConfigError: if an argument cannot be used, or this machine cannot run the runtime.
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
        runtime: Runtime = "torch",
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
        place = resolve_device("cpu" if device == "auto" and runtime.startswith("openvino") else device)
        self.to(place).to(memory_format=torch.channels_last)
        self.eval()
        self.runtime: Runtime = runtime
        self._reference_identity = self.identity
        self._start()

    def _start(self) -> None:
        """Set up the runtime, and name it in the identity."""

        def quantised(model: Any) -> tuple[Any, str]:
            # Draws pictures of simulated races: all of that is imported by those alone who want it.
            from f1_predict.models.encoder_calibration import quantised_model

            prepare = self.preprocessing.batch
            return quantised_model(model, self._reference_identity, lambda pictures: prepare(pictures).numpy())

        self._faster = make_runtime(self.runtime, self.backbone, self.device, self.preprocessing.size, quantised)
        if self._faster is not None:
            self.identity = f"{self._reference_identity}-{self._faster.identity}"

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: all but the runtime, which is set up there."""
        return self.__dict__ | {"_faster": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set up the runtime again, here.

        Raises:
            WeightsError: if this machine's int8 numbers are others than those it came with.
        """
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        wanted = self.identity
        self._start()
        if self.identity != wanted:
            raise WeightsError(
                f"the encoder is '{self.identity}' on this machine, and '{wanted}' where it comes from. "
                "Copy the folder of int8 backbones (f1-predict/encoders in the user's cache) from there, or use "
                "another runtime."
            )

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
        return self._embed(self.preprocessing.fit(images))

    def _embed(self, prepared: Tensor) -> Tensor:
        """Embed float32 (B, 3, size, size) on the encoder's device."""
        prepared = prepared.contiguous(memory_format=torch.channels_last)
        if self._faster is not None:
            return self._faster(prepared)
        with torch.backends.cudnn.flags(allow_tf32=False):  # the reference is float32 on a GPU too
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
                result[start : start + len(chunk)] = self._embed(chunk).cpu().numpy()
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
