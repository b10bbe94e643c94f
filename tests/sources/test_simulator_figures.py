"""The figures of races: hand-made ones, whose stops, slow phases and gaps are known, and simulated ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from f1_predict.config import SimulatorConfig
from f1_predict.sources.simulator import simulate
from f1_predict.sources.simulator.figures import FIGURES, KEYS, era_figures, figures_of, race_figures
from f1_predict.sources.simulator.race_arrays import RaceArrays, median, races_as_arrays, read_race
from f1_predict.sources.simulator.race_measures import correlation, phases

CARS, LAPS = 12, 60


def made_up(seed: int = 0, season: int = 2001, slope: float = 0.0) -> RaceArrays:
    """A race in which car c (from 0) is c / 10 % slower than the winner, with one stop on lap 20 + c, of 20 s.

    The field is half as slow again on laps 41 to 44, and tyres lose `slope` (a share of the lap) on each lap.
    """
    rng = np.random.default_rng(seed)
    lap = np.arange(LAPS)[:, None]
    stop = np.arange(CARS) + 19
    age = np.where(lap > stop, lap - stop - 1, lap)
    time_s = 90.0 * (1.0 + 0.001 * np.arange(CARS) + slope * age + rng.normal(0.0, 0.0005, (LAPS, CARS)))
    time_s[0] += 5.0 + np.arange(CARS)
    time_s[stop, np.arange(CARS)] += 4.0
    time_s[stop + 1, np.arange(CARS)] += 16.0
    time_s[40:44] *= 1.5
    end_s = np.cumsum(time_s, axis=0)
    pit_in = np.zeros((LAPS, CARS), dtype=np.bool_)
    pit_in[stop, np.arange(CARS)] = True
    return RaceArrays(
        race_id=f"{season}_race_1",
        season=season,
        round=1,
        scheduled=LAPS,
        time_s=time_s,
        end_s=end_s,
        place=end_s.argsort(axis=1).argsort(axis=1) + 1.0,
        pit_in=pit_in,
        status=np.where(np.isin(np.arange(LAPS), range(40, 44))[:, None], "4", "1") + np.full((LAPS, CARS), ""),
        grid=np.arange(1, CARS + 1),
        laps_done=np.full(CARS, LAPS),
        classified=np.ones(CARS, dtype=np.bool_),
        retired=np.zeros(CARS, dtype=np.bool_),
        reason=["Finished"] * CARS,
        qualifying_s=80.0 * (1.0 + 0.001 * np.arange(CARS)),
        driver=[f"driver_{c}" for c in range(CARS)],
        team=[f"team_{c // 2}" for c in range(CARS)],
        wet=False,
    )


def one_race(race: RaceArrays) -> dict[str, float]:
    return dict(figures_of([race]).row(0, named=True))


def test_stops_and_slow_phases_are_read_from_lap_times() -> None:
    race = made_up()
    reading = read_race(race)
    assert race.pit_in is not None
    assert (reading.stop == race.pit_in).all()
    assert reading.slow.nonzero()[0].tolist() == [40, 41, 42, 43]
    assert np.nanmedian(reading.loss_s) == pytest.approx(20.0, abs=0.2)
    assert reading.age[25, 0] == 5
    assert not reading.clean[40:44].any()
    assert not reading.clean[0].any()


def test_a_spin_is_a_mistake_and_no_stop() -> None:
    race = made_up()
    race.time_s[30, 3] += 9.0
    reading = read_race(race)
    assert not reading.stop[30, 3]
    assert not reading.clean[30, 3]
    figures = one_race(race)
    assert figures["mistakes"] == pytest.approx(100.0 / (CARS * 52), rel=0.1)
    assert figures["stops_seen"] == 1.0


def test_figures_of_a_race_whose_truth_is_known() -> None:
    figures = one_race(made_up())
    pace = 0.1 * np.arange(CARS)
    assert figures["pace_spread"] == pytest.approx(pace.std(ddof=1), rel=0.05)
    assert figures["team_mate_gap"] == pytest.approx(0.1, rel=0.15)
    assert figures["lap_noise"] == pytest.approx(0.05, rel=0.15)
    assert figures["stops_seen"] == figures["stops_recorded"] == 1.0
    assert figures["stops_shown"] == 100.0
    assert figures["stops_false"] == 0.0
    assert figures["first_stop"] == pytest.approx((20 + 5.5) / LAPS)
    assert figures["pit_loss"] == pytest.approx(20.0, abs=0.2)
    assert figures["slow_phases"] == figures["safety_cars"] == 1.0
    assert figures["virtual_safety_cars"] == figures["red_flags"] == 0.0
    assert figures["grid_result"] == 1.0
    assert figures["qualifying_pace"] == pytest.approx(1.0, abs=0.01)
    assert figures["pole_wins"] == 100.0
    assert figures["changes_lap_1"] == 0.0
    # Five cars on new places catch slower ones that have yet to stop; 54 laps follow a green lap and are green.
    assert figures["passes"] == pytest.approx(5 / 54)
    assert figures["changes"] > 0.1  # by the stops
    assert figures["gap_2"] == pytest.approx(1.0 + 0.09 * 62, abs=1.0)
    assert figures["gap_10"] == pytest.approx(9.0 + 9 * 0.09 * 62, abs=2.0)
    assert figures["lapped"] == 0.0
    assert figures["classified"] == 100.0


def test_the_wear_of_tyres_is_told_from_the_pace_of_cars() -> None:
    assert one_race(made_up(slope=0.0005))["wear_slope"] == pytest.approx(0.05, rel=0.1)
    assert one_race(made_up(slope=0.0))["wear_slope"] == pytest.approx(0.0, abs=0.005)


def test_retirements_are_sorted_by_what_and_when() -> None:
    race = made_up()
    done = race.laps_done.copy()
    done[-3:] = [50, 20, 0]
    for car in (9, 10, 11):
        for values in (race.time_s, race.end_s, race.place):
            values[done[car] :, car] = np.nan
    out = np.arange(CARS) > 8
    reason = ["Finished"] * 9 + ["Engine", "Gearbox", "Collision"]
    figures = one_race(replace(race, laps_done=done, classified=~out, retired=out, reason=reason))
    told = {key: figures[key] for key in ("retired", "retired_by_accident", "retired_by_fault", "out_on_lap_1")}
    assert told == {"retired": 3.0, "retired_by_accident": 1.0, "retired_by_fault": 2.0, "out_on_lap_1": 1.0}
    assert figures["out_in_second_half"] == 1.0
    assert figures["retired_front"] == 0.0
    assert figures["classified"] == 75.0


def test_what_was_not_recorded_is_unknown_and_the_rest_is_not() -> None:
    race = replace(made_up(), pit_in=None, status=None, wet=None)
    figures = one_race(race)
    assert all(figures[key] is None for key in ("stops_recorded", "safety_cars", "red_flags", "wet"))
    assert figures["stops_seen"] == 1.0
    assert figures["slow_phases"] == 1.0


def test_an_era_averages_its_races_and_says_how_sure_it_is() -> None:
    frame = figures_of([made_up(seed, season) for seed, season in enumerate([2001, 2002, 2003, 2012])])
    table = {row["key"]: row for row in era_figures(frame, 2001, 2003).iter_rows(named=True)}
    values = frame["lap_noise"].to_numpy()[:3]
    assert table["lap_noise"]["races"] == 3
    assert table["lap_noise"]["value"] == pytest.approx(values.mean())
    assert table["lap_noise"]["se"] == pytest.approx(values.std(ddof=1) / np.sqrt(3))
    assert table["gap_2"]["value"] == pytest.approx(np.median(frame["gap_2"].to_numpy()[:3]))
    assert table["pace_next_season"]["value"] is None
    three = [made_up(seed, season) for season in (2001, 2002, 2003) for seed in (season, season + 10)]
    tells = {row["key"]: row for row in era_figures(figures_of(three), 2001, 2003).iter_rows(named=True)}
    by_season = figures_of(three)["lap_noise"].to_numpy().reshape(3, 2).mean(axis=1)
    by_race = figures_of(three)["lap_noise"].to_numpy()
    wanted = max(by_season.std(ddof=1) / np.sqrt(3), by_race.std(ddof=1) / np.sqrt(6))
    assert tells["lap_noise"]["se"] == pytest.approx(wanted)
    assert list(table) == list(KEYS) == [figure.key for figure in FIGURES]


def test_helpers() -> None:
    values = np.array([[1.0, np.nan, 3.0, 2.0], [np.nan] * 4, [4.0, 1.0, 2.0, 3.0]])
    assert np.array_equal(median(values, axis=1), [2.0, np.nan, 2.5], equal_nan=True)
    assert phases(np.array([0, 1, 1, 0, 1, 0, 0, 1], dtype=np.bool_)) == 2
    assert correlation(np.arange(8.0), np.exp(np.arange(8.0)), ranks=True) == pytest.approx(1.0)
    assert np.isnan(correlation(np.arange(3.0), np.arange(3.0)))


def test_simulated_seasons_have_every_figure() -> None:
    tables = simulate(2, 5, SimulatorConfig(races_per_season=6))
    frame = race_figures(tables)
    assert frame.height == 12
    assert [race.race_id for race in races_as_arrays(tables)] == frame["race_id"].to_list()
    known = frame.select(KEYS).select(name for name in KEYS if frame[name].null_count() < 12).columns
    assert set(known) == set(KEYS)
