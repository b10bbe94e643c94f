"""One writer at a time: an exclusive lock on a folder, which ends with the process however that ends.

Knows nothing of what the lock protects.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from f1_predict.errors import StoreError

_held: dict[tuple[Path, int], int] = {}
"""How often each thread of this process holds each lock: who holds one may take it again."""


def lock_file(path: Path) -> Path:
    """The file that is locked for `path`: a hidden one beside it, there only while the lock is held."""
    path = Path(os.path.abspath(path))
    return path.with_name(f".{path.name}.lock")


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of `path`.

    The kernel frees a lock with its process, so a killed writer leaves nothing that must be cleaned up.

    Args:
        path: the file or folder to be written; it need not exist.
        what: what it is, for the message ("store").

    Raises:
        StoreError: if another process holds it, or the place cannot be written to.
    """
    file = lock_file(path)
    key = (file, threading.get_ident())
    if key in _held:
        _held[key] += 1
        try:
            yield
        finally:
            _held[key] -= 1
        return
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise StoreError(
            f"{path}: another f1-predict is writing this {what} now. Wait until it is done, then start again."
        ) from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror}). Free the place, or choose another.") from error
    _held[key] = 1
    try:
        yield
    finally:
        del _held[key]
        _let_go(lock, file)


def is_free(path: Path) -> bool:
    """Whether nobody but this thread holds the lock of `path`."""
    file = lock_file(path)
    if (file, threading.get_ident()) in _held or not file.exists():
        return True
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError:
        return True  # it went away in between, or is nobody's who may write here
    _let_go(lock, file)
    return True


def _let_go(lock: FileLock, file: Path) -> None:
    with suppress(OSError):  # Windows does not part with an open file: there the lock itself removes it
        file.unlink(missing_ok=True)  # while it is held, so that nobody waits for a file that is gone
    lock.release()
