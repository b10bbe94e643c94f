"""All rows that a backtest or `train-field` works on: every race cut at many moments, as arrays on disk.

Here features, encoded pictures and labels meet, cut by cut. Written once and mapped into memory by the processes
that fit models, so that they share one copy. Knows nothing of models or seasons' splits.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict import features
from f1_predict.config import Config, FeatureConfig
from f1_predict.errors import ArtefactError
from f1_predict.files import temporary_sibling
from f1_predict.horizon import Horizon, RaceArchive
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.scale import Engine
from f1_predict.training.cut_embeddings import CutEmbeddings, embed_cuts
from f1_predict.training.embeddings import EmbeddingCache, Encoder
from f1_predict.training.progress import Meter, ProgressCallback

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Cut = tuple[str, Horizon]

ARRAYS = ("table", "in_race", "embeddings", "picture_rows", "positions", "classified")
CUTS_FILE = "cuts.parquet"


@dataclass(frozen=True)
class CutTable:
    """c cuts of races, n rows of race x driver x cut; rows of a cut stand together, in the order of the entries.

    Attributes:
        cuts: one row per cut: race_id, season (Int32), horizon (text), lap (Int32, 0 before the race), first_row and
            starters (Int64), in the order of time.
        table: float64 (n, F), features.FEATURE_NAMES, NaN = unknown.
        in_race: float64 (n, G), features.IN_RACE_NAMES, NaN = unknown.
        embeddings: float32 (m, feature_dim), of the pictures there are.
        picture_rows: int64 (n,), row in `embeddings`, -1 without a picture.
        positions: int64 (n,), finishing position from 1; 0 where the race has no result yet.
        classified: bool (n,), False where the race has no result yet.
    """

    cuts: pl.DataFrame
    table: Floats
    in_race: Floats
    embeddings: NDArray[np.float32]
    picture_rows: Integers
    positions: Integers
    classified: NDArray[np.bool_]

    def rows_of(self, cuts: Integers) -> Integers:
        """The numbers of the rows of some cuts, cut after cut."""
        first, starters = self._column("first_row"), self._column("starters")
        parts = [np.arange(first[cut], first[cut] + starters[cut]) for cut in cuts]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])

    def starters_of(self, cuts: Integers) -> Integers:
        """Cars of each of some cuts."""
        return self._column("starters")[cuts]

    def _column(self, name: str) -> Integers:
        return self.cuts[name].to_numpy()

    def known(self, rows: Integers) -> Floats:
        """All features of some rows: float64 (len(rows), F + G), NaN = unknown."""
        return np.hstack([self.table[rows], self.in_race[rows]])

    def has_image(self, rows: Integers) -> NDArray[np.bool_]:
        """Whether rows have a picture."""
        return np.asarray(self.picture_rows[rows] >= 0, dtype=np.bool_)

    def embeddings_of(self, rows: Integers) -> NDArray[np.float32]:
        """float32 (len(rows), feature_dim), zeros without a picture."""
        found = np.zeros((len(rows), self.embeddings.shape[1]), dtype=np.float32)
        has_image = self.has_image(rows)
        found[has_image] = self.embeddings[self.picture_rows[rows[has_image]]]
        return found

    def write(self, folder: Path) -> None:
        """Write as a folder that is complete or not there.

        Raises:
            ArtefactError: if it cannot be written there.
        """
        part = temporary_sibling(folder)
        try:
            part.mkdir(parents=True)
            try:
                self.cuts.write_parquet(part / CUTS_FILE)
                for name in ARRAYS:
                    np.save(part / f"{name}.npy", getattr(self, name), allow_pickle=False)
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            raise ArtefactError(
                f"{folder}: cannot be written ({error.strerror}). Choose a place with room that can be written to."
            ) from error

    @classmethod
    def read(cls, folder: Path) -> CutTable:
        """Map a written table into memory; what is not used is not read.

        Raises:
            ArtefactError: if it is not there, or damaged.
        """
        try:
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
            return cls(pl.read_parquet(folder / CUTS_FILE), **arrays)
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise ArtefactError(f"{folder}: cannot be read ({error}). Remove it; it is made again.") from error


def write_cut_table(
    folder: Path,
    archive: RaceArchive,
    cuts: Sequence[Cut],
    pictured: Sequence[Cut],
    encoder: Encoder,
    cache: EmbeddingCache,
    config: Config,
    progress: ProgressCallback | None = None,
    engine: Engine | None = None,
) -> None:
    """Leave all rows in `folder`, unless it is there already: then nothing is done. Otherwise as `make_cut_table`."""
    if not folder.is_dir():
        make_cut_table(archive, cuts, pictured, encoder, cache, config, progress, engine).write(folder)


def make_cut_table(
    archive: RaceArchive,
    cuts: Sequence[Cut],
    pictured: Sequence[Cut],
    encoder: Encoder,
    cache: EmbeddingCache,
    config: Config,
    progress: ProgressCallback | None = None,
    engine: Engine | None = None,
) -> CutTable:
    """Draw and encode what the cache lacks, and compute features: all rows of some cuts.

    Args:
        archive: the races.
        cuts: all cuts, each once, in the order of time.
        pictured: those of them whose pictures are wanted.
        encoder, cache: of the pictures.
        config: settings of pictures, features and encoder.
        progress: told of the pictures encoded, then of the cuts done.
        engine: draws and encodes, see `embed_cuts`.

    Raises:
        NotFoundError, HorizonError: if a race is not there or does not reach its cut.
        PictureError: if a picture cannot be drawn.
        ArtefactError: if something cannot be written.
    """
    generator = SpeedTraceGenerator(config=config.picture)
    found = embed_cuts(archive, pictured, generator, encoder, cache, config.encoder.batch_size, progress, engine)
    pictures = dict(zip(pictured, found, strict=True))
    return build_cut_table(archive, cuts, pictures, encoder.feature_dim, config.features, progress)


def build_cut_table(
    archive: RaceArchive,
    cuts: Sequence[Cut],
    pictures: Mapping[Cut, CutEmbeddings],
    feature_dim: int,
    config: FeatureConfig,
    progress: ProgressCallback | None = None,
) -> CutTable:
    """Features, encoded pictures and labels of some cuts.

    Args:
        archive: the races; those without results give rows without labels.
        cuts: in the order of time, each once.
        pictures: of those cuts that have any.
        feature_dim: of the embeddings.
        config: settings of the features.
        progress: told of the cuts done.

    Raises:
        NotFoundError, HorizonError: if a race is not there or does not reach its cut.
    """
    meter = Meter("cuts", len(cuts), progress)
    seasons = dict(archive.races.select("race_id", "season").iter_rows())
    starters = np.array([archive.rows("entries", race_id).height for race_id, _ in cuts], dtype=np.int64)
    ends = np.cumsum(starters)
    n = int(starters.sum())
    table, in_race = np.empty((n, len(features.FEATURE_NAMES))), np.empty((n, len(features.IN_RACE_NAMES)))
    positions, classified = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.bool_)
    laps = [0] * len(cuts)
    line_ups: dict[str, features.LineUp] = {}
    for number, snapshot, values in features.values_of_cuts(archive, cuts, config):
        race_id = snapshot.race_id
        rows = slice(ends[number] - starters[number], ends[number])
        if race_id not in line_ups:
            line_ups[race_id], labels = features.LineUp.of(snapshot), _labels(archive, race_id)
        table[rows], in_race[rows] = values, features.in_race_values(snapshot, config, line_ups[race_id])
        positions[rows], classified[rows] = labels
        laps[number] = snapshot.cutoff_lap
        meter.add(1)
    index = pl.DataFrame(
        {
            "race_id": [race_id for race_id, _ in cuts],
            "season": [seasons[race_id] for race_id, _ in cuts],
            "horizon": [horizon.name for _, horizon in cuts],
            "lap": laps,
            "first_row": ends - starters,
            "starters": starters,
        },
        schema_overrides={"season": pl.Int32, "lap": pl.Int32},
    )
    embeddings, picture_rows = _pictures(cuts, starters, pictures, feature_dim)
    return CutTable(index, table, in_race, embeddings, picture_rows, positions, classified)


def _pictures(
    cuts: Sequence[Cut], starters: Integers, pictures: Mapping[Cut, CutEmbeddings], feature_dim: int
) -> tuple[NDArray[np.float32], Integers]:
    """The embeddings of the pictures there are, and the row of each starter among them, -1 without one."""
    embeddings, shown = [np.empty((0, feature_dim), dtype=np.float32)], [np.empty(0, dtype=np.bool_)]
    for cut, field in zip(cuts, starters.tolist(), strict=True):
        found = pictures.get(cut)
        shown.append(np.zeros(field, dtype=np.bool_) if found is None else found.has_image)
        if found is not None:
            embeddings.append(found.embeddings[found.has_image])
    has_image = np.concatenate(shown)
    return np.concatenate(embeddings), np.where(has_image, np.cumsum(has_image) - 1, -1)


def _labels(archive: RaceArchive, race_id: str) -> tuple[Integers, NDArray[np.bool_]]:
    """Position and whether classified of each starter; 0 and False throughout where one has no result."""
    results = archive.rows("results", race_id).select("driver_id", "position", "classified")
    entries = archive.rows("entries", race_id).select("driver_id")
    joined = entries.join(results, on="driver_id", how="left", maintain_order="left")
    if joined["position"].null_count():
        return np.zeros(joined.height, dtype=np.int64), np.zeros(joined.height, dtype=np.bool_)
    return joined["position"].cast(pl.Int64).to_numpy(), joined["classified"].to_numpy().astype(np.bool_)
