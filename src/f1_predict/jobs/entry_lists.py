"""Commands for a coming race's entries and grid: a file to fill in, and reading it into the store."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from f1_predict.errors import ConfigError
from f1_predict.jobs.fetching import World
from f1_predict.tables import read_store, write_store
from f1_predict.tables.entry_list import new_names, read_entry_list, template, with_entry_list
from f1_predict.tables.store import locked, read_provenance, store_source
from f1_predict.training.files import write_atomically


def write_template(console: Console, data: Path, race_id: str, out: Path) -> None:
    """Write the entry list of a coming race, to be filled in.

    Raises:
        NotFoundError, DataError: as `entry_list.template`.
        ConfigError: if the file is there already.
    """
    text = template(read_store(data), race_id)
    if out.exists():
        raise ConfigError(f"{out} is there already, and may hold your entries. Give another file with --out.")
    write_atomically(out, text.encode())
    console.print(f"Fill in {out}, then: f1-predict entries add --race {race_id} --file {out}", highlight=False)


def add_entries(console: Console, data: Path, race_id: str, file: Path, world: World | None = None) -> None:
    """Read a filled-in entry list into the store.

    Raises:
        SourceFileError: as `read_entry_list`.
        NotFoundError, DataError: as `with_entry_list`.
        StoreError: if another process is writing the store.
    """
    listed = read_entry_list(file)
    now = (world or World()).now()
    with locked(data):
        tables = read_store(data)
        updated = with_entry_list(tables, read_provenance(data), race_id, listed, now)
        for name in new_names(tables, listed):
            console.print(f"Note: {name} is new to the store. If that is a slip, correct {file} and add it again.")
        if updated.changes:
            source = store_source(data) or ""
            write_store(updated.tables, data, source=source, provenance=updated.provenance)
    text = "; ".join(str(change) for change in updated.changes) or f"{race_id}: nothing changed"
    console.print(text, highlight=False)
