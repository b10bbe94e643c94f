"""Horizons: the moments at which a forecast may be made. Knows nothing of data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from f1_predict.errors import HorizonError


@dataclass(frozen=True)
class PreRace:
    """Everything up to the start: entries, grid, qualifying, practice, all earlier races."""

    @property
    def name(self) -> str:
        """The name used in files and tables."""
        return "pre_race"

    @property
    def leaks(self) -> bool:
        """Whether a forecast at this horizon could see its own answer."""
        return False


@dataclass(frozen=True)
class AfterLap:
    """The moment at which the leader completes lap `lap` (1 or more).

    Raises:
        HorizonError: if `lap` is less than 1.
    """

    lap: int

    def __post_init__(self) -> None:
        if self.lap < 1:
            raise HorizonError(f"AfterLap needs a lap of 1 or more, got {self.lap}. Use PreRace() for the start.")

    @property
    def name(self) -> str:
        """The name used in files and tables."""
        return f"lap_{self.lap}"

    @property
    def leaks(self) -> bool:
        """Whether a forecast at this horizon could see its own answer."""
        return False


@dataclass(frozen=True)
class FullRace:
    """All laps of a finished race: for describing it, never for forecasting it."""

    @property
    def name(self) -> str:
        """The name used in files and tables."""
        return "full_race"

    @property
    def leaks(self) -> bool:
        """Whether a forecast at this horizon could see its own answer."""
        return True


Horizon = PreRace | AfterLap | FullRace


def parse_horizon(text: str) -> Horizon:
    """The horizon of a name: "pre_race", "lap_20" or "full_race".

    Raises:
        HorizonError: if the text is none of these.
    """
    if text == "pre_race":
        return PreRace()
    if text == "full_race":
        return FullRace()
    match = re.fullmatch(r"lap_(\d+)", text)
    if match is None:
        raise HorizonError(f"'{text}' is no horizon. Use 'pre_race', 'lap_20' (any lap) or 'full_race'.")
    return AfterLap(int(match[1]))


def lap_of_fraction(fraction: float, scheduled_laps: int) -> int:
    """The lap of a fraction of the scheduled distance: max(1, floor(fraction x laps)).

    Raises:
        HorizonError: if the fraction is not in (0, 1].
    """
    if not 0.0 < fraction <= 1.0:
        raise HorizonError(f"a fraction of the race must be in (0, 1], got {fraction}.")
    return max(1, int(fraction * scheduled_laps))
