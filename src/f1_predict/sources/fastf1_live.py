"""Loads race sessions through FastF1, says what each lacks, and keeps its frames on disk as `fastf1.py` reads them.

FastF1 logs many failures and carries on with less: so each load is checked for what came, and whatever did not is
named and done without. FastF1 keeps the limits of the services that it asks, and caches their answers itself.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from f1_predict.errors import DownloadError, SourceFileError
from f1_predict.sources.fastf1 import REMEDY, FastF1Data, joined, read_laps, read_weather
from f1_predict.sources.origins import Origin
from f1_predict.sources.raw import RawCache, write_whole
from f1_predict.sources.reading import Source

SOURCE = "fastf1"
FIRST_SEASON = 2018
"""The live timing that FastF1 reads goes back to here."""
_DURATIONS = ("Time", "LapTime", "PitInTime", "PitOutTime", "LapStartTime")
_NUMBERS = ("LapNumber", "Stint", "TyreLife", "Position", "SpeedI1", "SpeedI2", "SpeedFL", "SpeedST")
_TEXTS = ("Driver", "DriverNumber", "Team", "Compound", "TrackStatus")
_WEATHER_NUMBERS = ("AirTemp", "TrackTemp", "Humidity", "WindSpeed")
_REQUIRED = ("Driver", "LapNumber", "Time")
_TELEMETRY = ("Time", "Speed", "RPM", "nGear", "Throttle", "Brake", "DRS")
_ABSENT = ("", "nan", "None", "NaT", "<NA>")
_FILES = ("laps", "weather")


class Session(Protocol):
    """What is used of a `fastf1.core.Session`."""

    laps: Any
    weather_data: Any
    car_data: Any

    def load(self, *, laps: bool, telemetry: bool, weather: bool, messages: bool) -> None:
        """Load the session's data, as far as it is to be had."""
        ...


@dataclass(frozen=True)
class Missing:
    """Something that a session should have and does not."""

    race_id: str
    session: str
    what: str


@dataclass(frozen=True)
class Loader:
    """How sessions are got.

    Attributes:
        get_session: FastF1's.
        version: of FastF1.
        errors: that it may raise.
        limit: the one of them that says that a service's limit is used up.
    """

    get_session: Callable[[int, int, str], Session]
    version: str
    errors: tuple[type[Exception], ...]
    limit: type[Exception]


def real_loader(cache_folder: Path) -> Loader:
    """FastF1 itself, with its own cache in the folder.

    Its import takes a second and brings pandas along, so it is made here and not with this module.
    """
    fastf1 = importlib.import_module("fastf1")
    exceptions = importlib.import_module("fastf1.exceptions")
    requests = importlib.import_module("requests")
    cache_folder.mkdir(parents=True, exist_ok=True)
    configure = getattr(fastf1.Cache, "configure", None)
    if configure is None:  # before 3.9
        fastf1.Cache.enable_cache(str(cache_folder))
    else:
        configure(cache_dir=str(cache_folder))
    fastf1.set_log_level("ERROR")  # its warnings are many; what is missing is listed after each load
    names = ("DataNotLoadedError", "ErgastError", "NoLapDataError", "F1AuthError", "FastF1CriticalError")
    own = [kind for name in names if (kind := getattr(exceptions, name, None)) is not None]
    # What a half-answered service makes FastF1 stumble over inside, besides its own errors.
    inner = (requests.RequestException, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)
    return Loader(fastf1.get_session, str(fastf1.__version__), (*own, *inner), exceptions.RateLimitExceededError)


