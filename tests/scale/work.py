"""Work to be done in other processes."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from f1_predict.errors import ArtefactError, NotFoundError, SourceFileError


def double(number: int) -> int:
    return 2 * number


def here(number: int) -> tuple[int, str]:
    return os.getpid(), os.getcwd()


def fail(number: int) -> int:
    if number == 3:
        raise SourceFileError("there is no 3", file=Path("laps.csv"), remedy="Add one.", row=3)
    return number


def miss(number: int) -> int:
    raise NotFoundError("race", "2024_rac", ["2024_race_1"])


def die(number: int) -> int:
    os._exit(1)


def warn(number: int) -> int:
    logging.getLogger("f1_predict.test").warning("number %d is odd", number)
    logging.getLogger("f1_predict.test").info("nobody asked")
    return number


def refuse(number: int) -> int:
    raise ArtefactError("the disk is full.")
