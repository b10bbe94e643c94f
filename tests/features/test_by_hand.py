"""Features of single races and ratings, worked out by hand; and the catalogue itself."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from f1_predict.features import FEATURE_NAMES, FEATURES
from f1_predict.features.conditions import at_cut
from f1_predict.features.linear import LinearForecast, centred_rank
from f1_predict.features.pace import race_pace
from f1_predict.features.ratings import Ratings, expected_position
from f1_predict.features.sessions import (
    field_rank,
    fullest_session_gap_pct,
    grid_rank,
    latest_session_gap_pct,
    relative,
    teammate_gap_pct,
    teammates,
)
from f1_predict.horizon import LapMatrices, WeatherColumns
from f1_predict.schemas import dtypes

NAN = math.nan


def values(array: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 6) for value in array.tolist()]


def ratings(**changes: float) -> Ratings:
    settings = {
        "driver_step": 0.1,
        "constructor_step": 0.2,
        "driver_keep": 0.5,
        "constructor_keep": 0.25,
        "new_driver": 0.0,
        "new_constructor": 0.0,
    }
    return Ratings(**{**settings, **changes})


def test_the_catalogue_names_every_feature_once_and_the_four_of_the_dataset_file() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert {"driver_rating", "circuit_id", "weather", "tire_compound"} <= set(FEATURE_NAMES)
    for feature in FEATURES:
        assert feature.name == feature.name.lower()
        assert feature.meaning
        assert feature.unit
        assert feature.unknown.startswith(("null", "never", "0", "new ", "field_finish_rate")), feature.name


def test_grid_rank_puts_the_pit_lane_last_and_keeps_the_order_of_equals() -> None:
    assert grid_rank(np.array([0.0, 2.0, 1.0, 0.0, 2.0])).tolist() == [4, 2, 1, 5, 3]


def test_relative_runs_from_first_to_last() -> None:
    assert relative(np.array([1.0, 3.0, 2.0])).tolist() == [0.0, 1.0, 0.5]
    assert relative(np.array([1.0])).tolist() == [0.0]


def test_field_rank_shares_ranks_and_leaves_out_the_unknown() -> None:
    ranks = field_rank(np.array([0.3, NAN, 0.1, 0.1 + 0.2, 5.0]))
    assert values(ranks) == [2.5, None, 1.0, 2.5, 4.0]


def test_qualifying_gaps_compare_within_a_session() -> None:
    q = np.array([[101.0, 100.0, NAN], [100.0, 90.0, 80.0], [NAN, NAN, NAN], [102.0, NAN, NAN]])
    assert values(latest_session_gap_pct(q)) == [round(1000 / 90, 6), 0.0, None, 2.0]
    assert values(teammate_gap_pct(q, teammates(["a", "a", "b", "c"]))) == [
        round(1000 / 90, 6),
        -10.0,
        None,
        None,
    ]


def test_fullest_practice_is_the_later_of_equals() -> None:
    practice = np.array([[100.0, 100.0, 50.0], [110.0, 120.0, NAN]])
    assert values(fullest_session_gap_pct(practice)) == [0.0, 20.0]


def test_a_win_against_an_equal_moves_both_by_half_a_step() -> None:
    state = ratings()
    state.update(["a", "b"], ["x", "y"], np.array([1.0, 2.0]))
    assert state.drivers == pytest.approx({"a": 0.05, "b": -0.05})
    assert state.constructors == pytest.approx({"x": 0.1, "y": -0.1})
    state.new_season()
    assert state.drivers == pytest.approx({"a": 0.025, "b": -0.025})
    assert state.constructors == pytest.approx({"x": 0.025, "y": -0.025})


def test_teammates_leave_their_car_where_it_was() -> None:
    state = ratings(new_constructor=-0.4)
    state.update(["a", "b"], ["x", "x"], np.array([2.0, 1.0]))
    assert state.constructors == pytest.approx({"x": -0.4})
    assert state.drivers == pytest.approx({"a": -0.05, "b": 0.05})


def test_expected_positions_sum_up_the_chances_of_being_beaten() -> None:
    strength = np.array([math.log(3.0), 0.0])
    assert expected_position(strength).tolist() == pytest.approx([1.25, 1.75])


def test_linear_forecast_weighs_races_by_age_and_shrinks_to_the_middle() -> None:
    linear = LinearForecast(1, penalty=1.0, memory=0.5)
    inputs = np.array([[-0.5], [0.5]])
    assert linear.forecast(inputs).tolist() == [0.5, 0.5]
    linear.learn(inputs, np.array([0.0, 1.0]))
    assert linear.forecast(inputs).tolist() == pytest.approx([0.5 - 1 / 6, 0.5 + 1 / 6])  # weight 0.5 / (0.5 + 1)
    linear.learn(inputs, np.array([1.0, 0.0]))
    assert linear.forecast(inputs).tolist() == pytest.approx([0.5 + 1 / 14, 0.5 - 1 / 14])  # (0.25 - 0.5) / 1.75


def test_centred_rank_puts_the_unknown_in_the_middle() -> None:
    assert centred_rank(np.array([9.0, NAN, 7.0, 8.0])).tolist() == [0.5, 0.0, -0.5, 0.0]
    assert centred_rank(np.array([NAN, 3.0])).tolist() == [0.0, 0.0]


def lap_rows(rows: list[dict[str, object]]) -> pl.DataFrame:
    base = {"race_id": "2024_race_1", "end_time_s": 0.0, "position": 1, "implausible": False}
    return pl.DataFrame([{**dict.fromkeys(dtypes("laps")), **base, **row} for row in rows], schema=dtypes("laps"))


def test_race_pace_is_the_median_ratio_to_the_field_on_usable_laps() -> None:
    times = {"a": 98.0, "b": 100.0, "c": 105.0}
    rows: list[dict[str, object]] = [
        {"driver_id": driver, "lap": lap, "lap_time_s": seconds}
        for driver, seconds in times.items()
        for lap in range(1, 6)
    ]
    rows += [{"driver_id": "a", "lap": lap, "lap_time_s": 50.0, "pit_in": True} for lap in range(6, 20)]
    rows += [{"driver_id": "b", "lap": 6, "lap_time_s": 700.0, "implausible": True}]
    rows += [{"driver_id": "d", "lap": lap, "lap_time_s": 100.0} for lap in range(1, 5)]
    pace = dict(race_pace(lap_rows(rows)).select("driver_id", "pace").iter_rows())
    assert pace == pytest.approx({"a": 0.98, "b": 1.0, "c": 1.05})  # d has four laps only


def test_tyres_are_the_last_known_compound_and_the_last_lap_s_age() -> None:
    laps = lap_rows(
        [
            {"driver_id": "a", "lap": 1, "lap_time_s": 90.0, "compound": "SOFT", "tyre_life": 3},
            {"driver_id": "a", "lap": 2, "lap_time_s": 90.0, "compound": None, "tyre_life": 4},
            {"driver_id": "b", "lap": 1, "lap_time_s": 90.0, "compound": "WET", "tyre_life": 3},
            {"driver_id": "b", "lap": 2, "lap_time_s": 90.0, "compound": "WET", "tyre_life": None},
        ]
    )
    weather = pl.DataFrame(schema=dtypes("weather"))
    cut = at_cut(LapMatrices.of(["a", "b", "c"], laps), WeatherColumns.of(weather), 900.0)
    assert values(cut["tire_compound"]) == [4.0, 9.0, 0.0]
    assert values(cut["tyre_life"]) == [4.0, None, None]
    assert values(cut["weather"]) == [0.0, 0.0, 0.0]
    assert values(cut["air_temp_c"]) == [None, None, None]


@pytest.mark.parametrize(
    ("rainfall", "code"),
    [([True, False, False], 1.0), ([False, True, None], 2.0), ([True, None, None], 0.0), ([False, None, False], 1.0)],
)
def test_weather_is_rain_in_the_last_quarter_of_an_hour(rainfall: list[bool | None], code: float) -> None:
    weather = pl.DataFrame(
        {"time_s": [0.0, 901.0, 1500.0], "rainfall": rainfall, "air_temp_c": [20.0, 21.0, None], "track_temp_c": None},
        schema_overrides={"track_temp_c": pl.Float64},
    )
    cut = at_cut(LapMatrices.of(["a"], lap_rows([])), WeatherColumns.of(weather), 900.0)
    assert values(cut["weather"]) == [code]
    assert values(cut["air_temp_c"]) == [21.0]
    assert values(cut["track_temp_c"]) == [None]
