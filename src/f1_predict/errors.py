"""Every error that f1-predict raises on purpose.

Foreign errors (files, parsers, torch) are mapped to one of these at the edge where they
occur; nothing below catches them again. The command line turns any of them into one line
and exit code 1.

::

    F1PredictError
    ├── ConfigError            a setting that cannot be used
    ├── DataError              data that cannot be used
    │   ├── SourceFileError    a foreign file: names file, row, column and remedy
    │   ├── SchemaError        a canonical table that breaks its schema
    │   ├── StoreError         the processed store is missing, incomplete or in use
    │   ├── DiskError          answers of a data service that cannot be written to the disk, or read from it
    │   └── DownloadError      a data service that cannot be reached, or whose answers cannot be used
    ├── NotFoundError          a race, driver or file that is not there; names the closest
    ├── AmbiguousError         a name that several races or drivers have
    ├── HorizonError           a cut that the race does not reach
    ├── FeatureError           a feature table that differs from the one fitted on
    ├── LabelError             a label outside the model's classes
    ├── PictureError           lap data that cannot be drawn, or a refused picture path
    └── ArtefactError          a model folder, cache or dataset that cannot be read
        └── WeightsError       backbone weights that are not to be had, or the wrong ones
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path


class F1PredictError(Exception):
    """Base of all errors raised on purpose by f1-predict."""

    def __reduce__(self) -> tuple[Callable[..., F1PredictError], tuple[object, ...]]:
        """Processes send errors to one another as they read, whatever they were made from."""
        return _read_again, (type(self), str(self), vars(self))


def _read_again(kind: type[F1PredictError], message: str, facts: dict[str, object]) -> F1PredictError:
    error = kind.__new__(kind)
    error.args = (message,)
    vars(error).update(facts)
    return error


class ConfigError(F1PredictError):
    """A setting that cannot be used; the message names it and what it must be."""


class DataError(F1PredictError):
    """Data that cannot be used."""


class SourceFileError(DataError):
    """A foreign file that cannot be read as what it claims to be.

    Args:
        problem: what is wrong, as a sentence without a full stop.
        file: the file or folder.
        remedy: what the user can do about it.
        row: 1-based line in the file (the header is line 1), where known.
        column: the column's name, where known.
    """

    def __init__(
        self, problem: str, *, file: Path | str, remedy: str, row: int | None = None, column: str | None = None
    ) -> None:
        self.file, self.row, self.column, self.remedy = str(file), row, column, remedy
        where = str(file)
        if row is not None:
            where += f", line {row}"
        if column is not None:
            where += f", column '{column}'"
        super().__init__(f"{where}: {problem}. {remedy}")


class SchemaError(DataError):
    """A canonical table that breaks its schema."""


class StoreError(DataError):
    """The processed store is missing, incomplete or in use."""


class DiskError(DataError):
    """Answers of a data service that cannot be written to the disk, or read from it; what was there stays."""


class DownloadError(DataError):
    """A data service that cannot be reached, or whose answers cannot be used; nothing of them was stored."""


class NotFoundError(F1PredictError):
    """Something asked for by name that is not there.

    Args:
        kind: what was looked for ("race", "driver").
        name: the name asked for.
        known: the names there are; the three closest are put into the message.
        remedy: what to do, after the hint.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str = "") -> None:
        names = list(known)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"Did you mean {', '.join(close)}?" if close else f"There are {len(names)} to choose from."
        super().__init__(f"no {kind} '{name}'. {hint} {remedy}".rstrip())


class AmbiguousError(F1PredictError):
    """A name that several races or drivers have; the message names them."""


class HorizonError(F1PredictError):
    """A cut that the race does not reach, or a horizon that does not parse."""


class FeatureError(F1PredictError):
    """A feature table that differs from the one that was fitted on."""


class LabelError(F1PredictError):
    """A label outside the model's classes; the message names race and driver."""


class PictureError(F1PredictError):
    """Lap data that cannot be drawn, or a picture path that would leave its folder."""


class ArtefactError(F1PredictError):
    """A model folder, cache or dataset file that cannot be read."""


class WeightsError(ArtefactError):
    """Backbone weights that are not to be had, or that differ from a model's manifest."""