def fetch_session(loader: Loader, cache: RawCache, season: int, round_: int, telemetry: bool = False) -> list[Missing]:
    """Load a race and keep what came; what is on disk already is never replaced by less.

    Args:
        loader: FastF1, or what stands for it.
        cache: where the frames are kept.
        season: the year.
        round_: the race.
        telemetry: load the car data too, and keep it as one Parquet file per driver (`fastf1.py` does not read it).

    Returns:
        what is missing, empty if all is there.

    Raises:
        DownloadError: if the disk cannot be written to, or FastF1 has used up a service's limit.
    """
    race_id = f"{season}_race_{round_}"
    try:
        with _nobody_to_ask():
            session = loader.get_session(season, round_, "R")
            session.load(laps=True, telemetry=telemetry, weather=True, messages=False)
    except loader.limit as error:
        raise DownloadError(
            f"{race_id}: FastF1 has used up the hourly limit of a service ({error}). Start again in an hour: "
            "what was fetched is kept."
        ) from error
    except loader.errors as error:
        return [Missing(race_id, "race", f"the session ({type(error).__name__}: {str(error)[:120]})")]
    laps, missing = _laps(session, loader, season, round_)
    weather, no_weather = _weather(session, loader, season, round_)
    missing += no_weather
    folder = cache.root.joinpath(*_parts(season, round_)[:-1])
    stored = cache.read(*_parts(season, round_)) if _whole(cache, season, round_) else None
    rows = {"laps": laps.height, "weather": weather.height}
    before = dict.fromkeys(_FILES, 0) if stored is None else stored.payload["rows"]
    kept: dict[str, Any] = {"rows": {}, "sha256": {}, "version": loader.version}
    for name, frame in (("laps", laps), ("weather", weather)):
        if stored is not None and rows[name] < before[name]:
            kept["rows"][name], kept["sha256"][name] = before[name], stored.payload["sha256"][name]
            continue
        content = io.BytesIO()
        frame.write_parquet(content, compression="zstd")
        write_whole(folder / f"{name}.parquet", content.getvalue())
        kept["rows"][name] = frame.height
        kept["sha256"][name] = hashlib.sha256(content.getvalue()).hexdigest()
    kept["missing"] = [each.what for each in missing]
    kept["telemetry"] = _keep_telemetry(session, loader, folder) if telemetry else 0
    if telemetry and not kept["telemetry"]:
        missing.append(Missing(race_id, "race", "telemetry"))
    cache.write(kept, *_parts(season, round_))  # last: files without it count as not there
    return missing


@contextmanager
def _nobody_to_ask() -> Iterator[None]:
    """Keep FastF1 from asking for an account at the terminal in the middle of a fetch.

    It signs in with F1_USERNAME and F1_PASSWORD where they are set, and otherwise goes on without.
    """
    terminal, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = terminal


def is_needed(cache: RawCache, season: int, round_: int, final: datetime, refresh: bool, telemetry: bool) -> bool:
    """Whether a race should be loaded: it is not on disk whole, or lacks something that may have come since.

    Args:
        cache: where the frames are kept.
        season: the year.
        round_: the race.
        final: what is missing after this moment stays missing, as far as a fetch is concerned.
        refresh: ask for missing things even after it.
        telemetry: whether the car data is wanted.
    """
    stored = cache.read(*_parts(season, round_))
    if stored is None or not _whole(cache, season, round_):
        return True
    if stored.payload["missing"] and (refresh or stored.checked < final):
        return True
    return telemetry and not stored.payload["telemetry"] and (refresh or stored.checked < final)


def missing_of(cache: RawCache, season: int, round_: int) -> list[Missing]:
    """What a race on disk lacks; all of it if it is not there."""
    stored = cache.read(*_parts(season, round_))
    what = ["the session"] if stored is None else stored.payload["missing"]
    return [Missing(f"{season}_race_{round_}", "race", each) for each in what]


def read_sessions(cache: RawCache, races: Sequence[tuple[int, int]]) -> tuple[FastF1Data, list[Origin]]:
    """The frames on disk of races given by season and round, and one Origin per race and canonical table."""
    laps: list[pl.DataFrame] = []
    weather: list[pl.DataFrame] = []
    origins: list[Origin] = []
    for season, round_ in races:
        stored = cache.read(*_parts(season, round_))
        if stored is None or not _whole(cache, season, round_):
            continue
        source = Source(cache.root.joinpath(*_parts(season, round_)[:-1]), "FastF1", REMEDY)
        for name, frames, read in (("laps", laps, read_laps), ("weather", weather, read_weather)):
            if stored.payload["rows"][name]:
                frames.append(read(source, f"{name}.parquet"))
                version = f"{stored.payload['version']} {stored.payload['sha256'][name][:12]}"
                origins.append(Origin(name, f"{season}_race_{round_}", SOURCE, version, stored.fetched))
    return joined(laps, weather), origins


def _parts(season: int, round_: int) -> tuple[str, str, str, str]:
    return SOURCE, f"{season}", f"{round_:02d}", "session"


