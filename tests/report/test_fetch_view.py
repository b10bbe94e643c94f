"""What a fetch prints: few lines, corrections first, gaps by race, and the time left in words."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from f1_predict.report.fetch_view import FetchBar, change_lines, check_lines, duration, missing_lines
from f1_predict.sources.fastf1_live import Missing
from f1_predict.sources.jolpica_season import Fetching
from f1_predict.tables import Check
from f1_predict.tables.update import Change


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (89.0, "89 s"), (91.0, "2 min"), (5340.0, "89 min"), (12000.0, "3 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_corrections_come_first_and_many_additions_are_one_line() -> None:
    added = [Change(f"2020_race_{n}", "added", "x") for n in range(1, 14)]
    corrected = [Change(f"2019_race_{n}", "corrected", "results a 1 -> 2") for n in range(1, 15)]
    lines = change_lines([*added, *corrected])
    assert lines[0] == "2019_race_1 corrected: results a 1 -> 2"
    assert lines[12:] == [
        "... and 2 other races completed, corrected or removed",
        "13 races added, 2020_race_1 to 2020_race_13",
    ]
    assert change_lines(added[:2]) == ["2020_race_1 added: x", "2020_race_2 added: x"]


def test_gaps_are_joined_by_race_and_races_by_gaps() -> None:
    gaps = [Missing("2020_race_1", "race", "tyres"), Missing("2020_race_1", "race", "weather")]
    assert missing_lines(gaps) == ["missing in 2020_race_1 (race): tyres, weather"]
    few = [Missing(f"2020_race_{n}", "race", "laps") for n in (2, 3)]
    assert missing_lines([*gaps, *few])[1] == "missing in 2020_race_2 (race), 2020_race_3 (race): laps"
    many = [Missing(f"2020_race_{n}", "race", "laps") for n in range(1, 16)]
    assert missing_lines(many) == ["missing in 15 sessions from 2020_race_1 (race) to 2020_race_15 (race): laps"]
    unlike = [Missing(f"2020_race_{n}", "race", f"laps of car {n}") for n in range(1, 16)]
    assert missing_lines(unlike)[-1] == "... and 3 other gaps"


def test_checks_show_their_first_row() -> None:
    checks = [Check("f1db", "grid places in conflict", 1200, 5000, ("2020_race_1 x 1 2",)), Check("tables", "odd", 3)]
    assert check_lines(checks) == [
        "f1db: grid places in conflict: 1,200 of 5,000 (first: 2020_race_1 x 1 2)",
        "tables: odd: 3",
    ]


def test_the_bar_tells_requests_and_the_time_left_under_the_limits() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=120, force_terminal=True, color_system=None)
    with FetchBar(console) as bar:
        bar.show(Fetching(120, 330, 2700.0))
        bar.say("[429] a line")
        bar._bar.refresh()
    assert "120 of about 330 requests at least 45 min left under its limits" in shown.getvalue()
    assert "[429] a line" in shown.getvalue()


def test_the_bar_is_there_at_once_and_a_long_wait_is_said() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=120, force_terminal=True, color_system=None)
    with FetchBar(console) as bar:
        bar._bar.refresh()
        assert "Jolpica" in shown.getvalue()
        bar.wait(3180.0)
    assert "Jolpica's limit of requests is used up: waiting 53 min, then going on" in shown.getvalue()
