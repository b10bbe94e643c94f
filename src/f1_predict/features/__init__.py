"""From a Snapshot to the table of features known at its horizon."""

from f1_predict.features.build import RaceFeatures, build, build_many, features_of_races, values_of_cuts
from f1_predict.features.catalogue import FEATURE_NAMES, FEATURES, Feature
from f1_predict.features.inrace import in_race, in_race_values
from f1_predict.features.inrace_catalogue import IN_RACE_FEATURES, IN_RACE_NAMES
from f1_predict.features.inrace_cut import LineUp

__all__ = [
    "FEATURES",
    "FEATURE_NAMES",
    "IN_RACE_FEATURES",
    "IN_RACE_NAMES",
    "Feature",
    "LineUp",
    "RaceFeatures",
    "build",
    "build_many",
    "features_of_races",
    "in_race",
    "in_race_values",
    "values_of_cuts",
]
