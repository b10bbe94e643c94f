"""Files that are either complete or not there: written under a temporary name, then renamed.

Knows nothing of what is in the files; who calls says what a failure means.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def temporary_sibling(path: Path) -> Path:
    """A hidden name beside `path` that nothing else uses, on the same file system so that a rename is atomic."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def replace_file(path: Path, content: bytes, part: Path | None = None) -> None:
    """Write `content` to `path` so that a reader sees the old file, or the new one, and never half of one.

    Missing parent folders are made. An interruption leaves the old file as it was.

    Args:
        path: of the file.
        content: all of it.
        part: the temporary name, in the same folder; `temporary_sibling` if not given.

    Raises:
        OSError: if it cannot be written there; what was there stays.
    """
    part = part or temporary_sibling(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
