"""Builds the canonical `entries` and `results` tables: who started from where, and who came where.

The two have the same (race, driver) pairs wherever there is a result. A row of Ergast's results is an
entry whatever became of it: those who failed to qualify ("F"), withdrew ("W") or were excluded ("E") too.
"""

from __future__ import annotations

import polars as pl

from f1_predict import schemas
from f1_predict.sources.ergast import ErgastData
from f1_predict.sources.f1db import F1dbData
from f1_predict.tables.matching import match_full_names
from f1_predict.tables.quality import Check, check_rows, first_of

PAIR = ["race_id", "driver_id"]
SESSION_RANGE_S = (20.0, 900.0)
"""Best times of a session outside of this are no lap at speed; made null and counted."""


def build_results(ergast: ErgastData) -> tuple[pl.DataFrame, list[Check]]:
    """The `results` table, with one row of a shared drive per driver: the best-placed.

    Positions are 1..n in the order of Ergast's positionOrder, ties (shared cars) in the file's order.
    `classified` is Ergast's: the position is a number.
    """
    kept = _one_per_driver(ergast)
    dropped = ergast.results.height - kept.height
    again = ergast.results.filter(~pl.struct(PAIR).is_first_distinct())
    check = Check(
        "ergast",
        "duplicate results removed (shared drives, best place kept)",
        dropped,
        ergast.results.height,
        check_rows("", "", again, PAIR).examples,
    )
    ranked = kept.sort("position_order", maintain_order=True)
    ranked = ranked.with_columns(position=pl.int_range(1, pl.len() + 1).over("race_id"))
    classified = pl.col("position_text").str.contains(r"^\d+$").alias("classified")
    table = ranked.with_columns(classified, laps_completed="laps")
    return table.select(pl.col(n).cast(t) for n, t in schemas.dtypes("results").items()), [check]


def starters(ergast: ErgastData) -> pl.DataFrame:
    """race_id, driver_id, constructor_id, car_number, grid, code, forename, surname of every entry.

    A race without any result is a coming one: those who took part in its qualifying start it, in that
    order until a grid is known.
    """
    columns = [*PAIR, "constructor_id", "car_number", "grid", "code", "forename", "surname"]
    started = _one_per_driver(ergast).select(columns)
    coming = ergast.qualifying.join(started, on="race_id", how="anti").unique(PAIR, keep="first", maintain_order=True)
    # Who is in its list without a place has no grid slot yet.
    coming = coming.with_columns(grid=pl.col("qualifying_position").fill_null(0))
    return pl.concat([started, coming.select(columns)])


def build_entries(ergast: ErgastData, people: pl.DataFrame, f1db: F1dbData | None) -> tuple[pl.DataFrame, list[Check]]:
    """The `entries` table.

    f1db's grid goes before Ergast's, which seldom knows of pit-lane starts (0); each difference is
    counted. `grid_penalty` is the number of places of the penalty as given, before it is cut off
    by the end of the grid; for "start from the back" it is the places in fact lost against
    qualifying, where both are known; otherwise null.

    Args:
        ergast: the source.
        people: `starters`, with the names of `add_plain_names`.
        f1db: the other source, where there is one.
    """
    times = ["q1_s", "q2_s", "q3_s"]
    qualifying, twice_check = first_of("ergast", "duplicate qualifying rows removed", ergast.qualifying, PAIR)
    absent = qualifying.join(people, on=PAIR, how="anti")
    slow = qualifying.filter(pl.any_horizontal(~pl.col(q).is_between(*SESSION_RANGE_S) for q in times))
    checks = [
        twice_check,
        check_rows("ergast", "qualifying rows of drivers without a result", absent, PAIR, qualifying.height),
        check_rows("ergast", "qualifying rows with a time over 15 minutes (null)", slow, PAIR, qualifying.height),
    ]
    fit = [pl.when(pl.col(q).is_between(*SESSION_RANGE_S)).then(q).alias(q) for q in times]
    qualified = qualifying.select(*PAIR, "qualifying_position", *fit)
    entries = people.join(qualified, on=PAIR, how="left", maintain_order="left")
    if f1db is None:
        entries = entries.with_columns(grid_penalty=None, fp1_s=None, fp2_s=None, fp3_s=None, fp4_s=None)
    else:
        names = pl.concat([f1db.grid, f1db.practice], how="diagonal").select("race_id", "name", "car_number", "team")
        # In a race a name is one driver, whatever number he had in a session; the grid's goes first.
        matched = match_full_names(names.unique(["race_id", "name"], keep="first", maintain_order=True), people)
        matched = matched.select("race_id", "name", "driver_id")
        entries, grid_checks = _with_grid(entries, f1db.grid, matched)
        entries, practice_checks = _with_practice(entries, f1db.practice, matched)
        checks += [*grid_checks, *practice_checks, team_check("f1db", f1db.grid, matched, people)]
    return entries.select(pl.col(n).cast(t) for n, t in schemas.dtypes("entries").items()), checks


