"""Commands that write the canonical tables, and how every other command opens them."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from f1_predict.config import Config
from f1_predict.errors import StoreError
from f1_predict.horizon import RaceArchive
from f1_predict.report import terminal
from f1_predict.sources.simulator import simulate
from f1_predict.tables import (
    SIMULATED,
    count_skipped,
    ingest,
    read_provenance,
    read_store,
    store_source,
    write_skipped_races,
    write_store,
)
from f1_predict.tables.provenance import dump_provenance
from f1_predict.tables.skipped import skipped_file
from f1_predict.training.files import write_atomically

Seasons = tuple[int, int] | None


def ingest_races(
    console: Console, ergast: Path, f1db: Path | None, fastf1: Path | None, seasons: Seasons, out: Path
) -> None:
    """Read real races, write the store, say what was found untidy.

    Raises:
        SourceFileError, SchemaError: as `ingest`.
        StoreError: if `out` holds fetched races or entry lists, or cannot be written.
    """
    start = time.perf_counter()
    _require_ingestible(out)
    found = ingest(ergast, f1db, fastf1, seasons)
    quality = out.with_name(f"{out.name}_quality.json")
    checks = [asdict(check) for check in found.quality]
    write_atomically(quality, (json.dumps(checks, indent=1, ensure_ascii=False) + "\n").encode())
    skipped = write_skipped_races(found.tables, skipped_file(out))
    folders = {"ergast": ergast, "f1db": f1db, "fastf1": fastf1}
    origins = dump_provenance(found.tables, {name: path for name, path in folders.items() if path is not None})
    write_store(found.tables, out, provenance=origins)  # last, so that whatever fails leaves the old store
    tables = found.tables
    console.print(
        f"Ingested {tables.races.height:,} races, {tables.results.height:,} results, {tables.laps.height:,} laps "
        f"in {time.perf_counter() - start:.1f} s -> {out}"
    )
    console.print(terminal.quality_table(found.quality))
    console.print(f"All rows behind these counts -> {quality}")
    console.print(f"{skipped}, listed in {skipped_file(out)}")


def _require_ingestible(out: Path) -> None:
    """Refuse to replace what was fetched or typed in: an ingest knows nothing of it."""
    try:
        sources = set() if store_source(out) is None else set(read_provenance(out)["source"])
    except StoreError:
        return  # a store that cannot be read holds nothing, and an ingest is the remedy that its error names
    if mine := sorted(sources & {"jolpica", "entry_list"}):
        raise StoreError(
            f"{out} holds races from {' and '.join(_WORDS[name] for name in mine)}, which ingested ones would replace. "
            "Give another folder (--out, or --work of the whole job), or remove that one yourself."
        )


_WORDS = {"jolpica": "Jolpica (f1-predict fetch)", "entry_list": "an entry list (f1-predict entries add)"}


def simulate_races(console: Console, seasons: int, seed: int, out: Path, config: Config) -> None:
    """Write simulated seasons, never in the place of ingested ones.

    Raises:
        StoreError: if `out` holds ingested races, or a store that cannot be read.
    """
    start = time.perf_counter()
    tables = simulate(seasons, seed, config.simulator)
    if store_source(out) not in (None, SIMULATED):
        raise StoreError(
            f"{out} holds ingested races, which simulated ones would replace. "
            "Give another folder (--out, or --work of the whole job), or remove that one yourself."
        )
    write_skipped_races(tables, skipped_file(out))
    write_store(tables, out, source=SIMULATED)
    console.print(
        f"Simulated {tables.races.height} races of {seasons} seasons (seed {seed}), {tables.laps.height:,} laps, "
        f"in {time.perf_counter() - start:.1f} s -> {out}"
    )


def skipped_text(data: Path) -> str:
    """How many races and drivers have no laps and so no picture; a store may have come without the list of them."""
    if not skipped_file(data).is_file():
        return f"races and drivers without laps were not counted: there is no {skipped_file(data)}"
    return str(count_skipped(skipped_file(data)))


def open_archive(data: Path, seasons: Seasons = None) -> RaceArchive:
    """The races of a store, of some seasons or all."""
    return RaceArchive(read_store(data, None if seasons is None else range(seasons[0], seasons[1] + 1)))
