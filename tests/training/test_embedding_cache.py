"""The embedding cache on disk: several processes, kills at any byte, damage, half precision, and looking after it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from f1_predict.cli import main
from f1_predict.errors import ArtefactError, ConfigError, NotFoundError
from f1_predict.training import cache_care
from f1_predict.training.embedding_cache import EmbeddingCache
from f1_predict.training.memory import resident
from tests.training.cache_writers import Width4, check, key, numbers_of, vectors

REPOSITORY = Path(__file__).resolve().parents[2]


def filled(folder: Path, *batches: list[int], precision: str = "float32") -> EmbeddingCache:
    cache = EmbeddingCache(folder, precision)  # type: ignore[arg-type]
    for numbers in batches:
        cache.put(Width4(), [key(n) for n in numbers], vectors(numbers))
    return EmbeddingCache(folder, precision)  # type: ignore[arg-type]


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The folder that the programs of cache_writers worked in, and what each printed."""
    folder = tmp_path_factory.mktemp("caches")
    command = [sys.executable, "-m", "tests.training.cache_writers", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return folder, [int(line) for line in done.stdout.split()]


def test_processes_write_and_read_at_once(programs: tuple[Path, list[int]]) -> None:
    folder, count = programs[0] / "together", programs[1][1]
    everything = sorted({n for writer in range(4) for shard in range(12) for n in numbers_of(writer, shard)})
    assert count == len(everything) == 240
    assert check(EmbeddingCache(folder), everything).all()
    assert not list(folder.rglob(".*.part"))


def test_a_kill_at_any_byte_leaves_nothing_half(programs: tuple[Path, list[int]]) -> None:
    folder, size = programs[0] / "killed_at_every_byte" / "killed", programs[1][0]
    left = list(folder.rglob(".*.part"))
    assert sorted(path.stat().st_size for path in left) == list(range(size))
    assert check(filled(folder, [1, 2, 3]), [1, 2, 3]).all()  # and it can be written to as before
    for path in left:
        os.utime(path, (0, 0))
    pruned = cache_care.prune(folder)
    assert (pruned.files, pruned.size, pruned.pictures) == (size, size * (size - 1) // 2, 0)
    assert check(EmbeddingCache(folder), [1, 2, 3]).all()


def test_a_kill_at_any_time_loses_nothing_that_was_kept(programs: tuple[Path, list[int]]) -> None:
    folder, kept = programs[0] / "killed_at_any_time", programs[1][2]
    assert kept >= 25 * 4  # the program looked for them after each kill
    assert [damage for _, damage in cache_care.verify(folder) if damage] == []


def test_a_shard_cut_at_every_byte_gives_nothing_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path, [1, 2, 3])
    (shard,) = shards(tmp_path)
    content = shard.read_bytes()
    for size in range(len(content)):
        shard.write_bytes(content[:size])
        caplog.clear()
        assert not check(EmbeddingCache(tmp_path), [1, 2, 3]).any(), size
        assert "its checksum differs; dropped" in caplog.text
        assert not shard.exists()
    shard.write_bytes(content)
    assert check(EmbeddingCache(tmp_path), [1, 2, 3]).all()


def test_a_byte_altered_anywhere_gives_nothing_wrong(tmp_path: Path) -> None:
    filled(tmp_path, [1, 2, 3])
    (shard,) = shards(tmp_path)
    content = shard.read_bytes()
    for place in range(len(content)):
        shard.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        assert not check(EmbeddingCache(tmp_path), [1, 2, 3]).any(), place


def test_damage_in_one_shard_leaves_the_others_and_is_found_when_it_is_read(tmp_path: Path) -> None:
    cache = filled(tmp_path, [1, 2], [3, 4], [4, 5])
    damaged = next(path for path in shards(tmp_path) if (load_file(path)["vectors"] == vectors([3, 4])).all())
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert check(cache, [1, 2]).all()
    assert damaged.exists()  # not looked at yet
    assert check(cache, [1, 2, 3, 4, 5]).tolist() == [True, True, False, True, True]
    assert not damaged.exists()


def test_what_others_wrote_is_found_without_opening_again(tmp_path: Path) -> None:
    cache = filled(tmp_path, [1])
    assert check(cache, [1, 2]).tolist() == [True, False]
    filled(tmp_path, [2])
    assert check(cache, [1, 2]).all()


def test_a_pruned_shard_is_missing_and_no_error(tmp_path: Path) -> None:
    filled(tmp_path, [1], [2])
    cache = EmbeddingCache(tmp_path)
    assert not check(cache, [3]).any()
    for path in shards(tmp_path):
        path.unlink()
    assert not check(cache, [1, 2]).any()


def test_numbers_are_mapped_not_read(tmp_path: Path) -> None:
    cache = filled(tmp_path, [1, 2])
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert check(cache, [1, 2]).all()
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == before  # thousands of shards, no file left open
        assert str(shards(tmp_path)[0]) in Path("/proc/self/maps").read_text()


def test_half_precision_takes_half_the_space_and_never_mixes(tmp_path: Path) -> None:
    full, half = filled(tmp_path, [1, 2], [900]), filled(tmp_path, [1, 3], precision="float16")
    numbers = [1, 2, 3, 900]
    assert full.look_up(Width4(), [key(n) for n in numbers])[1].tolist() == [True, True, False, True]
    found, known = half.look_up(Width4(), [key(n) for n in numbers])
    assert known.tolist() == [True, False, True, False]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[known], vectors([1, 3]).astype(np.float16))
    assert (found[known] != vectors([1, 3])).any()
    (shard,) = shards(half.encoder_folder(Width4()))
    assert load_file(shard)["vectors"].nbytes == 2 * 4 * 2
    with pytest.raises(ConfigError, match="up to 70000 do not fit half precision, whose largest number is 65504"):
        half.put(Width4(), [key(7)], np.full((1, 4), 70000.0, dtype=np.float32))
    with pytest.raises(ConfigError, match="kept as 'float32' or 'float16', got 'float8'"):
        EmbeddingCache(tmp_path, "float8")  # type: ignore[arg-type]


