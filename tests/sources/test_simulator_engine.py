"""The engine behind the simulated seasons: independent races, eras, cautions and red flags, traffic, tyres."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.config import SimulatorConfig
from f1_predict.errors import ConfigError
from f1_predict.schemas import TABLE_NAMES, Tables
from f1_predict.sources.simulator import read_parameters, simulate
from f1_predict.sources.simulator.calendar import run_all, seasons_of
from f1_predict.sources.simulator.traffic import NEVER, Lapping, running_order, through_traffic

KEY = ["race_id", "driver_id"]
ERAS = list(read_parameters())


def with_changes(**changes: float) -> dict[str, object]:
    """The package's parameters with some numbers changed in every era."""
    return {era: numbers.model_copy(update=changes) for era, numbers in read_parameters().items()}


def of_era(era: str, **changes: float) -> Tables:
    return simulate(1, 8, SimulatorConfig(era=era), with_changes(**changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def eras() -> dict[str, Tables]:
    """Two seasons of each era."""
    return {era: simulate(2, 5, SimulatorConfig(era=era)) for era in ERAS}


@pytest.mark.parametrize("block", [1, 4])
def test_races_do_not_depend_on_those_they_are_run_with(block: int) -> None:
    parameters = read_parameters()
    races = seasons_of(2, 3, SimulatorConfig(races_per_season=3), parameters)
    together = {}
    for weekends in run_all(races, parameters):
        for row, place in enumerate(weekends.places):
            together[place] = (weekends, row)
    assert sorted(together) == list(range(6))
    for weekends in run_all(races, parameters, block):
        assert len(weekends.places) <= block
        for row, place in enumerate(weekends.places):
            other, at = together[place]
            laps = int(weekends.block.laps[row])
            np.testing.assert_array_equal(weekends.laps.run[:laps, row], other.laps.run[:laps, at])
            for name in ("end_s", "tyre", "tyre_life", "pit_in", "pit_out", "status"):
                mine, theirs = getattr(weekends.laps, name)[:laps, row], getattr(other.laps, name)[:laps, at]
                run = weekends.laps.run[:laps, row]
                np.testing.assert_array_equal(mine[run], theirs[run], err_msg=name)
            np.testing.assert_array_equal(weekends.qualifying.sessions[row], other.qualifying.sessions[at])
            np.testing.assert_array_equal(weekends.block.weather.wetness[row], other.block.weather.wetness[at])


def test_tables_of_every_era_are_valid_and_in_order(eras: dict[str, Tables]) -> None:
    """Nothing is checked while they are made, so it is here."""
    for tables in (*eras.values(), simulate(5, 2, SimulatorConfig(era="mixed", races_per_season=3))):
        tables.validate()
        ordered = tables.sort()
        for name in TABLE_NAMES:
            assert_frame_equal(getattr(tables, name), getattr(ordered, name))


def test_more_than_a_thousand_drivers_keep_the_order_of_names() -> None:
    tables = simulate(2, 1, SimulatorConfig(races_per_season=2), with_changes(turnover=1.0))  # type: ignore[arg-type]
    renamed = simulate(90, 1, SimulatorConfig(races_per_season=1), with_changes(turnover=1.0))  # type: ignore[arg-type]
    assert renamed.entries["driver_id"].str.len_chars().max() == len("driver_1000")
    for made in (tables, renamed):
        assert_frame_equal(made.entries, made.sort().entries)


def test_eras_have_their_own_field_and_trouble(eras: dict[str, Tables]) -> None:
    sizes = {era: tables.entries.group_by("race_id").len()["len"].max() for era, tables in eras.items()}
    assert sizes["1996-2009"] > sizes["2022-2024"] == 20
    assert sizes["2010-2013"] == 24
    out = {era: (~tables.results["classified"]).mean() for era, tables in eras.items()}
    assert out["1996-2009"] > out["2022-2024"]
    virtual = {era: tables.laps["track_status"].str.contains("6").any() for era, tables in eras.items()}
    assert virtual == {era: era not in ("1996-2009", "2010-2013") for era in ERAS}


def test_mixed_takes_the_eras_by_turns_and_more_seasons_only_add_rows() -> None:
    config = SimulatorConfig(era="mixed", races_per_season=2)
    five, seven = simulate(5, 4, config), simulate(7, 4, config)
    sizes = five.entries.group_by("race_id", maintain_order=True).len()["len"].to_list()
    assert sizes == [cars for era in ERAS for cars in [2 * read_parameters()[era].teams] * 2]
    for name in TABLE_NAMES:
        longer, shorter = getattr(seven, name), getattr(five, name)
        assert_frame_equal(longer.head(shorter.height), shorter, check_exact=True)


def test_an_unknown_era_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"the era must be one of '1996-2009', .*'mixed', got '1950s'\. Set simulator\.era"
    ):
        simulate(1, 1, SimulatorConfig(era="1950s"))


def test_refuelling_keeps_the_pace_where_a_full_tank_loses_it() -> None:
    """The gain from the first to the last tenth of the race, in green laps of the field."""

    def gain(refuelling: int) -> float:
        tables = of_era("1996-2009", refuelling=refuelling, fuel=0.05, rain=0.0)
        laps = tables.laps.join(tables.races, on="race_id").filter(
            (pl.col("track_status") == "1") & ~pl.col("pit_in") & ~pl.col("pit_out") & (pl.col("lap") > 2)
        )
        part = pl.col("lap") / pl.col("scheduled_laps")
        first = laps.filter(part < 0.2).group_by("race_id").agg(early=pl.col("lap_time_s").median())
        last = laps.filter(part > 0.8).group_by("race_id").agg(late=pl.col("lap_time_s").median())
        return float(first.join(last, on="race_id").select((pl.col("early") / pl.col("late")).median()).item())

    assert gain(0) > 1.03 > 1.02 > gain(1)


def grid_of(tables: Tables, cars: pl.Expr) -> float:
    """Mean place on the grid of some cars."""
    both = tables.results.join(tables.entries, on=KEY).filter(cars & (pl.col("grid") > 0))
    return float(both.select(pl.col("grid").mean()).item())


def winning_margin(tables: Tables) -> float:
    """Seconds from the winner to the second, the middle race."""
    last = tables.laps.group_by(KEY).agg(pl.col("end_time_s").last(), pl.col("lap").last())
    ends = tables.results.join(last, on=KEY).sort("race_id", "position")
    return float(ends.group_by("race_id").agg(pl.col("end_time_s").head(2).diff().last())["end_time_s"].median())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "low", "high", "measure"),
    [
        ("mechanical_rate", 0.02, 0.3, lambda t: (~t.results["classified"]).mean()),
        ("hard_life", 0.9, 0.3, lambda t: t.laps["pit_in"].mean()),
        ("debris_rate", 0.0, 1.0, lambda t: t.laps["track_status"].str.contains("4").mean()),
        ("rain", 0.0, 3.0, lambda t: t.laps["compound"].is_in(["INTERMEDIATE", "WET"]).mean()),
        ("slow_stop_s", 0.0, 30.0, lambda t: t.laps.filter(pl.col("pit_out"))["lap_time_s"].mean()),
        ("start_loss_s", 0.0, 9.0, lambda t: t.laps.filter(pl.col("lap") == 1)["lap_time_s"].mean()),
        ("back_trouble", 0.0, 1.5, lambda t: grid_of(t, ~pl.col("classified"))),
        ("missed_rate", 0.0, 1.0, lambda t: t.entries.select(pl.col("q1_s").std().over("race_id")).mean().item()),
        ("lead_ease", 0.02, 0.0, winning_margin),
    ],
)
def test_a_number_does_what_the_file_says(number: str, low: float, high: float, measure: object) -> None:
    assert measure(of_era("2018-2021", **{number: low})) < measure(of_era("2018-2021", **{number: high}))  # type: ignore[operator]


