"""Builds the canonical tables of seasons from the answers that were fetched, by the same way as from files.

Asks nothing of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from f1_predict.errors import DownloadError
from f1_predict.schemas import TABLE_NAMES, Tables
from f1_predict.sources.f1db_release import read_release, stored_release
from f1_predict.sources.fastf1_live import Missing, read_sessions
from f1_predict.sources.jolpica_frames import read_jolpica
from f1_predict.sources.raw import RawCache
from f1_predict.tables.ingest import combine
from f1_predict.tables.provenance import provenance_of
from f1_predict.tables.quality import QualityReport
from f1_predict.tables.races import unscheduled


@dataclass(frozen=True)
class Built:
    """Canonical tables of fetched seasons.

    Attributes:
        tables: validated and sorted.
        provenance: of every table and race, as `tables.provenance`.
        quality: what was found untidy, conflicts between sources included.
        missing: coming races that had to be left out.
        calendar: the race_ids of the whole calendars of the seasons, of races left out too.
    """

    tables: Tables
    provenance: pl.DataFrame
    quality: QualityReport
    missing: tuple[Missing, ...]
    calendar: tuple[str, ...]


def build_fetched(cache: RawCache, seasons: Sequence[int], earlier: pl.DataFrame | None = None) -> Built:
    """The canonical tables of seasons whose answers are on disk, from all sources that are there.

    Args:
        cache: the stored answers.
        seasons: the years.
        earlier: canonical races of other seasons, which a coming race at a known circuit needs.

    Raises:
        DownloadError: if there is no calendar of a season.
        SchemaError: values that contradict each other so that a canonical table would be wrong.
    """
    ergast, origins = read_jolpica(cache, seasons)
    known = set(ergast.races["season"])
    if without := [season for season in seasons if season not in known]:
        raise DownloadError(
            f"{cache.root}: there is no calendar of {without[0]}. It comes from Jolpica: "
            f"'f1-predict fetch --seasons {without[0]} --source jolpica'. If Jolpica has none, leave that season out."
        )
    listed = tuple(ergast.races["race_id"])
    release = stored_release(cache)
    courses = None
    if release is not None:
        courses, more = read_release(release, (min(seasons), max(seasons)))
        origins += more
    sessions, timed = read_sessions(cache, list(ergast.races.select("season", "round").iter_rows()))
    unknown = unscheduled(ergast, courses, earlier)
    keep = {name: getattr(ergast, name).join(unknown, on="race_id", how="anti", maintain_order="left")
            for name in ("races", "qualifying")}  # fmt: skip
    ergast = replace(ergast, **keep)
    found = combine(ergast, courses, sessions if timed else None, earlier)
    missing = [
        Missing(race_id, "race", f"the scheduled laps of {name}, a coming race at a circuit not known: left out")
        for race_id, name in unknown.iter_rows()
    ]
    there = {name: set(getattr(found.tables, name)["race_id"].unique()) for name in TABLE_NAMES}
    used = [origin for origin in [*origins, *timed] if origin.race_id in there[origin.table]]
    return Built(found.tables, provenance_of(used), found.quality, tuple(missing), listed)
