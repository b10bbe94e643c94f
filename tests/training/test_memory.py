from __future__ import annotations

import logging

import pytest
import torch

from f1_predict.errors import ConfigError, F1PredictError
from f1_predict.training.memory import BatchSize, is_out_of_memory

OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
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
