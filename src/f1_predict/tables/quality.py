"""What was found wrong in the sources, and what was done about it: plain rows, no formatting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Check:
    """One line of the quality report.

    Attributes:
        source: "ergast", "f1db", "fastf1" or "tables".
        name: what was counted, as a phrase.
        count: how many.
        total: out of how many, where that is known.
        examples: the rows it counted, as text; all of them where rows were looked at.
    """

    source: str
    name: str
    count: int
    total: int | None = None
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class QualityReport:
    """All checks of one ingest, in the order in which they were made; those that found nothing included."""

    checks: tuple[Check, ...]

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __getitem__(self, name: str) -> Check:
        """The check of a name.

        Raises:
            KeyError: if no such check was made.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


def first_of(source: str, name: str, frame: pl.DataFrame, keys: list[str]) -> tuple[pl.DataFrame, Check]:
    """The first row of each key, in the order of the frame, and a check that counts the others."""
    once = frame.unique(keys, keep="first", maintain_order=True)
    again = frame.clear() if once.height == frame.height else frame.filter(~pl.struct(keys).is_first_distinct())
    return once, check_rows(source, name, again, keys, frame.height)


def check_rows(source: str, name: str, rows: pl.DataFrame, columns: list[str], total: int | None = None) -> Check:
    """A check that counts rows and shows some of their columns as examples."""
    shown = rows.select(columns)
    examples = tuple(" ".join("?" if v is None else str(v) for v in row) for row in shown.iter_rows())
    return Check(source, name, rows.height, total, examples)
