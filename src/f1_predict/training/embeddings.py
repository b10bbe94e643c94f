"""Encodes the pictures of a dataset: the backbone is frozen, so each is encoded once, ever, and then looked up.

Knows nothing of races, features or labels.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from f1_predict.errors import ArtefactError, PictureError
from f1_predict.models.multimodal_dataset import MAX_PICTURE_BYTES, MultiModalDataset
from f1_predict.models.speed_trace_generator import read_plot_area
from f1_predict.scale import Engine
from f1_predict.training.embedding_cache import Booleans, Floats, Identified
from f1_predict.training.embedding_cache import EmbeddingCache as EmbeddingCache
from f1_predict.training.memory import BatchSize, return_free_memory
from f1_predict.training.progress import Meter, ProgressCallback

logger = logging.getLogger(__name__)

FLUSH_PICTURES = 1024
"""New embeddings are written at least this often, so that an interruption loses no more than these."""
ROUNDS = 3
"""How often pictures are encoded whose embeddings are gone when they are looked up: removed or damaged meanwhile."""
_DECODING_THREADS = 4

Pixels = NDArray[np.uint8]


class Encoder(Identified, Protocol):
    """What encoding asks of a VisionEncoder."""

    def encode_arrays(self, images: Pixels, batch_size: int = ...) -> Floats:
        """Encode uint8 (n, H, W, 3) to float32 (n, feature_dim)."""
        ...


def encode_dataset(
    dataset: MultiModalDataset,
    encoder: Encoder,
    cache: EmbeddingCache,
    batch_size: int,
    progress: ProgressCallback | None = None,
    engine: Engine | None = None,
) -> tuple[Floats, Booleans]:
    """The embeddings of a dataset's pictures, encoding only those that the cache lacks.

    A picture that is not there, too large or cannot be decoded counts as missing, with one line of warning each.

    Args:
        dataset: whose `image_paths` are encoded.
        encoder: the frozen backbone.
        cache: where embeddings are looked up and kept.
        batch_size: pictures encoded at a time; halved when memory runs out.
        progress: told of the pictures encoded, those found in the cache not counted.
        engine: reads and encodes, a batch at a time, in place of this process, which alone writes to the cache; its
            machines must see the pictures.

    Returns:
        embeddings: float32 (n, feature_dim), zeros where there is no picture.
        has_image: bool (n,).

    Raises:
        F1PredictError: if memory runs out with a single picture.
        ArtefactError: if the cache's folder cannot be written to, or does not keep what is written.
    """
    paths = [Path(path) if path is not None else None for path in dataset.image_paths]
    digests: list[bytes | None] = [None] * len(paths)
    for row, path in enumerate(paths):
        if path is None:
            continue
        try:
            if path.stat().st_size > MAX_PICTURE_BYTES:
                _lost(path, f"it has more than {MAX_PICTURE_BYTES:,} bytes")
            else:
                digests[row] = hashlib.sha256(path.read_bytes()).digest()
        except OSError as error:
            _lost(path, error.strerror)
    unreadable: set[bytes] = set()
    for _ in range(ROUNDS):
        embeddings, known = cache.look_up(encoder, digests)
        first: dict[bytes, Path] = {}
        for digest, path, has in zip(digests, paths, known.tolist(), strict=True):
            if digest is not None and path is not None and not has and digest not in unreadable:
                first.setdefault(digest, path)
        if not first:
            return embeddings, known
        del embeddings
        unreadable |= _encode_missing(first, encoder, cache, batch_size, progress, engine)
    raise vanished(cache, len(first))


def vanished(cache: EmbeddingCache, count: int) -> ArtefactError:
    """What is said when embeddings that were kept are not found again, ROUNDS times."""
    return ArtefactError(
        f"{cache.folder}: {count} embeddings that were kept there are gone, {ROUNDS} times. "
        "See what else removes or damages files in that folder, and run it again."
    )


def _lost(path: Path, problem: object) -> None:
    logger.warning("%s counts as a missing picture: %s", path, problem)


def _read(path: Path) -> Pixels | None:
    try:
        return read_plot_area(str(path))
    except (PictureError, OSError) as error:
        _lost(path, error)
        return None


def _encode_missing(
    paths: dict[bytes, Path],
    encoder: Encoder,
    cache: EmbeddingCache,
    batch_size: int,
    progress: ProgressCallback | None,
    engine: Engine | None,
) -> set[bytes]:
    """Encode pictures (digest -> path) into the cache; the digests of those that cannot be read."""
    items = list(paths.items())
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    files = [[path for _, path in batch] for batch in batches]
    meter = Meter("pictures", len(items), progress)
    if engine is None:
        encoded = _encoded_here(files, encoder, batch_size)
    else:
        work = partial(encode_files, encoder=encoder, batch_size=batch_size)
        encoded = engine.map(work, files, gpu=on_gpu(encoder))

    unreadable: set[bytes] = set()

    def readable() -> Generator[tuple[list[bytes], Sequence[Floats]]]:
        with closing(encoded):
            for batch, found in zip(batches, encoded, strict=True):
                there = [(key, numbers) for (key, _), numbers in zip(batch, found, strict=True) if numbers is not None]
                unreadable.update({key for key, _ in batch} - {key for key, _ in there})
                yield [key for key, _ in there], [numbers for _, numbers in there]
                meter.add(len(batch))

    keep(cache, encoder, readable())
    return unreadable


def on_gpu(encoder: Encoder) -> bool:
    """Whether encoding wants a GPU."""
    return "cuda" in str(getattr(encoder, "device", "cpu"))


def keep(
    cache: EmbeddingCache, encoder: Encoder, encoded: Generator[tuple[Sequence[bytes], Sequence[Floats] | Floats]]
) -> None:
    """Put embeddings into the cache as they are made, FLUSH_PICTURES or more at a time.

    An interruption keeps what is done.

    Args:
        cache: where they go.
        encoder: by whom.
        encoded: digests of some pictures and their embeddings (n, feature_dim); closed at the end.
    """
    waiting: list[tuple[Sequence[bytes], Sequence[Floats] | Floats]] = []

    def flush() -> None:
        digests = [digest for some, _ in waiting for digest in some]
        if digests:
            cache.put(encoder, digests, np.stack([vector for _, vectors in waiting for vector in vectors]))
        waiting.clear()
        return_free_memory()

    with closing(encoded):
        try:
            for made in encoded:
                waiting.append(made)
                if sum(len(digests) for digests, _ in waiting) >= FLUSH_PICTURES:
                    flush()
        finally:
            flush()


def _encoded_here(files: Sequence[Sequence[Path]], encoder: Encoder, batch_size: int) -> Generator[list[Floats | None]]:
    """As `encode_files`, one batch after the other.

    The next batch is decoded in threads while this one is encoded: on an accelerator decoding is the slower part.
    """
    size = BatchSize(batch_size, "encoding pictures")
    with ThreadPoolExecutor(_DECODING_THREADS) as threads:

        def decode(batch: Sequence[Path]) -> list[Future[Pixels | None]]:
            return [threads.submit(_read, path) for path in batch]

        coming = decode(files[0])
        for following in [*files[1:], []]:
            batch, coming = coming, decode(following)
            yield _encode_readable([future.result() for future in batch], encoder, size)


def encode_files(paths: Sequence[Path], encoder: Encoder, batch_size: int) -> list[Floats | None]:
    """The embeddings (feature_dim,) of picture files; None, with a warning, for one that cannot be read.

    Raises:
        F1PredictError: if memory runs out with a single picture.
    """
    return _encode_readable([_read(path) for path in paths], encoder, BatchSize(batch_size, "encoding pictures"))


def _encode_readable(images: Sequence[Pixels | None], encoder: Encoder, size: BatchSize) -> list[Floats | None]:
    numbers = iter(_encode_batch([image for image in images if image is not None], encoder, size))
    return [next(numbers) if image is not None else None for image in images]


def _encode_batch(images: list[Pixels], encoder: Encoder, size: BatchSize) -> list[Floats]:
    """The embeddings (feature_dim,) of pictures of any sizes: neighbours of one size go through together."""
    vectors: list[Floats] = []
    while len(vectors) < len(images):
        start = len(vectors)

        def attempt(rows: int, start: int = start) -> Floats:
            same = takewhile(lambda image: image.shape == images[start].shape, images[start : start + rows])
            return encoder.encode_arrays(np.stack(list(same)), rows)

        vectors.extend(size.run(attempt))
    return vectors
