"""From a Snapshot to the table of features known at its horizon."""

from f1_predict.features.build import build, build_many
from f1_predict.features.catalogue import FEATURE_NAMES, FEATURES, Feature

__all__ = ["FEATURES", "FEATURE_NAMES", "Feature", "build", "build_many"]
