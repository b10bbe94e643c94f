"""Times two ways of the same work in turns, and says how many times as fast one is, with the spread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of some rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of one value a round."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True)
class Measured:
    """One kind of work.

    Attributes:
        name: what was done.
        unit: of the figures: "ms a picture".
        plain: the reference; None where there is none.
        ours: what is measured.
        times: how many times as fast, round by round.
        wanted: least times as fast, or most of the unit; None for no aim.
        note: how it was done.
    """

    name: str
    unit: str
    ours: Spread
    plain: Spread | None = None
    times: Spread | None = None
    wanted: str | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(
    name: str,
    unit: str,
    scale: float,
    plain: tuple[Callable[[], object], int],
    ours: tuple[Callable[[], object], int],
    rounds: int,
    wanted: str | None = None,
    note: str = "",
) -> Measured:
    """Time both in turns, `rounds` times, after one call each that warms up.

    Args:
        name, unit, wanted, note: see Measured.
        scale: figures are seconds a thing times this.
        plain, ours: the work, and how many things it does.
        rounds: pairs of timings.
    """
    for work, _ in (plain, ours):
        work()
    pairs = [(seconds_of(plain[0]) / plain[1] * scale, seconds_of(ours[0]) / ours[1] * scale) for _ in range(rounds)]
    return Measured(
        name,
        unit,
        Spread.of([own for _, own in pairs]),
        Spread.of([theirs for theirs, _ in pairs]),
        Spread.of([theirs / own for theirs, own in pairs]),
        wanted,
        note,
    )


def alone(
    name: str, unit: str, scale: float, ours: tuple[Callable[[], object], int], rounds: int,
    wanted: str | None = None, note: str = "",
) -> Measured:  # fmt: skip
    """Time work that has no plain counterpart."""
    ours[0]()
    figures = [seconds_of(ours[0]) / ours[1] * scale for _ in range(rounds)]
    return Measured(name, unit, Spread.of(figures), wanted=wanted, note=note)
