"""In-race features: against their oracle, by hand, untouched by the future, and at the edges."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.config import SimulatorConfig
from f1_predict.features import IN_RACE_FEATURES, IN_RACE_NAMES, in_race, in_race_values
from f1_predict.features.inrace_laps import LapGrid
from f1_predict.features.order import current_order, start_order
from f1_predict.horizon import AfterLap, FullRace, PreRace, RaceArchive, Snapshot
from f1_predict.schemas import Tables
from f1_predict.sources.simulator import simulate
from f1_predict.tables import ingest
from tests.features.inrace_oracle import oracle
from tests.features.random_tables import random_tables
from tests.small_tables import random_tables as small_tables
from tests.tampering import tamper


@pytest.fixture(scope="module")
def simulated() -> Tables:
    return simulate(2, 3, SimulatorConfig(races_per_season=4))


def recorded(tables: Tables, seed: int) -> Tables:
    """Every stop recorded, and the track's status in some races."""
    rng = np.random.default_rng(seed)
    known = pl.col("race_id").str.tail(1).is_in(["1", "3"])
    status = pl.Series(rng.choice(["1", "2", "4", "67", "14"], tables.laps.height))
    laps = tables.laps.with_columns(
        pit_in=pl.col("pit_in").fill_null(False), track_status=pl.when(known).then(status).otherwise("track_status")
    )
    return Tables(tables.races, tables.entries, tables.results, laps, tables.weather).validate()


def column(snapshot: Snapshot, name: str) -> list[float | None]:
    return in_race(snapshot)[name].to_list()


def check(snapshot: Snapshot) -> None:
    expected, built = oracle(snapshot), in_race(snapshot)
    assert built["driver_id"].to_list() == snapshot.driver_ids
    assert built.columns == ["race_id", "driver_id", *IN_RACE_NAMES]
    for name in expected[0]:
        truth = [row[name] for row in expected]
        values = built[name].to_list()
        where = f"{name} of {snapshot.race_id}, {snapshot.horizon.name}"
        assert [v is None for v in values] == [t is None for t in truth], where
        assert [v for v in values if v is not None] == pytest.approx(
            [t for t in truth if t is not None], rel=1e-9, abs=1e-9
        ), where


