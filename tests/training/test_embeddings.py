from __future__ import annotations

import errno
import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f1_predict.errors import ArtefactError, F1PredictError
from f1_predict.models.speed_trace_generator import read_plot_area
from f1_predict.training.cache_care import prune
from f1_predict.training.embedding_cache import Shard
from f1_predict.training.embeddings import EmbeddingCache, encode_dataset
from f1_predict.training.progress import Progress
from tests.training.stand_ins import CountingEncoder, PicturePaths, write_pictures


def encode(paths: list[Path | None], encoder: CountingEncoder, folder: Path, batch_size: int = 4, progress=None):
    dataset = PicturePaths(paths)
    return encode_dataset(dataset, encoder, EmbeddingCache(folder), batch_size, progress)  # type: ignore[arg-type]


def expected(paths: list[Path]) -> np.ndarray:
    return np.concatenate([CountingEncoder().encode_arrays(read_plot_area(path)[None]) for path in paths])


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_rows_are_encoded_in_order_and_missing_ones_are_zero(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "pictures", 7)
    embeddings, has_image = encode([paths[0], None, *paths[1:]], CountingEncoder(), tmp_path / "cache")
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings[has_image], expected(paths))
    assert has_image.tolist() == [True, False] + [True] * 6
    assert not embeddings[1].any()


def test_a_second_run_encodes_nothing_and_gives_the_same_bits(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "pictures", 5)
    first, _ = encode([*paths], CountingEncoder(), tmp_path / "cache")
    again = CountingEncoder()
    second, has_image = encode([*paths], again, tmp_path / "cache")
    assert again.encoded == 0
    assert has_image.all()
    np.testing.assert_array_equal(first, second)


def test_content_is_the_address(tmp_path: Path) -> None:
    """A moved picture is known, a changed one under the old name is not, nor is one to another encoder."""
    paths = write_pictures(tmp_path / "pictures", 3)
    encode([*paths], CountingEncoder(), tmp_path / "cache")
    paths[0] = paths[0].rename(tmp_path / "moved.png")
    paths[1].write_bytes(write_pictures(tmp_path / "other", 4)[3].read_bytes())
    encoder = CountingEncoder()
    embeddings, _ = encode([*paths], encoder, tmp_path / "cache")
    assert encoder.encoded == 1
    np.testing.assert_array_equal(embeddings, expected(paths))
    other = CountingEncoder("encoder-b")
    encode([*paths], other, tmp_path / "cache")
    assert other.encoded == 3


def test_identical_pictures_are_encoded_once(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "pictures", 2)
    twin = tmp_path / "twin.png"
    twin.write_bytes(paths[0].read_bytes())
    encoder = CountingEncoder()
    embeddings, _ = encode([paths[0], paths[1], twin, paths[0]], encoder, tmp_path / "cache")
    assert encoder.encoded == 2
    np.testing.assert_array_equal(embeddings, expected([paths[0], paths[1], twin, paths[0]]))


def test_unreadable_pictures_count_as_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = write_pictures(tmp_path / "pictures", 4)
    paths[1].write_bytes(paths[1].read_bytes()[:40])
    paths[2].write_bytes(b"")
    paths[3].unlink()
    embeddings, has_image = encode([*paths], CountingEncoder(), tmp_path / "cache")
    assert has_image.tolist() == [True, False, False, False]
    assert not embeddings[1:].any()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    for path in paths[1:]:
        assert sum(line.startswith(f"{path} counts as a missing picture: ") for line in lines) == 1


def test_pictures_of_different_sizes_keep_their_rows(tmp_path: Path) -> None:
    small = write_pictures(tmp_path / "small", 3)
    large = write_pictures(tmp_path / "large", 2, size=(9, 8))
    mixed = [small[0], large[0], small[1], small[2], large[1]]
    embeddings, _ = encode([*mixed], CountingEncoder(), tmp_path / "cache", batch_size=5)
    np.testing.assert_array_equal(embeddings, expected(mixed))


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_shard_is_dropped_with_a_warning_and_encoded_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_pictures(tmp_path / "pictures", 3)
    whole, _ = encode([*paths], CountingEncoder(), tmp_path / "cache")
    (shard,) = shards(tmp_path / "cache")
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes({"truncate": content[:-7], "flip": content, "empty": b""}[damage])
    encoder = CountingEncoder()
    embeddings, has_image = encode([*paths], encoder, tmp_path / "cache")
    assert "its checksum differs; dropped, its pictures are encoded again" in caplog.text
    assert encoder.encoded == 3
    assert has_image.all()
    np.testing.assert_array_equal(embeddings, whole)
    caplog.clear()
    encode([*paths], CountingEncoder(), tmp_path / "cache")
    assert caplog.text == ""


