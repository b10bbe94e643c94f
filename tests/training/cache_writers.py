"""Run as a program: processes that write to one embedding cache and are killed. One thread, so that it may fork.

What is found afterwards is judged by tests/training/test_embedding_cache.py.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from f1_predict.training.embedding_cache import EmbeddingCache

WRITERS, SHARDS, ROWS = 4, 12, 5


class Width4:
    """An encoder to the cache."""

    feature_dim = 4
    identity = "width-4"


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def vectors(numbers: list[int]) -> np.ndarray:
    return np.array([[n, -n, n / 7, n + 0.5] for n in numbers], dtype=np.float32)


def numbers_of(writer: int, shard: int) -> list[int]:
    """Half of a writer's pictures are another writer's too."""
    return [ROWS * (shard + SHARDS * ((writer + row % 2) % WRITERS)) + row for row in range(ROWS)]


def check(cache: EmbeddingCache, numbers: list[int]) -> np.ndarray:
    """Which of these are known; those that are must be right."""
    found, known = cache.look_up(Width4(), [key(n) for n in numbers])
    np.testing.assert_array_equal(found[known], vectors(numbers)[known])
    return known


def in_child(work: Callable[[], None]) -> int:
    """Fork; the child works and ends. Returns its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def together(folder: Path) -> None:
    """Writers and readers at once: readers see right numbers or none, and in the end all, without opening again."""
    import torch  # noqa: F401 - from here on the forks would import it one by one

    def write(writer: int) -> None:
        cache = EmbeddingCache(folder)
        for shard in range(SHARDS):
            numbers = numbers_of(writer, shard)
            cache.put(Width4(), [key(n) for n in numbers], vectors(numbers))

    everything = sorted({n for w in range(WRITERS) for s in range(SHARDS) for n in numbers_of(w, s)})

    def read() -> None:
        cache = EmbeddingCache(folder)
        while not check(cache, everything).all():
            pass

    children = [in_child(read), *(in_child(lambda w=w: write(w)) for w in range(WRITERS)), in_child(read)]
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit("a process failed")
    print(len(everything))


def killed_at_every_byte(folder: Path) -> None:
    """For every size k, a writer that the kernel kills as it writes byte k + 1 of a file; prints the size."""
    whole, numbers = EmbeddingCache(folder / "whole"), [1, 2, 3]
    # In a child: the parent stays without torch, or each fork would take ten times as long.
    os.waitpid(in_child(lambda: whole.put(Width4(), [key(n) for n in numbers], vectors(numbers))), 0)
    (shard,) = whole.encoder_folder(Width4()).glob("*.safetensors")
    size = shard.stat().st_size
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limit in range(size):
        place = folder / "killed"

        def write(limit: int = limit, place: Path = place) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            EmbeddingCache(place).put(Width4(), [key(n) for n in numbers], vectors(numbers))

        status = os.waitpid(in_child(write), 0)[1]
        if os.WTERMSIG(status) != signal.SIGXFSZ:
            sys.exit(f"the writer limited to {limit} bytes ended with status {status}")
        if check(EmbeddingCache(place), numbers).any():
            sys.exit(f"after a kill at byte {limit} something was there")
    print(size)


def killed_at_any_time(folder: Path) -> None:
    """Writers killed at random moments; prints what they had said was kept, which must be there."""
    rng = random.Random(1)
    kept: list[int] = []
    for round_ in range(25):
        reading, writing = os.pipe()

        def write(round_: int = round_, writing: int = writing) -> None:
            cache = EmbeddingCache(folder)
            for shard in range(1000):
                numbers = [10_000_000 * round_ + 10 * shard + row for row in range(4)]
                cache.put(Width4(), [key(n) for n in numbers], vectors(numbers))
                os.write(writing, np.array(numbers, dtype="<i8").tobytes())

        child = in_child(write)
        os.close(writing)
        os.read(reading, 1)  # it has begun
        time.sleep(rng.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = b"\0"[:0]
        while part := os.read(reading, 1 << 16):
            said += part
        os.close(reading)
        kept += [10_000_000 * round_ + 10 * shard + row for shard in range((len(said) + 1) // 32) for row in range(4)]
        if not check(EmbeddingCache(folder), kept).all():
            sys.exit(f"round {round_}: something that was kept is lost")
    print(len(kept))


if __name__ == "__main__":
    for program in (killed_at_every_byte, together, killed_at_any_time):
        program(Path(sys.argv[1]) / program.__name__)
