"""Writes what a command makes, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from f1_predict.errors import ArtefactError
from f1_predict.files import replace_file


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`, see `files.replace_file`.

    Raises:
        ArtefactError: if it cannot be written there.
    """
    try:
        replace_file(path, content)
    except OSError as error:
        raise ArtefactError(
            f"{path}: cannot be written ({error.strerror}). Choose a place with room that can be written to."
        ) from error
