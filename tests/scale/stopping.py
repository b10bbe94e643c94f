"""A cluster of two machines, one of which is stopped in the middle of its work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from f1_predict.scale.ray_engine import RayEngine

PATIENCE_S = 120.0
"""After which the work on a machine that should have been stopped, or begun, fails instead of hanging for ever."""
STORE_BYTES = 80 * 2**20
"""Shared memory of a machine; Ray wants no less."""


def start_cluster() -> Any:
    """A ray.cluster_utils.Cluster of one machine with one CPU.

    Ray gives a machine half a minute to start. A busy computer may need longer, once: the second time its files are in
    memory.
    """
    from ray.cluster_utils import Cluster

    settings = {
        "num_cpus": 1,
        "object_store_memory": STORE_BYTES,
        "node_ip_address": "127.0.0.1",
        "include_dashboard": False,
        "include_log_monitor": False,
        "no_monitor": True,
        "_system_config": {  # a machine that is gone refuses these calls at once, a slow one has ten seconds for each
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 500,
            "health_check_failure_threshold": 4,
        },
    }
    try:
        return Cluster(initialize_head=True, head_node_args=settings)
    except Exception as error:  # Ray raises no class of its own here
        if "timed out during startup" not in str(error):
            raise
        return Cluster(initialize_head=True, head_node_args=settings)


@dataclass(frozen=True)
class Hanging:
    """Does what `function` does, and notes where. On the doomed machine the second item never comes to its end; the
    others do not work before that item has begun.

    Attributes:
        function: the real work.
        doomed: Ray's name of the machine.
        notes: folder; a file for each begun item, named "[machine]-[number]".
    """

    function: Callable[[Any], Any]
    doomed: str
    notes: Path

    def __call__(self, numbered: tuple[int, Any]) -> Any:
        import ray

        number, item = numbered
        machine = ray.get_runtime_context().get_node_id()
        if machine == self.doomed and list(self.notes.glob(f"{machine}-*")):
            (self.notes / f"lost-{number}").touch()
        start = time.monotonic()
        while (machine == self.doomed and (self.notes / f"lost-{number}").exists()) or (
            machine != self.doomed and not list(self.notes.glob("lost-*"))
        ):
            if time.monotonic() - start > PATIENCE_S:
                raise TimeoutError(f"item {number} waited in vain for the second machine to begin or to be stopped")
            time.sleep(0.02)
        result = self.function(item)
        (self.notes / f"{machine}-{number}").touch()
        return result


class Stopping(RayEngine):
    """A RayEngine whose second machine is stopped while it works.

    Args:
        cluster: ray.cluster_utils.Cluster with a machine of one CPU; gets another one.
        notes: an empty folder.
    """

    def __init__(self, cluster: Any, notes: Path) -> None:
        super().__init__()
        self._cluster, self._notes = cluster, notes
        self._machine = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, node_ip_address="127.0.0.1")
        self.doomed: str = self._machine.node_id

    def unordered(
        self, function: Callable[[Any], Any], items: Iterable[Any], *, gpu: bool = False
    ) -> Iterator[tuple[int, Any]]:
        hanging = Hanging(function, self.doomed, self._notes)
        for done in super().unordered(hanging, enumerate(items), gpu=gpu):
            if self._machine is not None and list(self._notes.glob("lost-*")):
                self._cluster.remove_node(self._machine, allow_graceful=False)
                self._machine = None
            yield done

    def lost(self) -> int:
        """The item whose work went with its machine."""
        (note,) = self._notes.glob("lost-*")
        return int(note.name.removeprefix("lost-"))

    def done_by(self, doomed: bool) -> set[int]:
        """The items that the doomed machine finished, or those that the other one did."""
        notes = [note.name.split("-") for note in self._notes.iterdir() if not note.name.startswith("lost")]
        return {int(number) for machine, number in notes if (machine == self.doomed) == doomed}
