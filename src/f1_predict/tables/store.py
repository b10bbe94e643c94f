"""The processed store: one Parquet file per canonical table and a manifest, replaced as a whole or not at all.

A new store is written beside the old one and swapped in by renaming. Whenever the writer is killed, the next
reader finds the old store or the new one, whole. One process writes at a time. Knows nothing of sources.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from f1_predict import __version__, schemas
from f1_predict.errors import StoreError
from f1_predict.schemas import Tables
from f1_predict.sources.locking import exclusive, is_free
from f1_predict.tables.provenance import COLUMNS

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
PROVENANCE = "provenance.parquet"
INGESTED, SIMULATED = "ingested", "simulated"
"""Where the races of a store come from."""
SWAP_S = 10.0
"""How long a reader waits for a writer that is between its two renames."""
REMEDY = (
    "Make one with 'f1-predict fetch --seasons 2023-2024', 'f1-predict ingest --ergast DIR' or 'f1-predict simulate'."
)


def locked(out: Path) -> AbstractContextManager[None]:
    """Hold the store alone: for a change that reads it first. `write_store` may be called within.

    Raises:
        StoreError: if another process is writing it.
    """
    return exclusive(Path(out), "store")


def require_writable(out: Path) -> None:
    """Refuse a place where `write_store` could not write, before the work whose outcome should go there.

    Raises:
        StoreError: as `write_store`.
    """
    with locked(out):
        _require_replaceable(Path(os.path.abspath(out)))


def write_store(tables: Tables, out: Path, *, source: str = INGESTED, provenance: pl.DataFrame | None = None) -> None:
    """Validate, sort and write the tables to the folder `out`, replacing a store that is there.

    Args:
        tables: the canonical tables.
        out: the folder.
        source: where the races come from, INGESTED or SIMULATED; `store_source` gives it back.
        provenance: as `tables.provenance`; None where nothing is known of it.

    Raises:
        SchemaError: if a table breaks its schema; the store stays as it was.
        StoreError: if `out` is a file, or a folder with anything but a store in it, or cannot be written, or
            another process is writing it; the store stays as it was.
    """
    tables = tables.sort().validate()
    out = Path(os.path.abspath(out))
    with locked(out):
        _replace(tables, out, source, provenance)


def _replace(tables: Tables, out: Path, source: str, provenance: pl.DataFrame | None) -> None:
    new, old = _siblings(out)
    try:
        _recover(out)
        _require_replaceable(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        if new.exists():
            shutil.rmtree(new)
        new.mkdir()
        _write_files(tables, new, source, provenance)
        if out.exists():
            out.rename(old)
        new.rename(out)
        if old.exists():
            shutil.rmtree(old)
    except (OSError, pl.exceptions.PolarsError) as error:  # polars has errors of its own for a write that fails
        _recover(out)
        shutil.rmtree(new, ignore_errors=True)
        raise StoreError(f"{out}: the store cannot be written ({error}). Free the place, or choose another.") from error


def read_store(path: Path, seasons: Iterable[int] | None = None) -> Tables:
    """Read a store.

    Args:
        path: the folder.
        seasons: the seasons wanted, each by its year; None for all.

    Raises:
        StoreError: if there is no store, a file is missing or damaged, its rows or columns are not those of
            the manifest and the schemas, or it has no race in one of the seasons.
    """
    path = Path(os.path.abspath(path))
    tables = _read_tables(path)
    if seasons is None:
        return tables
    wanted = set(seasons)
    have = set(tables.races["season"].unique().to_list())
    if missing := sorted(wanted - have):
        known = f"it has {min(have)} to {max(have)}" if have else "it has none"
        raise StoreError(
            f"{path}: the store has no race in {', '.join(map(str, missing))}; {known}. Fetch or ingest them first."
        )
    races = tables.races.filter(pl.col("season").is_in(sorted(wanted)))
    keys = races.select("race_id")
    return tables.map(
        lambda name, frame: (
            races if name == "races" else frame.join(keys, on="race_id", how="semi", maintain_order="left")
        )
    )


def _read_tables(path: Path) -> Tables:
    """All tables of one and the same store; a store that is replaced meanwhile is read again from the start."""
    _wait_for_swap(path)
    manifest = _read_manifest(path)
    try:
        return Tables(**{name: _read_table(path, name, manifest) for name in schemas.TABLE_NAMES})
    except StoreError:
        _wait_for_swap(path)
        if _read_manifest(path) == manifest:
            raise
    return _read_tables(path)


def store_source(path: Path) -> str | None:
    """INGESTED or SIMULATED; None where there is no store, or an empty folder for one.

    Raises:
        StoreError: if there is a store whose manifest cannot be read.
    """
    path = Path(os.path.abspath(path))
    _wait_for_swap(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    return str(_read_manifest(path).get("source", INGESTED))


def read_provenance(path: Path) -> pl.DataFrame:
    """Where the races of a store came from, as `tables.provenance`; no rows where the store does not say.

    Raises:
        StoreError: if there is no store, or its list of origins is missing or damaged.
    """
    path = Path(os.path.abspath(path))
    _wait_for_swap(path)
    manifest = _read_manifest(path)
    if "provenance" not in manifest:
        return pl.DataFrame(schema=COLUMNS)
    return _read_file(path / PROVENANCE, manifest["provenance"], pl.Schema(COLUMNS))


def _wait_for_swap(path: Path) -> None:
    """Let a writer finish that is swapping stores now; undo the swap of one that was killed in it."""
    for _ in range(int(SWAP_S / 0.05)):
        if path.exists() or not _siblings(path)[1].exists() or is_free(path):
            break
        time.sleep(0.05)
    if is_free(path):
        _recover(path)


def _siblings(out: Path) -> tuple[Path, Path]:
    """The folder in which a new store is built, and the one to which the old store steps aside."""
    return out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")


def _recover(out: Path) -> None:
    """Undo, or finish, a swap that was cut off: an old store that stepped aside comes back."""
    _, old = _siblings(out)
    if not old.exists():
        return
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(out)


def _require_replaceable(out: Path) -> None:
    """Refuse to replace a folder that holds anything but a store."""
    if not out.exists():
        return
    if not out.is_dir():
        raise StoreError(f"{out} is a file. Give a folder for the store.")
    own = {MANIFEST, PROVENANCE, *(f"{name}.parquet" for name in schemas.TABLE_NAMES)}
    foreign = sorted(entry.name for entry in out.iterdir() if entry.name not in own)
    if foreign:
        raise StoreError(
            f"{out} holds '{foreign[0]}', which is no part of a store, and would be lost. "
            "Give a new or empty folder, or move it away."
        )


def _write_files(tables: Tables, folder: Path, source: str, provenance: pl.DataFrame | None) -> None:
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "package_version": __version__,
        "source": source,
    }
    seasons = tables.races["season"]
    manifest["seasons"] = [seasons.min(), seasons.max()]
    manifest["tables"] = {}
    for field in fields(tables):
        manifest["tables"][field.name] = _write_file(folder / f"{field.name}.parquet", getattr(tables, field.name))
    if provenance is not None:
        manifest["provenance"] = _write_file(folder / PROVENANCE, provenance)
    file = folder / MANIFEST
    file.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    _flush(file)


def _write_file(file: Path, frame: pl.DataFrame) -> dict[str, Any]:
    """Write a table; returns what the manifest says of it."""
    frame.write_parquet(file, compression="zstd")
    _flush(file)
    return {"rows": frame.height, "sha256": _sha256(file)}


def _flush(file: Path) -> None:
    """Bring the bytes to the disk before a rename makes them the store."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"{path}: there is no processed store here ({MANIFEST} is missing). {REMEDY}") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{file}: cannot be read ({error}). {REMEDY}") from error
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or version != SCHEMA_VERSION:
        raise StoreError(f"{file}: schema version must be {SCHEMA_VERSION}, is {version}. {REMEDY}")
    if not isinstance(manifest.get("tables"), dict):
        raise StoreError(f"{file}: the list of tables is missing. {REMEDY}")
    return manifest


def _read_table(path: Path, name: str, manifest: dict[str, Any]) -> pl.DataFrame:
    told = manifest["tables"].get(name)
    if not isinstance(told, dict):
        raise StoreError(f"{path / MANIFEST}: table '{name}' is missing. {REMEDY}")
    return _read_file(path / f"{name}.parquet", told, pl.DataFrame(schema=schemas.dtypes(name)).schema)


def _read_file(file: Path, told: dict[str, Any], wanted: pl.Schema) -> pl.DataFrame:
    try:
        digest = _sha256(file)
        if digest != told.get("sha256"):
            raise StoreError(f"{file}: the file is not the one that the manifest describes. {REMEDY}")
        frame = pl.read_parquet(file)
    except FileNotFoundError as error:
        raise StoreError(f"{file}: the file is missing. {REMEDY}") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{file}: cannot be read ({error}). {REMEDY}") from error
    if frame.height != told.get("rows"):
        raise StoreError(f"{file}: must have {told.get('rows')} rows, has {frame.height}. {REMEDY}")
    if frame.schema != wanted:
        raise StoreError(f"{file}: columns must be {dict(wanted)}, are {dict(frame.schema)}. {REMEDY}")
    return frame
