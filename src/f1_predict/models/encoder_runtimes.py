"""How the backbone is computed: in lower precision by torch, or by OpenVINO. Knows tensors, not pictures or files.

All of them compute the same ResNet-18, its batch-norms folded into the convolutions before them. Their numbers differ
a little, so each has an identity of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from f1_predict.config import Runtime
from f1_predict.errors import ConfigError

Node = TypeVar("Node")


class BackboneRuntime(Protocol):
    """Normalised pictures float32 (B, 3, S, S) -> float32 (B, 512) on the device they came on."""

    identity: str

    def __call__(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        ...


def folded_convolutions(backbone: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias of each convolution with the batch-norm behind it (in evaluation mode) folded in.

    Returns:
        float32 (out, in, k, k) and (out,) by name: "conv1", "layer1.0.conv1", "layer2.0.downsample" ...
    """
    state = {name: tensor.detach().double().cpu() for name, tensor in backbone.state_dict().items()}
    folded = {}
    for name, weight in state.items():
        if weight.ndim != 4:
            continue
        conv = name.removesuffix(".weight")
        shortcut = conv.endswith(".downsample.0")
        norm = conv.removesuffix("0") + "1" if shortcut else conv.replace("conv", "bn")
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + _NORM_EPSILON)
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        folded[conv.removesuffix(".0") if shortcut else conv] = (
            (weight * scale[:, None, None, None]).float().contiguous(),
            bias.float(),
        )
    return folded


_NORM_EPSILON = 1e-5
"""Of torchvision's batch-norms."""


class _Operations(Protocol[Node]):
    """What a ResNet is made of."""

    def conv(self, name: str, x: Node, stride: int, padding: int, /) -> Node: ...
    def relu(self, x: Node, /) -> Node: ...
    def add(self, x: Node, y: Node, /) -> Node: ...
    def pool(self, x: Node, /) -> Node:
        """Maxima of 3 x 3 in steps of 2, padded by 1."""
        ...

    def mean(self, x: Node, /) -> Node:
        """Over height and width."""
        ...


def _resnet18(images: Node, ops: _Operations[Node]) -> Node:
    """ResNet-18 without its head (He et al. 2016, arXiv:1512.03385, table 1)."""
    x = ops.pool(ops.relu(ops.conv("conv1", images, 2, 3)))
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = ops.relu(ops.conv(f"{name}.conv1", x, stride, 1))
            inner = ops.conv(f"{name}.conv2", inner, 1, 1)
            x = ops.relu(ops.add(inner, x if stride == 1 else ops.conv(f"{name}.downsample", x, stride, 0)))
    return ops.mean(x)


class FoldedTorch:
    """The folded network in torch, channels-last, in some precision.

    Args:
        backbone: a ResNet-18 without its head.
        device: where it is computed.
        dtype: of weights and activations; the result is float32.
    """

    def __init__(self, backbone: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        where = "" if device.type == "cpu" else f"-{device.type}"
        self.identity = f"torch-{str(dtype).removeprefix('torch.')}{where}-v1"
        self._dtype, self._device = dtype, device
        self._folded = {
            name: (
                weight.to(device, dtype).contiguous(memory_format=torch.channels_last),
                bias.to(device, dtype),
            )
            for name, (weight, bias) in folded_convolutions(backbone).items()
        }
        self.relu = torch.relu
        self.add = torch.add

    def conv(self, name: str, x: Tensor, stride: int, padding: int) -> Tensor:
        """See _Operations."""
        weight, bias = self._folded[name]
        return functional.conv2d(x, weight, bias, stride, padding)

    def pool(self, x: Tensor) -> Tensor:
        """See _Operations."""
        return functional.max_pool2d(x, 3, 2, 1)

    def mean(self, x: Tensor) -> Tensor:
        """See _Operations; summed in float32."""
        return x.float().mean(dim=(2, 3))

    def __call__(self, images: Tensor) -> Tensor:
        """See BackboneRuntime."""
        return _resnet18(images.to(self._dtype).contiguous(memory_format=torch.channels_last), self)


class CudaAutocast:
    """torch's own network on a GPU, under autocast to half precision."""

    identity = "cuda-autocast-float16-v1"

    def __init__(self, backbone: nn.Module) -> None:
        self._backbone = backbone

    def __call__(self, images: Tensor) -> Tensor:
        """See BackboneRuntime."""
        with torch.autocast("cuda", dtype=torch.float16):
            features: Tensor = self._backbone(images)
        return features.float()


class OpenVino:
    """The folded network, computed by OpenVINO on the CPU, with as many threads as torch has now.

    Compiled for AT_ONCE pictures, the last few filled up with one again: OpenVINO keeps memory for every other number
    of pictures that it is ever given; and so a picture's numbers do not depend on how many come with it.

    Args:
        model: made by `openvino_model`, quantised or not.
        identity: of this runtime.
        precision: "f32" or "bf16", of what is not quantised.
    """

    AT_ONCE = 5

    def __init__(self, model: Any, identity: str, precision: str) -> None:
        self.identity = identity
        settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        _, *shape = model.input().get_partial_shape()
        model.reshape([self.AT_ONCE, *shape])
        self._compiled = openvino().Core().compile_model(model, "CPU", settings)

    def __call__(self, images: Tensor) -> Tensor:
        """See BackboneRuntime."""
        parts = []
        for some in torch.split(images, self.AT_ONCE):
            missing = self.AT_ONCE - len(some)
            whole = torch.cat([some, some[:1].expand(missing, -1, -1, -1)]) if missing else some
            result = self._compiled(whole.contiguous().numpy())[0]
            parts.append(torch.from_numpy(np.array(result[: len(some)], dtype=np.float32)))
        return torch.cat(parts)


class _Graph:
    """Builds the folded network out of OpenVINO's operations."""

    def __init__(self, backbone: nn.Module) -> None:
        self._ops: Any = import_module("openvino.opset13")
        self._folded = folded_convolutions(backbone)
        self.relu = self._ops.relu
        self.add = self._ops.add

    def images(self, size: int) -> Any:
        return self._ops.parameter([-1, 3, size, size], dtype=np.float32, name="images")

    def conv(self, name: str, x: Any, stride: int, padding: int) -> Any:
        weight, bias = self._folded[name]
        pads = [padding, padding]
        found = self._ops.convolution(x, self._ops.constant(weight.numpy()), [stride, stride], pads, pads, [1, 1])
        found.set_friendly_name(name)
        return self._ops.add(found, self._ops.constant(bias.numpy()[None, :, None, None]))

    def pool(self, x: Any) -> Any:
        return self._ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)

    def mean(self, x: Any) -> Any:
        return self._ops.reduce_mean(x, self._ops.constant(np.array([2, 3])), keep_dims=False)


