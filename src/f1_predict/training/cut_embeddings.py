"""Encoded pictures of many cuts, without a picture file: drawn in memory, encoded, kept in the embedding cache.

A picture is known by the digest of all that it is drawn from (rows, settings, drawing code) and its driver, so
that nothing is drawn to find out that it was encoded before. Knows nothing of labels or features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_predict.horizon import Horizon, RaceArchive, Snapshot
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator, TraceBatch
from f1_predict.training.drawing import Texts, digest_of_inputs, drivers_with_laps, picture_inputs
from f1_predict.training.embeddings import FLUSH_PICTURES, EmbeddingCache, Encoder, Floats, Pixels
from f1_predict.training.memory import BatchSize
from f1_predict.training.progress import Meter, ProgressCallback


@dataclass(frozen=True)
class CutEmbeddings:
    """The encoded pictures of one cut.

    Attributes:
        embeddings: float32 (n, feature_dim), starters in the order of the race's entries; zeros without a picture.
        has_image: bool (n,); False for a starter who has no lap to show.
    """

    embeddings: Floats
    has_image: NDArray[np.bool_]


@dataclass(frozen=True)
class _Wanted:
    """One cut: the starters to be drawn, and the key of each in the cache."""

    number: int
    drivers: list[str]
    keys: list[bytes]


def embed_cuts(
    archive: RaceArchive,
    cuts: Sequence[tuple[str, Horizon]],
    generator: SpeedTraceGenerator,
    encoder: Encoder,
    cache: EmbeddingCache,
    batch_size: int,
    progress: ProgressCallback | None = None,
) -> list[CutEmbeddings]:
    """The embeddings of the pictures of some cuts, drawing and encoding only those that the cache lacks.

    The next cut is drawn in a thread while this one is encoded. An interruption keeps what is done.

    Args:
        archive: the races.
        cuts: race_id and horizon of each.
        generator: draws; nothing is written.
        encoder: the frozen backbone.
        cache: where embeddings are looked up and kept.
        batch_size: pictures encoded at a time; halved when memory runs out.
        progress: told of the pictures encoded, those found in the cache not counted.

    Returns:
        One CutEmbeddings per cut, in the order of `cuts`.

    Raises:
        NotFoundError, HorizonError: if a race is not there or does not reach its cut.
        PictureError: if a picture cannot be drawn.
        F1PredictError: if memory runs out with a single picture.
        ArtefactError: if the cache's folder cannot be written to.
    """
    found: list[list[bytes | None]] = []
    missing: list[_Wanted] = []
    texts: Texts = {}
    for number, (race_id, horizon) in enumerate(cuts):
        snapshot = archive.snapshot(race_id, horizon)
        keys = picture_keys(snapshot, generator, texts)
        found.append(keys)
        wanted = [
            (driver, key)
            for driver, key in zip(snapshot.driver_ids, keys, strict=True)
            if key is not None and cache.get(encoder, key) is None
        ]
        if wanted:
            missing.append(_Wanted(number, [driver for driver, _ in wanted], [key for _, key in wanted]))
    _encode_missing(archive, cuts, missing, generator, encoder, cache, batch_size, progress)
    return [_collect(keys, encoder, cache) for keys in found]


def picture_keys(snapshot: Snapshot, generator: SpeedTraceGenerator, texts: Texts | None = None) -> list[bytes | None]:
    """The key of each starter's picture in the cache, in the order of the entries; None for one without laps.

    `texts`: see `digest_of_inputs`.
    """
    inputs = picture_inputs(snapshot, generator.config)
    digest, drawable = digest_of_inputs(inputs, generator, texts), drivers_with_laps(inputs)
    return [
        hashlib.sha256(f"{digest}/{driver}".encode()).digest() if driver in drawable else None
        for driver in inputs.driver_ids
    ]


def _collect(keys: Sequence[bytes | None], encoder: Encoder, cache: EmbeddingCache) -> CutEmbeddings:
    embeddings = np.zeros((len(keys), encoder.feature_dim), dtype=np.float32)
    has_image = np.array([key is not None for key in keys], dtype=np.bool_)
    for row, key in enumerate(keys):
        vector = cache.get(encoder, key) if key is not None else None
        if vector is not None:
            embeddings[row] = vector
    return CutEmbeddings(embeddings, has_image)


def _encode_missing(
    archive: RaceArchive,
    cuts: Sequence[tuple[str, Horizon]],
    missing: Sequence[_Wanted],
    generator: SpeedTraceGenerator,
    encoder: Encoder,
    cache: EmbeddingCache,
    batch_size: int,
    progress: ProgressCallback | None,
) -> None:
    meter = Meter("pictures", sum(len(wanted.keys) for wanted in missing), progress)
    size = BatchSize(batch_size, "encoding pictures")
    keys: list[bytes] = []
    vectors: list[Floats] = []

    def flush() -> None:
        if keys:
            cache.put(encoder, keys, np.concatenate(vectors))
            keys.clear()
            vectors.clear()

    def drawn(wanted: _Wanted) -> TraceBatch:
        race_id, horizon = cuts[wanted.number]
        return generator.render(archive.snapshot(race_id, horizon), wanted.drivers)

    with ThreadPoolExecutor(1) as thread:
        coming: Future[TraceBatch] | None = thread.submit(drawn, missing[0]) if missing else None
        try:
            for place, wanted in enumerate(missing):
                if coming is None:
                    break
                images = coming.result().images
                coming = thread.submit(drawn, missing[place + 1]) if place + 1 < len(missing) else None

                def attempt(rows: int, images: Pixels = images) -> Floats:
                    return encoder.encode_arrays(images, rows)

                vectors.append(size.run(attempt))
                keys.extend(wanted.keys)
                meter.add(len(wanted.keys))
                if len(keys) >= FLUSH_PICTURES:
                    flush()
        finally:
            del keys[sum(map(len, vectors)) :]  # an interruption keeps what is done
            flush()
