"""Simulated seasons: reproducible, valid, and like races where it matters to a forecast."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.config import SimulatorConfig
from f1_predict.errors import ConfigError
from f1_predict.horizon import AfterLap, RaceArchive
from f1_predict.schemas import TABLE_NAMES, Tables
from f1_predict.sources.simulator import simulate
from f1_predict.sources.simulator.parameters import read_parameters

KEY = ["race_id", "driver_id"]
SMALL = SimulatorConfig(races_per_season=3)


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Three full seasons."""
    return simulate(3, seed=11)


@pytest.fixture(scope="module")
def laps(tables: Tables) -> pl.DataFrame:
    """Laps with the race's columns, and `relative`: lap time against the median of the race's green laps."""
    green = (pl.col("track_status") == "1") & ~pl.col("pit_in") & ~pl.col("pit_out")
    usual = pl.col("lap_time_s").filter(green).median().over("race_id")
    return tables.laps.join(tables.races, on="race_id").with_columns(relative=pl.col("lap_time_s") / usual)


def test_same_seed_gives_the_same_rows() -> None:
    first, second, other = simulate(1, 5, SMALL), simulate(1, 5, SMALL), simulate(1, 6, SMALL)
    for name in TABLE_NAMES:
        assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)
    for name in ("entries", "results", "laps", "weather"):
        assert not getattr(first, name).equals(getattr(other, name)), name


def test_more_seasons_only_add_rows() -> None:
    two, three = simulate(2, 5, SMALL), simulate(3, 5, SMALL)
    for name in TABLE_NAMES:
        shorter, longer = getattr(two, name), getattr(three, name)
        assert longer.height > shorter.height
        assert_frame_equal(longer.head(shorter.height), shorter, check_exact=True)


def test_tables_are_valid_sorted_and_numbered_from_the_first_season(tables: Tables) -> None:
    tables.validate()
    ordered = tables.sort()
    for name in TABLE_NAMES:
        assert_frame_equal(getattr(tables, name), getattr(ordered, name))
    assert tables.races["season"].unique().sort().to_list() == [2101, 2102, 2103]
    assert tables.races["race_id"][0] == "2101_race_1"
    assert tables.races["date"].is_sorted()
    assert simulate(1, 5, SimulatorConfig(first_season=2150, races_per_season=1)).races["race_id"].to_list() == [
        "2150_race_1"
    ]


def test_circuits_follow_the_distance_rule(tables: Tables) -> None:
    length, laps = tables.races["course_length_km"].to_numpy(), tables.races["scheduled_laps"].to_numpy()
    assert tables.races["circuit_id"].n_unique() == 18
    assert ((length >= 3.3) & (length <= 7.0)).all()
    assert (laps * length >= 305.0).all()
    assert ((laps - 1) * length < 305.0).all()


def test_times_positions_and_speeds_hang_together(tables: Tables, laps: pl.DataFrame) -> None:
    checked = laps.with_columns(
        sum_s=pl.col("lap_time_s").cum_sum().over(KEY),
        rank=pl.col("end_time_s").rank("ordinal").over("race_id", "lap"),
        count=pl.col("lap").cum_count().over(KEY),
        speed=pl.col("course_length_km") / pl.col("lap_time_s") * 3600.0,
    )
    assert (checked["sum_s"] == checked["end_time_s"]).all()
    assert (checked["rank"] == checked["position"]).all()
    assert (checked["count"] == checked["lap"]).all()
    np.testing.assert_allclose(checked["speed_kmh"], checked["speed"], rtol=1e-12)
    assert (checked["implausible"] == (checked["lap_time_s"] > 600.0)).all()
    waited = checked.filter("implausible")
    assert (waited["track_status"] == "51").all()  # only where the race was stopped


