"""Times each stage, alone and end to end, beside the plain way to do it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from bench import plain
from bench.timing import Measured, Spread, alone, in_turns, seconds_of
from bench.world import CONFIG, Cut, Learner, World

from f1_predict import features
from f1_predict.config import PictureConfig
from f1_predict.errors import ConfigError
from f1_predict.models.encoder_runtimes import RUNTIMES
from f1_predict.models.forecaster import Forecaster
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.training.cut_embeddings import embed_cuts
from f1_predict.training.embedding_cache import EmbeddingCache
from f1_predict.training.embeddings import FLUSH_PICTURES
from f1_predict.training.memory import Peak, resident
from f1_predict.training.progress import Progress

EPOCHS = 20
CACHED_ROUNDS = 3
"""Of twenty epochs on cached embeddings: one alone says as much of the machine's moment."""
BATCH = CONFIG.encoder.batch_size
SAMPLE = 32
"""Rows that the plain way is timed on where it would take hours; its time a row does not depend on their number."""


def encoders(weights: str = "auto") -> dict[str, VisionEncoder]:
    """Every runtime that this machine can run."""
    made = {}
    for runtime in RUNTIMES:
        try:
            made[runtime] = VisionEncoder(weights=weights, runtime=runtime, device="cpu")  # type: ignore[arg-type]
        except ConfigError as error:
            print(f"left out: {runtime}: {error}")
    return made


