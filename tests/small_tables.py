"""Small hand-made canonical tables, random but seeded, for tests that need many odd races quickly."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from f1_predict.schemas import Tables, dtypes, empty


def _frame(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    if not rows:
        return empty(table)
    filled = [{name: row.get(name) for name in dtypes(table)} for row in rows]
    return pl.DataFrame(filled, schema=dtypes(table))


def random_tables(seed: int, races: int = 6, drivers: int = 8, laps: int = 12) -> Tables:
    """Untidy random races: missing laps, retirements, lapped cars, new drivers, a race without laps."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in ("races", "entries", "results", "laps", "weather")}
    for number in range(races):
        season, round_ = 2000 + number // 4, 1 + number % 4
        race_id = f"{season}_race_{round_}"
        rows["races"].append(
            {
                "race_id": race_id,
                "season": season,
                "round": round_,
                "name": f"Race {number}",
                "date": date(season, 3, 1) + timedelta(days=14 * round_),
                "circuit_id": f"circuit_{rng.integers(4)}",
                "course_length_km": float(rng.uniform(3, 7)),
                "scheduled_laps": laps,
            }
        )
        field = [f"driver_{i}" for i in rng.permutation(drivers + 3)[:drivers]]
        completed = {}
        for driver in field:
            completed[driver] = int(rng.choice([0, laps // 2, laps - 1, laps], p=[0.1, 0.2, 0.2, 0.5]))
            clock = 0.0
            for lap in range(1, completed[driver] + 1):
                seconds = float(np.round(rng.normal(90, 2) + 20 * (rng.random() < 0.1), 3))
                clock = round(clock + seconds, 3)
                if number == 2 or rng.random() < 0.03:
                    continue
                rows["laps"].append(
                    {
                        "race_id": race_id,
                        "driver_id": driver,
                        "lap": lap,
                        "lap_time_s": seconds,
                        "end_time_s": clock,
                        "position": 1,
                        "speed_kmh": 5.0 / seconds * 3600,
                        "compound": str(rng.choice(["SOFT", "HARD"])) if rng.random() < 0.5 else None,
                        "tyre_life": int(rng.integers(1, 20)) if rng.random() < 0.5 else None,
                        "pit_in": bool(rng.random() < 0.1),
                        "pit_out": False,
                        "implausible": False,
                    }
                )
        order = sorted(field, key=lambda d: (-completed[d], rng.random()))
        for slot, driver in enumerate(rng.permutation(field)):
            base = {"race_id": race_id, "driver_id": str(driver)}
            rows["entries"].append(
                base
                | {
                    "constructor_id": f"team_{rng.integers(4)}",
                    "grid": 0 if rng.random() < 0.05 else slot + 1,
                    "qualifying_position": slot + 1 if rng.random() < 0.9 else None,
                    "q1_s": float(rng.normal(88, 1)) if rng.random() < 0.8 else None,
                    "fp1_s": float(rng.normal(89, 1)) if rng.random() < 0.8 else None,
                }
            )
            rows["results"].append(
                base
                | {
                    "position": order.index(str(driver)) + 1,
                    "classified": completed[str(driver)] >= laps - 1,
                    "status": "Finished" if completed[str(driver)] == laps else "Retired",
                    "laps_completed": completed[str(driver)],
                }
            )
        for minute in range(-5, laps * 2):
            rows["weather"].append(
                {
                    "race_id": race_id,
                    "time_s": minute * 60.0,
                    "air_temp_c": 20.0,
                    "track_temp_c": 30.0 + minute / 10,
                    "humidity_pct": 50.0,
                    "wind_ms": 1.0,
                    "rainfall": bool(rng.random() < 0.1),
                }
            )
    tables = Tables(**{name: _frame(name, table_rows) for name, table_rows in rows.items()})
    positions = pl.col("end_time_s").rank("ordinal").over("race_id", "lap").cast(pl.Int32)
    laps_frame = tables.laps.with_columns(position=positions)
    return Tables(tables.races, tables.entries, tables.results, laps_frame, tables.weather).sort().validate()
