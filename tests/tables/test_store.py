"""The processed store is whole, old or new, whatever happens to the writer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from f1_predict.errors import SchemaError, StoreError
from f1_predict.schemas import TABLE_NAMES, Tables
from f1_predict.tables import ingest, read_store, write_store
from tests.tables import foreign
from tests.tables.test_ingest import assert_equal


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    tmp_path = tmp_path_factory.mktemp("tables")
    return ingest(foreign.ergast(tmp_path), foreign.f1db(tmp_path), foreign.fastf1(tmp_path)).tables


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return ingest(foreign.ergast(tmp_path_factory.mktemp("other")), seasons=(1955, 1955)).tables


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_what_is_written_is_read_back(tables: Tables, tmp_path: Path) -> None:
    write_store(tables, tmp_path / "deep" / "store")
    assert_equal(read_store(tmp_path / "deep" / "store"), tables)
    assert sorted(content(tmp_path / "deep" / "store")) == sorted(
        ["manifest.json", *(f"{n}.parquet" for n in TABLE_NAMES)]
    )
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["store"]


def test_the_manifest_says_what_is_in_it(tables: Tables, tmp_path: Path) -> None:
    write_store(tables, tmp_path / "store")
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest["seasons"] == [1955, 2020]
    assert {name: table["rows"] for name, table in manifest["tables"].items()} == {
        "races": 3, "entries": 9, "results": 9, "laps": 16, "weather": 3,
    }  # fmt: skip


def test_the_same_tables_make_the_same_bytes(tables: Tables, tmp_path: Path) -> None:
    write_store(tables, tmp_path / "a")
    write_store(tables.map(lambda _, frame: frame.reverse()), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_new_store_replaces_the_old(tables: Tables, other: Tables, tmp_path: Path) -> None:
    write_store(tables, tmp_path / "store")
    write_store(other, tmp_path / "store")
    assert_equal(read_store(tmp_path / "store"), other)


def test_seasons(tables: Tables, tmp_path: Path) -> None:
    write_store(tables, tmp_path / "store")
    read = read_store(tmp_path / "store", seasons=[1955])
    assert read.races["race_id"].to_list() == ["1955_race_1"]
    assert (read.results.height, read.laps.height) == (3, 0)
    with pytest.raises(
        StoreError, match=r"has no race in 1999, 2031; it has 1955 to 2020\. Fetch or ingest them first"
    ):
        read_store(tmp_path / "store", seasons=[2031, 1999, 1955])


@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_between_any_two_renames_leaves_a_whole_store(
    tables: Tables, other: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """A kill is an exception that nothing catches, raised at the nth rename."""
    store = tmp_path / "store"
    write_store(tables, store)
    rename, done = Path.rename, []

    def killed(self: Path, target: Path) -> Path:
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        write_store(other, store)
    monkeypatch.undo()
    assert_equal(read_store(store), tables)
    write_store(other, store)
    assert_equal(read_store(store), other)
    assert not list(tmp_path.glob(".store.*"))


def test_a_kill_before_the_old_store_is_cleared_leaves_the_new_one(
    tables: Tables, other: Tables, tmp_path: Path
) -> None:
    write_store(tables, tmp_path / ".store.old")
    write_store(other, tmp_path / "store")
    assert_equal(read_store(tmp_path / "store"), other)
    assert not (tmp_path / ".store.old").exists()


def test_a_table_that_breaks_its_schema_leaves_the_store_as_it_was(tables: Tables, tmp_path: Path) -> None:
    write_store(tables, tmp_path / "store")
    before = content(tmp_path / "store")
    with pytest.raises(SchemaError, match="table 'races'"):
        write_store(
            tables.map(lambda n, f: f.with_columns(round=pl.lit(0, pl.Int32)) if n == "races" else f),
            tmp_path / "store",
        )
    assert content(tmp_path / "store") == before


def test_a_disk_error_leaves_the_store_as_it_was(
    tables: Tables, other: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(tables, tmp_path / "store")
    before = content(tmp_path / "store")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot be written .*No space left.*Free the place, or choose another"):
        write_store(other, tmp_path / "store")
    assert content(tmp_path / "store") == before
    assert not list(tmp_path.glob(".store.*"))


def test_a_folder_with_anything_else_in_it_is_not_replaced(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match=r"holds 'thesis\.txt', which is no part of a store"):
        write_store(tables, tmp_path / "home")
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"is a file\. Give a folder for the store"):
        write_store(tables, tmp_path / "file")


def test_an_empty_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no processed store here.*f1-predict ingest --ergast DIR"):
        read_store(tmp_path)


def _cut(folder: Path) -> None:
    data = (folder / "laps.parquet").read_bytes()
    (folder / "laps.parquet").write_bytes(data[: len(data) // 2])


def _edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def _forget_a_row(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tables"]["laps"]["rows"] += 1
    _edit_manifest(folder, tables=manifest["tables"])


def _forget_a_table(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["tables"]["laps"]
    _edit_manifest(folder, tables=manifest["tables"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "laps.parquet").unlink(), "laps.parquet: the file is missing"),
        (_cut, "laps.parquet: the file is not the one that the manifest describes"),
        (_forget_a_row, "laps.parquet: must have 17 rows, has 16"),
        (_forget_a_table, "manifest.json: table 'laps' is missing"),
        (lambda f: _edit_manifest(f, schema_version=0), "manifest.json: schema version must be 1, is 0"),
        (lambda f: _edit_manifest(f, tables=None), "manifest.json: the list of tables is missing"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json: cannot be read"),
    ],
)
def test_a_damaged_store_is_refused(tables: Tables, tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    write_store(tables, tmp_path / "store")
    damage(tmp_path / "store")
    with pytest.raises(StoreError) as caught:
        read_store(tmp_path / "store")
    assert message in str(caught.value)
    assert str(caught.value).endswith(
        "Make one with 'f1-predict fetch --seasons 2023-2024', 'f1-predict ingest --ergast DIR' "
        "or 'f1-predict simulate'."
    )


def test_columns_of_another_schema_are_refused(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    write_store(tables, tmp_path / "store")
    file = tmp_path / "store" / "weather.parquet"
    tables.weather.rename({"wind_ms": "wind"}).write_parquet(file)
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    manifest["tables"]["weather"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    _edit_manifest(tmp_path / "store", tables=manifest["tables"])
    with pytest.raises(StoreError, match=r"weather\.parquet: columns must be .*wind_ms"):
        read_store(tmp_path / "store")
