"""From rows of many cuts to trained networks over whole fields: the one way in which any of them is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f1_predict import features
from f1_predict.config import Config
from f1_predict.errors import ConfigError
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.training.artefacts import save_fields
from f1_predict.training.cut_table import CutTable, Integers
from f1_predict.training.field_fit import EpochCallback, FieldRows, TrainedField, fit_field
from f1_predict.training.manifests import DataRange, FieldManifest
from f1_predict.training.train import backbone_record

Floats = NDArray[np.float64]
NAMES = (*features.FEATURE_NAMES, *features.IN_RACE_NAMES)


@dataclass(frozen=True)
class TrainedFields:
    """Fitted networks and what it takes to feed them.

    Attributes:
        fit: the networks, in evaluation mode, and the history of their fit.
        normaliser: fitted on the training rows.
        train, held_out: numbers of the cuts that were learnt from, and that chose the epochs.
    """

    fit: TrainedField
    normaliser: FeatureNormaliser
    train: Integers
    held_out: Integers

    def rows(self, table: CutTable, cuts: Integers) -> FieldRows:
        """Cuts of a table as `fit` forecasts them, without their labels."""
        return _rows(table, cuts, self.normaliser, labelled=False)

    def predict(self, table: CutTable, cuts: Integers) -> tuple[Floats, Floats]:
        """Forecast cuts of a table, whose labels are not looked at; see TrainedField.predict."""
        return self.fit.predict(self.rows(table, cuts))


def train_fields(
    table: CutTable,
    learned: Integers,
    always: NDArray[np.bool_],
    config: Config,
    on_epoch: EpochCallback | None = None,
) -> TrainedFields:
    """Fit the networks of `config.field`.

    The latest season alone chooses the epochs: such networks are to miss no more of the seasons than they must.

    Args:
        table: the rows.
        learned: numbers of the cuts to learn from, all with results, in the order of time.
        always: bool (len(learned),), see FieldRows.
        config: all settings.
        on_epoch: told of every epoch.

    Raises:
        ConfigError: if the cuts are of fewer than two seasons.
    """
    seasons = table.cuts["season"].to_numpy()[learned]
    if len(np.unique(seasons)) < 2:
        raise ConfigError(
            f"there must be two seasons with results or more, the latest of them to choose the epoch by; got "
            f"{np.unique(seasons).tolist()}. Ingest more, or choose more."
        )
    latest = seasons == seasons.max()
    train, held_out = learned[~latest], learned[latest]
    normaliser = FeatureNormaliser.fit(table.known(table.rows_of(train)), NAMES)
    # of the other moments each epoch sees a part
    rows = _rows(table, train, normaliser, always=always[~latest])
    fit = fit_field(rows, _rows(table, held_out, normaliser), config.field, on_epoch)
    return TrainedFields(fit, normaliser, train, held_out)


def _rows(
    table: CutTable,
    cuts: Integers,
    normaliser: FeatureNormaliser,
    *,
    labelled: bool = True,
    always: NDArray[np.bool_] | None = None,
) -> FieldRows:
    """Rows to learn from, or to forecast: those have no labels (zeros)."""
    rows = table.rows_of(cuts)
    return FieldRows(
        tabular=normaliser.transform(table.known(rows)),
        embeddings=table.embeddings_of(rows),
        has_image=table.has_image(rows),
        positions=np.where(labelled, table.positions[rows], 0),
        classified=np.where(labelled, table.classified[rows], False),
        fields=np.concatenate([[0], np.cumsum(table.starters_of(cuts))]).astype(np.int64),
        always=always,
    )


def save_trained(folder: Path, trained: TrainedFields, table: CutTable, encoder: VisionEncoder, config: Config) -> Path:
    """Write trained networks as a model folder (see artefacts).

    Args:
        folder: to be made or replaced.
        trained: the networks.
        table: the rows that they were fitted on.
        encoder: whose embeddings these rows have.
        config: all its settings.
    """
    cuts = table.cuts[trained.train]
    races = cuts["race_id"]
    manifest = FieldManifest(
        field=config.field,
        image_dim=trained.fit.networks[0].image_dim,
        picture=config.picture,
        features=config.features,
        feature_names=NAMES,
        normaliser=trained.normaliser.to_dict(),
        backbone=backbone_record(encoder, config),
        horizons=tuple(cuts["horizon"].unique().sort()),
        data=DataRange(
            first_race_id=races[0],
            last_race_id=races[-1],
            seasons=tuple(cuts["season"].unique().sort()),
            validation_seasons=tuple(table.cuts[trained.held_out]["season"].unique().sort()),
            races=races.n_unique(),
            rows=int(cuts["starters"].sum()),
        ),
        scores=_scores(trained, table),
    )
    return save_fields(folder, trained.fit.networks, manifest)


def _scores(trained: TrainedFields, table: CutTable) -> dict[str, float]:
    """On the held-out cuts, mean over cars."""
    rows = table.rows_of(trained.held_out)
    position, finish = trained.predict(table, trained.held_out)
    places, classified = table.positions[rows], table.classified[rows]
    expected = position @ np.arange(1, position.shape[1] + 1)
    right = position[np.arange(len(rows)), places - 1]
    return {
        "log_loss": float(-np.log(right).mean()),
        "mae": float(np.abs(expected - places).mean()),
        "finish_log_loss": float(-np.log(np.where(classified, finish, 1.0 - finish)).mean()),
    }