def test_a_shard_of_another_width_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = write_pictures(tmp_path / "pictures", 2)
    encode([*paths], CountingEncoder(), tmp_path / "cache")
    wide = CountingEncoder()
    wide.feature_dim = 5
    embeddings, known = EmbeddingCache(tmp_path / "cache").look_up(wide, [b"x" * 32, None])
    assert embeddings.shape == (2, 5)
    assert not known.any()
    assert "it holds (2, 4) numbers for 2 pictures of 5 each" in caplog.text


def test_a_shard_that_is_none_or_cannot_be_read_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = write_pictures(tmp_path / "pictures", 2)
    encode([*paths], CountingEncoder(), tmp_path / "cache")
    (shard,) = shards(tmp_path / "cache")
    stranger = shard.with_name(hashlib.sha256(b"no shard").hexdigest() + ".safetensors")
    stranger.write_bytes(b"no shard")
    (shard.parent / "folder.safetensors").mkdir()
    encoder = CountingEncoder()
    embeddings, _ = encode([*paths], encoder, tmp_path / "cache")
    assert encoder.encoded == 0
    np.testing.assert_array_equal(embeddings, expected(paths))
    assert "it is no shard" in caplog.text
    assert "folder.safetensors cannot be read (Is a directory)" in caplog.text
    assert not stranger.exists()


def test_an_interruption_keeps_what_is_done(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "pictures", 6)

    def interrupt(progress: Progress) -> None:
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode([*paths], CountingEncoder(), tmp_path / "cache", batch_size=2, progress=interrupt)
    encoder = CountingEncoder()
    embeddings, _ = encode([*paths], encoder, tmp_path / "cache")
    assert encoder.encoded == 2
    np.testing.assert_array_equal(embeddings, expected(paths))


def test_running_out_of_memory_halves_the_batch_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_pictures(tmp_path / "pictures", 11)
    encoder = CountingEncoder()
    encoder.rows_that_fit = 2
    with caplog.at_level(logging.WARNING):
        embeddings, has_image = encode([*paths], encoder, tmp_path / "cache", batch_size=8)
    np.testing.assert_array_equal(embeddings, expected(paths))
    assert has_image.all()
    assert encoder.encoded == 11
    assert max(encoder.batches) == 2
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]
    encoder.rows_that_fit = 0
    with pytest.raises(F1PredictError, match="memory ran out while encoding pictures, even with a batch of 1 row"):
        encode([*write_pictures(tmp_path / "more", 3)], encoder, tmp_path / "cache")


def test_progress_counts_the_pictures_that_are_encoded(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "pictures", 5)
    encode([*paths[:2]], CountingEncoder(), tmp_path / "cache")
    seen: list[Progress] = []
    encode([*paths], CountingEncoder(), tmp_path / "cache", batch_size=2, progress=seen.append)
    assert [(p.what, p.done, p.total) for p in seen] == [("pictures", 2, 3), ("pictures", 3, 3)]
    assert seen[0].per_second > 0
    assert seen[-1].seconds_left == 0.0


class Losing(EmbeddingCache):
    """Whose first shards are removed as soon as they are written, as by somebody who prunes meanwhile."""

    def __init__(self, folder: Path, losses: int) -> None:
        super().__init__(folder)
        self.losses = losses

    def put(self, encoder: Any, digests: Any, vectors: Any) -> None:
        super().put(encoder, digests, vectors)
        if self.losses > 0:
            self.losses -= 1
            for shard in shards(self.folder):
                shard.unlink()


def test_what_is_lost_before_it_is_looked_up_is_encoded_again(tmp_path: Path) -> None:
    paths, broken = write_pictures(tmp_path / "pictures", 3), tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    dataset: Any = PicturePaths([*paths, broken, None])
    encoder = CountingEncoder()
    embeddings, has_image = encode_dataset(dataset, encoder, Losing(tmp_path / "cache", 1), 2)
    assert has_image.tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(embeddings[:3], encode([*paths], CountingEncoder(), tmp_path / "other")[0])
    assert encoder.encoded == 6
    with pytest.raises(ArtefactError, match=r"3 embeddings that were kept there are gone, 3 times"):
        encode_dataset(dataset, encoder, Losing(tmp_path / "hopeless", 99), 2)


def test_a_shard_that_cannot_be_read_any_more_is_left_out_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_pictures(tmp_path / "pictures", 2)
    whole, _ = encode([*paths], CountingEncoder(), tmp_path / "cache")
    (shard,) = shards(tmp_path / "cache")

    def unreadable(self: Shard) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Shard, "is_whole", unreadable)
        digests = [hashlib.sha256(path.read_bytes()).digest() for path in paths]
        _, known = EmbeddingCache(tmp_path / "cache").look_up(CountingEncoder(), digests)
        assert not known.any()
        assert "cannot be read (Input/output error)" in caplog.text
        assert prune(tmp_path / "cache").files == 0
    assert shard.exists()
    np.testing.assert_array_equal(encode([*paths], CountingEncoder(), tmp_path / "cache")[0], whole)
