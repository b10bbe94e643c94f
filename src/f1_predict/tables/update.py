"""Brings a store up to date race by race: new races are added, corrected ones replaced and told, others untouched.

What the newer word knows less of (a fetch without f1db or FastF1 over an ingest with them) is kept by `precedence`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

import polars as pl

from f1_predict import schemas
from f1_predict.errors import StoreError
from f1_predict.schemas import Tables
from f1_predict.tables.laps import mean_speed
from f1_predict.tables.precedence import ENTRY_LIST, FAMILY, first_source
from f1_predict.tables.provenance import COLUMNS, Families, families_of, in_order, with_inferred
from f1_predict.tables.store import SIMULATED, locked, read_provenance, read_store, store_source, write_store

KEYS = {
    "races": ["race_id"],
    "entries": ["race_id", "driver_id"],
    "results": ["race_id", "driver_id"],
    "laps": ["race_id", "driver_id", "lap"],
    "weather": ["race_id", "time_s"],
}
LISTED = ("constructor_id", "car_number", "grid")
"""What an entry list says of a driver."""
SHOWN = 5
"""Drivers named in one line of a change."""


@dataclass(frozen=True)
class Change:
    """What became of one race.

    Attributes:
        race_id: the race.
        kind: "added", "completed" (rows or columns that were not there), "corrected" or "removed".
        text: what changed, for people.
    """

    race_id: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.race_id} {self.kind}: {self.text}"


@dataclass(frozen=True)
class Updated:
    """The tables and their provenance after an update, and what changed; no changes mean the very same tables."""

    tables: Tables
    provenance: pl.DataFrame
    changes: tuple[Change, ...]


def update_tables(
    old: Tables | None,
    old_provenance: pl.DataFrame,
    new: Tables,
    new_provenance: pl.DataFrame,
    calendar: Collection[str] = (),
) -> Updated:
    """Lay newly built races over those of a store.

    Args:
        old: the store's tables; None where there is no store.
        old_provenance: where they came from, as `tables.provenance`.
        new: newly built races, whole ones.
        new_provenance: where these came from.
        calendar: race_ids of the whole calendars of some seasons, of races too that `new` lacks because too little is
            known of them. A coming race of these seasons that is not listed was cancelled.

    Returns:
        all races sorted. A race whose rows are as they were keeps them and its provenance.
    """
    if old is None:
        old = Tables(**{name: schemas.empty(name) for name in schemas.TABLE_NAMES})
    old_provenance = with_inferred(old_provenance, old)
    new = _completed(old, families_of(old_provenance), new, families_of(new_provenance))
    changes = _changes(old, new)
    cancelled = _cancelled(old, calendar)
    changed = [change.race_id for change in changes]
    gone = changed + [change.race_id for change in cancelled]

    def laid_over(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        fresh: pl.DataFrame = getattr(new, name)
        kept = frame.filter(~pl.col("race_id").is_in(gone))
        return pl.concat([kept, fresh.filter(pl.col("race_id").is_in(changed))])

    kept = old_provenance.filter(~pl.col("race_id").is_in(gone))
    fresh = new_provenance.filter(pl.col("race_id").is_in(changed))
    same = [race_id for race_id in changed if race_id in set(_same_events(old, new))]
    still = _still_from_old(old_provenance, new_provenance, same, set(new.results["race_id"]))
    return Updated(
        old.map(laid_over).sort(),
        in_order(pl.concat([kept, fresh, still]).select(*COLUMNS)),
        tuple(sorted([*changes, *cancelled], key=lambda change: _order(change.race_id))),
    )


def update_store(
    out: Path, new: Tables, provenance: pl.DataFrame, calendar: Collection[str] = ()
) -> tuple[Change, ...]:
    """`update_tables` on the store in a folder, which may not be there yet. Nothing is written if nothing changed.

    Raises:
        StoreError: if the store is simulated, damaged, or cannot be written, or another process is writing it.
        SchemaError: if the outcome breaks a schema; the store stays as it was.
    """
    with locked(out):
        source = require_real(out)
        old = None if source is None else read_store(out)
        known = pl.DataFrame(schema=COLUMNS) if source is None else read_provenance(out)
        updated = update_tables(old, known, new, provenance, calendar)
        if updated.changes:
            write_store(updated.tables, out, provenance=updated.provenance)
        return updated.changes


def require_real(out: Path) -> str | None:
    """What `store_source` says of the folder, unless its races are simulated.

    Raises:
        StoreError: if they are: real ones do not belong among them.
    """
    source = store_source(out)
    if source == SIMULATED:
        raise StoreError(
            f"{out} holds simulated races, and real ones do not belong among them. "
            "Give another folder with --out, or remove that one yourself."
        )
    return source


def _order(race_id: str) -> tuple[int, int]:
    season, _, number = race_id.split("_")
    return int(season), int(number)


def _still_from_old(old: pl.DataFrame, new: pl.DataFrame, changed: list[str], run: set[str]) -> pl.DataFrame:
    """Origins of changed races from sources that the newer build lacks: what they knew was kept."""
    after = families_of(new)
    kept = [
        row
        for row in old.filter(pl.col("race_id").is_in(changed)).iter_rows()
        if (family := FAMILY[row[2]]) not in after.get((row[0], row[1]), set())
        and not (family == ENTRY_LIST and row[1] in run)  # a list of entries ends with the race
    ]
    return pl.DataFrame(kept, schema=COLUMNS, orient="row")


def _completed(old: Tables, before: Families, new: Tables, after: Families) -> Tables:
    """`new` with what only the old build's sources knew, for races that are the same event."""
    same = _same_events(old, new)
    done: dict[str, pl.DataFrame] = {}
    for name in schemas.TABLE_NAMES:
        frame: pl.DataFrame = getattr(new, name)
        for known, now, race_ids in _groups(name, same, before, after):
            was, fresh = _of(getattr(old, name), race_ids), _of(frame, race_ids)
            absent = was.join(fresh, on="race_id", how="anti")  # a race without a row now keeps those it had
            if name != "weather":
                fresh = _with_old(fresh, was, name, known - {ENTRY_LIST}, now)
            if name == "entries" and ENTRY_LIST in known - now:
                fresh = _entry_list_first(fresh, was, new.results, known - now)
            frame = pl.concat([frame.filter(~pl.col("race_id").is_in(race_ids)), fresh, absent])
        done[name] = frame
    lengths = done["races"].select("race_id", "course_length_km")
    laps = done["laps"].join(lengths, on="race_id", how="left", maintain_order="left")
    speed = mean_speed(pl.col("course_length_km"), pl.col("lap_time_s"))
    laps = laps.with_columns(speed_kmh=speed).drop("course_length_km")
    grid = done["entries"].select("race_id", "driver_id", "grid")
    laps = laps.join(grid, on=["race_id", "driver_id"], how="left", maintain_order="left")
    # A start from the pit lane shows in the grid, which may be one that was kept.
    start = (pl.col("lap") == 1) & pl.col("pit_out").is_not_null() & pl.col("grid").is_not_null()
    rolled = pl.when(start).then(pl.col("grid") == 0).otherwise("pit_out")
    done["laps"] = laps.with_columns(pit_out=rolled).drop("grid")
    return Tables(**done).sort()


