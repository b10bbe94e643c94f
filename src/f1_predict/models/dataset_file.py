"""Reads and checks `dataset_cache.json`, whose rows pair a picture's path with features and a label.

Opens that one file and nothing else: no pictures. Rows become arrays while the file is parsed, so that a cache of
every race since 1996 at five horizons fits into memory many times over.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from f1_predict.errors import ArtefactError

REBUILD = "Build it again with `f1-predict dataset`."
DEFAULT_HORIZON = "full_race"
"""Of rows that do not say: the setting in which the file format was first defined."""

_TOP_KEYS = {"metadata": list, "feature_names": list, "generated_at": str}
_MAX_PLACES = 1000
"""Sanity limit of positions and starters."""


@dataclass(frozen=True)
class DatasetRows:
    """The rows of a cache, column by column, in the order of the file.

    Attributes:
        feature_names: F names.
        race_ids, driver_ids, horizons: text (n,); `horizons` is DEFAULT_HORIZON where a row does not say.
        image_paths: as written in the file; None = the row has no picture.
        splits: text (n,), or None if the file has no splits.
        features: float64 (n, F), NaN = unknown.
        positions: int64 (n,), 1 = winner.
        finished: bool (n,), whether classified.
        n_starters: int64 (n,); where a row does not say, the rows of its race and horizon, or the largest position
            among them if that is more.
        generated_at: when the file was made.
        leaks: whether the rows' features have seen their labels.
        settings: what pictures and features were made with, by stage; empty where the file does not say.
    """

    feature_names: tuple[str, ...]
    race_ids: list[str]
    driver_ids: list[str]
    horizons: list[str]
    image_paths: list[str | None]
    splits: list[str] | None
    features: npt.NDArray[np.float64]
    positions: npt.NDArray[np.int64]
    finished: npt.NDArray[np.bool_]
    n_starters: npt.NDArray[np.int64]
    generated_at: str
    leaks: bool
    settings: dict[str, Any]


def read_dataset_file(path: Path) -> DatasetRows:
    """Read and check a cache file.

    Raises:
        ArtefactError: naming the file, the row (from 0), its race and driver, and the key that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtefactError(f"{path}: there is no such dataset. Build it with `f1-predict dataset`.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path}: cannot be read ({error}). {REBUILD}") from error
    try:
        content = json.loads(text, object_hook=_compact)
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        raise ArtefactError(f"{path}: is no JSON ({error}). {REBUILD}") from error
    if not isinstance(content, dict):
        raise ArtefactError(f"{path}: must hold an object, got {type(content).__name__}. {REBUILD}")
    for key, kind in _TOP_KEYS.items():
        if key not in content:
            raise ArtefactError(f"{path}: key '{key}' is missing. {REBUILD}")
        if not isinstance(content[key], kind):
            raise ArtefactError(
                f"{path}: key '{key}' must be {_KINDS[kind]}, got {type(content[key]).__name__}. {REBUILD}"
            )
    return _Reader(path, content).rows()


def _compact(values: dict[str, Any]) -> dict[str, Any]:
    """Turn a row's features into an array at once, if they are numbers and nulls; else leave them to be reported."""
    features = values.get("tabular_features")
    if isinstance(features, list) and set(map(type, features)) <= {int, float, type(None)}:
        try:
            values["tabular_features"] = np.array([math.nan if v is None else v for v in features], dtype=np.float64)
        except OverflowError:
            return values
    return values


_KINDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list"}


