"""Newer races over older ones: what changed, what stays, what is kept of sources that were not asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from f1_predict import schemas
from f1_predict.schemas import Tables
from f1_predict.sources.locking import exclusive
from f1_predict.sources.origins import Origin
from f1_predict.tables import ingest, read_store, write_store
from f1_predict.tables import store as store_module
from f1_predict.tables.precedence import PRECEDENCE, first_source, precedence_rows, precedence_table
from f1_predict.tables.provenance import dump_provenance, provenance_of, with_inferred
from f1_predict.tables.store import PROVENANCE, read_provenance
from f1_predict.tables.update import update_tables
from tests.conftest import REPOSITORY
from tests.tables import foreign
from tests.tables.test_ingest import assert_equal, column

NOW = datetime(2020, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    foreign.ergast(folder)
    foreign.f1db(folder)
    foreign.fastf1(folder)
    return folder


@pytest.fixture(scope="module")
def full(dumps: Path) -> Tables:
    return ingest(dumps / "ergast", dumps / "f1db", dumps / "fastf1").tables


@pytest.fixture(scope="module")
def poor(dumps: Path) -> Tables:
    return ingest(dumps / "ergast").tables


def told(tables: Tables, *sources: str, version: str = "v1") -> pl.DataFrame:
    """A provenance by which each table has rows of each of the sources that can have any."""
    where = {"jolpica": ("races", "entries", "results", "laps"), "ergast": ("races", "entries", "results", "laps")}
    where |= {"f1db": ("races", "entries"), "fastf1": ("laps", "weather"), "entry_list": ("entries",)}
    return provenance_of(
        Origin(table, race_id, source, version, NOW)
        for source in sources
        for table in where[source]
        for race_id in getattr(tables, table)["race_id"].unique().to_list()
    )


def edited(tables: Tables, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Tables:
    return tables.map(lambda name, frame: change(frame) if name == table else frame)


def test_the_first_races_are_all_added(full: Tables) -> None:
    found = update_tables(None, provenance_of([]), full, told(full, "jolpica"))
    assert_equal(found.tables, full)
    assert [change.kind for change in found.changes] == ["added"] * 3
    assert str(found.changes[1]) == "2020_race_1 added: Alpha, Grand Prix, 3 entries, 3 results, 10 laps"


def test_the_same_again_changes_nothing_whatever_its_version(full: Tables) -> None:
    old = told(full, "jolpica", "f1db", "fastf1")
    found = update_tables(full, old, full, told(full, "jolpica", "f1db", "fastf1", version="v2"))
    assert found.changes == ()
    assert_equal(found.tables, full)
    assert found.provenance.equals(old)


def test_fewer_sources_lose_nothing(full: Tables, poor: Tables) -> None:
    old = told(full, "ergast", "f1db", "fastf1")
    found = update_tables(full, old, poor, told(poor, "jolpica"))
    assert found.changes == ()
    assert_equal(found.tables, full)


@pytest.mark.parametrize("others", [(), ("f1db",), ("fastf1",), ("f1db", "fastf1")])
@pytest.mark.parametrize("then", [(), ("f1db",), ("fastf1",), ("f1db", "fastf1")])
def test_any_sources_after_any_others_give_what_both_together_know(
    dumps: Path, others: tuple[str, ...], then: tuple[str, ...]
) -> None:
    def of(names: tuple[str, ...]) -> Tables:
        return ingest(dumps / "ergast", *(dumps / n if n in names else None for n in ("f1db", "fastf1"))).tables

    was, now = of(others), of(then)
    found = update_tables(was, told(was, "jolpica", *others), now, told(now, "jolpica", *then))
    assert_equal(found.tables, of((*others, *then)))


def test_an_entry_list_says_who_starts_from_where_and_nothing_else(full: Tables) -> None:
    coming = pl.col("race_id") != "2020_race_2"
    before = full.map(lambda name, f: f if name in ("races", "entries") else f.filter(coming))
    race = pl.col("race_id") == "2020_race_2"

    def at(column: str, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
        return lambda f: f.with_columns(
            pl.when(race).then(pl.lit(value)).otherwise(column).cast(f.schema[column]).alias(column)
        )

    old = edited(
        edited(edited(before, "entries", at("grid", 7)), "entries", at("fp1_s", 90.0)), "entries", at("q1_s", 91.0)
    )
    new = edited(edited(before, "entries", at("grid", 1)), "entries", at("fp1_s", 80.0))
    known = told(old, "jolpica", "f1db", "fastf1", "entry_list")
    rows = update_tables(old, known, new, told(new, "jolpica", "f1db", "fastf1")).tables.entries.filter(race)
    assert set(rows.select("grid", "fp1_s", "q1_s").rows()) == {(7, 80.0, None)}
    # Without f1db now, the practice that it knew stays.
    rows = update_tables(old, known, new, told(new, "jolpica")).tables.entries.filter(race)
    assert set(rows.select("grid", "fp1_s", "q1_s").rows()) == {(7, 90.0, None)}
    # Once the race is run the list is over.
    run = edited(full, "entries", at("grid", 2))
    rows = update_tables(old, known, run, told(run, "jolpica", "f1db", "fastf1")).tables.entries.filter(race)
    assert set(rows["grid"]) == {2}


def test_a_store_without_provenance_is_judged_by_what_it_holds(full: Tables, poor: Tables) -> None:
    found = update_tables(full, provenance_of([]), poor, told(poor, "jolpica"))
    assert found.changes == ()
    inferred = with_inferred(provenance_of([]), full)
    sources = inferred.group_by("race_id", maintain_order=True).agg(pl.col("source").unique().sort())
    assert dict(sources.iter_rows()) == {
        "1955_race_1": ["ergast"],
        "2020_race_1": ["ergast", "f1db", "fastf1"],
        "2020_race_2": ["ergast", "f1db"],
    }
    assert set(inferred["version"]) == {"unknown"}


def test_a_correction_keeps_what_other_sources_know_of_the_race(full: Tables, poor: Tables) -> None:
    slower = pl.when((pl.col("driver_id") == "perez") & (pl.col("lap") == 4) & (pl.col("race_id") == "2020_race_1"))
    new = edited(poor, "laps", lambda f: f.with_columns(lap_time_s=slower.then(110.0).otherwise("lap_time_s")))
    found = update_tables(full, told(full, "ergast", "f1db", "fastf1"), new, told(new, "jolpica", version="v2"))
    assert [str(change) for change in found.changes] == [
        "2020_race_1 corrected: laps 1 of 10 rows (lap_time_s, speed_kmh)"
    ]
    rows = found.tables.laps.filter(race_id="2020_race_1", driver_id="perez")
    assert rows["lap_time_s"].to_list() == [100.0, 100.0, 120.0, 110.0]
    assert rows["speed_kmh"].to_list() == [180.0, 180.0, 150.0, 5.0 * 3600 / 110]  # f1db's length, the new time
    assert rows["compound"].to_list() == [None, "HYPERSOFT", "HYPERSOFT", "HYPERSOFT"]
    assert column(found.tables.races, "scheduled_laps") == [51, 6, 3]
    assert found.tables.weather.equals(full.weather)
    origins = found.provenance.filter(race_id="2020_race_1")
    assert set(origins.select("source", "version").rows()) == {("jolpica", "v2"), ("f1db", "v1"), ("fastf1", "v1")}
    assert "ergast" not in origins["source"].to_list()


def test_the_corrected_clock_goes_with_its_lap_times(full: Tables, poor: Tables) -> None:
    """An `end_time_s` that FastF1 had corrected stays while the lap times do, and goes with them."""
    later = pl.when(pl.col("race_id") == "2020_race_1").then(pl.col("end_time_s") + 3600.0).otherwise("end_time_s")
    old = edited(full, "laps", lambda f: f.with_columns(end_time_s=later))
    known = told(full, "ergast", "f1db", "fastf1")
    assert update_tables(old, known, poor, told(poor, "jolpica")).changes == ()
    faster = edited(poor, "laps", lambda f: f.with_columns(pl.col("lap_time_s") - 1, pl.col("end_time_s") - 1))
    found = update_tables(old, known, faster, told(poor, "jolpica"))
    assert found.tables.laps["end_time_s"].max() == 803.0
    # Only that of the race whose times are others.
    one = pl.when(pl.col("race_id") == "2020_race_2").then(pl.col("lap_time_s") + 1).otherwise("lap_time_s")
    other_race = edited(poor, "laps", lambda f: f.with_columns(lap_time_s=one))
    found = update_tables(old, known, other_race, told(poor, "jolpica"))
    assert found.tables.laps.filter(race_id="2020_race_1")["end_time_s"].min() == 3700.0
    assert [change.race_id for change in found.changes] == ["2020_race_2"]


def test_a_race_that_moved_to_another_circuit_takes_nothing_from_the_old_one(full: Tables, poor: Tables) -> None:
    new = edited(poor, "races", lambda f: f.with_columns(circuit_id=pl.lit("gamma")))
    found = update_tables(full, told(full, "ergast", "f1db", "fastf1"), new, told(new, "jolpica"))
    assert found.tables.races["course_length_km"].null_count() == 3
    assert found.tables.weather.height == 0
    assert [change.kind for change in found.changes] == ["corrected"] * 3
    assert set(found.provenance["source"]) == {"jolpica"}


def test_results_that_changed_are_spelt_out(full: Tables) -> None:
    def disqualified(frame: pl.DataFrame) -> pl.DataFrame:
        mine = (pl.col("race_id") == "2020_race_1") & (pl.col("driver_id") == "perez")
        return frame.with_columns(
            status=pl.when(mine).then(pl.lit("Disqualified")).otherwise("status"),
            classified=pl.when(mine).then(False).otherwise("classified"),
        )

    known = told(full, "jolpica", "f1db", "fastf1")
    new = edited(full, "results", disqualified)
    found = update_tables(full, known, new, known)
    assert str(found.changes[0]) == "2020_race_1 corrected: results perez Finished -> Disqualified (4 laps)"
    one_less = edited(full, "results", lambda f: f.filter(~((f["race_id"] == "2020_race_1") & (f["position"] == 3))))
    assert str(update_tables(full, known, one_less, known).changes[0]) == (
        "2020_race_1 corrected: results ambrosio 3 -> absent"
    )


def test_rows_that_a_source_no_longer_has_stay(full: Tables) -> None:
    known = told(full, "jolpica", "f1db", "fastf1")
    without = edited(full, "laps", lambda frame: frame.clear())
    assert update_tables(full, known, without, known).changes == ()


def test_every_column_has_a_source_and_the_page_shows_them() -> None:
    for table in schemas.TABLE_NAMES:
        assert list(PRECEDENCE[table]) != []
        assert set(PRECEDENCE[table]) == set(schemas.dtypes(table))
    assert first_source("races", "scheduled_laps", {"ergast", "f1db"}) == "f1db"
    assert first_source("races", "scheduled_laps", {"ergast"}) == "ergast"
    assert first_source("weather", "rainfall", {"ergast", "f1db"}) is None
    assert sum(len(columns.split(", ")) for _, columns, _, _ in precedence_rows()) == sum(
        len(schemas.dtypes(table)) for table in schemas.TABLE_NAMES
    )
    assert precedence_table() in (REPOSITORY / "docs/data.md").read_text()


def test_the_store_keeps_its_provenance(full: Tables, dumps: Path, tmp_path: Path) -> None:
    folders = {"ergast": dumps / "ergast", "f1db": dumps / "f1db"}
    known = dump_provenance(full, folders)
    write_store(full, tmp_path / "store", provenance=known)
    assert read_provenance(tmp_path / "store").equals(known)
    assert known.filter(source="ergast")["version"].n_unique() == 1
    assert known["version"][0].startswith("files ")
    assert known["fetched"].null_count() == 0
    # Other bytes are another version.
    with (dumps / "f1db" / "f1db-races.csv").open("a") as file:
        file.write("\n")
    again = dump_provenance(full, folders)
    assert again.filter(source="ergast").equals(known.filter(source="ergast"))
    assert again.filter(source="f1db")["version"][0] != known.filter(source="f1db")["version"][0]
    write_store(full, tmp_path / "store")
    assert read_provenance(tmp_path / "store").height == 0
    assert not (tmp_path / "store" / PROVENANCE).exists()


def test_a_reader_waits_for_a_writer_between_its_two_renames(full: Tables, tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_store(full, store)
    seasons: list[list[int]] = []
    with exclusive(store, "store"):
        store.rename(tmp_path / ".store.old")
        reader = threading.Thread(
            target=lambda: seasons.append(read_store(store).races["season"].to_list()), daemon=True
        )
        reader.start()
        time.sleep(0.12)
        assert not store.exists()  # a reader that put the old one back would be in the writer's way
        (tmp_path / ".store.old").rename(store)
    reader.join(10.0)
    assert seasons == [[1955, 2020, 2020]]


def test_a_store_replaced_while_it_is_read_is_read_again(
    full: Tables, poor: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(full, tmp_path / "store")
    read_file, calls = store_module._read_file, []

    def slow(file: Path, told: dict[str, object], wanted: pl.Schema) -> pl.DataFrame:
        calls.append(file.name)
        if len(calls) == 4:
            write_store(poor, tmp_path / "store")
        return read_file(file, told, wanted)

    monkeypatch.setattr(store_module, "_read_file", slow)
    assert_equal(read_store(tmp_path / "store"), poor)
    assert len(calls) == 9
