"""Builds the canonical `laps` table: lap times from Ergast, their race clock, and what timing adds to them."""

from __future__ import annotations

import polars as pl

from f1_predict import schemas
from f1_predict.sources.ergast import ErgastData
from f1_predict.tables.quality import Check, check_rows, first_of
from f1_predict.tables.timing import Timing

PAIR = ["race_id", "driver_id"]
LAP = [*PAIR, "lap"]
MAX_MEAN_SPEED_KMH = 400.0
"""No lap is driven at this mean speed: its time is a timing fault, and a speed from it would be nonsense."""
DISAGREEMENT = 0.01


def clean_laps(ergast: ErgastData, entries: pl.DataFrame, order: pl.DataFrame) -> tuple[pl.DataFrame, list[Check]]:
    """Ergast's laps, each once, of drivers with a result, sorted by race, driver and lap, with `end_time_s`.

    `end_time_s` is the running sum of a driver's lap times, red flags included. Where laps are missing
    in between or at the start, the time of the missing ones is bridged (see `_bridge`).

    Args:
        ergast: the source.
        entries: race_id and driver_id of the entries.
        order: race_id and `_order`, its place in time.
    """
    laps = ergast.laps
    once = laps.unique(LAP, keep="first", maintain_order=True)
    if once.height < laps.height:
        again = laps.filter(pl.struct(LAP).is_duplicated())
        unlike = again.unique([*LAP, "position", "lap_time_s"], maintain_order=True)
        unlike = unlike.filter(pl.struct(LAP).is_duplicated()).unique(LAP, keep="first", maintain_order=True)
        again = laps.filter(~pl.struct(LAP).is_first_distinct())
    else:
        again = unlike = laps.clear()
    kept = once.join(entries.select(PAIR), on=PAIR, how="semi", maintain_order="left")
    stray = once.join(entries.select(PAIR), on=PAIR, how="anti") if kept.height < once.height else once.clear()
    kept = kept.join(order, on="race_id", maintain_order="left").sort("_order", "driver_id", "lap")
    before = pl.col("lap").shift(1).over(PAIR).fill_null(0)
    kept = kept.with_columns(
        missing=pl.col("lap") - before - 1, end_time_s=pl.col("lap_time_s").cum_sum().over(PAIR).round(3)
    )
    bridged, bridge_checks = _bridge(kept)
    placed, place_check = _placed(bridged)
    checks = [
        check_rows("ergast", "duplicate laps removed", again, LAP, laps.height),
        check_rows("ergast", "duplicate laps that differ (first kept)", unlike, LAP, laps.height),
        check_rows("ergast", "laps of drivers without a result dropped", stray, LAP, laps.height),
        *bridge_checks,
        place_check,
    ]
    return placed.drop("missing"), checks


def _placed(laps: pl.DataFrame) -> tuple[pl.DataFrame, Check]:
    """Where the source gives a lap no place: the order of the race clock, for all cars on that lap."""
    unplaced = laps.filter(pl.col("position").is_null())
    if unplaced.height:
        on_lap = ["race_id", "lap"]
        by_clock = pl.col("end_time_s").rank("ordinal").over(on_lap).cast(laps.schema["position"])
        lacking = pl.col("position").is_null().any().over(on_lap)
        laps = laps.with_columns(position=pl.when(lacking).then(by_clock).otherwise("position"))
    return laps, check_rows("ergast", "laps without a place (the race clock's taken)", unplaced, LAP, laps.height)


