"""From a dataset file to a trained fusion network: the one way in which any of them is trained.

Pictures are encoded once; training and validation rows are read, test rows are not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from f1_predict.config import Config
from f1_predict.errors import ConfigError
from f1_predict.models.field_forecaster import FieldForecaster
from f1_predict.models.forecaster import Forecaster, RaceForecaster
from f1_predict.models.multimodal_dataset import MultiModalDataset
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.scale import Engine
from f1_predict.training.artefacts import load_fields, load_model, save_model
from f1_predict.training.embeddings import EmbeddingCache, encode_dataset
from f1_predict.training.fit import EpochReport, FitResult, fit, predict
from f1_predict.training.manifests import BackboneRecord, DataRange, FieldManifest, Manifest, read_manifest
from f1_predict.training.progress import ProgressCallback
from f1_predict.training.rows import LabelledRows, TrainingRows, rows_from_dataset

Floats = NDArray[np.float32]
Booleans = NDArray[np.bool_]
OnEpoch = Callable[[EpochReport], None]


@dataclass(frozen=True)
class EncodedDataset:
    """A dataset's rows with their encoded pictures, row for row.

    Attributes:
        dataset: rows with features and labels.
        embeddings: float32 (n, feature_dim), zeros where there is no picture.
        has_image: bool (n,).
    """

    dataset: LabelledRows
    embeddings: Floats
    has_image: Booleans

    def __len__(self) -> int:
        return len(self.has_image)

    def take(self, rows: NDArray[np.int64]) -> EncodedDataset:
        """The rows of these numbers, in this order."""
        return EncodedDataset(self.dataset.take(rows), self.embeddings[rows], self.has_image[rows])

    def without_pictures(self, share: float, seed: int) -> EncodedDataset:
        """A copy in which a random share of all rows has lost its picture."""
        lost = np.random.default_rng(seed).random(len(self.has_image)) < share
        kept = self.has_image & ~lost
        return EncodedDataset(self.dataset, np.where(kept[:, None], self.embeddings, 0.0).astype(np.float32), kept)


def encode_split(
    cache_file: Path,
    image_dir: Path,
    split: str,
    encoder: VisionEncoder,
    cache: EmbeddingCache,
    config: Config,
    progress: ProgressCallback | None = None,
    engine: Engine | None = None,
) -> EncodedDataset:
    """Read the rows of one split and encode their pictures below `image_dir` (those not in the cache yet).

    Raises:
        ArtefactError: if the dataset file cannot be read or has no rows of this split.
        ConfigError: if the dataset was made with other settings of pictures or features than `config` has.
    """
    dataset = MultiModalDataset(cache_file, image_dir, split=split)
    for stage, made_with in dataset.settings.items():
        asked = getattr(config, stage).model_dump(mode="json")
        different = [key for key in asked if asked[key] != made_with.get(key)]
        if different:
            key = different[0]
            raise ConfigError(
                f"{cache_file} was made with {stage}.{key} = {made_with.get(key)!r}, the settings say {asked[key]!r}. "
                "Build the dataset again with these settings, or give those it was made with."
            )
    embeddings, has_image = encode_dataset(dataset, encoder, cache, config.encoder.batch_size, progress, engine)
    return EncodedDataset(LabelledRows.of(dataset), embeddings, has_image)


@dataclass(frozen=True)
class TrainedNetwork:
    """A fitted network and what it takes to feed it.

    Attributes:
        model: in evaluation mode.
        normaliser: fitted on the training rows.
        result: history of the fit.
        sigma: root mean square error of the regression head on validation rows; None for the other heads.
    """

    model: MultiModalFusionModel
    normaliser: FeatureNormaliser
    result: FitResult
    sigma: float | None

    def predict(self, rows: EncodedDataset, *, use_pictures: bool = True) -> NDArray[np.float64]:
        """The network's output for rows, float64 (n, output_dim); `use_pictures` False masks all pictures."""
        return predict(self.model, _rows(rows, self.normaliser, self.model, use_pictures))


def _rows(
    encoded: EncodedDataset, normaliser: FeatureNormaliser, model: MultiModalFusionModel, use_pictures: bool
) -> TrainingRows:
    has_image = encoded.has_image if use_pictures else np.zeros_like(encoded.has_image)
    embeddings = encoded.embeddings if use_pictures else None
    return rows_from_dataset(encoded.dataset, normaliser, model.head, embeddings, has_image)


