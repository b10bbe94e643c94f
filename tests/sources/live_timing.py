"""Files of the official live timing, as its archive serves them and FastF1 reads them, made from canonical tables.

A `.jsonStream` is a line per message: the session clock "HH:MM:SS.mmm", the JSON right behind it, and CR LF; the first
line begins with a byte order mark. `.z` streams hold packed JSON in place of JSON. Only what FastF1 uses is in it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl

START_S = 3725.125
"""The session clock at the start of the race: the feed is switched on an hour before it."""
RED = "5"
"""The track status."""
HOST = "livetiming.formula1.com/static"
Message = tuple[float, Any]


@dataclass(frozen=True)
class Car:
    """A driver as timing has him."""

    driver_id: str
    number: str
    code: str
    team: str


@dataclass(frozen=True)
class LiveRace:
    """What a race's files are made from.

    Attributes:
        race: the row of `races`.
        cars: in any order.
        laps: canonical laps of the race, with every column that timing gives.
        weather: canonical weather of the race.
        statuses: when each track status (one digit) began, in seconds of the race.
    """

    race: dict[str, Any]
    cars: Sequence[Car]
    laps: pl.DataFrame
    weather: pl.DataFrame
    statuses: Sequence[tuple[float, str]]

    @property
    def path(self) -> str:
        """Of the session's folder, without its host's."""
        day, name = self.race["date"].isoformat(), self.race["name"].replace(" ", "_")
        return f"{day[:4]}/{day}_{name}/{day}_Race"


def live_files(race: LiveRace) -> dict[str, bytes]:
    """The files of a race's session: address without "https://" -> content."""
    made = {
        "SessionInfo.jsonStream": _session_info(race),
        "DriverList.jsonStream": [(2.0, {car.number: _driver(car, n) for n, car in enumerate(race.cars, start=1)})],
        "SessionStatus.jsonStream": _session_status(race),
        "LapCount.jsonStream": _lap_count(race),
        "TrackStatus.jsonStream": [
            (START_S + at if at else 5.0, {"Status": status, "Message": _MESSAGES[status]})
            for at, status in race.statuses
        ],
        "TimingData.jsonStream": _timing(race),
        "TimingAppData.jsonStream": _tyres(race),
        "WeatherData.jsonStream": _weather(race),
        "CarData.z.jsonStream": _cars(race),
    }
    return {f"{HOST}/{race.path}/{name}": _stream(messages, ".z." in name) for name, messages in made.items()}


def schedule_file(season: int, races: pl.DataFrame) -> dict[str, bytes]:
    """The season's calendar as FastF1's own schedule has it: columns of values by row number."""
    rows = races.filter(season=season).sort("round").to_dicts()
    columns: dict[str, list[Any]] = {
        "round_number": [row["round"] for row in rows],
        "country": ["There" for _ in rows],
        "location": [row["circuit_id"] for row in rows],
        "official_event_name": [f"FORMULA 1 {row['name'].upper()} {season}" for row in rows],
        "event_date": [f"{row['date']}T00:00:00.000" for row in rows],
        "event_name": [row["name"] for row in rows],
        "event_format": ["conventional" for _ in rows],
        "gmt_offset": ["02:00" for _ in rows],
        "f1_api_support": [True for _ in rows],
    }
    sessions = [("Practice 1", 2), ("Practice 2", 2), ("Practice 3", 1), ("Qualifying", 1), ("Race", 0)]
    for number, (name, days) in enumerate(sessions, start=1):
        columns[f"session{number}"] = [name for _ in rows]
        columns[f"session{number}_date"] = [f"{row['date'] - timedelta(days=days)}T15:00:00.000" for row in rows]
    content = {name: {str(n): value for n, value in enumerate(values)} for name, values in columns.items()}
    place = f"raw.githubusercontent.com/theOehrly/f1schedule/master/schedule_{season}.json"
    return {place: json.dumps(content).encode()}


_MESSAGES = {"1": "AllClear", "2": "Yellow", "4": "SCDeployed", "5": "Red", "6": "VSCDeployed", "7": "VSCEnding"}


def _stream(messages: Sequence[Message], packed: bool) -> bytes:
    lines = []
    for at, content in sorted(messages, key=lambda message: message[0]):
        text = json.dumps(content, separators=(",", ":"))
        if packed:
            raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            text = f'"{base64.b64encode(raw.compress(text.encode()) + raw.flush()).decode()}"'
        lines.append(f"{_clock(at)}{text}\r\n")
    return b"\xef\xbb\xbf" + "".join(lines).encode()


