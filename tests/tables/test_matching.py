"""Names of other sources find their driver, or nobody."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_predict.tables.matching import add_plain_names, match_codes, match_full_names, plain


def people(*rows: tuple[str, int | None, str | None, str, str]) -> pl.DataFrame:
    columns = {"driver_id": pl.String, "car_number": pl.Int64, "code": pl.String, "forename": pl.String,
               "surname": pl.String}  # fmt: skip
    return add_plain_names(pl.DataFrame(rows, schema=columns, orient="row").with_columns(race_id=pl.lit("r")))


def foreign(*rows: tuple[str, int | None]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"name": pl.String, "car_number": pl.Int64}, orient="row")
    return frame.with_columns(race_id=pl.lit("r"))


BROTHERS = people(
    ("michael_schumacher", 1, "MSC", "Michael", "Schumacher"), ("ralf_schumacher", 4, "RSC", "Ralf", "Schumacher")
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sergio Pérez", "sergio-perez"),
        ("Jérôme d'Ambrosio", "jerome-dambrosio"),
        ("Jean-Éric Vergne", "jean-eric-vergne"),
        ("Pedro de la Rosa", "pedro-de-la-rosa"),
        ("Slim Borgudd ", "slim-borgudd"),
    ],
)
def test_plain_names(text: str, expected: str) -> None:
    assert plain(text) == expected


@given(st.text(max_size=30))
def test_plain_is_plain_and_settled(text: str) -> None:
    once = plain(text)
    assert plain(once) == once
    assert set(once) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("michael-schumacher", 1, "michael_schumacher"),
        ("michael-schumacher", 4, "michael_schumacher"),  # the full name weighs more than a number
        ("ralf-schumacher", None, "ralf_schumacher"),
        ("rubens-barrichello", 1, None),  # a number alone is no match
    ],
)
def test_full_names(name: str, number: int | None, expected: str | None) -> None:
    assert match_full_names(foreign((name, number)), BROTHERS)["driver_id"].to_list() == [expected]


def test_a_better_claim_goes_first_and_the_other_finds_nobody() -> None:
    got = match_full_names(foreign(("mick-schumacher", 30), ("michael-schumacher", 1)), BROTHERS)
    assert got["driver_id"].to_list() == [None, "michael_schumacher"]


def test_suffixes_and_short_forenames() -> None:
    team = people(("sainz", 55, "SAI", "Carlos", "Sainz"), ("zanardi", 16, None, "Alessandro", "Zanardi"))
    got = match_full_names(foreign(("carlos-sainz-jr", 55), ("alex-zanardi", 16)), team)
    assert got["driver_id"].to_list() == ["sainz", "zanardi"]


def test_a_brother_who_does_not_start_is_not_taken_for_the_one_who_does() -> None:
    michael = BROTHERS.filter(driver_id="michael_schumacher")
    assert match_full_names(foreign(("ralf-schumacher", 4)), michael)["driver_id"].to_list() == [None]


def test_codes_and_the_code_that_ergast_lacks() -> None:
    team = people(("perez", 11, "PER", "Sergio", "Pérez"), ("ambrosio", 25, None, "Jérôme", "d'Ambrosio"))
    got = match_codes(foreign(("PER", 11), ("DAM", None), ("XXX", 11)), team)
    assert got["driver_id"].to_list() == ["perez", "ambrosio", None]


def test_one_code_of_two_drivers_is_settled_by_the_number_or_not_at_all() -> None:
    twins = people(("a_mag", 20, "MAG", "A", "Magnussen"), ("b_mag", 21, "MAG", "B", "Magnussen"))
    assert match_codes(foreign(("MAG", 21)), twins)["driver_id"].to_list() == ["b_mag"]
    assert match_codes(foreign(("MAG", None)), twins)["driver_id"].to_list() == [None]
