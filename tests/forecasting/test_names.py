"""What people call races, drivers and laps: found, or refused with the closest names."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from f1_predict.errors import AmbiguousError, HorizonError, NotFoundError
from f1_predict.forecasting import find_driver, find_race, horizon_after
from f1_predict.forecasting.names import quoted
from f1_predict.horizon import AfterLap, PreRace
from tests.forecasting.conftest import LAPS, RACE, World

RACES = pl.DataFrame(
    [
        ("2020_race_4", 2020, 4, "British Grand Prix", "silverstone"),
        ("2020_race_5", 2020, 5, "70th Anniversary Grand Prix", "silverstone"),
        ("2021_race_19", 2021, 19, "São Paulo Grand Prix", "interlagos"),
        ("2021_race_22", 2021, 22, "Abu Dhabi Grand Prix", "yas_marina"),
        ("2022_race_16", 2022, 16, "Italian Grand Prix", "monza"),
        ("2023_race_14", 2023, 14, "Italian Grand Prix", "monza"),
        ("2023_race_1", 2023, 1, "Bahrain Grand Prix", "bahrain"),
    ],
    schema=["race_id", "season", "round", "name", "circuit_id"],
    orient="row",
).with_columns(date=pl.lit(date(2020, 1, 1)))


@pytest.mark.parametrize(
    ("asked", "race_id"),
    [
        ("2023_race_14", "2023_race_14"),
        ("2023 race 14", "2023_race_14"),
        ("2023 round 14", "2023_race_14"),
        ("2023 monza", "2023_race_14"),
        ("Monza, 2022", "2022_race_16"),
        ("Italian Grand Prix 2022", "2022_race_16"),
        ("2023 ital", "2023_race_14"),
        ("sao paulo", "2021_race_19"),
        ("SÃO PAULO 2021", "2021_race_19"),
        ("yas marina", "2021_race_22"),
        ("2020 british", "2020_race_4"),
        ("bahrain gp", "2023_race_1"),
        ("70th anniversary", "2020_race_5"),
    ],
)
def test_races_are_found_by_id_and_by_name(asked: str, race_id: str) -> None:
    assert find_race(RACES, asked) == race_id


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("monza", "'monza' names 2 races, the latest 2023_race_14 (Italian Grand Prix), 2022_race_16 (Italian Grand "),
        ("monza", "Add the season, as '2023 monza'."),
        ("2020 silverstone", "names 2 races, the latest 2020_race_5 (70th Anniversary Grand Prix), 2020_race_4"),
        ("2020 silverstone", "Give its id."),
        ("2020", "'2020' names 2 races"),
    ],
)
def test_a_name_of_several_races_is_refused_with_them(asked: str, message: str) -> None:
    with pytest.raises(AmbiguousError) as error:
        find_race(RACES, asked)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("2023 monzza", "no race '2023 monzza'. Did you mean 2023 monza"),
        ("2022 italy", "Did you mean 2022 italian"),
        ("2023_rase_14", "Did you mean 2023_race_14"),
        ("2023 silverstone", "no race '2023 silverstone'."),
        ("silverstne 2020", "Did you mean 2020 silverstone"),
        ("zzzzzz", "There are 7 to choose from."),
        ("", "no race ''. There are 7 to choose from."),
        ("../../etc/passwd", "no race '../../etc/passwd'."),
        ("x\n\x1b[31m", "no race 'x??[31m'."),
        ("1995 monza", "'f1-predict data status' shows the seasons that are."),
    ],
)
def test_a_misspelt_race_comes_with_the_closest_names(asked: str, message: str) -> None:
    with pytest.raises(NotFoundError) as error:
        find_race(RACES, asked)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_long_names_are_cut_short_in_messages() -> None:
    with pytest.raises(NotFoundError) as error:
        find_race(RACES, "x" * 10_000)
    assert len(str(error.value)) < 300
    assert quoted("x" * 100) == "'" + "x" * 80 + "'"


def test_drivers_are_found_by_id_and_by_parts_of_it() -> None:
    field = ["max_verstappen", "kevin_magnussen", "michael_schumacher", "mick_schumacher", "hamilton"]
    assert find_driver(field, "hamilton") == "hamilton"
    assert find_driver(field, "Verstappen") == "max_verstappen"
    assert find_driver(field, "mick schumacher") == "mick_schumacher"
    with pytest.raises(AmbiguousError, match=r"'schumacher' names michael_schumacher, mick_schumacher\. Give one"):
        find_driver(field, "schumacher")
    with pytest.raises(NotFoundError, match=r"no driver 'hamliton'. Did you mean hamilton\?"):
        find_driver(field, "hamliton")
    with pytest.raises(NotFoundError, match="In the field: max_verstappen, kevin_magnussen"):
        find_driver(field, "")


def test_a_lap_becomes_a_moment(world: World) -> None:
    assert horizon_after(world.archive, RACE, None) == PreRace()
    assert horizon_after(world.archive, RACE, 3) == AfterLap(3)
    assert horizon_after(world.archive, RACE, LAPS) == AfterLap(LAPS)


@pytest.mark.parametrize("lap", [0, -3, LAPS + 1, 999, "5", 2.0, True])
def test_a_lap_that_there_is_not_is_refused(world: World, lap: object) -> None:
    expected = f"must be a whole number from 1 to {LAPS}, the laps that the leader of {RACE} has completed, got '{lap}'"
    with pytest.raises(HorizonError, match=expected):
        horizon_after(world.archive, RACE, lap)
