"""Builds the canonical `races` table: the calendar, the course, and the laps scheduled before the start."""

from __future__ import annotations

import polars as pl

from f1_predict import schemas
from f1_predict.errors import SourceFileError
from f1_predict.sources.ergast import ErgastData
from f1_predict.sources.f1db import F1dbData
from f1_predict.tables.quality import Check, check_rows

RACE_DISTANCE_KM, MONACO_DISTANCE_KM = 305.0, 260.0
"""FIA sporting regulations, article 5.3: the least number of full laps that exceeds 305 km (Monaco: 260 km)."""
MONACO = "monaco"
"""Ergast's circuit reference of the one circuit with a distance of its own."""


def build_races(
    ergast: ErgastData, f1db: F1dbData | None, earlier: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, list[Check]]:
    """The `races` table.

    `scheduled_laps` is the first known of: f1db's scheduled laps (set where a race was shortened);
    the laps run in f1db; the laps of Ergast's winner; for a race without result, the distance rule
    over the course length, which may be that of the last race at the circuit; the scheduled laps
    of the last race there.

    Args:
        ergast: the races wanted.
        f1db: the other source, where there is one.
        earlier: canonical races of other seasons, which a coming race at a known circuit needs.

    Raises:
        SourceFileError: if the scheduled laps of a race cannot be had in any of these ways.
    """
    races, checks = _scheduled(ergast, f1db, earlier)
    _require_scheduled_laps(races)
    return races.select(pl.col(name).cast(dtype) for name, dtype in schemas.dtypes("races").items()), checks


def unscheduled(ergast: ErgastData, f1db: F1dbData | None, earlier: pl.DataFrame | None = None) -> pl.DataFrame:
    """race_id and name of the races that `build_races` would refuse: coming ones at circuits never seen."""
    races, _ = _scheduled(ergast, f1db, earlier)
    return races.filter(pl.col("scheduled_laps").is_null()).select("race_id", "name")


def _scheduled(
    ergast: ErgastData, f1db: F1dbData | None, earlier: pl.DataFrame | None
) -> tuple[pl.DataFrame, list[Check]]:
    """The races with all that is known of them; `scheduled_laps` is null where it cannot be had."""
    races = ergast.races.with_columns(
        ergast_laps=pl.col("race_id").replace_strict(_winner_laps(ergast), default=None, return_dtype=pl.Int64)
    )
    total = races.height
    checks: list[Check] = []
    if f1db is None:
        kinds: dict[str, type[pl.DataType]] = {
            "course_length_km": pl.Float64,
            "circuit_type": pl.String,
            "direction": pl.String,
            "turns": pl.Int64,
            "laps": pl.Int64,
            "scheduled_laps": pl.Int64,
        }
        races = races.with_columns(pl.lit(None, kind).alias(name) for name, kind in kinds.items())
    else:
        known = f1db.races.rename({"date": "f1db_date"}).drop("is_monaco")
        races = races.join(known.with_columns(in_f1db=True), on="race_id", how="left", maintain_order="left")
        other_date = races.filter(pl.col("date") != pl.col("f1db_date"))
        checks = [
            check_rows("f1db", "races without course data", races.filter(pl.col("in_f1db").is_null()), _SHOWN, total),
            check_rows("f1db", "races unmatched", known.join(races, on="race_id", how="anti"), ["race_id"]),
            check_rows("f1db", "race dates in conflict (Ergast's kept)", other_date, [*_SHOWN, "f1db_date"], total),
        ]
    if earlier is not None:
        before = earlier.join(races, on="race_id", how="anti").with_columns(is_earlier=True)
        columns = ["race_id", "season", "round", "circuit_id", "course_length_km", "scheduled_laps", "is_earlier"]
        wide = pl.col("season", "round", "scheduled_laps").cast(pl.Int64)
        races = pl.concat([races, before.select(columns).with_columns(wide)], how="diagonal")
    races = races.sort("season", "round")
    length = pl.coalesce(
        "course_length_km", pl.col("course_length_km").forward_fill().over("circuit_id", order_by=["season", "round"])
    )
    distance = pl.when(pl.col("circuit_id") == MONACO).then(MONACO_DISTANCE_KM).otherwise(RACE_DISTANCE_KM)
    races = races.with_columns(
        from_f1db=pl.coalesce("scheduled_laps", "laps"),
        by_rule=(distance / length).ceil().cast(pl.Int64),
    ).with_columns(scheduled_laps=pl.coalesce("from_f1db", "ergast_laps", "by_rule"))
    last_there = pl.col("scheduled_laps").forward_fill().over("circuit_id", order_by=["season", "round"])
    by_rule = races.filter(pl.col("from_f1db").is_null() & pl.col("ergast_laps").is_null())
    taken = races.filter(pl.col("from_f1db").is_null() & pl.col("ergast_laps").is_not_null())
    races = races.with_columns(scheduled_laps=pl.coalesce("scheduled_laps", last_there))
    if earlier is not None:
        races = races.filter(pl.col("is_earlier").is_null())
    checks += [
        check_rows("ergast", "scheduled laps taken from laps run", taken, _SHOWN, total),
        check_rows("tables", "scheduled laps by the distance rule or the last race there", by_rule, _SHOWN),
    ]
    return races, checks


_SHOWN = ["race_id", "name", "date"]


def _winner_laps(ergast: ErgastData) -> dict[str, int]:
    results = ergast.results.filter(pl.col("laps") > 0).sort("position_order", maintain_order=True)
    return dict(results.unique("race_id", keep="first", maintain_order=True).select("race_id", "laps").iter_rows())


def _require_scheduled_laps(races: pl.DataFrame) -> None:
    unknown = races.filter(pl.col("scheduled_laps").is_null())
    if unknown.height:
        race = unknown.row(0, named=True)
        raise SourceFileError(
            f"the scheduled laps of {race['race_id']} ({race['name']}) are unknown: it has no result, and neither "
            f"its course length nor an earlier race at '{race['circuit_id']}' is known",
            file="races.csv",
            remedy="Ingest with f1db (--f1db DIR), with seasons that hold an earlier race there, or leave it out.",
        )
