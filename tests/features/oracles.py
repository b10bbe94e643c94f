"""Slow, obvious features: plain loops over the rows of a Snapshot, written from the catalogue.

Shares no code with the package but the Snapshot, the settings and lists of names. Rows are
dictionaries; None is unknown.
"""

from __future__ import annotations

import math
from copy import copy
from statistics import median
from typing import Any

import numpy as np

from f1_predict.config import FeatureConfig
from f1_predict.features.catalogue import LINEAR_INPUTS, RANKED
from f1_predict.horizon import Snapshot
from f1_predict.schemas import COMPOUNDS

Row = dict[str, Any]
Maybe = float | None


def known(values: Any) -> list[Any]:
    return [value for value in values if value is not None]


def mean(values: Any) -> Maybe:
    values = known(values)
    return sum(values) / len(values) if values else None


def least(values: Any) -> Maybe:
    return min(known(values), default=None)


def last(values: Any) -> Any:
    values = known(values)
    return values[-1] if values else None


def behind(own: Maybe, best: Maybe) -> Maybe:
    return None if own is None or best is None else 100 * (own - best) / best


def starting_order(rows: list[Row]) -> dict[str, int]:
    slots = sorted(rows, key=lambda row: (row["grid"] == 0, row["grid"], row["driver_id"]))
    return {row["driver_id"]: place for place, row in enumerate(slots, start=1)}


def share(place: int, n: int) -> float:
    return (place - 1) / (n - 1) if n > 1 else 0.0


def against_teammates(rows: list[Row], row: Row, sessions: list[str]) -> Maybe:
    """In the last session in which both set a time, behind the best teammate."""
    mates = [r for r in rows if r["constructor_id"] == row["constructor_id"] and r is not row]
    for session in reversed(sessions):
        best = least(mate[session] for mate in mates)
        if row[session] is not None and best is not None:
            return behind(row[session], best)
    return None


QUALIFYING = ["q1_s", "q2_s", "q3_s"]
PRACTICE = ["fp1_s", "fp2_s", "fp3_s", "fp4_s"]


def paces(laps: list[Row]) -> dict[str, float]:
    usable = [lap for lap in laps if not lap["implausible"] and not lap["pit_in"] and not lap["pit_out"]]
    ratios: dict[str, list[float]] = {}
    for lap in usable:
        times = [other["lap_time_s"] for other in usable if other["lap"] == lap["lap"]]
        if len(times) >= 3:
            ratios.setdefault(lap["driver_id"], []).append(lap["lap_time_s"] / median(times))
    return {driver: median(values) for driver, values in ratios.items() if len(values) >= 5}


class Past:
    """All past starts, one dictionary each, in the order of time; and what past races were like."""

    def __init__(self, snapshot: Snapshot) -> None:
        past = snapshot.past
        self.calendar = past.races.sort("season", "round").to_dicts()
        self.starts: list[Row] = []
        self.races: list[Row] = []
        for race in self.calendar:
            results = {r["driver_id"]: r for r in past.results.to_dicts() if r["race_id"] == race["race_id"]}
            entries = [r for r in past.entries.to_dicts() if r["race_id"] == race["race_id"]]
            rows = [entry for entry in entries if entry["driver_id"] in results]
            laps = [lap for lap in past.laps.to_dicts() if lap["race_id"] == race["race_id"]]
            if rows:
                self.add(race, rows, results, paces(laps))

    def add(self, race: Row, rows: list[Row], results: dict[str, Row], pace: dict[str, float]) -> None:
        n = len(rows)
        grid = starting_order(rows)
        finish = {
            d: i for i, d in enumerate(sorted((r["driver_id"] for r in rows), key=lambda d: results[d]["position"]), 1)
        }
        classified = [d for d in sorted(finish, key=finish.__getitem__) if results[d]["classified"]]
        starts = []
        for row in rows:
            driver = row["driver_id"]
            mates = [
                share(finish[r["driver_id"]], n)
                for r in rows
                if r["constructor_id"] == row["constructor_id"] and r["driver_id"] != driver
            ]
            starts.append(
                {
                    "race_id": race["race_id"],
                    "entry": row,
                    "season": race["season"],
                    "circuit": race["circuit_id"],
                    "driver": driver,
                    "constructor": row["constructor_id"],
                    "place": finish[driver],
                    "finish": share(finish[driver], n),
                    "classified_finish": share(classified.index(driver) + 1, len(classified))
                    if driver in classified
                    else None,
                    "classified": float(driver in classified),
                    "grid_place": grid[driver],
                    "teammate": share(finish[driver], n) - sum(mates) / len(mates) if mates else None,
                    "pace": pace.get(driver),
                }
            )
        self.starts += starts
        self.races.append(
            {
                "race_id": race["race_id"],
                "circuit": race["circuit_id"],
                "season": race["season"],
                "starts": starts,
                "finish_rate": len(classified) / n,
                "correlation": spearman([s["grid_place"] for s in starts], [s["place"] for s in starts]),
            }
        )

    def before(self, race_id: str) -> Past:
        """The same, ending before a race."""
        part = copy(self)
        ids = [race["race_id"] for race in self.calendar]
        part.calendar = self.calendar[: ids.index(race_id)]
        earlier = set(ids[: ids.index(race_id)])
        part.starts = [start for start in self.starts if start["race_id"] in earlier]
        part.races = [race for race in self.races if race["race_id"] in earlier]
        return part