def _clock(seconds: float) -> str:
    """The session clock: "01:02:03.004"."""
    left, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{left // 3600:02d}:{left // 60 % 60:02d}:{left % 60:02d}.{milliseconds:03d}"


def _time(milliseconds: int) -> str:
    """A lap or sector time: "26.572", "1:26.572"."""
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest // 1000}.{rest % 1000:03d}"
    return f"{minutes}:{seconds:0>6}" if minutes else seconds


def _session_info(race: LiveRace) -> list[Message]:
    begin = datetime.combine(race.race["date"], datetime.min.time()) + timedelta(hours=15)
    circuit = {"Key": 1, "ShortName": race.race["circuit_id"]}
    meeting = {"Key": 1, "Name": race.race["name"], "Location": "Here", "Circuit": circuit}
    session = {"Key": 2, "Type": "Race", "Name": "Race", "StartDate": begin.isoformat()}
    session |= {"EndDate": (begin + timedelta(hours=2)).isoformat(), "GmtOffset": "02:00:00", "Path": f"{race.path}/"}
    return [(0.5, {"Meeting": meeting, "ArchiveStatus": {"Status": "Complete"}, **session})]


def _driver(car: Car, line: int) -> dict[str, Any]:
    names = {"BroadcastName": car.code, "FullName": car.code, "FirstName": "A", "LastName": car.code}
    team = {"TeamName": car.team, "TeamColour": "00D2BE", "CountryCode": "XXX", "Reference": car.code}
    return {"RacingNumber": car.number, "Tla": car.code, "Line": line, **names, **team}


def _session_status(race: LiveRace) -> list[Message]:
    """Started, stopped by red flags and started again, finished."""
    last = race.laps["end_time_s"].max()
    moments = [(0.0, "Started"), (last + 1.0, "Finished"), (last + 300.0, "Finalised"), (last + 600.0, "Ends")]
    for (at, status), (end, _) in pairwise(race.statuses):
        if status == RED and at < last:
            moments += [(at, "Aborted"), (end, "Started")]
    return [(1.0, {"Status": "Inactive"}), *((START_S + at, {"Status": status}) for at, status in moments)]


def _lap_count(race: LiveRace) -> list[Message]:
    total = race.race["scheduled_laps"]
    ends = race.laps.group_by("lap").agg(pl.col("end_time_s").min()).sort("lap").filter(pl.col("lap") < total)
    later = [(START_S + end, {"CurrentLap": lap + 1}) for lap, end in ends.iter_rows()]
    return [(10.0, {"CurrentLap": 1, "TotalLaps": total}), *later]


def _timing(race: LiveRace) -> list[Message]:
    """Sectors, speed traps, lap times and pits of all cars, each message of one car."""
    empty = {"Value": "", "Status": 0, "OverallFastest": False, "PersonalFastest": False}
    sectors = [{"Stopped": False, **empty} for _ in range(3)]
    speeds = dict.fromkeys(("I1", "I2", "FL", "ST"), empty)
    before = {"Retired": False, "InPit": True, "PitOut": False, "Stopped": False, "GapToLeader": ""}
    before |= {"Sectors": sectors, "Speeds": speeds, "BestLapTime": {"Value": ""}, "LastLapTime": empty}
    made: list[Message] = [(3.0, {"Lines": {car.number: {"RacingNumber": car.number, **before} for car in race.cars}})]
    leads = race.laps.group_by("lap").agg(pl.col("end_time_s").min())
    leader = dict(leads.iter_rows())
    for car in race.cars:
        # To the grid, which ends in no pit lane.
        made.append((START_S - 2400.0, _line(car, {"InPit": False, "PitOut": True})))
        rows = race.laps.filter(driver_id=car.driver_id).sort("lap").to_dicts()
        for row in rows:
            made += _lap(car, row, leader[row["lap"]])
        if not rows or rows[-1]["lap"] < race.race["scheduled_laps"]:
            stopped = START_S + (rows[-1]["end_time_s"] if rows else 0.0) + 30.0
            made.append((stopped, _line(car, {"Retired": True, "Stopped": True, "Status": 4})))
    return made


def _lap(car: Car, row: dict[str, Any], leader_s: float) -> list[Message]:
    end, whole = START_S + row["end_time_s"], round(row["lap_time_s"] * 1000)
    begin = end - row["lap_time_s"]
    parts = [whole * 3 // 10, whole * 4 // 10]
    parts.append(whole - sum(parts))
    first = row["lap"] == 1  # no time of the first sector and of the lap is given after a standing start
    behind = round(row["end_time_s"] - leader_s, 3)
    gap = f"+{behind:.3f}" if behind else f"LAP {row['lap']}"
    made: list[Message] = []
    if not first:
        made.append((begin + parts[0] / 1000, _line(car, _sector(0, parts[0]))))
    if row["speed_trap_kmh"] is not None:
        speed = {"Speeds": {"ST": {"Value": f"{row['speed_trap_kmh']:.0f}"}}}
        made.append((begin + (whole - parts[2]) / 1000 - 6.0, _line(car, speed)))
    made.append((begin + (whole - parts[2]) / 1000, _line(car, _sector(1, parts[1]))))
    if row["pit_in"]:
        made.append((end - 4.0, _line(car, {"InPit": True})))
        made.append((end + 18.0, _line(car, {"InPit": False, "PitOut": True})))
    line = {"GapToLeader": gap, "NumberOfLaps": row["lap"], **_sector(2, parts[2])}
    made.append((end, _line(car, line if first else line | {"LastLapTime": {"Value": _time(whole)}})))
    return made


def _sector(number: int, milliseconds: int) -> dict[str, Any]:
    return {"Sectors": {str(number): {"Value": _time(milliseconds)}}}


def _line(car: Car, content: dict[str, Any]) -> dict[str, Any]:
    return {"Lines": {car.number: content}}


def _tyres(race: LiveRace) -> list[Message]:
    """A set of tyres when it is fitted, and its age lap by lap."""
    made: list[Message] = []
    for car in race.cars:
        rows = race.laps.filter(driver_id=car.driver_id).sort("lap").to_dicts()
        stint, fitted_s = 0, 4.0
        for n, row in enumerate(rows):
            if n and rows[n - 1]["pit_in"]:
                stint, fitted_s = stint + 1, START_S + rows[n - 1]["end_time_s"] + 10.0
            if not n or rows[n - 1]["pit_in"]:
                made.append((fitted_s, _line(car, {"Stints": _set(stint, row)})))
            worn = {"Stints": {str(stint): {"TotalLaps": row["tyre_life"], "LapFlags": 1}}}
            made.append((START_S + row["end_time_s"] + 0.5, _line(car, worn)))
        if not rows:
            made.append((fitted_s, _line(car, {"Stints": _set(0, {"compound": "SOFT", "tyre_life": 1})})))
    return made


def _set(stint: int, row: dict[str, Any]) -> Any:
    """The first set comes as a list, later ones by number."""
    age = row["tyre_life"] - 1
    new = {"LapFlags": 0, "Compound": row["compound"], "New": "false" if age else "true", "TyresNotChanged": "0"}
    new |= {"TotalLaps": age, "StartLaps": age}
    return {str(stint): new} if stint else [new]


def _weather(race: LiveRace) -> list[Message]:
    return [
        (
            START_S + row["time_s"],
            {
                "AirTemp": f"{row['air_temp_c']:.1f}",
                "Humidity": f"{row['humidity_pct']:.1f}",
                "Pressure": "1013.2",
                "Rainfall": "1" if row["rainfall"] else "0",
                "TrackTemp": f"{row['track_temp_c']:.1f}",
                "WindDirection": "120",
                "WindSpeed": f"{row['wind_ms']:.1f}",
            },
        )
        for row in race.weather.iter_rows(named=True)
    ]


def _cars(race: LiveRace) -> list[Message]:
    """Telemetry of the first minute, a sample every ten seconds."""
    made: list[Message] = []
    for second in range(0, 60, 10):
        utc = datetime.combine(race.race["date"], datetime.min.time()) + timedelta(seconds=12 * 3600 + second)
        channels = {"0": 11_000, "2": 100 + second, "3": 5, "4": 99, "5": 0, "45": 8}
        entry = {
            "Utc": f"{utc.isoformat()}.0000000Z",
            "Cars": {car.number: {"Channels": channels} for car in race.cars},
        }
        made.append((START_S + second, {"Entries": [entry]}))
    return made
