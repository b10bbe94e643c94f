"""A clock that tests move by hand, and that sleeping moves: hours pass in no time."""

from __future__ import annotations

from datetime import UTC, datetime


class FakeClock:
    """Seconds since the epoch; `sleep` adds to them and remembers how long each pause was."""

    def __init__(self, start: datetime = datetime(2020, 6, 1, 12, tzinfo=UTC)) -> None:
        self.now = start.timestamp()
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.pauses.append(seconds)
        self.now += seconds

    def set(self, moment: datetime) -> None:
        self.now = moment.timestamp()

    def utc(self) -> datetime:
        return datetime.fromtimestamp(int(self.now), UTC)
