"""A client that asks again politely, and never takes a wrong or a half answer for a good one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from f1_predict.errors import DownloadError
from f1_predict.sources.http import Answer, BadAnswerError, PoliteClient
from f1_predict.sources.jolpica import fetch
from f1_predict.sources.limits import RateLimiter
from tests.sources.clocks import FakeClock
from tests.sources.fake_services import FakeServices, Fault, serving
from tests.tables import foreign


@pytest.fixture
def services(tmp_path: Path) -> Iterator[FakeServices]:
    with serving(FakeServices(foreign.ergast(tmp_path), foreign.f1db(tmp_path))) as running:
        yield running


_open: list[PoliteClient] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _open:
        _open.pop().__exit__()


def client(clock: FakeClock, attempts: int = 5, said: list[str] | None = None) -> PoliteClient:
    on_wait = None if said is None else said.append
    limiter = RateLimiter([], clock=clock, sleep=clock.sleep)
    made = PoliteClient(limiter, timeout_s=5.0, attempts=attempts, clock=clock, sleep=clock.sleep, on_wait=on_wait)
    _open.append(made)
    return made


def names(services: FakeServices, clock: FakeClock, attempts: int = 5, said: list[str] | None = None) -> list[str]:
    races = fetch(client(clock, attempts, said), services.jolpica_url, "races", 2020)
    return [race["raceName"] for race in races]


GOOD = ["Alpha, Grand Prix", "Beta Grand Prix"]


@pytest.mark.parametrize(
    ("fault", "pause"),
    [
        (Fault(500), 1.0),
        (Fault(503, {"Retry-After": "7"}), 7.0),
        (Fault(429), 30.0),
        (Fault(429, {"Retry-After": "120"}), 120.0),
        (Fault(429, {"Retry-After": "soon"}), 30.0),
        (Fault(429, {"Retry-After": format_datetime(datetime(2020, 6, 1, 12, 2, tzinfo=UTC))}), 120.0),
        (Fault(200, {"Content-Type": "text/html"}, b"<html><body>Under maintenance</body></html>"), 1.0),
        (Fault(200, {}, b""), 1.0),
        (Fault(200, {"Content-Encoding": "gzip"}, b"not packed at all"), 1.0),
        (Fault(200, {}, b"[]"), 1.0),
        (Fault(408), 1.0),
    ],
)
def test_one_fault_is_waited_out(services: FakeServices, fault: Fault, pause: float) -> None:
    services.faults, clock = [fault], FakeClock()
    assert names(services, clock) == GOOD
    assert clock.pauses == [pytest.approx(pause, abs=1.0)]
    assert len(services.asked) == 2


def test_pauses_double_and_the_fault_is_told(services: FakeServices) -> None:
    services.faults, clock, said = [Fault(502)] * 4, FakeClock(), []
    assert names(services, clock, said=said) == GOOD
    assert clock.pauses == [1.0, 2.0, 4.0, 8.0]
    assert said[1].endswith("/races/: it answers 502 (Bad Gateway); asking again in 2 s (2 of 5)")


def test_faults_without_end_are_an_error_that_names_the_last(services: FakeServices) -> None:
    services.faults = [Fault(500)] * 9
    with pytest.raises(DownloadError, match=r"races/: it answers 500 \(Internal Server Error\), 3 times\. What was"):
        names(services, FakeClock(), attempts=3)
    assert len(services.asked) == 3


def test_a_refusal_is_not_repeated(services: FakeServices) -> None:
    services.faults = [Fault(404)]
    with pytest.raises(DownloadError, match=r"it answers 404 \(Not Found\)\. Check the address"):
        names(services, FakeClock())
    assert len(services.asked) == 1


def test_a_wait_of_hours_is_told_instead(services: FakeServices) -> None:
    services.faults = [Fault(429, {"Retry-After": "14400"})]
    with pytest.raises(DownloadError, match=r"asks to wait 4\.0 hours\. Start again after that"):
        names(services, FakeClock())


def test_a_connection_cut_at_any_byte(services: FakeServices) -> None:
    whole = len(json.dumps(services.answer("2020", None, "races", 100, 0)))
    places = list(range(60)) + list(range(60, whole, 37))
    clock = FakeClock()
    asking = client(clock)
    for place in places:
        services.faults, before = [Fault(cut=place)], len(services.asked)
        races = fetch(asking, services.jolpica_url, "races", 2020)
        assert [race["raceName"] for race in races] == GOOD
        # A cut past the end of the packed answer is none.
        assert len(services.asked) - before in (1, 2)
    assert len(services.asked) > len(places) + 60


def test_nobody_there_is_an_error() -> None:
    clock = FakeClock()
    with pytest.raises(DownloadError, match=r"ConnectError: .*, 2 times"):
        fetch(client(clock, attempts=2), "http://127.0.0.1:9/ergast/f1", "races", 2020)


def test_a_service_that_was_never_reached_is_soon_given_up(services: FakeServices) -> None:
    clock, said = FakeClock(), []
    with pytest.raises(DownloadError, match=r"ConnectError: .*, 3 times\. Is there a connection to the internet\?"):
        fetch(client(clock, attempts=8, said=said), "http://127.0.0.1:9/ergast/f1", "races", 2020)
    assert clock.pauses == [1.0, 2.0]
    assert said[0].endswith("asking again in 1 s (1 of 3)")
    asking, clock.pauses = client(clock, attempts=5), []
    fetch(asking, services.jolpica_url, "races", 2020)
    with pytest.raises(DownloadError, match=r"ConnectError: .*, 5 times\. What was"):  # it was there a moment ago
        fetch(asking, "http://127.0.0.1:9/ergast/f1", "races", 2020)
    assert clock.pauses == [1.0, 2.0, 4.0, 8.0]


def test_a_silent_server_times_out(services: FakeServices) -> None:
    clock, heard = FakeClock(), threading.Event()
    services.faults = [Fault(hold=heard), Fault(hold=heard)]
    with (
        PoliteClient(RateLimiter([]), timeout_s=0.05, attempts=2, clock=clock, sleep=clock.sleep) as asking,
        pytest.raises(DownloadError, match=r"ReadTimeout.*, 2 times"),
    ):
        fetch(asking, services.jolpica_url, "races", 2020)
    heard.set()
    assert clock.pauses == [1.0]


def test_an_answer_without_end_is_refused(services: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("f1_predict.sources.http.MAX_ANSWER_BYTES", 100)
    with pytest.raises(DownloadError, match="the answer is longer than 0 MiB, 2 times"):
        names(services, FakeClock(), attempts=2)


def test_what_the_caller_refuses_is_asked_for_again(services: FakeServices) -> None:
    seen: list[str] = []

    def accept(answer: Answer) -> str:
        seen.append(answer.url)
        if len(seen) < 3:
            raise BadAnswerError("not yet")
        return "good"

    assert client(FakeClock()).get(f"{services.jolpica_url}/2020/races/", {"limit": 3}, accept) == "good"
    assert seen == [f"{services.jolpica_url}/2020/races/?limit=3"] * 3
