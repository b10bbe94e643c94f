"""A trained network as a folder: `model.safetensors` and `manifest.json`, and nothing executable.

The backbone is not in it; the manifest names it by hash, and another one is refused. Knows nothing of
how the network was fitted.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from f1_predict.config import Head
from f1_predict.errors import ArtefactError, WeightsError
from f1_predict.files import temporary_sibling
from f1_predict.models.field_network import FieldNetwork
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.training.manifests import MANIFEST, RETRAIN, BaseManifest, FieldManifest, Manifest, read_manifest

TENSORS = "model.safetensors"
_FINISH = "finish."
"""Before the names of the tensors of the network that stands beside one of places."""


class SavedModel(NamedTuple):
    """What a model folder holds, in evaluation mode, on the CPU.

    Attributes:
        model: the network.
        manifest: how it was made.
        finish: the network of head "finish" beside one of places; None where there is none.
    """

    model: MultiModalFusionModel
    manifest: Manifest
    finish: MultiModalFusionModel | None


def save_model(
    folder: str | Path,
    model: MultiModalFusionModel,
    manifest: Manifest,
    finish: MultiModalFusionModel | None = None,
) -> Path:
    """Write a network and its manifest as one folder.

    The folder is written beside `folder` and then renamed, so that an interruption leaves the old model or the new
    one. Between the two renames that replace an old model there is a moment with neither under that name.

    Args:
        folder: to be made, or a model folder to be replaced.
        model: the network; its backbone is not written.
        manifest: must agree with the model; `tensors_sha256` is filled in.
        finish: a network of head "finish" of the same inputs and settings, beside one of places.

    Returns:
        The folder.

    Raises:
        ArtefactError: if `folder` is there and is no model folder, if the manifest disagrees with the model, or if
            the folder cannot be written to.
    """
    _check_agreement(model, manifest, finish)
    tensors = model.head_state_dict()
    if finish is not None:
        tensors |= {_FINISH + name: tensor for name, tensor in finish.head_state_dict().items()}
    return _write(Path(folder), tensors, manifest)


def save_fields(folder: str | Path, networks: Sequence[FieldNetwork], manifest: FieldManifest) -> Path:
    """Write networks over whole fields and their manifest as one folder; as `save_model` does.

    Args:
        folder: to be made, or a model folder to be replaced.
        networks: the members whose forecasts are averaged.
        manifest: must agree with them; `tensors_sha256` is filled in.

    Returns:
        The folder.

    Raises:
        ArtefactError: as `save_model`.
    """
    tensors = {f"{number}.{name}": t for number, one in enumerate(networks) for name, t in one.state_dict().items()}
    _check_shapes(tensors, _fields(manifest), "the networks")
    return _write(Path(folder), tensors, manifest)


def check_replaceable(folder: Path) -> None:
    """Refuse a folder that is there and is no model folder: for who is about to work for long before he writes.

    Raises:
        ArtefactError: naming what it lacks, and the remedy.
    """
    lacking = [name for name in (MANIFEST, TENSORS) if not (folder / name).is_file()]
    if folder.exists() and lacking:
        raise ArtefactError(
            f"{folder} is there and is no model folder (it has no {' and no '.join(lacking)}), so it is not replaced. "
            "Choose another folder, or remove it yourself."
        )


def _write(folder: Path, tensors: Mapping[str, torch.Tensor], manifest: BaseManifest) -> Path:
    """Tensors and manifest as one folder."""
    check_replaceable(folder)
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    manifest = manifest.model_copy(update={"tensors_sha256": hashlib.sha256(content).hexdigest()})
    part, old = temporary_sibling(folder), temporary_sibling(folder)
    try:
        part.mkdir(parents=True)
        (part / TENSORS).write_bytes(content)
        (part / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _swap(part, folder, old)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ArtefactError(
            f"{folder}: the model cannot be written ({error.strerror}). Choose a folder that can be written to."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _swap(part: Path, folder: Path, old: Path) -> None:
    """Put `part` in the place of `folder`, whose former content ends up in `old`; undone where it fails half-way."""
    if not folder.exists():
        part.rename(folder)
        return
    folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        old.rename(folder)
        raise


def _check_agreement(model: MultiModalFusionModel, manifest: Manifest, finish: MultiModalFusionModel | None) -> None:
    facts = {
        "head": (manifest.head, model.head),
        "head (fusion settings)": (manifest.fusion.head, model.head),
        "output_dim": (manifest.output_dim, model.output_dim),
        "number of features": (len(manifest.feature_names), model.tabular_input_dim),
        "network of who is classified": (manifest.finish_scores is not None, finish is not None),
    }
    if finish is not None:
        facts["head of the network of who is classified"] = ("finish", finish.head)
        facts["number of features (who is classified)"] = (len(manifest.feature_names), finish.tabular_input_dim)
    for name, (written, real) in facts.items():
        if written != real:
            raise ArtefactError(
                f"the manifest must describe the model, but its {name} is {written!r} and the model's is {real!r}. "
                "Make the manifest from the model that is saved."
            )


def load_model(folder: str | Path, *, encoder: VisionEncoder | None = None) -> SavedModel:
    """A network as it was saved, with what was saved beside it.

    Args:
        folder: written by `save_model`.
        encoder: the backbone to attach; None makes the one that the manifest names, so that a picture can never be
            seen through another. A network fitted without pictures has none.

    Raises:
        WeightsError: if the backbone is not the one the network was fitted with, or is not to be had.
        ArtefactError: if a file is missing or damaged, the tensors do not fit the manifest, or the folder holds
            networks over whole fields.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not isinstance(manifest, Manifest):
        raise _other_kind(folder, "networks over whole fields", "the design's network, car by car")
    tensors = _read_tensors(folder / TENSORS, manifest)
    encoder = _encoder(manifest, encoder, folder)
    models = {"": _network(manifest, manifest.head, manifest.output_dim, encoder)}
    if manifest.finish_scores is not None:
        models[_FINISH] = _network(manifest, "finish", 1, encoder)
    expected = {
        prefix + name: tensor for prefix, model in models.items() for name, tensor in model.head_state_dict().items()
    }
    _check_shapes(tensors, expected, f"{folder / TENSORS}")
    for prefix, model in models.items():
        model.load_head_state_dict({name: tensors[prefix + name] for name in model.head_state_dict()})
        model.eval_mode()
    return SavedModel(models[""], manifest, models.get(_FINISH))


