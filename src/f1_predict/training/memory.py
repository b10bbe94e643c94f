"""Batches that shrink when memory runs out, for encoding and fitting alike.

Knows nothing of pictures or models: the caller says what one attempt with a batch size is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from f1_predict.errors import ConfigError, F1PredictError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# torch raises a plain RuntimeError where the host's memory runs out, and for CUDA's matrix library;
# these are the words it uses (c10/core/impl/alloc_cpu.cpp, ATen/cuda/Exceptions.h).
_OUT_OF_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the host or on the accelerator."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY_WORDS)


class BatchSize:
    """A number of rows that halves whenever memory runs out, and stays there.

    Args:
        rows: the size to start with.
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

    def run(self, attempt: Callable[[int], Result]) -> Result:
        """Call `attempt(rows)`, and again with half the rows for as long as memory runs out.

        `attempt` must leave nothing behind when it raises: it is called again from the start, so that no row
        is lost or counted twice. Each halving logs a warning.

        Raises:
            F1PredictError: if memory runs out with a single row.
            Exception: any error that is not about memory, untouched.
        """
        while True:
            try:
                return attempt(self.rows)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.rows == 1:
                    raise F1PredictError(
                        f"memory ran out while {self._work}, even with a batch of 1 row ({error}). "
                        "Close other programs, choose device 'cpu', or use a machine with more memory."
                    ) from error
                reason = str(error) or type(error).__name__
            # Outside of `except`, where the traceback no longer keeps the failed attempt's tensors alive.
            self._halve(reason)

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
