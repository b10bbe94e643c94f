"""The figures of one race: pace, laps, stops, retirements, order and gaps, each a plain number.

Formulas only; which figures there are, and their averages by era, are in `figures`. A figure that a race cannot tell
is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f1_predict.sources.simulator.race_arrays import Bools, Floats, Ints, RaceArrays, Reading, median

ACCIDENTS = ("Collision", "Accident", "Spun off", "Collision damage", "Fatal accident", "Debris")
"""Statuses of retirements that were no breakdown."""
LAPS_OF_A_PACE = 15
"""Racing laps from which a driver's pace in a race is read."""
CLOSE_S = 1.5
"""A car this near to the one ahead is in its traffic."""
LAGS = (1, 5, 10, 20)
"""Laps between the two of an autocorrelation."""


def pace(reading: Reading) -> Floats:
    """Each driver's usual lap against the field's, in per cent: (cars,); NaN = too few racing laps."""
    usual = median(np.where(reading.clean, reading.relative, np.nan), axis=0)
    return np.asarray(np.where(reading.clean.sum(axis=0) >= LAPS_OF_A_PACE, 100.0 * usual, np.nan))


def pace_figures(race: RaceArrays, reading: Reading) -> dict[str, float]:
    """How far apart the drivers are."""
    own = pace(reading)
    known = own[~np.isnan(own)]
    best_s = race.qualifying_s
    qualifying = 100.0 * (best_s / _middle(best_s) - 1.0)
    if known.size < 6:
        return {}
    low, high = np.quantile(known, [0.25, 0.75])
    return {
        "pace_spread": float(known.std(ddof=1)),
        "pace_iqr": float(high - low),
        "pace_front": float(_middle(own) - known.min()),
        "team_mate_gap": _team_mates(race.team, own),
        "qualifying_spread": _spread(qualifying),
        "qualifying_pace": correlation(qualifying, own),
    }


