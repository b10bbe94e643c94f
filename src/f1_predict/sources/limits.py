"""Keeps the published limits of a service, over all runs at once, and foresees how long they make us wait.

Knows nothing of what is asked. The clock and the sleep are given, so that tests need not wait.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from f1_predict.errors import DiskError
from f1_predict.sources.raw import write_whole

LONG_WAIT_S = 5.0
"""Waits from here on are told."""
LOCK_TIMEOUT_S = 30.0
"""A history is held for a moment only; who cannot have it for so long cannot keep the limits."""
Limit = tuple[int, float]
"""So many requests in so many seconds."""


class RateLimiter:
    """Lets requests through no faster than every one of some limits allows.

    Args:
        limits: (requests, seconds) each; none at all lets everything through.
        history: file that remembers when requests were made, so that other runs, later or at the same time, keep the
            limits together.
        clock: seconds since the epoch.
        sleep: waits so many seconds.
        on_wait: told of every long wait, in seconds, before it.

    Raises:
        DiskError: if the history cannot be read or written.
    """

    def __init__(
        self,
        limits: Sequence[Limit],
        history: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        self._on_wait = on_wait
        self.limits, self._history = tuple(limits), history
        self._clock, self._sleep = clock, sleep
        self._times: deque[float] = deque(maxlen=max((count for count, _ in limits), default=1))
        if history is not None and limits:
            self._lock = FileLock(history.with_name(f".{history.name}.lock"), timeout=LOCK_TIMEOUT_S)
            with self._together():
                # What is older than the longest limit is forgotten, so that the file stays small.
                write_whole(history, "".join(f"{moment:.3f}\n" for moment in self._times).encode())

    def wait(self) -> None:
        """Return when the next request may be made, and count it as made.

        Raises:
            DiskError: if the history cannot be read or written.
        """
        if not self.limits:
            return
        while True:
            with self._together():
                left = self.seconds_for(1)
                if left <= 0.0:
                    self._count()
                    return
            if self._on_wait is not None and left >= LONG_WAIT_S:
                self._on_wait(left)
            self._sleep(left)

    def _count(self) -> None:
        now = self._clock()
        self._times.append(now)
        if self._history is not None:
            with self._history.open("a", encoding="ascii") as file:
                file.write(f"{now:.3f}\n")

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Hold the history, with what other runs have added to it."""
        if self._history is None:
            yield
            return
        try:
            self._history.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._times.clear()
                self._times.extend(_read_times(self._history, self._clock()))
                yield
        except OSError as error:
            raise DiskError(
                f"{self._history}: cannot be written ({error.strerror or error}), so that the limits could not be "
                "kept. Make it writable, or free the place."
            ) from error

    def seconds_for(self, requests: int) -> float:
        """How long from now the last of so many requests must wait; 0.0 for none."""
        now, wait = self._clock(), 0.0
        if requests < 1:
            return wait
        for count, window in self.limits:
            rounds, place = divmod(requests - 1, count)
            # Of the n-th request, the one `count` before it must be `window` old, and so on back to those made.
            before = len(self._times) - count + place
            free = self._times[before] + window - now if before >= 0 else 0.0
            wait = max(wait, max(free, 0.0) + rounds * window)
        return wait


def _read_times(history: Path, now: float) -> list[float]:
    """The moments in the file; a line cut short and a moment in the future (another clock) are left out."""
    if not history.exists():
        return []
    times = []
    for line in history.read_text(encoding="ascii", errors="replace").splitlines():
        try:
            moment = float(line)
        except ValueError:
            continue
        if moment <= now:
            times.append(moment)
    return sorted(times)
