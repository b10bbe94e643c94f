"""What the store has of each race, what it lacks, and which of that could be had. Counts; prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from f1_predict.schemas import Tables
from f1_predict.sources.fastf1_live import FIRST_SEASON
from f1_predict.sources.jolpica import FIRST_LAPS_SEASON

KINDS = ("entries", "results", "course", "laps", "tyres", "weather")
"""What a race may have, in the order of the columns."""


@dataclass(frozen=True)
class Gap:
    """Something that races lack, and the command that gets it.

    Attributes:
        first, last: seasons; the same where only some rounds of one lack it.
        kind: one of KINDS, or another column.
        rounds: those that lack it; empty if all do.
        command: what gets it.
    """

    first: int
    last: int
    kind: str
    rounds: tuple[int, ...]
    command: str

    def __str__(self) -> str:
        seasons = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        if not self.rounds:
            return f"{seasons}: no {self.kind} of any race -> {self.command}"
        rounds = ", ".join(str(number) for number in self.rounds)
        return f"{seasons}: no {self.kind} of round{'s' * (len(self.rounds) > 1)} {rounds} -> {self.command}"


def coverage(tables: Tables, today: date) -> pl.DataFrame:
    """One row per race in the order of time.

    Returns:
        race_id, season, round, name, and for each of KINDS true (there), false (missing, and could be had) or null
        (not to be had: the race is to come, or there was no such data in its time).
    """
    held = {
        "entries": tables.entries,
        "results": tables.results,
        "course": tables.races.drop_nulls("course_length_km"),
        "laps": tables.laps,
        "tyres": tables.laps.drop_nulls("compound"),
        "weather": tables.weather,
    }
    frame = tables.races.sort("season", "round").select("race_id", "season", "round", "name", "date")
    run = pl.col("date") < today
    timed = run & (pl.col("season") >= FIRST_SEASON)
    due = {
        "entries": pl.col("date") <= today + timedelta(days=1),
        "results": run,
        "course": pl.lit(True),
        "laps": run & (pl.col("season") >= FIRST_LAPS_SEASON),
        "tyres": timed,
        "weather": timed,
    }
    for kind, rows in held.items():
        there = pl.col("race_id").is_in(rows["race_id"].unique().implode())
        frame = frame.with_columns(pl.when(there).then(True).when(due[kind]).then(False).alias(kind))
    return frame.drop("date")


def gaps(covered: pl.DataFrame, data_options: str = "") -> list[Gap]:
    """The gaps of every season and kind.

    Args:
        covered: as returned by `coverage`.
        data_options: added to the commands (" --out DIR --raw DIR"), where the store or the answers are not in their
            usual places.
    """
    # `update` and not `fetch`, which does not ask again for what it holds to be final.
    sources = {"course": " --source jolpica,f1db"}
    sources |= dict.fromkeys(("tyres", "weather"), " --source jolpica,fastf1")
    sources |= dict.fromkeys(("entries", "results", "laps"), "")
    command = "f1-predict update --seasons {}"
    found = [gap for kind in KINDS for gap in gaps_of(covered, kind, command + sources[kind] + data_options)]
    return sorted(found, key=lambda gap: (gap.first, KINDS.index(gap.kind)))


def gaps_of(covered: pl.DataFrame, kind: str, command: str) -> list[Gap]:
    """The gaps of one kind, one per season; neighbouring seasons that lack it altogether are one.

    Args:
        covered: with columns season, round, and `kind` (false = missing).
        kind: the column.
        command: with {} for the seasons.
    """
    found: list[Gap] = []
    for (value,), races in covered.group_by("season", maintain_order=True):
        season, lacking = int(str(value)), races.filter(~pl.col(kind).fill_null(True))
        rounds = tuple(lacking["round"]) if lacking.height < races.height else ()
        if lacking.is_empty():
            continue
        last = found[-1] if found else None
        if last is not None and not rounds and not last.rounds and last.last == season - 1:
            found[-1] = Gap(last.first, season, kind, (), command.format(f"{last.first}-{season}"))
        else:
            found.append(Gap(season, season, kind, rounds, command.format(season)))
    return found
