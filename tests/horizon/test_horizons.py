"""Names and limits of horizons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_predict.errors import HorizonError
from f1_predict.horizon import AfterLap, FullRace, PreRace, lap_of_fraction, parse_horizon


@given(st.integers(min_value=1, max_value=200))
def test_names_parse_back(lap: int) -> None:
    for horizon in (PreRace(), AfterLap(lap), FullRace()):
        assert parse_horizon(horizon.name) == horizon


def test_only_the_full_race_leaks() -> None:
    assert FullRace().leaks
    assert not PreRace().leaks
    assert not AfterLap(3).leaks


@pytest.mark.parametrize("text", ["lap_", "lap_x", "Lap_3", "", "lap_-1", "full"])
def test_unknown_names_are_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(HorizonError, match="Use 'pre_race', 'lap_20'"):
        parse_horizon(text)


def test_lap_zero_is_refused() -> None:
    with pytest.raises(HorizonError, match=r"lap of 1 or more, got 0\. Use PreRace"):
        AfterLap(0)


@pytest.mark.parametrize(
    ("fraction", "laps", "expected"),
    [(0.1, 44, 4), (0.25, 57, 14), (0.5, 57, 28), (0.01, 50, 1), (1.0, 70, 70)],
)
def test_lap_of_fraction_rounds_down_and_is_at_least_one(fraction: float, laps: int, expected: int) -> None:
    assert lap_of_fraction(fraction, laps) == expected


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan")])
def test_fractions_outside_the_race_are_refused(fraction: float) -> None:
    with pytest.raises(HorizonError, match=r"must be in \(0, 1\]"):
        lap_of_fraction(fraction, 50)
