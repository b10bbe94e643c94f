"""Built-in data: simulated seasons as canonical tables."""

from f1_predict.sources.simulator.canonical import simulate
from f1_predict.sources.simulator.parameters import EraParameters, Parameters, read_parameters

__all__ = ["EraParameters", "Parameters", "read_parameters", "simulate"]
