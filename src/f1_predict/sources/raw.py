"""The answers of data services on disk, each whole or not there: what was fetched once is not asked for again.

An answer knows when its content was first seen and when it was last confirmed. Knows nothing of what is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from f1_predict.errors import DownloadError


@dataclass(frozen=True)
class Document:
    """A stored answer.

    Attributes:
        payload: what was answered, as JSON values.
        digest: SHA-256 of the payload's JSON.
        fetched: when this content was first seen, UTC.
        checked: when the service last gave the same content, UTC.
    """

    payload: Any
    digest: str
    fetched: datetime
    checked: datetime


def now_utc() -> datetime:
    """The time, in whole seconds of UTC."""
    return datetime.now(UTC).replace(microsecond=0)


class RawCache:
    """Stored answers under a folder, one JSON file each, addressed by their parts ("jolpica", "2024", "05", "laps").

    Args:
        root: the folder; made when first written to.
        clock: the time in UTC.
    """

    def __init__(self, root: Path, clock: Callable[[], datetime] = now_utc) -> None:
        self.root, self.clock = root, clock

    def path(self, *parts: str) -> Path:
        """The file of an answer."""
        return self.root.joinpath(*parts[:-1], f"{parts[-1]}.json")

    def read(self, *parts: str) -> Document | None:
        """A stored answer; None if there is none, or its bytes are not those that were written."""
        try:
            stored = json.loads(self.path(*parts).read_bytes())
            payload = stored["payload"]
            document = Document(
                payload,
                stored["digest"],
                datetime.fromisoformat(stored["fetched"]),
                datetime.fromisoformat(stored["checked"]),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None  # cut short or edited: asked for again
        return document if _digest(payload) == document.digest else None

    def write(self, payload: Any, *parts: str) -> Document:
        """Store an answer. Content that is there already only has its `checked` moved.

        Raises:
            DownloadError: if it cannot be written; what was there stays.
        """
        old, now, digest = self.read(*parts), self.clock(), _digest(payload)
        fetched = old.fetched if old is not None and old.digest == digest else now
        stored = {"digest": digest, "fetched": fetched.isoformat(), "checked": now.isoformat(), "payload": payload}
        content = json.dumps(stored, ensure_ascii=False, separators=(",", ":")) + "\n"
        write_whole(self.path(*parts), content.encode())
        return Document(payload, digest, fetched, now)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one, or the new one, and never half of one.

    Raises:
        DownloadError: if it cannot be written; what was there stays.
    """
    part = path.with_name(f".{path.name}.part")  # one name: what a killed run left is written over
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{path}: cannot be written ({error.strerror}). Free the place, or choose another with --raw; "
            "what was fetched before is kept."
        ) from error


def _digest(payload: Any) -> str:
    text = json.dumps(payload, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
