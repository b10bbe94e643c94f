"""Small untidy random tables: nulls, missing laps, retirements, new names, 18 to 24 cars, races without laps."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import polars as pl

from f1_predict.schemas import COMPOUNDS, Tables, dtypes

Row = dict[str, Any]

SEASONS = (2001, 2002, 2004)
RACES_A_SEASON = 4


def maybe(rng: random.Random, value: Any, missing: float) -> Any:
    return None if rng.random() < missing else value


def random_tables(seed: int) -> Tables:
    """Twelve races in three seasons; the last race has no result yet, one race has no laps."""
    rng = random.Random(seed)
    rows: dict[str, list[Row]] = {name: [] for name in ("races", "entries", "results", "laps", "weather")}
    number = 0
    without_laps = rng.randrange(2, 10)
    for season in SEASONS:
        teams = {f"team{i}": rng.choice((1, 2, 2, 2, 2, 3)) for i in rng.sample(range(16), 13)}
        seats = [team for team, cars in teams.items() for _ in range(cars)]
        drivers = [f"driver{i:02d}" for i in rng.sample(range(34), len(seats))]
        for round_ in range(1, RACES_A_SEASON + 1):
            race_id = f"{season}_race_{round_}"
            rows["races"].append(_race(rng, race_id, season, round_))
            crew = rng.sample(list(zip(drivers, seats, strict=True)), min(len(seats), rng.randint(18, 24)))
            entries = _entries(rng, race_id, crew)
            rows["entries"] += entries
            last = (season, round_) == (SEASONS[-1], RACES_A_SEASON)
            starters = [entry["driver_id"] for entry in entries if rng.random() > 0.03]
            results = _results(rng, race_id, starters)
            if not last:
                rows["results"] += results
            if number != without_laps:
                rows["laps"] += _laps(rng, race_id, results)
            if rng.random() < 0.6:
                rows["weather"] += _weather(rng, race_id)
            number += 1
    frames = {name: pl.DataFrame(part, schema=dtypes(name)) for name, part in rows.items()}
    return Tables(**frames).validate().sort()


def _race(rng: random.Random, race_id: str, season: int, round_: int) -> Row:
    return {
        "race_id": race_id,
        "season": season,
        "round": round_,
        "name": f"Race {round_}",
        "date": date(season, round_, 1),
        "circuit_id": f"circuit{rng.randrange(4)}",
        "course_length_km": maybe(rng, rng.uniform(3, 7), 0.2),
        "scheduled_laps": 9,
        "circuit_type": maybe(rng, rng.choice(("RACE", "ROAD", "STREET")), 0.2),
        "direction": None,
        "turns": maybe(rng, rng.randint(8, 27), 0.2),
    }


def _entries(rng: random.Random, race_id: str, crew: list[tuple[str, str]]) -> list[Row]:
    slots = list(range(1, len(crew) + 1))
    rng.shuffle(slots)
    sessions = {name: rng.random() < 0.8 for name in ("q1_s", "q2_s", "q3_s", "fp1_s", "fp2_s", "fp3_s", "fp4_s")}
    entries = []
    for (driver, team), slot in zip(crew, slots, strict=True):
        times = {
            name: maybe(rng, round(rng.uniform(80, 90), 1), 0.25) if held else None for name, held in sessions.items()
        }
        entries.append(
            {
                "race_id": race_id,
                "driver_id": driver,
                "constructor_id": team,
                "car_number": None,
                "grid": rng.choice((slot, slot, slot, slot, slot, slot, slot, 0, 5)),
                "grid_penalty": maybe(rng, rng.randint(0, 10), 0.8),
                "qualifying_position": maybe(rng, slot, 0.1),
                **times,
            }
        )
    return entries


def _results(rng: random.Random, race_id: str, starters: list[str]) -> list[Row]:
    order = rng.sample(starters, len(starters))
    finishers = rng.randint(4, len(order))
    return [
        {
            "race_id": race_id,
            "driver_id": driver,
            "position": place,
            "classified": place <= finishers,
            "status": "Finished" if place <= finishers else "Engine",
            "laps_completed": 9 if place <= finishers else rng.randint(0, 8),
        }
        for place, driver in enumerate(order, start=1)
    ]


def _laps(rng: random.Random, race_id: str, results: list[Row]) -> list[Row]:
    laps: list[Row] = []
    known_tyres = rng.random() < 0.7
    for result in results:
        clock = 0.0
        for lap in range(1, result["laps_completed"] + 1):
            seconds = rng.choice((rng.uniform(88, 95), rng.uniform(88, 95), rng.uniform(88, 95), 115.0, 700.0))
            clock += seconds
            if rng.random() < 0.06:
                continue
            laps.append(
                {
                    "race_id": race_id,
                    "driver_id": result["driver_id"],
                    "lap": lap,
                    "lap_time_s": seconds,
                    "end_time_s": clock,
                    "position": rng.randint(1, 20),
                    "speed_kmh": None,
                    "compound": maybe(rng, rng.choice(COMPOUNDS), 0.3) if known_tyres else None,
                    "tyre_life": maybe(rng, rng.randint(0, 30), 0.3) if known_tyres else None,
                    "pit_in": rng.choice((None, False, False, True)),
                    "pit_out": rng.choice((None, False, False, False)),
                    "track_status": None,
                    "speed_trap_kmh": None,
                    "implausible": seconds > 600,
                }
            )
    return laps


def _weather(rng: random.Random, race_id: str) -> list[Row]:
    return [
        {
            "race_id": race_id,
            "time_s": float(time),
            "air_temp_c": maybe(rng, rng.uniform(10, 35), 0.3),
            "track_temp_c": maybe(rng, rng.uniform(10, 55), 0.3),
            "humidity_pct": None,
            "wind_ms": None,
            "rainfall": maybe(rng, rng.random() < 0.1, 0.3),
        }
        for time in range(-1200, 1800, 300)
    ]
