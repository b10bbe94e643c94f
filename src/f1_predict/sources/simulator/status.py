"""Track status as timing shows it: FastF1's codes seen during a lap, from the times of the incidents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f1_predict.sources.simulator.draws import Bools, Floats
from f1_predict.sources.simulator.incidents import SAFETY_CAR, VIRTUAL, YELLOW_S, Incidents

CODES = ("1", "12", "2", "24", "4", "41", "241", "26", "6", "67", "671", "267", "45", "51")
"""1 green, 2 yellow, 4 safety car, 5 red, 6 virtual safety car, 7 its end; in the order in which they were seen."""
_GREEN, _YELLOW_COMES, _YELLOW = 0, 1, 2
_CAUTION = {SAFETY_CAR: (3, 4, 5, 6), VIRTUAL: (7, 8, 9, 11)}  # comes, stays, goes, both
_GOES_EARLY = 10
_RED, _RESTART = 12, 13
_MOST_YELLOWS = 10


def span(begin: Floats, end: Floats, running: Bools) -> tuple[Floats, Floats]:
    """When the first car that runs begins its lap and the last one ends it: both (races,)."""
    return np.where(running, begin, np.inf).min(axis=1), np.where(running, end, -np.inf).max(axis=1)


class Statuses:
    """Index in CODES of laps of a block of races."""

    def __init__(self, incidents: Incidents) -> None:
        self.incidents = incidents
        stops = np.sort(incidents.stop_s, axis=1)[:, :_MOST_YELLOWS]
        self.yellow_s = stops[:, np.isfinite(stops).any(axis=0)]

    def __call__(self, begin: Floats, end: Floats, running: Bools) -> NDArray[np.int8]:
        """Status seen from `begin` to `end`, seconds on the clock, of the cars that run: int8 (races, cars)."""
        seen = np.zeros(begin.shape, dtype=np.int8)
        opens, closes = span(begin, end, running)
        for i in range(self.yellow_s.shape[1]):
            at = self.yellow_s[:, i]
            rows = np.flatnonzero((opens < at + YELLOW_S) & (closes > at))
            if not rows.size:
                continue
            from_s, first = at[rows, None], begin[rows]
            shown = (first < from_s + YELLOW_S) & (end[rows] > from_s)
            code = np.where(first >= from_s, _YELLOW, np.maximum(seen[rows], _YELLOW_COMES))
            seen[rows] = np.where(shown, code, seen[rows])
        for i in range(self.incidents.kind.shape[1]):
            self._caution(seen, begin, end, i, (opens, closes))
        return self._red(seen, begin, end)

    def _caution(self, seen: NDArray[np.int8], begin: Floats, end: Floats, i: int, span: tuple[Floats, Floats]) -> None:
        """Mark the laps that see the i-th caution of each race."""
        incidents, (opens, closes) = self.incidents, span
        rows = np.flatnonzero((opens < incidents.end_s[:, i]) & (closes > incidents.start_s[:, i]))
        if not rows.size:
            return
        first, last = begin[rows], end[rows]
        from_s, to_s = incidents.start_s[rows, i, None], incidents.end_s[rows, i, None]
        shown, comes, goes = (first < to_s) & (last > from_s), first < from_s, last > to_s
        for kind, (came, stays, went, both) in _CAUTION.items():
            code = np.where(comes, np.where(goes, both, came), np.where(goes, went, stays))
            if kind == VIRTUAL:
                code[(code == went) & (last - to_s > 0.3 * (last - first))] = _GOES_EARLY
            mine = shown & (incidents.kind[rows, i, None] == kind)
            seen[rows] = np.where(mine, code, seen[rows])

    def _red(self, seen: NDArray[np.int8], begin: Floats, end: Floats) -> NDArray[np.int8]:
        red, restart = self.incidents.red_s[:, None], self.incidents.restart_s[:, None]
        stopped: Bools = (begin < red) & (end >= red)
        seen[stopped] = _RED
        seen[(begin >= red) & (begin < restart) & np.isfinite(red)] = _RESTART
        return seen
