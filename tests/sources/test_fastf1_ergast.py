"""Why Jolpica is read directly: what FastF1's own interface to it does with the same answers, in the version installed.

Each reason that docs/data.md gives is shown here, beside what our way does in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastf1
import pytest
from fastf1.ergast import Ergast
from fastf1.exceptions import ErgastInvalidRequestError, RateLimitExceededError

from f1_predict.errors import DownloadError
from f1_predict.jobs.fetching import HOUR_S
from f1_predict.sources import jolpica
from f1_predict.sources.fastf1_loader import real_loader
from f1_predict.sources.http import PoliteClient
from f1_predict.sources.limits import RateLimiter
from tests.conftest import REPOSITORY
from tests.sources.clocks import FakeClock
from tests.sources.fake_services import FakeServices, Fault, serving
from tests.sources.true_fastf1 import redirect_fastf1
from tests.tables import foreign


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServices]:
    with serving(FakeServices(foreign.ergast(tmp_path))) as running:
        redirect_fastf1(running, monkeypatch, FakeClock())
        real_loader(tmp_path / "cache")  # sets up FastF1's cache
        yield running


@pytest.fixture
def ours() -> Iterator[PoliteClient]:
    clock = FakeClock()
    with PoliteClient(
        RateLimiter([(500, HOUR_S)], clock=clock, sleep=clock.sleep), clock=clock, sleep=clock.sleep
    ) as c:
        yield c


def numbers(client: PoliteClient, services: FakeServices) -> list[int]:
    """How many drivers each race of the season has, by our way."""
    races = jolpica.fetch(client, services.jolpica_url, "results", 2020)
    return [len(race["Results"]) for race in races]


def half(data: Any) -> Any:
    """The answer less one driver of its first race, as a service under load may give it."""
    del data["MRData"]["RaceTable"]["Races"][0]["Results"][1]
    return data


def test_it_reads_the_same_answers(services: FakeServices) -> None:
    """The local answers have the layout that a client of others knows too."""
    ergast = Ergast()
    results = ergast.get_race_results(2020, 1, limit=100)
    assert list(results.content[0]["driverId"]) == ["perez", "sainz", "ambrosio"]
    assert list(results.content[0]["status"]) == ["Finished", "Finished", "Accident"]
    laps = ergast.get_lap_times(2020, 1, limit=100).content[0]
    assert (len(laps), laps["time"].iloc[0].total_seconds()) == (10, 100.0)
    assert list(ergast.get_lap_times(2020, 1, lap_number=3).content[0]["driverId"]) == ["perez", "sainz"]
    assert list(ergast.get_pit_stops(2020, 1).content[0]["lap"]) == [2]
    assert list(ergast.get_race_schedule(2020)["raceName"]) == ["Alpha, Grand Prix", "Beta Grand Prix"]


def test_it_does_not_ask_again_after_a_fault(services: FakeServices, ours: PoliteClient) -> None:
    services.faults = [Fault(503)]
    with pytest.raises(ErgastInvalidRequestError):
        Ergast().get_race_results(2020, limit=100)
    assert len(services.asked) == 1
    services.faults = [Fault(503)]
    assert numbers(ours, services) == [3, 3]


def test_it_ends_in_an_error_at_200_requests_an_hour(services: FakeServices, ours: PoliteClient) -> None:
    ergast = Ergast(result_type="raw")
    with fastf1.Cache.disabled():
        for _ in range(199):
            ergast.get_race_schedule(2020)
        with pytest.raises(RateLimitExceededError, match="200 calls/h"):
            ergast.get_race_schedule(2020)
    for _ in range(200):
        ours.limiter.wait()
    assert numbers(ours, services) == [3, 3]


def test_it_takes_half_an_answer_for_a_whole_one_and_keeps_it(services: FakeServices, ours: PoliteClient) -> None:
    services.faults = [Fault(change=half)]
    answer = Ergast().get_race_results(2020, limit=100)
    assert answer.is_complete
    assert [len(race) for race in answer.content] == [2, 3]
    assert [len(race) for race in Ergast().get_race_results(2020, limit=100).content] == [2, 3]
    assert len(services.asked) == 1  # the second came from its cache, for twelve hours
    services.faults = [Fault(change=half)] * 8
    with pytest.raises(DownloadError, match=r"the answer holds 5 rows from 0 where 6 from 0 are due"):
        numbers(ours, services)
    assert numbers(ours, services) == [3, 3]


def test_the_page_gives_these_reasons() -> None:
    page = " ".join((REPOSITORY / "docs/data.md").read_text().split())
    for reason in (
        "it does not try again after a fault",
        "ends in an error at 200 requests an hour where Jolpica allows 500",
        "takes half an answer for a whole one",
        "keeps what it was told for up to twelve hours",
    ):
        assert reason in page