def test_overtaking_is_harder_where_it_is_meant_to_be() -> None:
    def passes(difficulty: float) -> float:
        laps = of_era("2018-2021", difficulty=difficulty).laps.with_columns(
            before=pl.col("position").shift(1).over(KEY)
        )
        calm = laps.filter((pl.col("track_status") == "1") & ~pl.col("pit_in") & ~pl.col("pit_out"))
        return float((calm["position"] != calm["before"]).mean())  # type: ignore[arg-type]

    assert passes(0.3) > 1.3 * passes(3.0)


def test_a_red_flag_stops_the_clock_of_nobody() -> None:
    tables = of_era("2018-2021", debris_rate=1.0, virtual_share=0.0, red_flag_share=1.0, red_flag_end_chance=0.0)
    laps = tables.laps.with_columns(
        next_status=pl.col("track_status").shift(-1).over(KEY), next_s=pl.col("lap_time_s").shift(-1).over(KEY)
    )
    stopped = laps.filter((pl.col("track_status") == "45") & pl.col("next_status").is_not_null())
    assert stopped["race_id"].n_unique() > 10
    assert stopped["pit_in"].all()
    assert (stopped["next_status"] == "51").mean() > 0.95  # type: ignore[operator]
    waited = laps.filter(pl.col("track_status") == "51")
    assert waited["pit_out"].all()
    assert waited["lap_time_s"].min() > 600.0
    per_lap = waited.group_by("race_id", "lap").agg(
        spread=pl.col("end_time_s").max() - pl.col("end_time_s").min(), cars=pl.len()
    )
    assert per_lap.filter(pl.col("cars") > 5)["spread"].median() < 60.0  # the field is together again


