"""Past races as records: what is kept of each start of each driver.

Race-local: a record follows from the rows of its own race alone, so that records made from a
whole archive and from any earlier part of it are equal. Knows nothing of the race to forecast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from f1_predict.features.pace import race_pace
from f1_predict.features.sessions import Field, Floats, field_rank, grid_rank, less_teammates, relative, teammates
from f1_predict.schemas import Tables


class Start(NamedTuple):
    """One start of one driver. Shares of the field run from 0 (first) to 1 (last); NaN = unknown.

    Attributes:
        season, circuit_id, constructor_id: where and for whom.
        finish: finishing position as share of the field.
        finish_classified: the same among the classified, NaN if not classified.
        classified: 1.0 or 0.0.
        teammate: own finish less the mean finish of the teammates, NaN without one.
        pace: race pace relative to the field (see `race_pace`).
    """

    season: int
    circuit_id: str
    constructor_id: str
    finish: float
    finish_classified: float
    classified: float
    teammate: float
    pace: float


@dataclass(frozen=True, slots=True)
class RaceRecord:
    """One past race: its starters (entries with a result) in row order, and what the race was like.

    Attributes:
        race_id, season, circuit_id: from the calendar.
        field: their n entries.
        position: (n,) ranks 1..n of the result.
        classified: (n,) 1.0 or 0.0.
        starts: n starts.
        finish_rate: share of the starters classified, NaN without starters.
        grid_correlation: Spearman's rank correlation of grid and result, NaN with fewer than 3 cars.
    """

    race_id: str
    season: int
    circuit_id: str
    field: Field
    position: Floats
    classified: Floats
    starts: list[Start]
    finish_rate: float
    grid_correlation: float


def race_records(tables: Tables) -> Iterator[RaceRecord]:
    """The records of all races of the tables, in the order of time, races without a result too."""
    races = tables.races.sort("season", "round")
    order = races.select("race_id", _race=pl.int_range(pl.len(), dtype=pl.Int32))
    starters = (
        tables.entries.join(tables.results, on=["race_id", "driver_id"])
        .join(race_pace(tables.laps), on=["race_id", "driver_id"], how="left")
        .join(order, on="race_id")
        .sort("_race", "driver_id")
    )
    field = Field.of(starters)
    position = starters["position"].cast(pl.Float64).to_numpy()
    classified = starters["classified"].cast(pl.Float64).to_numpy()
    pace = starters["pace"].to_numpy()
    ends = np.searchsorted(starters["_race"].to_numpy(), np.arange(races.height), side="right").tolist()
    start = 0
    for race_id, season, circuit_id, end in zip(
        races["race_id"], races["season"], races["circuit_id"], ends, strict=True
    ):
        yield _record(
            (race_id, season, circuit_id),
            field.rows(start, end),
            position[start:end],
            classified[start:end],
            pace[start:end],
        )
        start = end


def _record(race: tuple[str, int, str], field: Field, position: Floats, classified: Floats, pace: Floats) -> RaceRecord:
    n = len(field)
    if n == 0:
        return RaceRecord(*race, field, position, classified, [], np.nan, np.nan)
    _, season, circuit_id = race
    grid = grid_rank(field.grid)
    position = field_rank(position)  # 1..n among those with an entry
    finish = relative(position)
    finish_classified = np.full(n, np.nan)
    chosen = classified == 1.0
    finish_classified[chosen] = relative(field_rank(position[chosen]))
    versus = less_teammates(finish, teammates(field.constructor_ids))
    values = np.column_stack((finish, finish_classified, classified, versus, pace)).tolist()
    starts = [Start(season, circuit_id, team, *row) for team, row in zip(field.constructor_ids, values, strict=True)]
    # Spearman's formula for ranks without ties.
    correlation = 1.0 - 6.0 * float(((grid - position) ** 2).sum()) / (n * (n * n - 1.0)) if n >= 3 else np.nan
    return RaceRecord(*race, field, position, classified, starts, float(classified.mean()), correlation)
