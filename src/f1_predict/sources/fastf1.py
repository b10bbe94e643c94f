"""Reads seasons of FastF1's `session.laps` and `session.weather_data`, one Parquet file each.

Expects `laps_YYYY.parquet` with the columns `Season` and `RoundNumber` beside FastF1's own, and
`weather_YYYY.parquet` with `Season` and `Round`. `LapTime` is not read: around red flags it is
unsound, while `Time` (the session clock at the lap's end) is sound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from f1_predict.sources.reading import Field, Source, read_parquet

REMEDY = "Give a folder of laps_YYYY.parquet and weather_YYYY.parquet files as FastF1 names their columns."

LAP_FIELDS = {
    "Season": Field(pl.Int64),
    "RoundNumber": Field(pl.Int64),
    "Driver": Field(pl.String),
    "DriverNumber": Field(pl.String, nullable=True),
    "Team": Field(pl.String, nullable=True),
    "LapNumber": Field(pl.Int64, low=1, high=250),
    "Time": Field(pl.Duration, nullable=True),
    "Compound": Field(pl.String, nullable=True),
    "TyreLife": Field(pl.Int64, nullable=True, low=0, high=150),
    "PitInTime": Field(pl.Duration, nullable=True),
    "PitOutTime": Field(pl.Duration, nullable=True),
    "TrackStatus": Field(pl.String, nullable=True),
    "SpeedST": Field(pl.Float64, nullable=True),
}
WEATHER_FIELDS = {
    "Season": Field(pl.Int64),
    "Round": Field(pl.Int64),
    "Time": Field(pl.Duration),
    "AirTemp": Field(pl.Float64, nullable=True, low=-30, high=60),
    "TrackTemp": Field(pl.Float64, nullable=True, low=-30, high=90),
    "Humidity": Field(pl.Float64, nullable=True, low=0, high=100),
    "WindSpeed": Field(pl.Float64, nullable=True, low=0, high=80),
    "Rainfall": Field(pl.Boolean, nullable=True),
}


@dataclass(frozen=True)
class FastF1Data:
    """FastF1's rows of the seasons asked for.

    Attributes:
        laps: race_id, code (three letters), car_number, team, lap, clock_s (session clock at the
            lap's end), compound, tyre_life, pit_in, pit_out, track_status, speed_trap_kmh.
        weather: race_id, clock_s, air_temp_c, track_temp_c, humidity_pct, wind_ms, rainfall.
    """

    laps: pl.DataFrame
    weather: pl.DataFrame


def read_fastf1(path: Path, seasons: tuple[int, int] | None = None) -> FastF1Data:
    """Read the season files in a folder.

    Raises:
        SourceFileError: if the folder has no laps file at all, a column is missing or of the wrong
            type, or a file cannot be decoded.
    """
    source = Source(path, "FastF1", REMEDY)
    if not path.is_dir():
        raise source.error("it is not a folder")
    found = {int(m[1]): m[0] for f in path.iterdir() if (m := re.fullmatch(r"laps_(\d{4})\.parquet", f.name))}
    if not found:
        raise source.error("there is no laps_YYYY.parquet in the folder")
    wanted = sorted(y for y in found if seasons is None or seasons[0] <= y <= seasons[1])
    # A season without weather is no fault of its laps; the quality report names its races.
    skies = [y for y in wanted if (path / f"weather_{y}.parquet").exists()]
    return joined(
        [read_laps(source, found[year]) for year in wanted],
        [read_weather(source, f"weather_{y}.parquet") for y in skies],
    )


def joined(laps: list[pl.DataFrame], weather: list[pl.DataFrame]) -> FastF1Data:
    """The frames of several files, which may be none, as one."""
    empty = {name: pl.Series(name, [], dtype=field.dtype) for name, field in {**LAP_FIELDS, **WEATHER_FIELDS}.items()}
    blank = pl.DataFrame(empty).with_columns(pl.selectors.duration().cast(pl.Int64).cast(pl.Float64))
    return FastF1Data(laps=pl.concat([_laps(blank), *laps]), weather=pl.concat([_weather(blank), *weather]))


def read_laps(source: Source, name: str) -> pl.DataFrame:
    """The laps of one file, as in `FastF1Data`.

    Raises:
        SourceFileError: if a column is missing or of the wrong type, or the file cannot be decoded.
    """
    return _laps(read_parquet(source, name, LAP_FIELDS))


def read_weather(source: Source, name: str) -> pl.DataFrame:
    """The weather of one file, as in `FastF1Data`.

    Raises:
        SourceFileError: if a column is missing or of the wrong type, or the file cannot be decoded.
    """
    return _weather(read_parquet(source, name, WEATHER_FIELDS))


def _laps(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        race_id=pl.format("{}_race_{}", "Season", "RoundNumber"),
        code="Driver",
        car_number=pl.col("DriverNumber").cast(pl.Int64, strict=False),
        team="Team",
        lap="LapNumber",
        clock_s="Time",
        compound="Compound",
        tyre_life="TyreLife",
        pit_in=pl.col("PitInTime").is_not_null(),
        pit_out=pl.col("PitOutTime").is_not_null(),
        track_status="TrackStatus",
        speed_trap_kmh="SpeedST",
    )


def _weather(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        race_id=pl.format("{}_race_{}", "Season", "Round"),
        clock_s="Time",
        air_temp_c="AirTemp",
        track_temp_c="TrackTemp",
        humidity_pct="Humidity",
        wind_ms="WindSpeed",
        rainfall="Rainfall",
    )
