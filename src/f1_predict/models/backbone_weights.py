"""Where the backbone's weights come from: ImageNet, our own file, a seed, or a file of the user.

Knows nothing of pictures. It is the one place outside `sources/` that may use the network, and only to fetch
torchvision's ResNet-18, which is no race data.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import getproxies

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torchvision.models import ResNet18_Weights, resnet18

from f1_predict.errors import ConfigError, WeightsError
from f1_predict.models.preprocessing import IMAGENET, Preprocessing, preprocessing_of

logger = logging.getLogger(__name__)

TRACE_FILE = Path(__file__).with_name("weights") / "trace_resnet18.safetensors"
"""Weights trained on simulated traces, where they are shipped."""
OFFLINE_VARIABLE = "F1_PREDICT_OFFLINE"
"""Set to 1, nothing is downloaded and no connection is tried."""

NAMES = ("imagenet", "trace", "random")
_AUTO_CONNECT_S = 0.5
_CONNECT_S = 5.0
_STALL_S = 20.0
"""Longest silence of a download before it is given up."""


@dataclass(frozen=True)
class BackboneWeights:
    """Tensors of a ResNet-18 without its head.

    Attributes:
        name: "imagenet", "trace", "random" or the file.
        note: one line: which weights and why.
        tensors: float32, by torchvision's names, all finite.
        sha256: of names, shapes and values.
        preprocessing: what they want done to a picture: a file's metadata says it, else ImageNet's.
    """

    name: str
    note: str
    tensors: dict[str, Tensor]
    sha256: str
    preprocessing: Preprocessing = IMAGENET

    @property
    def kind(self) -> str:
        """The name, or "file": where a file lies says nothing of what it holds."""
        return self.name if self.name in NAMES else "file"


def load_weights(weights: str, seed: int = 0) -> BackboneWeights:
    """The weights of a name, or of a .safetensors file.

    `auto` takes `trace` when it is shipped, else `imagenet` when it is cached or can be downloaded at once, else
    `random`. Asked for by name, what is not to be had is an error.

    Args:
        weights: "auto", "imagenet", "trace", "random" or the path of a .safetensors file.
        seed: of "random".

    Raises:
        ConfigError: if `weights` is none of these, or the seed is negative.
        WeightsError: if the weights are not to be had or do not fit; the message has the remedy.
    """
    if weights == "auto":
        return _auto(seed)
    if weights == "imagenet":
        return _imagenet(_CONNECT_S, "asked for by name")
    if weights == "trace":
        return _trace("asked for by name")
    if weights == "random":
        return _random(seed, "asked for by name")
    if weights.endswith(".safetensors"):
        return _from_file(weights, f"{weights}: asked for by file", Path(weights))
    raise ConfigError(
        f"weights must be 'auto', 'imagenet', 'trace', 'random' or the path of a .safetensors file, got '{weights}'. "
        "Other files are refused, since loading them may run code."
    )


def empty_backbone() -> torch.nn.Module:
    """A ResNet-18 with no memory behind its tensors; making it draws no random numbers."""
    with torch.device("meta"):
        network: torch.nn.Module = resnet18(weights=None)
        network.fc = torch.nn.Identity()
    return network


@functools.cache
def _shapes() -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of a ResNet-18's tensors without head and counters, in torchvision's order."""
    state = empty_backbone().state_dict()
    return tuple((name, tuple(tensor.shape)) for name, tensor in state.items() if not _is_counter(name))


def _auto(seed: int) -> BackboneWeights:
    if TRACE_FILE.is_file():
        return _trace("shipped with the package")
    try:
        return _imagenet(_AUTO_CONNECT_S, "no trace weights are shipped")
    except WeightsError as error:
        logger.debug("auto: %s", error)
        reason = str(error).partition(". ")[0]
    return _random(seed, f"no trace weights are shipped, and ImageNet's are not to be had ({reason})")


def _trace(why: str) -> BackboneWeights:
    if not TRACE_FILE.is_file():
        raise WeightsError(
            f"the trace weights are not shipped with this version ({TRACE_FILE} is missing). "
            "Use weights='auto', 'imagenet' or 'random', or give a .safetensors file."
        )
    return _from_file("trace", f"trace: {why}", TRACE_FILE)


def _from_file(name: str, note: str, path: Path) -> BackboneWeights:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error}). Give a file of a ResNet-18.") from error
    return replace(_pack(name, note, tensors, str(path)), preprocessing=preprocessing_of(metadata, str(path)))