class SavedFields(NamedTuple):
    """What a folder of networks over whole fields holds.

    Attributes:
        networks: in evaluation mode.
        manifest: how they were made.
        encoder: the backbone.
    """

    networks: tuple[FieldNetwork, ...]
    manifest: FieldManifest
    encoder: VisionEncoder


def load_fields(folder: str | Path, *, encoder: VisionEncoder | None = None) -> SavedFields:
    """Networks over whole fields as they were saved.

    Args:
        folder: written by `save_fields`.
        encoder: the backbone; None makes the one that the manifest names.

    Raises:
        WeightsError, ArtefactError: as `load_model`.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not isinstance(manifest, FieldManifest):
        raise _other_kind(folder, "the design's network, car by car", "networks over whole fields")
    tensors = _read_tensors(folder / TENSORS, manifest)
    encoder = _encoder(manifest, encoder, folder)
    _check_shapes(tensors, _fields(manifest), f"{folder / TENSORS}")
    networks = tuple(_field(manifest) for _ in range(manifest.field.members))
    for number, network in enumerate(networks):
        network.load_state_dict({name: tensors[f"{number}.{name}"] for name in network.state_dict()})
    return SavedFields(networks, manifest, encoder)


def _other_kind(folder: Path, found: str, wanted: str) -> ArtefactError:
    return ArtefactError(f"{folder}: the model folder must hold {wanted}, but holds {found}. Give another folder.")


@overload
def _encoder(manifest: FieldManifest, encoder: VisionEncoder | None, folder: Path) -> VisionEncoder: ...
@overload
def _encoder(manifest: Manifest, encoder: VisionEncoder | None, folder: Path) -> VisionEncoder | None: ...
def _encoder(manifest: BaseManifest, encoder: VisionEncoder | None, folder: Path) -> VisionEncoder | None:
    """The backbone that was given, if it is the one of the manifest, or else that one; None where it has none."""
    if encoder is None and manifest.backbone is not None:
        wanted = manifest.backbone
        device = "cuda" if wanted.runtime == "cuda-autocast" else "cpu"
        encoder = VisionEncoder(weights=wanted.name, seed=wanted.seed, device=device, runtime=wanted.runtime)
    if encoder is not None:
        check_backbone(manifest, encoder, folder)
    return encoder


def _field(manifest: FieldManifest) -> FieldNetwork:
    """An untrained member."""
    with torch.random.fork_rng(devices=[]):
        return FieldNetwork(len(manifest.feature_names), manifest.image_dim, manifest.field).eval()


def _fields(manifest: FieldManifest) -> dict[str, torch.Tensor]:
    """Tensors of the names and shapes that a folder of this manifest has."""
    one = _field(manifest).state_dict()
    return {f"{number}.{name}": tensor for number in range(manifest.field.members) for name, tensor in one.items()}


def _check_shapes(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], where: str) -> None:
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (found, expected)]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        is_, wanted = shapes[0].get(name), shapes[1].get(name)
        if is_ != wanted:
            must = f"must have shape {wanted} by the manifest, got {is_}" if wanted else "is unknown to the manifest"
            raise ArtefactError(f"{where}: tensor '{name}' {must}. {RETRAIN}")


def _network(manifest: Manifest, head: Head, output_dim: int, encoder: VisionEncoder | None) -> MultiModalFusionModel:
    """An untrained network of a manifest's settings."""
    config = manifest.fusion
    return MultiModalFusionModel(
        image_feature_dim=config.image_feature_dim,
        tabular_input_dim=len(manifest.feature_names),
        output_dim=output_dim,
        head=head,
        vision_encoder=encoder,
        tabular_dim=config.tabular_dim,
        hidden=config.hidden,
        dropout=config.dropout,
    )


