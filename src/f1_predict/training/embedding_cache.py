"""The embedding cache: embeddings on disk, looked up by what their pictures are.

Addressed by content: a picture is known by a SHA-256 (of its bytes, or of all it is drawn from) and the encoder by its
identity, so nothing stale can be found. Knows nothing of races, features, labels or how pictures are encoded.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from f1_predict.errors import ConfigError
from f1_predict.training.files import write_atomically

logger = logging.getLogger(__name__)

DIGEST_BYTES = 32
ENCODER_FILE = "encoder.json"
"""In each encoder's folder: its identity, and how its numbers are kept."""

DAMAGED = "its checksum differs"
"""What is wrong with a shard whose bytes are not those that were written."""

Floats = NDArray[np.float32]
Booleans = NDArray[np.bool_]
Precision = Literal["float32", "float16"]


class Identified(Protocol):
    """What the cache asks of a VisionEncoder."""

    feature_dim: int

    @property
    def identity(self) -> str:
        """Weights, preprocessing and runtime: encoders of one identity have interchangeable embeddings."""
        ...


class EmbeddingCache:
    """Embeddings on disk, one folder per encoder, in shards that are never changed and are mapped into memory.

    A shard is a safetensors file with `digests` uint8 (n, 32) and `vectors` (n, feature_dim); its name is the SHA-256
    of its bytes. Its first embedding is given out only after that sum was checked, so a truncated or altered shard is
    recognised, dropped with a warning, and its pictures are encoded again. A shard appears under its name when it is
    complete, whenever its writer is killed; several processes can write and read, and see each other's shards.

    An open cache takes about 200 bytes of memory a picture; the numbers stay on disk until they are asked for. One
    thread at a time may use it.

    Args:
        folder: where the cache lives; made when first written to.
        precision: "float32", or "float16" for half the space at three decimal digits. They are kept apart: what was
            kept in one is not found in the other.

    Raises:
        ConfigError: if the precision is neither.
    """

    def __init__(self, folder: str | Path, precision: Precision = "float32") -> None:
        if precision not in ("float32", "float16"):
            raise ConfigError(f"embeddings are kept as 'float32' or 'float16', got '{precision}'.")
        self.folder = Path(folder)
        self.precision = precision
        self._opened: dict[str, _Shards] = {}

    def identity(self, encoder: Identified) -> str:
        """Names all that an embedding found here depends on: the encoder, and how its numbers are kept."""
        return encoder.identity if self.precision == "float32" else f"{encoder.identity}-{self.precision}"

    def encoder_folder(self, encoder: Identified) -> Path:
        """Where the embeddings of an encoder are."""
        return self.folder / hashlib.sha256(self.identity(encoder).encode()).hexdigest()[:32]

    def look_up(self, encoder: Identified, digests: Sequence[bytes | None]) -> tuple[Floats, Booleans]:
        """The embeddings of n pictures, as far as this encoder has encoded them.

        Args:
            encoder: by whom.
            digests: of the pictures; None where there is none.

        Returns:
            embeddings: float32 (n, feature_dim), zeros where there is none.
            known: bool (n,).
        """
        shards = self._shards(encoder)
        shards.refresh()
        return shards.look_up(digests)

    def put(self, encoder: Identified, digests: Sequence[bytes], vectors: Floats) -> None:
        """Keep the embeddings float32 (n, feature_dim) of n pictures, on disk as one shard.

        Raises:
            ConfigError: if a number is too large for half precision.
            ArtefactError: if the folder cannot be written to.
        """
        if not digests:
            return
        keys = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        with np.errstate(over="ignore"):  # told below
            kept = np.ascontiguousarray(vectors, dtype=self.precision)
        if self.precision == "float16" and not np.isfinite(kept).all():
            raise ConfigError(
                f"embeddings of up to {np.abs(vectors).max():g} do not fit half precision, whose largest number is "
                "65504. Keep the embeddings of this encoder as float32."
            )
        content = save({"digests": keys, "vectors": kept})
        shards = self._shards(encoder)
        path = shards.folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        write_atomically(path, content)
        if not (shards.folder / ENCODER_FILE).exists():
            facts = {"identity": encoder.identity, "precision": self.precision, "feature_dim": encoder.feature_dim}
            write_atomically(shards.folder / ENCODER_FILE, (json.dumps(facts, indent=1) + "\n").encode())
        shards.written(path.name)

    def _shards(self, encoder: Identified) -> _Shards:
        if encoder.identity not in self._opened:
            folder = self.encoder_folder(encoder)
            self._opened[encoder.identity] = _Shards(folder, encoder.feature_dim, self.precision)
        return self._opened[encoder.identity]


