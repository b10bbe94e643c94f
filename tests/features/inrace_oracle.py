"""Slow, obvious in-race features: plain loops over the rows of a Snapshot, written from the catalogue.

Shares no code with the package but the Snapshot and the list of compounds; None is unknown. Only what needs no stops
inferred from lap times is computed: the random tables record every one of them.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from f1_predict.horizon import Snapshot
from f1_predict.schemas import COMPOUNDS

Row = dict[str, Any]
Maybe = float | None


def mean(values: list[Any]) -> Maybe:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


class Race:
    """The laps of a Snapshot by driver and lap, and the order of the field, first to last."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.drivers: list[str] = snapshot.driver_ids
        self.laps: dict[str, dict[int, Row]] = {driver: {} for driver in self.drivers}
        for row in snapshot.laps.to_dicts():
            if row["driver_id"] in self.laps:
                self.laps[row["driver_id"]][row["lap"]] = row
        grid = sorted(
            snapshot.entries.to_dicts(),
            key=lambda e: (e["grid"] == 0, e["grid"], e["qualifying_position"] or 999, e["driver_id"]),
        )
        self.start = {entry["driver_id"]: place for place, entry in enumerate(grid, start=1)}
        self.stopped = {driver: self._stopped(driver) for driver in self.drivers}
        self.order = sorted(self.drivers, key=self._key)
        self.place = {driver: place for place, driver in enumerate(self.order, start=1)}
        self.running = [driver for driver in self.order if not self.stopped[driver]]
        reached = sorted({lap for laps in self.laps.values() for lap in laps})
        self.medians = {lap: self._typical(lap) for lap in reached}
        self.cautions = {lap: self._caution(lap) for lap in reached}

    def last(self, driver: str) -> int:
        return max(self.laps[driver], default=0)

    def end(self, driver: str, lap: int) -> Maybe:
        row = self.laps[driver].get(lap)
        return None if row is None else row["end_time_s"]

    def _stopped(self, driver: str) -> bool:
        ago = self.snapshot.cutoff_lap - 2
        ends = [end for other in self.drivers if (end := self.end(other, ago)) is not None]
        if not ends:
            return False
        return not self.laps[driver] or self.end(driver, self.last(driver)) < min(ends)

    def _key(self, driver: str) -> tuple[Any, ...]:
        last = self.last(driver)
        row = self.laps[driver].get(last, {"position": 0, "end_time_s": 0.0})
        return (self.stopped[driver], -last, row["position"], row["end_time_s"], self.start[driver])

    def usable(self, driver: str, lap: int) -> Maybe:
        row = self.laps[driver].get(lap)
        return None if row is None or row["implausible"] else row["lap_time_s"]

    def _typical(self, lap: int) -> Maybe:
        times = [time for driver in self.drivers if (time := self.usable(driver, lap)) is not None]
        return median(times) if len(times) >= 3 else None

    def _caution(self, lap: int) -> bool:
        rows = [self.laps[driver][lap] for driver in self.drivers if lap in self.laps[driver]]
        if 2 * sum(row["implausible"] for row in rows) > len(rows):
            return True
        status = [row["track_status"] for row in rows if row["track_status"] is not None]
        if status:
            return sum(any(code in text for code in "4567") for text in status) > len(status) / 2
        near = {}
        for other in range(lap - 8, lap + 9):
            times = [time for driver in self.drivers if (time := self.usable(driver, other)) is not None]
            if times:
                near[other] = median(times)
        return lap in near and near[lap] > 1.2 * min(near.values())

    def ratio(self, driver: str, lap: int) -> Maybe:
        time, typical = self.usable(driver, lap), self.medians[lap]
        return None if time is None or typical is None else time / typical

    def clean_paces(self, driver: str) -> list[tuple[int, float]]:
        """Lap and pace in percent of the clean laps, in order."""
        ratios = {lap: r for lap in sorted(self.laps[driver]) if (r := self.ratio(driver, lap)) is not None}
        free = {lap: r for lap, r in ratios.items() if not self.cautions[lap]}
        if not free:
            return []
        usual = median(free.values())
        rows = self.laps[driver]
        return [
            (lap, 100 * (r - 1))
            for lap, r in free.items()
            if lap > 1
            and r - usual < 0.06
            and not (rows[lap]["pit_in"] or rows[lap]["pit_out"] or (lap - 1 in rows and rows[lap - 1]["pit_in"]))
        ]

    def gap(self, driver: str, other: str, ago: int = 0) -> Maybe:
        lap = min(self.last(driver), self.last(other)) - ago
        own, others = self.end(driver, lap), self.end(other, lap)
        return None if own is None or others is None else own - others


