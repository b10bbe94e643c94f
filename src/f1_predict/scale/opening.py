"""The engine that the user asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from f1_predict.scale.engine import Engine


class EngineKind(StrEnum):
    """Engines by name."""

    local = "local"
    ray = "ray"


@contextmanager
def open_engine(kind: EngineKind, processes: int) -> Iterator[Engine | None]:
    """The engine of a command, closed afterwards; None for this machine, where each step has processes of its own.

    Args:
        kind: which.
        processes: of a Ray that is started here; a cluster that is there already has its own number.

    Raises:
        ConfigError: if Ray is not installed, or its cluster does not answer.
        F1PredictError: if Ray does not start.
    """
    if kind is EngineKind.local:
        yield None
        return
    from f1_predict.scale.ray_engine import RayEngine

    with RayEngine.open(processes) as engine:
        yield engine
