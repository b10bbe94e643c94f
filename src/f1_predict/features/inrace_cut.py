"""What all in-race features start from: the field at the cut, its order, neighbours, gaps and stops.

Race-local, a pure function of one Snapshot. Knows nothing of results or of other races.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from f1_predict.features.inrace_laps import Bools, LapGrid, mean, middle
from f1_predict.features.order import running_order, start_order
from f1_predict.features.sessions import Field, Floats, Mates, teammates
from f1_predict.horizon import Snapshot, at_lap

STOP_COST_S = 22.0
"""What a stop costs until STOPS_KNOWN stops of the race tell."""
STOPS_KNOWN = 3


@dataclass(frozen=True, slots=True)
class LineUp:
    """What the entries of a race of n cars say, at every cut of it alike.

    Attributes:
        start: (n,) int64 starting order, 1..n (see order.py).
        mates: (n, n) bool, see `teammates`.
        best_s: the best time of qualifying and practice, in seconds; NaN without any.
    """

    start: npt.NDArray[np.int64]
    mates: Mates
    best_s: float

    @classmethod
    def of(cls, snapshot: Snapshot) -> LineUp:
        """The line-up of a Snapshot's race."""
        field = Field.of(snapshot.entries)
        sessions = np.concatenate([field.qualifying, field.practice], axis=1)
        best_s = float(np.fmin.reduce(sessions, axis=None, initial=np.nan))
        return cls(start_order(snapshot), teammates(field.constructor_ids), best_s)


@dataclass(frozen=True, slots=True)
class Cut:
    """A field of n cars at a cut, rows in the order of the entries.

    Attributes:
        snapshot, line_up, grid: the Snapshot, its line-up, and its laps as matrices.
        place, start: (n,) running order and starting order, 1..n (see order.py).
        running: (n,) bool, not stopped.
        by_place: rows of the running cars, first to last.
        gap: (n,) seconds behind the leader at the end of the car's last lap; NaN for stopped cars and without a lap.
        lap_s: what a lap takes the field at present, in seconds; NaN before the field has a lap.
        neighbours: of -2, -1, 1 and 2, see `neighbour`.
    """

    snapshot: Snapshot
    line_up: LineUp
    grid: LapGrid
    place: Floats
    start: Floats
    running: Bools
    by_place: npt.NDArray[np.int64]
    gap: Floats
    lap_s: float
    neighbours: Mapping[int, npt.NDArray[np.int64]]

    @classmethod
    def of(cls, snapshot: Snapshot, line_up: LineUp | None = None) -> Cut:
        """The field of a Snapshot; `line_up` is that of any cut of the race, None: made here."""
        line_up = line_up or LineUp.of(snapshot)
        grid = LapGrid.of(snapshot)
        place, stopped = running_order(snapshot, line_up.start)
        order = np.argsort(place)
        by_place = order[~stopped[order]]
        leader = int(by_place[0]) if len(by_place) else int(order[0])
        lapped = grid.completed > 0
        to_leader = at_lap(grid.ends, grid.completed) - _at_row(grid.ends, leader, grid.completed)
        return cls(
            snapshot=snapshot,
            line_up=line_up,
            grid=grid,
            place=place.astype(np.float64),
            start=line_up.start.astype(np.float64),
            running=~stopped,
            by_place=by_place,
            gap=np.where(lapped & ~stopped, to_leader, np.nan),
            lap_s=_recent_lap(grid.typical),
            neighbours={steps: _neighbour(len(place), by_place, steps) for steps in (-2, -1, 1, 2)},
        )

    @property
    def mates(self) -> Mates:
        """(n, n) bool, see `teammates`."""
        return self.line_up.mates

    @property
    def laps_left(self) -> float:
        """Scheduled laps less laps completed by the leader, 0 or more."""
        return float(max(self.snapshot.race.scheduled_laps - self.snapshot.cutoff_lap, 0))

    def neighbour(self, steps: int) -> npt.NDArray[np.int64]:
        """Row of the car one or two places behind (negative: ahead) among the running; -1 = none."""
        return self.neighbours[steps]

    def less(self, values: Floats, other: npt.NDArray[np.int64]) -> Floats:
        """Own value less that of another row; NaN where there is none (-1)."""
        return np.where(other >= 0, values - values[other], np.nan)

    def gaps(self, laps_ago: int = 0) -> Floats:
        """(n, n) time of car i behind car j at the end of the last lap of both, or some laps before it."""
        lap = np.minimum(self.grid.completed[:, None], self.grid.completed[None, :]) - laps_ago
        cars, column, ends = np.arange(len(lap)), np.maximum(lap, 1) - 1, self.grid.ends
        return np.where(lap >= 1, ends[cars[:, None], column] - ends[cars[None, :], column], np.nan)

    def only_running(self, values: Floats) -> Floats:
        """(n,) values, NaN for cars that have stopped."""
        return np.where(self.running, values, np.nan)

    def field_mean(self, values: Floats) -> float:
        """Mean of the known values of the running cars; NaN without one."""
        return float(mean(self.only_running(values)[None, :])[0])


def to_row(values: Floats, other: npt.NDArray[np.int64]) -> Floats:
    """values[i, other i] of a (n, n) matrix: (n,); NaN where there is none (-1)."""
    return np.where(other >= 0, values[np.arange(len(values)), other], np.nan)


def _neighbour(n: int, by_place: npt.NDArray[np.int64], steps: int) -> npt.NDArray[np.int64]:
    rows = np.full(n, -1)
    if steps > 0:
        rows[by_place[:-steps]] = by_place[steps:]
    else:
        rows[by_place[-steps:]] = by_place[:steps]
    return rows


def _at_row(values: Floats, row: int, lap: npt.NDArray[np.int64]) -> Floats:
    return np.where(lap >= 1, values[row, np.maximum(lap, 1) - 1], np.nan)


def _recent_lap(typical: Floats) -> float:
    """Median of the field's last known lap times, in seconds; NaN without any."""
    known = typical[~np.isnan(typical)]
    return middle(known[-5:]) if len(known) else float("nan")


@dataclass(frozen=True, slots=True)
class Stops:
    """Stops made (n,), lap of the last one (n,) with 0 = none, and what one has cost, in seconds."""

    count: Floats
    last: Floats
    cost: float


def stops_made(cut: Cut) -> Stops:
    """Stops up to the cut. One costs what its in-lap and out-lap took above the driver's usual pace."""
    grid = cut.grid
    laps = np.arange(1, grid.pit_in.shape[1] + 1, dtype=np.float64)
    last = np.where(grid.pit_in, laps[None, :], 0.0).max(axis=1)
    lost = (grid.ratio - grid.usual[:, None]) * grid.typical[None, :]
    lost = np.where(grid.caution[None, :], np.nan, lost)
    both = lost[:, :-1] + lost[:, 1:]
    costs = both[grid.pit_in[:, :-1] & ~np.isnan(both)]
    cost = min(max(middle(costs), 5.0), 60.0) if len(costs) >= STOPS_KNOWN else STOP_COST_S
    return Stops(grid.pit_in.sum(axis=1).astype(np.float64), last, cost)