def _random(seed: int, why: str) -> BackboneWeights:
    """He's uniform initialisation with identity batch-norm: exact on every machine, no global state touched.

    Weights are uniform in +-sqrt(6 / (out_channels * k * k)) (He et al. 2015, arXiv:1502.01852, equation 14,
    as torchvision does it but uniform), in steps of 2^-16 from the raw bits of PCG64, whose stream NumPy promises
    to keep (NEP 19). So one seed means one hash, whatever the processor or the versions.

    The batch-norm statistics stay 0 and 1 on purpose. On 720 half-race pictures of real races (two seeds), setting
    them from a batch of drawings made pictures' features less alike (mean correlation of two pictures .69-.94
    instead of .999) but lost content: once standardised, the features of plain weights ranked the drivers of
    races held out better by ridge regression (Spearman .68-.70 against .57-.64). Their large common mean does no
    harm, because MultiModalFusionModel standardises embeddings with training statistics.
    """
    if seed < 0:
        raise ConfigError(f"the seed of random weights must be 0 or more, got {seed}.")
    stream = np.random.PCG64(seed)
    tensors: dict[str, Tensor] = {}
    for name, shape in _shapes():
        if len(shape) == 4:
            count = math.prod(shape)
            bits = stream.random_raw(-(-count // 4)).astype("<u8").view("<u2")[:count]
            bound = math.sqrt(6.0 / (shape[0] * shape[2] * shape[3]))
            values = (bits.astype(np.float64) + 0.5) / 2**15 - 1.0
            tensors[name] = torch.from_numpy((values * bound).astype(np.float32).reshape(shape))
        elif name.endswith(("running_mean", "bias")):
            tensors[name] = torch.zeros(shape)
        else:
            tensors[name] = torch.ones(shape)
    return _pack("random", f"random (seed {seed}): {why}", tensors, f"seed {seed}")


def _imagenet(connect_s: float, why: str) -> BackboneWeights:
    url = ResNet18_Weights.IMAGENET1K_V1.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    expected = file.stem.rpartition("-")[2]
    cached = file.is_file()
    if not cached:
        _download(url, file, expected, connect_s)
    origin = "from the cache" if cached else "downloaded"
    if cached and not hashlib.sha256(file.read_bytes()).hexdigest().startswith(expected):
        # Said, not refused: torch.hub does not look either, and the identity tells such weights apart.
        origin = "from the cache, where the file is not torchvision's original"
        logger.warning("%s: its SHA-256 does not begin with %s, so it is not torchvision's file", file, expected)
    try:
        tensors = torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, weights_only=True)
    except Exception as error:
        # The loader promises no particular exceptions for a damaged file.
        raise WeightsError(f"{file}: is no checkpoint of a ResNet-18 ({error}). Delete it and try again.") from error
    return _pack("imagenet", f"imagenet: {why}, {origin}", tensors, str(file))


def _download(url: str, file: Path, hash_prefix: str, connect_s: float) -> None:
    """Fetch a checkpoint, whole and with the right hash or not at all.

    Raises:
        WeightsError: if offline by setting, not reachable within `connect_s`, broken off or wrong.
    """
    remedy = (
        f"Connect to the internet once, or put {file.name} into {file.parent} (see TORCH_HOME), "
        "or use weights='auto' or 'random'."
    )
    if os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0"):
        raise WeightsError(f"ImageNet weights are not cached and {OFFLINE_VARIABLE} is set. {remedy}")
    host, port = _first_hop(url)
    if not _reachable(host, port, connect_s):
        raise WeightsError(f"ImageNet weights are not cached and their server cannot be reached. {remedy}")
    logger.info("downloading ResNet-18 weights (45 MB) to %s", file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(_STALL_S):
            torch.hub.download_url_to_file(url, str(file), hash_prefix, progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        raise WeightsError(f"ImageNet weights could not be downloaded to {file} ({error}). {remedy}") from error


def _first_hop(url: str) -> tuple[str, int]:
    """Host and port that a request for `url` connects to: the proxy's where one is set."""
    scheme = urlparse(url).scheme
    address = urlparse(getproxies().get(scheme, url))
    default = 443 if address.scheme == "https" else 80
    return address.hostname or "", address.port or default


def _reachable(host: str, port: int, timeout_s: float) -> bool:
    """Whether a connection is made in time. In a thread, because looking up a name obeys no timeout."""
    connected = threading.Event()
    done = threading.Event()

    def attempt() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
            connected.set()
        except OSError as error:
            logger.debug("%s:%d: %s", host, port, error)
        finally:
            done.set()

    threading.Thread(target=attempt, daemon=True, name="f1-predict-reachability").start()
    done.wait(timeout_s)
    return connected.is_set()


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torch.hub opens its connection without a timeout; this sets the default one meanwhile."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _pack(name: str, note: str, tensors: Mapping[str, Tensor], origin: str) -> BackboneWeights:
    """Check that tensors are a ResNet-18's, drop the head and counters, and hash what is left.

    Raises:
        WeightsError: naming the first tensor that is missing, strange, misshapen or not finite.
    """
    wanted = dict(_shapes())
    kept = {key: t for key, t in tensors.items() if not key.startswith("fc.") and not _is_counter(key)}
    remedy = "Give the weights of a torchvision ResNet-18."
    for key in sorted(wanted.keys() | kept.keys()):
        if key not in kept or key not in wanted:
            problem = "is missing" if key in wanted else "does not belong to a ResNet-18"
            raise WeightsError(f"{origin}: tensor '{key}' {problem}. {remedy}")
        found = kept[key]
        if tuple(found.shape) != wanted[key] or not found.is_floating_point():
            raise WeightsError(
                f"{origin}: tensor '{key}' must be floating point of shape {wanted[key]}, "
                f"got {found.dtype} {tuple(found.shape)}. {remedy}"
            )
        if not torch.isfinite(found).all():
            raise WeightsError(f"{origin}: tensor '{key}' has values that are not finite. {remedy}")
    final = {key: kept[key].detach().to(torch.float32).contiguous() for key in wanted}
    digest = hashlib.sha256()
    for key, tensor in sorted(final.items()):
        digest.update(f"{key}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().astype("<f4", copy=False).tobytes())
    return BackboneWeights(name, note, final, digest.hexdigest())


def _is_counter(key: str) -> bool:
    """Counters of training batches: no part of what the network computes, and absent from older files."""
    return key.endswith("num_batches_tracked")
