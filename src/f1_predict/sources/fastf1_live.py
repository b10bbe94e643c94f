"""Loads race sessions through FastF1, says what each lacks, and keeps its frames on disk as `fastf1.py` reads them.

FastF1 logs many failures and carries on with less: so each load is checked for what came, and whatever did not is
named and done without. A note beside the frames says which files count; it is written last.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from f1_predict.errors import SourceFileError
from f1_predict.sources.fastf1 import REMEDY, FastF1Data, joined, read_laps, read_weather
from f1_predict.sources.fastf1_frames import laps_frame, merged, telemetry_frame, weather_frame
from f1_predict.sources.fastf1_loader import Loader, Session, SessionError
from f1_predict.sources.origins import Origin
from f1_predict.sources.raw import Document, RawCache, write_whole
from f1_predict.sources.reading import Source

SOURCE = "fastf1"
FIRST_SEASON = 2018
"""The live timing that FastF1 reads goes back to here."""
WEATHER_SLACK = timedelta(minutes=5)
"""Weather is sampled once a minute: the last sample may lie this long before the last car's last lap."""
_NAMES = ("laps", "weather")
_READERS = {"laps": read_laps, "weather": read_weather}


@dataclass(frozen=True)
class Missing:
    """Something that a session should have and does not."""

    race_id: str
    session: str
    what: str


@dataclass(frozen=True)
class LapsDue:
    """The laps that a driver completed, by the result of the race: so many must his timing have.

    Attributes:
        code: three letters, where he has them.
        number: of his car, where it is known.
        laps: completed.
    """

    code: str | None
    number: str | None
    laps: int


def fetch_session(
    loader: Loader,
    cache: RawCache,
    season: int,
    round_: int,
    telemetry: bool = False,
    final: datetime | None = None,
    due: Sequence[LapsDue] | None = None,
) -> list[Missing]:
    """Load a race and keep what came; what is on disk already is never replaced by less.

    Args:
        loader: FastF1, or what stands for it.
        cache: where the frames are kept.
        season: the year.
        round_: the race.
        telemetry: load the car data too, and keep it as one Parquet file per driver (`fastf1.py` does not read it).
        final: until then, and where something was missing, FastF1's own cache is left out, which never forgets: half
            an answer of the day of the race would come back for ever. None if the race is long past.
        due: as `missing_of`.

    Returns:
        what is missing of what is on disk now, empty if all is there.

    Raises:
        DiskError: if the disk cannot be written to.
        DownloadError: if FastF1 has used up a service's limit.
    """
    stored = _stored(cache, season, round_)
    cached = stored is None and (final is None or cache.clock() >= final)
    try:
        session = loader.load(season, round_, telemetry, cached)
    except SessionError as error:
        if stored is not None:
            return missing_of(cache, season, round_, due)
        return [Missing(f"{season}_race_{round_}", "race", f"the session ({error})")]
    folder = _folder(cache, season, round_)
    old: dict[str, Any] = {} if stored is None else stored.payload
    laps, odd_laps = laps_frame(loader.frame(session, "laps"), season, round_)
    weather, odd_weather = weather_frame(loader.frame(session, "weather_data"), season, round_)
    note: dict[str, Any] = {"files": {}, "refused": [*odd_laps, *odd_weather], "telemetry": old.get("telemetry")}
    for name, frame in (("laps", laps), ("weather", weather)):
        before = old["files"].get(name) if old else None
        told, problem = _keep(cache, folder, name, frame, before, loader.version)
        if told is not None:
            note["files"][name] = told
        if problem:
            note["refused"].append(problem)
    if telemetry:
        note["telemetry"] = max(_keep_telemetry(session, loader, folder), old.get("telemetry") or 0)
    cache.write(note, *_parts(season, round_))  # last: files that it does not name count as not there
    _tidy(folder, note)
    return missing_of(cache, season, round_, due)


def is_needed(
    cache: RawCache,
    season: int,
    round_: int,
    final: datetime,
    refresh: bool,
    telemetry: bool,
    due: Sequence[LapsDue] | None = None,
) -> bool:
    """Whether a race should be loaded: it is not on disk whole, or lacks something that may have come since.

    Args:
        cache: where the frames are kept.
        season: the year.
        round_: the race.
        final: what is missing after this moment stays missing, as far as a fetch is concerned.
        refresh: ask for missing things even after it.
        telemetry: whether the car data is wanted.
        due: as `missing_of`.
    """
    stored = _stored(cache, season, round_)
    if stored is None or (telemetry and stored.payload["telemetry"] is None):
        return True
    return (refresh or stored.checked < final) and bool(missing_of(cache, season, round_, due))


def missing_of(cache: RawCache, season: int, round_: int, due: Sequence[LapsDue] | None = None) -> list[Missing]:
    """What a race on disk lacks; all of it if it is not there.

    Args:
        cache: where the frames are kept.
        season: the year.
        round_: the race.
        due: the laps of every driver by the result of the race, empty while there is none; None to count no laps.
    """
    stored = _stored(cache, season, round_)
    if stored is None:
        what = ["the session"]
    else:
        folder, files = _folder(cache, season, round_), stored.payload["files"]
        frames = {name: pl.read_parquet(folder / files[name]["file"]) for name in files}
        laps, weather = frames.get("laps", pl.DataFrame()), frames.get("weather", pl.DataFrame())
        what = [*_lacking_laps(laps, due), *_lacking_weather(weather, laps), *stored.payload["refused"]]
        if stored.payload["telemetry"] == 0:
            what.append("telemetry")
    return [Missing(f"{season}_race_{round_}", "race", each) for each in what]


