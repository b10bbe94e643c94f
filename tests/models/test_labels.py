"""Positions become classes; what has no class is an error that names race and driver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_predict.errors import LabelError
from f1_predict.models.labels import classes_from_positions


@given(st.lists(st.integers(1, 26), max_size=40))
def test_class_is_position_minus_one(positions: list[int]) -> None:
    ids = [""] * len(positions)
    classes = classes_from_positions(np.array(positions, dtype=np.int32), 26, ids, ids)
    assert classes.dtype == np.int64
    assert classes.tolist() == [position - 1 for position in positions]


def test_twenty_two_cars_and_twenty_classes() -> None:
    drivers = [f"driver_{place}" for place in range(1, 23)]
    with pytest.raises(
        LabelError, match=r"2012_race_1, driver_21: position must be 1 to 20.*got 21.*output_dim of at least 22"
    ):
        classes_from_positions(np.arange(1, 23), 20, ["2012_race_1"] * 22, drivers)
    assert classes_from_positions(np.arange(1, 23), 22, ["2012_race_1"] * 22, drivers).tolist() == list(range(22))


@pytest.mark.parametrize("position", [0, -3])
def test_positions_start_at_one(position: int) -> None:
    with pytest.raises(LabelError, match=f"2012_race_1, senna: position must be at least 1, got {position}"):
        classes_from_positions([position], 20, ["2012_race_1"], ["senna"])


@pytest.mark.parametrize("positions", [[1.5], [np.nan], ["first"]])
def test_positions_are_whole_numbers(positions: list[object]) -> None:
    with pytest.raises(LabelError, match="must be whole numbers"):
        classes_from_positions(positions, 20, ["r"], ["d"])


def test_whole_floats_are_positions_too() -> None:
    assert classes_from_positions([3.0], 20, ["r"], ["d"]).tolist() == [2]


def test_every_position_has_a_race_and_a_driver() -> None:
    with pytest.raises(LabelError, match="1 races and 2 drivers"):
        classes_from_positions([1, 2], 20, ["r"], ["a", "b"])