class Stages:
    """The stages, measured one after another.

    Args:
        world: the races.
        made: encoders by runtime, the reference first.
        rounds: timings of each.
    """

    def __init__(self, world: World, made: dict[str, VisionEncoder], rounds: int) -> None:
        self.world, self.made, self.rounds = world, made, rounds
        race_id = world.races_with_laps()[-1]
        self.snapshot = world.archive.snapshot(race_id, world.archive.horizon_at(race_id, 0.5))
        self.drivers = self.snapshot.driver_ids
        self.speeds = plain.laps_of(self.snapshot)
        self.with_laps = [driver for driver in self.drivers if driver in self.speeds]
        self.folder = Path(tempfile.mkdtemp(dir=world.work))
        self.network = plain.Network(len(features.FEATURE_NAMES), len(self.drivers))

    def close(self) -> None:
        """Remove what was drawn."""
        shutil.rmtree(self.folder)

    def plain_drawing(self) -> None:
        """Four drivers, a figure each."""
        for driver in self.with_laps[:4]:
            plain.draw(self.speeds, driver, self.folder / f"{driver}.png")

    def plain_drawing_to_arrays(self) -> None:
        """Four drivers, a figure each, no PNG."""
        for driver in self.with_laps[:4]:
            plain.draw_array(self.speeds, driver)

    def drawing(self) -> Iterator[Measured]:
        """To arrays and to PNG files, both styles."""
        for style in ("speed", "race"):
            config = PictureConfig(style=style)  # type: ignore[arg-type]
            generator = SpeedTraceGenerator(self.folder / style, config)
            field = len(self.drivers)
            yield in_turns(
                f"draw to array, style {style}", "ms a picture", 1e3, (self.plain_drawing, 4),
                (lambda g=generator: g.render(self.snapshot), field), self.rounds,
                "100 x" if style == "speed" else None, "a field after half the race; plain: a figure each, to a PNG",
            )  # fmt: skip
            yield in_turns(
                f"draw to PNG on disk, one worker, style {style}", "ms a picture", 1e3, (self.plain_drawing, 4),
                (lambda g=generator: g.write(self.snapshot), field), self.rounds,
                "8 x" if style == "speed" else None, "",
            )  # fmt: skip
        generator = SpeedTraceGenerator(self.folder / "speed")
        yield in_turns(
            "draw to array, style speed, plain without a PNG", "ms a picture", 1e3, (self.plain_drawing_to_arrays, 4),
            (lambda: generator.render(self.snapshot), len(self.drivers)), self.rounds,
            note="plain: a figure each, its canvas as an array",
        )  # fmt: skip

    def encoding(self) -> Iterator[Measured]:
        """Pixels to embeddings, by runtime; plain: from the tensor at 224 pixels, a field in one batch."""
        images = SpeedTraceGenerator().render(self.snapshot).images
        batch = torch.randn(len(images), 3, 224, 224)

        def plainly() -> None:
            with torch.no_grad():
                self.network.backbone(batch)

        for runtime, encoder in self.made.items():
            yield in_turns(
                f"encode, {runtime}", "ms a picture", 1e3, (plainly, len(images)),
                (lambda e=encoder: e.encode_arrays(images), len(images)), self.rounds,
                "4 x (best that keeps forecasts)" if runtime == "openvino-int8" else None,
                f"{encoder.weights_name} weights at {encoder.preprocessing.size} pixels, preprocessing included; "
                "plain: at 224, without preprocessing",
            )  # fmt: skip
        for runtime, encoder in encoders("random").items():
            yield in_turns(
                f"encode at {encoder.preprocessing.size} pixels, {runtime}", "ms a picture", 1e3,
                (plainly, len(images)), (lambda e=encoder: e.encode_arrays(images), len(images)), self.rounds,
                note=f"{encoder.weights_name} weights, as many pixels as plain; preprocessing included, plain's not",
            )  # fmt: skip

    def forecasting(self, learner: Learner, model: torch.nn.Module) -> Iterator[Measured]:
        """Laps to forecast for a whole field, warm: places, and who will be classified, by a network each."""
        known = features.RaceFeatures.of(self.snapshot, CONFIG.features)
        finish = MultiModalFusionModel(512, len(features.FEATURE_NAMES), 1, head="finish")
        table = torch.zeros(len(features.FEATURE_NAMES))

        def plainly() -> None:
            for driver in self.with_laps[:2]:
                plain.forecast(self.network, self.snapshot, driver, table, self.folder / "one.png")

        for runtime, encoder in self.made.items():
            forecaster = Forecaster(
                model, encoder, learner.normaliser, SpeedTraceGenerator(), CONFIG.features, finish=finish  # type: ignore[arg-type]
            )
            yield in_turns(
                f"laps to forecast, {runtime}", "ms a driver", 1e3, (plainly, 2),
                (lambda f=forecaster: f.predict_from_features(self.snapshot, known.values(self.snapshot)),
                 len(self.drivers)), self.rounds,
                "15 x" if runtime == "openvino-int8" else None,
                f"a field of {len(self.drivers)} in one batch, its features at this lap included; plain: no features",
            )  # fmt: skip
        yield alone(
            "features of the field before the race, on top", "ms a field", 1e3,
            (lambda: features.RaceFeatures.of(self.snapshot, CONFIG.features).values(self.snapshot), 1), self.rounds,
            note="from all earlier races; a replay or a server computes them once a race",
        )  # fmt: skip

    def learning(self, rows: int) -> Iterator[Measured]:
        """Twenty epochs, pictures drawn and encoded first, then with everything cached; plain by extrapolation."""
        cuts = self.world.cuts(rows, before=40)
        paths = [self.folder / f"{number}.png" for number in range(SAMPLE)]
        drawing = seconds_of(
            lambda: [plain.draw(self.speeds, self.with_laps[i % len(self.with_laps)], p) for i, p in enumerate(paths)]
        )
        table, places = torch.randn(SAMPLE, len(features.FEATURE_NAMES)), torch.randint(0, 20, (SAMPLE,))
        plain.epoch(self.network, paths, table, places)
        epochs = [seconds_of(lambda: plain.epoch(self.network, paths, table, places)) for _ in range(self.rounds)]
        for runtime in [name for name in ("torch", "openvino-int8") if name in self.made]:
            yield from self._learning(runtime, cuts, [(drawing + EPOCHS * one) / SAMPLE for one in epochs])

    def _learning(self, runtime: str, cuts: list[Cut], plain_row_s: list[float]) -> Iterator[Measured]:
        encoder, cache = self.made[runtime], self.folder / f"cache-{runtime}"

        def job() -> tuple[Learner, torch.nn.Module]:
            found = embed_cuts(
                self.world.archive,
                cuts,
                SpeedTraceGenerator(),
                encoder,
                EmbeddingCache(cache),
                CONFIG.encoder.batch_size,
            )
            learner = Learner.of(self.world, cuts, found)
            return learner, learner.train(learner.rows(learner.table), None, EPOCHS)

        done: list[tuple[Learner, torch.nn.Module]] = []
        for what, rounds in (("first time", 1), ("embeddings cached", CACHED_ROUNDS)):
            seconds = [seconds_of(lambda: done.append(job())) for _ in range(rounds)]
            count = len(done[-1][0].table.positions)
            wholes = [row * count for row in plain_row_s]
            yield Measured(
                f"{EPOCHS} epochs over {count:,} rows, {what}, {runtime}", "s", Spread.of(seconds),
                Spread.of(wholes), Spread.of([whole / one for whole in wholes for one in seconds]),
                "60 x" if what == "first time" else "15 s",
                "drawn straight to the encoder, as `backtest` does (`train` reads picture files); features included; "
                f"plain: {SAMPLE} rows drawn once and learnt from in every epoch, extrapolated",
            )  # fmt: skip
        self.learner, self.model = done[-1]
        if runtime == "torch":
            self.learner_of_reference = self.learner

    def growth(self, rows: int) -> list[dict[str, float]]:
        """Seconds of drawing and encoding, and of an epoch on what is cached, over 1, 2, 4 and 8 times the rows."""
        encoder = self.made["torch"]
        found = []
        for factor in (1, 2, 4, 8):
            cuts = self.world.cuts(factor * rows, before=40)
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                cache = EmbeddingCache(folder)
                arguments = (self.world.archive, cuts, SpeedTraceGenerator(), encoder, cache, BATCH)
                first = seconds_of(lambda a=arguments: embed_cuts(*a))
                again = seconds_of(lambda a=arguments: embed_cuts(*a))
                learner = Learner.of(self.world, cuts, embed_cuts(*arguments))
            prepared = learner.rows(learner.table)
            epochs = seconds_of(partial(learner.train, prepared, None, 3)) / 3
            count = len(prepared)
            found.append(
                {
                    "rows": count,
                    "draw_and_encode_s": first,
                    "look_up_s": again,
                    "epoch_s": epochs,
                    "draw_and_encode_ms_a_row": 1e3 * first / count,
                    "epoch_ms_a_row": 1e3 * epochs / count,
                }
            )
        return found

    def tables(self) -> Measured:
        """Features of every race at five moments."""
        archive = self.world.archive
        run = [race_id for race_id in archive.race_ids if archive.rows("results", race_id).height]
        cuts = [
            (race_id, horizon)
            for race_id in run
            for horizon in dict.fromkeys(archive.horizon_at(race_id, f) for f in (0.0, 0.1, 0.25, 0.5, 0.75))
            if archive.laps_completed(race_id) or horizon.name == "pre_race"
        ]
        count = sum(archive.rows("entries", race_id).height for race_id, _ in cuts)

        def work() -> None:
            for _ in features.values_of_cuts(archive, cuts, CONFIG.features):
                pass

        seconds = seconds_of(work)
        note = f"{count:,} rows"
        return Measured("features of all races at five moments", "s", Spread.of([seconds]), None, None, "20 s", note)


