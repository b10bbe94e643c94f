"""The table's features are standardised with the training rows' statistics, and nothing unknown gets through."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from f1_predict.errors import ArtefactError, FeatureError
from f1_predict.models.normaliser import FeatureNormaliser

NAN = np.nan
NAMES = ("grid", "rating", "rain")


def fitted() -> FeatureNormaliser:
    values = np.array([[1.0, NAN, 7.0], [3.0, 2.0, 7.0], [5.0, 6.0, 7.0]])
    return FeatureNormaliser.fit(values, NAMES)


def test_statistics_ignore_what_is_unknown() -> None:
    normaliser = fitted()
    assert normaliser.mean == (3.0, 4.0, 7.0)
    assert normaliser.std == pytest.approx((np.sqrt(8 / 3), 2.0, 0.0))  # the constant column: 0


def test_unknown_becomes_the_mean() -> None:
    result = fitted().transform(np.array([[NAN, 6.0, NAN], [3.0, NAN, 9.0]]))
    np.testing.assert_array_equal(result, np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32))
    assert result.dtype == np.float32


def test_a_column_never_known_stays_zero() -> None:
    normaliser = FeatureNormaliser.fit(np.array([[NAN], [NAN]]), ["never"])
    assert (normaliser.mean, normaliser.std) == ((0.0,), (0.0,))
    assert normaliser.transform(np.array([[NAN], [25.0]])).tolist() == [[0.0], [0.0]]


def test_a_constant_with_rounding_noise_is_constant() -> None:
    column = np.full((3, 1), 0.1)
    column[1] += 1e-17
    column[2] = np.nextafter(0.1, 1.0)
    assert FeatureNormaliser.fit(column, ["tenth"]).std == (0.0,)


def test_extremes_are_limited() -> None:
    assert fitted().transform(np.array([[-1e300, 1e9, 1e300]])).tolist() == [[-8.0, 8.0, 0.0]]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused(value: float) -> None:
    with pytest.raises(FeatureError, match=r"feature 'rating' of row 1 must be finite, got -?inf"):
        fitted().transform(np.array([[1.0, 2.0, 3.0], [1.0, value, 3.0]]))
    with pytest.raises(FeatureError, match="feature 'grid' of row 0 must be finite"):
        FeatureNormaliser.fit(np.array([[value]]), ["grid"])


def test_values_too_large_to_square_are_refused() -> None:
    with pytest.raises(FeatureError, match="feature 'grid' has values too large"):
        FeatureNormaliser.fit(np.array([[1e200], [-1e200]]), ["grid"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("grid", "rain", "rating"), "another order, column 1 must be 'rating', got 'rain'"),
        (("grid", "rating", "wind"), "missing rain; not fitted wind"),
        (("grid", "rating"), "missing rain"),
        (("grid", "rating", "rain", "rain"), "3 were fitted, got 4 with repetitions"),
    ],
)
def test_other_features_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        fitted().transform(np.zeros((1, len(names))), names)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FeatureError, match=r"must have shape \(n, 3\), one column a name"):
        fitted().transform(np.zeros(shape))


def test_fitting_needs_rows_and_different_names() -> None:
    with pytest.raises(FeatureError, match="at least one training row, got none"):
        FeatureNormaliser.fit(np.empty((0, 1)), ["grid"])
    with pytest.raises(FeatureError, match="must be different, got grid more than once"):
        FeatureNormaliser.fit(np.zeros((1, 2)), ["grid", "grid"])
    with pytest.raises(FeatureError, match=r"clip must be greater than 0, got 0\.0"):
        FeatureNormaliser.fit(np.zeros((1, 1)), ["grid"], clip=0.0)


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.just(3)),
        elements=st.floats(-1e6, 1e6) | st.just(NAN),
    )
)
def test_round_trip_through_json_is_exact_and_results_are_bounded(values: np.ndarray) -> None:
    normaliser = FeatureNormaliser.fit(values, NAMES)
    again = FeatureNormaliser.from_dict(json.loads(json.dumps(normaliser.to_dict())))
    assert again == normaliser
    result = again.transform(values, NAMES)
    assert np.isfinite(result).all()
    assert np.abs(result).max() <= 8.0
    known = ~np.isnan(values)
    for column in range(3):
        if known[:, column].any():
            assert abs(result[known[:, column], column].mean()) < 1e-4
        assert (result[~known[:, column], column] == 0.0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [1.0]}, "must have one length, got {'names': 3, 'mean': 1, 'std': 3}"),
        ({"std": [1.0, -1.0, 1.0]}, "std not negative, clip positive"),
        ({"mean": [1.0, float("nan"), 1.0]}, "must be finite"),
        ({"std": ["one", 1.0, 1.0]}, "cannot be read"),
        ({"names": None}, "cannot be read"),
    ],
)
def test_damaged_statistics_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        FeatureNormaliser.from_dict(fitted().to_dict() | change)


def test_a_missing_key_is_named() -> None:
    values = fitted().to_dict()
    del values["std"]
    with pytest.raises(ArtefactError, match="the feature statistics lack 'std'"):
        FeatureNormaliser.from_dict(values)
