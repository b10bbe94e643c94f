"""What a model folder says of itself: how its network was made, from which rows, and what it scored.

Knows nothing of tensors.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from f1_predict import __version__
from f1_predict.config import FeatureConfig, FieldConfig, FusionConfig, Head, PictureConfig, Runtime, TrainingConfig
from f1_predict.errors import ArtefactError
from f1_predict.models.normaliser import FeatureNormaliser

FORMAT_VERSION = 1
"""Raised whenever a folder written before could no longer be read rightly."""
MANIFEST = "manifest.json"
RETRAIN = "Train the model again with `f1-predict train`, or `train-field`."


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


class BaseManifest(_Frozen):
    """What every model folder says of itself.

    Attributes:
        format_version: of the folder's layout.
        kind: of network: "fusion", the design's, forecasts car by car; "field" forecasts all cars of a race together.
        picture, features: the settings it was made with.
        feature_names: inputs of the table, in order.
        normaliser: `FeatureNormaliser.to_dict()`.
        backbone: None for a network that never saw a picture.
        horizons: names of the horizons trained for.
        data: the rows fitted on.
        scores: on the validation rows, by name ("log_loss", "mae", "sigma").
        versions: of the packages that matter to the numbers.
        created_at: UTC, ISO 8601.
        tensors_sha256: of `model.safetensors`; filled in where the folder is written.
    """

    format_version: int = FORMAT_VERSION
    kind: Literal["fusion", "field"]
    picture: PictureConfig
    features: FeatureConfig
    feature_names: tuple[str, ...] = Field(min_length=1)
    normaliser: dict[str, Any]
    backbone: BackboneRecord | None
    horizons: tuple[str, ...] = Field(min_length=1)
    data: DataRange
    scores: dict[str, float] = {}
    versions: dict[str, str] = Field(default_factory=_versions)
    created_at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    tensors_sha256: str = ""

    def restore_normaliser(self) -> FeatureNormaliser:
        """The normaliser the network was fitted with."""
        return FeatureNormaliser.from_dict(self.normaliser)


class Manifest(BaseManifest):
    """Of the design's network.

    Attributes:
        head, output_dim: what the network forecasts, and its class count.
        fusion, training: the settings it was made with.
        finish_scores: the scores of the network of head "finish" beside one of places; None where there is none.
    """

    kind: Literal["fusion"] = "fusion"
    head: Head
    output_dim: int = Field(ge=1)
    fusion: FusionConfig
    training: TrainingConfig
    finish_scores: dict[str, float] | None = None


class FieldManifest(BaseManifest):
    """Of networks over whole fields.

    Attributes:
        field: the settings they were made with; `members` of them are in the folder.
        image_dim: width of the embeddings that they were made for.
    """

    kind: Literal["field"] = "field"
    backbone: BackboneRecord
    field: FieldConfig
    image_dim: int = Field(ge=1)


KINDS: dict[str, type[Manifest] | type[FieldManifest]] = {"fusion": Manifest, "field": FieldManifest}


def read_manifest(folder: str | Path) -> Manifest | FieldManifest:
    """The manifest of a model folder, of either kind, without its tensors.

    Raises:
        ArtefactError: if there is none, or it cannot be read, or its format version is another.
    """
    path = Path(folder) / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtefactError(
            f"{path}: cannot be read ({error.strerror}). Give a folder that `f1-predict train` or `train-field` wrote."
        ) from error
    except ValueError as error:
        raise ArtefactError(f"{path}: is no JSON ({error}). {RETRAIN}") from error
    found = values.get("format_version") if isinstance(values, dict) else None
    if found != FORMAT_VERSION:
        raise ArtefactError(f"{path}: the format version must be {FORMAT_VERSION}, got {found!r}. {RETRAIN}")
    kind = values.get("kind", "fusion")
    if kind not in KINDS:
        raise ArtefactError(f"{path}: 'kind' must be one of {', '.join(KINDS)}, got {kind!r}. {RETRAIN}")
    try:
        return KINDS[kind].model_validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ArtefactError(f"{path}: '{key}': {first['msg']}. {RETRAIN}") from error