class _Numbers:
    """An encoder to the cache."""

    feature_dim = 512
    identity = "benchmark"


def cache_lookups(folder: Path, count: int, rounds: int) -> list[Measured]:
    """A large cache written, opened, and looked up in random order; the first time its checksums are read too."""
    encoder, found = _Numbers(), []
    for precision in ("float32", "float16"):
        place = folder / precision
        keys = [hashlib.sha256(str(number).encode()).digest() for number in range(count)]
        writer = EmbeddingCache(place, precision)  # type: ignore[arg-type]
        vectors = np.random.default_rng(0).normal(size=(FLUSH_PICTURES, 512)).astype(np.float32)
        for start in range(0, count, len(vectors)):
            part = keys[start : start + len(vectors)]
            writer.put(encoder, part, vectors[: len(part)])
        order = np.random.default_rng(1).permutation(count)
        asked = [keys[number] for number in order]
        cache = EmbeddingCache(place, precision)  # type: ignore[arg-type]

        def look_up(cache: EmbeddingCache = cache, asked: list[bytes] = asked) -> None:
            for start in range(0, count, 20_000):
                _, known = cache.look_up(encoder, asked[start : start + 20_000])
                if not known.all():
                    raise RuntimeError("an embedding that was kept is not found")

        size = sum(path.stat().st_size for path in place.rglob("*.safetensors")) / 1e9
        first = count / seconds_of(look_up)
        rates = [count / seconds_of(look_up) for _ in range(rounds)]
        note = f"{count:,} embeddings, {size:.1f} GB in shards of {FLUSH_PICTURES:,}, in random order"
        found += [
            Measured(
                f"look-ups, {precision}, first, with opening and checksums", "a second", Spread.of([first]), note=note
            ),
            Measured(f"look-ups, {precision}", "a second", Spread.of(rates), wanted="200,000 a second", note=note),
        ]
        shutil.rmtree(place)
    return found


def memory(store: Path, work: Path, pictures: int, runtime: str) -> dict[str, object]:
    """Resident memory while so many pictures are drawn and encoded into a cache, in a process of its own."""
    command = [sys.executable, "-m", "bench.stages", str(store), str(work), str(pictures), runtime]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this very file
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


def _memory_here(store: Path, work: Path, pictures: int, runtime: str) -> dict[str, object]:
    world = World.open(store, work, seasons=2)
    encoder = VisionEncoder(runtime=runtime, device="cpu")  # type: ignore[arg-type]
    cuts: list[Cut] = []
    count = 0
    for race_id in reversed(world.races_with_laps()):
        for part in range(1, 20):
            if count >= pictures:
                break
            cut = (race_id, world.archive.horizon_at(race_id, part / 20))
            if cut not in cuts[-20:]:
                cuts.append(cut)
                count += world.archive.rows("entries", race_id).height
    before, seen = resident(), []

    def watch(done: Progress) -> None:
        if done.done * 10 // pictures > len(seen):
            seen.append({"pictures": done.done, "mb": resident() / 1e6})

    most_before = _most_resident() / 1e6
    with tempfile.TemporaryDirectory(dir=work) as folder, Peak() as peak:
        seconds = seconds_of(
            lambda: embed_cuts(
                world.archive,
                cuts,
                SpeedTraceGenerator(),
                encoder,
                EmbeddingCache(folder),
                CONFIG.encoder.batch_size,
                watch,
            )
        )
    return {
        "runtime": runtime,
        "pictures": count,
        "seconds": seconds,
        "most_before_mb": most_before,
        "before_mb": before / 1e6,
        "while": seen,
        "peak_mb": peak.size / 1e6,
    }


def _most_resident() -> int:
    """Bytes, at any time in this process so far (ru_maxrss would be the parent's, if that had more)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(json.dumps(_memory_here(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
