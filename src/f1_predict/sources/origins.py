"""Where what is said of a race came from: one line per canonical table, race and source.

Knows no source and no table by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Origin:
    """One source's part in one table of one race.

    Attributes:
        table: the canonical table ("laps").
        race_id: the race.
        source: "ergast", "jolpica", "f1db", "fastf1" or "entry_list".
        version: the release, where the source names one; else a short hash of what it said.
        fetched: when this content was first had, UTC.
    """

    table: str
    race_id: str
    source: str
    version: str
    fetched: datetime
