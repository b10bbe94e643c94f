"""The simulator's numbers: complete, checked, and nothing of a particular race among them."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from f1_predict.errors import ConfigError
from f1_predict.sources.simulator import read_parameters
from f1_predict.sources.simulator.circuits import CIRCUITS

TEXT = resources.files("f1_predict.sources.simulator").joinpath("parameters.toml").read_text(encoding="utf-8")


def changed(tmp_path: Path, pattern: str, line: str) -> Path:
    """The package's file with one line changed."""
    text, count = re.subn(rf"(?m)^{pattern}.*$", line, TEXT)
    assert count == 1
    file = tmp_path / "numbers.toml"
    file.write_text(text)
    return file


def test_eras_in_the_order_of_time_and_equal_to_the_file(tmp_path: Path) -> None:
    parameters = read_parameters()
    assert list(parameters) == ["1996-2009", "2010-2013", "2014-2017", "2018-2021", "2022-2024"]
    assert [numbers.refuelling for numbers in parameters.values()] == [1, 0, 0, 0, 0]
    copy = tmp_path / "copy.toml"
    copy.write_text(TEXT)
    assert read_parameters(copy) == parameters


def test_one_number_stands_for_all_eras(tmp_path: Path) -> None:
    parameters = read_parameters(changed(tmp_path, "pit_loss =", "pit_loss = 1.5"))
    assert {numbers.pit_loss for numbers in parameters.values()} == {1.5}


@pytest.mark.parametrize(
    ("pattern", "line", "message"),
    [
        ("pit_loss =", "", r"era 1996-2009: 'pit_loss': Field required"),
        ("pit_loss =", "pit_loss = [1, 2]", r"'pit_loss' must be one number, or 5 numbers, one for each era; got 2"),
        ("pit_loss =", "pit_lost = 1", r"era 1996-2009: 'pit_loss': Field required|'pit_lost'.*not permitted"),
        (
            "pit_loss =",
            "pit_loss = [1, 1, 0, 1, 1]",
            r"era 2014-2017: 'pit_loss': Input should be greater than 0, got 0",
        ),
        ("pit_loss =", "pit_loss = 'x'", r"'pit_loss': Input should be a valid number.*got 'x'\. Correct the file"),
        ("pit_loss =", "pit_loss = 1\nfuel = 0.1", r"'fuel' is given twice"),
        ("pit_loss =", "pit_loss = = 1", r"is not TOML .*Correct the line"),
        ("eras =", "eras = []", r"'eras' must list the names of the eras, each once, got \[\]"),
        ("eras =", "one = 1\neras = ['a', 'b', 'c', 'd', 'e']", r"'one' must stand in a section"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, pattern: str, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_parameters(changed(tmp_path, pattern, line))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read .*Give a file like"):
        read_parameters(tmp_path / "nowhere.toml")


def test_nothing_of_a_particular_race_is_stored() -> None:
    """A few scalars for each era: no names, no tables, no room for a result; every other name is invented."""
    raw = tomllib.loads(TEXT)
    eras = raw.pop("eras")
    numbers = {key: value for section in raw.values() for key, value in section.items()}
    for key, value in numbers.items():
        values = value if isinstance(value, list) else [value]
        assert len(values) in (1, len(eras)), key
        assert all(isinstance(number, int | float) for number in values), key
    distinct = sum(len(value) if isinstance(value, list) else 1 for value in numbers.values())
    assert distinct < 500  # fewer than the places of the grid of two seasons
    assert len(TEXT.encode()) < 16_384
    folder = resources.files("f1_predict.sources.simulator")
    data = [file.name for file in folder.iterdir() if not file.name.endswith(".py") and file.name != "__pycache__"]
    assert data == ["parameters.toml"]
    code = " ".join(file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".py"))
    for name in ("monaco", "monza", "silverstone", "interlagos", "suzuka", "hamilton", "verstappen", "schumacher",
                 "ferrari", "mclaren", "mercedes", "red bull", "williams"):  # fmt: skip
        assert name not in (code + TEXT).lower(), name
    assert len({circuit.name for circuit in CIRCUITS}) == len(CIRCUITS)
