"""Lays FastF1's timing over Ergast's laps, by lap number or by the session clock, and dates the weather.

Knows nothing of how lap times become a race clock: it takes `end_time_s` and may correct it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from f1_predict import schemas
from f1_predict.sources.fastf1 import FastF1Data
from f1_predict.tables.entries import team_check
from f1_predict.tables.matching import match_codes
from f1_predict.tables.quality import Check, check_rows, first_of

PAIR = ["race_id", "driver_id"]
LAP = [*PAIR, "lap"]
SAME_MOMENT_S = 2.0
"""Two clocks agree on the end of a lap when they differ by no more than this."""
NUMBERED_SHARE, CLOCKED_SHARE = 0.95, 0.8
"""Lap numbers stand where this share of a driver's laps agrees in time; else the clock may decide."""
CONFLICT_S = 0.5
"""Lap times further than this from the session clock are reported as conflicts."""
RED_FLAG = "5"
"""FastF1's track status."""
LOST_CLOCK_S = 60.0
"""A jump between the clocks of a whole field by more than this is time that lap times have lost."""


@dataclass(frozen=True)
class Timing:
    """What timing adds.

    Attributes:
        laps: race_id, driver_id, lap, compound, tyre_life, timed_in, timed_out, track_status, speed_trap_kmh.
        weather: the canonical table.
    """

    laps: pl.DataFrame
    weather: pl.DataFrame


def apply_timing(
    fastf1: FastF1Data, laps: pl.DataFrame, people: pl.DataFrame
) -> tuple[pl.DataFrame, Timing, list[Check]]:
    """Match FastF1's laps and weather to Ergast's.

    The race starts at the session clock of a lap's end less its `end_time_s`, in the median over the drivers
    on lap 1: later laps would mix in time that one of the clocks lost.

    Args:
        fastf1: the source.
        laps: cleaned laps with `end_time_s`, sorted by race, driver and lap.
        people: `starters` with the names of `add_plain_names`.

    Returns:
        `laps` with `end_time_s` corrected where the whole field's clock lost time; the timing; checks.
    """
    names = fastf1.laps.select("race_id", "car_number", "team", name="code").unique(
        ["race_id", "name"], keep="first", maintain_order=True
    )
    matched = match_codes(names, people)
    keys = matched.select("race_id", "name", "driver_id")
    rows = fastf1.laps.rename({"code": "name"}).join(keys, on=["race_id", "name"], maintain_order="left")
    unknown = matched.filter(pl.col("driver_id").is_null())
    rows = rows.rename({"lap": "timed_lap"})
    every, twice_check = first_of("fastf1", "duplicate timed laps removed", rows, ["race_id", "name", "timed_lap"])
    rows = every.drop_nulls("driver_id")
    offsets, starts = _offsets(rows, laps)
    rows = rows.join(offsets, on=PAIR, how="left", maintain_order="left")
    rows, moved = _align(rows, laps)
    found = rows.join(laps.select(*LAP, "end_time_s"), on=LAP, maintain_order="left")
    laps, clock_check = _restore_clock(laps, found)
    in_races = laps.filter(pl.col("race_id").is_in(rows["race_id"].unique().implode()))
    total = fastf1.laps.height
    left = every.join(found, on=["race_id", "name", "timed_lap"], how="anti", maintain_order="left")
    untimed = in_races.join(found, on=LAP, how="anti")
    raw_compounds = found.filter(_compound().is_null() & pl.col("compound").is_not_null())
    weather, weather_checks = _weather(fastf1, starts)
    checks = [
        check_rows("fastf1", "drivers unmatched", unknown, ["race_id", "name", "car_number"], matched.height),
        twice_check,
        check_rows("fastf1", "laps unmatched", left, ["race_id", "name", "timed_lap"], total),
        check_rows("fastf1", "laps numbered anew by the session clock", moved, [*PAIR, "timed_lap", "lap"], total),
        check_rows("fastf1", "Ergast's laps without timing in timed races", untimed, LAP, in_races.height),
        check_rows("fastf1", "compounds not named (null)", raw_compounds, LAP, found.height),
        clock_check,
        *clock_conflicts(found, laps),
        team_check("fastf1", names, keys, people),
        *weather_checks,
    ]
    status = pl.col("track_status").str.replace_all(r"[^1-7]", "").replace("", None)
    trap = pl.when(pl.col("speed_trap_kmh").is_between(1.0, 450.0)).then("speed_trap_kmh")
    timed = found.select(
        *LAP,
        "tyre_life",
        compound=_compound(),
        timed_in="pit_in",
        # On lap 1 the way out of the pits is the way to the grid.
        timed_out=pl.col("pit_out") & (pl.col("lap") > 1),
        track_status=status,
        speed_trap_kmh=trap,
    )
    return laps, Timing(timed, weather), checks


