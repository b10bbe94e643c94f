"""The benchmark: every stage alone and end to end beside plain code, as JSON and as docs/benchmarks.md.

Run from the repository's root: make bench. Takes about a quarter of an hour on two cores. Without a store of real
races it simulates some; --quick is for trying it out, its figures say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

import torch
from bench.page import page
from bench.stages import Stages, cache_lookups, encoders, memory
from bench.timing import Measured
from bench.variants import compare
from bench.world import World


def machine() -> dict[str, str | int]:
    """What it ran on."""
    names = [line for line in _cpu_lines() if line.startswith("model name")]
    try:
        openvino = version("openvino")
    except PackageNotFoundError:
        openvino = ""
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "openvino": openvino,
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def main() -> None:
    """Measure, and write what was measured."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=Path("build/results/data/processed"), help="a store of races")
    options.add_argument("--out", type=Path, default=Path("docs/benchmarks.json"))
    options.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"))
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--rows", type=int, default=11_000)
    options.add_argument("--pictures", type=int, default=50_000, help="for the memory")
    options.add_argument("--embeddings", type=int, default=1_000_000, help="looked up in the cache")
    options.add_argument("--seasons", type=int, default=12, help="simulated where there is no store")
    options.add_argument("--quick", action="store_true")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.rows, chosen.pictures, chosen.embeddings = 2, 300, 400, 20_000
    load_before = os.getloadavg()
    work = Path("build/bench")
    work.mkdir(parents=True, exist_ok=True)
    world = World.open(chosen.data, work, chosen.seasons)
    made = encoders()
    stages = Stages(world, made, chosen.rounds)
    measured: list[Measured] = []

    def note(found: Measured) -> None:
        measured.append(found)
        times = f", {found.times.median:.1f} x" if found.times else ""
        print(f"{found.name}: {found.ours.median:.4g} {found.unit}{times}", flush=True)

    try:
        for found in chain(stages.drawing(), stages.encoding()):
            note(found)
        for found in stages.learning(chosen.rows):
            note(found)
        for found in stages.forecasting(stages.learner, stages.model):
            note(found)
        note(stages.tables())
        with tempfile.TemporaryDirectory(dir=work) as folder:
            for found in cache_lookups(Path(folder), chosen.embeddings, chosen.rounds):
                note(found)
        print("growth", flush=True)
        growth = stages.growth(chosen.rows // 16)
        print("variants", flush=True)
        variants, variants_of = compare(world, made, stages.learner_of_reference, chosen.rows // 5)
    finally:
        stages.close()
    print("memory", flush=True)
    fastest = "openvino-int8" if "openvino-int8" in made else "torch"
    remembered = [memory(chosen.data, work, chosen.pictures, fastest)]
    found_all = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine(),
        "load_before": load_before,
        "load_after": os.getloadavg(),
        "data": world.told,
        "rounds": chosen.rounds,
        "measured": [one.to_dict() for one in measured],
        "memory": remembered,
        "growth": growth,
        "variants": variants,
        "variants_of": variants_of,
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found_all, indent=1) + "\n", encoding="utf-8")
    chosen.page.write_text(page(found_all), encoding="utf-8")
    print(f"-> {chosen.out}, {chosen.page}")


if __name__ == "__main__":
    main()
