"""Batches to pretrain on, drawn ahead by other processes, in the same order as without them.

Knows nothing of what is in a batch.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess, parent_process
from multiprocessing.queues import Queue
from typing import TypeAlias

import torch

from f1_predict.errors import F1PredictError
from f1_predict.training.pretrain_pictures import Batch, PictureSource

BATCHES_AHEAD = 24
"""That a drawing process may have waiting: about 5 MB each, more than a block, so that blocks are no hiccup."""
_LOOK_S = 2.0
_NICE = 19
"""Drawing gives way to training where they share cores: it is quicker, and waits at a full queue otherwise."""


Waiting: TypeAlias = "Queue[Batch | str]"
"""Batches, or what went wrong."""


@contextmanager
def batches_ahead(source: PictureSource, first: int, workers: int) -> Iterator[Iterator[Batch]]:
    """The batches of a source from number `first` on; other processes draw while the context is open.

    Every process draws each `workers`-th block, and they are taken in turn, so that the order does not depend on
    how many there are. Processes are spawned, not forked (polars' threads do not survive a fork), and end with this
    one, even where it is killed.

    Args:
        source: of the pictures.
        first: number of the first batch.
        workers: processes; 0 draws in this one, between the steps.
    """
    if workers == 0:
        yield source.batches(first)
        return
    context = multiprocessing.get_context("spawn")
    queues = [context.Queue(BATCHES_AHEAD) for _ in range(workers)]
    drawers = [
        context.Process(target=_draw, args=(source, first, workers, offset, queues[offset]), daemon=True)
        for offset in range(workers)
    ]
    try:
        for drawer in drawers:
            drawer.start()
        yield _in_turn(source.batches_per_block, first, queues, drawers)
    finally:
        for drawer in drawers:
            drawer.terminate()
        for drawer in drawers:
            drawer.join()


def _in_turn(per_block: int, first: int, queues: Sequence[Waiting], drawers: Sequence[BaseProcess]) -> Iterator[Batch]:
    number = first
    while True:
        worker = number // per_block % len(queues)
        yield _next(queues[worker], drawers[worker])
        number += 1


def _next(waiting: Waiting, drawer: BaseProcess) -> Batch:
    """The next batch of a process, or its error.

    Raises:
        F1PredictError: if it failed or ended.
    """
    while True:
        ended = not drawer.is_alive()  # asked first: what it put before its end is found then
        try:
            found = waiting.get(timeout=_LOOK_S)
        except queue.Empty:
            if ended:
                raise F1PredictError(
                    f"the process that draws pictures ended (exit code {drawer.exitcode}). "
                    "Start again: training goes on from its last checkpoint."
                ) from None
            continue
        if isinstance(found, Batch):
            return found
        raise F1PredictError(f"drawing pictures failed: {found}")


def _draw(source: PictureSource, first: int, workers: int, offset: int, waiting: Waiting) -> None:
    """The drawing process: fills its queue until it or its parent ends."""
    with suppress(OSError):
        os.nice(_NICE)
    torch.set_num_threads(1)
    try:
        for batch in source.batches(first, workers, offset):
            if not _put(waiting, batch):
                break
    except F1PredictError as error:
        _put(waiting, str(error))
    waiting.cancel_join_thread()


def _put(waiting: Waiting, found: Batch | str) -> bool:
    """Wait for room; False if the parent ended meanwhile."""
    parent = parent_process()
    while parent is not None and parent.is_alive():
        try:
            waiting.put(found, timeout=_LOOK_S)
        except queue.Full:
            continue
        return True
    return False
