"""What is done to a picture before the backbone sees it. Belongs to the weights, like torchvision's transforms.

Knows pictures as pixels only: nothing of files, races or networks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from f1_predict.errors import PictureError, WeightsError

Pixels = npt.NDArray[np.uint8]
Resampling = Literal["antialias", "area"]
"""How a picture is made smaller: bilinear with antialiasing, or as the mean of the pixels under each new pixel."""

METADATA_KEY = "preprocessing"
"""Under which a weights file's metadata holds its preprocessing, as JSON."""
MAX_SIZE = 4096

_SIXTEEN_BIT = 257
"""65535 / 255: what brings 16-bit grey to 8 bits, black to black and white to white."""


@dataclass(frozen=True)
class Preprocessing:
    """Letterbox to a square, then standardise the channels.

    The longer side becomes `size` pixels, the rest is padded with white on both sides: nothing is cropped, so no lap
    is lost, and nothing is stretched.

    A plot area of 448 x 448 is exactly halved by the default. With resampling "area" and size 112 each pixel is the
    mean of 4 x 4: at such whole steps that is many times quicker than filtering, and every pixel counts alike.

    Attributes:
        size: side of the square, pixels.
        mean, std: of red, green and blue on the scale 0 to 1.
        resampling: "antialias" or "area", see `Resampling`.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resampling: Resampling = "antialias"

    @property
    def identity(self) -> str:
        """Names all that changes the result: embeddings made under different identities must not be mixed."""
        channels = "/".join(f"{value:g}" for value in (*self.mean, *self.std))
        return f"letterbox{self.size}-white-{self.resampling}-{channels}-v1"

    def to_metadata(self) -> dict[str, str]:
        """What a weights file's metadata says of it, to be read by `preprocessing_of`."""
        return {METADATA_KEY: json.dumps(asdict(self))}

    def __call__(self, image: Image.Image | Pixels) -> Tensor:
        """One picture, ready for the backbone.

        Args:
            image: a PIL image of any mode, or uint8 (H, W, 3). Both give identical tensors for the same pixels.

        Returns:
            float32 (3, size, size), contiguous.

        Raises:
            PictureError: if the array has another shape or dtype, or a side is 0.
        """
        pixels = rgb_pixels(image) if isinstance(image, Image.Image) else image
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 3:
            found = f"shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise PictureError(f"a picture must be a PIL image or a uint8 array (H, W, 3), got {found}.")
        return self.batch(pixels[None])[0]

    def batch(self, images: Pixels, device: torch.device | str = "cpu") -> Tensor:
        """As `__call__` for pictures of one size: uint8 (n, H, W, 3) -> float32 (n, 3, size, size) on `device`.

        Raises:
            PictureError: if the array has another shape or dtype, or a side is 0.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
            raise PictureError(
                f"pictures must be uint8 (n, H, W, 3) with sides of at least 1, got {images.dtype} {images.shape}. "
                "Convert them to 8-bit RGB."
            )
        if self._whole_steps(*images.shape[1:3]):
            return self._batch_of_means(images).to(device)
        result = torch.empty((len(images), 3, self.size, self.size), device=device)
        for row, pixels in enumerate(images):  # one by one: little memory, and no picture depends on its company
            # A copy, since torch warns of arrays that may not be written to.
            channels_first = torch.from_numpy(np.array(pixels, order="C")).to(device).permute(2, 0, 1)
            square = self.letterbox(channels_first[None].float(), white=(255.0, 255.0, 255.0))
            result[row] = self.normalise(square / 255.0)[0]
        return result

    def _whole_steps(self, height: int, width: int) -> bool:
        """Whether each pixel of the result is the mean of equally many whole pixels, few enough to sum in 16 bits."""
        return (
            self.resampling == "area"
            and height == width
            and height % self.size == 0
            and (height // self.size) ** 2 * 255 < 2**16
        )

    def _batch_of_means(self, images: Pixels) -> Tensor:
        """As `batch`, where `_whole_steps`; sums of bytes are exact, so the only rounding is the division."""
        size, step = self.size, images.shape[1] // self.size
        unit = np.empty((len(images), 3, size, size), dtype=np.float32)
        for row, pixels in enumerate(images):  # one by one, since one fits into the processor's cache
            lines = np.ascontiguousarray(pixels).reshape(size, step, size * step * 3)
            down = lines[:, 0].astype(np.uint16)
            for i in range(1, step):
                down += lines[:, i]
            blocks = down.reshape(size, size, step, 3)
            sums = blocks[:, :, 0].copy()
            for i in range(1, step):
                sums += blocks[:, :, i]
            unit[row] = sums.transpose(2, 0, 1)
        return self.normalise(torch.from_numpy(unit) / (255.0 * step**2))

    def normalise(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) on the scale 0 to 1 -> the same with mean and std taken out."""
        mean = images.new_tensor(self.mean).view(1, 3, 1, 1)
        std = images.new_tensor(self.std).view(1, 3, 1, 1)
        return (images - mean) / std

    def fit(self, images: Tensor) -> Tensor:
        """Letterbox pictures that are already normalised: (n, 3, H, W) -> (n, 3, size, size)."""
        red, green, blue = ((1.0 - mean) / std for mean, std in zip(self.mean, self.std, strict=True))
        return self.letterbox(images, white=(red, green, blue))

    def letterbox(self, images: Tensor, white: tuple[float, float, float]) -> Tensor:
        """(n, 3, H, W) -> (n, 3, size, size), padded with the colour `white`; unchanged if it is that size."""
        height, width = images.shape[-2:]
        if (height, width) == (self.size, self.size):
            return images
        scale = self.size / max(height, width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        if self.resampling == "area":
            resized = functional.interpolate(images, size=inner, mode="area")
        else:
            resized = functional.interpolate(images, size=inner, mode="bilinear", antialias=True, align_corners=False)
        if inner == (self.size, self.size):
            return resized
        canvas = resized.new_tensor(white).view(1, 3, 1, 1).repeat(len(images), 1, self.size, self.size)
        top, left = (self.size - inner[0]) // 2, (self.size - inner[1]) // 2
        canvas[:, :, top : top + inner[0], left : left + inner[1]] = resized
        return canvas


IMAGENET = Preprocessing()
"""Mean and spread of ImageNet, as torchvision's ResNet-18 weights want it; also for weights that say nothing."""
TRACES = Preprocessing(112, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "area")
"""What weights learnt from traces are made with: -1 to 1, since one style is drawn on white and one on black."""


def preprocessing_of(metadata: Mapping[str, str], origin: str) -> Preprocessing:
    """The preprocessing that a weights file asks for; IMAGENET if it says nothing.

    Args:
        metadata: of the file.
        origin: names the file in messages.

    Raises:
        WeightsError: if what it says cannot be used.
    """
    if METADATA_KEY not in metadata:
        return IMAGENET
    text = metadata[METADATA_KEY]
    try:
        values: dict[str, Any] = json.loads(text)
        found = Preprocessing(
            values.pop("size"), tuple(values.pop("mean")), tuple(values.pop("std")), values.pop("resampling")
        )
        numbers = [*found.mean, *found.std]
        usable = (
            type(found.size) is int
            and 32 <= found.size <= MAX_SIZE
            and found.resampling in get_args(Resampling)
            and len(found.mean) == len(found.std) == 3
            and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
            and min(found.std) > 0.0
            and not values
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise WeightsError(
            f"{origin}: its metadata '{METADATA_KEY}' must be JSON with size (32 to {MAX_SIZE}), mean and std (three "
            f"numbers each, std above 0) and resampling (antialias or area), got {text:.200}. "
            "Write the file again with f1-predict pretrain, or without this entry for ImageNet's preprocessing."
        )
    return found


def rgb_pixels(image: Image.Image) -> Pixels:
    """A PIL image as uint8 (H, W, 3): transparent over white, 16-bit grey scaled to 8 bits.

    Raises:
        PictureError: if Pillow cannot decode it, or not turn its mode into RGB.
    """
    try:
        if image.mode.startswith("I"):  # 16-bit grey; older Pillow opens it as 32-bit integers
            grey = (np.asarray(image).astype(np.int64) + _SIXTEEN_BIT // 2) // _SIXTEEN_BIT
            return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
        if {"A", "a"} & set(image.getbands()) or "transparency" in image.info:
            above = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
        return np.array(image.convert("RGB"), dtype=np.uint8)
    except (ValueError, OSError) as error:
        raise PictureError(
            f"a picture of mode '{image.mode}' cannot be read ({error}). Save it as 8-bit RGB."
        ) from error