def spearman(first: list[int], second: list[int]) -> Maybe:
    """Pearson's correlation of two lists of ranks."""
    n = len(first)
    if n < 3:
        return None
    a, b = sum(first) / n, sum(second) / n
    cov = sum((x - a) * (y - b) for x, y in zip(first, second, strict=True))
    return cov / math.sqrt(sum((x - a) ** 2 for x in first) * sum((y - b) ** 2 for y in second))


def wins(a: float, b: float) -> float:
    return 1 / (1 + math.exp(b - a))


class Rating:
    """Replays all past races pair by pair; `place` gives the order of a race's starts, None = left out."""

    def __init__(self, past: Past, race: Row, config: FeatureConfig, place: Any) -> None:
        self.config, self.d, self.c = config, {}, {}
        season = None
        for item in [*past.calendar, race]:
            if season is not None and item["season"] != season:
                self.d = {k: v * config.driver_keep for k, v in self.d.items()}
                self.c = {k: v * config.constructor_keep for k, v in self.c.items()}
            season = item["season"]
            starts = [s for s in past.starts if s["race_id"] == item["race_id"] and place(s) is not None]
            self.learn(starts, place)

    def driver(self, name: str) -> float:
        return self.d.get(name, self.config.new_driver_rating)

    def constructor(self, name: str) -> float:
        return self.c.get(name, self.config.new_constructor_rating)

    def strength(self, driver: str, constructor: str) -> float:
        return self.driver(driver) + self.constructor(constructor)

    def learn(self, starts: list[Row], place: Any) -> None:
        d, c = dict(self.d), dict(self.c)
        for start in starts:
            own = self.strength(start["driver"], start["constructor"])
            gain = 0.0
            for other in starts:
                if other is not start:
                    won = float(place(start) < place(other))
                    gain += won - wins(own, self.strength(other["driver"], other["constructor"]))
            d[start["driver"]] = self.driver(start["driver"]) + self.config.rating_step * gain
            team = start["constructor"]
            c[team] = c.get(team, self.constructor(team)) + self.config.constructor_step * gain
        self.d, self.c = d, c

    def position(self, field: list[Row], row: Row) -> float:
        own = self.strength(row["driver_id"], row["constructor_id"])
        others = [r for r in field if r is not row]
        return 1 + sum(wins(self.strength(r["driver_id"], r["constructor_id"]), own) for r in others)


def calendar(snapshot: Snapshot, past: Past, config: FeatureConfig) -> Row:
    race = snapshot.race
    order: list[str] = []
    for item in past.calendar:
        if item["circuit_id"] not in order:
            order.append(item["circuit_id"])
    here = [r for r in past.races if r["circuit"] == race.circuit_id]
    return {
        "season": race.season,
        "round": race.round,
        "n_starters": snapshot.entries.height,
        "circuit_id": order.index(race.circuit_id) + 1 if race.circuit_id in order else 0,
        "course_length_km": race.course_length_km,
        "scheduled_laps": race.scheduled_laps,
        "street_circuit": None if race.circuit_type is None else float(race.circuit_type == "STREET"),
        "turns": race.turns,
        "circuit_attrition": mean(1 - r["finish_rate"] for r in here),
        "circuit_grid_correlation": mean(r["correlation"] for r in here),
        "field_finish_rate": mean(r["finish_rate"] for r in past.races[-config.finish_window :]),
    }


