"""Built-in data: simulated seasons as canonical tables."""

from f1_predict.sources.simulator.tables import simulate

__all__ = ["simulate"]
