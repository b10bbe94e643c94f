"""A small simulated world on disk, as a user has it: a store of short races and model folders, opened once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from f1_predict import features
from f1_predict.api import Predictor, open_predictor
from f1_predict.config import FeatureConfig, FusionConfig, Head, PictureConfig, SimulatorConfig, TrainingConfig
from f1_predict.horizon import AfterLap, Horizon, PreRace, RaceArchive
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.schemas import Tables
from f1_predict.sources.simulator import simulate
from f1_predict.tables import write_store
from f1_predict.training.artefacts import save_model
from f1_predict.training.manifests import BackboneRecord, DataRange, Manifest

LAPS, CARS = 8, 6
RACE = "2101_race_3"


@dataclass(frozen=True)
class World:
    """Three races of six cars and eight laps; `data/processed` and `artifacts/...` below `folder`."""

    folder: Path
    tables: Tables
    archive: RaceArchive

    @property
    def data(self) -> Path:
        return self.folder / "data" / "processed"

    @property
    def model(self) -> Path:
        return self.folder / "artifacts" / "model"

    @property
    def finish_model(self) -> Path:
        return self.folder / "artifacts" / "finish"

    def arguments(self, model: Path | None = None) -> list[str]:
        return ["--data", str(self.data), "--model", str(model or self.model)]


def short_races(races: int = 3) -> Tables:
    """Simulated races, cut off after a few laps: enough to be forecast at every lap, quickly."""
    tables = simulate(1, 5, SimulatorConfig(first_season=2101, races_per_season=races, teams=CARS // 2))
    return replace(tables, laps=tables.laps.filter(pl.col("lap") <= LAPS))


def moments(archive: RaceArchive, race_id: str) -> list[Horizon]:
    """Before a race and after each of its laps."""
    return [PreRace(), *(AfterLap(lap) for lap in range(1, archive.laps_completed(race_id) + 1))]


def normaliser_of(archive: RaceArchive) -> FeatureNormaliser:
    """Fitted on all moments of the last race."""
    cuts = [(RACE, horizon) for horizon in moments(archive, RACE)]
    return FeatureNormaliser.fit(
        features.build_many(archive, cuts).select(features.FEATURE_NAMES).to_numpy(), features.FEATURE_NAMES
    )


def network(head: Head, classes: int, width: int, encoder: object) -> MultiModalFusionModel:
    """Seeded weights, larger than usual: an untrained network would say nearly the same of everybody."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = MultiModalFusionModel(
            image_feature_dim=width,
            tabular_input_dim=len(features.FEATURE_NAMES),
            output_dim=classes if head == "position" else 1,
            head=head,
            vision_encoder=encoder,  # type: ignore[arg-type]
        )
    with torch.no_grad():
        for parameter in model.fusion_network.parameters():
            parameter.mul_(2.0)
    return model


def write_model(folder: Path, archive: RaceArchive, head: Head, **changes: object) -> Path:
    """An untrained model as a folder; one of places has a network of who is classified beside it, as usual."""
    encoder = VisionEncoder(weights="random")
    finish = None if head == "finish" else network("finish", CARS, encoder.feature_dim, encoder)
    values: dict[str, object] = {
        "head": head,
        "output_dim": CARS if head == "position" else 1,
        "fusion": FusionConfig(head=head),
        "picture": PictureConfig(),
        "features": FeatureConfig(),
        "training": TrainingConfig(),
        "feature_names": features.FEATURE_NAMES,
        "normaliser": normaliser_of(archive).to_dict(),
        "backbone": BackboneRecord(identity=encoder.identity, name=encoder.weights_name, note=encoder.weights_note),
        "horizons": ("pre_race", "lap_4"),
        "data": DataRange(first_race_id="2100_race_1", last_race_id="2100_race_9", seasons=(2100,), races=9, rows=54),
        "finish_scores": None if finish is None else {},
    } | changes
    return save_model(
        folder,
        network(head, CARS, encoder.feature_dim, encoder),
        Manifest(**values),  # type: ignore[arg-type]
        finish,
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("forecasting"), tables := short_races(), RaceArchive(tables))
    write_store(made.tables, made.data, source="simulated")
    write_model(made.model, made.archive, "position")
    write_model(made.finish_model, made.archive, "finish")
    return made


@pytest.fixture(scope="session")
def predictor(world: World) -> Predictor:
    return open_predictor(world.model, world.data)


def present_share(rows: pl.DataFrame) -> float:
    """Share of the rows with a picture."""
    return float(np.mean(rows["has_image"].to_numpy()))
