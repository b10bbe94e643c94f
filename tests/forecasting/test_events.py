"""What is marked beside a replay, on races written by hand."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from f1_predict.errors import HorizonError, NotFoundError
from f1_predict.forecasting import race_events
from f1_predict.horizon import RaceArchive
from f1_predict.schemas import Tables, dtypes, empty

RACE = "2020_race_1"
LAPS = 12
PACE = {"one": 90.0, "two": 91.0, "three": 92.0, "slow": 104.0, "broken": 93.0, "gone": 93.0}
STOPPED = {"broken": 5, "gone": 0}
"""Laps that these two completed."""
IN_LAPS = {"one": 8, "two": 5, "three": 10, "slow": 6}


def frame(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    filled = [{name: row.get(name) for name in dtypes(table)} for row in rows]
    return pl.DataFrame(filled, schema=dtypes(table))


def archive(recorded: bool, status: dict[int, str] | None = None, box: bool = False) -> RaceArchive:
    """Twelve laps, a stop for everybody but `broken`, who is out after lap 5, and `gone`, who never ends a lap.

    Args:
        recorded: whether stops were.
        status: track status by lap.
        box: whether `broken` drove to his box.
    """
    laps = []
    for driver, pace in PACE.items():
        clock = 0.0
        in_lap = IN_LAPS.get(driver, 0)
        for lap in range(1, STOPPED.get(driver, LAPS) + 1):
            stops = lap == in_lap
            time = pace + (3.0 if stops else 19.0 if in_lap and lap == in_lap + 1 else 0.0)
            time += 60.0 if (status or {}).get(lap, "1") in "4567" else 0.0
            clock += time
            laps.append(
                {
                    "race_id": RACE, "driver_id": driver, "lap": lap, "lap_time_s": time, "end_time_s": clock,
                    "position": 1 + list(PACE).index(driver), "implausible": False,
                    "pit_in": (stops or (box and driver == "broken" and lap == 5)) if recorded else None,
                    "track_status": None if status is None else status.get(lap, "1"),
                }
            )  # fmt: skip
    race = {"race_id": RACE, "season": 2020, "round": 1, "name": "A", "date": date(2020, 3, 1), "circuit_id": "a"}
    entries = [
        {"race_id": RACE, "driver_id": driver, "constructor_id": "team", "grid": 1 + number}
        for number, driver in enumerate(PACE)
    ]
    tables = Tables(
        frame("races", [race | {"scheduled_laps": LAPS}]),
        frame("entries", entries),
        empty("results"),
        frame("laps", laps),
        empty("weather"),
    )
    return RaceArchive(tables.sort().validate())


def of_kind(found: pl.DataFrame, kind: str) -> list[tuple[object, ...]]:
    return found.filter(pl.col("kind") == kind).select("lap", "until", "driver_id", "recorded").rows()


def test_stops_stand_at_the_lap_of_the_leader_and_retirements_at_the_last_one_known() -> None:
    found = race_events(archive(recorded=True), RACE)
    assert found["race_id"].unique().to_list() == [RACE]
    # The leader's laps end at 540 s (the sixth), 630 s, 723 s (with a stop), 828 s, 922 s, 1012 s (the eleventh). The
    # stops end: two's fifth lap at 458 s, slow's sixth at 627 s, one's eighth at 723 s, three's tenth at 923 s.
    assert of_kind(found, "stop") == [
        (6, 6, "two", True),
        (7, 7, "slow", True),
        (8, 8, "one", True),
        (11, 11, "three", True),
    ]
    assert of_kind(found, "retired") == [(1, 1, "gone", True), (6, 6, "broken", True)]
    assert found["lap"].to_list() == sorted(found["lap"])


def test_stops_that_nobody_recorded_are_inferred_and_say_so() -> None:
    found = race_events(archive(recorded=False), RACE)
    stops = of_kind(found, "stop")
    assert [driver for _, _, driver, _ in stops] == ["two", "slow", "one", "three"]
    assert {recorded for *_, recorded in stops} == {False}


def test_who_drove_to_his_box_and_stayed_has_retired_and_made_no_stop() -> None:
    found = race_events(archive(recorded=True, box=True), RACE)
    assert "broken" not in [driver for _, _, driver, _ in of_kind(found, "stop")]
    assert (6, 6, "broken", True) in of_kind(found, "retired")


def test_cautions_are_laps_of_one_kind_together() -> None:
    status = {2: "4", 3: "4", 8: "6", 9: "67", 11: "45"}
    found = race_events(archive(recorded=True, status=status), RACE)
    assert of_kind(found, "safety_car") == [(2, 3, None, True)]
    assert of_kind(found, "virtual_safety_car") == [(8, 9, None, True)]
    assert of_kind(found, "red_flag") == [(11, 11, None, True)]


def test_a_slow_field_without_status_is_called_no_more_than_that() -> None:
    slow = {3: "4", 4: "4"}
    known = archive(recorded=True, status=slow).tables
    tables = Tables(**vars(known) | {"laps": known.laps.with_columns(track_status=pl.lit(None, pl.String))})
    found = race_events(RaceArchive(tables), RACE)
    assert of_kind(found, "slow_field") == [(3, 4, None, False)]
    assert of_kind(found, "safety_car") == []


def test_races_without_laps_and_unknown_ones_are_refused() -> None:
    tables = Tables(**vars(archive(recorded=True).tables) | {"laps": empty("laps")})
    with pytest.raises(HorizonError, match="2020_race_1 has no laps in the store: nothing has happened yet"):
        race_events(RaceArchive(tables), RACE)
    with pytest.raises(NotFoundError, match="no race '2020_race_2'"):
        race_events(RaceArchive(tables), "2020_race_2")
