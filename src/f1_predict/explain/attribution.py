"""Gradients of a forecast: integrated over the table's features, and as a heat map over the picture (captum).

Knows tensors and pixels; nothing of races, laps or files.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from f1_predict.errors import ConfigError
from f1_predict.explain.question import Question
from f1_predict.models.vision_encoder import VisionEncoder

STEPS = 200
"""Points on the way from the baseline: with it, attributions add up to what they explain within 0.1 %."""


def captum_attr() -> ModuleType:
    """captum.attr.

    Raises:
        ConfigError: if captum is not installed.
    """
    try:
        import captum.attr as attr  # takes a second: only who explains waits
    except ImportError as error:
        raise ConfigError(
            "explanations need the package captum, which is not installed. Run: pip install 'f1-predict[explain]'"
        ) from error
    module: ModuleType = attr
    return module


def of_features(question: Question, vectors: Tensor | None, table: Tensor) -> npt.NDArray[np.float64]:
    """What each feature adds to the forecast, from the average of the training rows on, the picture as it is.

    Integrated gradients: M. Sundararajan, A. Taly and Q. Yan, "Axiomatic attribution for deep networks", ICML 2017.
    Their sum is the forecast less the forecast with an average table.

    Args:
        question: what is explained.
        vectors: float32 (1, image_feature_dim), the encoded picture, or None.
        table: float32 (1, F), standardised.

    Returns:
        float64 (F,), in the unit of the forecast.
    """

    def forecast(rows: Tensor) -> Tensor:
        return question.value(None if vectors is None else vectors.expand(len(rows), -1), rows)

    integrated = captum_attr().IntegratedGradients(forecast)
    with torch.enable_grad():
        found = integrated.attribute(table, baselines=torch.zeros_like(table), n_steps=STEPS)
    return np.asarray(found[0].detach().double().numpy(), dtype=np.float64)


def heat_map(
    question: Question, encoder: VisionEncoder, picture: npt.NDArray[np.uint8], table: Tensor
) -> npt.NDArray[np.float32]:
    """Where the backbone's last stage saw what the forecast hangs on, in either direction.

    Grad-CAM: R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks", ICCV 2017; absolute values, since
    what makes a forecast worse matters as much.

    Args:
        question: what is explained.
        encoder: the backbone.
        picture: uint8 (H, W, 3).
        table: float32 (1, F), standardised.

    Returns:
        float32 (H, W) in 0..1, the largest 1; all 0 where the forecast does not hang on the picture.
    """
    attr = captum_attr()

    def forecast(images: Tensor) -> Tensor:
        return question.value(encoder.backbone(images).cpu(), table)

    images = encoder.preprocessing.batch(picture[None], encoder.device).contiguous(memory_format=torch.channels_last)
    with torch.enable_grad():
        cam = attr.LayerGradCam(forecast, encoder.backbone.layer4).attribute(images.requires_grad_())
    height, width = picture.shape[:2]
    side = max(height, width)
    square = attr.LayerAttribution.interpolate(cam.detach().abs(), (side, side), "bilinear")[0, 0].cpu().numpy()
    top, left = (side - height) // 2, (side - width) // 2  # undo the letterbox
    heat = square[top : top + height, left : left + width]
    most = float(heat.max())
    return np.asarray(heat / most if most > 0.0 else np.zeros_like(heat), dtype=np.float32)