def oracle(snapshot: Snapshot) -> list[Row]:
    """Some of the in-race features of every starter, in the order of the entries."""
    race = Race(snapshot)
    return [_row(race, driver) for driver in race.drivers]


def _row(race: Race, driver: str) -> Row:
    place, last = race.place[driver], race.last(driver)
    going = driver in race.running and last > 0
    at = race.running.index(driver) if driver in race.running else None
    ahead = race.running[at - 1] if at else None
    behind = race.running[at + 1] if at is not None and at + 1 < len(race.running) else None
    paces = race.clean_paces(driver) if driver in race.running else []
    stops = [lap for lap, row in race.laps[driver].items() if row["pit_in"]]
    counts = {d: sum(bool(row["pit_in"]) for row in race.laps[d].values()) for d in race.running if race.last(d)}
    lap_1 = race.laps[driver].get(1)
    leader = race.running[0] if race.running else None
    leader_end = None if leader is None else race.end(leader, last)
    life = race.laps[driver][last]["tyre_life"] if last else None
    compounds = {row["compound"] for row in race.laps[driver].values()} - {None}
    codes = {d: _compound(race, d) for d in race.running}
    everyone = mean(list(codes.values()))
    own_code = codes.get(driver)
    return {
        "ir_position": place,
        "ir_stopped": int(race.stopped[driver]),
        "ir_laps_behind": race.snapshot.cutoff_lap - last,
        "ir_gained": race.start[driver] - place,
        "ir_first_lap_gain": None if lap_1 is None else race.start[driver] - lap_1["position"],
        "ir_best_position": min((row["position"] for row in race.laps[driver].values()), default=None),
        "ir_gap_leader": None if not going or leader_end is None else race.end(driver, last) - leader_end,
        "ir_gap_ahead": None if ahead is None else race.gap(driver, ahead),
        "ir_gap_behind": None if behind is None else race.gap(behind, driver),
        "ir_closing_ahead": _closing(race, driver, ahead),
        "ir_pace_3": mean([pace for _, pace in paces[-3:]]),
        "ir_pace_all": mean([pace for _, pace in paces]),
        "ir_pace_trend": _trend([(lap, pace) for lap, pace in paces if lap > max(stops, default=0)]),
        "ir_stops": len(stops) if going else None,
        "ir_stint": last - max(stops, default=0) if going else None,
        "ir_fewer_ahead": sum(race.place[d] < place and n < len(stops) for d, n in counts.items()) if going else 0,
        "ir_in_pits": int(going and last in stops),
        "ir_tyre_age": None if not going else life if life is not None else last - max(stops, default=0),
        "ir_compound_field": None if own_code is None or everyone is None else own_code - everyone,
        "ir_compounds_used": len(compounds) or None if any(codes[d] is not None for d in codes) else None,
        "ir_running": len(race.running),
        "ir_caution_laps": sum(race.cautions.values()),
        "ir_caution": int(bool(race.cautions) and race.cautions[max(race.cautions)]),
        "ir_laps_left": max(race.snapshot.race.scheduled_laps - race.snapshot.cutoff_lap, 0),
    }


def _compound(race: Race, driver: str) -> Maybe:
    known = [COMPOUNDS.index(row["compound"]) + 1 for _, row in sorted(race.laps[driver].items()) if row["compound"]]
    return known[-1] if known else None


def _closing(race: Race, driver: str, other: str | None) -> Maybe:
    if other is None:
        return None
    now, then = race.gap(driver, other), race.gap(driver, other, 5)
    return None if now is None or then is None else (now - then) / 5


def _trend(paces: list[tuple[int, float]]) -> Maybe:
    if len(paces) < 4:
        return None
    x, y = mean([lap for lap, _ in paces]) or 0.0, mean([pace for _, pace in paces]) or 0.0
    return sum((lap - x) * (pace - y) for lap, pace in paces) / sum((lap - x) ** 2 for lap, _ in paces)
