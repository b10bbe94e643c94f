"""Measures what a picture costs the machine that makes it and the one that hands out the work, and what follows.

Run from the repository's root, on a quiet machine (the page's figures are written by this command):
OMP_NUM_THREADS=1 .venv/bin/python bench/scale.py --data build/results/data/processed --page docs/scale.md

Costs are seconds of CPU time on one core, so that other programs on the machine falsify them less. The cluster is not
there: what it would do is arithmetic on these costs, and the page says so.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from f1_predict.config import Config
from f1_predict.horizon import Horizon, RaceArchive
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.scale.ray_engine import RayEngine
from f1_predict.tables import read_store
from f1_predict.training.cut_embeddings import CutTask, embed_cuts, picture_keys
from f1_predict.training.drawing import Drawing, Texts, draw, drivers_with_laps, picture_inputs
from f1_predict.training.embedding_cache import EmbeddingCache

PICTURES = 100_000_000
CLUSTERS = (1, 16, 64, 128, 256, 1024)
"""CPUs."""
FRACTIONS = (0.0, 0.25, 0.5)
EMPTY_TASKS = 2000
CARS = 20
"""Pictures of a cut, as elsewhere in this program's measurements."""

Costs = dict[str, dict[str, float]]
Cut = tuple[str, Horizon]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": median(values), "low": min(values), "high": max(values)}


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What a function gives, and the CPU seconds that it takes."""
    start = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - start


@dataclass(frozen=True)
class Bench:
    """What the pieces of work need."""

    archive: RaceArchive
    memory: SpeedTraceGenerator
    disk: SpeedTraceGenerator
    encoder: VisionEncoder
    cache: EmbeddingCache
    texts: Texts

    def find_missing(self, cuts: Sequence[Cut]) -> list[bytes]:
        """As embed_cuts does, first."""
        snapshots = (self.archive.snapshot(*cut) for cut in cuts)
        keys = [
            key for snapshot in snapshots for key in picture_keys(snapshot, self.memory, self.texts) if key is not None
        ]
        self.cache.look_up(self.encoder, keys)
        return keys

    def tasks(self, cuts: Sequence[Cut]) -> list[CutTask]:
        """As embed_cuts does, then."""
        inputs = [picture_inputs(self.archive.snapshot(*cut), self.memory.config) for cut in cuts]
        return [CutTask(one, sorted(drivers_with_laps(one))) for one in inputs]

    def draw(self, tasks: Sequence[CutTask]) -> list[np.ndarray]:
        """To arrays uint8 (drivers, H, W, 3)."""
        return [self.memory.render(task.inputs, task.drivers).images for task in tasks]

    def write(self, tasks: Sequence[CutTask]) -> None:
        """To PNG files."""
        for task in tasks:
            draw(Drawing(task.inputs, "0"), self.disk)

    def encode(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (pictures, feature_dim)."""
        return np.concatenate([self.encoder.encode_arrays(batch) for batch in images])


def item_costs(data: Path, repeats: int, cuts_a_repeat: int, folder: Path) -> tuple[Costs, dict[str, float], CutTask]:
    """What a picture costs where it is made, and what it costs the machine that asks for it.

    Returns:
        Costs in seconds a picture; bytes of a task and of a PNG file; a task.
    """
    torch.set_num_threads(1)
    config = Config()
    archive = RaceArchive(read_store(data))
    races = [race_id for race_id in archive.race_ids if archive.laps_completed(race_id) > 0]
    count = repeats * cuts_a_repeat // len(FRACTIONS)
    cuts = [(race, archive.horizon_at(race, fraction)) for race in races[-count - 1 :] for fraction in FRACTIONS]
    bench = Bench(
        archive,
        SpeedTraceGenerator(config=config.picture),
        SpeedTraceGenerator(folder / "pictures", config.picture),
        VisionEncoder(weights=config.encoder.weights, device="cpu"),
        EmbeddingCache(folder / "cache"),
        {},
    )
    first, cuts = cuts[: len(FRACTIONS)], cuts[len(FRACTIONS) :]  # what is done once: imports, earlier laps as text
    bench.find_missing(first)
    bench.write(bench.tasks(first))
    bench.encode(bench.draw(bench.tasks(first)))
    every: dict[str, list[float]] = {}
    sizes: list[int] = []
    for repeat in range(repeats):
        own = cuts[repeat * cuts_a_repeat : (repeat + 1) * cuts_a_repeat]
        costs: dict[str, float] = {}
        keys, costs["find out what is missing"] = timed(bench.find_missing, own)
        tasks, costs["make the tasks"] = timed(bench.tasks, own)
        images, costs["draw to an array"] = timed(bench.draw, tasks)
        _, costs["draw to a PNG file"] = timed(bench.write, tasks)
        vectors, costs["encode"] = timed(bench.encode, images)
        _, costs["keep in the cache"] = timed(bench.cache.put, bench.encoder, keys, vectors)
        for name, seconds in costs.items():
            every.setdefault(name, []).append(seconds / len(keys))
        sizes += [len(pickle.dumps(task)) for task in tasks]
    files = [path.stat().st_size for path in (folder / "pictures").rglob("*.png")]
    return (
        {name: spread(values) for name, values in every.items()},
        {"task": median(sizes), "png": median(files)},
        tasks[-1],
    )


