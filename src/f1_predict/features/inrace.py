"""From the laps up to a cut to what an expert would read off them: order, gaps, pace, stops, tyres, state of the race.

Race-local: a pure function of one Snapshot's calendar row, entries, laps and weather. Knows nothing of results, of
other races, or of the features known before the start (build.py).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from f1_predict.config import FeatureConfig
from f1_predict.features.conditions import recent_rain
from f1_predict.features.inrace_catalogue import IN_RACE_NAMES
from f1_predict.features.inrace_cut import Cut, LineUp, Stops, stops_made, to_row
from f1_predict.features.inrace_laps import from_the_end, last_known, mean, middle, spread
from f1_predict.features.sessions import Floats, field_rank
from f1_predict.horizon import Snapshot, at_lap
from f1_predict.schemas import COMPOUNDS

Columns = dict[str, Floats]
DEFAULTS = FeatureConfig()

LATE_LAPS = 1.25
"""A running car that last crossed the line so many of its usual laps ago is late."""
CLOSE_S = 5.0
SPAN = 5
"""Laps over which gaps close."""
NOISE_S = 3.0
"""What a projected gap errs by for each square root of a lap to come: at half distance about a stop."""
TREND_LAPS = 4
"""A stint has a trend with so many clean laps."""
WET_RATIO = 1.12
"""A field that laps so much slower than the best time of qualifying and practice, and not under caution, is in rain."""


def in_race(snapshot: Snapshot, config: FeatureConfig = DEFAULTS) -> pl.DataFrame:
    """The in-race features of all starters of one race at one cut.

    Returns:
        race_id, driver_id and IN_RACE_NAMES (Float64, null = unknown, else finite); one row per row of
        `snapshot.entries`, in that order.
    """
    keys = {"race_id": [snapshot.race_id] * snapshot.entries.height, "driver_id": snapshot.driver_ids}
    names = pl.DataFrame(keys, schema=dict.fromkeys(keys, pl.String))
    numbers = pl.from_numpy(
        in_race_values(snapshot, config), schema=dict.fromkeys(IN_RACE_NAMES, pl.Float64), orient="row"
    )
    return names.hstack(numbers.fill_nan(None))


def in_race_values(snapshot: Snapshot, config: FeatureConfig = DEFAULTS, line_up: LineUp | None = None) -> Floats:
    """As `in_race`, the numbers only: (n, len(IN_RACE_NAMES)) float64, NaN = unknown.

    `line_up` is `LineUp.of` any cut of the race, for those who ask for many; None: made here.
    """
    if snapshot.entries.is_empty():
        return np.empty((0, len(IN_RACE_NAMES)))
    with np.errstate(invalid="ignore", divide="ignore"):
        cut = Cut.of(snapshot, line_up)
        stops = stops_made(cut)
        columns = _order(cut) | _gaps(cut, stops) | _pace(cut, stops) | _stop_columns(cut, stops)
        columns |= _tyres(cut, stops) | _race(cut, config)
    return np.array([columns[name] for name in IN_RACE_NAMES]).T


def _order(cut: Cut) -> Columns:
    grid, n = cut.grid, len(cut.place)
    k = cut.snapshot.cutoff_lap
    since = cut.snapshot.cut_time_s - at_lap(grid.ends, grid.completed)
    overdue = (
        np.minimum(since / (grid.usual * cut.lap_s), 5.0) if np.isfinite(cut.snapshot.cut_time_s) else since * np.nan
    )
    late = cut.running & (overdue > LATE_LAPS)
    ahead = cut.place[None, :] < cut.place[:, None]
    laps = np.arange(1, grid.position.shape[1] + 1)
    recent = np.where(laps[None, :] > grid.completed[:, None] - 10, grid.position, np.nan)
    changes = np.abs(np.diff(recent, axis=1)) if recent.shape[1] > 1 else np.full((n, 1), np.nan)
    best = np.fmin.reduce(grid.position, axis=1)
    mates = np.where(cut.mates, cut.place[None, :], np.nan)
    return {
        "ir_position": cut.place,
        "ir_position_share": (cut.place - 1.0) / max(len(cut.by_place) - 1, 1),
        "ir_stopped": 1.0 - cut.running,
        "ir_laps_behind": k - grid.completed.astype(np.float64),
        "ir_overdue": overdue,
        "ir_overdue_ahead": (ahead & late[None, :]).sum(axis=1).astype(np.float64),
        "ir_gained": cut.start - cut.place,
        "ir_first_lap_gain": cut.start - grid.position[:, 0],
        "ir_gained_2": at_lap(grid.position, grid.completed - 2) - cut.place,
        "ir_gained_5": at_lap(grid.position, grid.completed - 5) - cut.place,
        "ir_gained_15": at_lap(grid.position, grid.completed - 15) - cut.place,
        "ir_best_position": best,
        "ir_mean_position": mean(recent),
        "ir_volatility": mean(changes),
        "ir_teammates_stopped": (cut.mates & ~cut.running[None, :]).sum(axis=1).astype(np.float64),
        "ir_teammate": cut.place - mean(mates),
    }


def _gaps(cut: Cut, stops: Stops) -> Columns:
    gap = cut.gap
    now, then = cut.gaps(), cut.gaps(SPAN)
    ahead, behind = cut.neighbour(-1), cut.neighbour(1)
    leader = np.full(len(gap), cut.by_place[0] if len(cut.by_place) else -1)
    leader[~cut.running] = -1
    to_ahead, to_behind = to_row(now, ahead), to_row(now, behind)
    between = gap[None, :] - gap[:, None]  # how far j is behind i
    mates = np.where(cut.mates, gap[None, :], np.inf)
    best_mate = np.where(np.isnan(mates), np.inf, mates).min(axis=1)
    return {
        "ir_gap_leader": gap,
        "ir_gap_leader_laps": gap / cut.lap_s,
        "ir_gap_ahead": to_ahead,
        "ir_gap_behind": -to_behind,
        "ir_gap_ahead_2": to_row(now, cut.neighbour(-2)),
        "ir_gap_behind_2": -to_row(now, cut.neighbour(2)),
        "ir_gap_third": gap - (gap[cut.by_place[2]] if len(cut.by_place) > 2 else np.nan),
        "ir_gap_tenth": gap - (gap[cut.by_place[9]] if len(cut.by_place) > 9 else np.nan),
        "ir_gap_teammate": np.where(np.isinf(best_mate), np.nan, gap - best_mate),
        "ir_closing_leader": (to_row(now, leader) - to_row(then, leader)) / SPAN,
        "ir_closing_ahead": (to_ahead - to_row(then, ahead)) / SPAN,
        "ir_closing_behind": (to_row(then, behind) - to_behind) / SPAN,
        "ir_close_ahead": ((between < 0) & (between > -CLOSE_S)).sum(axis=1).astype(np.float64),
        "ir_close_behind": ((between > 0) & (between < CLOSE_S)).sum(axis=1).astype(np.float64),
        "ir_stop_window": ((between > 0) & (between < stops.cost)).sum(axis=1).astype(np.float64),
    }


def _pace(cut: Cut, stops: Stops) -> Columns:
    grid = cut.grid
    pace = np.where(grid.clean, (grid.ratio - 1.0) * 100.0, np.nan)
    laps, counted = np.arange(1, pace.shape[1] + 1), from_the_end(grid.clean)
    stint = grid.clean & (laps[None, :] > stops.last[:, None])
    spans = np.stack([grid.clean, counted <= 10, counted <= 5, counted <= 3, stint])
    means = mean(np.where(spans, pace, np.nan))
    everything, ten, five, three, stint_pace = cut.only_running(means)
    quick = cut.only_running(_fastest_quarter(pace))
    usable = grid.ratio * grid.typical
    own_best = np.fmin.reduce(usable, axis=1)
    last = (at_lap(grid.ratio, grid.completed) - 1.0) * 100.0
    before = (at_lap(grid.ratio, grid.completed - 1) - 1.0) * 100.0
    blend = np.where(np.isnan(ten), 0.0, (ten + everything) / 2.0)
    to_come = cut.laps_left * blend / 100.0 * cut.lap_s
    projected = cut.gap + to_come
    net = projected - stops.cost * stops.count
    noise = NOISE_S * np.sqrt(cut.laps_left + 1.0)
    ahead, behind = cut.neighbour(-1), cut.neighbour(1)
    around = np.stack([ten[rows] * np.where(rows >= 0, 1.0, np.nan) for rows in map(cut.neighbour, (-2, -1, 1, 2))])
    mates = np.where(cut.mates, everything[None, :], np.nan)
    ranks = field_rank(np.stack([ten, everything, quick, projected, net]))
    return {
        "ir_pace_3": three,
        "ir_pace_5": five,
        "ir_pace_10": ten,
        "ir_pace_all": everything,
        "ir_pace_stint": stint_pace,
        "ir_pace_quick": quick,
        "ir_pace_last": cut.only_running(np.where(np.isnan(last), before, last)),
        "ir_pace_spread": cut.only_running(spread(pace, means[0])),
        "ir_pace_trend": cut.only_running(_slope(np.where(stint, pace, np.nan))),
        "ir_best_lap": cut.only_running((own_best / np.fmin.reduce(own_best) - 1.0) * 100.0),
        "ir_pace_ahead": cut.less(ten, ahead),
        "ir_pace_behind": cut.less(ten, behind),
        "ir_pace_around": ten - mean(around.T),
        "ir_pace_teammate": everything - mean(mates),
        "ir_pace_10_rank": ranks[0],
        "ir_pace_all_rank": ranks[1],
        "ir_pace_quick_rank": ranks[2],
        "ir_projected_rank": ranks[3],
        "ir_projected_net_rank": ranks[4],
        "ir_projected_gap": projected - np.fmin.reduce(projected),
        "ir_projected_net_gap": net - np.fmin.reduce(net),
        "ir_expected_position": _expected_position(projected, noise),
        "ir_expected_net_position": _expected_position(net, noise),
        "ir_projected_ahead": cut.less(projected, ahead),
        "ir_projected_behind": -cut.less(projected, behind),
    }


def _expected_position(projected: Floats, noise: float) -> Floats:
    """1 + the chances that each other car ends the race ahead, if gaps to come err as a logistic of scale `noise`."""
    differences = (projected[:, None] - projected[None, :]) / noise
    ahead = 1.0 / (1.0 + np.exp(-np.clip(differences, -50.0, 50.0)))
    return np.where(np.isnan(projected), np.nan, 0.5 + np.where(np.isnan(ahead), 0.0, ahead).sum(axis=1))


def _fastest_quarter(pace: Floats) -> Floats:
    """Mean of the fastest quarter (one or more) of the known values of each row."""
    ordered = np.sort(pace, axis=1)
    number = (~np.isnan(pace)).sum(axis=1)
    first = np.arange(pace.shape[1])[None, :] < np.maximum(number[:, None] // 4, 1)
    return mean(np.where(first, ordered, np.nan))


def _slope(values: Floats) -> Floats:
    """Least-squares slope of the known values of each row over the column number."""
    known = ~np.isnan(values)
    lap = np.where(known, np.arange(values.shape[1], dtype=np.float64)[None, :], np.nan)
    lap = lap - mean(lap)[:, None]
    number = known.sum(axis=1)
    products, squares = mean(np.stack([lap * values, lap * lap]))
    return np.where(number >= TREND_LAPS, products / squares, np.nan)


def _stop_columns(cut: Cut, stops: Stops) -> Columns:
    started = cut.running & (cut.grid.completed > 0)
    count = np.where(started, stops.count, np.nan)
    stint = np.where(started, cut.grid.completed - stops.last, np.nan)
    ahead, behind = cut.neighbour(-1), cut.neighbour(1)
    is_ahead = cut.place[None, :] < cut.place[:, None]
    net = cut.gap - stops.cost * stops.count
    first = np.fmin.reduce(net)
    return {
        "ir_stops": count,
        "ir_stint": stint,
        "ir_stint_share": stint / cut.snapshot.race.scheduled_laps,
        "ir_stops_field": count - cut.field_mean(count),
        "ir_stint_field": stint - cut.field_mean(stint),
        "ir_stops_ahead": cut.less(count, ahead),
        "ir_stops_behind": cut.less(count, behind),
        "ir_stint_ahead": cut.less(stint, ahead),
        "ir_stint_behind": cut.less(stint, behind),
        "ir_fewer_ahead": (is_ahead & (count[None, :] < count[:, None])).sum(axis=1).astype(np.float64),
        "ir_more_behind": (is_ahead.T & (count[None, :] > count[:, None])).sum(axis=1).astype(np.float64),
        "ir_net_rank": field_rank(net),
        "ir_net_gap": net - first,
        "ir_in_pits": (started & (stops.last == cut.grid.completed)).astype(np.float64),
        "ir_stop_cost": np.full(len(count), stops.cost),
    }


def _tyres(cut: Cut, stops: Stops) -> Columns:
    grid = cut.grid
    started = cut.running & (grid.completed > 0)
    recorded = at_lap(grid.tyre_life, grid.completed)
    age = np.where(started, np.where(np.isnan(recorded), grid.completed - stops.last, recorded), np.nan)
    compound = cut.only_running(last_known(grid.compound))
    if np.isnan(compound).all():
        used = np.zeros(len(age))
    else:
        used = sum((grid.compound == code).any(axis=1).astype(np.float64) for code in range(1, len(COMPOUNDS) + 1))
    return {
        "ir_tyre_age": age,
        "ir_tyre_age_field": age - cut.field_mean(age),
        "ir_compound_field": compound - cut.field_mean(compound),
        "ir_compound_ahead": cut.less(compound, cut.neighbour(-1)),
        "ir_compounds_used": np.where(used > 0, used, np.nan),
    }


def _race(cut: Cut, config: FeatureConfig) -> Columns:
    grid, n = cut.grid, len(cut.place)
    caution = grid.caution[~np.isnan(grid.times).all(axis=0)]
    times = grid.typical[~np.isnan(grid.typical)]
    recent = middle(times[-3:]) if len(times) else np.nan
    best = cut.line_up.best_s
    under_caution = bool(caution[-1]) if len(caution) else False
    on_lead_lap = cut.gap < cut.lap_s
    spread_s = np.max(cut.gap[on_lead_lap]) if on_lead_lap.any() else np.nan
    values = {
        "ir_laps_left": cut.laps_left,
        "ir_running": float(cut.running.sum()),
        "ir_lead_lap": float(on_lead_lap.sum()),
        "ir_caution": float(under_caution),
        "ir_caution_laps": float(caution.sum()),
        "ir_caution_share": float(caution.mean()) if len(caution) else 0.0,
        "ir_since_caution": float(len(caution) - 1 - np.flatnonzero(caution)[-1]) if caution.any() else np.nan,
        "ir_field_pace": recent / float(times.min()) if len(times) else np.nan,
        "ir_field_dry": recent / best,
        "ir_wet": float(_wet(cut, config, recent / best, under_caution)),
        "ir_field_spread": spread_s / cut.lap_s,
    }
    return {name: np.full(n, value) for name, value in values.items()}


def _wet(cut: Cut, config: FeatureConfig, against_dry: float, under_caution: bool) -> bool:
    if recent_rain(cut.snapshot.weather_columns, config.rain_window_s).any():
        return True
    compound = cut.only_running(last_known(cut.grid.compound))
    on_rain_tyres = (compound > COMPOUNDS.index("INTERMEDIATE")).sum() * 2 > (~np.isnan(compound)).sum()
    return bool(on_rain_tyres or (against_dry > WET_RATIO and not under_caution))
