"""The benchmark's page says what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from bench.page import page
from bench.timing import Measured, Spread, alone, in_turns

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_page_is_made_of_what_was_measured() -> None:
    found = json.loads((DOCS / "benchmarks.json").read_text(encoding="utf-8"))
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == page(found)
    for row in found["measured"]:
        for kind in ("plain", "ours", "times"):
            assert row[kind] is None or 0.0 < row[kind]["low"] <= row[kind]["median"] <= row[kind]["high"], row["name"]


def test_two_ways_are_timed_in_turns_and_their_ratio_is_of_each_round() -> None:
    calls: list[str] = []
    found = in_turns("n", "s", 1.0, (lambda: calls.append("plain"), 1), (lambda: calls.append("ours"), 2), 3)
    assert calls == ["plain", "ours"] * 4  # the first of each warms up
    assert found.plain is not None
    assert found.times is not None
    assert found.times.low <= found.times.median <= found.times.high
    assert found.times.low >= found.plain.low / found.ours.high
    assert alone("n", "s", 1.0, (lambda: None, 1), 3).plain is None


def test_a_spread_is_of_its_values() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Measured("n", "s", Spread.of([1.0])).to_dict()["ours"] == {"median": 1.0, "low": 1.0, "high": 1.0}