def _compound() -> pl.Expr:
    name = pl.col("compound").str.to_uppercase()
    return pl.when(name.is_in(list(schemas.COMPOUNDS))).then(name)


def _offsets(rows: pl.DataFrame, laps: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Session clock at the start of the race: per driver (`offset_s`), and per race (`start_s`)."""
    both = rows.drop_nulls("clock_s").join(laps.select(*LAP, "end_time_s"), left_on=[*PAIR, "timed_lap"], right_on=LAP)
    both = both.with_columns(offset_s=pl.col("clock_s") - pl.col("end_time_s"))
    first = both.filter(pl.col("timed_lap") == pl.col("timed_lap").min().over("race_id"))
    starts = first.group_by("race_id").agg(start_s=pl.col("offset_s").median())
    per_driver = first.group_by(PAIR).agg(pl.col("offset_s").first())
    drivers = rows.select(PAIR).unique().join(per_driver, on=PAIR, how="left").join(starts, on="race_id", how="left")
    # A driver far off the field on lap 1 has a fault there of his own: the field's offset is the better one.
    far = (pl.col("offset_s") - pl.col("start_s")).abs() > LOST_CLOCK_S
    own = pl.when(~far).then("offset_s")
    return drivers.select(*PAIR, offset_s=pl.coalesce(own, "start_s")), starts


def _align(rows: pl.DataFrame, laps: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give each timed lap the number of Ergast's lap; also return those whose number differs.

    FastF1 numbers laps anew after one that it missed. Where a driver's numbers disagree with the clock and
    the clock finds nearly all of his laps, the clock decides.
    """
    ends = laps.select(*LAP, "end_time_s")
    rows = rows.with_columns(end_s=pl.col("clock_s") - pl.col("offset_s"))
    numbered = rows.join(
        ends, left_on=[*PAIR, "timed_lap"], right_on=LAP, how="left", maintain_order="left"
    ).with_columns(agrees=((pl.col("end_s") - pl.col("end_time_s")).abs() <= SAME_MOMENT_S).fill_null(False))
    share = numbered.group_by(PAIR).agg(by_number=pl.col("agrees").mean())
    doubtful = rows.join(share.filter(pl.col("by_number") < NUMBERED_SHARE), on=PAIR, maintain_order="left")
    nearest = (
        doubtful.drop_nulls("end_s")
        .sort("end_s")
        .join_asof(
            ends.sort("end_time_s").with_columns(end_s="end_time_s"),
            on="end_s",
            by=PAIR,
            strategy="nearest",
            tolerance=SAME_MOMENT_S,
            check_sortedness=False,
        )
    )
    clocked = nearest.with_columns(by_clock=pl.col("lap").is_not_null().mean().over(PAIR)).filter(
        (pl.col("by_clock") > pl.col("by_number")) & (pl.col("by_clock") >= CLOCKED_SHARE)
    )
    clocked = clocked.select(*PAIR, "timed_lap", clock_lap="lap").with_columns(by_clock=True)
    rows = rows.join(clocked, on=[*PAIR, "timed_lap"], how="left", maintain_order="left").with_columns(
        lap=pl.when(pl.col("by_clock").fill_null(False)).then("clock_lap").otherwise("timed_lap")
    )
    rows = rows.filter(pl.col("lap").is_null() | pl.struct(LAP).is_first_distinct())
    return rows, rows.filter(pl.col("lap") != pl.col("timed_lap")).sort(*PAIR, "timed_lap")


def _restore_clock(laps: pl.DataFrame, found: pl.DataFrame) -> tuple[pl.DataFrame, Check]:
    """Add to `end_time_s` what the lap times of a whole field lost (an hour dropped from a long red flag).

    Lap times stay as they are. Only a loss that most of the field shows, each to within a lap of the other, counts.
    """
    ahead = found.with_columns(late=pl.col("end_s") - pl.col("end_time_s"))
    per_lap = ahead.group_by("race_id", "lap").agg(
        late=pl.col("late").median(),
        spread=pl.col("late").quantile(0.75) - pl.col("late").quantile(0.25),
        drivers=pl.col("late").count(),
    )
    per_lap = per_lap.with_columns(most=pl.col("drivers").max().over("race_id")).sort("race_id", "lap")
    sure = per_lap.filter((pl.col("spread") < SAME_MOMENT_S) & (2 * pl.col("drivers") > pl.col("most")))
    lost = sure.filter(pl.col("late") > LOST_CLOCK_S)
    first = lost.group_by("race_id", maintain_order=True).agg(pl.col("lap").first(), pl.col("late").first().round(0))
    check = check_rows(
        "fastf1", "races whose lap times lost time that the session clock has", first, ["race_id", "lap", "late"]
    )
    if first.is_empty():
        return laps, check
    shift = laps.join(first.rename({"lap": "from_lap"}), on="race_id", how="left", maintain_order="left")
    moved = pl.when(pl.col("lap") >= pl.col("from_lap")).then("late").otherwise(0.0)
    return shift.with_columns(end_time_s=pl.col("end_time_s") + moved).drop("from_lap", "late"), check


def clock_conflicts(found: pl.DataFrame, laps: pl.DataFrame) -> list[Check]:
    """Lap times that differ from the time between two passings on the session clock, which is right at red flags.

    Args:
        found: race_id, driver_id, lap, clock_s, track_status of timed laps.
        laps: race_id, driver_id, lap, lap_time_s.
    """
    timed = found.select(*LAP, "clock_s", "track_status").sort(LAP)
    follows = pl.col("lap").shift(1).over(PAIR) == pl.col("lap") - 1
    timed = timed.with_columns(by_clock=pl.when(follows).then(pl.col("clock_s").diff().over(PAIR)).round(3))
    both = timed.drop_nulls("by_clock").join(laps.select(*LAP, "lap_time_s"), on=LAP, maintain_order="left")
    off = both.filter((pl.col("by_clock") - pl.col("lap_time_s")).abs() > CONFLICT_S)
    red = timed.filter(pl.col("track_status").str.contains(RED_FLAG).fill_null(False)).select("race_id", "lap").unique()
    # The flag is shown during one lap, and the time that it took may be in the lap before or after it.
    beside = pl.concat([red.with_columns(pl.col("lap") + step) for step in (-1, 0, 1)]).unique()
    near = off.join(beside, on=["race_id", "lap"], how="semi", maintain_order="left")
    shown = [*LAP, "lap_time_s", "by_clock"]
    return [
        check_rows("fastf1", "lap times over 0.5 s off the session clock (Ergast's kept)", off, shown, both.height),
        check_rows("fastf1", "of these around red flags, where the session clock is right", near, shown, off.height),
    ]


def _weather(fastf1: FastF1Data, starts: pl.DataFrame) -> tuple[pl.DataFrame, list[Check]]:
    rows = fastf1.weather.join(starts, on="race_id", how="left", maintain_order="left")
    undated = rows.filter(pl.col("start_s").is_null())
    dated = rows.drop_nulls("start_s").with_columns(time_s=(pl.col("clock_s") - pl.col("start_s")).round(3))
    once, twice_check = first_of("fastf1", "duplicate weather samples removed", dated, ["race_id", "time_s"])
    without = starts.join(once, on="race_id", how="anti").sort("race_id")
    table = once.select(pl.col(n).cast(t) for n, t in schemas.dtypes("weather").items())
    return table, [
        twice_check,
        check_rows("fastf1", "weather samples of races without timed laps", undated, ["race_id"], rows.height),
        check_rows("fastf1", "timed races without weather", without, ["race_id"], starts.height),
    ]