class _Reader:
    """Checks rows one by one and stacks them."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content
        self._names: list[str] = content["feature_names"]

    def rows(self) -> DatasetRows:
        rows: list[Any] = self._content["metadata"]
        self._check_head(rows)
        features = np.empty((len(rows), len(self._names)), dtype=np.float64)
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                self._refuse(number, {}, "metadata", f"each row must be an object, got {type(row).__name__}")
            features[number] = self._features(number, row)
            row["tabular_features"] = None
        infinite = np.isinf(features)
        if infinite.any():
            number, column = np.argwhere(infinite)[0].tolist()
            self._refuse(
                number, rows[number], "tabular_features", f"'{self._names[column]}' must be finite or null (unknown)"
            )
        keys = [(self._text(n, row, "race_id"), self._text(n, row, "driver_id")) for n, row in enumerate(rows)]
        horizons = [
            self._text(n, row, "horizon") if "horizon" in row else DEFAULT_HORIZON for n, row in enumerate(rows)
        ]
        positions = np.array([self._place(n, row, "label") for n, row in enumerate(rows)], dtype=np.int64)
        return DatasetRows(
            feature_names=tuple(self._names),
            race_ids=[race for race, _ in keys],
            driver_ids=[driver for _, driver in keys],
            horizons=horizons,
            image_paths=[self._image_path(n, row) for n, row in enumerate(rows)],
            splits=self._splits(rows),
            features=features,
            positions=positions,
            finished=np.array([self._flag(n, row, "finished") for n, row in enumerate(rows)], dtype=np.bool_),
            n_starters=self._starters(rows, [race for race, _ in keys], horizons, positions),
            generated_at=self._content["generated_at"],
            leaks=self._content.get("leaks") is True,
            settings=self._content.get("settings") or {},
        )

    def _check_head(self, rows: list[Any]) -> None:
        names = self._names
        if not all(isinstance(name, str) and name for name in names) or not names or len(set(names)) != len(names):
            raise ArtefactError(
                f"{self._path}: key 'feature_names' must hold different names, at least one, "
                f"got {names!r:.200}. {REBUILD}"
            )
        if not rows:
            raise ArtefactError(f"{self._path}: key 'metadata' has no rows. {REBUILD}")

    def _refuse(self, number: int, row: dict[str, Any], key: str, problem: str) -> NoReturn:
        who = ", ".join(str(row[name]) for name in ("race_id", "driver_id") if isinstance(row.get(name), str))
        raise ArtefactError(
            f"{self._path}: metadata row {number}{f' ({who})' if who else ''}, key '{key}': {problem}. {REBUILD}"
        )

    def _get(self, number: int, row: dict[str, Any], key: str) -> Any:
        if key not in row:
            self._refuse(number, row, key, "is missing")
        return row[key]

    def _features(self, number: int, row: dict[str, Any]) -> npt.NDArray[np.float64]:
        values = self._get(number, row, "tabular_features")
        if not isinstance(values, np.ndarray):
            if not isinstance(values, list):
                self._refuse(number, row, "tabular_features", f"must be a list, got {type(values).__name__}")
            strange = next((v for v in values if type(v) not in (int, float, type(None))), "a number beyond 1e308")
            self._refuse(number, row, "tabular_features", f"must hold numbers and null, got {strange!r:.80}")
        if len(values) != len(self._names):
            self._refuse(
                number, row, "tabular_features", f"must have {len(self._names)} values, one a name, got {len(values)}"
            )
        return values

    def _text(self, number: int, row: dict[str, Any], key: str) -> str:
        value = self._get(number, row, key)
        if not isinstance(value, str) or not value:
            self._refuse(number, row, key, f"must be text, got {value!r:.80}")
        return sys.intern(value)

    def _place(self, number: int, row: dict[str, Any], key: str) -> int:
        value = self._get(number, row, key)
        if type(value) is not int or not 1 <= value <= _MAX_PLACES:
            self._refuse(number, row, key, f"must be a whole number of 1 or more, got {value!r:.80}")
        return value

    def _flag(self, number: int, row: dict[str, Any], key: str) -> bool:
        value = self._get(number, row, key)
        if type(value) is not bool:
            self._refuse(number, row, key, f"must be true or false, got {value!r:.80}")
        return value

    def _image_path(self, number: int, row: dict[str, Any]) -> str | None:
        value = self._get(number, row, "image_path")
        if value is not None and (not isinstance(value, str) or not value or "\0" in value):
            self._refuse(number, row, "image_path", f"must be a path or null (no picture), got {value!r:.80}")
        return value

    def _splits(self, rows: list[dict[str, Any]]) -> list[str] | None:
        if not any("split" in row for row in rows):
            return None
        return [self._text(number, row, "split") for number, row in enumerate(rows)]

    def _starters(
        self, rows: list[dict[str, Any]], races: list[str], horizons: list[str], positions: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        fields = Counter(zip(races, horizons, strict=True))
        for key, position in zip(zip(races, horizons, strict=True), positions.tolist(), strict=True):
            fields[key] = max(fields[key], position)
        starters = np.empty(len(rows), dtype=np.int64)
        for number, row in enumerate(rows):
            if "n_starters" not in row:
                starters[number] = fields[races[number], horizons[number]]
                continue
            starters[number] = self._place(number, row, "n_starters")
            if positions[number] > starters[number]:
                self._refuse(number, row, "label", f"is {positions[number]}, but the field has {starters[number]} cars")
        return starters
