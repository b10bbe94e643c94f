"""Batches to pretrain on, drawn ahead by other processes, in the same order as without them.

Knows nothing of what is in a batch.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Thread

import torch

from f1_predict.errors import F1PredictError
from f1_predict.training.pretrain_pictures import Batch, PictureSource

BATCHES_AHEAD = 24
"""That a drawing process may have waiting: about 5 MB each, more than a block, so that blocks are no hiccup."""
_NICE = 19
"""Drawing gives way to training where they share cores: it is quicker, and waits at a full queue otherwise."""


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

    Raises:
        F1PredictError: where a batch is taken, if the process that draws it failed or ended.
    """
    if workers == 0:
        yield source.batches(first)
        return
    context = multiprocessing.get_context("spawn")
    receivers: list[Connection] = []
    drawers: list[SpawnProcess] = []
    try:
        for offset in range(workers):
            receiver, sender = context.Pipe(duplex=False)
            receivers.append(receiver)
            drawer = context.Process(target=_draw, args=(source, first, workers, offset, sender), daemon=True)
            drawer.start()
            drawers.append(drawer)
            sender.close()  # only the process holds it then: its end, wherever that comes, is the end of the pipe
        yield _in_turn(source.batches_per_block, first, receivers, drawers)
    finally:
        for drawer in drawers:
            drawer.terminate()
        for drawer in drawers:
            drawer.join()
        for receiver in receivers:
            receiver.close()


def _in_turn(
    per_block: int, first: int, receivers: Sequence[Connection], drawers: Sequence[SpawnProcess]
) -> Iterator[Batch]:
    number = first
    while True:
        worker = number // per_block % len(receivers)
        yield _next(receivers[worker], drawers[worker])
        number += 1


def _next(receiver: Connection, drawer: SpawnProcess) -> Batch:
    try:
        found = receiver.recv()
    except (EOFError, OSError):
        drawer.join()
        raise F1PredictError(
            f"the process that draws pictures ended (exit code {drawer.exitcode}). "
            "Start again: training goes on from its last checkpoint."
        ) from None
    if isinstance(found, Batch):
        return found
    raise F1PredictError(f"drawing pictures failed: {found}")


def _draw(source: PictureSource, first: int, workers: int, offset: int, sender: Connection) -> None:
    """The drawing process: draws ahead, and sends what is taken, until it fails or nobody listens any more."""
    with suppress(OSError):
        os.nice(_NICE)
    torch.set_num_threads(1)
    drawn: queue.Queue[Batch | str] = queue.Queue(BATCHES_AHEAD)
    sending = Thread(target=_send, args=(drawn, sender), daemon=True)
    sending.start()
    try:
        for batch in source.batches(first, workers, offset):
            drawn.put(batch)
    except F1PredictError as error:
        drawn.put(str(error))
        sending.join()


def _send(drawn: queue.Queue[Batch | str], sender: Connection) -> None:
    """Batches as they are drawn and taken, until what went wrong."""
    try:
        while True:
            found = drawn.get()
            sender.send(found)
            if isinstance(found, str):
                return
    except OSError:  # nobody listens any more, while the drawing may wait for room
        os._exit(1)
