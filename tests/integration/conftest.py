"""One small simulated world, drawn and encoded once for all integration tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from f1_predict.config import Config
from f1_predict.horizon import RaceArchive
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.sources.simulator import simulate
from f1_predict.training.dataset_cache import build_dataset_cache
from f1_predict.training.drawing import DrawingSummary
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.split import cuts_of, split_seasons
from f1_predict.training.train import EncodedDataset, encode_split

HALF = 0.5


@dataclass(frozen=True)
class World:
    """Three simulated seasons of five races, cut before the race and at half distance."""

    config: Config
    archive: RaceArchive
    cache_file: Path
    pictures: Path
    summary: DrawingSummary
    encoder: VisionEncoder
    train: EncodedDataset
    validation: EncodedDataset
    test: EncodedDataset


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    config = Config().changed("simulator", {"races_per_season": 5, "teams": 9})
    config = config.changed("evaluation", {"fractions": (0.0, HALF), "bootstrap_draws": 200})
    config = config.changed("ensemble", {"threads": 1})
    archive = RaceArchive(simulate(3, 11, config.simulator))
    cuts = cuts_of(archive, split_seasons(archive.races["season"].to_list()), config.evaluation.fractions)
    cache_file = folder / "dataset_cache.json"
    pictures = folder / "speed_traces"
    summary = build_dataset_cache(archive, cuts, SpeedTraceGenerator(pictures), cache_file)
    encoder = VisionEncoder(weights="random")
    cache = EmbeddingCache(folder / "embeddings")
    parts = (
        encode_split(cache_file, pictures, split, encoder, cache, config) for split in ("train", "validation", "test")
    )
    return World(config, archive, cache_file, pictures, summary, encoder, *parts)
