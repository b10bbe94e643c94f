"""The calibration: knobs turn numbers towards figures, later eras are not looked at, files keep their words."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from f1_predict.errors import ConfigError
from f1_predict.sources.simulator.calibrate import KNOBS, RULES, Round, starting_numbers, tune, windows
from f1_predict.sources.simulator.calibrate_file import with_numbers
from f1_predict.sources.simulator.calibrate_transfer import MidRace, fit, part_of, rank_races
from f1_predict.sources.simulator.figures import ERAS, KEYS
from f1_predict.sources.simulator.parameters import EraParameters, read_parameters

OWN = read_parameters()["2014-2017"]


def made_up(own: EraParameters, number: int) -> Mapping[str, float | None]:
    """A simulator of three figures whose truth is known."""
    return {
        "pace_spread": 90.0 * own.car_sd + 10.0 * own.driver_sd,
        "retired_by_fault": 18.0 * own.mechanical_rate,
        "trend": 0.5 - 60.0 * own.fuel,
    }


def test_knobs_find_the_numbers_that_give_the_figures() -> None:
    real = {"pace_spread": 0.7, "retired_by_fault": 4.0, "trend": -2.5}
    found = tune(OWN, real, made_up, rounds=24)
    simulated = made_up(found, 0)
    for key, value in real.items():
        assert simulated[key] == pytest.approx(value, rel=0.02), key


def test_numbers_without_a_known_figure_stay_where_they_begin() -> None:
    found = tune(OWN, {"trend": -2.5}, made_up, rounds=6)
    changed = {key for key, value in found.model_dump().items() if value != starting_numbers(OWN).model_dump()[key]}
    assert changed == {"fuel"}


def test_the_last_calibration_does_not_matter() -> None:
    other = EraParameters.model_validate(OWN.model_dump() | {key: 0.5 for knob in KNOBS for key in knob.parameters})
    real = {"pace_spread": 0.7}
    assert tune(other, real, made_up, rounds=8) == tune(OWN, real, made_up, rounds=8)


def test_a_round_changes_no_number_by_more_than_a_third() -> None:
    told: list[Round] = []
    tune(OWN, {"pace_spread": 900.0}, made_up, rounds=4, watch=lambda _, done: told.append(done))
    steps = np.diff(np.log([done.values["car_sd"] for done in told]))
    assert len(told) == 4
    assert steps.max() <= np.log(1.35) + 1e-9
    assert steps.min() > 0.0


def test_knobs_name_numbers_and_figures_that_there_are() -> None:
    for knob in KNOBS:
        assert set(knob.parameters) <= set(EraParameters.model_fields)
        assert set(knob.figure) <= set(KEYS)
        assert len(knob.start) == len(knob.parameters)
        assert all(knob.low <= value <= knob.high for value in knob.start)
        assert not set(knob.parameters) & set(RULES)


def test_later_eras_are_not_looked_at() -> None:
    found = windows(1996, 2018)
    assert [window.tuned for window in found.values()] == [
        "1996-2009",
        "2010-2013",
        "2014-2017",
        "2014-2017",
        "2014-2017",
    ]
    assert all(window.last <= 2018 for window in found.values())
    assert (found["2014-2017"].first, found["2014-2017"].last) == (2014, 2018)
    assert (found["1996-2009"].first, found["1996-2009"].last) == (1996, 2009)


def test_all_eras_are_tuned_when_all_seasons_may_be_looked_at() -> None:
    assert [window.tuned for window in windows(1996, 2024).values()] == list(ERAS)


def test_seasons_without_a_whole_era_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must hold one era at least, got 2015-2018\. Eras are 1996-2009, 2010-2013"):
        windows(2015, 2018)


FILE = """# words
eras = ["a", "b"]

[one]
car_sd =   [0.01, 0.02]   # of cars
wear =     0.5            # of tyres
"""


def test_a_file_keeps_its_words_and_gets_new_numbers() -> None:
    text = with_numbers(FILE, ["a", "b"], {"a": {"car_sd": 0.011, "wear": 0.4}, "b": {"car_sd": 0.011, "wear": 0.25}})
    assert text.splitlines() == [
        "# words",
        'eras = ["a", "b"]',
        "",
        "[one]",
        "car_sd =   0.011        # of cars",
        "wear =     [0.4, 0.25]  # of tyres",
    ]


def test_a_number_without_a_line_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no line for cliff"):
        with_numbers(FILE, ["a"], {"a": {"cliff": 0.1}})


def test_the_packaged_file_comes_back_from_its_own_numbers(tmp_path: Path) -> None:
    text = resources.files("f1_predict.sources.simulator").joinpath("parameters.toml").read_text(encoding="utf-8")
    numbers = {era: own.model_dump() for era, own in read_parameters().items()}
    written = with_numbers(text, list(ERAS), numbers)
    (tmp_path / "parameters.toml").write_text(written, encoding="utf-8")
    assert read_parameters(tmp_path / "parameters.toml") == read_parameters()
    assert with_numbers(written, list(ERAS), numbers) == written
    words = [[line.partition("#")[2] for line in one.splitlines()] for one in (text, written)]
    assert words[0] == words[1]


def made_up_cars(races: int, seed: int) -> MidRace:
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(races * 10, 5))
    race = np.repeat(np.arange(float(races)), 10)
    worth = (3.0 * state[:, 0] + state[:, 2]).reshape(races, 10)
    rank = worth.argsort(axis=1).argsort(axis=1).ravel() + 1.0
    return MidRace(state, race, rank, 2000.0 + race)


def test_a_regression_ranks_races_it_has_not_seen() -> None:
    found = fit(made_up_cars(60, 1))
    other = made_up_cars(20, 2)
    ranking = rank_races(found.predict(other.state), other)
    alone = rank_races(other.state[:, 0], other)
    assert ranking.races == 20
    assert ranking.mae < 0.3 < alone.mae
    assert ranking.spearman > 0.95
    assert part_of(other, 2000, 2004).rank.size == 50
