"""The frozen backbone: which weights, what is done to pictures, and that nothing about it ever moves."""

from __future__ import annotations

import copy
import logging
import socket
import threading
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18

from f1_predict.errors import ConfigError, PictureError, WeightsError
from f1_predict.models import backbone_weights
from f1_predict.models.backbone_weights import empty_backbone, load_weights
from f1_predict.models.preprocessing import IMAGENET
from f1_predict.models.vision_encoder import VisionEncoder, resolve_device

CHECKPOINT = "resnet18-f37072fd.pth"
RANDOM_SHA256 = "d6c50849ca5a3067c3f36e68ed35dad47a16635416482cbd388981473166afa5"
"""Of seed 0: fixed for good, or models made with random weights could not be used again elsewhere."""


@pytest.fixture(scope="module")
def encoder() -> VisionEncoder:
    return VisionEncoder(weights="random")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub, offline and without shipped weights; gives the path of the ImageNet file."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("F1_PREDICT_OFFLINE", "1")
    monkeypatch.setattr(backbone_weights, "TRACE_FILE", tmp_path / "trace_resnet18.safetensors")
    return tmp_path / "torch" / "hub" / "checkpoints" / CHECKPOINT


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A whole torchvision ResNet-18, head included, with batch-norm statistics of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = resnet18(weights=None)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def headless(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def drawings(count: int, size: int = 448) -> np.ndarray:
    """White pictures, each with a line at another height."""
    images = np.full((count, size, size, 3), 255, dtype=np.uint8)
    for number in range(count):
        images[number, 40 * (number + 1) : 40 * (number + 1) + 4, :, :2] = 30
    return images


class TestVisionEncoder:
    def test_output_shape(self, encoder: VisionEncoder) -> None:
        features = encoder(noise(3, 3, 224, 224))
        assert features.shape == (3, 512)
        assert features.dtype == torch.float32
        assert torch.isfinite(features).all()
        assert features.std(dim=0).max() > 1e-3  # different pictures, different features
        assert encoder(noise(0, 3, 224, 224)).shape == (0, 512)

    @pytest.mark.parametrize(("height", "width"), [(448, 448), (64, 64), (97, 224), (224, 30), (1, 500)])
    def test_different_input_sizes(self, encoder: VisionEncoder, height: int, width: int) -> None:
        """Another size gives what letterboxing it beforehand gives."""
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        unit = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255.0
        direct = encoder(IMAGENET.normalise(unit))
        assert direct.shape == (1, 512)
        torch.testing.assert_close(direct, encoder(encoder.preprocess(pixels)[None]), rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("device", ["cpu", "cuda", "auto"])
    def test_device_placement(self, encoder: VisionEncoder, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            pytest.skip("no CUDA device on this machine")
        placed = VisionEncoder(weights="random", device=device)
        wanted = resolve_device(device)
        assert placed.device.type == wanted.type
        features = placed(noise(1, 3, 224, 224))  # given on the CPU, moved there
        assert features.device.type == wanted.type
        torch.testing.assert_close(features.cpu(), encoder(noise(1, 3, 224, 224)), rtol=1e-2, atol=1e-2)
        assert placed.identity == encoder.identity

    def test_pretrained_weights(self, cache: Path, trained: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
        """A checkpoint in torch.hub's cache, as torchvision leaves it, is what the encoder computes with."""
        cache.parent.mkdir(parents=True)
        torch.save(trained.state_dict(), cache)
        encoder = VisionEncoder()
        images = noise(2, 3, 224, 224)
        reference = copy.deepcopy(trained)
        reference.fc = nn.Identity()
        with torch.no_grad():
            torch.testing.assert_close(encoder(images), reference(images), rtol=1e-4, atol=1e-5)
        assert encoder.weights_name == "imagenet"
        assert "from the cache" in encoder.weights_note
        assert "not torchvision's file" in caplog.text  # the hash in the name is the real one's
        assert VisionEncoder(weights="imagenet").identity == encoder.identity
        assert encoder.identity.startswith("resnet18-imagenet-")

    @pytest.mark.network
    def test_pretrained_weights_download(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("F1_PREDICT_OFFLINE")
        encoder = VisionEncoder(weights="imagenet")
        assert encoder.weights_note.endswith("downloaded")
        assert cache.is_file()
        assert encoder.backbone.state_dict()["conv1.weight"][0, 0, 0, 0].item() == pytest.approx(-0.01042, abs=1e-4)

    def test_gradients_frozen(self, encoder: VisionEncoder) -> None:
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        images = noise(1, 3, 224, 224).requires_grad_()
        features = encoder(images)
        assert not features.requires_grad
        assert features.grad_fn is None

    def test_training_mode_changes_nothing(self) -> None:
        encoder = VisionEncoder(weights="random")
        holder = nn.Sequential(encoder, nn.Linear(512, 1))
        images = noise(2, 3, 224, 224)
        before = encoder(images)
        state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        holder.train()
        assert encoder.training
        assert not any(module.training for module in encoder.backbone.modules())
        assert torch.equal(encoder(images), before)
        for _ in range(3):
            holder(5.0 * images)
        for name, tensor in encoder.state_dict().items():  # batch-norm statistics and counters included
            assert torch.equal(tensor, state[name]), name
        holder.eval()
        assert torch.equal(encoder(images), before)

    def test_encode_single_equals_the_batch(self, encoder: VisionEncoder) -> None:
        pixels = drawings(3)
        together = encoder.encode_arrays(pixels)
        single = encoder.encode_single(Image.fromarray(pixels[1]))
        assert single.shape == (512,)
        np.testing.assert_allclose(single.numpy(), together[1], rtol=1e-4, atol=1e-5)

    def test_embeddings_do_not_depend_on_company(self, encoder: VisionEncoder) -> None:
        pixels = drawings(5)
        whole = encoder.encode_arrays(pixels, batch_size=5)
        assert whole.dtype == np.float32
        assert np.array_equal(encoder.encode_arrays(pixels, batch_size=5), whole)
        for size in (1, 2):
            np.testing.assert_allclose(encoder.encode_arrays(pixels, size), whole, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(encoder.encode_arrays(pixels[::-1]), whole[::-1], rtol=1e-4, atol=1e-5)
        spread = np.linalg.norm(whole[0] - whole[1])
        assert spread > 100 * 1e-5  # the tolerance is far below what tells pictures apart
        assert encoder.encode_arrays(pixels[:0]).shape == (0, 512)

    def test_refusals(self, encoder: VisionEncoder) -> None:
        with pytest.raises(PictureError, match=r"shape \(B, 3, H, W\), got \(3, 224, 224\)"):
            encoder(torch.zeros(3, 224, 224))
        with pytest.raises(PictureError, match=r"got \(1, 4, 224, 224\)"):
            encoder(torch.zeros(1, 4, 224, 224))
        with pytest.raises(PictureError, match=r"floating point and normalised, got torch.uint8.*preprocess"):
            encoder(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
        broken = torch.zeros(3, 3, 8, 8)
        broken[2, 0, 0, 0] = torch.nan
        with pytest.raises(PictureError, match="must be finite, picture 2 of 3 is not"):
            encoder(broken)
        with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
            encoder.encode_arrays(drawings(1), 0)
        with pytest.raises(PictureError, match=r"uint8 \(n, H, W, 3\), got float64 \(1, 8, 8, 3\)"):
            encoder.encode_arrays(np.zeros((1, 8, 8, 3)))
        with pytest.raises(ConfigError, match="feature_dim must be 512, the width of ResNet-18, got 256"):
            VisionEncoder(feature_dim=256)
        with pytest.raises(ConfigError, match="pretrained=False means random weights"):
            VisionEncoder(pretrained=False, weights="trace")

    def test_unknown_devices_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="device must be 'auto', 'cpu' or 'cuda', got 'abacus'"):
            resolve_device("abacus")
        with pytest.raises(ConfigError, match="device 'cuda:99' is not there: torch sees"):
            resolve_device("cuda:99")


class TestRandomWeights:
    def test_a_seed_is_one_network_everywhere(self, encoder: VisionEncoder) -> None:
        assert encoder.identity == f"resnet18-random-{RANDOM_SHA256}-{IMAGENET.identity}"
        assert VisionEncoder(pretrained=False).identity == encoder.identity
        assert load_weights("random", seed=1).sha256 != RANDOM_SHA256
        assert encoder.weights_note == "random (seed 0): asked for by name"

    def test_the_global_random_state_is_neither_used_nor_changed(self) -> None:
        before = torch.random.get_rng_state()
        numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is looked at
        VisionEncoder(weights="random", seed=3)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002

    def test_weights_are_he_initialised(self) -> None:
        weight = load_weights("random").tensors["layer3.0.conv2.weight"]
        bound = (6.0 / (256 * 9)) ** 0.5
        assert weight.abs().max().item() == pytest.approx(bound, rel=1e-4)
        assert weight.std().item() == pytest.approx((2.0 / (256 * 9)) ** 0.5, rel=1e-2)
        assert abs(weight.mean().item()) < bound / 100

    def test_negative_seeds_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="seed of random weights must be 0 or more, got -1"):
            load_weights("random", seed=-1)


class TestChoiceOfWeights:
    def test_auto_offline_is_random_and_says_why(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(*_: Any, **__: Any) -> socket.socket:
            raise AssertionError("a connection was tried")

        monkeypatch.setattr(socket, "create_connection", refuse)
        monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
        with caplog.at_level(logging.INFO, logger="f1_predict"):
            encoder = VisionEncoder()
        assert encoder.weights_name == "random"
        assert "no trace weights are shipped" in encoder.weights_note
        assert "F1_PREDICT_OFFLINE is set" in encoder.weights_note
        assert "\n" not in encoder.weights_note
        assert [r.getMessage() for r in caplog.records] == [f"vision encoder: {encoder.weights_note}"]

    def test_auto_prefers_what_is_shipped(self, cache: Path, trained: nn.Module) -> None:
        save_file(headless(trained), backbone_weights.TRACE_FILE)
        cache.parent.mkdir(parents=True)
        torch.save(empty_backbone().state_dict(), cache)
        chosen = load_weights("auto")
        assert (chosen.name, chosen.note) == ("trace", "trace: shipped with the package")
        assert torch.equal(chosen.tensors["conv1.weight"], trained.state_dict()["conv1.weight"])

    def test_asked_for_by_name_and_not_to_be_had(self, cache: Path) -> None:
        with pytest.raises(WeightsError, match=r"trace weights are not shipped with this version.*weights='auto'"):
            VisionEncoder(weights="trace")
        with pytest.raises(WeightsError, match=rf"not cached and F1_PREDICT_OFFLINE is set.*put {CHECKPOINT} into"):
            VisionEncoder(weights="imagenet")

    @pytest.mark.parametrize("weights", ["vgg", "weights.pth", ""])
    def test_unknown_weights_are_refused(self, weights: str) -> None:
        with pytest.raises(ConfigError, match=r"or the path of a \.safetensors file, got"):
            load_weights(weights)

    def test_an_unreachable_host_is_given_up_at_once(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Looking up a name can hang for a minute, whatever the timeout of the connection."""
        monkeypatch.delenv("F1_PREDICT_OFFLINE")
        release = threading.Event()

        def hang(*_: Any, **__: Any) -> socket.socket:
            release.wait(60.0)
            raise OSError("no such host")

        monkeypatch.setattr(socket, "create_connection", hang)
        monkeypatch.setattr(backbone_weights, "_AUTO_CONNECT_S", 0.01)
        note = load_weights("auto").note
        still_hanging = not release.is_set()
        release.set()
        assert still_hanging
        assert "their server cannot be reached" in note

    def test_a_host_that_answers_is_reachable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, int]] = []

        def answer(address: tuple[str, int], timeout: float) -> socket.socket:
            asked.append(address)
            return socket.socket()

        monkeypatch.setattr(socket, "create_connection", answer)
        assert backbone_weights._reachable("download.example", 443, 30.0)
        assert asked == [("download.example", 443)]

    def test_the_proxy_is_what_must_be_reached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
        assert backbone_weights._first_hop("https://weights.example/x.pth") == ("proxy.example", 3128)
        monkeypatch.setenv("https_proxy", "")
        assert backbone_weights._first_hop("https://weights.example/x.pth") == ("weights.example", 443)


class TestDownload:
    @pytest.fixture(autouse=True)
    def _reachable(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("F1_PREDICT_OFFLINE")
        monkeypatch.setattr(backbone_weights, "_reachable", lambda *_: True)

    def test_it_is_checked_by_hash_and_cannot_hang(
        self, cache: Path, trained: nn.Module, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[tuple[str, str, float | None]] = []

        def download(url: str, file: str, hash_prefix: str, progress: bool) -> None:
            calls.append((url, hash_prefix, socket.getdefaulttimeout()))
            torch.save(trained.state_dict(), file)

        monkeypatch.setattr(torch.hub, "download_url_to_file", download)
        assert load_weights("imagenet").note == "imagenet: asked for by name, downloaded"
        assert load_weights("imagenet").note.startswith("imagenet: asked for by name, from the cache")
        ((url, hash_prefix, timeout),) = calls
        assert url.endswith(CHECKPOINT)
        assert hash_prefix == "f37072fd"
        assert timeout is not None
        assert socket.getdefaulttimeout() is None

    @pytest.mark.parametrize(
        "error", [urllib.error.URLError("reset"), RuntimeError("invalid hash value"), TimeoutError("timed out")]
    )
    def test_a_broken_download_is_one_clear_error(
        self, cache: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
        with pytest.raises(WeightsError, match=r"could not be downloaded to .*\(.*\).*weights='auto' or 'random'"):
            load_weights("imagenet")
        assert load_weights("auto").name == "random"
        assert socket.getdefaulttimeout() is None

    def test_a_damaged_cache_is_named(self, cache: Path) -> None:
        cache.parent.mkdir(parents=True)
        cache.write_bytes(b"half a checkpoint")
        with pytest.raises(WeightsError, match=rf"{CHECKPOINT}: is no checkpoint of a ResNet-18.*Delete it"):
            load_weights("imagenet")
        assert load_weights("auto").name == "random"


class TestWeightsFile:
    def test_a_file_is_used_and_known_by_its_content(self, trained: nn.Module, tmp_path: Path) -> None:
        files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
        save_file(headless(trained), files[0])
        without_counters = {k: v for k, v in trained.state_dict().items() if "num_batches" not in k}
        save_file(without_counters, files[1])  # head and counters are no part of what is computed
        first, second = (VisionEncoder(weights=str(file)) for file in files)
        assert first.identity == second.identity
        assert first.identity.startswith("resnet18-file-")
        assert first.weights_name == str(files[0])
        assert torch.equal(first.backbone.state_dict()["layer4.1.bn2.running_var"], trained.layer4[1].bn2.running_var)

    def test_half_precision_is_widened(self, trained: nn.Module, tmp_path: Path) -> None:
        file = tmp_path / "half.safetensors"
        save_file({k: v.half() if v.is_floating_point() else v for k, v in headless(trained).items()}, file)
        tensor = load_weights(str(file)).tensors["conv1.weight"]
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, trained.state_dict()["conv1.weight"].half().float())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"layer1.0.conv1.weight": None}, "tensor 'layer1.0.conv1.weight' is missing"),
            ({"layer5.weight": torch.zeros(1)}, "tensor 'layer5.weight' does not belong to a ResNet-18"),
            ({"bn1.weight": torch.zeros(65)}, r"'bn1.weight' must be floating point of shape \(64,\), got .*\(65,\)"),
            ({"bn1.weight": torch.zeros(64, dtype=torch.int32)}, "'bn1.weight' must be floating point .*int32"),
            ({"bn1.weight": torch.full((64,), torch.nan)}, "'bn1.weight' has values that are not finite"),
        ],
    )
    def test_tensors_of_something_else(
        self, trained: nn.Module, tmp_path: Path, change: dict[str, Tensor | None], message: str
    ) -> None:
        tensors = {k: v for k, v in (headless(trained) | change).items() if v is not None}
        file = tmp_path / "odd.safetensors"
        save_file(tensors, file)
        with pytest.raises(WeightsError, match=message):
            load_weights(str(file))

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        file = tmp_path / "x.safetensors"
        with pytest.raises(WeightsError, match=r"x\.safetensors: cannot be read as safetensors"):
            load_weights(str(file))
        file.write_bytes(b"no safetensors")
        with pytest.raises(WeightsError, match=r"x\.safetensors: cannot be read as safetensors"):
            load_weights(str(file))


class TestPreprocessing:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "F"])
    def test_every_mode_gives_the_tensor_of_its_pixels(self, mode: str) -> None:
        """A black square on white, whatever the file says it in; both are exact in every mode."""
        pixels = np.full((40, 60, 3), 255, dtype=np.uint8)
        pixels[10:20, 15:45] = 0
        if mode == "I;16":
            image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
            assert image.mode == "I;16"
        else:
            image = Image.fromarray(pixels).convert(mode)
        assert torch.equal(IMAGENET(image), IMAGENET(pixels))

    def test_sixteen_bits_keep_their_grey(self) -> None:
        grey = np.linspace(0, 65535, 224 * 224).astype(np.uint16).reshape(224, 224)
        expected = np.repeat(np.round(grey / 257).astype(np.uint8)[:, :, None], 3, axis=2)
        assert torch.equal(IMAGENET(Image.fromarray(grey)), IMAGENET(expected))

    @pytest.mark.parametrize("mode", ["RGB", "I;16"])
    def test_a_truncated_file_is_refused(self, mode: str, encoder: VisionEncoder, tmp_path: Path) -> None:
        file = tmp_path / "half.png"
        grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint16 if mode == "I;16" else np.uint8)
        image = Image.fromarray(grey)
        (image if mode == "I;16" else image.convert(mode)).save(file)
        file.write_bytes(file.read_bytes()[:500])
        with Image.open(file) as half, pytest.raises(PictureError, match=f"of mode '{mode}' cannot be read"):
            encoder.encode_single(half)

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
    def test_what_is_transparent_is_white(self, mode: str) -> None:
        image = Image.new("RGBA", (8, 8), (0, 0, 0, 0)) if mode != "P" else Image.new("P", (8, 8), 0)
        if mode == "P":
            image.info["transparency"] = 0
        elif mode == "LA":
            image = image.convert("LA")
        assert torch.equal(IMAGENET(image), IMAGENET(np.full((8, 8, 3), 255, dtype=np.uint8)))

    def test_white_is_imagenets_white(self) -> None:
        tensor = IMAGENET(np.full((224, 224, 3), 255, dtype=np.uint8))
        expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
        assert tensor[:, 0, 0].tolist() == pytest.approx(expected)
        assert (tensor == tensor[:, :1, :1]).all()

    def test_wide_pictures_keep_all_laps_and_their_shape(self) -> None:
        """First and last lap are at the edges; the circle stays a circle; the rest is white."""
        pixels = np.full((300, 900, 3), 255, dtype=np.uint8)
        pixels[:, :8] = (255, 0, 0)
        pixels[:, -8:] = (0, 0, 255)
        pixels[100:200, 400:500] = 0
        tensor = IMAGENET(pixels)
        assert tensor.shape == (3, 224, 224)
        white = IMAGENET(np.full((224, 224, 3), 255, dtype=np.uint8))
        height = round(300 * 224 / 900)
        top = (224 - height) // 2
        torch.testing.assert_close(tensor[:, :top], white[:, :top], rtol=0, atol=1e-5)
        torch.testing.assert_close(tensor[:, top + height :], white[:, top + height :], rtol=0, atol=1e-5)
        first, last = tensor[:, top + 5 : top + height - 5, 0], tensor[:, top + 5 : top + height - 5, -1]
        assert (first[0] > first[2] + 2).all()  # red
        assert (last[2] > last[0] + 2).all()  # blue
        dark = tensor.sum(dim=0) < 0
        dark[:, :5] = dark[:, -5:] = False
        assert dark.any(dim=1).sum() == pytest.approx(25, abs=1)
        assert dark.any(dim=0).sum() == pytest.approx(25, abs=1)

    def test_our_plot_area_is_exactly_halved(self) -> None:
        small = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
        large = small.repeat(16, axis=0).repeat(16, axis=1)
        halved = small.repeat(8, axis=0).repeat(8, axis=1)
        assert large.shape == (448, 448, 3)
        inside = (torch.arange(224) % 8 > 0) & (torch.arange(224) % 8 < 7)  # away from the blocks' edges
        result, expected = IMAGENET(large), IMAGENET(halved)
        torch.testing.assert_close(result[:, inside][:, :, inside], expected[:, inside][:, :, inside])

    def test_batches_equal_single_pictures(self) -> None:
        images = np.random.default_rng(1).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
        assert torch.equal(IMAGENET.batch(images), torch.stack([IMAGENET(image) for image in images]))
        read_only = images.copy()
        read_only.setflags(write=False)
        assert torch.equal(IMAGENET.batch(read_only), IMAGENET.batch(images))

    @pytest.mark.parametrize(
        "image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), "x.png"]
    )
    def test_what_is_no_picture_is_refused(self, image: Any) -> None:
        with pytest.raises(PictureError, match="must be"):
            IMAGENET(image)

    def test_the_identity_tells_settings_apart(self) -> None:
        other = type(IMAGENET)(size=192)
        assert other.identity != IMAGENET.identity
