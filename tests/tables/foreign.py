"""A small made-up championship in the three foreign layouts, for tests to write, alter and break.

Season 2020 has two races at circuits alpha (5 km) and beta (4 km) with three drivers; season 1955 one race
with a shared drive and no laps. Lap times are whole seconds, so that sums can be done by eye.
"""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path

import polars as pl

Csv = dict[str, str]

ERGAST: Csv = {
    "circuits.csv": "circuitId,circuitRef,name\n1,alpha,Alpha Ring\n2,beta,Beta Park\n3,monaco,Monaco\n",
    "constructors.csv": "constructorId,constructorRef,name\n1,red,Red\n2,blue,Blue\n",
    "drivers.csv": (
        "driverId,driverRef,number,code,forename,surname\n"
        "1,perez,11,PER,Sergio,Pérez\n"
        "2,sainz,55,SAI,Carlos,Sainz\n"
        "3,ambrosio,\\N,\\N,Jérôme,d'Ambrosio\n"
    ),
    "status.csv": "statusId,status\n1,Finished\n3,Accident\n54,Withdrew\n",
    "races.csv": (
        "raceId,year,round,circuitId,name,date,url\n"
        '10,2020,1,1,"Alpha, Grand Prix",2020-03-01,x\n'
        "11,2020,2,2,Beta Grand Prix,2020-03-08,x\n"
        "5,1955,1,2,Old Grand Prix,1955-05-01,x\n"
    ),
    "results.csv": (
        "resultId,raceId,driverId,constructorId,number,grid,position,positionText,positionOrder,laps,statusId\n"
        "1,10,1,1,11,1,1,1,1,4,1\n"
        "2,10,2,1,55,2,2,2,2,4,1\n"
        "3,10,3,2,27,3,\\N,R,3,2,3\n"
        "4,11,2,1,55,1,1,1,1,3,1\n"
        "5,11,1,1,11,2,2,2,2,3,1\n"
        "6,11,3,2,27,0,\\N,W,3,0,54\n"
        "7,5,1,1,2,4,5,5,5,50,1\n"
        "8,5,2,1,2,4,5,5,5,50,1\n"
        "9,5,1,1,4,2,\\N,R,9,20,3\n"
        "10,5,3,2,6,1,1,1,1,51,1\n"
    ),
    "qualifying.csv": (
        "qualifyId,raceId,driverId,constructorId,number,position,q1,q2,q3\n"
        "1,10,1,1,11,1,1:30.500,1:29.000,58.250\n"
        "2,10,2,1,55,2,1:31.000,1:30.000,\\N\n"
        "3,10,3,2,27,3,\\N,\\N,\\N\n"
    ),
    "pit_stops.csv": "raceId,driverId,stop,lap,time,duration,milliseconds\n10,1,1,2,14:00:00,25.0,25000\n",
    "lap_times.csv": (
        "raceId,driverId,lap,position,time,milliseconds\n"
        "10,1,1,1,x,100000\n10,1,2,1,x,100000\n10,1,3,1,x,120000\n10,1,4,1,x,100000\n"
        "10,2,1,2,x,101000\n10,2,2,2,x,101000\n10,2,3,2,x,121000\n10,2,4,2,x,100000\n"
        "10,3,1,3,x,102000\n10,3,2,3,x,702000\n"
        "11,2,1,1,x,80000\n11,2,2,1,x,80000\n11,2,3,1,x,80000\n"
        "11,1,1,2,x,81000\n11,1,2,2,x,81000\n11,1,3,2,x,81000\n"
    ),
}

