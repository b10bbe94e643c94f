"""What results depend on besides data and settings: this program's code and the libraries under it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import f1_predict

PACKAGE = Path(f1_predict.__file__).parent


def digest_of_code(libraries: Sequence[str], parts: Sequence[str] = (".",)) -> str:
    """SHA-256 of modules and of library versions: equal where the same input gives the same results.

    Args:
        libraries: distribution names; one that is not installed counts as such.
        parts: folders and modules of the package, as "models" or "evaluation/folds.py"; all of it if not given.
    """
    hasher = hashlib.sha256()
    for part in parts:
        place = PACKAGE / part
        for path in [place] if place.suffix == ".py" else sorted(place.rglob("*.py")):
            hasher.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for name in libraries:
        hasher.update(f"{name} {_version(name)}\0".encode())
    return hasher.hexdigest()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
