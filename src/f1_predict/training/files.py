"""Files that are either complete or not there: written under a temporary name, then renamed.

Knows nothing of what is in the files.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from f1_predict.errors import ArtefactError


def temporary_sibling(path: Path) -> Path:
    """A hidden name beside `path` that nothing else uses, on the same file system so that a rename is atomic."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file, or the new one, and never half of one.

    Missing parent folders are made. An interruption leaves the old file as it was.

    Raises:
        ArtefactError: if it cannot be written there.
    """
    part = temporary_sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ArtefactError(
            f"{path}: cannot be written ({error.strerror}). Choose a place with room that can be written to."
        ) from error