def pretend(task: Any, numbers: np.ndarray) -> np.ndarray:
    """A cut's embeddings, without the work."""
    return numbers


@contextmanager
def usual_ray(cpus: int) -> Any:
    """The engine as `--engine ray` opens it."""
    with RayEngine.open(cpus) as engine:
        list(engine.map(partial(pretend, numbers=np.zeros(1)), range(2 * cpus)))  # processes are there
        yield engine


def engine_costs(task: Any, repeats: int) -> dict[str, float | dict[str, float]]:
    """What Ray itself costs the machine that hands out the work: CPU seconds and seconds a task, nothing being done."""
    numbers = np.zeros((CARS, 512), dtype=np.float32)
    work = partial(pretend, numbers=numbers)
    with usual_ray(1) as engine:
        cpu, wall = [], []
        for _ in range(repeats):
            start, busy = time.perf_counter(), time.process_time()
            for _ in engine.map(work, (task for _ in range(EMPTY_TASKS // repeats))):
                pass
            cpu.append((time.process_time() - busy) / (EMPTY_TASKS // repeats))
            wall.append((time.perf_counter() - start) / (EMPTY_TASKS // repeats))
    return {"CPU seconds a task": spread(cpu), "seconds a task": spread(wall)}


def scaling(data: Path, cuts_asked: int, repeats: int) -> dict[str, dict[str, float]]:
    """Pictures a second drawn and encoded by the usual engine and by Ray on one and two CPUs of this machine."""
    config = Config()
    archive = RaceArchive(read_store(data, range(2021, 2025)))
    cuts = [(race_id, archive.horizon_at(race_id, 0.5)) for race_id in archive.race_ids[-cuts_asked:]]
    encoder = VisionEncoder(weights=config.encoder.weights, device="cpu")
    generator = SpeedTraceGenerator(config=config.picture)
    found: dict[str, list[float]] = {}
    embeddings: dict[str, bytes] = {}

    def run(name: str, engine: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            made = embed_cuts(archive, cuts, generator, encoder, EmbeddingCache(folder), 64, None, engine)
            pictures = sum(int(cut.has_image.sum()) for cut in made)
            found.setdefault(name, []).append(pictures / (time.perf_counter() - start))
            embeddings[name] = b"".join(cut.embeddings.tobytes() for cut in made)

    for cpus in (1, 2):
        with usual_ray(cpus) as engine:
            run("warm-up", engine)
            for _ in range(repeats):
                run(f"Ray, {cpus} CPU", engine)
    for _ in range(repeats):
        run("this process", None)
    del found["warm-up"]
    if len(set(embeddings.values())) != 1:
        raise SystemExit("the engines differ in their embeddings")
    return {name: spread(values) for name, values in found.items()}


def outlook(costs: Costs, task_s: float) -> dict[str, Any]:
    """What clusters would do, by arithmetic: one process finds out what is missing, then hands out and keeps while all
    CPUs work at once."""
    middle = {name: cost["median"] for name, cost in costs.items()}
    finding = middle["find out what is missing"]
    handing = middle["make the tasks"] + middle["keep in the cache"] + task_s / CARS
    cpu, drawing = middle["draw to an array"] + middle["encode"], middle["draw to an array"]

    def hours(working: float, cpus: int, commands: int = 1) -> float:
        return PICTURES * (finding / commands + max(working / cpus, handing / commands)) / 3600

    return {
        "finding_s": finding,
        "handing_out_s": handing,
        "cpu_s": cpu,
        "drawing_s": drawing,
        "linear_to_cpus": cpu / handing,
        "linear_to_cpus_with_gpus": drawing / handing,
        "one_gpu_per_16_cpus_needs_pictures_a_second": 16 / drawing,
        "clusters": [
            {
                "cpus": cpus,
                "cpu_hours": hours(cpu, cpus),
                "gpu_hours": hours(drawing, cpus),
                "side_by_side_hours": hours(cpu, cpus, int(np.ceil(cpus * handing / cpu))),
                "commands_to_stay_linear": int(np.ceil(cpus * handing / cpu)),
            }
            for cpus in CLUSTERS
        ],
    }


def tables(result: dict[str, Any]) -> str:
    """The page's measured part, as Markdown."""

    def ms(cost: dict[str, float]) -> str:
        return f"{1e3 * cost['median']:.3g} ({1e3 * cost['low']:.3g} to {1e3 * cost['high']:.3g})"

    ahead, engine = result["outlook"], result["engine"]
    where = {"draw to an array": "any", "encode": "any", "draw to a PNG file": "any"}
    lines = [
        f"Measured on: {result['machine']}; encoder: {result['encoder']}. Medians of {result['repeats']} repeats, with "
        "the lowest and the highest.",
        "",
        "| a picture | ms of CPU time | machine |",
        "|---|---|---|",
        *(f"| {name} | {ms(cost)} | {where.get(name, 'the one')} |" for name, cost in result["items"].items()),
        "",
        f"| a task ({result['bytes']['task'] / 1e3:.0f} kB, {CARS} pictures), nothing done in it | ms |",
        "|---|---|",
        f"| CPU time of the machine that hands it out | {ms(engine['CPU seconds a task'])} |",
        f"| from task to task, one CPU | {ms(engine['seconds a task'])} |",
        "",
        "| drawn and encoded on this machine | pictures a second |",
        "|---|---|",
        *(
            f"| {name} | {rate['median']:.1f} ({rate['low']:.1f} to {rate['high']:.1f}) |"
            for name, rate in result["scaling"].items()
        ),
        "",
        f"A PNG file has {result['bytes']['png'] / 1e3:.0f} kB, an embedding 2 kB (1 kB in half precision).",
        "",
        "By arithmetic on the medians above, not measured:",
        "",
        f"- before any work, one machine finds out whether a picture is missing in {1e3 * ahead['finding_s']:.3g} ms; "
        f"then it hands out and keeps one in {1e3 * ahead['handing_out_s']:.3g} ms, while another draws and "
        f"encodes it in {1e3 * ahead['cpu_s']:.3g} ms. One command therefore keeps about "
        f"{ahead['linear_to_cpus']:.0f} CPUs busy.",
        f"- with encoding on GPUs, the CPUs only draw ({1e3 * ahead['drawing_s']:.3g} ms): one command keeps about "
        f"{ahead['linear_to_cpus_with_gpus']:.0f} of them busy. A GPU beside 16 CPUs must then encode "
        f"{ahead['one_gpu_per_16_cpus_needs_pictures_a_second']:,.0f} pictures a second, or it is what they wait for.",
        "",
        f"| CPUs | hours for {PICTURES // 10**6} million pictures, one command | commands side by side to stay linear "
        "| hours then | hours, GPUs encoding as fast as the CPUs draw, one command |",
        "|---|---|---|---|---|",
        *(
            f"| {row['cpus']:,} | {row['cpu_hours']:,.1f} | {row['commands_to_stay_linear']} "
            f"| {row['side_by_side_hours']:,.1f} | {row['gpu_hours']:,.1f} |"
            for row in ahead["clusters"]
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, write what was measured."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="a store of canonical tables")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--cuts", type=int, default=6, help="a repeat, a multiple of 3")
    options.add_argument("--out", type=Path, default=Path("build/bench/scale.json"))
    options.add_argument("--page", type=Path, default=None, help="replace the measured part of this page")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        items, sizes, task = item_costs(chosen.data, chosen.repeats, chosen.cuts, Path(folder))
    engine: Any = engine_costs(task, chosen.repeats)
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "encoder": VisionEncoder(device="cpu").weights_note,
        "repeats": chosen.repeats,
        "items": items,
        "bytes": sizes,
        "engine": engine,
        "scaling": scaling(chosen.data, 2 * chosen.cuts, chosen.repeats),
        "outlook": outlook(items, engine["CPU seconds a task"]["median"]),
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=2) + "\n")
    text = tables(result)
    print(text)
    if chosen.page is not None:
        page = chosen.page.read_text()
        marked = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", flags=re.DOTALL)
        if not marked.search(page):
            raise SystemExit(f"{chosen.page} has no part between <!-- measured --> and <!-- end -->")
        chosen.page.write_text(marked.sub(lambda found: found[1] + text + "\n" + found[2], page))


if __name__ == "__main__":
    main()