def _whole(cache: RawCache, season: int, round_: int) -> bool:
    """Whether the files on disk are those that the session's note describes, in the known layout."""
    stored = cache.read(*_parts(season, round_))
    folder = cache.root.joinpath(*_parts(season, round_)[:-1])
    if stored is None:
        return False
    for name, digest in stored.payload["sha256"].items():
        file = folder / f"{name}.parquet"
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            return False
    try:
        source = Source(folder, "FastF1", REMEDY)
        read_laps(source, "laps.parquet")
        read_weather(source, "weather.parquet")
    except SourceFileError:
        return False
    return True


def _frame_of(session: Session, name: str, loader: Loader) -> Any:
    """One of the session's pandas frames; None where FastF1 says that it was not loaded, or there are no rows."""
    try:
        frame = getattr(session, name)
    except loader.errors:
        return None
    return None if frame is None or len(frame) == 0 else frame


def _laps(session: Session, loader: Loader, season: int, round_: int) -> tuple[pl.DataFrame, list[Missing]]:
    race_id = f"{season}_race_{round_}"
    raw = _frame_of(session, "laps", loader)
    columns: dict[str, pl.Series] = {}
    missing: list[Missing] = []
    if raw is None or any(name not in raw.columns for name in _REQUIRED):
        missing.append(Missing(race_id, "race", "laps"))
        raw = None
    rows = 0 if raw is None else len(raw)
    for name in (*_TEXTS, *_NUMBERS, *_DURATIONS):
        columns[name] = _series(raw, name, rows)
    whole = [pl.lit(season).alias("Season"), pl.lit(round_).alias("RoundNumber")]
    # A row without driver or number says nothing, and would make the whole file unreadable.
    frame = pl.DataFrame(columns).drop_nulls(["Driver", "LapNumber"]).with_columns(whole)
    if frame.height:
        wanted = {"Compound": "tyres", "TyreLife": "tyre ages", "TrackStatus": "track status", "SpeedST": "speed traps"}
        for column, what in wanted.items():
            if frame[column].null_count() == frame.height:
                missing.append(Missing(race_id, "race", what))
        drivers = frame.group_by("Driver").agg(pl.col("Time").is_null().all()).filter("Time")
        missing += [Missing(race_id, "race", f"lap clock of {name}") for name in sorted(drivers["Driver"])]
    return frame, missing


def _weather(session: Session, loader: Loader, season: int, round_: int) -> tuple[pl.DataFrame, list[Missing]]:
    race_id = f"{season}_race_{round_}"
    raw = _frame_of(session, "weather_data", loader)
    if raw is not None and "Time" not in raw.columns:
        raw = None
    rows = 0 if raw is None else len(raw)
    columns = {name: _series(raw, name, rows) for name in ("Time", *_WEATHER_NUMBERS)}
    rain = [None] * rows if raw is None or "Rainfall" not in raw.columns else [_flag(v) for v in raw["Rainfall"]]
    columns["Rainfall"] = pl.Series("Rainfall", rain, dtype=pl.Boolean)
    whole = [pl.lit(season).alias("Season"), pl.lit(round_).alias("Round")]
    frame = pl.DataFrame(columns).drop_nulls("Time").with_columns(whole)
    return frame, [] if frame.height else [Missing(race_id, "race", "weather")]


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


def _keep_telemetry(session: Session, loader: Loader, folder: Path) -> int:
    """Write each driver's car data (time, speed, rpm, gear, throttle, brake, DRS); returns for how many."""
    try:
        cars = dict(session.car_data)
    except loader.errors:
        return 0
    kept = 0
    for number, frame in sorted(cars.items()):
        columns = [name for name in _TELEMETRY if name in frame.columns]
        if not len(frame) or "Time" not in columns or not str(number).isdecimal():
            continue
        table = {"Time": _series(frame, "Time", len(frame))}
        table |= {
            name: pl.Series(name, frame[name].to_numpy(dtype="float64"), dtype=pl.Float64)
            for name in columns
            if name != "Time"
        }
        content = io.BytesIO()
        pl.DataFrame(table).write_parquet(content, compression="zstd")
        write_whole(folder / "telemetry" / f"{number}.parquet", content.getvalue())
        kept += 1
    return kept
