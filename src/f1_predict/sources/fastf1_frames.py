"""Turns the pandas frames of a FastF1 session into polars frames in the layout that `fastf1.py` reads.

Knows nothing of files or of the network. Values that cannot be are made null and named; laps and weather of a new
load are laid over those of an earlier one so that nothing that was known gets lost.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from f1_predict import schemas
from f1_predict.sources.fastf1 import LAP_FIELDS, WEATHER_FIELDS
from f1_predict.sources.reading import Field

_DURATIONS = ("Time", "LapTime", "PitInTime", "PitOutTime", "LapStartTime")
_NUMBERS = ("LapNumber", "Stint", "TyreLife", "Position", "SpeedI1", "SpeedI2", "SpeedFL", "SpeedST")
_TEXTS = ("Driver", "DriverNumber", "Team", "Compound", "TrackStatus")
_WEATHER_NUMBERS = ("AirTemp", "TrackTemp", "Humidity", "WindSpeed")
_REQUIRED = ("Driver", "LapNumber", "Time")
_TELEMETRY = ("Time", "Speed", "RPM", "nGear", "Throttle", "Brake", "DRS")
_MADE_UP = "FastF1Generated"
_ABSENT = ("", "nan", "None", "NaT", "<NA>")
KEYS = {"laps": ("Driver", "LapNumber"), "weather": ("Time",)}
"""What tells one row of a file from another."""


def laps_frame(raw: Any, season: int, round_: int) -> tuple[pl.DataFrame, list[str]]:
    """The laps of a session, and in words the values that were refused.

    Laps that FastF1 made up are left out: of a car that stopped on track it adds one more, ended at a guess.

    Args:
        raw: FastF1's `session.laps`; None if there is none.
        season: the year.
        round_: the race.

    Returns:
        one row per driver and lap, without rows if what tells a lap from another is missing.
    """
    if raw is None or any(name not in raw.columns for name in _REQUIRED):
        raw = None
    elif _MADE_UP in raw.columns:
        raw = raw[[not _flag(value) for value in raw[_MADE_UP]]]
    rows = 0 if raw is None else len(raw)
    frame = pl.DataFrame({name: _series(raw, name, rows) for name in (*_TEXTS, *_NUMBERS, *_DURATIONS)})
    frame, refused = _in_range(frame, LAP_FIELDS)
    # A row without driver or number says nothing, and would make the whole file unreadable.
    frame = frame.drop_nulls(["Driver", "LapNumber"])
    return frame.with_columns(pl.lit(season).alias("Season"), pl.lit(round_).alias("RoundNumber")), refused


def weather_frame(raw: Any, season: int, round_: int) -> tuple[pl.DataFrame, list[str]]:
    """The weather of a session, one row per sample, and in words the values that were refused; as `laps_frame`."""
    if raw is not None and "Time" not in raw.columns:
        raw = None
    rows = 0 if raw is None else len(raw)
    columns = {name: _series(raw, name, rows) for name in ("Time", *_WEATHER_NUMBERS)}
    rain = [None] * rows if raw is None or "Rainfall" not in raw.columns else [_flag(v) for v in raw["Rainfall"]]
    columns["Rainfall"] = pl.Series("Rainfall", rain, dtype=pl.Boolean)
    frame, refused = _in_range(pl.DataFrame(columns), WEATHER_FIELDS)
    frame = frame.drop_nulls("Time")
    return frame.with_columns(pl.lit(season).alias("Season"), pl.lit(round_).alias("Round")), refused


def telemetry_frame(raw: Any) -> pl.DataFrame | None:
    """A driver's car data (time, speed, rpm, gear, throttle, brake, DRS); None if there is none."""
    columns = [name for name in _TELEMETRY if name in raw.columns]
    if not len(raw) or "Time" not in columns:
        return None
    numbers = {name: pl.Series(name, raw[name].to_numpy(dtype="float64"), dtype=pl.Float64) for name in columns[1:]}
    return pl.DataFrame({"Time": _series(raw, "Time", len(raw)), **numbers})


def merged(name: str, old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """The rows of a new load, completed from an earlier one wherever the new one knows less.

    A service may give weather and no tyres at one time, and tyres and no weather at another: so rows, and the known
    values of every column, are counted. Where a count falls, the old value stands wherever the new load has none.

    Args:
        name: "laps" or "weather".
        old: as `laps_frame` or `weather_frame` returned it earlier.
        new: as it returns it now.
    """
    keys = list(KEYS[name])
    poorer = [c for c in new.columns if c not in keys and new.select(_known(c)).item() < old.select(_known(c)).item()]
    if not poorer and new.height >= old.height:
        return new
    old = old.unique(keys, keep="first", maintain_order=True)
    before = old.select(*keys, *(pl.col(c).alias(f"_{c}") for c in poorer))
    joined = new.join(before, on=keys, how="left", maintain_order="left")
    joined = joined.with_columns(pl.coalesce(_value(c), f"_{c}", c).alias(c) for c in poorer).select(new.columns)
    gone = old.join(new, on=keys, how="anti", maintain_order="left").select(new.columns)
    places = old.select(*keys, _place=pl.int_range(pl.len()))  # as it was, so that nothing new leaves the same bytes
    every = pl.concat([joined, gone]).join(places, on=keys, how="left", maintain_order="left")
    return every.sort("_place", nulls_last=True, maintain_order=True).drop("_place")


def _value(column: str) -> pl.Expr:
    """The column, null where it says nothing: FastF1 spells out an unknown compound."""
    value = pl.col(column)
    return pl.when(value.is_in(list(schemas.COMPOUNDS))).then(value) if column == "Compound" else value


def _known(column: str) -> pl.Expr:
    return _value(column).count()


def _in_range(frame: pl.DataFrame, fields: dict[str, Field]) -> tuple[pl.DataFrame, list[str]]:
    """Null what lies outside of the range in which a column is read: one odd sample must not cost the race."""
    refused: list[str] = []
    for name, field in fields.items():
        if field.low is None or field.high is None or name not in frame.columns:
            continue
        odd = frame.filter(~pl.col(name).is_between(field.low, field.high))[name]
        if odd.is_empty():
            continue
        limits = f"{field.low:g} to {field.high:g}"
        refused.append(f"{odd.len()} of {name} outside of {limits} (first {odd[0]:g})")
        frame = frame.with_columns(pl.when(pl.col(name).is_between(field.low, field.high)).then(name).alias(name))
    return frame, refused


def _series(raw: Any, name: str, rows: int) -> pl.Series:
    """A pandas column as polars, nulls where it is missing or holds one of pandas' many kinds of nothing."""
    if name in _DURATIONS:
        kind: Any = pl.Duration("ms")
    else:
        kind = pl.String if name in _TEXTS else pl.Float64
    if raw is None or name not in raw.columns:
        return pl.Series(name, [None] * rows, dtype=kind)
    values = raw[name]
    if name in _DURATIONS:
        # NaT is the lowest integer there is.
        nanoseconds = pl.Series(name, values.to_numpy(dtype="timedelta64[ns]").astype("int64"))
        whole = nanoseconds.set(nanoseconds == -(2**63), None)
        return (whole // 1_000_000).cast(kind)
    if name in _TEXTS:
        return pl.Series(name, [None if str(v) in _ABSENT else str(v) for v in values], dtype=pl.String)
    return pl.Series(name, values.to_numpy(dtype="float64", na_value=float("nan"))).fill_nan(None)


def _flag(value: Any) -> bool | None:
    return None if str(value) in _ABSENT else bool(value)
