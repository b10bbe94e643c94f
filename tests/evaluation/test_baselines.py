"""The counting baselines on races written out by hand: orders at a cut, frequencies, no peeking."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from f1_predict.errors import DataError, HorizonError, NotFoundError
from f1_predict.evaluation.baselines import (
    CurrentOrderBaseline,
    GridBaseline,
    UniformBaseline,
    current_order,
    start_order,
    true_results,
)
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.schemas import Tables, dtypes, empty


def table(name: str, rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dtypes(name)) if rows else empty(name)


def race_row(number: int, laps: int = 10) -> dict:
    return {
        "race_id": f"2101_race_{number}",
        "season": 2101,
        "round": number,
        "name": f"Grand Prix {number}",
        "date": date(2101, 3, 1) + timedelta(weeks=number),
        "circuit_id": "ring",
        "course_length_km": 5.0,
        "scheduled_laps": laps,
    }


def build(grids: list[list[int]], positions: list[list[int]], laps: dict[int, dict[str, list[float]]] | None = None):
    """Races 1, 2, ...: grid slots and final places of drivers a, b, c, ...; laps[race][driver] = ends in seconds."""
    races, entries, results, lap_rows = [], [], [], []
    for number, (grid, places) in enumerate(zip(grids, positions, strict=True), start=1):
        race_id = f"2101_race_{number}"
        races.append(race_row(number))
        for i, (slot, place) in enumerate(zip(grid, places, strict=True)):
            driver = chr(ord("a") + i)
            entries.append({"race_id": race_id, "driver_id": driver, "constructor_id": "team", "grid": slot})
            results.append(
                {
                    "race_id": race_id,
                    "driver_id": driver,
                    "position": place,
                    "classified": True,
                    "status": "Finished",
                    "laps_completed": 10,
                }
            )
        ends = (laps or {}).get(number, {})
        for driver, times in ends.items():
            for lap, end in enumerate(times, start=1):
                position = 1 + sum(len(o) >= lap and o[lap - 1] < end for o in ends.values())
                start = times[lap - 2] if lap > 1 else 0.0
                lap_rows.append(
                    {
                        "race_id": race_id,
                        "driver_id": driver,
                        "lap": lap,
                        "lap_time_s": end - start,
                        "end_time_s": end,
                        "position": position,
                        "implausible": False,
                    }
                )
    tables = Tables(
        table("races", races),
        table("entries", entries),
        table("results", results),
        table("laps", lap_rows),
        empty("weather"),
    )
    return RaceArchive(tables.sort().validate())


def steady(pace: float, laps: int = 10) -> list[float]:
    return [pace * lap for lap in range(1, laps + 1)]


FIELD = {
    "a": steady(100.0),  # third on the road, lapped by nobody
    "b": steady(90.0),  # leads
    "c": steady(160.0, 6),  # slow: laps down, but going
    "d": steady(95.0)[:4],  # second until it stops after lap 4
    # e never completes a lap
}


@pytest.fixture
def archive() -> RaceArchive:
    return build([[1, 2, 3, 4, 5]], [[2, 1, 3, 4, 5]], {1: FIELD})


class TestOrders:
    def test_grid_order_puts_the_pit_lane_last(self):
        archive = build([[3, 0, 1, 7]], [[1, 2, 3, 4]])
        assert start_order(archive.snapshot("2101_race_1", PreRace())).tolist() == [2, 4, 1, 3]

    def test_two_starts_from_the_pit_lane_keep_the_order_of_qualifying(self):
        archive = build([[0, 0, 1]], [[1, 2, 3]])
        entries = archive.tables.entries.with_columns(qualifying_position=pl.Series([9, 4, 1], dtype=pl.Int32))
        changed = RaceArchive(Tables(**{**vars(archive.tables), "entries": entries}))
        assert start_order(changed.snapshot("2101_race_1", PreRace())).tolist() == [3, 2, 1]

    def test_more_laps_come_first_then_who_ended_them_earlier(self, archive):
        order = current_order(archive.snapshot("2101_race_1", AfterLap(4)))
        assert order.tolist() == [3, 1, 4, 2, 5]

    def test_stopped_car_falls_behind_running_ones_with_fewer_laps(self, archive):
        """At 540 s the leader ends lap 6; d, which has ended 4, last crossed the line at 380 s: 1.8 laps ago."""
        snapshot = archive.snapshot("2101_race_1", AfterLap(6))
        assert current_order(snapshot).tolist() == [2, 1, 4, 3, 5]
        later = archive.snapshot("2101_race_1", AfterLap(7))
        laps = dict(later.laps.group_by("driver_id").len().iter_rows())
        assert (laps["c"], laps["d"]) == (3, 4)
        assert current_order(later).tolist() == [2, 1, 3, 4, 5]

    def test_long_stop_of_the_whole_race_makes_nobody_a_retirement(self):
        """A red flag of an hour in lap 5: at the leader's next line the others crossed theirs an hour ago."""
        hour = {
            driver: [end if lap <= 4 else end + 3600.0 for lap, end in enumerate(ends, start=1)]
            for driver, ends in FIELD.items()
        }
        archive = build([[1, 2, 3, 4, 5]], [[2, 1, 3, 4, 5]], {1: hour})
        assert current_order(archive.snapshot("2101_race_1", AfterLap(5))).tolist() == [3, 1, 4, 2, 5]

    def test_after_the_first_lap_all_but_the_leader_keep_the_order_of_the_start(self, archive):
        assert current_order(archive.snapshot("2101_race_1", AfterLap(1))).tolist() == [2, 1, 3, 4, 5]

    def test_before_the_start_the_running_order_is_the_grid(self, archive):
        snapshot = archive.snapshot("2101_race_1", PreRace())
        assert current_order(snapshot).tolist() == start_order(snapshot).tolist() == [1, 2, 3, 4, 5]

    def test_true_results_follow_the_entries(self, archive):
        positions, classified = true_results(archive, "2101_race_1")
        assert positions.tolist() == [2, 1, 3, 4, 5]
        expected = archive.rows("results", "2101_race_1")["classified"].to_list()
        assert classified.tolist() == expected

    def test_starter_without_a_result_is_named(self, archive):
        results = archive.tables.results.filter(pl.col("driver_id") != "c")
        without = RaceArchive(Tables(**{**vars(archive.tables), "results": results}))
        with pytest.raises(DataError, match="2101_race_1: driver 'c' has no result"):
            true_results(without, "2101_race_1")