def _bridge(laps: pl.DataFrame) -> tuple[pl.DataFrame, list[Check]]:
    """Add the time of missing laps to the clock of the laps after them.

    A missing lap is taken to have lasted as long as the field's median on that lap. None is added where the
    laps beside the gap already hold its time (together they outlast the field's by half of it or more).
    """
    gaps = laps.with_columns(time_before=pl.col("lap_time_s").shift(1).over(PAIR)).filter(pl.col("missing") > 0)
    bridged = pl.DataFrame(schema={**{c: laps.schema[c] for c in LAP}, "bridge": pl.Float64})
    if gaps.height:
        median = laps.group_by("race_id", "lap").agg(pl.col("lap_time_s").median().alias("usual"))
        overall = laps.group_by("race_id").agg(pl.col("lap_time_s").median().alias("overall"))
        absent = gaps.with_columns(
            absent=pl.int_ranges(pl.col("lap") - pl.col("missing"), pl.col("lap"), dtype=pl.Int64)
        ).explode("absent")
        absent = absent.join(median.rename({"lap": "absent"}), on=["race_id", "absent"], how="left")
        absent = absent.join(overall, on="race_id")
        lost = absent.group_by(LAP).agg(pl.coalesce("usual", "overall").sum().alias("lost"))
        after, ahead = median.rename({"usual": "usual_after"}), median.rename({"usual": "usual_before"})
        gaps = gaps.join(lost, on=LAP, how="left").join(after, on=["race_id", "lap"], how="left")
        gaps = gaps.with_columns(last=pl.col("lap") - pl.col("missing") - 1)
        gaps = gaps.join(ahead.rename({"lap": "last"}), on=["race_id", "last"], how="left")
        excess = (pl.col("lap_time_s") - pl.col("usual_after")).fill_null(0.0) + (
            pl.col("time_before") - pl.col("usual_before")
        ).fill_null(0.0)
        gaps = gaps.with_columns(bridge=pl.when(excess < 0.5 * pl.col("lost")).then("lost").otherwise(0.0))
        bridged = gaps.select(*LAP, "bridge")
        laps = laps.join(bridged, on=LAP, how="left", maintain_order="left").with_columns(
            end_time_s=(pl.col("end_time_s") + pl.col("bridge").fill_null(0.0).cum_sum().over(PAIR)).round(3)
        )
        laps = laps.drop("bridge")
    added = bridged.filter(pl.col("bridge") > 0)
    return laps, [
        check_rows("ergast", "gaps in lap numbers", bridged.sort(LAP), LAP),
        check_rows("ergast", "gaps bridged by the field's median lap time", added.sort(LAP), LAP),
    ]


def build_laps(
    laps: pl.DataFrame, ergast: ErgastData, races: pl.DataFrame, entries: pl.DataFrame, timing: Timing | None
) -> tuple[pl.DataFrame, list[Check]]:
    """The `laps` table from cleaned laps and what timing knows of each.

    `pit_in` is true where either source says so, false where one of them covers the lap and
    neither says so, null where none covers it. `pit_out` follows a lap with `pit_in`; on lap 1 it
    means a start from the pit lane (grid 0).
    """
    stops, twice_check = first_of("ergast", "duplicate pit stops removed", ergast.pit_stops, LAP)
    stray = stops.join(laps.select(LAP), on=LAP, how="anti")
    stops = stops.with_columns(stop=True)
    table = laps.join(stops, on=LAP, how="left", maintain_order="left")
    table = table.join(entries.select(*PAIR, "grid"), on=PAIR, how="left", maintain_order="left")
    table = table.join(races.select("race_id", "course_length_km"), on="race_id", how="left", maintain_order="left")
    if timing is None:
        missing: dict[str, type[pl.DataType]] = {
            "compound": pl.String,
            "tyre_life": pl.Int64,
            "timed_in": pl.Boolean,
            "timed_out": pl.Boolean,
            "track_status": pl.String,
            "speed_trap_kmh": pl.Float64,
        }
        table = table.with_columns(pl.lit(None, kind).alias(name) for name, kind in missing.items())
    else:
        table = table.join(timing.laps, on=LAP, how="left", maintain_order="left")
    has_stops = pl.col("race_id").is_in(ergast.pit_stops["race_id"].unique().implode())
    covered = has_stops | pl.col("timed_in").is_not_null()
    table = table.with_columns(
        pit_in=pl.when(covered).then(pl.col("stop").fill_null(False) | pl.col("timed_in").fill_null(False))
    )
    follows = pl.col("lap").shift(1).over(PAIR) == pl.col("lap") - 1
    pit_before = (pl.col("pit_in").shift(1).over(PAIR) & follows).fill_null(False)
    rolled = (
        pl.when(pl.col("lap") == 1)
        .then(pl.col("grid") == 0)
        .otherwise(pit_before | pl.col("timed_out").fill_null(False))
    )
    time = pl.col("lap_time_s")
    table = table.with_columns(
        pit_out=pl.when(covered).then(rolled),
        speed_kmh=mean_speed(pl.col("course_length_km"), time),
        implausible=(time > schemas.IMPLAUSIBLE_SLOW_S)
        | (time < schemas.IMPLAUSIBLE_FAST_S)
        | (time == schemas.PLACEHOLDER_S),
    )
    checks = [
        twice_check,
        check_rows("ergast", "pit stops on laps that are not there", stray, LAP, stops.height),
        check_rows(
            "ergast", "implausible laps flagged", table.filter("implausible"), [*LAP, "lap_time_s"], table.height
        ),
        check_rows(
            "ergast", "lap times of exactly 2:30.000", table.filter(time == schemas.PLACEHOLDER_S), LAP, table.height
        ),
        *_order_checks(table),
    ]
    return table.select(pl.col(n).cast(t) for n, t in schemas.dtypes("laps").items()), checks