def check_backbone(manifest: BaseManifest, encoder: VisionEncoder, folder: str | Path) -> None:
    """Check that a backbone is the one a network was fitted with.

    Raises:
        WeightsError: naming both and the remedy.
    """
    wanted = manifest.backbone
    if wanted is None:
        raise WeightsError(
            f"the model in {folder} was fitted without pictures, but was given the backbone "
            f"'{encoder.weights_name}' ({encoder.identity}). Load it without an encoder."
        )
    if wanted.identity != encoder.identity:
        raise WeightsError(
            f"the model in {folder} was fitted with the backbone '{wanted.name}' ({wanted.identity}; {wanted.note}), "
            f"but was given '{encoder.weights_name}' ({encoder.identity}; {encoder.weights_note}). "
            f"Make the encoder with weights='{wanted.name}' and runtime='{wanted.runtime}', "
            "or train the model again with these weights."
        )


def _read_tensors(path: Path, manifest: BaseManifest) -> dict[str, torch.Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror}). {RETRAIN}") from error
    if hashlib.sha256(content).hexdigest() != manifest.tensors_sha256:
        raise ArtefactError(
            f"{path}: is damaged or belongs to another manifest: its SHA-256 is not the one in {MANIFEST}. "
            f"Copy the whole folder again, or: {RETRAIN}"
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise ArtefactError(f"{path}: is no safetensors file ({error}). {RETRAIN}") from error