def sessions(field: list[Row], row: Row) -> Row:
    places = starting_order(field)
    latest = [s for s in QUALIFYING if row[s] is not None][-1:]
    timed = {s: sum(r[s] is not None for r in field) for s in PRACTICE}
    fullest = [s for s in PRACTICE if timed[s] == max(timed.values())][-1]
    best_practice = [{**r, "best": least(r[s] for s in PRACTICE)} for r in field]
    own = best_practice[field.index(row)]
    return {
        "grid_rank": places[row["driver_id"]],
        "pit_lane_start": float(row["grid"] == 0),
        "grid_penalty": row["grid_penalty"],
        "qualifying_position": row["qualifying_position"],
        "qualifying_gap_pct": behind(least(row[s] for s in QUALIFYING), least(r[s] for r in field for s in QUALIFYING)),
        "qualifying_session_gap_pct": behind(row[latest[0]], least(r[latest[0]] for r in field)) if latest else None,
        "qualifying_teammate_gap_pct": against_teammates(field, row, QUALIFYING),
        "practice_gap_pct": behind(own["best"], least(r["best"] for r in best_practice)),
        "practice_session_gap_pct": behind(row[fullest], least(r[fullest] for r in field)),
    }


def finish_rate(starts: list[Row], past: Past, config: FeatureConfig) -> Maybe:
    prior = mean(r["finish_rate"] for r in past.races[-config.finish_window :])
    if prior is None:
        return None
    weight = config.finish_prior_starts
    return (sum(s["classified"] for s in starts) + weight * prior) / (len(starts) + weight)


def driver(snapshot: Snapshot, past: Past, config: FeatureConfig, row: Row) -> Row:
    all_ = [s for s in past.starts if s["driver"] == row["driver_id"]]
    form = all_[-config.form_races :]
    season = [s for s in all_ if s["season"] == snapshot.race.season]
    here = [s for s in all_ if s["circuit"] == snapshot.race.circuit_id]
    return {
        "driver_starts": len(all_),
        "driver_form": mean(s["finish"] for s in form),
        "driver_last_finish": all_[-1]["finish"] if all_ else None,
        "driver_form_teammate": mean(s["teammate"] for s in form),
        "driver_season_finish": mean(s["finish"] for s in season),
        "driver_finish_rate": finish_rate(all_[-config.finish_window :], past, config),
        "driver_circuit_starts": len(here),
        "driver_circuit_finish": mean(s["finish"] for s in here),
    }


def constructor(snapshot: Snapshot, past: Past, config: FeatureConfig, row: Row) -> Row:
    all_ = [s for s in past.starts if s["constructor"] == row["constructor_id"]]
    races = list(dict.fromkeys(s["race_id"] for s in all_))
    form = [s for s in all_ if s["race_id"] in races[-config.form_races :]]
    recent = [s for s in all_ if s["race_id"] in races[-config.finish_window :]]
    season = [s for s in all_ if s["season"] == snapshot.race.season]
    here = [s for s in all_ if s["circuit"] == snapshot.race.circuit_id]
    return {
        "constructor_races": len(races),
        "constructor_form": mean(s["finish"] for s in form),
        "constructor_form_pace": mean(s["pace"] for s in form),
        "constructor_season_finish": mean(s["finish"] for s in season),
        "constructor_finish_rate": finish_rate(recent, past, config),
        "constructor_circuit_starts": len(here),
        "constructor_circuit_finish": mean(s["finish"] for s in here),
    }


def cut(snapshot: Snapshot, config: FeatureConfig, row: Row) -> Row:
    weather = snapshot.weather.sort("time_s").to_dicts()
    laps = sorted(
        (lap for lap in snapshot.laps.to_dicts() if lap["driver_id"] == row["driver_id"]), key=lambda lap: lap["lap"]
    )
    rain = known(s["rainfall"] for s in weather if s["time_s"] >= weather[-1]["time_s"] - config.rain_window_s)
    compounds = known(lap["compound"] for lap in laps)
    return {
        "race_share": snapshot.cutoff_lap / snapshot.race.scheduled_laps,
        "weather": 0 if not rain else 2 if True in rain else 1,
        "air_temp_c": last(s["air_temp_c"] for s in weather),
        "track_temp_c": last(s["track_temp_c"] for s in weather),
        "tire_compound": COMPOUNDS.index(compounds[-1]) + 1 if compounds else 0,
        "tyre_life": laps[-1]["tyre_life"] if laps else None,
    }