def read_sessions(cache: RawCache, races: Sequence[tuple[int, int]]) -> tuple[FastF1Data, list[Origin]]:
    """The frames on disk of races given by season and round, and one Origin per race and canonical table."""
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in _NAMES}
    origins: list[Origin] = []
    for season, round_ in races:
        stored = _stored(cache, season, round_)
        if stored is None:
            continue
        source = Source(_folder(cache, season, round_), "FastF1", REMEDY)
        for name, told in stored.payload["files"].items():
            if told["rows"]:
                frames[name].append(_READERS[name](source, told["file"]))
                version, fetched = f"{told['version']} {told['sha256'][:12]}", datetime.fromisoformat(told["fetched"])
                origins.append(Origin(name, f"{season}_race_{round_}", SOURCE, version, fetched))
    return joined(frames["laps"], frames["weather"]), origins


def _parts(season: int, round_: int) -> tuple[str, str, str, str]:
    return SOURCE, f"{season}", f"{round_:02d}", "session"


def _folder(cache: RawCache, season: int, round_: int) -> Path:
    return cache.root.joinpath(*_parts(season, round_)[:-1])


def _stored(cache: RawCache, season: int, round_: int) -> Document | None:
    """The note of a session; None if there is none, or a file is not the one that it describes."""
    stored = cache.read(*_parts(season, round_))
    if stored is None:
        return None
    folder = _folder(cache, season, round_)
    for told in stored.payload["files"].values():
        file = folder / told["file"]
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != told["sha256"]:
            return None
    return stored


def _keep(
    cache: RawCache, folder: Path, name: str, frame: pl.DataFrame, before: dict[str, Any] | None, version: str
) -> tuple[dict[str, Any] | None, str]:
    """Write a frame, completed from the one that is there, under a name of its own.

    Returns:
        what the note says of the file that counts now (None if there is none), and why a new one does not count.
    """
    if before is not None:
        frame = merged(name, pl.read_parquet(folder / before["file"]), frame)
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd")
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    if before is not None and digest == before["sha256"]:
        return before, ""  # and with it the version and the time at which this was first had
    file = f"{name}-{digest[:12]}.parquet"
    write_whole(folder / file, content.getvalue())
    try:
        _READERS[name](Source(folder, "FastF1", REMEDY), file)
    except SourceFileError as error:
        (folder / file).unlink(missing_ok=True)
        return before, f"{name} unreadable: {str(error).removesuffix(f' {error.remedy}')}"
    told = {"file": file, "rows": frame.height, "sha256": digest, "version": version}
    return told | {"fetched": cache.clock().isoformat()}, ""


def _tidy(folder: Path, note: dict[str, Any]) -> None:
    """Remove the frames that the note no longer names, of this run or of one that was killed."""
    named = {told["file"] for told in note["files"].values()}
    for name in _NAMES:
        for file in folder.glob(f"{name}*.parquet"):
            if file.name not in named:
                file.unlink(missing_ok=True)


def _lacking_laps(laps: pl.DataFrame, due: Sequence[LapsDue] | None) -> list[str]:
    if laps.is_empty():
        return ["laps"]
    wanted = {"Compound": "tyres", "TyreLife": "tyre ages", "TrackStatus": "track status", "SpeedST": "speed traps"}
    what = [name for column, name in wanted.items() if laps[column].null_count() == laps.height]
    clockless = laps.group_by("Driver").agg(pl.col("Time").is_null().all()).filter("Time")
    what += [f"lap clock of {name}" for name in sorted(clockless["Driver"])]
    if due is None:
        return what
    if not due:
        return [*what, "the result that its laps are counted by"]
    drivers = laps.group_by("Driver", "DriverNumber").agg(pl.col("LapNumber").n_unique())
    by_code: dict[str, int] = {}
    by_number: dict[str | None, int] = {}
    for code, number, count in drivers.iter_rows():
        by_code[code] = max(count, by_code.get(code, 0))
        by_number[number] = max(count, by_number.get(number, 0))
    for each in due:
        there = max(by_code.get(each.code or "", 0), by_number.get(each.number, 0) if each.number else 0)
        if there < each.laps:
            what.append(f"laps of {each.code or f'car {each.number}'} ({there} of {each.laps})")
    return what


def _lacking_weather(weather: pl.DataFrame, laps: pl.DataFrame) -> list[str]:
    if weather.is_empty():
        return ["weather"]
    if laps.is_empty() or laps["Time"].null_count() == laps.height:
        return []
    first, last = laps.select(pl.col("Time").min().alias("first"), pl.col("Time").max().alias("last")).row(0)
    begin, end = weather.select(pl.col("Time").min().alias("first"), pl.col("Time").max().alias("last")).row(0)
    what = [] if begin <= first else ["weather of the beginning of the race"]
    return what if end >= last - WEATHER_SLACK else [*what, "weather of the end of the race"]


def _keep_telemetry(session: Session, loader: Loader, folder: Path) -> int:
    """Write each driver's car data, unless there are more rows of his already; returns for how many it came."""
    try:
        cars = dict(session.car_data)
    except loader.errors:
        return 0
    kept = 0
    for number, raw in sorted(cars.items()):
        frame = telemetry_frame(raw) if str(number).isdecimal() else None
        if frame is None:
            continue
        kept += 1
        file, content = folder / "telemetry" / f"{number}.parquet", io.BytesIO()
        if file.is_file() and pl.scan_parquet(file).select(pl.len()).collect().item() > frame.height:
            continue
        frame.write_parquet(content, compression="zstd")
        write_whole(file, content.getvalue())
    return kept