def test_caches_of_before_are_read_and_their_bytes_stay(tmp_path: Path) -> None:
    """Folder, name and bytes of a shard as the first version wrote them."""
    keys = np.frombuffer(key(1) + key(2), dtype=np.uint8).reshape(2, 32)
    content = save({"digests": keys, "vectors": vectors([1, 2])})
    old = tmp_path / "old" / hashlib.sha256(b"width-4").hexdigest()[:32]
    old.mkdir(parents=True)
    name = f"{hashlib.sha256(content).hexdigest()}.safetensors"
    (old / name).write_bytes(content)
    assert check(EmbeddingCache(tmp_path / "old"), [1, 2]).all()
    new = filled(tmp_path / "new", [1, 2]).encoder_folder(Width4())
    assert new.name == old.name
    assert (new / name).read_bytes() == content


class TestCare:
    def test_size_and_verify(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        filled(tmp_path, [1, 2], [2, 3])
        filled(tmp_path, [1], precision="float16")
        by_precision = {share.precision: share for share in cache_care.measure(tmp_path)}
        full = by_precision["float32"]
        assert (full.identity, full.pictures, full.shards, full.unusable) == ("width-4", 3, 2, 0)
        assert full.size == sum(
            path.stat().st_size for path in EmbeddingCache(tmp_path).encoder_folder(Width4()).iterdir()
        )
        assert by_precision["float16"].pictures == 1
        assert main(["cache", "size", "--embeddings", str(tmp_path)]) == 0
        assert main(["cache", "verify", "--embeddings", str(tmp_path)]) == 0
        told = capsys.readouterr().out
        assert "width-4" in told
        assert "4 embeddings" in told
        assert "All 3 shards are as they were written." in told

    def test_verify_names_what_is_damaged_and_prune_removes_that_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cache = filled(tmp_path, [1, 2], [3])
        damaged, sound = shards(tmp_path)
        damaged.write_bytes(damaged.read_bytes()[:-1])
        fresh = cache.encoder_folder(Width4()) / ".being-written.part"
        fresh.write_bytes(b"half")
        assert main(["cache", "verify", "--embeddings", str(tmp_path)]) == 1
        streams = capsys.readouterr()
        assert f"{damaged}: its checksum differs" in streams.out
        assert "1 of 2 shards" in streams.err
        assert "f1-predict cache prune" in streams.err
        assert damaged.exists()
        assert main(["cache", "prune", "--embeddings", str(tmp_path), "--dry-run"]) == 0
        assert damaged.exists()
        assert main(["cache", "prune", "--embeddings", str(tmp_path)]) == 0
        assert "Removed 1 files" in capsys.readouterr().out
        assert shards(tmp_path) == [sound]
        assert fresh.exists()

    def test_prune_by_age_and_by_encoder(self, tmp_path: Path) -> None:
        cache = filled(tmp_path, [1], [2])
        filled(tmp_path, [1], precision="float16")
        old = shards(cache.encoder_folder(Width4()))[0]
        os.utime(old, (time.time() - 10 * 86400,) * 2)
        assert cache_care.prune(tmp_path, older_than_days=11).files == 0
        pruned = cache_care.prune(tmp_path, older_than_days=9)
        assert (pruned.files, pruned.pictures) == (1, 1)
        assert not old.exists()
        half = next(share for share in cache_care.measure(tmp_path) if share.precision == "float16")
        with pytest.raises(NotFoundError, match="no encoder 'nobody'"):
            cache_care.prune(tmp_path, [half.name, "nobody"])
        pruned = cache_care.prune(tmp_path, [half.name])
        assert pruned.pictures == 1
        assert [share.precision for share in cache_care.measure(tmp_path)] == ["float32"]

    def test_a_folder_that_is_not_there(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(ArtefactError, match=r"nowhere: cannot be read .*as --embeddings"):
            cache_care.measure(tmp_path / "nowhere")
        assert main(["cache", "size", "--embeddings", str(tmp_path / "nowhere")]) == 1
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells resident memory")
def test_what_is_written_takes_no_memory_until_it_is_looked_up(tmp_path: Path) -> None:
    cache, encoder = EmbeddingCache(tmp_path), Width4()
    encoder.feature_dim = 1000
    numbers = np.ones((2000, 1000), dtype=np.float32)
    keys = [[key(2000 * shard + row) for row in range(2000)] for shard in range(8)]
    cache.put(encoder, keys[0], numbers)
    before = resident()
    for own in keys[1:]:
        cache.put(encoder, own, numbers)
    assert resident() - before < 0.1 * 7 * numbers.nbytes
    found, known = cache.look_up(encoder, [own[5] for own in keys])
    assert known.all()
    assert (found == 1.0).all()
