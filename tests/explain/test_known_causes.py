"""Trouble put into races: it changes what it must and nothing else, and blanked laps find it."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.explain import known_causes
from f1_predict.explain.known_causes import Trouble, by_chance, measure, with_trouble
from tests.explain.conftest import Learnt


@pytest.fixture(scope="module")
def laps(learnt: Learnt) -> pl.DataFrame:
    return learnt.archive.rows("laps", learnt.new_races[0]).sort("driver_id", "lap")


@pytest.mark.parametrize("cause", known_causes.CAUSES)
def test_trouble_costs_its_driver_what_it_says(laps: pl.DataFrame, cause: str) -> None:
    driver = laps["driver_id"][0]
    trouble = Trouble(cause, driver, 9, (25.0, 20.0))
    changed = with_trouble(laps, trouble).sort("driver_id", "lap")
    assert changed.schema == laps.schema
    lost = changed["lap_time_s"] - laps["lap_time_s"]
    own = (laps["driver_id"] == driver).to_numpy()
    lap = laps["lap"].to_numpy()
    np.testing.assert_allclose(lost, np.select([own & (lap == 9), own & (lap == 10)], [25.0, 20.0], 0.0), atol=1e-9)
    later = np.select([own & (lap == 9), own & (lap > 9)], [25.0, 45.0], 0.0)
    np.testing.assert_allclose(changed["end_time_s"] - laps["end_time_s"], later, atol=1e-6)
    distance = (laps["speed_kmh"] * laps["lap_time_s"]).to_numpy()
    np.testing.assert_allclose((changed["speed_kmh"] * changed["lap_time_s"]).to_numpy(), distance, rtol=1e-9)
    for _, some in changed.group_by("lap"):
        assert some.sort("end_time_s")["position"].to_list() == list(range(1, some.height + 1))
    kept = ["race_id", "driver_id", "lap", "compound", "track_status", "speed_trap_kmh"]
    assert_frame_equal(changed.select(kept), laps.select(kept))
    if cause == "slow stop":
        assert_frame_equal(
            changed.select("pit_in", "pit_out", "tyre_life"), laps.select("pit_in", "pit_out", "tyre_life")
        )


def test_a_puncture_is_a_stop_for_other_tyres(laps: pl.DataFrame) -> None:
    driver = laps["driver_id"][0]
    changed = with_trouble(laps, Trouble("puncture", driver, 9, (25.0, 20.0))).filter(driver_id=driver).sort("lap")
    rows = {row["lap"]: row for row in changed.iter_rows(named=True)}
    assert rows[9]["pit_in"]
    assert rows[10]["pit_out"]
    stop = next(lap for lap in itertools.count(10) if rows[lap]["pit_in"])
    assert [rows[lap]["tyre_life"] for lap in range(10, stop + 1)] == list(range(1, stop - 8))
    before = laps.filter(driver_id=driver).sort("lap")
    assert_frame_equal(
        changed.filter(pl.col("lap") > stop).select("tyre_life"),
        before.filter(pl.col("lap") > stop).select("tyre_life"),
    )


def test_chance_is_that_of_two_laps_drawn() -> None:
    for laps, best in ((5, 1), (7, 3), (4, 4)):
        drawn = list(itertools.combinations(range(laps), 2))
        assert by_chance(laps, best) == pytest.approx(np.mean([min(pair) < best for pair in drawn]))


def test_blanked_laps_find_trouble_more_often_than_chance(learnt: Learnt) -> None:
    """On races that the network has not learnt from, with the shipped backbone. Larger: `f1-predict explain-check`."""
    rows = pl.concat([measure(learnt.forecaster, learnt.tables, learnt.new_races, seed) for seed in range(3)])
    assert rows.height >= 8
    assert set(rows["cause"]) == set(known_causes.CAUSES)
    found = float((rows["rank"] <= 3).mean())  # type: ignore[arg-type]
    chance = float(np.mean([by_chance(laps, 3) for laps in rows["laps"]]))
    assert found > chance + 0.1, f"{found:.2f} of {rows.height}, by chance {chance:.2f}"
    ranks = (3.0 * rows["rank"] / (rows["laps"] + 1)).to_numpy()  # of two laps drawn, the better one's is 1 on average
    assert ranks.mean() < 0.7, f"{ranks.mean():.2f} of what chance gives"
    assert rows["share"].mean() > (2 / rows["laps"]).mean()
