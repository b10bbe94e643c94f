"""The backbone's faster ways: near the reference, known by their identity, and never without a word."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from f1_predict.errors import ConfigError
from f1_predict.models import encoder_calibration, encoder_runtimes
from f1_predict.models.encoder_runtimes import RUNTIMES, FoldedTorch, openvino_model
from f1_predict.models.vision_encoder import VisionEncoder

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="no openvino: pip install 'f1-predict[fast]'")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(scope="module")
def reference() -> VisionEncoder:
    return VisionEncoder(weights="trace")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Traces of a simulated race, both styles."""
    return np.concatenate([batch[:3] for batch in encoder_calibration.calibration_pictures()[:4]])


@pytest.fixture(scope="module")
def wanted(reference: VisionEncoder, pictures: np.ndarray) -> np.ndarray:
    return reference.encode_arrays(pictures)


@pytest.fixture
def small_calibration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pictures: np.ndarray) -> Path:
    """Calibrates on a dozen pictures, and keeps the result in a folder of the test."""
    monkeypatch.setattr(encoder_calibration, "calibration_pictures", lambda: [pictures])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def cosines(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)


def test_folding_batch_norms_changes_rounding_alone(
    reference: VisionEncoder, pictures: np.ndarray, wanted: np.ndarray
) -> None:
    folded = FoldedTorch(reference.backbone, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        found = folded(reference.preprocessing.batch(pictures)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name not in ("torch", "openvino-int8")])
def test_variants_are_near_the_reference_and_named(
    runtime: str, reference: VisionEncoder, pictures: np.ndarray, wanted: np.ndarray
) -> None:
    if runtime.startswith("openvino") and not HAS_OPENVINO:
        pytest.skip("no openvino")
    if runtime.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("no GPU")
    if runtime.endswith("bf16") and not encoder_runtimes._has_bf16(torch.device("cpu")):
        pytest.skip("no bfloat16")
    encoder = VisionEncoder(weights="trace", runtime=runtime, device="auto")  # type: ignore[arg-type]
    found = encoder.encode_arrays(pictures, batch_size=5)
    assert found.dtype == np.float32
    assert cosines(found, wanted).min() > (0.999999 if runtime == "openvino" else 0.9995)
    apart = np.linalg.norm(wanted[:, None] - wanted[None], axis=2)
    assert np.linalg.norm(found - wanted, axis=1).max() < 0.2 * apart[apart > 0].min()  # pictures stay told apart
    assert encoder.identity.startswith(reference.identity + "-")
    assert runtime.split("-")[0] in encoder.identity.removeprefix(reference.identity)
    np.testing.assert_allclose(encoder(encoder.preprocess(pictures[0])[None])[0].cpu(), found[0], rtol=0.05, atol=0.05)
    again = pickle.loads(pickle.dumps(encoder))
    assert again.identity == encoder.identity
    np.testing.assert_allclose(again.encode_arrays(pictures[:2]), found[:2], rtol=1e-3, atol=1e-4)


@needs_openvino
@pytest.mark.filterwarnings("ignore")  # nncf's own
def test_int8_is_calibrated_once_and_named_by_its_numbers(
    reference: VisionEncoder, pictures: np.ndarray, wanted: np.ndarray, small_calibration: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    pytest.importorskip("nncf")
    encoder = VisionEncoder(weights="trace", runtime="openvino-int8")
    found = encoder.encode_arrays(pictures)
    assert cosines(found, wanted).min() > 0.98
    assert (found != wanted).any()
    assert encoder.identity.startswith(f"{reference.identity}-openvino-int8-")
    (kept,) = (small_calibration / "f1-predict" / "encoders").glob("int8-*")
    with monkeypatch.context() as patch:
        patch.setattr(encoder_calibration, "calibration_pictures", lambda: pytest.fail("calibrated again"))
        again = VisionEncoder(weights="trace", runtime="openvino-int8")
    assert again.identity == encoder.identity
    np.testing.assert_array_equal(again.encode_arrays(pictures), found)
    content = (kept / "model.bin").read_bytes()
    (kept / "model.bin").write_bytes(content[:-1])
    assert VisionEncoder(weights="trace", runtime="openvino-int8").identity == encoder.identity
    assert "is damaged; calibrated again" in caplog.text
    assert (kept / "model.bin").read_bytes() == content


@needs_openvino
def test_any_batch_size_gives_the_same(reference: VisionEncoder, pictures: np.ndarray) -> None:
    encoder = VisionEncoder(weights="trace", runtime="openvino")
    whole = encoder.encode_arrays(pictures)
    for count in (1, 3, 5):
        np.testing.assert_array_equal(encoder.encode_arrays(pictures, count), whole)
    assert encoder.encode_arrays(pictures[:0]).shape == (0, 512)


def test_the_reference_is_what_it_was(reference: VisionEncoder) -> None:
    explicit = VisionEncoder(weights="trace", runtime="torch")
    assert explicit.identity == reference.identity
    assert "torch" not in explicit.identity
    assert explicit.runtime == "torch"


def test_what_cannot_run_here_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"runtime 'cuda-autocast' needs a GPU.*encoder\.runtime = \"torch\""):
        VisionEncoder(weights="random", runtime="cuda-autocast", device="cpu")
    with pytest.raises(ConfigError, match=r"runtime must be one of torch, torch-bf16, .*, got 'abacus'"):
        VisionEncoder(weights="random", runtime="abacus")  # type: ignore[arg-type]
    monkeypatch.setattr(encoder_runtimes, "_has_bf16", lambda device: False)
    with pytest.raises(ConfigError, match="cpu has no bfloat16 arithmetic"):
        VisionEncoder(weights="random", runtime="torch-bf16")


def test_without_openvino_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"needs the package openvino.*pip install 'f1-predict\[fast\]'"):
        VisionEncoder(weights="random", runtime="openvino")


@needs_openvino
def test_nothing_is_reported_over_the_internet(reference: VisionEncoder) -> None:
    """The packages' telemetry is on unless it cannot be imported: in a process that made models and loaded nncf."""
    openvino_model(reference.backbone, 112)
    if importlib.util.find_spec("nncf") is not None:
        encoder_runtimes.nncf()
    assert sys.modules["openvino_telemetry"] is None
    with pytest.raises(ImportError):
        importlib.import_module("openvino_telemetry")


@needs_gpu
def test_running_out_of_gpu_memory_halves_the_batch(pictures: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    from f1_predict.training.memory import BatchSize

    encoder = VisionEncoder(weights="trace", device="cuda")
    many = np.concatenate([pictures] * 100)
    torch.cuda.set_per_process_memory_fraction(0.3e9 / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = BatchSize(len(many), "encoding pictures").run(lambda rows: encoder.encode_arrays(many, rows))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "memory ran out while encoding pictures" in caplog.text
    np.testing.assert_allclose(found[: len(pictures)], found[-len(pictures) :], rtol=1e-2, atol=1e-2)
