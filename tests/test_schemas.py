"""The canonical tables refuse what does not fit, and say where."""

import polars as pl
import pytest

from f1_predict.errors import SchemaError
from f1_predict.schemas import SCHEMAS, TABLE_NAMES, Tables, dtypes, empty, validate
from tests.small_tables import random_tables


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_an_empty_table_is_valid(table: str) -> None:
    assert validate(table, empty(table)).is_empty()
    assert list(dtypes(table)) == list(SCHEMAS[table].columns)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("laps", "lap", 0),
        ("laps", "lap_time_s", -1.0),
        ("laps", "lap_time_s", None),
        ("laps", "compound", "CHEESE"),
        ("results", "position", 0),
        ("entries", "driver_id", "../escape"),
        ("races", "race_id", "2024-1"),
        ("races", "scheduled_laps", None),
        ("weather", "humidity_pct", 101.0),
    ],
)
def test_a_value_outside_its_range_is_named(table: str, column: str, value: object) -> None:
    frame = getattr(random_tables(0), table)
    row = pl.int_range(pl.len()) == 1
    bad = frame.with_columns(
        pl.when(row).then(pl.lit(value, frame.schema[column])).otherwise(pl.col(column)).alias(column)
    )
    with pytest.raises(SchemaError, match=rf"table '{table}', column '{column}'.*ingest again"):
        validate(table, bad)


def test_a_row_that_comes_twice_is_refused() -> None:
    results = random_tables(0).results
    with pytest.raises(SchemaError, match=r"table 'results'.*2 failures"):
        validate("results", pl.concat([results, results.head(1)]))


def test_a_missing_column_and_a_wrong_dtype_are_refused() -> None:
    laps = random_tables(0).laps
    with pytest.raises(SchemaError, match="table 'laps'"):
        validate("laps", laps.drop("position"))
    with pytest.raises(SchemaError, match="table 'laps', column 'lap'"):
        validate("laps", laps.with_columns(pl.col("lap").cast(pl.Int64)))


def test_rows_of_a_race_that_is_not_there_are_named() -> None:
    tables = random_tables(0)
    without = Tables(tables.races.head(2), tables.entries, tables.results, tables.laps, tables.weather)
    with pytest.raises(
        SchemaError, match=r"table 'entries' has \d+ rows of races that table 'races' lacks, first '2000_race_3'"
    ):
        without.validate()
