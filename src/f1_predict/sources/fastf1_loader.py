"""FastF1 itself behind a small interface: how a session is got, what may go wrong in it, and what of it is used.

Knows nothing of what is kept. FastF1 keeps the limits of the services that it asks, and caches their answers.
"""

from __future__ import annotations

import errno
import importlib
import io
import logging
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from f1_predict.errors import DiskError, DownloadError

_LOGGERS = ("fastf1", "requests_cache")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Session(Protocol):
    """What is used of a `fastf1.core.Session`."""

    laps: Any
    weather_data: Any
    car_data: Any

    def load(self, *, laps: bool, telemetry: bool, weather: bool, messages: bool) -> None:
        """Load the session's data, as far as it is to be had."""
        ...


class SessionError(Exception):
    """FastF1 could not load a session; never leaves `fastf1_live`."""


@dataclass(frozen=True)
class Loader:
    """How sessions are got.

    Attributes:
        get_session: FastF1's.
        version: of FastF1.
        errors: that it may raise.
        limit: the one of them that says that a service's limit is used up.
        uncached: within it nothing is taken from FastF1's own cache, nor put there.
    """

    get_session: Callable[[int, int, str], Session]
    version: str
    errors: tuple[type[Exception], ...]
    limit: type[Exception]
    uncached: Callable[[], AbstractContextManager[Any]] = nullcontext

    def load(self, season: int, round_: int, telemetry: bool, cached: bool) -> Session:
        """The race's session, loaded as far as it is to be had.

        Raises:
            SessionError: if it cannot be loaded.
            DownloadError: if FastF1 has used up a service's limit.
            DiskError: if the disk is full.
        """
        try:
            with _by_itself(), nullcontext() if cached else self.uncached():
                session = self.get_session(season, round_, "R")
                session.load(laps=True, telemetry=telemetry, weather=True, messages=False)
        except self.limit as error:
            raise DownloadError(
                f"{season}_race_{round_}: FastF1 has used up the hourly limit of a service ({error}). Start again in "
                "an hour: what was fetched is kept."
            ) from error
        except self.errors as error:
            if getattr(error, "errno", None) in _FULL or "disk is full" in str(error):
                raise DiskError(
                    f"{season}_race_{round_}: FastF1 cannot write to its cache ({error}). Free the place, or choose "
                    "another with --raw; what was fetched before is kept."
                ) from error
            raise SessionError(f"{type(error).__name__}: {str(error)[:120]}") from error
        except SystemExit as error:  # it ends the program where an answer fails to come
            raise SessionError("FastF1 gave up on an answer that failed to come") from error
        return session

    def frame(self, session: Session, name: str) -> Any:
        """One of the session's pandas frames; None where it was not loaded, or has no rows."""
        try:
            frame = getattr(session, name)
        except self.errors:
            return None
        return None if frame is None or len(frame) == 0 else frame


def real_loader(cache_folder: Path) -> Loader:
    """FastF1 itself, with its own cache in the folder.

    Its import takes a second and brings pandas along, so it is made here and not with this module.
    """
    fastf1 = importlib.import_module("fastf1")
    exceptions = importlib.import_module("fastf1.exceptions")
    requests = importlib.import_module("requests")
    cache_folder.mkdir(parents=True, exist_ok=True)
    configure = getattr(fastf1.Cache, "configure", None)
    if configure is None:  # before 3.9
        fastf1.Cache.enable_cache(str(cache_folder))
    else:
        configure(cache_dir=str(cache_folder))
    _hush()
    names = ("DataNotLoadedError", "ErgastError", "NoLapDataError", "F1AuthError", "FastF1CriticalError")
    own = [kind for name in names if (kind := getattr(exceptions, name, None)) is not None]
    # What a half-answered service, or a damaged cache, makes FastF1 stumble over inside, besides its own errors.
    inner = (requests.RequestException, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)
    kinds = (*own, *inner, sqlite3.Error, EOFError, ArithmeticError)
    return Loader(
        fastf1.get_session,
        str(fastf1.__version__),
        kinds,
        exceptions.RateLimitExceededError,
        fastf1.Cache.disabled,
    )


def _hush() -> None:
    """Keep FastF1's messages, which are many, with tracebacks, from the program's log unless that is a talkative one.

    What is missing is listed after each load.
    """
    talkative = logging.getLogger().isEnabledFor(logging.INFO)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO if talkative else logging.CRITICAL + 1)


@contextmanager
def _by_itself() -> Iterator[None]:
    """Keep FastF1 from the terminal: it asks for an account there, and pandas warns of what it does inside.

    It signs in with F1_USERNAME and F1_PASSWORD where they are set, and otherwise goes on without. A warning that
    were made an error would be swallowed by it, and the data with it.
    """
    terminal, sys.stdin = sys.stdin, io.StringIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdin = terminal
