"""What long work says of itself while it runs. Prints nothing: the caller decides how to show it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a piece of work has come.

    Attributes:
        what: the things counted, in the plural ("pictures").
        done, total: how many of them.
        per_second: those done since the work began, divided by the time since then (0.0 at its start).
        seconds_left: at that rate; None while it is unknown.
    """

    what: str
    done: int
    total: int
    per_second: float
    seconds_left: float | None


ProgressCallback = Callable[[Progress], None]


class Meter:
    """Counts work and reports it.

    Args:
        what: the things counted, in the plural.
        total: how many there are.
        callback: called with a Progress on every `add`; None to report nothing.
    """

    def __init__(self, what: str, total: int, callback: ProgressCallback | None) -> None:
        self._what, self._total, self._callback = what, total, callback
        self._start = time.perf_counter()
        self._done = 0

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.perf_counter() - self._start

    def add(self, count: int) -> None:
        """Count `count` more things as done and report."""
        self._done += count
        rate = self._done / self.seconds if self._done and self.seconds > 0.0 else 0.0
        left = (self._total - self._done) / rate if rate > 0.0 else None
        if self._callback is not None:
            self._callback(Progress(self._what, self._done, self._total, rate, left))
