"""What an engine is, and the one of this machine. Knows nothing of races, pictures or models."""

from __future__ import annotations

import multiprocessing
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import TypeVar

from f1_predict.errors import F1PredictError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(ABC):
    """Applies a function to many items, each on its own.

    The function must be importable by name (or a `functools.partial` of such a one), and must give the same for the
    same item whenever and wherever it is called: an item whose process or machine is lost is worked again. Files it
    writes must be written so that doing it twice leaves the same (`files.replace_file`).
    """

    @abstractmethod
    def unordered(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, gpu: bool = False
    ) -> Generator[tuple[int, Result]]:
        """Apply `function` to `items`, which are drawn a few at a time, as they can be worked.

        Args:
            function: see above.
            items: of any number.
            gpu: whether the function computes on a GPU.

        Yields:
            The number of an item, from 0, and its result, as they are done.

        Raises:
            F1PredictError: if an item is lost with its process, or too often with its machine.
            Exception: whatever the function raises.
        """

    def map(self, function: Callable[[Item], Result], items: Iterable[Item], *, gpu: bool = False) -> Generator[Result]:
        """As `unordered`, with the results in the order of the items."""
        early: dict[int, Result] = {}
        following = 0
        with closing(self.unordered(function, items, gpu=gpu)) as done:
            for number, result in done:
                early[number] = result
                while following in early:
                    yield early.pop(following)
                    following += 1


class LocalEngine(Engine):
    """Works in processes of this machine.

    They are spawned, not forked: polars' and torch's threads do not survive a fork. A script that asks for more than
    one must guard its main part with `if __name__ == "__main__":`, since the processes import it.

    Args:
        processes: how many; fewer than 2 means this one, which works the items one after the other.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes

    def unordered(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, gpu: bool = False
    ) -> Generator[tuple[int, Result]]:
        """See Engine; all processes share the GPU there is. A process that is lost ends the work."""
        if self.processes < 2:
            for number, item in enumerate(items):
                yield number, function(item)
            return
        with ProcessPoolExecutor(self.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            pending: dict[Future[Result], int] = {}
            try:
                for number, item in enumerate(items):
                    pending[pool.submit(function, item)] = number
                    if len(pending) >= 2 * self.processes:
                        yield from _finished(pending)
                while pending:
                    yield from _finished(pending)
            except BrokenProcessPool as error:
                raise F1PredictError(
                    "a working process was ended from outside, most likely for want of memory. "
                    "Run it again with --workers 1; what is finished is kept."
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _finished(pending: dict[Future[Result], int]) -> Iterator[tuple[int, Result]]:
    """Wait for one or more, and take them out."""
    for future in wait(pending, return_when=FIRST_COMPLETED).done:
        yield pending.pop(future), future.result()


def default_workers() -> int:
    """One process a core."""
    return os.cpu_count() or 1