def team_check(source: str, rows: pl.DataFrame, matched: pl.DataFrame, people: pl.DataFrame) -> Check:
    """Team names that stand for two Ergast teams in one race: a sign of wrong matches."""
    pairs = rows.select("race_id", "name", "team").join(matched, on=["race_id", "name"])
    pairs = pairs.join(people.select(*PAIR, "constructor_id"), on=PAIR).drop_nulls("team")
    teams = pairs.group_by("race_id", "team").agg(pl.col("constructor_id").n_unique().alias("n"))
    mixed = teams.filter(pl.col("n") > 1).sort("race_id", "team")
    return check_rows(
        source, "team names that stand for two teams in one race", mixed, ["race_id", "team"], teams.height
    )


def _one_per_driver(ergast: ErgastData) -> pl.DataFrame:
    best = ergast.results.sort("position_order", maintain_order=True)
    return best.unique(PAIR, keep="first", maintain_order=True)


def _with_grid(entries: pl.DataFrame, grid: pl.DataFrame, matched: pl.DataFrame) -> tuple[pl.DataFrame, list[Check]]:
    grid, twice_check = first_of("f1db", "duplicate grid rows removed", grid, ["race_id", "name"])
    rows = grid.join(matched, on=["race_id", "name"], how="left", maintain_order="left")
    known = rows.drop_nulls("driver_id").select(
        *PAIR, "grid_penalty", "to_back", f1db_grid="grid", f1db_number="car_number"
    )
    entries = entries.join(known, on=PAIR, how="left", maintain_order="left")
    in_f1db = entries.filter(pl.col("race_id").is_in(grid["race_id"].unique().implode()))
    other = in_f1db.filter(pl.col("f1db_grid") != pl.col("grid"))
    number = in_f1db.filter(pl.col("f1db_number") != pl.col("car_number"))
    lost = pl.col("f1db_grid").cast(pl.Int64) - pl.col("qualifying_position")
    back = pl.when(pl.col("to_back") & (pl.col("f1db_grid") > 0) & (lost >= 0)).then(lost)
    missing = in_f1db.filter(pl.col("f1db_grid").is_null())
    checks = [
        twice_check,
        check_rows(
            "f1db", "grid rows unmatched", rows.filter(pl.col("driver_id").is_null()), ["race_id", "name"], rows.height
        ),
        check_rows("f1db", "starters without a grid row (Ergast's grid kept)", missing, PAIR, in_f1db.height),
        check_rows("f1db", "grid places in conflict (f1db's kept)", other, [*PAIR, "grid", "f1db_grid"], rows.height),
        check_rows("f1db", "car numbers in conflict (Ergast's kept)", number, PAIR, rows.height),
    ]
    return entries.with_columns(
        grid=pl.coalesce("f1db_grid", "grid"), grid_penalty=pl.coalesce("grid_penalty", back)
    ), checks


def _with_practice(
    entries: pl.DataFrame, practice: pl.DataFrame, matched: pl.DataFrame
) -> tuple[pl.DataFrame, list[Check]]:
    keys = ["race_id", "session", "name"]
    practice, twice_check = first_of("f1db", "duplicate practice rows removed", practice, keys)
    rows = practice.join(matched, on=["race_id", "name"], how="left", maintain_order="left")
    absent = rows.filter(pl.col("driver_id").is_null())
    fit = pl.col("best_s").is_between(*SESSION_RANGE_S)
    timed = rows.drop_nulls(["driver_id", "best_s"])
    for session in (1, 2, 3, 4):
        best = timed.filter(fit & (pl.col("session") == session)).select(
            *PAIR, pl.col("best_s").alias(f"fp{session}_s")
        )
        entries = entries.join(best, on=PAIR, how="left", maintain_order="left")
    return entries, [
        twice_check,
        check_rows("f1db", "practice rows of drivers who did not start", absent, ["race_id", "name"], rows.height),
        check_rows("f1db", "practice times over 15 minutes (null)", timed.filter(~fit), PAIR, timed.height),
    ]
