"""Batches that shrink when memory runs out, for encoding and fitting alike.

Knows nothing of pictures or models: the caller says what one attempt with a batch size is.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import torch

from f1_predict.errors import ConfigError, F1PredictError

logger = logging.getLogger(__name__)

if sys.platform != "win32":
    import resource

Result = TypeVar("Result")

CAUTIOUS_ROWS = 8
"""Rows to begin with under a limit on memory, before it is known what a row takes."""
_SAMPLE_S = 0.002
_GROWN = 2.5
"""What twice as many rows may take, times what these took: a peak can be over before it is looked at."""

# torch raises a plain RuntimeError where the host's memory runs out, and for CUDA's matrix library;
# these are the words it uses (c10/core/impl/alloc_cpu.cpp, ATen/cuda/Exceptions.h).
_OUT_OF_MEMORY_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a primitive",  # oneDNN's, for a scratchpad that it got no memory for
    "could not execute a primitive",
    "bad_alloc",  # OpenVINO
)


def limit_resident(size: int) -> None:
    """Cap the resident memory of this process, and of each that it starts, from now on.

    The cap is the process's RLIMIT_RSS. Linux keeps that number and enforces nothing, so it is BatchSize that keeps to
    it: batches grow only as far as there is room. What has no batches takes what it takes.

    Args:
        size: bytes.

    Raises:
        ConfigError: if the size is not above what is resident already, or this system has no such limits.
    """
    if sys.platform == "win32":
        raise ConfigError("a limit on memory needs Linux or macOS. Choose a smaller encoder.batch_size instead.")
    if size <= resident():
        raise ConfigError(
            f"the limit on memory must be above the {resident() / 1e6:,.0f} MB that are resident before any work, "
            f"got {size / 1e6:,.0f} MB."
        )
    _, hard = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def resident_limit() -> int | None:
    """The cap on this process's resident memory, bytes; None without one."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_RSS)
    return None if soft == resource.RLIM_INFINITY else soft


def resident() -> int:
    """Resident memory now, bytes; where the system does not tell (other than Linux), the most so far."""
    if sys.platform == "win32":
        return 0
    now = Path("/proc/self/statm")
    if now.is_file():
        return int(now.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


@cache
def _trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`; None on systems with another allocator."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def return_free_memory() -> None:
    """Give memory that was freed back to the system, where the C library keeps it.

    glibc keeps what it may need again. Blocks of a few megabytes, freed between small ones that stay, leave holes that
    are resident and fit nothing: long work on pictures grows by gigabytes a million of them, although nothing is kept.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


class Peak:
    """The most resident memory while something runs, looked at every other millisecond: `size`, bytes."""

    def __enter__(self) -> Self:
        self.size = resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="f1-predict-memory")
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self.size = max(self.size, resident())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.size = max(self.size, resident())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the host or on the accelerator."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY_WORDS)


class BatchSize:
    """A number of rows that halves whenever memory runs out, and stays there.

    Under a limit on resident memory (see `limit_resident`) it begins with a few rows, doubles while twice as many
    would still fit with some room to spare, by what the last ones took, and halves when they did not.

    Args:
        rows: the size to start with; the largest one under a limit.
        work: what is being done, for messages ("encoding pictures").

    Raises:
        ConfigError: if `rows` is less than 1.

    Example:
        >>> size = BatchSize(64, "adding up")
        >>> numbers, total = list(range(100)), 0
        >>> while numbers:
        ...     taken = size.run(lambda rows: numbers[:rows])
        ...     total, numbers = total + sum(taken), numbers[len(taken):]
        >>> total
        4950
    """

    def __init__(self, rows: int, work: str) -> None:
        if rows < 1:
            raise ConfigError(f"the batch size for {work} must be 1 or more, got {rows}.")
        self.rows = rows
        self._work = work
        self._room = min(rows, CAUTIOUS_ROWS)
        self._base = sys.maxsize

    def run(self, attempt: Callable[[int], Result]) -> Result:
        """Call `attempt(rows)`, and again with half the rows for as long as memory runs out.

        `attempt` must leave nothing behind when it raises: it is called again from the start, so that no row
        is lost or counted twice. Each halving logs a warning.

        Raises:
            F1PredictError: if memory runs out, or goes above the limit, with a single row.
            Exception: any error that is not about memory, untouched.
        """
        limit = resident_limit()
        while True:
            rows = self.rows if limit is None else min(self.rows, self._room)
            try:
                return attempt(rows) if limit is None else self._watched(attempt, rows, limit)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if rows == 1:
                    raise F1PredictError(
                        f"memory ran out while {self._work}, even with a batch of 1 row ({error}). "
                        "Close other programs, choose device 'cpu', or use a machine with more memory."
                    ) from error
                reason = str(error) or type(error).__name__
            # Outside of `except`, where the traceback no longer keeps the failed attempt's tensors alive.
            self.rows = rows
            self._halve(reason)

    def _watched(self, attempt: Callable[[int], Result], rows: int, limit: int) -> Result:
        """Run one attempt under a limit, and learn from what it took how many rows the next one may have."""
        # The least so far: what earlier attempts gave back to the allocator alone is no memory of others.
        self._base = min(self._base, resident())
        with Peak() as peak:
            result = attempt(rows)
        if peak.size > limit:
            if rows == 1 or self._base > limit:
                raise F1PredictError(
                    f"resident memory was {peak.size / 1e6:,.0f} MB while {self._work} with a batch of {rows} row(s), "
                    f"{self._base / 1e6:,.0f} MB of them before it; the limit is {limit / 1e6:,.0f} MB. "
                    "Give more as --max-memory, or do the work in smaller parts."
                )
            logger.warning(
                "%s with a batch of %d rows took %d MB of resident memory, above the limit of %d MB; going on with %d",
                self._work, rows, peak.size // 10**6, limit // 10**6, rows // 2,
            )  # fmt: skip
            self._room = rows // 2
        elif rows == self._room and self._base + _GROWN * (peak.size - self._base) <= limit:
            self._room = 2 * rows
        return result

    def _halve(self, reason: str) -> None:
        halved = self.rows // 2
        logger.warning(
            "memory ran out while %s with a batch of %d rows; going on with %d (%s)",
            self._work,
            self.rows,
            halved,
            reason.splitlines()[0],
        )
        self.rows = halved
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