def train_network(
    train: EncodedDataset,
    validation: EncodedDataset,
    config: Config,
    *,
    encoder: VisionEncoder | None = None,
    use_pictures: bool = True,
    on_epoch: OnEpoch | None = None,
) -> TrainedNetwork:
    """Fit the design's network.

    The number of classes is the largest field of these rows. Features and embeddings are standardised with the
    statistics of the training rows.

    Args:
        train, validation: rows of different seasons.
        config: settings of network and training.
        encoder: the backbone to attach; None for a network that is given embeddings only.
        use_pictures: False trains the same network with every picture masked.
        on_epoch: told of every epoch.

    Raises:
        LabelError: naming race and driver of a position outside the classes.
    """
    fields = np.concatenate([train.dataset.n_starters, validation.dataset.n_starters])
    head = config.fusion.head
    normaliser = FeatureNormaliser.fit(train.dataset.tabular_raw, train.dataset.feature_names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        model = MultiModalFusionModel(
            image_feature_dim=config.fusion.image_feature_dim,
            tabular_input_dim=len(train.dataset.feature_names),
            output_dim=int(fields.max()) if head == "position" else 1,
            head=head,
            vision_encoder=encoder,
            tabular_dim=config.fusion.tabular_dim,
            hidden=config.fusion.hidden,
            dropout=config.fusion.dropout,
        )
    result = fit(
        model,
        _rows(train, normaliser, model, use_pictures),
        _rows(validation, normaliser, model, use_pictures),
        config.training,
        on_epoch,
    )
    sigma = None
    if head == "position_regression":
        held_out = _rows(validation, normaliser, model, use_pictures)
        sigma = float(np.sqrt(np.mean((predict(model, held_out)[:, 0] - held_out.targets) ** 2)))
    return TrainedNetwork(model, normaliser, result, sigma)


def for_finish(config: Config) -> Config:
    """Settings of the network that stands beside one of places: it says who will be classified, from the same rows."""
    config = config.changed("fusion", {"head": "finish"})
    return config.changed("training", {"batch_size": config.training.finish_batch_size})


def _seasons(rows: LabelledRows) -> tuple[int, ...]:
    return tuple(sorted({int(race_id.split("_")[0]) for race_id in rows.race_ids}))


def save_network(
    folder: Path,
    network: TrainedNetwork,
    train: EncodedDataset,
    held_out: EncodedDataset,
    encoder: VisionEncoder,
    config: Config,
    finish: TrainedNetwork | None = None,
) -> Path:
    """Write a trained network as a model folder (see artefacts).

    Args:
        folder: to be made or replaced.
        network: the model.
        train: the rows that it was fitted on.
        held_out: its validation rows.
        encoder: whose embeddings these rows have.
        config: all its settings.
        finish: trained with `for_finish` on the same rows, beside a network of places.
    """
    rows = train.dataset
    scores = _scores(network)
    if network.sigma is not None:
        scores["sigma"] = network.sigma
    manifest = Manifest(
        head=network.model.head,
        output_dim=network.model.output_dim,
        fusion=config.fusion,
        picture=config.picture,
        features=config.features,
        training=config.training,
        feature_names=tuple(rows.feature_names),
        normaliser=network.normaliser.to_dict(),
        backbone=backbone_record(encoder, config),
        horizons=tuple(sorted(set(rows.horizons))),
        data=DataRange(
            first_race_id=rows.race_ids[0],
            last_race_id=rows.race_ids[-1],
            seasons=_seasons(rows),
            validation_seasons=_seasons(held_out.dataset),
            races=len(set(rows.race_ids)),
            rows=len(rows),
        ),
        scores=scores,
        finish_scores=None if finish is None else _scores(finish),
    )
    return save_model(folder, network.model, manifest, None if finish is None else finish.model)


def _scores(network: TrainedNetwork) -> dict[str, float]:
    """On the validation rows, of the epoch that was kept."""
    validation = network.result.history[network.result.best_epoch - 1].validation
    return {} if validation is None else {k: v for k, v in asdict(validation).items() if v is not None}


def backbone_record(encoder: VisionEncoder, config: Config) -> BackboneRecord:
    """What a manifest says of the backbone that its network was fitted with."""
    return BackboneRecord(
        identity=encoder.identity,
        name=encoder.weights_name,
        note=encoder.weights_note,
        seed=config.encoder.seed,
        runtime=encoder.runtime,
    )


def load_forecaster(folder: Path, encoder: VisionEncoder | None = None) -> RaceForecaster:
    """What forecasts from a model folder of either kind.

    Args:
        folder: written by `save_network` or `train_field.save_trained`.
        encoder: the backbone that the model was trained with; None makes the one that its manifest names.

    Raises:
        ArtefactError: if the folder cannot be read.
        WeightsError: if the backbone is not the one that the model was trained with, or is not to be had.
        FeatureError: if it was trained on other features than this version computes.
    """
    if isinstance(read_manifest(folder), FieldManifest):
        fields = load_fields(folder, encoder=encoder)
        generator = SpeedTraceGenerator(config=fields.manifest.picture)
        normaliser = fields.manifest.restore_normaliser()
        return FieldForecaster(fields.networks, fields.encoder, normaliser, generator, fields.manifest.features)
    model, manifest, finish = load_model(folder, encoder=encoder)
    generator = SpeedTraceGenerator(config=manifest.picture)
    normaliser, sigma = manifest.restore_normaliser(), manifest.scores.get("sigma")
    return Forecaster(model, model.vision_encoder, normaliser, generator, manifest.features, sigma, finish)
