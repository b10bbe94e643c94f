"""Answers to the pretraining tasks, slowly: one car, one lap at a time, from the rows of the tables."""

from __future__ import annotations

import math
import statistics
from typing import Any

from f1_predict.schemas import Tables

Answers = dict[str, dict[str, float]]


def _rows(tables: Tables, name: str, race_id: str) -> list[dict[str, Any]]:
    return list(getattr(tables, name).filter(race_id=race_id).iter_rows(named=True))


def _clipped(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


class SlowRace:
    """The laps of one race by car and lap."""

    def __init__(self, tables: Tables, race_id: str) -> None:
        self.scheduled = next(r["scheduled_laps"] for r in _rows(tables, "races", race_id))
        self.entries = {row["driver_id"]: row for row in _rows(tables, "entries", race_id)}
        self.results = {row["driver_id"]: row for row in _rows(tables, "results", race_id)}
        self.laps: dict[str, dict[int, dict[str, Any]]] = {driver: {} for driver in self.entries}
        for row in _rows(tables, "laps", race_id):
            self.laps[row["driver_id"]][row["lap"]] = row
        self.pits_known = any(row["pit_in"] is not None for laps in self.laps.values() for row in laps.values())
        self.reference = self._reference()

    def _reference(self) -> dict[int, float]:
        """The field's median of each lap; the last one stands where fewer than half of its cars did the lap."""
        found: dict[int, float] = {}
        last, cars = math.nan, 0
        for lap in range(1, 1 + max(max(laps, default=0) for laps in self.laps.values())):
            times = [laps[lap]["lap_time_s"] for laps in self.laps.values() if lap in laps]
            if times and 2 * len(times) >= cars:
                last, cars = statistics.median(times), len(times)
            found[lap] = last
        return found

    def clean(self, driver: str, until: float = math.inf) -> dict[int, float]:
        """Speed against the field, per cent, on the laps that tell of pace."""
        laps, found = self.laps[driver], {}
        for lap, row in laps.items():
            speed = 100.0 * (self.reference[lap] / row["lap_time_s"] - 1.0)
            left_pits = lap - 1 in laps and laps[lap - 1]["pit_in"]
            caution = row["track_status"] is not None and any(code in row["track_status"] for code in "4567")
            if lap > 1 and not row["pit_in"] and not left_pits and not caution and abs(speed) < 4.0:
                found[lap] = speed
        return {lap: speed for lap, speed in found.items() if laps[lap]["end_time_s"] <= until}


def slow_answers_after(tables: Tables, race_id: str, cut_s: float, lap: int) -> Answers:
    """By driver and task; a task without an answer is left out."""
    race = SlowRace(tables, race_id)
    n = len(race.entries)
    done = {d: {k: r for k, r in laps.items() if r["end_time_s"] <= cut_s} for d, laps in race.laps.items()}
    last = {d: max(laps, default=0) for d, laps in done.items()}
    ended = {d: done[d][last[d]]["end_time_s"] if last[d] else 0.0 for d in done}
    slot = {d: min(row["grid"], n) if row["grid"] else n for d, row in race.entries.items()}
    order = sorted(race.entries, key=lambda d: (-last[d], ended[d], slot[d], list(race.entries).index(d)))
    more = {d: any(r["end_time_s"] > cut_s for r in laps.values()) for d, laps in race.laps.items()}
    over = not any(more.values())
    shown = [d for d in order if last[d] and (more[d] or over)]
    leader = min((laps[lap]["end_time_s"], i, laps[lap]) for i, laps in enumerate(race.laps.values()) if lap in laps)[2]
    found: Answers = {}
    for d in race.entries:
        a = found[d] = {}
        a["finish_place"] = (race.results[d]["position"] - 0.5) / n
        a["place"] = (order.index(d) + 0.5) / n
        a["grid"] = (slot[d] - 0.5) / n
        a["left"] = (race.scheduled - lap) / race.scheduled
        a["finish"] = float(race.results[d]["classified"])
        if not over:
            a["running"] = float(more[d])
        if leader["track_status"] is not None:
            a["safety_car"] = float(any(code in leader["track_status"] for code in "4567"))
        if last[d]:
            first = min(laps[last[d]]["end_time_s"] for laps in race.laps.values() if last[d] in laps)
            a["gap_leader"] = math.log1p(ended[d] - first)
        if d in shown and shown.index(d) > 0:
            ahead = shown[shown.index(d) - 1]
            if last[d] in race.laps[ahead]:
                a["gap_ahead"] = math.log1p(max(ended[d] - race.laps[ahead][last[d]]["end_time_s"], 0.0))
        if d in shown and shown.index(d) + 1 < len(shown):
            behind = shown[shown.index(d) + 1]
            if last[behind] in race.laps[d]:
                a["gap_behind"] = math.log1p(max(ended[behind] - race.laps[d][last[behind]]["end_time_s"], 0.0))
        clean = race.clean(d, cut_s)
        if len(clean) >= 2:
            a["pace_now"] = _clipped(statistics.fmean([clean[k] for k in sorted(clean)][-5:]), 4.0)
        if len(clean) >= 3:
            a["pace_race"] = _clipped(statistics.median(clean.values()), 4.0)
        if race.pits_known:
            stops = [k for k, r in done[d].items() if r["pit_in"]]
            a["stops"] = float(len(stops))
            stint = [k for k in clean if k > max(stops, default=0)]
            if last[d]:
                a["since_stop"] = (last[d] - max(stops, default=0)) / race.scheduled
            if len(stint) >= 5:
                a["wear"] = _clipped(statistics.linear_regression(stint, [clean[k] for k in stint]).slope, 0.3)
    return found


def slow_answers_before(tables: Tables, race_id: str, past: list[str], races: int) -> Answers:
    """By driver and task, before the start; `past` are the races before, oldest first."""
    race = SlowRace(tables, race_id)
    n = len(race.entries)
    found: Answers = {}
    shown: dict[str, list[tuple[float, float | None]]] = {d: [] for d in race.entries}
    for earlier in past:
        old = SlowRace(tables, earlier)
        last = {d: max(laps, default=0) for d, laps in old.laps.items()}
        ended = {d: old.laps[d][last[d]]["end_time_s"] if last[d] else math.inf for d in old.laps}
        order = sorted(old.entries, key=lambda d: (-last[d], ended[d]))
        for d in old.entries:
            if last[d] and d in shown:
                clean = old.clean(d)
                pace = statistics.median(clean.values()) if len(clean) >= 3 else None
                shown[d].append(((order.index(d) + 0.5) / len(order), pace))
    for d in race.entries:
        a = found[d] = {}
        a["finish_place"] = (race.results[d]["position"] - 0.5) / n
        a["finish"] = float(race.results[d]["classified"])
        form = shown[d][-races:]
        if form:
            a["form_place"] = statistics.fmean(place for place, _ in form)
            paces = [pace for _, pace in form if pace is not None]
            if paces:
                a["form_pace"] = _clipped(statistics.fmean(paces), 4.0)
    return found