def test_a_race_that_is_not_started_again_ends_there() -> None:
    tables = of_era(
        "2018-2021",
        debris_rate=1.0,
        virtual_share=0.0,
        red_flag_share=1.0,
        red_flag_end_chance=1.0,
        mechanical_rate=0.0,
        crash_rate=0.0,
    )
    winners = tables.results.filter(pl.col("position") == 1).join(tables.races, on="race_id")
    short = winners.filter(pl.col("laps_completed") < pl.col("scheduled_laps") - 1)
    assert short.height > 3
    last = tables.laps.join(short.select("race_id"), on="race_id").group_by("race_id").agg(pl.col("lap").max())
    checked = last.join(short, on="race_id")
    assert (checked["lap"] == checked["laps_completed"]).all()
    assert (short["laps_completed"] > 0.4 * short["scheduled_laps"]).all()


def test_virtual_safety_cars_keep_the_gaps() -> None:
    tables = of_era("2018-2021", debris_rate=1.0, virtual_share=1.0, caution_chance=0.0, rain=0.0)
    laps = tables.laps.with_columns(gap=pl.col("end_time_s") - pl.col("end_time_s").min().over("race_id", "lap"))
    laps = laps.with_columns(change=pl.col("gap").diff().over(KEY))
    under = laps.filter((pl.col("track_status") == "6") & ~pl.col("pit_in") & ~pl.col("pit_out") & (pl.col("lap") > 2))
    assert under.height > 50
    assert under["change"].abs().median() < 3.0


# ---- traffic ----


def test_the_running_order_and_its_gaps() -> None:
    begin = np.array([[5.0, 1.0, 2.0, 0.0]])
    order, ahead, behind = running_order(begin, np.array([[True, True, True, False]]))
    assert order.tolist() == [[1, 2, 0, 3]]
    assert ahead[0, :3].tolist() == [3.0, NEVER, 1.0]
    assert behind[0, :3].tolist() == [NEVER, 1.0, 3.0]


def cross(wanted: list[float], threshold: float, reach: float = 0.0) -> list[float]:
    cars = len(wanted)
    order, full = np.arange(cars)[None], np.full((1, cars), threshold)
    return through_traffic(order, np.array([wanted]), full, np.array([[reach]]), np.full((1, cars), 0.5))[0].tolist()


def test_a_quicker_car_passes_or_queues() -> None:
    assert cross([90.0, 89.0, 88.0], threshold=0.3) == [90.0, 89.0, 88.0]
    assert cross([90.0, 89.0, 88.0], threshold=NEVER) == [90.0, 90.5, 91.0]
    assert cross([90.0, 89.9], threshold=0.3) == [90.0, 90.5]
    assert cross([90.0, 89.9], threshold=0.3, reach=0.3) == [90.4, 89.9]  # who is passed follows
    assert cross([90.0, 95.0, NEVER], threshold=0.0)[:2] == [90.0, 95.0]


def test_lapping_is_counted_once_for_each_pair_and_lap() -> None:
    lapping, lap_s, calm = Lapping(1, 3), np.array([90.0]), np.array([True])
    running = np.ones((1, 3), dtype=bool)
    assert lapping(np.array([[0.0, 10.0, 80.0]]), running, lap_s, calm)[0].tolist() == [[0, 0, 0]]
    lapped, laps = lapping(np.array([[90.0, 105.0, 185.0]]), running, lap_s, calm)
    assert lapped.tolist() == [[0, 0, 1]]
    assert laps.tolist() == [[1, 0, 0]]
    assert lapping(np.array([[180.0, 195.0, 275.0]]), running, lap_s, calm)[0].tolist() == [[0, 0, 0]]
    lapped, laps = lapping(np.array([[270.0, 285.0, 455.0]]), running, lap_s, calm)
    assert lapped.tolist() == [[0, 0, 2]]
    assert laps.tolist() == [[1, 1, 0]]


def test_dates_rise_through_the_season() -> None:
    races = seasons_of(1, 1, SimulatorConfig(), read_parameters())
    assert races[0].day == date(2101, 3, 1)
    assert all(a.day < b.day for a, b in pairwise(races))
