"""The calibration as a job: the file of numbers it writes, and what its page says of figures that agree and differ."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from f1_predict.config import SimulatorConfig
from f1_predict.errors import DataError
from f1_predict.jobs import calibrating
from f1_predict.jobs.calibrating import calibrate_simulator
from f1_predict.jobs.calibration_page import Comparison, page
from f1_predict.sources.simulator import read_parameters, simulate
from f1_predict.sources.simulator.calibrate import RULES, windows
from f1_predict.sources.simulator.calibrate_transfer import Ranking
from f1_predict.sources.simulator.figures import KEYS
from f1_predict.tables import write_store


def figures(**values: float | None) -> pl.DataFrame:
    """Every figure 1.0 ± 0.01 but those given."""
    rows = [(key, values.get(key, 1.0), None if values.get(key, 1.0) is None else 0.01, 50) for key in KEYS]
    return pl.DataFrame(rows, schema=["key", "value", "se", "races"], orient="row")


def made_up_page() -> str:
    real = {"2014-2017": figures(safety_cars=None, grid_result=0.6), "2018-2021": figures(retired=2.0)}
    simulated = {
        "2014-2017": figures(grid_result=0.5, lap_noise=1.09, gap_2=1.15),
        "2018-2021": figures(retired=3.0),
    }
    return page(
        Comparison(
            real=real,
            simulated=simulated | {"2022-2024": figures()},
            windows=windows(1996, 2018),
            transfer={"the order of the moment": Ranking(2.0, 0.8, 40)},
            scored=(2015, 2018),
            learnt=(1996, 2014),
            races=540,
            seed=2,
            seasons=(1996, 2018),
        )
    )


def row(text: str, start: str, at: int = 0) -> list[str]:
    line = [line for line in text.splitlines() if line.startswith(f"| {start}")][at]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_page_says_what_agrees_and_why_the_rest_does_not() -> None:
    text = made_up_page()
    assert row(text, "a driver's laps, noise") == ["1.00 ± 0.01", "1.09 ± 0.01", "1.09", "yes"]
    assert row(text, "Spearman of grid and result") == ["0.600 ± 0.010", "0.500 ± 0.010", "0.83", "no"]
    assert row(text, "safety cars per race, recorded") == ["–", "1.00 ± 0.01", "–", "not recorded"]
    why = text.split("## Why figures differ")[1].split("## All other figures")[0]
    assert "- **Spearman of grid and result** (2014-2017): retirements, the first lap and stops decide it" in why
    assert "- **retirements per race** (2018-2021): no race of this era was looked at" in why
    assert "- **second behind the winner** (2014-2017): how much a leader saves the car" in why
    assert why.count("\n- **") == 3


def test_the_page_says_which_eras_are_a_check() -> None:
    text = made_up_page()
    assert row(text, "2014-2017 |") == ["2014-2018", "a fit"]
    assert row(text, "2018-2021 |") == [
        "2014-2018, taken over from 2014-2017",
        "a check: no race of it was looked at",
    ]
    assert "### 2014-2017 (tuned)" in text
    assert "### 2018-2021 (a check)" in text
    assert "Races of 1996 to 2018 were looked at" in text
    assert "| the order of the moment | 2.000 | 0.800 | 40 |" in text


def test_two_figures_within_their_errors_cannot_be_told_apart() -> None:
    frame = figures(pole_wins=50.0).with_columns(se=pl.when(pl.col("key") == "pole_wins").then(10.0).otherwise("se"))
    text = page(
        Comparison(
            {"2014-2017": frame}, {"2014-2017": figures(pole_wins=40.0)}, windows(1996, 2018), {}, (2015, 2018),
            (1996, 2014), 9, 2, (1996, 2018),
        )
    )  # fmt: skip
    assert row(text, "wins from pole")[-2:] == ["0.80", "cannot be told apart"]
    assert "None does." in text


def test_the_job_tunes_one_era_and_hands_its_numbers_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seasons of invented races take the place of the real ones."""
    monkeypatch.setattr(calibrating, "RUN", 1)
    config = SimulatorConfig(first_season=1996, races_per_season=1, era="1996-2009")
    write_store(simulate(14, 3, config), tmp_path / "store")
    console = Console(quiet=True)
    for name in ("one.toml", "two.toml"):
        calibrate_simulator(console, tmp_path / "store", tmp_path / name, None, (1996, 2009), 1, 2, 1)
    assert (tmp_path / "one.toml").read_bytes() == (tmp_path / "two.toml").read_bytes()
    before, after = read_parameters(), read_parameters(tmp_path / "one.toml")
    first, last = (after[era].model_dump() for era in ("1996-2009", "2022-2024"))
    assert {key for key in first if first[key] != last[key]} <= set(RULES)
    assert [own.teams for own in after.values()] == [own.teams for own in before.values()]
    assert after["1996-2009"].mechanical_rate != before["1996-2009"].mechanical_rate

    with pytest.raises(DataError, match=r"no races of 2010-2013, to which era 2010-2013 is to be tuned\. Ingest those"):
        calibrate_simulator(console, tmp_path / "store", tmp_path / "no.toml", None, (2010, 2013), 1, 2, 1)
    assert not (tmp_path / "no.toml").exists()
