"""Forecasts of one race at any of its laps, one after another, each what RaceForecaster.predict says at that cut.

What the cuts share is done once: features of earlier races, pictures encoded before. Pictures of several laps go
through the backbone together, and the next ones are drawn meanwhile. Sees Snapshots only; knows nothing of output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict import features
from f1_predict.forecasting.names import entries_of
from f1_predict.horizon import Horizon, PreRace, RaceArchive, Snapshot
from f1_predict.models.forecaster import RaceForecaster
from f1_predict.models.speed_trace_generator import TraceBatch
from f1_predict.training.cut_embeddings import CutEmbeddings, picture_keys
from f1_predict.training.embeddings import EmbeddingCache
from f1_predict.training.memory import BatchSize

BATCH = 64
"""Pictures encoded together, those of a lap never apart."""
CACHE_FROM = 100
"""Pictures from which on a cache on disk is worth reading: a lap's are encoded sooner than a large cache is read."""


@dataclass
class _Cut:
    """A moment that is asked for, and its pictures' embeddings as far as they are known."""

    snapshot: Snapshot
    keys: list[bytes | None] = field(default_factory=list)
    pictures: CutEmbeddings | None = None


class Replay:
    """One race, forecast at as many of its moments as are asked for.

    Keeps 2 kB a picture. One thread at a time may use it.

    Args:
        forecaster: the trained model.
        archive: the races; forecasts see Snapshots of it, never its results.
        race_id: the race.
        cache: embeddings on disk, looked up and added to when many pictures are wanted; None for none.
        known: the race's features by the forecaster's settings, if they were computed before.

    Raises:
        NotFoundError: if there is no such race.
        DataError: if it has no entries.
    """

    def __init__(
        self,
        forecaster: RaceForecaster,
        archive: RaceArchive,
        race_id: str,
        cache: EmbeddingCache | None = None,
        known: features.RaceFeatures | None = None,
    ) -> None:
        entries_of(archive, race_id)
        start = archive.snapshot(race_id, PreRace())
        self.race = start.race
        self._forecaster, self._archive, self._cache = forecaster, archive, cache
        self._features = known or features.RaceFeatures.of(start, forecaster.feature_config)
        self._known: dict[str, CutEmbeddings] = {}
        self._size = BatchSize(BATCH, "encoding pictures")

    def forecasts(self, horizons: Iterable[Horizon]) -> Iterator[tuple[Snapshot, pl.DataFrame]]:
        """Forecast the whole field at each moment, as soon as it is done.

        Whoever stops listening loses nothing: what was encoded by then is kept.

        Args:
            horizons: of this race, in any order.

        Yields:
            what was known, and RaceForecaster.predict of it (equal up to the rounding of a picture's company in a
            batch).

        Raises:
            HorizonError: if the race does not reach one of them, before any forecast is made.
        """
        cuts = [_Cut(self._archive.snapshot(self.race.race_id, horizon)) for horizon in horizons]
        self._look_up(cuts)
        batches = _batches(cuts)
        made: list[_Cut] = []
        try:
            with ThreadPoolExecutor(1) as thread:
                coming = thread.submit(self._draw, batches[0]) if batches else None
                for number, batch in enumerate(batches):
                    drawn = coming.result() if coming is not None else []
                    following = batches[number + 1] if number + 1 < len(batches) else None
                    coming = thread.submit(self._draw, following) if following is not None else None
                    made += self._encode(batch, drawn)
                    for cut in batch:
                        yield cut.snapshot, self._forecast(cut.snapshot)
        finally:
            self._keep(made)

    def inputs(self, horizon: Horizon) -> tuple[Snapshot, npt.NDArray[np.float64]]:
        """What the forecast at a moment is made of, pictures apart.

        Returns:
            what was known, and the features, (n_starters, len(FEATURE_NAMES)), NaN = unknown, in the order of entries.

        Raises:
            HorizonError: if the race does not reach that moment.
        """
        snapshot = self._archive.snapshot(self.race.race_id, horizon)
        return snapshot, self._features.values(snapshot)

    def _forecast(self, snapshot: Snapshot) -> pl.DataFrame:
        pictures = self._known[snapshot.horizon.name]
        values = self._features.values(snapshot)
        return self._forecaster.predict_from_embeddings(snapshot, values, pictures.embeddings, pictures.has_image)

    def _look_up(self, cuts: Sequence[_Cut]) -> None:
        """Fill in what was encoded before: in this replay, or, where it pays, on disk."""
        unknown = [cut for cut in cuts if cut.snapshot.horizon.name not in self._known]
        if self._cache is None or sum(cut.snapshot.entries.height for cut in unknown) < CACHE_FROM:
            return
        encoder = self._forecaster.encoder
        for cut in unknown:
            cut.keys = picture_keys(cut.snapshot, self._forecaster.generator)
            embeddings, known = self._cache.look_up(encoder, cut.keys)
            has_image = np.array([key is not None for key in cut.keys], dtype=np.bool_)
            if (known == has_image).all():
                self._known[cut.snapshot.horizon.name] = CutEmbeddings(embeddings, has_image)

    def _draw(self, batch: Sequence[_Cut]) -> list[tuple[_Cut, TraceBatch]]:
        """The pictures of those cuts of a batch that are not encoded yet."""
        wanted = {cut.snapshot.horizon.name: cut for cut in batch if cut.snapshot.horizon.name not in self._known}
        return [(cut, self._forecaster.generator.render(cut.snapshot)) for cut in wanted.values()]

    def _encode(self, batch: Sequence[_Cut], drawn: Sequence[tuple[_Cut, TraceBatch]]) -> list[_Cut]:
        """Encode drawn pictures together; the cuts that they are of."""
        vectors = self._vectors([pictures for _, pictures in drawn])
        start = 0
        for cut, pictures in drawn:
            embeddings = np.zeros((len(pictures.present), vectors.shape[1]), dtype=np.float32)
            count = int(pictures.present.sum())
            embeddings[pictures.present] = vectors[start : start + count]
            start += count
            self._known[cut.snapshot.horizon.name] = CutEmbeddings(embeddings, pictures.present)
        return [cut for cut, _ in drawn]

    def _vectors(self, drawn: Sequence[TraceBatch]) -> npt.NDArray[np.float32]:
        """The embeddings of all pictures that there are, (pictures, feature_dim)."""
        # A field's pictures are ten megabytes: copied no more than they must be.
        shown = [one.images if one.present.all() else one.images[one.present] for one in drawn]
        encoder = self._forecaster.encoder
        if sum(map(len, shown)) == 0:
            return np.empty((0, encoder.feature_dim), dtype=np.float32)
        images = shown[0] if len(shown) == 1 else np.concatenate(shown)
        return self._size.run(lambda rows: encoder.encode_arrays(images, rows))

    def _keep(self, made: Sequence[_Cut]) -> None:
        """Add what was encoded to the cache on disk, as one shard, where the cache was looked at."""
        keys: list[bytes] = []
        vectors: list[npt.NDArray[np.float32]] = []
        for cut in made:
            embeddings = self._known[cut.snapshot.horizon.name].embeddings
            keyed = [(key, row) for row, key in enumerate(cut.keys) if key is not None]
            keys += [key for key, _ in keyed]
            vectors += [embeddings[row] for _, row in keyed]
        if self._cache is not None and keys:
            self._cache.put(self._forecaster.encoder, keys, np.stack(vectors))


def _batches(cuts: Sequence[_Cut]) -> list[list[_Cut]]:
    """Cuts in their order, in groups of about BATCH starters."""
    batches: list[list[_Cut]] = []
    starters = BATCH
    for cut in cuts:
        if starters + cut.snapshot.entries.height > BATCH:
            batches.append([])
            starters = 0
        batches[-1].append(cut)
        starters += cut.snapshot.entries.height
    return batches
