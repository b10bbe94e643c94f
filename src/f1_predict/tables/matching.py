"""Finds the driver behind another source's name, race by race. Knows no names by heart.

f1db writes hyphenated full names ("carlos-sainz-jr"), FastF1 three-letter codes ("SAI"), both with
car numbers; Ergast's drivers have a car number, a code (not before about 2000), forename and surname.
A match needs the name to agree; the number alone is never enough, since reserves in free practice
drive under numbers of others. Team names need no matching: a driver's team in a race is Ergast's.
"""

from __future__ import annotations

import re
import unicodedata

import polars as pl

FULL_NAME, SURNAME, NUMBER = 4, 1, 2
"""Points of agreement; number and surname together (3) weigh less than the full name (4)."""


SPECIAL = str.maketrans("øØłŁđĐ", "oOlLdD", "'")
"""Letters that do not decompose; f1db joins what an apostrophe parts: d'Ambrosio is "dambrosio"."""


def plain(text: str) -> str:
    """A name in lower-case ASCII with hyphens: "Sergio Pérez" -> "sergio-perez"."""
    bare = unicodedata.normalize("NFKD", text.translate(SPECIAL)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", bare.lower()).strip("-")


def add_plain_names(people: pl.DataFrame) -> pl.DataFrame:
    """`people` (driver_id, code, forename, surname, ...) with the plain `full_name`, `last_name` and a `code` for all.

    Where Ergast has no code, the first three letters of the surname stand for it, as timing does.
    """
    names = people.select("driver_id", "forename", "surname").unique("driver_id", maintain_order=True)
    last = [plain(surname) for surname in names["surname"]]
    full = [plain(f"{fore} {sur}") for fore, sur in zip(names["forename"], names["surname"], strict=True)]
    short = [name.replace("-", "")[:3].upper() for name in last]
    known = pl.DataFrame(
        {"driver_id": names["driver_id"], "full_name": full, "last_name": last, "short": short},
        schema_overrides={"full_name": pl.String, "last_name": pl.String, "short": pl.String},
    )
    joined = people.join(known, on="driver_id", how="left", maintain_order="left")
    return joined.with_columns(code=pl.coalesce("code", "short")).drop("short")


def match_full_names(foreign: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """f1db's drivers -> driver_id.

    Args:
        foreign: race_id, name (hyphenated full name), car_number; one row per race and name.
        people: race_id, driver_id, car_number, full_name, last_name of the starters.

    Returns:
        `foreign` with driver_id (null where there is no sure match).
    """
    name, full, last = pl.col("name"), pl.col("full_name"), pl.col("last_name")
    has_last = pl.concat_str(pl.lit("-"), name, pl.lit("-")).str.contains(
        pl.concat_str(pl.lit("-"), last, pl.lit("-")), literal=True
    )
    is_full = (name == full) | name.str.starts_with(pl.concat_str(full, pl.lit("-")))
    same_initial = name.str.head(1) == full.str.head(1)
    same_number = (pl.col("car_number") == pl.col("number")).fill_null(False)
    accept = is_full | (has_last & (same_number | same_initial))
    score = is_full * FULL_NAME + has_last * SURNAME + same_number * NUMBER
    return _best(foreign, people, accept, score)


def match_codes(foreign: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """FastF1's drivers -> driver_id.

    Args:
        foreign: race_id, name (three-letter code), car_number; one row per race and name.
        people: race_id, driver_id, car_number, code of the starters.

    Returns:
        `foreign` with driver_id (null where there is no sure match).
    """
    same_code = pl.col("name") == pl.col("code")
    same_number = (pl.col("car_number") == pl.col("number")).fill_null(False)
    return _best(foreign, people, same_code, same_code * SURNAME + same_number * NUMBER)


def _best(foreign: pl.DataFrame, people: pl.DataFrame, accept: pl.Expr, score: pl.Expr) -> pl.DataFrame:
    """Accepted pairs that are each other's only best."""
    pairs = foreign.join(people.rename({"car_number": "number"}), on="race_id").filter(accept)
    pairs = pairs.with_columns(score=score.cast(pl.Int32))
    for side in ("name", "driver_id"):
        best = pairs.filter(pl.col("score") == pl.col("score").max().over("race_id", side))
        pairs = best.filter(pl.len().over("race_id", side) == 1)
    keys = pairs.select("race_id", "name", "driver_id")
    return foreign.join(keys, on=["race_id", "name"], how="left", maintain_order="left")
