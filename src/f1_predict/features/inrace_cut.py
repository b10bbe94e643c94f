"""What all in-race features start from: the field at the cut, its order, neighbours, gaps and stops.

Race-local, a pure function of one Snapshot. Knows nothing of results or of other races.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from f1_predict.features.inrace_laps import Bools, LapGrid, mean
from f1_predict.features.order import running_order, start_order
from f1_predict.features.sessions import Field, Floats, Mates, teammates
from f1_predict.horizon import Snapshot

STOP_COST_S = 22.0
"""What a stop costs until STOPS_KNOWN stops of the race tell."""
STOPS_KNOWN = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """A field of n cars at a cut, rows in the order of the entries.

    Attributes:
        snapshot, grid: the Snapshot, and its laps as matrices.
        place, start: (n,) running order and starting order, 1..n (see order.py).
        running: (n,) bool, not stopped.
        by_place: rows of the running cars, first to last.
        gap: (n,) seconds behind the leader at the end of the car's last lap; NaN for stopped cars and without a lap.
        lap_s: what a lap takes the field at present, in seconds; NaN before the field has a lap.
        mates: (n, n) bool, see `teammates`.
    """

    snapshot: Snapshot
    grid: LapGrid
    place: Floats
    start: Floats
    running: Bools
    by_place: npt.NDArray[np.int64]
    gap: Floats
    lap_s: float
    mates: Mates

    @classmethod
    def of(cls, snapshot: Snapshot) -> Cut:
        """The field of a Snapshot."""
        grid = LapGrid.of(snapshot)
        place, stopped = running_order(snapshot)
        order = np.argsort(place)
        by_place = order[~stopped[order]]
        leader = int(by_place[0]) if len(by_place) else int(order[0])
        lapped = grid.completed > 0
        to_leader = grid.at(grid.ends, grid.completed) - _at_row(grid.ends, leader, grid.completed)
        return cls(
            snapshot=snapshot,
            grid=grid,
            place=place.astype(np.float64),
            start=start_order(snapshot).astype(np.float64),
            running=~stopped,
            by_place=by_place,
            gap=np.where(lapped & ~stopped, to_leader, np.nan),
            lap_s=_recent_lap(grid.typical),
            mates=teammates(Field.of(snapshot.entries).constructor_ids),
        )

    @property
    def laps_left(self) -> float:
        """Scheduled laps less laps completed by the leader, 0 or more."""
        return float(max(self.snapshot.race.scheduled_laps - self.snapshot.cutoff_lap, 0))

    def neighbour(self, steps: int) -> npt.NDArray[np.int64]:
        """Row of the car so many places behind (negative: ahead) among the running; -1 = none."""
        rows = np.full(len(self.place), -1)
        at = np.arange(len(self.by_place)) + steps
        inside = (at >= 0) & (at < len(self.by_place))
        rows[self.by_place[inside]] = self.by_place[at[inside]]
        return rows

    def less(self, values: Floats, other: npt.NDArray[np.int64]) -> Floats:
        """Own value less that of another row; NaN where there is none (-1)."""
        return np.where(other >= 0, values - values[other], np.nan)

    def gap_to(self, other: npt.NDArray[np.int64], laps_ago: int = 0) -> Floats:
        """Time behind another row (-1 = none) at the end of the last lap of both, or some laps before it."""
        lap = np.minimum(self.grid.completed, self.grid.completed[other]) - laps_ago
        own, others = self.grid.at(self.grid.ends, lap), self.grid.at(self.grid.ends[other], lap)
        return np.where(other >= 0, own - others, np.nan)

    def only_running(self, values: Floats) -> Floats:
        """(n,) values, NaN for cars that have stopped."""
        return np.where(self.running, values, np.nan)

    def field_mean(self, values: Floats) -> float:
        """Mean of the known values of the running cars; NaN without one."""
        return float(mean(self.only_running(values)[None, :])[0])


def _at_row(values: Floats, row: int, lap: npt.NDArray[np.int64]) -> Floats:
    return np.where(lap >= 1, values[row, np.maximum(lap, 1) - 1], np.nan)


def _recent_lap(typical: Floats) -> float:
    """Median of the field's last known lap times, in seconds; NaN without any."""
    known = typical[~np.isnan(typical)]
    return float(np.median(known[-5:])) if len(known) else float("nan")


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
    cost = float(np.clip(np.median(costs), 5.0, 60.0)) if len(costs) >= STOPS_KNOWN else STOP_COST_S
    return Stops(grid.pit_in.sum(axis=1).astype(np.float64), last, cost)
