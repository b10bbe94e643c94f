from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from f1_predict.cli import main
from f1_predict.cli.options import bytes_of
from f1_predict.errors import ConfigError, F1PredictError
from f1_predict.training import memory
from f1_predict.training.memory import BatchSize, is_out_of_memory, resident_limit

REPOSITORY = Path(__file__).resolve().parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells resident memory and limits data")

OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("could not create a primitive"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


def work_off(size: BatchSize, rows: list[int], fits: int, error: Exception) -> list[int]:
    """Double every row, with at most `fits` rows at a time."""

    done: list[int] = []

    def attempt(count: int) -> list[int]:
        batch = rows[len(done) : len(done) + count]
        if len(batch) > fits:
            raise error
        return [2 * row for row in batch]

    while len(done) < len(rows):
        done += size.run(attempt)
    return done


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: f"{type(e).__name__} {e}"[:40])
def test_every_kind_halves_until_it_fits_and_loses_no_row(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    size = BatchSize(64, "doubling")
    with caplog.at_level(logging.WARNING):
        assert work_off(size, list(range(101)), 10, error) == [2 * row for row in range(101)]
    assert size.rows == 8
    assert [(r.args[1], r.args[2]) for r in caplog.records if r.args] == [(64, 32), (32, 16), (16, 8)]  # type: ignore[index]
    assert "memory ran out while doubling with a batch of 64 rows; going on with 32" in caplog.text


def test_single_rows_are_tried_before_giving_up() -> None:
    size = BatchSize(5, "doubling")
    assert work_off(size, [1, 2, 3], 1, MemoryError()) == [2, 4, 6]
    assert size.rows == 1


def test_a_single_row_that_does_not_fit_is_an_error_with_a_remedy() -> None:
    with pytest.raises(F1PredictError, match=r"memory ran out while doubling, even with a batch of 1 row.*'cpu'"):
        work_off(BatchSize(4, "doubling"), [1, 2, 3], 0, MemoryError())


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")])
def test_other_errors_come_through_untouched(error: Exception) -> None:
    size = BatchSize(4, "doubling")
    with pytest.raises(type(error)) as caught:
        work_off(size, [1, 2, 3], 0, error)
    assert caught.value is error
    assert size.rows == 4


def test_a_batch_needs_a_row() -> None:
    with pytest.raises(ConfigError, match=r"batch size for doubling must be 1 or more, got 0"):
        BatchSize(0, "doubling")


def test_a_keyboard_interrupt_is_no_lack_of_memory() -> None:
    assert not is_out_of_memory(KeyboardInterrupt())


def under_limits(kind: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.training.memory_limits", kind]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@linux_only
def test_memory_that_the_kernel_refuses_halves_batches_of_encoding_fitting_and_forecasting() -> None:
    told = under_limits("kernel")
    assert told["encoding_warnings"] >= 1
    assert told["fitting_warnings"] >= 1
    assert told["difference"] < 1e-4  # the same embeddings as in small batches
    assert 0.0 < told["loss"] < 10.0
    assert told["forecasting_warnings"] >= 1
    assert told["forecasts"] == 400_000


@linux_only
def test_resident_memory_stays_below_the_cap() -> None:
    told = under_limits("capped")
    assert told["peak_mb"] <= told["limit_mb"]
    assert told["difference"] < 1e-4


@pytest.fixture
def no_limit_afterwards() -> Iterator[None]:
    import resource

    before = resource.getrlimit(resource.RLIMIT_RSS)
    yield
    resource.setrlimit(resource.RLIMIT_RSS, before)


@linux_only
@pytest.mark.usefixtures("no_limit_afterwards")
class TestCap:
    def test_batches_grow_as_far_as_there_is_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A row takes a megabyte here."""
        taken = [0]
        monkeypatch.setattr(memory, "resident", lambda: 500_000_000 + taken[0])
        monkeypatch.setattr(memory, "resident_limit", lambda: 540_000_000)
        size, seen = BatchSize(1000, "adding up"), []

        def attempt(rows: int) -> int:
            taken[0] = rows * 10**6
            seen.append(rows)
            return rows

        for _ in range(5):
            size.run(attempt)
            taken[0] = 0  # given back
        assert seen == [8, 16, 32, 32, 32]  # 64 would take 564 of 540 MB

    def test_more_than_the_cap_halves_and_one_row_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        taken = [0]
        monkeypatch.setattr(memory, "resident", lambda: 500_000_000 + taken[0])
        monkeypatch.setattr(memory, "resident_limit", lambda: 504_000_000)
        size, seen = BatchSize(1000, "adding up"), []

        def attempt(rows: int, each: int = 1_500_000) -> int:
            taken[0] = rows * each
            seen.append(rows)
            return rows

        for _ in range(4):
            size.run(attempt)
            taken[0] = 0
        assert seen == [8, 4, 2, 2]
        assert (
            "adding up with a batch of 8 rows took 512 MB of resident memory, above the limit of 504 MB" in caplog.text
        )
        size.run(lambda rows: attempt(rows, 10**7))
        taken[0] = 0
        with pytest.raises(F1PredictError, match=r"limit is 504 MB\. Give more as --max-memory"):
            size.run(lambda rows: attempt(rows, 10**7))

    def test_the_command_line_sets_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert resident_limit() is None
        assert main(["train", "--dataset", "nowhere.json", "--max-memory", "100GB"]) == 1
        assert resident_limit() == 100 * 10**9
        assert main(["train", "--max-memory", "1MB"]) == 1
        assert "the limit on memory must be above the" in capsys.readouterr().err
        assert main(["train", "--max-memory", "much"]) == 1
        assert "memory must be given as 1500MB or 1.5GB, got 'much'" in capsys.readouterr().err

    def test_sizes_are_read(self) -> None:
        assert (bytes_of("1500MB"), bytes_of("1.5 gb")) == (1_500_000_000, 1_500_000_000)
        for text in ("", "MB", "-1GB", "nanGB", "1TB"):
            with pytest.raises(ConfigError, match="memory must be given as"):
                bytes_of(text)


@linux_only
def test_freed_memory_goes_back_to_the_system_though_some_blocks_between_stay() -> None:
    blocks = [bytes(1000) for _ in range(100_000)]
    stay = blocks[::100]
    before = memory.resident()
    del blocks
    memory.return_free_memory()
    assert before - memory.resident() > 50_000_000
    assert all(len(block) == 1000 for block in stay)