def key_values(past: Past, race: Row, field: list[Row], config: FeatureConfig) -> list[dict[str, Maybe]]:
    """The inputs of the linear forecast, for each row of a field."""
    pace = Rating(past, race, config, lambda s: s["place"] if s["classified"] else None)
    rows = []
    for row in field:
        starts = [s for s in past.starts if s["driver"] == row["driver_id"]]
        cars = [s for s in past.starts if s["constructor"] == row["constructor_id"]]
        rows.append(
            {
                **{
                    name: sessions(field, row)[name] for name in ("grid_rank", "qualifying_gap_pct", "practice_gap_pct")
                },
                "pace_expected_position": pace.position(field, row),
                "driver_form_pace": mean(s["pace"] for s in starts[-config.form_races :]),
                "driver_season_classified": mean(
                    s["classified_finish"] for s in starts if s["season"] == race["season"]
                ),
                "constructor_season_pace": mean(s["pace"] for s in cars if s["season"] == race["season"]),
            }
        )
    return rows


def ranks(values: list[Maybe]) -> list[Maybe]:
    """1 = smallest; equal values share the mean of their places."""
    own = [None if value is None else round(value, 9) for value in values]
    ordered = sorted(known(own))
    return [mean(place for place, value in enumerate(ordered, start=1) if value == v) for v in own]


def centred(values: list[Maybe]) -> list[float]:
    n = len(known(values))
    return [0.0 if rank is None or n < 2 else (rank - 1) / (n - 1) - 0.5 for rank in ranks(values)]


def linear_inputs(rows: list[dict[str, Maybe]]) -> list[list[float]]:
    return list(map(list, zip(*(centred([row[name] for row in rows]) for name in LINEAR_INPUTS), strict=True)))


def linear_forecast(past: Past, field: list[dict[str, Maybe]], config: FeatureConfig) -> list[float]:
    """Weighted least squares on all past rows stacked, with one more row per weight for the penalty."""
    k = len(LINEAR_INPUTS)
    x = [list(row) for row in np.eye(k) * math.sqrt(config.linear_penalty)]
    y = [0.0] * k
    for age, race in enumerate(reversed(past.races)):
        entries = [start["entry"] for start in race["starts"]]
        values = key_values(past.before(race["race_id"]), race, entries, config)
        scale = math.sqrt(config.linear_memory**age)
        for inputs, start in zip(linear_inputs(values), race["starts"], strict=True):
            x.append([scale * value for value in inputs])
            y.append(scale * (start["finish"] - 0.5))
    weights = np.linalg.lstsq(np.array(x), np.array(y), rcond=None)[0]
    return [0.5 + sum(w * v for w, v in zip(weights, inputs, strict=True)) for inputs in linear_inputs(field)]


def oracle(snapshot: Snapshot, config: FeatureConfig) -> list[Row]:
    """The features of every starter, in the order of the entries."""
    past = Past(snapshot)
    race = {"race_id": snapshot.race_id, "season": snapshot.race.season}
    field = snapshot.entries.to_dicts()
    results = Rating(past, race, config, lambda s: s["place"])
    key = key_values(past, race, field, config)
    forecasts = linear_forecast(past, key, config)
    rows: list[Row] = []
    for row, values, forecast in zip(field, key, forecasts, strict=True):
        rows.append(
            {
                **calendar(snapshot, past, config),
                **sessions(field, row),
                **values,
                "linear_forecast": forecast,
                "driver_rating": results.driver(row["driver_id"]),
                "constructor_rating": results.constructor(row["constructor_id"]),
                "expected_position": results.position(field, row),
                **driver(snapshot, past, config, row),
                **constructor(snapshot, past, config, row),
                **cut(snapshot, config, row),
            }
        )
    for name in RANKED:
        for row, rank in zip(rows, ranks([row[name] for row in rows]), strict=True):
            row[f"{name}_rank"] = rank
    return rows
