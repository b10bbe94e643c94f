"""Duplicates, gaps and clocks of laps."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from f1_predict.sources.ergast import ErgastData
from f1_predict.tables import Ingested, ingest
from f1_predict.tables.laps import clean_laps
from tests.tables import foreign
from tests.tables.test_ingest import column

HEADER = "raceId,driverId,lap,position,time,milliseconds\n"


def with_laps(tmp_path: Path, rows: str) -> Ingested:
    return ingest(foreign.ergast(tmp_path, lap_times=HEADER + rows))


def field(tmp_path: Path, ambrosio: list[tuple[int, int]]) -> list[object]:
    """End times of one driver among two steady ones (100 s a lap, 6 laps); he has the given (lap, seconds)."""
    rows = "".join(f"10,{d},{lap},{d},x,100000\n" for d in (1, 2) for lap in range(1, 7))
    rows += "".join(f"10,3,{lap},3,x,{1000 * time}\n" for lap, time in ambrosio)
    return column(with_laps(tmp_path, rows).tables.laps, "end_time_s", driver_id="ambrosio")


def test_duplicate_laps_are_removed_and_counted(tmp_path: Path) -> None:
    found = with_laps(tmp_path, "10,1,1,1,x,100000\n10,1,1,1,x,100000\n10,1,2,1,x,90000\n10,1,2,1,x,95000\n")
    assert column(found.tables.laps, "lap_time_s") == [100.0, 90.0]
    assert found.quality["duplicate laps removed"].count == 2
    assert found.quality["duplicate laps that differ (first kept)"].examples == ("2020_race_1 perez 2",)


def test_a_gap_is_bridged_by_the_fields_median(tmp_path: Path) -> None:
    assert field(tmp_path, [(1, 101), (2, 101), (5, 101)]) == [101.0, 202.0, 503.0]


def test_missing_first_laps_are_bridged(tmp_path: Path) -> None:
    assert field(tmp_path, [(3, 101), (4, 101)]) == [301.0, 402.0]


def test_a_gap_whose_time_is_in_the_lap_beside_it_is_not_bridged(tmp_path: Path) -> None:
    assert field(tmp_path / "before", [(1, 101), (2, 202), (4, 101)]) == [101.0, 303.0, 404.0]
    assert field(tmp_path / "after", [(1, 101), (2, 101), (4, 202)]) == [101.0, 202.0, 404.0]


def test_gaps_are_told(tmp_path: Path) -> None:
    rows = "".join(f"10,1,{lap},1,x,100000\n" for lap in range(1, 5)) + "10,2,1,2,x,100000\n10,2,3,2,x,100000\n"
    found = with_laps(tmp_path, rows)
    assert found.quality["gaps in lap numbers"].examples == ("2020_race_1 sainz 3",)
    assert found.quality["gaps bridged by the field's median lap time"].count == 1


def test_a_clock_against_the_running_order_is_told(tmp_path: Path) -> None:
    found = with_laps(tmp_path, "10,1,1,2,x,100000\n10,2,1,1,x,101000\n")
    assert found.quality["laps whose clock disagrees with the running order"].count == 2
    assert found.quality["races where it does on more than 1 % of laps"].examples == ("2020_race_1 1.0",)


def test_laps_of_a_driver_without_result_are_dropped_and_told(tmp_path: Path) -> None:
    results = "\n".join(line for line in foreign.ERGAST["results.csv"].split("\n") if not line.startswith("3,10,"))
    found = ingest(foreign.ergast(tmp_path, results=results))
    assert column(found.tables.laps, "lap", driver_id="ambrosio") == []
    assert found.quality["laps of drivers without a result dropped"].count == 2


def test_a_lap_of_three_seconds_has_no_speed_and_is_flagged(tmp_path: Path) -> None:
    lap_times = HEADER + "10,1,1,1,x,100000\n10,1,2,1,x,3000\n"
    laps = ingest(foreign.ergast(tmp_path, lap_times=lap_times), foreign.f1db(tmp_path)).tables.laps
    assert laps["speed_kmh"].to_list() == [180.0, None]
    assert laps["implausible"].to_list() == [False, True]


def test_races_and_drivers_without_laps_and_counts_against_the_result_are_told(tmp_path: Path) -> None:
    quality = ingest(foreign.ergast(tmp_path)).quality
    assert quality["races without laps"].examples == ("1955_race_1",)
    assert quality["drivers without laps in races with laps"].examples == ("2020_race_2 ambrosio",)
    assert quality["drivers with more laps than their result counts"].count == 0
    more = foreign.ERGAST["lap_times.csv"] + "10,3,3,3,x,150000\n"
    told = ingest(foreign.ergast(tmp_path / "more", lap_times=more)).quality
    assert told["drivers with more laps than their result counts"].examples == ("2020_race_1 ambrosio 3 2",)
    assert told["lap times of exactly 2:30.000"].examples == ("2020_race_1 ambrosio 3",)


def timed(tmp_path: Path, rows: list[dict[str, object]], **changes: str) -> Ingested:
    return ingest(foreign.ergast(tmp_path, **changes), fastf1=foreign.fastf1(tmp_path, rows))


def test_timing_that_numbers_laps_anew_is_laid_over_by_the_clock(tmp_path: Path) -> None:
    rows = foreign.timing_rows()
    steady = "".join(f"10,1,{lap},1,x,{90 + lap}000\n" for lap in range(1, 11))
    clock, mine = 600.0, []
    for lap in range(1, 11):
        clock += 90 + lap
        if lap != 5:  # Lap 5 was missed, and the laps after it are numbered 5, 6, ...
            row = dict(rows[0], LapNumber=float(lap - (lap > 5)), Time=timedelta(seconds=clock), TyreLife=float(lap))
            mine.append(row)
    found = timed(tmp_path, mine, lap_times=HEADER + steady)
    expected = [1, 2, 3, 4, None, 6, 7, 8, 9, 10]
    assert column(found.tables.laps, "tyre_life") == expected
    assert found.quality["laps numbered anew by the session clock"].count == 5
    assert found.quality["Ergast's laps without timing in timed races"].examples == ("2020_race_1 perez 5",)


def test_an_hour_lost_by_the_lap_times_of_the_whole_field_is_restored(tmp_path: Path) -> None:
    rows = foreign.timing_rows()
    late = [dict(r, Time=r["Time"] + timedelta(hours=1)) if r["LapNumber"] > 2 else r for r in rows]  # type: ignore[operator]
    found = timed(tmp_path, late)
    assert column(found.tables.laps, "end_time_s", driver_id="perez", race_id="2020_race_1") == [100, 200, 3920, 4020]
    assert column(found.tables.laps, "lap_time_s", driver_id="perez", race_id="2020_race_1") == [100, 100, 120, 100]
    check = found.quality["races whose lap times lost time that the session clock has"]
    assert check.examples == ("2020_race_1 3 3600.0",)


def test_one_drivers_faulty_clock_changes_nothing(tmp_path: Path) -> None:
    rows = foreign.timing_rows()
    faulty = [dict(r, Time=r["Time"] + timedelta(hours=1)) if r["Driver"] == "SAI" else r for r in rows]  # type: ignore[operator]
    found = timed(tmp_path, faulty)
    assert column(found.tables.laps, "end_time_s", driver_id="sainz", race_id="2020_race_1") == [101, 202, 323, 423]
    assert found.tables.weather["time_s"].to_list() == [-60.0, 0.0, 780.0]


def test_timing_of_unknown_drivers_and_laps_is_told(tmp_path: Path) -> None:
    rows = foreign.timing_rows()
    stranger = [dict(rows[0], Driver="XXX", DriverNumber="77"), dict(rows[0], LapNumber=9.0), rows[0]]
    quality = timed(tmp_path, [*rows, *stranger]).quality
    assert quality["drivers unmatched"].examples == ("2020_race_1 XXX 77",)
    assert set(quality["laps unmatched"].examples) == {"2020_race_1 XXX 1", "2020_race_1 PER 9"}
    assert quality["duplicate timed laps removed"].count == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    picks=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(50, 200)), max_size=30),
)
def test_each_lap_stays_once_and_the_clock_never_runs_back(picks: list[tuple[int, int, int]]) -> None:
    rows = pl.DataFrame(
        [("r", f"d{driver}", lap, driver, float(time)) for driver, lap, time in picks],
        schema={"race_id": pl.String, "driver_id": pl.String, "lap": pl.Int64, "position": pl.Int64,
                "lap_time_s": pl.Float64},
        orient="row",
    )  # fmt: skip
    nothing = pl.DataFrame()
    entries = pl.DataFrame({"race_id": "r", "driver_id": ["d1", "d2", "d3"]})
    order = pl.DataFrame({"race_id": ["r"], "_order": [0]})
    source = ErgastData(nothing, nothing, nothing, nothing, nothing, rows)
    laps, checks = clean_laps(source, entries, order)
    first: dict[tuple[str, int], float] = {}
    for driver, lap, time in picks:
        first.setdefault((f"d{driver}", lap), float(time))
    assert {(d, n): t for d, n, t in laps.select("driver_id", "lap", "lap_time_s").iter_rows()} == first
    assert checks[0].count == len(picks) - len(first)
    steps = laps.select(pl.col("end_time_s").diff().over("driver_id") - pl.col("lap_time_s")).to_series().drop_nulls()
    assert (steps > -1e-9).all()