def mean_speed(course_length_km: pl.Expr, lap_time_s: pl.Expr) -> pl.Expr:
    """km/h of a lap; null where the length is unknown or the time is a fault."""
    speed = 3600.0 * course_length_km / lap_time_s
    return pl.when((speed <= MAX_MEAN_SPEED_KMH) & (lap_time_s != schemas.PLACEHOLDER_S)).then(speed)


def _order_checks(table: pl.DataFrame) -> list[Check]:
    """Does the race clock give the running order that the source names?"""
    group = ["race_id", "lap"]
    ranks = table.select(
        *LAP,
        by_clock=pl.col("end_time_s").rank("ordinal").over(group),
        by_source=pl.col("position").rank("ordinal").over(group),
    )
    unlike = ranks.filter(pl.col("by_clock") != pl.col("by_source"))
    races = ranks.group_by("race_id", maintain_order=True).agg(
        share=(pl.col("by_clock") != pl.col("by_source")).mean().round(4)
    )
    worst = races.filter(pl.col("share") > DISAGREEMENT).sort("share", descending=True)
    return [
        check_rows("tables", "laps whose clock disagrees with the running order", unlike, LAP, table.height),
        check_rows("tables", "races where it does on more than 1 % of laps", worst, ["race_id", "share"], races.height),
    ]


def coverage_checks(laps: pl.DataFrame, races: pl.DataFrame, results: pl.DataFrame) -> list[Check]:
    """Races and drivers without laps, and laps that differ in number from the result's."""
    last = laps.group_by(PAIR).agg(last=pl.col("lap").max())
    with_laps = laps.select("race_id").unique()
    none = races.join(with_laps, on="race_id", how="anti", maintain_order="left")
    run = results.join(with_laps, on="race_id", how="semi", maintain_order="left")
    run = run.join(last, on=PAIR, how="left", maintain_order="left")
    idle = run.filter(pl.col("last").is_null())
    extra = run.filter(pl.col("last") > pl.col("laps_completed"))
    fewer = run.filter(pl.col("last") < pl.col("laps_completed"))
    shown = [*PAIR, "last", "laps_completed"]
    return [
        check_rows("ergast", "races without laps", none, ["race_id"], races.height),
        check_rows("ergast", "drivers without laps in races with laps", idle, PAIR, run.height),
        check_rows("ergast", "drivers with more laps than their result counts", extra, shown, run.height),
        check_rows("ergast", "drivers with fewer laps than their result counts", fewer, shown, run.height),
    ]