@dataclass
class Shard:
    """One file, mapped into memory; `problem` says why it cannot be used, "" if it can.

    Attributes:
        path: named by its content.
        digests: uint8 (n, 32).
        vectors: float32 or float16 (n, feature_dim).
        problem: told by its header; its content is looked at by `is_whole` alone.
    """

    path: Path
    digests: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, DIGEST_BYTES), dtype=np.uint8))
    vectors: NDArray[Any] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    problem: str = ""
    _checked: bool = False

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Map a file; raises nothing about its content.

        Raises:
            OSError: if it cannot be read.
        """
        with path.open("rb") as stream:  # tells of folders and rights, which safetensors has no words for
            stream.read(1)
        try:
            # Through torch, since its tensors are views of the mapped file, and no file stays open behind them.
            with safe_open(path, framework="pt") as file:
                digests, vectors = file.get_tensor("digests").numpy(), file.get_tensor("vectors").numpy()
        except (SafetensorError, RuntimeError) as error:
            damaged = cls(path)
            damaged.problem = f"it is no shard ({error})" if damaged.is_whole() else DAMAGED
            return damaged
        shard = cls(path, digests, vectors)
        if digests.dtype != np.uint8 or digests.shape[1:] != (DIGEST_BYTES,) or vectors.shape[:1] != digests.shape[:1]:
            shard.problem = DAMAGED if not shard.is_whole() else "it is no shard (its arrays do not fit together)"
        return shard

    def is_whole(self) -> bool:
        """Whether the bytes are those that were written. Reads the whole file, the first time.

        Raises:
            OSError: if it cannot be read any more.
        """
        if not self._checked:
            with self.path.open("rb") as stream:
                self._checked = hashlib.file_digest(stream, "sha256").hexdigest() == self.path.stem
        return self._checked


class _Shards:
    """The shards of one encoder, and in which row of which each picture is."""

    def __init__(self, folder: Path, feature_dim: int, precision: Precision) -> None:
        self.folder, self._dim, self._dtype = folder, feature_dim, np.dtype(precision)
        self._left_out: set[str] = set()
        self._clear()

    def _clear(self) -> None:
        self._names = set(self._left_out)
        self._shards: list[Shard] = []
        self._places: dict[bytes | None, int] = {}  # shard number << 32 | row

    def refresh(self) -> None:
        """Open the shards that were not there before."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name not in self._names:
                self.add(path)

    def written(self, name: str) -> None:
        """A shard of this name is there and whole, whatever there was before; the next `refresh` opens it.

        Not opened at once: mapped, it would take resident memory while more is encoded.
        """
        self._left_out.discard(name)
        self._names.discard(name)

    def add(self, path: Path) -> None:
        """Open one shard and know its pictures; with a warning, leave out what cannot be used."""
        self._names.add(path.name)
        try:
            shard = Shard.open(path)
            if not shard.problem and (shard.vectors.shape[1:] != (self._dim,) or shard.vectors.dtype != self._dtype):
                shard.problem = (
                    f"it holds {shard.vectors.shape} numbers for {len(shard.digests)} pictures of {self._dim} each"
                    if shard.is_whole()
                    else DAMAGED
                )
        except FileNotFoundError:  # pruned since it was listed
            return
        except OSError as error:
            logger.warning("%s cannot be read (%s); its pictures are encoded again", path, error.strerror)
            return
        if shard.problem:
            self._drop(shard)
            return
        keys, ends = shard.digests.tobytes(), range(DIGEST_BYTES, shard.digests.size + 1, DIGEST_BYTES)
        self._places.update(zip((keys[end - DIGEST_BYTES : end] for end in ends), count(len(self._shards) << 32)))
        self._shards.append(shard)

    def look_up(self, digests: Sequence[bytes | None]) -> tuple[Floats, Booleans]:
        """See EmbeddingCache.look_up."""
        find = self._places.get
        places = np.fromiter((find(digest, -1) for digest in digests), dtype=np.int64, count=len(digests))
        order = np.argsort(places, kind="stable")
        order = order[places[order] >= 0]
        numbers, starts = np.unique(places[order] >> 32, return_index=True)
        usable = [self._can_be_used(number) for number in numbers.tolist()]
        if not all(usable):
            self._clear()
            self.refresh()
            return self.look_up(digests)
        embeddings = np.empty((len(digests), self._dim), dtype=np.float32)
        embeddings[places < 0] = 0.0
        for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=False):
            embeddings[rows] = self._shards[number].vectors[places[rows] & 0xFFFFFFFF]
        return embeddings, places >= 0

    def _can_be_used(self, number: int) -> bool:
        """Whether a shard's bytes are as they were written; if not, it is dropped, or left out if it is not read."""
        shard = self._shards[number]
        try:
            if shard.is_whole():
                return True
        except FileNotFoundError:  # pruned: not there when all are opened again
            return False
        except OSError as error:
            logger.warning("%s cannot be read (%s); its pictures are encoded again", shard.path, error.strerror)
            self._left_out.add(shard.path.name)
            return False
        shard.problem = DAMAGED
        self._drop(shard)
        return False

    def _drop(self, shard: Shard) -> None:
        logger.warning("%s: %s; dropped, its pictures are encoded again", shard.path, shard.problem)
        self._left_out.add(shard.path.name)
        with suppress(PermissionError):  # somebody else's cache: left out here, and left there
            shard.path.unlink(missing_ok=True)