def _same_events(old: Tables, new: Tables) -> list[str]:
    """Races of both at the same circuit: when a calendar changes, a round may become another event."""
    both = new.races.join(old.races, on=["race_id", "circuit_id"], how="semi", maintain_order="left")
    return both["race_id"].to_list()


def _groups(
    table: str, race_ids: list[str], before: Families, after: Families
) -> list[tuple[set[str], set[str], list[str]]]:
    """Races that are in both builds, by (sources then, sources now) of one table."""
    groups: dict[tuple[frozenset[str], frozenset[str]], list[str]] = {}
    for race_id in race_ids:
        key = (table, race_id)
        groups.setdefault((frozenset(before.get(key, set())), frozenset(after.get(key, set()))), []).append(race_id)
    return [(set(known), set(now), ids) for (known, now), ids in groups.items()]


def _of(frame: pl.DataFrame, race_ids: list[str]) -> pl.DataFrame:
    return frame.filter(pl.col("race_id").is_in(race_ids))


def _with_old(fresh: pl.DataFrame, was: pl.DataFrame, table: str, known: set[str], now: set[str]) -> pl.DataFrame:
    """Rows with the old value of each column whose best source is one that the newer build lacks."""
    keys, lost = KEYS[table], known - now
    every = known | now
    columns = [c for c in fresh.columns if c not in keys and first_source(table, c, every) in lost]
    if not columns or was.is_empty() or fresh.is_empty():
        return fresh
    before = was.select(*keys, *(pl.col(c).alias(f"_{c}") for c in columns))
    if "end_time_s" in columns:
        retimed = pl.col("race_id").is_in(_retimed(fresh, was))
        before = before.with_columns(_end_time_s=pl.when(~retimed).then("_end_time_s"))
    joined = fresh.join(before, on=keys, how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce(f"_{c}", c).alias(c) for c in columns).select(fresh.columns)


def _retimed(fresh: pl.DataFrame, was: pl.DataFrame) -> list[str]:
    """Races with other lap times than before: the clock of those is no clock of these."""
    columns = ["race_id", "driver_id", "lap", "lap_time_s"]
    parts = [one.join(other, on=columns, how="anti") for one, other in ((fresh, was), (was, fresh))]
    return pl.concat([part.select("race_id") for part in parts]).unique()["race_id"].to_list()


