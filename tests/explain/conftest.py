"""A network that has learnt a little from simulated races, with the shipped backbone, to be asked for explanations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from f1_predict import features
from f1_predict.config import Config, Head, PictureConfig, SimulatorConfig
from f1_predict.explain import Explanation, explain
from f1_predict.horizon import Horizon, RaceArchive
from f1_predict.models.forecaster import Forecaster, RaceForecaster
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.schemas import Tables
from f1_predict.sources.simulator import simulate
from f1_predict.training.rows import LabelledRows
from f1_predict.training.train import EncodedDataset, train_network
from tests.forecasting.conftest import network, world  # noqa: F401

CARS, RACES = 10, 8
LEARNT = 6
"""Races of the season that the network learns from; the others are for questions."""


@dataclass(frozen=True)
class Learnt:
    """Simulated races and what has learnt from the first of them."""

    tables: Tables
    archive: RaceArchive
    forecaster: Forecaster

    @property
    def new_races(self) -> list[str]:
        return self.archive.race_ids[LEARNT:]

    def explained(
        self, forecaster: RaceForecaster, race_id: str, horizon: Horizon, row: int, target: str | None = None
    ) -> Explanation:
        snapshot = self.archive.snapshot(race_id, horizon)
        values = features.RaceFeatures.of(snapshot, forecaster.feature_config).values(snapshot)
        forecast = forecaster.predict_from_features(snapshot, values).row(row, named=True) | {"model": "m"}
        return explain(forecaster, snapshot, snapshot.driver_ids[row], values, forecast, target)


@pytest.fixture(scope="session")
def learnt() -> Learnt:
    torch.set_num_threads(1)
    tables = simulate(1, 3, SimulatorConfig(races_per_season=RACES, teams=CARS // 2))
    archive = RaceArchive(tables)
    encoder, generator = VisionEncoder(weights="trace"), SpeedTraceGenerator(config=PictureConfig())
    cuts = [
        (race_id, archive.horizon_at(race_id, fraction))
        for race_id in archive.race_ids[:LEARNT]
        for fraction in (0.3, 0.6, 0.85)
    ]
    rows, embeddings, shown = [], [], []
    for race_id, horizon in cuts:
        snapshot = archive.snapshot(race_id, horizon)
        drawn = generator.render(snapshot)
        vectors = np.zeros((CARS, encoder.feature_dim), dtype=np.float32)
        vectors[drawn.present] = encoder.encode_arrays(drawn.images[drawn.present])
        embeddings.append(vectors)
        shown.append(drawn.present)
        rows.append(archive.rows("results", race_id).sort("driver_id"))
    results = pl.concat(rows)
    labelled = LabelledRows(
        cache_file=Path("memory"),
        feature_names=features.FEATURE_NAMES,
        race_ids=results["race_id"].to_list(),
        driver_ids=results["driver_id"].to_list(),
        horizons=[horizon.name for _, horizon in cuts for _ in range(CARS)],
        positions=results["position"].cast(pl.Int64).to_numpy(),
        has_finished=results["classified"].to_numpy(),
        n_starters=np.full(results.height, CARS),
        tabular_raw=features.build_many(archive, cuts).select(features.FEATURE_NAMES).to_numpy(),
    )
    data = EncodedDataset(labelled, np.concatenate(embeddings), np.concatenate(shown))
    network = train_network(data, data, Config(), encoder=encoder)
    return Learnt(tables, archive, Forecaster(network.model, encoder, network.normaliser, generator, Config().features))


def with_head(learnt: Learnt, head: Head) -> Forecaster:
    """The same with a network of another head, untrained: enough to be asked."""
    known = learnt.forecaster
    model = network(head, CARS, known.encoder.feature_dim, known.encoder)
    sigma = 0.15 if head == "position_regression" else None
    return Forecaster(model, known.encoder, known.normaliser, known.generator, known.feature_config, sigma)
