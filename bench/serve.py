"""Measures the server as its users meet it: a real `f1-predict serve`, asked over HTTP for laps not made before.

Run from the repository's root, on a machine with nothing else to do:
.venv/bin/python bench/serve.py --model artifacts/model --data data/processed --out build/bench/serve.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

LIMITS = {"lap_ms_median": 300.0, "lap_ms_p95": 600.0, "replay_s": 15.0, "page_s": 1.0}
CLIENTS = 10
RUN = "import sys; from f1_predict.cli import main; sys.exit(main())"


@contextmanager
def serving(arguments: list[str]) -> Iterator[httpx.Client]:
    """A server of its own process at a free port, until the block ends."""
    command = [sys.executable, "-c", RUN, "serve", "--port", "0", "--rate", "100000", *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            for line in process.stdout or ():
                if found := re.search(r"http://\S+:\d+", line):
                    break
            else:
                raise SystemExit("the server did not start; its message is above")
            with httpx.Client(base_url=found.group(), timeout=120.0) as client:
                yield client
        finally:
            process.terminate()


def timed(client: httpx.Client, address: str) -> float:
    """Milliseconds until an answer is there; whatever is no 200 is an error."""
    start = time.perf_counter()
    client.get(address).raise_for_status()
    return 1000.0 * (time.perf_counter() - start)


def figures(milliseconds: list[float]) -> dict[str, float]:
    """Median, 95th percentile and slowest."""
    return {
        "requests": len(milliseconds),
        "median_ms": round(float(np.median(milliseconds)), 1),
        "p95_ms": round(float(np.percentile(milliseconds, 95)), 1),
        "slowest_ms": round(max(milliseconds), 1),
    }


def measure(client: httpx.Client, laps: int, seed: int) -> dict[str, object]:
    """Ask one after the other, ten at once, and for a whole race; no lap is asked for twice but on purpose."""
    races = [race for race in client.get("/api/races").json()["races"] if race["laps"] > 20 and race["starters"]]
    chosen = random.Random(seed).sample(races[-60:], 6)
    replayed, together, *alone = chosen
    opened = timed(client, "/") / 1000.0
    cold = [timed(client, f"/api/races/{race['race_id']}/forecast") for race in alone]
    draw = random.Random(seed + 1)
    cuts = [
        (race["race_id"], lap) for race in alone for lap in draw.sample(range(1, race["laps"] + 1), laps // len(alone))
    ]
    made = [timed(client, f"/api/races/{race}/forecast?lap={lap}") for race, lap in cuts]
    kept = [timed(client, f"/api/races/{race}/forecast?lap={lap}") for race, lap in cuts]
    timed(client, f"/api/races/{together['race_id']}/forecast")
    addresses = [f"/api/races/{together['race_id']}/forecast?lap={lap}" for lap in range(1, 21)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        crowd = list(pool.map(lambda address: timed(client, address), addresses))
    seconds = timed(client, f"/api/races/{replayed['race_id']}/replay") / 1000.0
    return {
        "page_s": round(opened, 3),
        "first_of_a_race": figures(cold),
        "any_lap": figures(made),
        "a_lap_made_before": figures(kept),
        "ten_clients_at_once": figures(crowd),
        "replay": {
            "race": replayed["race_id"],
            "laps": replayed["laps"],
            "starters": replayed["starters"],
            "seconds": round(seconds, 2),
        },
        "limits": LIMITS,
        "within_limits": bool(
            np.median(made) < LIMITS["lap_ms_median"]
            and np.percentile(made, 95) < LIMITS["lap_ms_p95"]
            and seconds < LIMITS["replay_s"]
            and opened < LIMITS["page_s"]
        ),
    }


def main() -> None:
    """Measure and write what was measured."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="artifacts/model")
    options.add_argument("--data", default="data/processed")
    options.add_argument("--laps", type=int, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--out", type=Path, default=Path("build/bench/serve.json"))
    chosen = options.parse_args()
    with serving(["--model", chosen.model, "--data", chosen.data]) as client:
        result = measure(client, chosen.laps, chosen.seed)
        result["model"] = client.get("/api/model").json()
    result["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    result["load_average"] = round(os.getloadavg()[0], 2)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