class TestForecasts:
    def test_uniform(self, archive):
        assert UniformBaseline().predict(archive.snapshot("2101_race_1", PreRace())).tolist() == [[0.2] * 5] * 5

    def test_grid_frequencies_learn_who_wins_from_where(self):
        """In 30 races slot 1 always won and slots 2 and 3 took turns."""
        positions = [[1, 2, 3] if i % 2 else [1, 3, 2] for i in range(30)]
        archive = build([[1, 2, 3]] * 31, [*positions, [3, 2, 1]])
        model = GridBaseline().fit(archive, archive.race_ids[:30])
        probs = model.predict(archive.snapshot("2101_race_31", PreRace()))
        assert probs[0, 0] > 0.6
        assert probs[1, 1] == pytest.approx(probs[1, 2], rel=0.1)
        assert probs.sum(axis=1) == pytest.approx(np.ones(3))
        assert probs.min() > 0.01

    def test_counts_are_smoothed_over_neighbours_and_a_uniform_outcome(self):
        """One race of two cars, from the definition: kernel exp(-d^2 / 2 / 0.85^2), six races of a uniform outcome."""
        archive = build([[1, 2], [1, 2]], [[1, 2], [2, 1]])
        probs = GridBaseline().fit(archive, ["2101_race_1"]).predict(archive.snapshot("2101_race_2", PreRace()))
        neighbour = np.exp(-0.5 / 0.85**2)
        expected = (1.0 + 3.0) / (1.0 + neighbour + 6.0)
        assert probs[0] == pytest.approx([expected, 1.0 - expected], abs=1e-9)
        assert probs[1] == pytest.approx([1.0 - expected, expected], abs=1e-9)

    def test_finishing_is_counted_by_place(self):
        """Two races of two cars, the second car classified in neither, from the definition as above."""
        archive = build([[1, 2]] * 3, [[1, 2]] * 3)
        results = archive.tables.results.with_columns(classified=pl.col("driver_id") == "a")
        archive = RaceArchive(Tables(**{**vars(archive.tables), "results": results}))
        model = GridBaseline().fit(archive, archive.race_ids[:2])
        neighbour, rate = np.exp(-0.5 / 0.85**2), (2.0 + 1.0) / (4.0 + 2.0)
        starts = 2.0 + 2.0 * neighbour
        expected = [(2.0 + 6.0 * rate) / (starts + 6.0), (2.0 * neighbour + 6.0 * rate) / (starts + 6.0)]
        finish = model.predict_finish(archive.snapshot("2101_race_3", PreRace()))
        assert finish == pytest.approx(expected, abs=1e-12)
        assert UniformBaseline().predict_finish(archive.snapshot("2101_race_3", PreRace())).tolist() == [0.5, 0.5]

    def test_running_order_counts_from_where_cars_were_at_the_cut(self):
        """The order after lap 5 is the grid reversed, and the result follows it."""
        fast = {"a": steady(110.0), "b": steady(105.0), "c": steady(100.0)}
        archive = build([[1, 2, 3]] * 21, [[3, 2, 1]] * 21, dict.fromkeys(range(1, 22), fast))
        model = CurrentOrderBaseline().fit(archive, archive.race_ids[:20], 0.5)
        probs = model.predict(archive.snapshot("2101_race_21", AfterLap(5)))
        assert np.argmax(probs, axis=1).tolist() == [2, 1, 0]
        assert model.fraction_ == 0.5
        assert probs.min() > 0.0

    def test_races_without_laps_are_left_out_of_the_count(self):
        archive = build([[1, 2], [1, 2]], [[1, 2], [2, 1]], {2: {"a": steady(100.0), "b": steady(99.0)}})
        assert CurrentOrderBaseline().fit(archive, archive.race_ids, 0.5).races_ == ["2101_race_2"]

    def test_larger_field_than_any_counted(self):
        """22 cars after fields of 20: every place has a probability, every car a forecast of its own size."""
        twenty, more = list(range(1, 21)), list(range(1, 23))
        archive = build([twenty] * 5 + [more], [twenty] * 5 + [more])
        probs = GridBaseline().fit(archive, archive.race_ids[:5]).predict(archive.snapshot("2101_race_6", PreRace()))
        assert probs.shape == (22, 22)
        assert probs.sum(axis=1) == pytest.approx(np.ones(22))
        assert probs.min() > 0.0
        assert np.argmax(probs[0]) == 0
        assert probs[21, 18:].sum() > 0.5

    def test_smaller_field_than_any_counted(self):
        archive = build([[1, 2, 3, 4]] * 5 + [[1, 2]], [[1, 2, 3, 4]] * 5 + [[1, 2]])
        probs = GridBaseline().fit(archive, archive.race_ids[:5]).predict(archive.snapshot("2101_race_6", PreRace()))
        assert probs.shape == (2, 2)
        assert probs[0, 0] == pytest.approx(probs[1, 1], abs=0.25)

    def test_nothing_after_the_cut_moves_a_forecast(self, archive):
        """Other laps after the cut, another result: the same bits."""
        cut = archive.snapshot("2101_race_1", AfterLap(4))
        laps = archive.tables.laps.with_columns(
            position=pl.when(pl.col("end_time_s") > cut.cut_time_s).then(6 - pl.col("position")).otherwise("position")
        )
        results = archive.tables.results.with_columns(position=6 - pl.col("position"))
        changed = RaceArchive(Tables(**{**vars(archive.tables), "laps": laps, "results": results}))
        model = CurrentOrderBaseline().fit(archive, archive.race_ids, 0.4)
        after = model.predict(changed.snapshot("2101_race_1", AfterLap(4)))
        assert np.array_equal(after, model.predict(cut))


class TestRefusals:
    def test_no_races(self, archive):
        with pytest.raises(DataError, match="grid frequencies need one past race or more"):
            GridBaseline().fit(archive, [])
        with pytest.raises(DataError, match="need one past race with laps or more"):
            CurrentOrderBaseline().fit(archive, [], 0.5)

    def test_unknown_race(self, archive):
        with pytest.raises(NotFoundError, match="no race '2101_race_9'"):
            GridBaseline().fit(archive, ["2101_race_9"])

    @pytest.mark.parametrize("fraction", [0.0, 1.5])
    def test_fraction_outside_the_race(self, archive, fraction):
        with pytest.raises(HorizonError, match=rf"a fraction of the race in \(0, 1\], got {fraction}"):
            CurrentOrderBaseline().fit(archive, archive.race_ids, fraction)

    def test_prediction_before_fit(self, archive):
        snapshot = archive.snapshot("2101_race_1", PreRace())
        with pytest.raises(DataError, match=r"grid frequencies are not counted\. Call fit"):
            GridBaseline().predict(snapshot)
        with pytest.raises(DataError, match=r"running-order frequencies are not counted\. Call fit"):
            CurrentOrderBaseline().predict(snapshot)
