"""Messages say what is wrong, where, and what to do."""

import pytest

from f1_predict import errors
from f1_predict.errors import F1PredictError, NotFoundError, SourceFileError


def test_all_errors_are_of_one_tree() -> None:
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert len(classes) > 10
    assert all(issubclass(each, F1PredictError) for each in classes)
    drawn = errors.__doc__ or ""
    assert [each.__name__ for each in classes if each.__name__ not in drawn] == []


def test_a_source_file_error_names_file_line_column_and_remedy() -> None:
    error = SourceFileError("'x' is no number", file="laps.csv", row=7, column="lap", remedy="Correct the value.")
    assert str(error) == "laps.csv, line 7, column 'lap': 'x' is no number. Correct the value."
    assert (error.file, error.row, error.column) == ("laps.csv", 7, "lap")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hamiltn", "no driver 'hamiltn'. Did you mean hamilton?"),
        ("zzz", "no driver 'zzz'. There are 2 to choose from."),
    ],
)
def test_what_is_not_found_comes_with_the_closest_names(name: str, expected: str) -> None:
    assert str(NotFoundError("driver", name, ["hamilton", "zhou"])) == expected
