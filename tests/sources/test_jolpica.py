"""Jolpica's answers: paged together whole, checked against the known layout, read into Ergast's frames."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from f1_predict.errors import DiskError, DownloadError
from f1_predict.sources import jolpica
from f1_predict.sources.ergast import read_ergast
from f1_predict.sources.http import PoliteClient
from f1_predict.sources.jolpica_frames import read_jolpica
from f1_predict.sources.jolpica_season import JolpicaFetcher
from f1_predict.sources.limits import RateLimiter
from f1_predict.sources.raw import RawCache
from tests.sources import fake_services
from tests.sources.clocks import FakeClock
from tests.sources.fake_services import FakeServices, Fault, serving
from tests.tables import foreign


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return foreign.ergast(tmp_path)


@pytest.fixture
def services(dump: Path) -> Iterator[FakeServices]:
    with serving(FakeServices(dump)) as running:
        yield running


_open: list[PoliteClient] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _open:
        _open.pop().__exit__()


def client(attempts: int = 2) -> PoliteClient:
    clock = FakeClock()
    made = PoliteClient(RateLimiter([]), attempts=attempts, clock=clock, sleep=clock.sleep)
    _open.append(made)
    return made


def whole(services: FakeServices, endpoint: str, round_: str | None = None) -> list[dict[str, Any]]:
    answer = services.answer("2020", round_, endpoint, 100, 0)
    races: list[dict[str, Any]] = answer["MRData"]["RaceTable"]["Races"]
    return races


@pytest.mark.parametrize("rows", [1, 3, 4, 7])
def test_pages_make_one_answer_wherever_they_part(
    services: FakeServices, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    results, laps = whole(services, "results"), whole(services, "laps", "1")
    monkeypatch.setattr(fake_services, "MOST_ROWS", rows)
    assert jolpica.fetch(client(), services.jolpica_url, "results", 2020) == results
    assert len(services.asked) == -(-6 // rows)
    assert jolpica.fetch(client(), services.jolpica_url, "laps", 2020, 1) == laps
    assert sum(len(lap["Timings"]) for lap in laps[0]["Laps"]) == 10


def test_pages_still_to_come_are_told(services: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_services, "MOST_ROWS", 3)
    monkeypatch.setattr(jolpica, "PAGE_ROWS", 3)
    left: list[int] = []
    jolpica.fetch(client(), services.jolpica_url, "laps", 2020, 1, left.append)
    assert left == [3, 2, 1, 0]


def test_nothing_there_is_an_empty_answer(services: FakeServices) -> None:
    assert jolpica.fetch(client(), services.jolpica_url, "races", 2031) == []
    assert jolpica.fetch(client(), services.jolpica_url, "pitstops", 2020, 2) == []


def test_an_answer_that_grows_between_its_pages_is_asked_for_anew(
    services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_services, "MOST_ROWS", 4)

    def grown(data: Any) -> Any:
        data["MRData"]["total"] = "7"
        data["MRData"]["limit"] = "2"
        return data

    services.faults = [None, Fault(change=grown)]
    assert len(jolpica.fetch(client(), services.jolpica_url, "results", 2020)) == 2
    assert [path.split("offset=")[1] for path in services.asked] == ["0", "4", "0", "4"]
    services.faults = [None, Fault(change=grown)] * 3
    with pytest.raises(DownloadError, match="the answer changed between two of its pages, 3 times"):
        jolpica.fetch(client(), services.jolpica_url, "results", 2020)


def test_a_row_on_two_pages_is_asked_for_anew_unless_the_service_means_it(
    services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_services, "MOST_ROWS", 4)
    good = jolpica.fetch(client(), services.jolpica_url, "results", 2020)
    services.asked.clear()

    def again(data: Any) -> Any:
        data["MRData"]["RaceTable"]["Races"] = copy.deepcopy(first["MRData"]["RaceTable"]["Races"])
        races = data["MRData"]["RaceTable"]["Races"]
        races[0]["Results"] = races[0]["Results"][:2]
        del races[1:]
        return data

    first = services.answer("2020", None, "results", 4, 0)
    services.faults = [None, Fault(change=again)]
    assert jolpica.fetch(client(), services.jolpica_url, "results", 2020) == good
    assert [path.split("offset=")[1] for path in services.asked] == ["0", "4", "0", "4"]


def test_empty_answers_are_no_last_word(services: FakeServices, tmp_path: Path) -> None:
    laps = services.rows["lap_times"].pop("11")
    cache = stored(services, tmp_path / "raw")
    services.rows["lap_times"]["11"] = laps
    services.asked.clear()
    fetcher = JolpicaFetcher(client(), services.jolpica_url, cache, refresh=True)
    fetcher.plan([2020])
    fetcher.fetch_season(2020)
    assert "2020/2/laps/" in [path.split("/f1/")[1].split("?")[0] for path in services.asked]
    assert cache.read("jolpica", "2020", "02", "laps").payload[0]["Laps"]  # type: ignore[union-attr]
    with pytest.raises(DownloadError, match="the answer is empty, and there must be something of a season that is"):
        JolpicaFetcher(client(), services.jolpica_url, cache).plan([2019])
    assert cache.read("jolpica", "2019", "races") is None


def test_answers_of_another_layout_are_asked_for_again_and_unreadable_ones_are_told(tmp_path: Path) -> None:
    cache = RawCache(tmp_path)
    cache.write([1], "x")
    text = cache.path("x").read_text()
    cache.path("x").write_text(text.replace('"layout":2', '"layout":1'))
    assert cache.read("x") is None
    cache.path("x").unlink()
    cache.path("x").mkdir()  # as a file without permission: root may read anything
    with pytest.raises(DiskError, match=r"x\.json: cannot be read \(Is a directory\)\. Make it readable"):
        cache.read("x")


def _race(data: Any) -> Any:
    return data["MRData"]["RaceTable"]["Races"][0]


def _set(*path: str | int, value: object) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        at = _race(data)
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        return data

    return change


def _without(*path: str | int) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        at = _race(data)
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]
        return data

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("Results"), r"the layout is not the known one \(Results: Field required"),
        (_without("Results", 0, "Driver"), r"\(Results\.0\.Driver: Field required"),
        (
            _set("Results", 1, "position", value="second"),
            r"\(Results\.1\.position: .*must be a whole number, got 'second'",
        ),
        (_set("Results", 1, "laps", value="999"), r"\(Results\.1\.laps: Input should be less than or equal to 250"),
        (_set("Results", 0, "Driver", "driverId", value="../x"), r"Results\.0\.Driver\.driverId: String should match"),
        (_set("date", value="01/03/2020"), r"\(date: "),
        (_set("date", value=1583020800), r"\(date: .*must be a date YYYY-MM-DD as text"),
        (_set("Results", 1, "grid", value="1.0"), r"\(Results\.1\.grid: .*must be a whole number, got '1\.0'"),
        (_without("Results", 0, "grid"), r"\(Results\.0: .*the winner must have grid"),
        (_without("Results", 0, "status"), r"the winner must have status"),
        (_without("Results", 1, "position"), r"\(Results\.1\.position: Field required"),
        (_set("season", value="2019"), r"the answer is about 2019 round 1, asked was 2020"),
        (lambda data: {"data": data}, r"the answer is no race table in JSON \(it begins '\{\"data\": "),
        (_without("Results", 0), r"the answer holds 5 rows from 0 where 6 from 0 are due"),
        (lambda data: data | {"MRData": data["MRData"] | {"offset": "3"}}, r"holds 6 rows from 3 where 6 from 0"),
        (lambda data: data | {"MRData": data["MRData"] | {"total": "many"}}, r"no race table in JSON"),
    ],
)
def test_a_wrong_answer_is_never_taken(services: FakeServices, change: Callable[[Any], Any], message: str) -> None:
    services.faults = [Fault(change=change)] * 2
    with pytest.raises(DownloadError, match=message):
        jolpica.fetch(client(), services.jolpica_url, "results", 2020)


def stored(services: FakeServices, folder: Path) -> RawCache:
    cache = RawCache(folder, lambda: datetime(2020, 6, 1, tzinfo=UTC))
    fetcher = JolpicaFetcher(client(), services.jolpica_url, cache)
    fetcher.plan([1955, 2020])
    for season in (1955, 2020):
        fetcher.fetch_season(season)
    return cache


def test_the_frames_are_those_of_the_dump(services: FakeServices, dump: Path, tmp_path: Path) -> None:
    found, origins = read_jolpica(stored(services, tmp_path / "raw"), [1955, 2020])
    expected = read_ergast(dump)
    for name in ("races", "all_races", "results", "qualifying", "pit_stops", "laps"):
        frame, dumped = getattr(found, name), getattr(expected, name).select(getattr(found, name).columns)
        order = [c for c in ("race_id", "driver_id", "lap", "position_order", "season", "round") if c in frame.columns]
        assert_frame_equal(frame.sort(order), dumped.sort(order))
    assert {(o.table, o.race_id) for o in origins if o.race_id == "2020_race_1"} == {
        ("races", "2020_race_1"),
        ("entries", "2020_race_1"),
        ("results", "2020_race_1"),
        ("laps", "2020_race_1"),
    }


def test_nulls_are_absent_keys(services: FakeServices, tmp_path: Path) -> None:
    qualifying = whole(services, "qualifying")[0]["QualifyingResults"]
    assert "Q1" not in qualifying[2]
    assert "code" not in qualifying[2]["Driver"]
    found, _ = read_jolpica(stored(services, tmp_path / "raw"), [2020])
    row = found.qualifying.row(by_predicate=pl.col("driver_id") == "ambrosio", named=True)
    assert (row["code"], row["q1_s"], row["q3_s"]) == (None, None, None)


@pytest.mark.parametrize("unknown", [None, "None", ""])
def test_what_the_service_did_not_know_of_late_races_is_no_fault(
    services: FakeServices, tmp_path: Path, unknown: str | None
) -> None:
    """Laps without places, a driver without a place, and results without a status: each has been there."""
    for row in services.rows["lap_times"]["11"]:
        row["position"] = unknown

    def unplaced(data: Any) -> Any:
        rows = data["MRData"]["RaceTable"]["Races"][0]["Results"]
        rows[2] |= {"position": unknown, "positionText": "W"}
        rows[0]["status"] = unknown
        return data

    services.faults = [*[None] * 4, Fault(change=unplaced)]  # two calendars, all of 1955, the results of 2020
    found, _ = read_jolpica(stored(services, tmp_path / "raw"), [2020])
    assert found.laps.filter(race_id="2020_race_2")["position"].to_list() == [None] * 6
    assert found.laps.filter(race_id="2020_race_1")["position"].null_count() == 0
    first = found.results.filter(race_id="2020_race_1")
    assert first.select("driver_id", "position_order", "status").rows() == [
        ("perez", 1, "Unknown"),
        ("sainz", 2, "Finished"),
        ("ambrosio", 99, "Accident"),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"), [("58.304", 58.304), ("1:26.572", 86.572), ("125:07.547", 7507.547), ("2:05:07.547", 7507.547)]
)
def test_times_of_any_length(services: FakeServices, tmp_path: Path, text: str, seconds: float) -> None:
    cache = stored(services, tmp_path / "raw")
    document = cache.read("jolpica", "2020", "01", "laps")
    assert document is not None
    payload = copy.deepcopy(document.payload)
    payload[0]["Laps"][0]["Timings"][0]["time"] = text
    cache.write(payload, "jolpica", "2020", "01", "laps")
    found, _ = read_jolpica(cache, [2020])
    assert found.laps.filter(race_id="2020_race_1")["lap_time_s"][0] == seconds


def test_an_edited_answer_on_disk_is_asked_for_again(services: FakeServices, tmp_path: Path) -> None:
    cache = stored(services, tmp_path / "raw")
    file = cache.path("jolpica", "2020", "01", "laps")
    good = file.read_bytes()
    services.asked.clear()
    file.write_bytes(good.replace(b"1:40.000", b"1:39.000", 1))
    stored(services, tmp_path / "raw")
    # The calendar of a running season may change, and is asked for each time.
    assert [path.split("/f1/")[1].split("?")[0] for path in services.asked] == ["2020/races/", "2020/1/laps/"]
    assert file.read_bytes() == good
    file.write_bytes(good[: len(good) // 2])
    stored(services, tmp_path / "raw")
    assert file.read_bytes() == good


def test_an_answer_that_says_the_same_keeps_its_date(tmp_path: Path) -> None:
    moments = [datetime(2020, 6, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
    cache = RawCache(tmp_path, lambda: moments[0])
    cache.write([{"a": 1}], "x")
    moments.pop(0)
    again = cache.write([{"a": 1}], "x")
    assert (again.fetched.day, again.checked.day) == (1, 2)
    moments.pop(0)
    other = cache.write([{"a": 2}], "x")
    assert (other.fetched.day, other.checked.day) == (3, 3)
    assert json.loads(cache.path("x").read_text())["payload"] == [{"a": 2}]


def test_progress_tells_the_requests_to_come_and_the_time_they_need(services: FakeServices, tmp_path: Path) -> None:
    clock, told = FakeClock(), []
    limiter = RateLimiter([(4, 1.0), (500, 3600.0)], clock=clock, sleep=clock.sleep)
    with PoliteClient(limiter, clock=clock, sleep=clock.sleep) as asking:
        cache = RawCache(tmp_path / "raw", lambda: datetime(2020, 6, 1, tzinfo=UTC))
        fetcher = JolpicaFetcher(asking, services.jolpica_url, cache, on_progress=told.append)
        fetcher.plan([2020])
        fetcher.fetch_season(2020)
    assert [each.done for each in told] == [0, 1, 1, 2, 3, 4, 5, 6, 7]
    # After the first results page: 5 of qualifying, twice 13 of laps and 1 of pit stops are expected.
    assert told[3].expected == 2 + 5 + 2 * 14
    assert told[3].seconds_left == pytest.approx((5 + 28 - 2) // 4, abs=1.0)
    assert (told[-1].expected, told[-1].seconds_left) == (7, 0.0)