def _entry_list_first(fresh: pl.DataFrame, was: pl.DataFrame, results: pl.DataFrame, lost: set[str]) -> pl.DataFrame:
    """Of coming races the user's entry list says who starts for whom and from where; all else is the services'."""
    coming = fresh.join(results, on="race_id", how="anti").select("race_id").unique()
    if coming.is_empty():
        return fresh
    pair = ["race_id", "driver_id"]
    others = [c for c in fresh.columns if c not in (*pair, *LISTED)]
    old = was.join(coming, on="race_id", how="semi")
    listed = old.select(*pair, *LISTED).join(fresh.select(*pair, *others), on=pair, how="left", maintain_order="left")
    kept = [c for c in others if first_source("entries", c, lost) is not None]
    before = old.select(*pair, *(pl.col(c).alias(f"_{c}") for c in kept))
    listed = listed.join(before, on=pair, how="left", maintain_order="left")
    listed = listed.with_columns(pl.coalesce(c, f"_{c}") for c in kept).select(fresh.columns)
    return pl.concat([fresh.join(coming, on="race_id", how="anti"), listed])


def _changes(old: Tables, new: Tables) -> list[Change]:
    """The races of `new` that are not as they were, and how."""
    known = set(old.races["race_id"])
    race_ids = new.races["race_id"].to_list()
    before = {f.name: _by_race(_of(getattr(old, f.name), race_ids)) for f in fields(old)}
    after = {f.name: _by_race(getattr(new, f.name)) for f in fields(new)}
    changes = []
    for race_id in race_ids:
        if race_id not in known:
            rows = ", ".join(
                f"{after[n][race_id].height} {n}" for n in ("entries", "results", "laps") if race_id in after[n]
            )
            changes.append(Change(race_id, "added", f"{after['races'][race_id]['name'][0]}, {rows or 'coming'}"))
            continue
        texts, corrected = [], False
        for name in schemas.TABLE_NAMES:
            was, now = before[name].get(race_id), after[name].get(race_id)
            if now is None or (was is not None and was.equals(now)):
                continue
            if was is None:
                texts.append(f"{now.height} {name} new")
                continue
            corrected |= _contradicts(name, was, now)
            texts.append(_results_text(was, now) if name == "results" else _rows_text(name, was, now))
        if texts:
            changes.append(Change(race_id, "corrected" if corrected else "completed", "; ".join(texts)))
    return changes


def _by_race(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {str(key[0]): rows for key, rows in frame.partition_by("race_id", as_dict=True).items()}


def _contradicts(name: str, was: pl.DataFrame, now: pl.DataFrame) -> bool:
    """Whether a row is gone or a known value is another now; values that were unknown only complete it."""
    keys = KEYS[name]
    both = was.join(now, on=keys, how="left", suffix="_now", maintain_order="left")
    if was.join(now, on=keys, how="anti").height:
        return True
    others = [c for c in was.columns if c not in keys]
    return any(both.filter(pl.col(c).is_not_null() & pl.col(c).ne_missing(pl.col(f"{c}_now"))).height for c in others)


def _results_text(was: pl.DataFrame, now: pl.DataFrame) -> str:
    both = was.join(now, on="driver_id", how="full", coalesce=True, suffix="_now").sort(
        "position_now", "driver_id", nulls_last=True
    )
    parts = []
    for row in both.iter_rows(named=True):
        if row["position"] != row["position_now"]:
            parts.append(f"{row['driver_id']} {row['position'] or 'absent'} -> {row['position_now'] or 'absent'}")
        elif any(row[c] != row[f"{c}_now"] for c in ("classified", "status", "laps_completed")):
            parts.append(
                f"{row['driver_id']} {row['status']} -> {row['status_now']} ({row['laps_completed_now']} laps)"
            )
    return f"results {', '.join(parts[:SHOWN])}{' ...' if len(parts) > SHOWN else ''}"


def _rows_text(name: str, was: pl.DataFrame, now: pl.DataFrame) -> str:
    other = now.height - now.join(was, on=now.columns, how="semi", nulls_equal=True).height
    columns = [c for c in now.columns if not was[c].equals(now[c])] if was.height == now.height else []
    which = f" ({', '.join(columns[:SHOWN])})" if columns else ""
    return f"{name} {other} of {now.height} rows{which}"


def _cancelled(old: Tables, calendar: Collection[str]) -> list[Change]:
    """Coming races of the store that a whole calendar no longer lists."""
    seasons = {_order(race_id)[0] for race_id in calendar}
    coming = old.races.filter(pl.col("season").is_in(list(seasons))).join(old.results, on="race_id", how="anti")
    rows: list[tuple[str, str, date]] = list(coming.select("race_id", "name", "date").iter_rows())
    return [
        Change(race_id, "removed", f"{name} of {day} is no longer in the calendar")
        for race_id, name, day in rows
        if race_id not in calendar
    ]