def test_results_follow_from_the_laps(tables: Tables) -> None:
    last = tables.laps.group_by(KEY).agg(pl.len().alias("done"), pl.col("end_time_s").max())
    results = tables.results.join(last, on=KEY, how="left").with_columns(
        pl.col("done").fill_null(0), pl.col("end_time_s").fill_null(0.0)
    )
    assert (results["done"] == results["laps_completed"]).all()
    for (race_id,), race in results.group_by("race_id"):
        ordered = race.sort(pl.col("done") * -1, "end_time_s")
        with_laps = ordered.filter(pl.col("done") > 0)
        assert with_laps["position"].to_list() == list(range(1, with_laps.height + 1)), race_id
        assert race["position"].sort().to_list() == list(range(1, race.height + 1)), race_id
        assert (race["classified"] == (race["done"] >= 9 * race["done"].max() // 10)).all(), race_id
        behind = race.filter(~pl.col("classified"))["position"].min()
        assert behind is None or behind > race.filter("classified")["position"].max()


def test_nobody_begins_a_lap_after_the_winner_has_finished(tables: Tables) -> None:
    winner = tables.results.filter(pl.col("position") == 1).join(tables.races, on="race_id")
    short = winner.filter(pl.col("laps_completed") < pl.col("scheduled_laps"))
    assert (winner["laps_completed"] <= winner["scheduled_laps"]).all()
    assert short.height < 0.2 * winner.height  # a second formation lap, or a race that was not started again
    finish = tables.laps.join(winner.select(*KEY), on=KEY).group_by("race_id").agg(finish=pl.col("end_time_s").max())
    laps = tables.laps.join(finish, on="race_id").with_columns(begin=pl.col("end_time_s") - pl.col("lap_time_s"))
    assert (laps["begin"] < laps["finish"]).all()
    running = tables.results.filter(pl.col("status").str.contains("Finished|Lap"))
    last = laps.join(running, on=KEY).group_by(KEY).agg(pl.col("end_time_s").max(), pl.col("finish").first())
    assert (last["end_time_s"] >= last["finish"]).all()  # who did not retire finishes the lap he is on


def test_some_are_lapped_and_a_cut_sees_fewer_laps_of_them(tables: Tables) -> None:
    lapped = tables.results.filter(pl.col("status") == "+1 Lap")
    assert 0.03 < lapped.height / tables.results.height < 0.4
    race_id, driver = lapped.row(0)[:2]
    archive = RaceArchive(tables)
    final = archive.laps_completed(race_id)
    seen = archive.snapshot(race_id, AfterLap(final)).laps
    assert seen.filter(pl.col("driver_id") == driver).height < final
    assert seen["lap"].max() == final


def test_grid_and_result_are_related_but_not_the_same(tables: Tables) -> None:
    both = tables.entries.join(tables.results, on=KEY).with_columns(
        grid=pl.when(pl.col("grid") == 0).then(99).otherwise("grid")
    )
    per_race = both.group_by("race_id").agg(pl.corr("grid", "position", method="spearman"))
    assert 0.4 < per_race["grid"].mean() < 0.85


def test_grid_is_qualifying_with_penalties(tables: Tables) -> None:
    entries = tables.entries
    assert (entries["grid"] == 0).any()
    assert (entries["grid_penalty"] > 0).any()
    assert entries["q1_s"].null_count() > 0
    for (race_id,), race in entries.group_by("race_id"):
        slots = race.filter(pl.col("grid") > 0)["grid"].sort().to_list()
        assert slots == list(range(1, len(slots) + 1)), race_id
        assert race["q3_s"].count() <= 10 < race["q2_s"].count() <= 15, race_id
        if (race["grid_penalty"] == 0).all() and (race["grid"] > 0).all():
            assert (race["grid"] == race["qualifying_position"]).all(), race_id
    penalised = entries.filter(
        (pl.col("grid_penalty") >= 5) & (pl.col("grid") > 0) & (pl.col("qualifying_position") < 10)
    )
    assert (penalised["grid"] >= penalised["qualifying_position"] + 3).all()
    pole = entries.filter(pl.col("qualifying_position") == 1)
    best = entries.group_by("race_id").agg(best=pl.col("q3_s").min())
    assert (pole.join(best, on="race_id")["q3_s"] == pole.join(best, on="race_id")["best"]).all()


def test_stops_are_slow_laps_and_change_the_tyre(laps: pl.DataFrame) -> None:
    calm = laps.filter((pl.col("track_status") == "1") & (pl.col("lap") > 1))
    normal = calm.filter(~pl.col("pit_in") & ~pl.col("pit_out"))["lap_time_s"].mean()
    dry_out = calm.filter("pit_out")["lap_time_s"].mean()
    assert 12.0 < dry_out - normal < 30.0
    assert 2.0 < calm.filter("pit_in")["lap_time_s"].mean() - normal < 12.0
    new_set = laps.with_columns(after=pl.col("pit_in").shift(1).over(KEY)).filter(pl.col("lap") > 1)
    assert (new_set["after"] == new_set["pit_out"]).all()
    usual = new_set.filter(~pl.col("implausible"))  # when the race is stopped the tyres may stay on
    assert ((usual["tyre_life"] == 1) == usual["pit_out"]).all()


def test_dry_finishers_use_two_compounds(tables: Tables, laps: pl.DataFrame) -> None:
    rain = laps.filter(pl.col("compound") == "INTERMEDIATE")["race_id"].unique()
    full = tables.results.filter((pl.col("status") == "Finished") & ~pl.col("race_id").is_in(rain.implode()))
    used = laps.join(full, on=KEY).group_by(KEY).agg(pl.col("compound").n_unique())["compound"]
    assert used.min() >= 2


def test_fuel_burns_off_and_tyres_wear(laps: pl.DataFrame) -> None:
    clean = laps.filter(
        (pl.col("track_status") == "1") & ~pl.col("pit_in") & ~pl.col("pit_out") & (pl.col("lap") > 1)
    ).with_columns(part=pl.col("lap") / pl.col("scheduled_laps"))
    wet = laps.filter(pl.col("compound") == "INTERMEDIATE")["race_id"].unique()
    clean = clean.filter(~pl.col("race_id").is_in(wet.implode()) & (pl.col("compound") == "MEDIUM"))
    x = np.column_stack([np.ones(clean.height), clean["part"], clean["tyre_life"] / clean["scheduled_laps"]])
    _, fuel, wear = np.linalg.lstsq(x, clean["relative"].to_numpy(), rcond=None)[0]
    assert -0.05 < fuel < -0.01
    assert 0.01 < wear < 0.12


def test_safety_cars_slow_and_bunch_the_field(laps: pl.DataFrame) -> None:
    caution = laps.filter(pl.col("track_status") == "4")
    assert 0.2 < caution["race_id"].n_unique() / laps["race_id"].n_unique() < 0.9
    assert 1.2 < caution["relative"].median() < 1.7
    gap = laps.with_columns(gap=pl.col("end_time_s") - pl.col("end_time_s").min().over("race_id", "lap"))
    eighth = gap.group_by("race_id", "lap").agg(
        pl.col("gap").filter(pl.col("position") == 8).first(), full=(pl.col("track_status") == "4").mean()
    )
    eighth = eighth.sort("race_id", "lap").with_columns(
        full_before=pl.col("full").rolling_min(3).over("race_id"), before=pl.col("gap").shift(5).over("race_id")
    )
    bunched = eighth.filter((pl.col("full_before") > 0.8) & (pl.col("before") > 15.0))
    assert bunched.height > 5
    assert (bunched["gap"] / bunched["before"]).median() < 0.6


def test_a_caution_lasts_for_all_cars_on_the_same_clock(laps: pl.DataFrame) -> None:
    """Cars that begin a lap within a second of each other are under the safety car together."""
    begin = laps.with_columns(begin=pl.col("end_time_s") - pl.col("lap_time_s")).filter(pl.col("lap") > 1)
    near = begin.sort("race_id", "begin").with_columns(
        apart=pl.col("begin").diff().over("race_id"), same=pl.col("lap").diff().over("race_id") == 0
    )
    across = near.filter((pl.col("apart") < 1.0) & ~pl.col("same")).height
    assert across > 50  # cars on different laps side by side: lapped ones
    under = pl.col("track_status") == "4"
    clash = near.with_columns(last=pl.col("track_status").shift(1).over("race_id")).filter(
        (pl.col("apart") < 1.0)
        & ((under & (pl.col("last") == "1")) | ((pl.col("last") == "4") & (pl.col("track_status") == "1")))
    )
    assert clash.height == 0


def test_retirements(tables: Tables) -> None:
    out = tables.results.filter(~pl.col("status").str.contains("Finished|Lap"))
    assert 0.05 < out.height / tables.results.height < 0.25
    assert {"Collision", "Engine"} <= set(out["status"])
    lapless = tables.results.join(tables.laps, on=KEY, how="anti")
    assert lapless.height > 0
    assert (lapless["laps_completed"] == 0).all()
    assert lapless.height < 0.1 * tables.results.height


def test_rain_slows_the_laps_and_shows_in_the_weather(tables: Tables, laps: pl.DataFrame) -> None:
    rainy = tables.weather.filter(pl.col("rainfall") & (pl.col("time_s") > 0))["race_id"].unique()
    assert 0 < rainy.len() < 0.5 * tables.races.height
    inter = laps.filter((pl.col("compound") == "INTERMEDIATE") & (pl.col("track_status") == "1"))
    raining = set(tables.weather.filter(pl.col("rainfall"))["race_id"])
    assert set(inter["race_id"]) <= raining
    in_race = inter.filter(~pl.col("pit_in") & ~pl.col("pit_out"))
    dry = laps.filter((pl.col("track_status") == "1") & ~pl.col("race_id").is_in(list(raining)))
    per_circuit = dry.group_by("circuit_id").agg(dry_s=pl.col("lap_time_s").median())
    ratio = in_race.join(per_circuit, on="circuit_id").select(pl.col("lap_time_s") / pl.col("dry_s")).to_series()
    assert 1.03 < ratio.median() < 1.25


def test_weather_is_sampled_by_the_minute_from_before_the_start_to_the_end(tables: Tables) -> None:
    spans = tables.weather.group_by("race_id").agg(
        first=pl.col("time_s").min(), last=pl.col("time_s").max(), step=pl.col("time_s").diff().unique()
    )
    ends = tables.laps.group_by("race_id").agg(pl.col("end_time_s").max())
    joined = spans.join(ends, on="race_id")
    assert joined.height == tables.races.height
    assert (joined["first"] < -1800.0).all()
    assert (joined["last"] >= joined["end_time_s"]).all()
    assert set(joined["step"].explode().drop_nulls()) == {60.0}


@pytest.mark.parametrize("cars", [18, 20, 22, 26])
def test_field_sizes(cars: int) -> None:
    tables = simulate(2, 3, SimulatorConfig(teams=cars // 2, races_per_season=2))
    sizes = tables.entries.group_by("race_id").agg(pl.len(), pl.col("driver_id").n_unique())
    assert sizes["len"].unique().to_list() == [cars]
    assert sizes["driver_id"].unique().to_list() == [cars]
    assert tables.entries["constructor_id"].n_unique() == cars // 2
    assert tables.entries.group_by("race_id", "constructor_id").len()["len"].unique().to_list() == [2]
    assert tables.results.group_by("race_id").len()["len"].unique().to_list() == [cars]


def test_somebody_always_wins() -> None:
    """Even where every car of a small field is bound to break down."""
    config = SimulatorConfig(races_per_season=5, teams=2)
    doomed = {era: numbers.model_copy(update={"mechanical_rate": 1.0, "reliability_sd": 0.0}) for era, numbers in
              read_parameters().items()}  # fmt: skip
    tables = simulate(1, 0, config, doomed)
    winners = tables.results.filter(pl.col("position") == 1)
    assert winners["status"].to_list() == ["Finished"] * 5
    assert tables.results.filter(pl.col("status").str.contains("Finished|Lap")).height == 5


def test_the_longest_calendar_works() -> None:
    tables = simulate(1, 0, SimulatorConfig(teams=2, races_per_season=40))
    assert tables.races["date"].n_unique() == 40
    assert tables.races["circuit_id"].n_unique() == 18


def test_rookies_come_and_drivers_change_teams(tables: Tables) -> None:
    entries = tables.entries.join(tables.races.select("race_id", "season"), on="race_id")
    fields = {season: set(entries.filter(pl.col("season") == season)["driver_id"]) for season in (2101, 2102, 2103)}
    assert fields[2102] - fields[2101]
    assert fields[2103] - fields[2102] - fields[2101]
    assert len(fields[2101] & fields[2102]) > 10
    assert not (fields[2101] - fields[2102]) & fields[2103]  # who leaves does not come back
    teams = entries.group_by("driver_id").agg(pl.col("constructor_id").n_unique())
    assert teams["constructor_id"].max() > 1
    within = entries.group_by("season", "driver_id").agg(pl.col("constructor_id").n_unique())
    assert within["constructor_id"].max() == 1


def test_strength_lasts(tables: Tables) -> None:
    """A driver's mean result in one season says something of the next, and not everything."""
    results = tables.results.join(tables.races, on="race_id")
    mean = results.group_by("season", "driver_id").agg(pl.col("position").mean())
    later = mean.with_columns(season=pl.col("season") + 1)
    both = mean.join(later, on=["season", "driver_id"], suffix="_before")
    assert 0.3 < both.select(pl.corr("position", "position_before")).item() < 0.98


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"number of seasons must be 1 or more, got 0\. Ask for at least one"):
        simulate(0, 1)
    with pytest.raises(ConfigError, match=r"seed must be 0 or more, got -1\. Use a non-negative"):
        simulate(1, -1)
    with pytest.raises(ConfigError, match=r"last season must be 2200 at most, got 2202\. Simulate fewer seasons"):
        simulate(13, 1, SimulatorConfig(first_season=2190))
