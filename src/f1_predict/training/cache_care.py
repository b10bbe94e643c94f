"""What an embedding cache holds, whether it is sound, and removing what is of no use. Knows files, not pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from f1_predict.errors import ArtefactError, ConfigError, NotFoundError
from f1_predict.training.embedding_cache import DAMAGED, ENCODER_FILE, Shard

ABANDONED_S = 3600.0
"""A file half written and untouched for so long belongs to a writer that was killed."""
NAME_DIGITS = 12
"""Of an encoder's folder, that name it to people."""


@dataclass(frozen=True)
class EncoderShare:
    """What a cache holds of one encoder.

    Attributes:
        name: short, as the commands take it.
        identity: of the encoder; None for a folder of an older version, which does not tell.
        precision: "float32" or "float16".
        pictures: embeddings, each picture counted once.
        shards: files.
        size: of all files, bytes.
        half_written: files among them that were never finished.
        unusable: shards that cannot be opened; those whose content is damaged are found by `verify` alone.
    """

    name: str
    identity: str | None
    precision: str
    pictures: int
    shards: int
    size: int
    half_written: int
    unusable: int


@dataclass(frozen=True)
class Damage:
    """A shard that cannot be used, and why."""

    path: Path
    problem: str


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be."""

    files: int
    size: int
    pictures: int


def measure(folder: Path) -> list[EncoderShare]:
    """What a cache holds, encoder by encoder; nothing is changed.

    Raises:
        ArtefactError: if there is no such folder, or it cannot be read.
    """
    return [_share(own) for own in encoder_folders(folder)]


def verify(folder: Path) -> Iterator[tuple[Path, Damage | None]]:
    """Read every shard and compare it with the checksum in its name; nothing is changed.

    Yields:
        each shard, and what is wrong with it, if anything.

    Raises:
        ArtefactError: if there is no such folder.
    """
    for path in all_shards(folder):
        problem = _problem(path, whole=True)
        yield path, Damage(path, problem) if problem else None


def all_shards(folder: Path) -> list[Path]:
    """Every shard of a cache.

    Raises:
        ArtefactError: if there is no such folder.
    """
    return [path for own in encoder_folders(folder) for path in _shards(own)]


def prune(
    folder: Path, encoders: Sequence[str] = (), older_than_days: float | None = None, *, dry_run: bool = False
) -> Pruned:
    """Remove damaged shards and what killed writers left behind; besides, encoders or shards that are not wanted.

    Others may read and write meanwhile: what a reader has open it keeps, and what it misses is encoded again.

    Args:
        folder: of the cache.
        encoders: short names (see `measure`) of encoders to be removed with all they have.
        older_than_days: shards written so long ago are removed too; None for none.
        dry_run: count, and remove nothing.

    Raises:
        ArtefactError: if there is no such folder, or something cannot be removed.
        NotFoundError: if the cache has no such encoder; then nothing is removed.
        ConfigError: if the days are negative.
    """
    if older_than_days is not None and not older_than_days >= 0.0:
        raise ConfigError(f"days must be 0 or more, got {older_than_days:g}.")
    folders = encoder_folders(folder)
    names = [own.name[:NAME_DIGITS] for own in folders]
    for name in encoders:
        if name not in names:
            raise NotFoundError("encoder", name, names, "f1-predict cache size lists them.")
    files = size = pictures = 0
    for own in folders:
        everything = own.name[:NAME_DIGITS] in encoders
        for path in [*_shards(own), *_half_written(own), *([own / ENCODER_FILE] if everything else [])]:
            try:
                facts = path.stat()
                age_s = time.time() - facts.st_mtime
                old = older_than_days is not None and age_s > older_than_days * 86400.0
                shard = path.suffix == ".safetensors"
                useless = _is_damaged(path) if shard else age_s > ABANDONED_S
                if not (everything or useless or (old and shard)):
                    continue
                pictures += len(Shard.open(path).digests) if shard and not useless else 0
                if not dry_run:
                    path.unlink()
            except FileNotFoundError:  # another one prunes, or has finished writing
                continue
            except OSError as error:
                raise ArtefactError(
                    f"{path}: cannot be removed ({error.strerror}). Ask who may write to that folder."
                ) from error
            files, size = files + 1, size + facts.st_size
        if everything and not dry_run and not any(own.iterdir()):
            own.rmdir()
    return Pruned(files, size, pictures)


def encoder_folders(folder: Path) -> list[Path]:
    """The folders of a cache's encoders.

    Raises:
        ArtefactError: if there is no such cache.
    """
    try:
        return sorted(own for own in folder.iterdir() if own.is_dir() and (_shards(own) or _half_written(own)))
    except OSError as error:
        raise ArtefactError(
            f"{folder}: cannot be read ({error.strerror}). Give the folder of a cache as --embeddings."
        ) from error


def _share(own: Path) -> EncoderShare:
    facts = _facts(own)
    digests: set[bytes] = set()
    precision, unusable = facts.get("precision", "float32"), 0
    for path in _shards(own):
        if _problem(path, whole=False):
            unusable += 1
            continue
        digests.update(row.tobytes() for row in Shard.open(path).digests)
    return EncoderShare(
        name=own.name[:NAME_DIGITS],
        identity=facts.get("identity"),
        precision=precision,
        pictures=len(digests),
        shards=len(_shards(own)),
        size=sum(path.stat().st_size for path in own.iterdir()),
        half_written=len(_half_written(own)),
        unusable=unusable,
    )


def _facts(own: Path) -> dict[str, str]:
    """What is known of an encoder; nothing of a folder that an older version made."""
    path = own / ENCODER_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path}: cannot be read ({error}). Remove it; it is written again.") from error
    return {str(name): str(value) for name, value in facts.items()}


def _problem(path: Path, *, whole: bool) -> str:
    """What is wrong with a shard, "" if nothing; `whole`: compare its content with its name too."""
    try:
        shard = Shard.open(path)
        return shard.problem or ("" if not whole or shard.is_whole() else DAMAGED)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def _is_damaged(path: Path) -> bool:
    """Whether a shard's bytes are not those that were written; False for one that cannot be read now.

    Raises:
        FileNotFoundError: if it is gone.
    """
    try:
        shard = Shard.open(path)
        return bool(shard.problem) or not shard.is_whole()
    except FileNotFoundError:
        raise
    except OSError:
        return False


def _shards(own: Path) -> list[Path]:
    return sorted(own.glob("*.safetensors"))


def _half_written(own: Path) -> list[Path]:
    return sorted(own.glob(".*.part"))
