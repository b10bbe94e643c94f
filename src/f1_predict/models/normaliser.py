"""Standardises the table's features with statistics of the training rows. Knows nothing of races or labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from f1_predict.errors import ArtefactError, FeatureError

DEFAULT_CLIP = 8.0
"""Standardised values are limited to plus and minus this: beyond eight standard deviations a value seen for the
first time says "extreme", and a network's answer to larger numbers would be extrapolation."""
_RELATIVE_SPREAD = 1e-12
"""A column whose spread is below this share of its magnitude is constant up to rounding."""


@dataclass(frozen=True)
class FeatureNormaliser:
    """(value - mean) / std per feature, unknown (NaN) -> 0 = the mean, limited to [-clip, clip].

    A feature that is constant or never known in the training rows is 0 whatever its value: nothing could be learnt
    about it, and the untrained weights behind it would turn a value first met later (weather, say) into noise.

    Make one with `fit` or `from_dict`; there is no unfitted state.

    Attributes:
        names: features in the order of the columns.
        mean, std: of the training rows that know the value; std is 0 where a column is constant or never known.
        clip: limit, in standard deviations.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip: float = DEFAULT_CLIP

    @classmethod
    def fit(
        cls, values: npt.NDArray[np.float64], names: Sequence[str], *, clip: float = DEFAULT_CLIP
    ) -> FeatureNormaliser:
        """Statistics of training rows.

        Args:
            values: float (n, F), NaN = unknown; the training rows and no others.
            names: F different names.
            clip: limit of the standardised values, greater than 0.

        Raises:
            FeatureError: if a value is infinite or too large for its square, there are no rows, or the names do
                not fit the columns.
        """
        names = tuple(names)
        values = _checked(values, names)
        if len(values) == 0:
            raise FeatureError("the features' statistics need at least one training row, got none.")
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise FeatureError(f"feature names must be different, got {', '.join(twice)} more than once.")
        if not clip > 0.0:
            raise FeatureError(f"clip must be greater than 0, got {clip}.")
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.where(known, values, 0.0).sum(axis=0) / count
            std = np.sqrt(np.square(np.where(known, values - mean, 0.0)).sum(axis=0) / count)
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            name = names[int(np.argmin(np.isfinite(mean) & np.isfinite(std)))]
            raise FeatureError(f"feature '{name}' has values too large for its spread to be computed. Rescale it.")
        magnitude = np.where(known, np.abs(values), 0.0).max(axis=0)
        std = np.where(std <= _RELATIVE_SPREAD * magnitude, 0.0, std)
        return cls(names, tuple(mean.tolist()), tuple(std.tolist()), float(clip))

    def transform(self, values: npt.NDArray[np.float64], names: Sequence[str] | None = None) -> npt.NDArray[np.float32]:
        """Standardised features, finite in every place.

        Args:
            values: float (n, F) in the order of `self.names`, NaN = unknown.
            names: what the columns are; compared with those that were fitted where given.

        Returns:
            float32 (n, F).

        Raises:
            FeatureError: if a value is infinite, or the columns are not those that were fitted.
        """
        if names is not None and tuple(names) != self.names:
            raise FeatureError(f"the features must be those that were fitted: {_difference(self.names, tuple(names))}.")
        values = _checked(values, self.names)
        std = np.array(self.std)
        with np.errstate(over="ignore"):
            scaled = np.where(std > 0.0, (values - np.array(self.mean)) / np.where(std > 0.0, std, 1.0), 0.0)
        limited = np.nan_to_num(np.clip(scaled, -self.clip, self.clip), nan=0.0)
        return np.asarray(limited, dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers; through JSON and `from_dict` it comes back exactly."""
        return {"names": list(self.names), "mean": list(self.mean), "std": list(self.std), "clip": self.clip}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FeatureNormaliser:
        """The inverse of `to_dict`.

        Raises:
            ArtefactError: if a key is missing, lengths differ, a number is not finite, a std is negative, or clip is
                not positive.
        """
        try:
            made = cls(
                tuple(str(name) for name in values["names"]),
                tuple(float(value) for value in values["mean"]),
                tuple(float(value) for value in values["std"]),
                float(values["clip"]),
            )
        except KeyError as error:
            raise ArtefactError(f"the feature statistics lack {error}. Train the model again.") from error
        except (TypeError, ValueError) as error:
            raise ArtefactError(f"the feature statistics cannot be read ({error}). Train the model again.") from error
        lengths = {"names": len(made.names), "mean": len(made.mean), "std": len(made.std)}
        if len(set(lengths.values())) != 1:
            raise ArtefactError(f"the feature statistics must have one length, got {lengths}. Train the model again.")
        finite = np.isfinite([*made.mean, *made.std, made.clip]).all()
        if not finite or min(made.std, default=0.0) < 0.0 or made.clip <= 0.0:
            raise ArtefactError(
                "the feature statistics must be finite, std not negative, clip positive. Train the model again."
            )
        return made


def _checked(values: npt.NDArray[np.float64], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """`values` as float64 if they are (n, len(names)) and nowhere infinite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise FeatureError(f"features must have shape (n, {len(names)}), one column a name, got {values.shape}.")
    infinite = np.isinf(values)
    if infinite.any():
        row, column = np.argwhere(infinite)[0].tolist()
        raise FeatureError(
            f"feature '{names[column]}' of row {row} must be finite, got {values[row, column]}. "
            "Unknown is NaN; correct what computed it."
        )
    return values


def _difference(fitted: tuple[str, ...], given: tuple[str, ...]) -> str:
    missing = [name for name in fitted if name not in given]
    strange = [name for name in given if name not in fitted]
    parts = []
    if missing:
        parts.append(f"missing {', '.join(missing)}")
    if strange:
        parts.append(f"not fitted {', '.join(strange)}")
    if not parts and len(given) != len(fitted):
        return f"{len(fitted)} were fitted, got {len(given)} with repetitions"
    if not parts:
        at = next(i for i, (one, other) in enumerate(zip(fitted, given, strict=True)) if one != other)
        return f"another order, column {at} must be '{fitted[at]}', got '{given[at]}'"
    return "; ".join(parts)