@pytest.mark.parametrize("seed", range(4))
def test_features_equal_their_oracle(seed: int) -> None:
    for tables in (recorded(random_tables(seed), seed), recorded(small_tables(seed), seed)):
        archive = RaceArchive(tables)
        for race_id in archive.race_ids[::3]:
            laps = archive.laps_completed(race_id)
            check(archive.snapshot(race_id, PreRace()))
            for lap in {1, laps // 2, laps} - {0}:
                if lap <= laps:
                    check(archive.snapshot(race_id, AfterLap(lap)))


def test_features_equal_their_oracle_in_simulated_races(simulated: Tables) -> None:
    archive = RaceArchive(recorded(simulated, 0))
    for race_id in archive.race_ids[:3]:
        check(archive.snapshot(race_id, AfterLap(archive.laps_completed(race_id) // 2)))


def test_values_keep_to_the_catalogue(simulated: Tables) -> None:
    for tables in (simulated, random_tables(5), small_tables(5)):
        archive = RaceArchive(tables)
        for race_id in archive.race_ids[::3]:
            laps = archive.laps_completed(race_id)
            horizons = [PreRace(), FullRace(), *([AfterLap(1), AfterLap(laps // 2), AfterLap(laps)] if laps else [])]
            for horizon in horizons:
                built = in_race(archive.snapshot(race_id, horizon))
                for feature in IN_RACE_FEATURES:
                    values = built[feature.name].drop_nulls()
                    assert values.is_finite().all(), feature.name
                    if feature.unknown.startswith(("never", "0")):
                        assert values.len() == built.height, feature.name
                    assert feature.low is None or (values >= feature.low - 1e-9).all(), feature.name
                    assert feature.high is None or (values <= feature.high + 1e-9).all(), feature.name


def test_nothing_after_the_cut_changes_anything(simulated: Tables) -> None:
    archive = RaceArchive(simulated)
    rng = np.random.default_rng(0)
    for number in range(8):
        race_id = str(rng.choice(archive.race_ids[1:]))
        horizon = AfterLap(int(rng.integers(1, archive.laps_completed(race_id))))
        before = archive.snapshot(race_id, horizon)
        altered = RaceArchive(tamper(simulated, before, number))
        after = altered.snapshot(race_id, horizon)
        assert in_race_values(before).tobytes() == in_race_values(after).tobytes()
        assert_frame_equal(in_race(before), in_race(after), check_exact=True)
    later = AfterLap(horizon.lap + 1)
    longer = archive.snapshot(race_id, later)
    assert in_race_values(longer).tobytes() != in_race_values(altered.snapshot(race_id, later)).tobytes()


def test_only_race_entries_laps_and_weather_are_used(simulated: Tables) -> None:
    archive = RaceArchive(simulated)
    snapshot = archive.snapshot(archive.race_ids[-1], AfterLap(10))
    other = replace(snapshot, past=archive.past(archive.race_ids[1]))
    assert in_race_values(snapshot).tobytes() == in_race_values(other).tobytes()


def test_the_order_of_the_rows_of_laps_does_not_matter(simulated: Tables) -> None:
    archive = RaceArchive(simulated)
    snapshot = archive.snapshot(archive.race_ids[0], AfterLap(20))
    shuffled = replace(snapshot, laps=snapshot.laps.sample(fraction=1.0, shuffle=True, seed=1))
    np.testing.assert_array_equal(in_race_values(snapshot), in_race_values(shuffled))


def test_before_the_start_the_order_is_the_grid(simulated: Tables) -> None:
    archive = RaceArchive(simulated)
    snapshot = archive.snapshot(archive.race_ids[2], PreRace())
    assert column(snapshot, "ir_position") == start_order(snapshot).tolist() == current_order(snapshot).tolist()
    for name in ("ir_gap_leader", "ir_pace_all", "ir_stops", "ir_tyre_age", "ir_field_pace", "ir_overdue"):
        assert set(column(snapshot, name)) == {None}, name
    for name in ("ir_caution", "ir_gained", "ir_laps_behind", "ir_stopped"):
        assert set(column(snapshot, name)) == {0.0}, name


def field_of(snapshot: Snapshot, drivers: list[str]) -> Snapshot:
    here = pl.col("driver_id").is_in(drivers)
    return replace(snapshot, entries=snapshot.entries.filter(here), laps=snapshot.laps.filter(here))


def test_a_field_of_one_and_a_field_of_26(simulated: Tables) -> None:
    archive = RaceArchive(simulated)
    snapshot = archive.snapshot(archive.race_ids[0], AfterLap(30))
    leader = snapshot.driver_ids[int(np.argmin(current_order(snapshot)))]
    alone = in_race(field_of(snapshot, [leader]))
    assert alone.height == 1
    assert alone["ir_position"].to_list() == [1.0]
    assert alone["ir_gap_leader"].to_list() == [0.0]
    for name in ("ir_gap_ahead", "ir_gap_behind", "ir_teammate", "ir_pace_ahead", "ir_pace_all"):
        assert alone[name].to_list() == [None], name
    large = RaceArchive(simulate(1, 0, SimulatorConfig(races_per_season=1, teams=13)))
    many = in_race(large.snapshot(large.race_ids[0], AfterLap(20)))
    assert many.height == 26
    assert sorted(many["ir_position"]) == list(range(1, 27))


def test_drivers_without_laps_and_laps_without_entries(simulated: Tables) -> None:
    archive = RaceArchive(simulated)
    whole = archive.snapshot(archive.race_ids[0], AfterLap(30))
    snapshot = field_of(whole, whole.laps["driver_id"].unique().to_list())
    gone = snapshot.driver_ids[3]
    without = replace(snapshot, laps=snapshot.laps.filter(pl.col("driver_id") != gone))
    row = in_race(without).row(3, named=True)
    assert (row["ir_position"], row["ir_stopped"], row["ir_laps_behind"]) == (len(snapshot.driver_ids), 1.0, 30.0)
    assert row["ir_gap_leader"] is None
    stranger = replace(snapshot, entries=snapshot.entries.filter(pl.col("driver_id") != gone))
    assert_frame_equal(in_race(stranger), in_race(field_of(snapshot, stranger.driver_ids)))


def test_a_red_flag_is_a_caution_and_no_pace(simulated: Tables) -> None:
    archive = RaceArchive(simulated)
    snapshot = archive.snapshot(archive.race_ids[0], AfterLap(20))
    red = pl.col("lap") == 15
    stopped = snapshot.laps.with_columns(
        lap_time_s=pl.when(red).then(pl.col("lap_time_s") + 3600.0).otherwise("lap_time_s"),
        end_time_s=pl.when(pl.col("lap") >= 15).then(pl.col("end_time_s") + 3600.0).otherwise("end_time_s"),
        implausible=red,
        track_status=pl.lit(None, pl.String),
    )
    flagged = replace(snapshot, laps=stopped, cut_time_s=snapshot.cut_time_s + 3600.0)
    grid = LapGrid.of(flagged)
    assert grid.caution[14]
    assert not grid.clean[:, 14].any()
    assert in_race(flagged)["ir_caution_laps"].min() >= 1
    before = in_race(replace(snapshot, laps=snapshot.laps.with_columns(track_status=pl.lit(None, pl.String))))
    paces = pl.DataFrame({"before": before["ir_pace_all"], "after": in_race(flagged)["ir_pace_all"]}).drop_nulls()
    assert (paces["before"] - paces["after"]).abs().max() < 1.0  # type: ignore[operator]
    assert in_race(flagged)["ir_overdue"].max() <= 5.0  # type: ignore[operator]


def by_hand(times: dict[str, list[float]], **columns: dict[str, list[object]]) -> Snapshot:
    """One race of few cars; the last lap of `times` is the leader's."""
    archive = RaceArchive(small_tables(0, races=1, drivers=len(times)))
    snapshot = archive.snapshot("2000_race_1", PreRace())
    rows = []
    ends = {driver: np.cumsum(values) for driver, values in times.items()}
    for driver, values in times.items():
        for lap, seconds in enumerate(values, start=1):
            others = [other[lap - 1] for other in ends.values() if len(other) >= lap]
            row = {
                "race_id": "2000_race_1",
                "driver_id": driver,
                "lap": lap,
                "lap_time_s": seconds,
                "end_time_s": float(ends[driver][lap - 1]),
                "position": 1 + sum(end < ends[driver][lap - 1] for end in others),
                "implausible": False,
            }
            rows.append(row | {name: by_driver[driver][lap - 1] for name, by_driver in columns.items()})
    laps = pl.DataFrame(
        [{name: row.get(name) for name in snapshot.laps.columns} for row in rows], schema=snapshot.laps.schema
    )
    most = max(len(values) for values in times.values())
    cut = min(float(end[-1]) for end in ends.values() if len(end) == most)
    entries = snapshot.entries.with_columns(
        driver_id=pl.Series(list(times)), grid=pl.int_range(1, len(times) + 1, dtype=pl.Int32)
    )
    laps = laps.filter(pl.col("end_time_s") <= cut)
    return replace(snapshot, entries=entries, laps=laps, horizon=AfterLap(most), cutoff_lap=most, cut_time_s=cut)


def test_stops_that_nobody_recorded_are_seen_in_lap_times() -> None:
    steady = [100.0] * 12
    stopped = [100.0] * 5 + [103.0, 118.0] + [99.0] * 5  # the line before the pit box
    after = [100.0] * 5 + [117.0, 112.0] + [99.0] * 5  # both laps lose
    snapshot = by_hand({"a": steady, "b": [100.1] * 12, "c": stopped, "d": after, "e": [100.2] * 12, "f": [100.3] * 12})
    assert LapGrid.of(snapshot).pit_in.nonzero()[1].tolist() == [5, 5]
    assert column(snapshot, "ir_stops") == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert column(snapshot, "ir_stint")[2:4] == [5.0, 5.0]
    assert column(snapshot, "ir_fewer_ahead")[2:4] == [4.0, 4.0]


def test_what_is_recorded_stands_against_what_would_be_inferred() -> None:
    slow = [100.0] * 5 + [103.0, 118.0] + [99.0] * 5
    times = {"a": [100.0] * 12, "b": [100.1] * 12, "c": slow, "d": [100.2] * 12}
    snapshot = by_hand(times, pit_in={driver: [driver == "d" and lap == 3 for lap in range(12)] for driver in times})
    assert column(snapshot, "ir_stops") == [0.0, 0.0, 0.0, 1.0]


def test_a_safety_car_is_seen_in_lap_times_and_hides_no_stop_cost() -> None:
    laps = [100.0] * 6 + [140.0, 150.0] + [100.0] * 2
    snapshot = by_hand({name: [time + i / 10 for time in laps] for i, name in enumerate("abcd")})
    assert column(snapshot, "ir_caution_laps") == [2.0] * 4
    assert column(snapshot, "ir_caution") == [0.0] * 4
    assert column(snapshot, "ir_since_caution") == [2.0] * 4
    assert column(snapshot, "ir_stops") == [0.0] * 4
    during = by_hand({name: [time + i / 10 for time in laps[:8]] for i, name in enumerate("abcd")})
    assert column(during, "ir_caution") == [1.0] * 4


def test_gaps_closing_and_projection() -> None:
    snapshot = by_hand({"a": [100.0] * 9, "b": [101.0] * 4 + [98.0] * 4, "c": [103.0] * 8, "d": [104.0] * 8})
    # The last lap that both a and b have completed is the 8th: 800 s against 796 s.
    assert column(snapshot, "ir_gap_leader") == pytest.approx([0.0, -4.0, 24.0, 32.0])
    assert column(snapshot, "ir_gap_ahead")[2:] == pytest.approx([28.0, 8.0])
    assert column(snapshot, "ir_gap_behind")[1:] == [pytest.approx(28.0), pytest.approx(8.0), None]
    assert column(snapshot, "ir_closing_ahead")[3] == pytest.approx(1.0)
    assert column(snapshot, "ir_projected_rank") == [2.0, 1.0, 3.0, 4.0]
    assert column(snapshot, "ir_projected_net_rank") == [2.0, 1.0, 3.0, 4.0]
    gaps = column(snapshot, "ir_projected_gap")
    noise = 3.0 * math.sqrt(snapshot.race.scheduled_laps - 9 + 1)
    chances = [1.0 / (1.0 + math.exp(-((gaps[3] or 0.0) - (gap or 0.0)) / noise)) for gap in gaps[:3]]
    assert column(snapshot, "ir_expected_position")[3] == pytest.approx(1.0 + sum(chances))
    assert sum(value or 0.0 for value in column(snapshot, "ir_expected_position")) == pytest.approx(10.0)


def test_a_car_that_stays_out_too_long_is_late() -> None:
    snapshot = by_hand({"a": [100.0] * 8, "b": [100.5] * 7, "c": [101.0] * 6, "d": [101.0] * 7})
    overdue = column(snapshot, "ir_overdue")
    assert overdue[2] == pytest.approx((800 - 606) / 101.0, rel=0.02)
    assert column(snapshot, "ir_overdue_ahead") == [0.0, 0.0, 0.0, 0.0]
    assert column(snapshot, "ir_stopped") == [0.0, 0.0, 0.0, 0.0]


def test_missing_laps_leave_gaps_unknown() -> None:
    snapshot = by_hand({name: [100.0 + i] * 8 for i, name in enumerate("abcd")})
    holed = replace(snapshot, laps=snapshot.laps.filter((pl.col("driver_id") != "a") | (pl.col("lap") != 7)))
    assert column(snapshot, "ir_gap_leader")[1] == pytest.approx(7.0)
    assert column(holed, "ir_gap_leader") == [0.0, None, None, None]
    assert column(holed, "ir_gap_ahead")[2] == pytest.approx(7.0)


def test_rain_is_read_off_weather_tyres_or_lap_times() -> None:
    times = {name: [100.0 + i] * 8 for i, name in enumerate("abcd")}
    dry = by_hand(times)
    slow = dry.entries.with_columns(pl.lit(99.0).alias("q1_s"), pl.lit(None, pl.Float64).alias("fp1_s"))
    dry = replace(dry, entries=slow, weather=dry.weather.clear())
    assert column(dry, "ir_wet") == [0.0] * 4
    quick = replace(dry, entries=slow.with_columns(q1_s=pl.lit(80.0)))
    assert column(quick, "ir_wet") == [1.0] * 4
    tyres = by_hand(times, compound={name: ["SOFT"] * 4 + ["WET"] * 4 for name in times})
    assert column(replace(tyres, entries=slow, weather=dry.weather), "ir_wet") == [1.0] * 4
    rain = by_hand(times).weather.with_columns(rainfall=pl.lit(True))
    assert column(replace(dry, weather=rain), "ir_wet") == [1.0] * 4
    assert math.isclose(column(dry, "ir_field_dry")[0] or 0.0, 101.5 / 99.0)


@pytest.mark.real
def test_inferred_stops_of_a_real_season_are_the_recorded_ones(real_data: Path) -> None:
    """2013 records every stop; without the record most are found again, a lap off at most, and few others are."""
    tables = ingest(real_data / "ergast", real_data / "f1db", real_data / "fastf1", seasons=(2013, 2013)).tables
    archive = RaceArchive(tables)
    known = found = inferred = right = 0
    for race_id in archive.race_ids:
        snapshot = archive.snapshot(race_id, FullRace())
        unknown = pl.lit(None, pl.Boolean)
        blind = replace(snapshot, laps=snapshot.laps.with_columns(pit_in=unknown, pit_out=unknown))
        truth, guess = LapGrid.of(snapshot).pit_in, LapGrid.of(blind).pit_in
        known, found = known + truth.sum(), found + (truth & within_a_lap(guess)).sum()
        inferred, right = inferred + guess.sum(), right + (guess & within_a_lap(truth)).sum()
    assert known > 700
    assert found / known > 0.85
    assert right / inferred > 0.9


def within_a_lap(stops: np.ndarray) -> np.ndarray:
    wide = stops.copy()
    wide[:, 1:] |= stops[:, :-1]
    wide[:, :-1] |= stops[:, 1:]
    return wide
