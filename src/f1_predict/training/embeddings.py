"""The embedding cache: the backbone is frozen, so every picture is encoded once, ever.

Addressed by content: a picture is known by the SHA-256 of its bytes and the encoder by its identity
(weights and preprocessing), so nothing stale can be found. Knows nothing of races, features or labels.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from f1_predict.errors import PictureError
from f1_predict.models.multimodal_dataset import MAX_PICTURE_BYTES, MultiModalDataset
from f1_predict.models.speed_trace_generator import read_plot_area
from f1_predict.training.files import write_atomically
from f1_predict.training.memory import BatchSize
from f1_predict.training.progress import Meter, ProgressCallback

logger = logging.getLogger(__name__)

FLUSH_PICTURES = 1024
"""New embeddings are written at least this often, so that an interruption loses no more than these."""
_DIGEST_BYTES = 32
_DECODING_THREADS = 4

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Booleans = NDArray[np.bool_]


class Encoder(Protocol):
    """What the cache asks of a VisionEncoder."""

    feature_dim: int

    @property
    def identity(self) -> str:
        """Weights and preprocessing, by hash."""
        ...

    def encode_arrays(self, images: Pixels, batch_size: int = ...) -> Floats:
        """Encode uint8 (n, H, W, 3) to float32 (n, feature_dim)."""
        ...


class EmbeddingCache:
    """Embeddings on disk, one folder per encoder, in shards that are never changed.

    A shard is a safetensors file with `digests` uint8 (n, 32) and `vectors` float32 (n, feature_dim); its name is the
    SHA-256 of its bytes, so a truncated or altered shard is recognised, dropped with a warning, and its pictures
    are encoded again. Writers in several processes cannot harm one another.

    Args:
        folder: where the cache lives; made when first written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._vectors: dict[str, dict[bytes, Floats]] = {}

    def _encoder_folder(self, encoder: Encoder) -> Path:
        return self.folder / hashlib.sha256(encoder.identity.encode()).hexdigest()[:32]

    def _known(self, encoder: Encoder) -> dict[bytes, Floats]:
        """All embeddings of an encoder, read from disk once."""
        if encoder.identity not in self._vectors:
            known: dict[bytes, Floats] = {}
            for path in sorted(self._encoder_folder(encoder).glob("*.safetensors")):
                known.update(_read_shard(path, encoder.feature_dim))
            self._vectors[encoder.identity] = known
        return self._vectors[encoder.identity]

    def get(self, encoder: Encoder, digest: bytes) -> Floats | None:
        """The embedding (feature_dim,) of a picture, or None if this encoder has not encoded it yet."""
        return self._known(encoder).get(digest)

    def put(self, encoder: Encoder, digests: Sequence[bytes], vectors: Floats) -> None:
        """Keep the embeddings float32 (n, feature_dim) of n pictures, on disk as one shard.

        Raises:
            ArtefactError: if the folder cannot be written to.
        """
        if not digests:
            return
        keys = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _DIGEST_BYTES)
        content = save({"digests": keys, "vectors": np.ascontiguousarray(vectors, dtype=np.float32)})
        name = hashlib.sha256(content).hexdigest()
        write_atomically(self._encoder_folder(encoder) / f"{name}.safetensors", content)
        self._known(encoder).update(zip(digests, vectors, strict=True))


def _read_shard(path: Path, feature_dim: int) -> dict[bytes, Floats]:
    """The embeddings of a shard; none, with a warning, and the shard removed, if it is damaged."""
    problem = ""
    try:
        content = path.read_bytes()
    except OSError as error:
        logger.warning("%s cannot be read (%s); its pictures are encoded again", path, error.strerror)
        return {}
    if hashlib.sha256(content).hexdigest() != path.stem:
        problem = "its checksum differs"
    else:
        try:
            shard = load(content)
            digests, vectors = shard["digests"], shard["vectors"]
            if vectors.shape != (len(digests), feature_dim):
                problem = f"it holds {vectors.shape} numbers for {len(digests)} pictures of {feature_dim} each"
        except (SafetensorError, KeyError) as error:
            problem = f"it is no shard ({error})"
    if problem:
        logger.warning("%s: %s; dropped, its pictures are encoded again", path, problem)
        path.unlink(missing_ok=True)
        return {}
    return {row.tobytes(): vector for row, vector in zip(digests, vectors, strict=True)}


