"""The published limits are kept over seconds, hours and runs, and the time left under them is told truly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_predict.errors import DiskError
from f1_predict.sources.limits import RateLimiter
from tests.sources.clocks import FakeClock

JOLPICA = [(4, 1.0), (500, 3600.0)]


def requests(limiter: RateLimiter, clock: FakeClock, count: int) -> list[float]:
    times = []
    for _ in range(count):
        limiter.wait()
        times.append(clock.now)
    return times


def busiest(times: list[float], window: float) -> int:
    """The most requests in any stretch of so many seconds, its end left out."""
    return max(sum(start <= other < start + window - 1e-6 for other in times) for start in times)


def test_four_a_second_and_five_hundred_an_hour() -> None:
    clock = FakeClock()
    times = requests(RateLimiter(JOLPICA, clock=clock, sleep=clock.sleep), clock, 1200)
    assert busiest(times, 1.0) == 4
    assert busiest(times, 3600.0) == 500
    assert times[499] - times[0] == pytest.approx(124.0)
    assert times[1000] - times[0] == pytest.approx(7200.0)


def test_long_waits_are_told_before_they_begin() -> None:
    clock, told = FakeClock(), []
    limiter = RateLimiter([(2, 60.0)], clock=clock, sleep=clock.sleep, on_wait=lambda s: told.append((clock.now, s)))
    times = requests(limiter, clock, 3)
    assert told == [(times[1], 60.0)]


def test_without_limits_nothing_waits() -> None:
    clock = FakeClock()
    requests(RateLimiter([], clock=clock, sleep=clock.sleep), clock, 1000)
    assert clock.pauses == []


def test_a_second_run_keeps_the_limits_with_the_first(tmp_path: Path) -> None:
    clock, history = FakeClock(), tmp_path / "deep" / "requests.log"
    first = requests(RateLimiter(JOLPICA, history, clock, clock.sleep), clock, 480)
    second = requests(RateLimiter(JOLPICA, history, clock, clock.sleep), clock, 40)
    assert busiest(first + second, 3600.0) == 500
    assert second[20] - first[0] == pytest.approx(3600.0, abs=0.01)


def test_runs_at_the_same_time_keep_the_limits_together(tmp_path: Path) -> None:
    clock, history = FakeClock(), tmp_path / "requests.log"
    runs = [RateLimiter(JOLPICA, history, clock, clock.sleep) for _ in range(3)]
    times = []
    for number in range(510):
        times += requests(runs[number % 3], clock, 1)
    assert busiest(times, 1.0) == 4
    assert busiest(times, 3600.0) == 500
    assert times[-1] - times[0] == pytest.approx(3602.0, abs=1.0)


def test_a_history_cut_short_or_from_another_clock_is_borne(tmp_path: Path) -> None:
    clock, history = FakeClock(), tmp_path / "requests.log"
    history.write_text(f"{clock.now - 10:.3f}\nnonsense\n{clock.now + 9e6}\n12")
    limiter = RateLimiter([(2, 60.0)], history, clock, clock.sleep)
    times = requests(limiter, clock, 2)
    assert times[1] - times[0] == pytest.approx(50.0)


@settings(max_examples=60, deadline=None)
@given(
    before=st.integers(0, 12),
    ahead=st.integers(1, 25),
    limits=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 60)), min_size=1, max_size=2),
)
def test_the_time_left_is_the_time_it_then_takes(before: int, ahead: int, limits: list[tuple[int, int]]) -> None:
    clock = FakeClock()
    limiter = RateLimiter([(count, float(window)) for count, window in limits], clock=clock, sleep=clock.sleep)
    requests(limiter, clock, before)
    foreseen, now = limiter.seconds_for(ahead), clock.now
    taken = requests(limiter, clock, ahead)[-1] - now
    if len(limits) == 1:
        assert foreseen == pytest.approx(taken, abs=1e-3)
    else:  # two limits can delay one another: what is told is the least
        assert foreseen <= taken + 1e-3
    assert limiter.seconds_for(0) == 0.0


def test_a_history_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    clock, history = FakeClock(), tmp_path / "folder" / "requests.log"
    limiter = RateLimiter(JOLPICA, history, clock, clock.sleep)
    history.unlink()
    history.mkdir()
    with pytest.raises(DiskError, match=r"requests\.log: cannot be written .*so that the limits could not be kept"):
        limiter.wait()
