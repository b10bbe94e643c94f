"""Measures the race simulator: simulated races a second as arrays, and with canonical tables; memory.

Run from the repository's root: .venv/bin/python bench/simulate.py --out build/bench/simulate.json
One core: set OMP_NUM_THREADS=1 and POLARS_MAX_THREADS=1 before (the tables are put together by polars).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from pathlib import Path

OPEN_SIMULATOR_MS_A_RACE = 66.0
"""What the known open simulator of this kind takes for a race, as it was given to us; not measured here."""


def measure(seasons: int, era: str, seed: int) -> dict[str, float]:
    """Simulate the seasons twice: arrays alone, then tables."""
    from f1_predict.config import SimulatorConfig
    from f1_predict.sources.simulator import read_parameters, simulate
    from f1_predict.sources.simulator.calendar import run_all, seasons_of

    config, parameters = SimulatorConfig(era=era), read_parameters()
    simulate(1, seed, config)  # imports, first touches
    start, busy = time.perf_counter(), time.process_time()
    races = sum(weekends.places.size for weekends in run_all(seasons_of(seasons, seed, config, parameters), parameters))
    arrays_s, arrays_cpu = time.perf_counter() - start, time.process_time() - busy
    arrays_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, busy = time.perf_counter(), time.process_time()
    tables = simulate(seasons, seed, config)
    tables_s, tables_cpu = time.perf_counter() - start, time.process_time() - busy
    return {
        "seasons": seasons,
        "races": races,
        "laps": tables.laps.height,
        "arrays_seconds": round(arrays_s, 2),
        "arrays_cpu_seconds": round(arrays_cpu, 2),
        "arrays_races_per_cpu_second": round(races / arrays_cpu),
        "tables_seconds": round(tables_s, 2),
        "tables_cpu_seconds": round(tables_cpu, 2),
        "tables_races_per_cpu_second": round(races / tables_cpu),
        "ms_a_race": round(1000.0 * arrays_cpu / races, 2),
        "open_simulator_ms_a_race": OPEN_SIMULATOR_MS_A_RACE,
        "times_faster": round(OPEN_SIMULATOR_MS_A_RACE / (1000.0 * arrays_cpu / races), 1),
        "peak_memory_arrays_mb": round(arrays_mb),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure and write what was measured."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seasons", type=int, default=50)
    options.add_argument("--era", default="2022-2024")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--out", type=Path, default=Path("build/bench/simulate.json"))
    chosen = options.parse_args()
    result = {
        **measure(chosen.seasons, chosen.era, chosen.seed),
        "threads": {name: os.environ.get(name, "unset") for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