_PRACTICE = "raceId,year,round,driverNumber,driverId,constructorId,time,timeMillis\n"
F1DB: Csv = {
    "f1db-races.csv": (
        "id,year,round,date,grandPrixId,circuitType,direction,courseLength,turns,laps,scheduledLaps\n"
        "1,2020,1,2020-03-01,alpha,RACE,CLOCKWISE,5.0,12,4,6\n"
        "2,2020,2,2020-03-08,beta,STREET,ANTI_CLOCKWISE,4.0,10,3,\n"
    ),
    "f1db-races-starting-grid-positions.csv": (
        "raceId,year,round,positionText,driverNumber,driverId,constructorId,gridPenalty,qualificationPositionNumber\n"
        "1,2020,1,1,11,sergio-perez,red-one,,\n"
        "1,2020,1,2,55,carlos-sainz-jr,red-one,5,\n"
        "1,2020,1,PL,27,jerome-dambrosio,blue-two,SFB,\n"
        "2,2020,2,1,55,carlos-sainz-jr,red-one,,\n"
        "2,2020,2,3,11,sergio-perez,red-one,SFB,\n"
    ),
    "f1db-races-free-practice-1-results.csv": _PRACTICE
    + (
        "1,2020,1,11,sergio-perez,red-one,1:32.100,92100\n"
        "1,2020,1,27,rudolf-reserve,blue-two,1:33.000,93000\n"
        "1,2020,1,55,carlos-sainz-jr,red-one,,\n"
    ),
    "f1db-races-free-practice-2-results.csv": _PRACTICE + "1,2020,1,40,jerome-dambrosio,blue-two,1:31,91000\n",
    "f1db-races-free-practice-3-results.csv": _PRACTICE + "1,2020,1,11,sergio-perez,red-one,x,1100000\n",
    "f1db-races-free-practice-4-results.csv": _PRACTICE,
}


def write_csvs(folder: Path, files: Csv, **changes: str | None) -> Path:
    """Write the files; a change replaces a file by its stem ("lap_times"), None leaves it out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        stem = name.removesuffix(".csv")
        changed = changes.get(stem.replace("-", "_"), text)
        if changed is not None:
            (folder / name).write_text(changed, encoding="utf-8")
    return folder


def ergast(folder: Path, **changes: str | None) -> Path:
    return write_csvs(folder / "ergast", ERGAST, **changes)


def f1db(folder: Path, **changes: str | None) -> Path:
    return write_csvs(folder / "f1db", F1DB, **changes)


def zipped(folder: Path, inside: str = "dump/") -> Path:
    """The folder's files as a zip file beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, inside + file.name)
    return path


def seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def timing_rows(start: float = 600.0) -> list[dict[str, object]]:
    """Laps of race 2020/1 as FastF1 has them: the session clock runs from `start` before the race's own."""
    ends = {"PER": [100, 200, 320, 420], "SAI": [101, 202, 323, 423], "DAM": [102, 804]}
    numbers, teams = {"PER": "11", "SAI": "55", "DAM": "27"}, {"PER": "R", "SAI": "R", "DAM": "B"}
    rows: list[dict[str, object]] = []
    for code, clocks in ends.items():
        for lap, clock in enumerate(clocks, start=1):
            row = {
                "Driver": code,
                "DriverNumber": numbers[code],
                "Team": teams[code],
                "LapNumber": float(lap),
                "Time": seconds(start + clock),
                "Compound": "UNKNOWN" if lap == 1 else "HYPERSOFT",
                "TyreLife": float(lap),
                "PitInTime": seconds(start + clock) if (code, lap) == ("SAI", 3) else None,
                "PitOutTime": seconds(start) if lap == 1 or (code, lap) == ("SAI", 4) else None,
                "TrackStatus": "0" if lap == 4 else "12",
                "SpeedST": 301.0 if lap == 2 else None,
            }
            rows.append(row)
    return rows


def fastf1(folder: Path, rows: list[dict[str, object]] | None = None, start: float = 600.0) -> Path:
    """laps_2020.parquet and weather_2020.parquet in a folder."""
    path = folder / "fastf1"
    path.mkdir(parents=True, exist_ok=True)
    kinds = {
        "PitInTime": pl.Duration("ms"),
        "PitOutTime": pl.Duration("ms"),
        "Time": pl.Duration("ms"),
        "SpeedST": pl.Float64,
    }
    laps = pl.DataFrame(timing_rows(start) if rows is None else rows, schema_overrides=kinds)
    one = [pl.lit(2020).alias("Season"), pl.lit(1).alias("RoundNumber")]
    laps.with_columns(one).write_parquet(path / "laps_2020.parquet")
    pl.DataFrame(
        {
            "Season": 2020,
            "Round": 1,
            "Time": [timedelta(seconds=start - 60), timedelta(seconds=start), timedelta(seconds=start + 780)],
            "AirTemp": [20.0, 21.0, 22.0],
            "TrackTemp": [30.0, 31.0, 32.0],
            "Humidity": 50.0,
            "WindSpeed": 2.0,
            "Rainfall": [False, False, True],
        }
    ).write_parquet(path / "weather_2020.parquet")
    return path
