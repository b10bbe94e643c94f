"""Where independent pieces of work are done: in this process, in several of this machine, or on a Ray cluster."""

from f1_predict.scale.code import digest_of_code
from f1_predict.scale.engine import Engine, LocalEngine, default_workers
from f1_predict.scale.opening import EngineKind, open_engine

__all__ = ["Engine", "EngineKind", "LocalEngine", "default_workers", "digest_of_code", "open_engine"]