def openvino_model(backbone: nn.Module, size: int) -> Any:
    """The folded network as an OpenVINO model: float32 (B, 3, size, size) -> (B, 512), for any B."""
    package = openvino()
    graph = _Graph(backbone)
    images = graph.images(size)
    return package.Model([_resnet18(images, graph)], [images], "resnet18")


def openvino() -> Any:
    """The package.

    Raises:
        ConfigError: if it is not installed.
    """
    return _optional("openvino")


def nncf() -> Any:
    """The package that quantises.

    Raises:
        ConfigError: if it is not installed.
    """
    return _optional("nncf")


def _optional(name: str) -> Any:
    # Both packages report their use over the internet where this one can be imported: here it cannot.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this runtime of the encoder needs the package {error.name}, which is not installed. Install it with "
            "pip install 'f1-predict[fast]', or set encoder.runtime = \"torch\"."
        ) from error


def make_runtime(
    runtime: Runtime, backbone: nn.Module, device: torch.device, size: int, quantised: Callable[[Any], tuple[Any, str]]
) -> BackboneRuntime | None:
    """The runtime of a name; None for "torch", which is the backbone itself.

    Args:
        runtime: its name.
        backbone: a ResNet-18 without its head, on `device`.
        device: of the encoder.
        size: of the pictures, pixels.
        quantised: makes an int8 model, and its hash, of an OpenVINO model; called for "openvino-int8" alone.

    Raises:
        ConfigError: if there is no such runtime, or this machine cannot run it.
    """
    if runtime == "torch":
        return None
    if runtime == "torch-bf16":
        if not _has_bf16(device):
            raise ConfigError(
                f'this machine\'s {device.type} has no bfloat16 arithmetic. Set encoder.runtime = "torch".'
            )
        return FoldedTorch(backbone, device, torch.bfloat16)
    if runtime == "cuda-autocast":
        if device.type != "cuda":
            raise ConfigError(
                f"runtime 'cuda-autocast' needs a GPU, and the encoder is on '{device}'. "
                'Set encoder.device = "cuda", or encoder.runtime = "torch".'
            )
        return CudaAutocast(backbone)
    if not runtime.startswith("openvino"):
        raise ConfigError(f"runtime must be one of {', '.join(RUNTIMES)}, got '{runtime}'.")
    if device.type != "cpu":
        raise ConfigError(f"runtime '{runtime}' computes on the CPU, and the encoder is on '{device}'. Set device cpu.")
    capabilities = openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if runtime == "openvino-bf16" and "BF16" not in capabilities:
        raise ConfigError('this machine\'s CPU has no bfloat16 arithmetic. Set encoder.runtime = "openvino".')
    model = openvino_model(backbone, size)
    if runtime == "openvino-int8":
        model, digest = quantised(model)
        return OpenVino(model, f"openvino-int8-{digest}-v2", "f32")
    precision = "bf16" if runtime == "openvino-bf16" else "f32"
    return OpenVino(model, f"openvino-{precision}-v2", precision)


RUNTIMES: tuple[str, ...] = get_args(Runtime)


def _has_bf16(device: torch.device) -> bool:
    """Whether the device computes with bfloat16 itself: elsewhere it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
