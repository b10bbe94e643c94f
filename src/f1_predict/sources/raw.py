"""The answers of data services on disk, each whole or not there: what was fetched once is not asked for again.

An answer knows when its content was first seen and when it was last confirmed. Knows nothing of what is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from f1_predict.errors import DiskError
from f1_predict.files import replace_file

LAYOUT = 2
"""Of the files; an answer in another one is asked for again."""


@dataclass(frozen=True)
class Document:
    """A stored answer.

    Attributes:
        payload: what was answered, as JSON values.
        digest: SHA-256 of the payload's JSON.
        fetched: when this content was first seen, UTC.
        checked: when the service last gave the same content, UTC.
        items: of a payload that is a list, when each of its items was first seen as it is, UTC; else empty.
    """

    payload: Any
    digest: str
    fetched: datetime
    checked: datetime
    items: tuple[datetime, ...] = ()


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
        """A stored answer; None if there is none, or its bytes are not those that were written, in this layout.

        Raises:
            DiskError: if the file may not be read.
        """
        file = self.path(*parts)
        try:
            stored = json.loads(file.read_bytes())
            payload = stored["payload"]
            document = Document(
                payload,
                stored["digest"],
                datetime.fromisoformat(stored["fetched"]),
                datetime.fromisoformat(stored["checked"]),
                tuple(datetime.fromisoformat(moment) for moment in stored["items"]),
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DiskError(
                f"{file}: cannot be read ({error.strerror}). Make it readable, or choose another place with --raw."
            ) from error
        except (ValueError, KeyError, TypeError):
            return None  # cut short, edited or of another layout: asked for again
        whole = stored.get("layout") == LAYOUT and _digest(payload) == document.digest
        dated = len(document.items) == (len(payload) if isinstance(payload, list) else 0)
        return document if whole and dated else None

    def write(self, payload: Any, *parts: str) -> Document:
        """Store an answer. Content that is there already, and each item of a list, keeps the time it was first seen.

        Raises:
            DiskError: if it cannot be written; what was there stays.
        """
        old, now, digest = self.read(*parts), self.clock(), _digest(payload)
        fetched = old.fetched if old is not None and old.digest == digest else now
        seen: dict[str, datetime] = {}
        if old is not None and isinstance(old.payload, list):
            seen = {_digest(item): moment for item, moment in zip(old.payload, old.items, strict=True)}
        listed = payload if isinstance(payload, list) else []
        items = tuple(seen.get(_digest(item), now) for item in listed)
        stored: dict[str, Any] = {
            "layout": LAYOUT,
            "digest": digest,
            "fetched": fetched.isoformat(),
            "checked": now.isoformat(),
        }
        stored |= {"items": [moment.isoformat() for moment in items], "payload": payload}
        content = json.dumps(stored, ensure_ascii=False, separators=(",", ":")) + "\n"
        write_whole(self.path(*parts), content.encode())
        return Document(payload, digest, fetched, now, items)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, see `files.replace_file`.

    Raises:
        DiskError: if it cannot be written; what was there stays.
    """
    try:
        # One temporary name: what a killed run left is written over.
        replace_file(path, content, path.with_name(f".{path.name}.part"))
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be written ({error.strerror}). Free the place, or choose another with --raw; "
            "what was fetched before is kept."
        ) from error


def _digest(payload: Any) -> str:
    text = json.dumps(payload, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
