"""A trained network as a folder: `model.safetensors` and `manifest.json`, and nothing executable.

The backbone is not in it; the manifest names it by hash, and another one is refused. Knows nothing of
how the network was fitted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from f1_predict import __version__
from f1_predict.config import FeatureConfig, FusionConfig, Head, PictureConfig, Runtime, TrainingConfig
from f1_predict.errors import ArtefactError, WeightsError
from f1_predict.files import temporary_sibling
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.vision_encoder import VisionEncoder

FORMAT_VERSION = 1
"""Raised whenever a folder written before could no longer be read rightly."""
TENSORS, MANIFEST = "model.safetensors", "manifest.json"
_FINISH = "finish."
"""Before the names of the tensors of the network that stands beside one of places."""
_RETRAIN = "Train the model again with `f1-predict train`."


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BackboneRecord(_Frozen):
    """The vision backbone whose embeddings the network was fitted on.

    Attributes:
        identity, name, note: `identity`, `weights_name` and `weights_note` of the VisionEncoder.
        seed: of "random" weights; of no account for others.
        runtime: of the VisionEncoder.
    """

    identity: str
    name: str
    note: str
    seed: int = 0
    runtime: Runtime = "torch"


class DataRange(_Frozen):
    """The rows the network was fitted on; `validation_seasons` chose its epoch and are not counted in the others."""

    first_race_id: str
    last_race_id: str
    seasons: tuple[int, ...]
    validation_seasons: tuple[int, ...] = ()
    races: int = Field(ge=1)
    rows: int = Field(ge=1)


def _versions() -> dict[str, str]:
    names = ("numpy", "polars", "safetensors", "torch", "torchvision")
    return {"f1-predict": __version__} | {name: version(name) for name in names}


class Manifest(_Frozen):
    """All that is needed to use a network rightly, and to know where it came from.

    Attributes:
        format_version: of the folder's layout.
        head, output_dim: what the network forecasts, and its class count.
        fusion, picture, features, training: the settings it was made with.
        feature_names: inputs of the table's branch, in order.
        normaliser: `FeatureNormaliser.to_dict()`.
        backbone: None for a network that never saw a picture.
        horizons: names of the horizons trained for.
        data: the rows fitted on.
        scores: on the validation rows, by name ("log_loss", "mae", "sigma").
        finish_scores: the same of the network of head "finish" beside one of places; None where there is none.
        versions: of the packages that matter to the numbers.
        created_at: UTC, ISO 8601.
        tensors_sha256: of `model.safetensors`; filled in by `save_model`.
    """

    format_version: int = FORMAT_VERSION
    head: Head
    output_dim: int = Field(ge=1)
    fusion: FusionConfig
    picture: PictureConfig
    features: FeatureConfig
    training: TrainingConfig
    feature_names: tuple[str, ...] = Field(min_length=1)
    normaliser: dict[str, Any]
    backbone: BackboneRecord | None
    horizons: tuple[str, ...] = Field(min_length=1)
    data: DataRange
    scores: dict[str, float] = {}
    finish_scores: dict[str, float] | None = None
    versions: dict[str, str] = Field(default_factory=_versions)
    created_at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    tensors_sha256: str = ""

    def restore_normaliser(self) -> FeatureNormaliser:
        """The normaliser the network was fitted with."""
        return FeatureNormaliser.from_dict(self.normaliser)


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
    folder = Path(folder)
    _check_agreement(model, manifest, finish)
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise ArtefactError(
            f"{folder} is there and is no model folder (it has no {MANIFEST}), so it is not replaced. "
            "Choose another folder, or remove it yourself."
        )
    tensors = model.head_state_dict()
    if finish is not None:
        tensors |= {_FINISH + name: tensor for name, tensor in finish.head_state_dict().items()}
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


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a model folder, without its tensors.

    Raises:
        ArtefactError: if there is none, or it cannot be read, or its format version is another.
    """
    path = Path(folder) / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtefactError(
            f"{path}: cannot be read ({error.strerror}). Give a folder that `f1-predict train` has written."
        ) from error
    except ValueError as error:
        raise ArtefactError(f"{path}: is no JSON ({error}). {_RETRAIN}") from error
    found = values.get("format_version") if isinstance(values, dict) else None
    if found != FORMAT_VERSION:
        raise ArtefactError(f"{path}: the format version must be {FORMAT_VERSION}, got {found!r}. {_RETRAIN}")
    try:
        return Manifest.model_validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ArtefactError(f"{path}: '{key}': {first['msg']}. {_RETRAIN}") from error


def load_model(folder: str | Path, *, encoder: VisionEncoder | None = None) -> SavedModel:
    """A network as it was saved, with what was saved beside it.

    Args:
        folder: written by `save_model`.
        encoder: the backbone to attach; None makes the one that the manifest names, so that a picture can never be
            seen through another. A network fitted without pictures has none.

    Raises:
        WeightsError: if the backbone is not the one the network was fitted with, or is not to be had.
        ArtefactError: if a file is missing or damaged, or the tensors do not fit the manifest.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    tensors = _read_tensors(folder / TENSORS, manifest)
    if encoder is None and manifest.backbone is not None:
        wanted = manifest.backbone
        device = "cuda" if wanted.runtime == "cuda-autocast" else "cpu"
        encoder = VisionEncoder(weights=wanted.name, seed=wanted.seed, device=device, runtime=wanted.runtime)
    if encoder is not None:
        check_backbone(manifest, encoder, folder)
    models = {"": _network(manifest, manifest.head, manifest.output_dim, encoder)}
    if manifest.finish_scores is not None:
        models[_FINISH] = _network(manifest, "finish", 1, encoder)
    expected = {
        prefix + name: tuple(tensor.shape)
        for prefix, model in models.items()
        for name, tensor in model.head_state_dict().items()
    }
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        name = next(name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name))
        raise ArtefactError(
            f"{folder / TENSORS}: tensor '{name}' must have shape {expected.get(name)} by the manifest, "
            f"got {found.get(name)}. {_RETRAIN}"
        )
    for prefix, model in models.items():
        model.load_head_state_dict({name: tensors[prefix + name] for name in model.head_state_dict()})
        model.eval_mode()
    return SavedModel(models[""], manifest, models.get(_FINISH))


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


def check_backbone(manifest: Manifest, encoder: VisionEncoder, folder: str | Path) -> None:
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


def _read_tensors(path: Path, manifest: Manifest) -> dict[str, torch.Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror}). {_RETRAIN}") from error
    if hashlib.sha256(content).hexdigest() != manifest.tensors_sha256:
        raise ArtefactError(
            f"{path}: is damaged or belongs to another manifest: its SHA-256 is not the one in {MANIFEST}. "
            f"Copy the whole folder again, or: {_RETRAIN}"
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise ArtefactError(f"{path}: is no safetensors file ({error}). {_RETRAIN}") from error