def encode_dataset(
    dataset: MultiModalDataset,
    encoder: Encoder,
    cache: EmbeddingCache,
    batch_size: int,
    progress: ProgressCallback | None = None,
) -> tuple[Floats, Booleans]:
    """The embeddings of a dataset's pictures, encoding only those that the cache lacks.

    A picture that is not there, too large or cannot be decoded counts as missing, with one line of warning each.

    Args:
        dataset: whose `image_paths` are encoded.
        encoder: the frozen backbone.
        cache: where embeddings are looked up and kept.
        batch_size: pictures encoded at a time; halved when memory runs out.
        progress: told of the pictures encoded, those found in the cache not counted.

    Returns:
        embeddings: float32 (n, feature_dim), zeros where there is no picture.
        has_image: bool (n,).

    Raises:
        F1PredictError: if memory runs out with a single picture.
        ArtefactError: if the cache's folder cannot be written to.
    """
    paths = [Path(path) if path is not None else None for path in dataset.image_paths]

    def lost(path: Path, problem: object) -> None:
        logger.warning("%s counts as a missing picture: %s", path, problem)

    digests: list[bytes | None] = [None] * len(paths)
    for row, path in enumerate(paths):
        if path is None:
            continue
        try:
            if path.stat().st_size > MAX_PICTURE_BYTES:
                lost(path, f"it has more than {MAX_PICTURE_BYTES:,} bytes")
            else:
                digests[row] = hashlib.sha256(path.read_bytes()).digest()
        except OSError as error:
            lost(path, error.strerror)

    def read(row: int) -> Pixels | None:
        path = paths[row]
        if path is None:
            return None
        try:
            return read_plot_area(str(path))
        except (PictureError, OSError) as error:
            lost(path, error)
            return None

    return _encode(digests, read, encoder, cache, batch_size, progress)


def _encode(
    digests: Sequence[bytes | None],
    read: Callable[[int], Pixels | None],
    encoder: Encoder,
    cache: EmbeddingCache,
    batch_size: int,
    progress: ProgressCallback | None,
) -> tuple[Floats, Booleans]:
    """Embeddings (n, feature_dim) and has_image (n,)."""
    first_rows: dict[bytes, int] = {}
    for row, digest in enumerate(digests):
        if digest is not None and cache.get(encoder, digest) is None:
            first_rows.setdefault(digest, row)
    _encode_missing(first_rows, read, encoder, cache, batch_size, progress)
    embeddings = np.zeros((len(digests), encoder.feature_dim), dtype=np.float32)
    has_image = np.zeros(len(digests), dtype=np.bool_)
    for row, digest in enumerate(digests):
        vector = cache.get(encoder, digest) if digest is not None else None
        if vector is not None:
            embeddings[row], has_image[row] = vector, True
    return embeddings, has_image


def _encode_missing(
    first_rows: dict[bytes, int],
    read: Callable[[int], Pixels | None],
    encoder: Encoder,
    cache: EmbeddingCache,
    batch_size: int,
    progress: ProgressCallback | None,
) -> None:
    """Encode the pictures of `first_rows` (digest -> row) into the cache, those that can be read.

    The next batch is decoded in threads while this one is encoded: on an accelerator decoding is the slower part.
    """
    items = list(first_rows.items())
    meter = Meter("pictures", len(items), progress)
    size = BatchSize(batch_size, "encoding pictures")
    digests: list[bytes] = []
    vectors: list[Floats] = []

    def flush() -> None:
        if digests:
            cache.put(encoder, digests, np.stack(vectors))
            digests.clear()
            vectors.clear()

    with ThreadPoolExecutor(_DECODING_THREADS) as threads:

        def decode(start: int) -> list[tuple[bytes, Future[Pixels | None]]]:
            return [(digest, threads.submit(read, row)) for digest, row in items[start : start + batch_size]]

        coming = decode(0)
        try:
            for start in range(0, len(items), batch_size):
                batch, coming = coming, decode(start + batch_size)
                decoded = [(digest, future.result()) for digest, future in batch]
                readable = [(digest, image) for digest, image in decoded if image is not None]
                vectors.extend(_encode_batch([image for _, image in readable], encoder, size))
                digests.extend(digest for digest, _ in readable)
                meter.add(len(decoded))
                if len(digests) >= FLUSH_PICTURES:
                    flush()
        finally:
            # An interruption keeps what is done; `digests` never runs ahead of `vectors`.
            del vectors[len(digests) :]
            flush()


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
