"""What the benchmark works on: real races where a store is there, simulated ones elsewhere, and rows to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from f1_predict import features
from f1_predict.config import Config
from f1_predict.horizon import Horizon, RaceArchive
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.sources.simulator import simulate
from f1_predict.tables import read_store
from f1_predict.training.cut_embeddings import CutEmbeddings
from f1_predict.training.cut_table import CutTable, build_cut_table
from f1_predict.training.fit import fit
from f1_predict.training.rows import TrainingRows

FRACTIONS = (0.1, 0.25, 0.5)
CONFIG = Config()
Cut = tuple[str, Horizon]


@dataclass(frozen=True)
class World:
    """Races, in the order of time, and where the benchmark may write."""

    archive: RaceArchive
    told: str
    work: Path

    @classmethod
    def open(cls, store: Path, work: Path, seasons: int) -> World:
        """The races of a store, or simulated seasons where there is none."""
        if store.is_dir():
            archive = RaceArchive(read_store(store))
            first, last = archive.races["season"].min(), archive.races["season"].max()
            return cls(archive, f"real races {first}-{last}", work)
        return cls(RaceArchive(simulate(seasons, 1)), f"{seasons} simulated seasons (seed 1)", work)

    def races_with_laps(self) -> list[str]:
        """In the order of time."""
        return [race_id for race_id in self.archive.race_ids if self.archive.laps_completed(race_id) > 20]

    def cuts(self, rows: int, before: int | None = None) -> list[Cut]:
        """The last cuts with about so many rows, at FRACTIONS of each race, leaving out the last `before` races."""
        found: list[Cut] = []
        count = 0
        for race_id in reversed(self.races_with_laps()[: -before if before else None]):
            if count >= rows:
                break
            horizons = dict.fromkeys(self.archive.horizon_at(race_id, fraction) for fraction in reversed(FRACTIONS))
            found += [(race_id, horizon) for horizon in horizons]
            count += len(horizons) * self.archive.rows("entries", race_id).height
        return found[::-1]


@dataclass(frozen=True)
class Learner:
    """Rows of some cuts as the network takes them."""

    table: CutTable
    normaliser: FeatureNormaliser
    places: int

    @classmethod
    def of(cls, world: World, cuts: list[Cut], pictures: list[CutEmbeddings]) -> Learner:
        """Features and labels of cuts whose pictures are encoded."""
        table = build_cut_table(
            world.archive,
            cuts,
            dict(zip(cuts, pictures, strict=True)),
            pictures[0].embeddings.shape[1],
            CONFIG.features,
        )
        normaliser = FeatureNormaliser.fit(table.table, features.FEATURE_NAMES)
        return cls(table, normaliser, int(table.cuts["starters"].max() or 0))  # type: ignore[call-overload]

    def rows(self, table: CutTable, embeddings: np.ndarray | None = None) -> TrainingRows:
        """Rows of a table, with other embeddings of its pictures where they are given."""
        every = np.arange(len(table.positions))
        shown = table.picture_rows >= 0
        found = np.zeros((len(every), table.embeddings.shape[1]), dtype=np.float32)
        found[shown] = (table.embeddings if embeddings is None else embeddings)[table.picture_rows[shown]]
        starters = np.repeat(table.cuts["starters"].to_numpy(), table.cuts["starters"].to_numpy())
        return TrainingRows(
            embeddings=found,
            has_image=shown,
            tabular=self.normaliser.transform(table.table),
            targets=np.clip(table.positions - 1, 0, self.places - 1),
            n_starters=starters,
            race_ids=[str(row) for row in every],
            driver_ids=[str(row) for row in every],
        )

    def train(self, rows: TrainingRows, validation: TrainingRows | None, epochs: int) -> MultiModalFusionModel:
        """The design's network, fitted."""
        model = MultiModalFusionModel(512, len(features.FEATURE_NAMES), self.places, head="position")
        config = CONFIG.training.model_copy(update={"epochs": epochs, "patience": 4 if validation else None})
        fit(model, rows, validation, config)
        return model
