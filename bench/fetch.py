"""Measures a fetch of ten seasons against a local server at full speed: seconds, requests, memory.

Run from the repository's root: .venv/bin/python bench/fetch.py --data ../shared/data --out build/bench/fetch.json
The server is a process of its own, so that the memory is the fetch's alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def serve(data: str, seasons: tuple[int, int], urls: multiprocessing.SimpleQueue[str], done: Event) -> None:
    """The local services, until told to stop."""
    from tests.sources.fake_services import FakeServices, serving

    with serving(FakeServices(Path(data) / "ergast", Path(data) / "f1db", seasons, frozen=True)) as services:
        urls.put(services.jolpica_url)
        urls.put(services.f1db_url)
        done.wait()


def measure(jolpica_url: str, f1db_url: str, seasons: tuple[int, int]) -> dict[str, float]:
    """Fetch the seasons once from nothing, and once more with everything there."""
    from rich.console import Console

    from f1_predict.config import FetchConfig
    from f1_predict.jobs.fetching import Request, fetch_races
    from f1_predict.tables import read_store

    config = FetchConfig(jolpica_url=jolpica_url, f1db_url=f1db_url, keep_limits=False)
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            tuple(range(seasons[0], seasons[1] + 1)),
            ("jolpica", "f1db"),
            Path(folder) / "processed",
            Path(folder) / "raw",
        )
        start, busy = time.perf_counter(), time.process_time()
        first = fetch_races(Console(), request, config)
        seconds, cpu = time.perf_counter() - start, time.process_time() - busy
        start, busy = time.perf_counter(), time.process_time()
        again = fetch_races(Console(), request, config)
        seconds_again, cpu_again = time.perf_counter() - start, time.process_time() - busy
        tables = read_store(request.out)
        return {
            "seasons": len(request.seasons),
            "races": tables.races.height,
            "laps": tables.laps.height,
            "requests": first.requests,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu, 1),
            "seconds_again": round(seconds_again, 1),
            "cpu_seconds_again": round(cpu_again, 1),
            "requests_again": again.requests,
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "raw_mb": round(sum(file.stat().st_size for file in request.raw.rglob("*.json")) / 2**20, 1),
        }


def main() -> None:
    """Measure and write what was measured."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", default="../shared/data", help="folder with ergast/ and f1db/")
    options.add_argument("--seasons", default="2015-2024")
    options.add_argument("--out", type=Path, default=Path("build/bench/fetch.json"))
    chosen = options.parse_args()
    first, last = (int(year) for year in chosen.seasons.split("-"))
    context = multiprocessing.get_context("spawn")
    urls: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    done = context.Event()
    server = context.Process(target=serve, args=(chosen.data, (first, last), urls, done), daemon=True)
    server.start()
    try:
        measured = measure(urls.get(), urls.get(), (first, last))
    finally:
        done.set()
        server.join()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(measured, indent=1) + "\n")
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