def lap_figures(race: RaceArrays, reading: Reading) -> dict[str, float]:
    """How a driver's laps differ from one to the next, over a stint and over the race."""
    own = np.where(reading.clean, 100.0 * reading.relative, np.nan)
    steady = own - median(own, axis=0)
    steady[:, reading.clean.sum(axis=0) < LAPS_OF_A_PACE] = np.nan
    step = np.abs(np.diff(steady, axis=0))
    step = step[~np.isnan(step)]
    if step.size < 100:
        return {}
    usual = float(np.median(step))
    inside = steady[~np.isnan(steady)]
    laps = race.time_s.shape[0]
    green = np.where(reading.slow, np.nan, reading.field_s)
    early, late = _middle(green[laps // 10 : 3 * laps // 10]), _middle(green[8 * laps // 10 :])
    racing = np.isfinite(race.time_s) & ~reading.slow[:, None] & ~reading.stop & (reading.age > 0)
    racing[:2] = False
    return {
        "lap_noise": 1.4826 * usual / np.sqrt(2.0),
        "lap_tail": float(np.quantile(step, 0.95)) / usual,
        "own_spread": float(np.diff(np.quantile(inside, [0.1, 0.9]))[0]),
        "mistakes": 100.0 * float((racing & ~reading.clean).sum() / max(racing.sum(), 1)),
        "trend": 100.0 * (late / early - 1.0),
        "wear_slope": _wear(own, reading.age, reading.clean),
        **{f"autocorrelation_{lag}": _autocorrelation(steady, lag) for lag in LAGS},
    }


def stop_figures(race: RaceArrays, reading: Reading) -> dict[str, float]:
    """Stops of the classified cars: recorded ones, and those that lap times show."""
    laps = race.time_s.shape[0]
    finishers = race.classified & (race.laps_done > 0)
    seen = reading.stop[:, finishers[: reading.stop.shape[1]]]
    first = np.where(seen.any(axis=0), (seen.argmax(axis=0) + 1) / laps, np.nan)
    losses = reading.loss_s[~np.isnan(reading.loss_s)]
    figures = {
        "stops_seen": float(seen.sum() / max(finishers.sum(), 1)),
        "first_stop": _middle(first),
        "pit_loss": float(np.median(losses)) if losses.size > 4 else np.nan,
    }
    if race.pit_in is not None:
        figures["stops_recorded"] = float(race.pit_in[:, finishers].sum() / max(finishers.sum(), 1))
        recorded, shown = int(race.pit_in[:-1].sum()), int(reading.stop.sum())
        figures["stops_shown"] = 100.0 * float((race.pit_in & reading.stop).sum() / recorded) if recorded else np.nan
        near = race.pit_in.copy()  # the lap before or after, where the line lies beyond the pits
        near[1:] |= race.pit_in[:-1]
        near[:-1] |= race.pit_in[1:]
        figures["stops_false"] = 100.0 * float((reading.stop & ~near).sum() / shown) if shown else np.nan
    return figures


def trouble_figures(race: RaceArrays, reading: Reading) -> dict[str, float]:
    """Retirements, safety cars and rain."""
    laps = race.time_s.shape[0]
    out = race.retired
    crashed = np.array([reason in ACCIDENTS for reason in race.reason])
    front = (race.grid > 0) & (race.grid <= out.size // 2)
    figures = {
        "starters": float(out.size),
        "retired": float(out.sum()),
        "retired_by_accident": float((out & crashed).sum()),
        "retired_by_fault": float((out & ~crashed).sum()),
        "retired_front": 100.0 * float((out & front).sum() / out.sum()) if out.any() else np.nan,
        "out_on_lap_1": float((out & (race.laps_done < 1)).sum()),
        "out_in_second_half": float((out & (race.laps_done > 0.5 * laps)).sum()),
        "classified": 100.0 * float(race.classified.mean()),
        "slow_phases": float(phases(reading.slow)),
        "slow_laps": 100.0 * float(reading.slow.mean()),
    }
    if race.wet is not None:
        figures["wet"] = 100.0 * race.wet
    if race.status is not None:
        figures |= _flags(race.status)
    return figures


def order_figures(race: RaceArrays, reading: Reading) -> dict[str, float]:
    """Changes of places, and how much an order says of the result."""
    cars = race.grid.size
    laps = race.place.shape[0]
    grid = np.where(race.grid > 0, race.grid, np.nan).astype(np.float64)
    result = np.arange(1.0, cars + 1.0)
    swapped = _swaps(race.place)
    running = (~np.isnan(race.place[1:])).sum(axis=1)
    green = ~(reading.slow[1:] | reading.slow[:-1]) & (running > 5)
    both = reading.clean[1:, :, None] & reading.clean[1:, None, :]
    passes = (swapped & both).sum(axis=(1, 2)) / 2.0
    started = _swaps(np.stack([grid, race.place[0]]))[0].sum() / 2.0
    first = int(np.argmin(np.where(race.grid > 0, race.grid, 99)))
    figures = {
        "changes_lap_1": float(started),
        "changes": _average((swapped.sum(axis=(1, 2)) / 2.0)[green]),
        "passes": _average(passes[green]),
        "grid_result": correlation(grid, result, ranks=True),
        "pole_wins": 100.0 * (first == 0),
    }
    for share in (0.25, 0.5, 0.75):
        place = race.place[min(int(share * laps), laps - 1)]
        figures[f"order_{round(100 * share)}"] = correlation(place, result, ranks=True)
    return figures


def gap_figures(race: RaceArrays, reading: Reading) -> dict[str, float]:
    """Gaps in seconds at the end and on the way (at a car's last lap, so a lapped car's too), and cars lapped."""
    laps = race.time_s.shape[0]
    lead_s = _fastest(race.end_s)
    gap_s = race.end_s - lead_s[:, None]
    driven = np.minimum(race.laps_done, laps)
    figures = {"lapped": 100.0 * float(np.mean(driven[race.classified] < laps)) if race.classified.any() else np.nan}
    for place in (2, 5, 10):
        if place <= driven.size and driven[place - 1] > 0 and race.classified[place - 1]:
            figures[f"gap_{place}"] = float(gap_s[driven[place - 1] - 1, place - 1])
    middle = slice(laps // 4, 3 * laps // 4)
    green = ~reading.slow[middle]
    ordered = np.sort(gap_s[middle][green], axis=1)
    ahead = np.diff(ordered, axis=1)
    ahead = ahead[~np.isnan(ahead)]
    half = gap_s[min(laps // 2, laps - 1)]
    half = half[~np.isnan(half)]
    if ahead.size > 50 and half.size > 5:
        figures["close"] = 100.0 * float(np.mean(ahead < CLOSE_S))
        figures["gap_ahead"] = float(np.median(ahead))
        figures["field_length"] = float(np.median(half))
    return figures


def phases(marked: Bools) -> int:
    """How many runs of marked laps there are; a single lap between two runs does not part them."""
    filled = marked.copy()
    filled[1:-1] |= marked[:-2] & marked[2:]
    return int(np.sum(np.diff(filled.astype(np.int64), prepend=0) == 1))


def correlation(one: Floats, other: Floats, ranks: bool = False) -> float:
    """Pearson's correlation, or Spearman's, of the pairs without NaN; NaN for fewer than six."""
    known = ~(np.isnan(one) | np.isnan(other))
    if known.sum() < 6:
        return float("nan")
    one, other = one[known], other[known]
    if ranks:
        one, other = one.argsort().argsort().astype(np.float64), other.argsort().argsort().astype(np.float64)
    if one.std() == 0.0 or other.std() == 0.0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _fastest(end_s: Floats) -> Floats:
    return np.asarray(np.where(np.isnan(end_s), np.inf, end_s).min(axis=1))


def _middle(values: Floats) -> float:
    return float(median(values[:, None], axis=0)[0]) if values.size else float("nan")


def _average(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _spread(values: Floats) -> float:
    known = values[~np.isnan(values)]
    known = known[known < 5.0]  # laps in changing weather, or with trouble
    return float(known.std(ddof=1)) if known.size > 9 else float("nan")


def _flags(status: NDArray[np.str_]) -> dict[str, float]:
    """Safety cars and red flags by the status codes that most cars saw on a lap."""
    seen = np.maximum((status != "").sum(axis=1), 1)
    share = {code: (np.char.find(status, code) >= 0).sum(axis=1) / seen for code in "4567"}
    real = share["4"] > 0.5
    return {
        "safety_cars": float(phases(real)),
        "virtual_safety_cars": float(phases((np.maximum(share["6"], share["7"]) > 0.5) & ~real)),
        "red_flags": float(phases(share["5"] > 0.3)),
    }


def _team_mates(team: list[str], own: Floats) -> float:
    first: dict[str, float] = {}
    gaps = []
    for name, value in zip(team, own.tolist(), strict=True):
        if name in first:
            gaps.append(abs(value - first[name]))
        first.setdefault(name, value)
    known = [gap for gap in gaps if gap == gap]
    return float(np.mean(known)) if known else float("nan")


def _autocorrelation(steady: Floats, lag: int) -> float:
    if steady.shape[0] <= lag:
        return float("nan")
    one, other = steady[:-lag], steady[lag:]
    known = ~(np.isnan(one) | np.isnan(other))
    return correlation(one[known], other[known])


def _wear(own: Floats, age: Ints, clean: Bools) -> float:
    """Per cent lost per lap of tyre age, against cars on the same lap with tyres of another age.

    Least squares of relative pace on age with effects of laps and drivers, by demeaning both in turn.
    """
    weight = clean.astype(np.float64)
    left, right = np.nan_to_num(own), np.where(clean, age, 0).astype(np.float64)
    for _ in range(6):
        for axis in (0, 1):
            count = np.maximum(weight.sum(axis=axis, keepdims=True), 1.0)
            left = weight * (left - left.sum(axis=axis, keepdims=True) / count)
            right = weight * (right - right.sum(axis=axis, keepdims=True) / count)
    return float((left * right).sum() / (right * right).sum()) if (right * right).sum() > 1.0 else float("nan")


def _swaps(place: Floats) -> Bools:
    """Pairs of cars that changed order from one row to the next: (rows - 1, cars, cars), both ways round."""
    before, after = place[:-1], place[1:]
    old, new = before[:, :, None] - before[:, None, :], after[:, :, None] - after[:, None, :]
    return np.asarray(old * new < 0)
