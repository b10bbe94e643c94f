"""Encoded pictures of many cuts, without a picture file: drawn in memory, encoded, kept in the embedding cache.

A picture is known by the digest of all that it is drawn from (rows, settings, drawing code) and its driver, so
that nothing is drawn to find out that it was encoded before. Knows nothing of labels or features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from f1_predict.horizon import Horizon, RaceArchive, Snapshot
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator, TraceBatch
from f1_predict.scale import Engine
from f1_predict.training.drawing import Texts, digest_of_inputs, drivers_with_laps, picture_inputs
from f1_predict.training.embedding_cache import EmbeddingCache, Floats
from f1_predict.training.embeddings import ROUNDS, Encoder, Pixels, keep, on_gpu, vanished
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
    engine: Engine | None = None,
) -> list[CutEmbeddings]:
    """The embeddings of the pictures of some cuts, drawing and encoding only those that the cache lacks.

    The next cut is drawn in a thread while this one is encoded, unless an engine does both. An interruption keeps what
    is done.

    Args:
        archive: the races.
        cuts: race_id and horizon of each.
        generator: draws; nothing is written.
        encoder: the frozen backbone.
        cache: where embeddings are looked up and kept.
        batch_size: pictures encoded at a time; halved when memory runs out.
        progress: told of the pictures encoded, those found in the cache not counted.
        engine: draws and encodes, a cut at a time, in place of this process, which alone writes to the cache.

    Returns:
        One CutEmbeddings per cut, in the order of `cuts`.

    Raises:
        NotFoundError, HorizonError: if a race is not there or does not reach its cut.
        PictureError: if a picture cannot be drawn.
        F1PredictError: if memory runs out with a single picture.
        ArtefactError: if the cache's folder cannot be written to, or does not keep what is written.
    """
    found: list[list[bytes | None]] = []
    drivers: list[list[str]] = []
    texts: Texts = {}
    for race_id, horizon in cuts:
        snapshot = archive.snapshot(race_id, horizon)
        found.append(picture_keys(snapshot, generator, texts))
        drivers.append(snapshot.driver_ids)
    every = [key for keys in found for key in keys]
    ends = accumulate(map(len, found), initial=0)
    rows = [slice(*bounds) for bounds in pairwise(ends)]
    for _ in range(ROUNDS):
        embeddings, known = cache.look_up(encoder, every)
        missing = []
        for number, own in enumerate(rows):
            named = zip(drivers[number], found[number], known[own].tolist(), strict=True)
            wanted = [(driver, key) for driver, key, has in named if key is not None and not has]
            if wanted:
                missing.append(_Wanted(number, [driver for driver, _ in wanted], [key for _, key in wanted]))
        if not missing:
            return [CutEmbeddings(embeddings[own], known[own]) for own in rows]
        del embeddings  # not twice in memory
        _encode_missing(archive, cuts, missing, generator, encoder, cache, batch_size, progress, engine)
    raise vanished(cache, sum(len(wanted.keys) for wanted in missing))


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


def _encode_missing(
    archive: RaceArchive,
    cuts: Sequence[tuple[str, Horizon]],
    missing: Sequence[_Wanted],
    generator: SpeedTraceGenerator,
    encoder: Encoder,
    cache: EmbeddingCache,
    batch_size: int,
    progress: ProgressCallback | None,
    engine: Engine | None,
) -> None:
    meter = Meter("pictures", sum(len(wanted.keys) for wanted in missing), progress)

    def snapshots() -> Iterator[Snapshot]:
        for wanted in missing:
            yield archive.snapshot(*cuts[wanted.number])

    if engine is None:
        encoded = _encoded_here(missing, snapshots(), generator, encoder, batch_size)
    else:
        work = partial(encode_cut, generator=generator, encoder=encoder, batch_size=batch_size)
        tasks = (
            CutTask(picture_inputs(snapshot, generator.config), wanted.drivers)
            for snapshot, wanted in zip(snapshots(), missing, strict=True)
        )
        encoded = engine.map(work, tasks, gpu=on_gpu(encoder))

    def done() -> Generator[tuple[list[bytes], Floats]]:
        with closing(encoded):
            for wanted, numbers in zip(missing, encoded, strict=True):
                yield wanted.keys, numbers
                meter.add(len(wanted.keys))

    keep(cache, encoder, done())


def _encoded_here(
    missing: Sequence[_Wanted],
    snapshots: Iterator[Snapshot],
    generator: SpeedTraceGenerator,
    encoder: Encoder,
    batch_size: int,
) -> Generator[Floats]:
    """The embeddings of one cut after the other, the next one drawn meanwhile."""
    size = BatchSize(batch_size, "encoding pictures")

    def drawn(wanted: _Wanted) -> TraceBatch:
        return generator.render(next(snapshots), wanted.drivers)

    with ThreadPoolExecutor(1) as thread:
        coming: Future[TraceBatch] | None = thread.submit(drawn, missing[0])
        for place in range(len(missing)):
            if coming is None:
                break
            images = coming.result().images
            coming = thread.submit(drawn, missing[place + 1]) if place + 1 < len(missing) else None

            def attempt(rows: int, images: Pixels = images) -> Floats:
                return encoder.encode_arrays(images, rows)

            yield size.run(attempt)


@dataclass(frozen=True)
class CutTask:
    """The pictures of one cut that are wanted: `picture_inputs`, and of which drivers."""

    inputs: Snapshot
    drivers: list[str]


def encode_cut(task: CutTask, generator: SpeedTraceGenerator, encoder: Encoder, batch_size: int) -> Floats:
    """Draw and encode some pictures of a cut: float32 (n, feature_dim), in the order of `task.drivers`.

    Raises:
        PictureError: if one cannot be drawn.
        F1PredictError: if memory runs out with a single picture.
    """
    images = generator.render(task.inputs, task.drivers).images
    return BatchSize(batch_size, "encoding pictures").run(lambda rows: encoder.encode_arrays(images, rows))
