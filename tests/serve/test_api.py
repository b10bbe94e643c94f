"""The API: the same numbers as `predict --json`, forecasts as a stream, answers as documented, nothing made twice."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from f1_predict.api import Predictor
from f1_predict.cli import main
from f1_predict.forecasting import race_events
from f1_predict.horizon import AfterLap
from f1_predict.serve import answers
from f1_predict.serve.desk import BusyError, Desk, as_json
from tests.forecasting.conftest import CARS, LAPS, RACE, World
from tests.serve.conftest import Running


def events_of(response: httpx.Response) -> list[dict[str, str]]:
    """Server-sent events as dictionaries of their fields."""
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def test_a_forecast_is_what_predict_writes(served: Running, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for query, option in (("?lap=5", ["--lap", "5"]), ("", [])):
        assert main(["predict", RACE, *option, "--json", "-", *world.arguments()]) == 0
        written = json.loads(capsys.readouterr().out)
        assert served.get(f"/api/races/{RACE}/forecast{query}").json() == written
    assert served.get("/api/races/2101 round 3/forecast?lap=5").json()["race"]["race_id"] == RACE


def test_a_replay_streams_every_lap(served: Running) -> None:
    found = events_of(served.get(f"/api/races/{RACE}/replay"))
    assert [event["event"] for event in found] == ["forecast"] * (LAPS + 1) + ["end"]
    assert [event.get("id") for event in found[:-1]] == [str(lap) for lap in range(LAPS + 1)]
    for lap in (0, 3, LAPS):
        query = f"?lap={lap}" if lap else ""
        assert json.loads(found[lap]["data"]) == served.get(f"/api/races/{RACE}/forecast{query}").json()
    some = events_of(served.get(f"/api/races/{RACE}/replay?every=3"))
    assert [event.get("id") for event in some] == ["0", "3", "6", str(LAPS), None]


def test_answers_are_as_documented(served: Running) -> None:
    race = f"/api/races/{RACE}"
    driver = served.get(f"{race}/field").json()["field"][0]["driver_id"]
    documented = {
        "/api/model": answers.ModelAnswer,
        "/api/reliability": answers.ReliabilityAnswer,
        "/api/races": answers.RacesAnswer,
        f"{race}/field": answers.FieldAnswer,
        f"{race}/events": answers.EventsAnswer,
        f"{race}/forecast?lap=4": answers.ForecastAnswer,
        f"{race}/moment": answers.MomentAnswer,
        f"{race}/moment?lap=4": answers.MomentAnswer,
    }
    for address, model in documented.items():
        answer = served.get(address)
        assert answer.status_code == 200, answer.text
        told = model.model_validate_json(answer.content, strict=True)
        if model is not answers.ForecastAnswer:
            assert told.model_dump(mode="json") == answer.json(), address
    schema = served.get("/openapi.json").json()
    assert {path.replace("{race}", RACE) for path in schema["paths"]} >= {one.split("?")[0] for one in documented}
    assert f"{race}/picture" in {path.replace("{race}", RACE) for path in schema["paths"]}
    assert served.get(f"{race}/explanation?driver={driver}&lap=4").json()["driver_id"] == driver


def test_races_and_fields_are_those_of_the_store(served: Running, world: World) -> None:
    races = served.get("/api/races").json()["races"]
    assert [race["race_id"] for race in races] == world.archive.race_ids
    assert [(race["starters"], race["laps"]) for race in races] == [(CARS, LAPS)] * 3
    assert served.get("/api/races?season=2101").json()["races"] == races
    assert served.get("/api/races?season=2100").json()["races"] == []
    field = served.get(f"/api/races/{RACE}/field").json()
    assert [one["driver_id"] for one in field["field"]] == world.archive.rows("entries", RACE)["driver_id"].to_list()
    events = served.get(f"/api/races/{RACE}/events").json()["events"]
    assert events == race_events(world.archive, RACE).drop("race_id").to_dicts()


def test_a_moment_tells_what_the_forecast_could_see(served: Running, world: World) -> None:
    told = served.get(f"/api/races/{RACE}/moment?lap=4").json()
    snapshot = world.archive.snapshot(RACE, AfterLap(4))
    scheduled = snapshot.race.scheduled_laps
    assert any(line.startswith(f"{snapshot.laps.height} laps of {CARS} cars") for line in told["known"])
    assert told["to_come"][0].startswith(f"Laps 5 to {scheduled}")
    assert [car["place"] for car in told["cars"]] == list(range(1, CARS + 1))
    assert sum(car["laps"] for car in told["cars"]) == snapshot.laps.height
    before = served.get(f"/api/races/{RACE}/moment").json()
    assert before["to_come"][0].startswith(f"Laps 1 to {scheduled}")
    assert not any("laps of" in line for line in before["known"])
    assert {car["laps"] for car in before["cars"]} == {0}


def test_pictures_are_the_models_own(served: Running, predictor: Predictor) -> None:
    driver = predictor.archive.rows("entries", RACE)["driver_id"][1]
    address = f"/api/races/{RACE}/picture?driver={driver}&lap=4"
    answer = served.get(address)
    assert answer.headers["content-type"] == "image/png"
    shown = Image.open(io.BytesIO(answer.content))
    drawn = predictor.forecaster.generator.render(predictor.archive.snapshot(RACE, AfterLap(4)), [driver]).images[0]
    assert shown.tobytes() == drawn.tobytes()
    lit = served.get(f"{address}&heat=true")
    assert lit.content == predictor.explain(RACE, driver, 4).picture_png()


def test_ten_clients_at_once_are_all_answered(served: Running) -> None:
    addresses = [f"/api/races/2101_race_{race}/forecast?lap={lap}" for race in (1, 2) for lap in (2, 4, 6, 7, 8)]
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(served.get, addresses * 2))
    assert [answer.status_code for answer in found] == [200] * 20
    for address, answer in zip(addresses * 2, found, strict=True):
        assert answer.json()["moment"]["cutoff_lap"] == int(address[-1])
        assert answer.json()["race"]["race_id"] == address.split("/")[3]


# ---- the desk, without a server ----


class Stand:
    """A predictor that says what it was asked for, when it is let."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None]] = []
        self.go = threading.Event()

    def forecast(self, race_id: str, lap: int | None) -> Stand:
        self.go.wait(20)
        self.asked.append((race_id, lap))
        if lap == 13:
            raise ArithmeticError("lap 13")
        return self

    def to_json(self) -> str:
        return json.dumps(self.asked[-1])


def test_the_desk_makes_each_answer_once_and_in_turn() -> None:
    async def ask() -> list[bytes]:
        desk = Desk(stand)  # type: ignore[arg-type]
        waiting = [asyncio.create_task(desk.forecast("r", lap)) for lap in (1, 2, 1, 2, 1)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # who goes away takes nothing from those who stay
        stand.go.set()
        made = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(made[0], asyncio.CancelledError)
        return [*made[1:], await desk.forecast("r", 2)]  # type: ignore[list-item]

    stand = Stand()
    assert asyncio.run(ask()) == [as_json(["r", lap]) for lap in (2, 1, 2, 1, 2)]
    assert stand.asked == [("r", 1), ("r", 2)]


def test_the_desk_takes_on_no_more_than_it_may_and_forgets_the_oldest() -> None:
    async def ask() -> None:
        desk = Desk(stand, kept_bytes=30, waiting=2)  # type: ignore[arg-type]
        waiting = [asyncio.create_task(desk.forecast("r", lap)) for lap in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await desk.forecast("r", 3)
        stand.go.set()
        await asyncio.gather(*waiting)
        for lap in (3, 4, 5, 6, 1):  # seven bytes each: four are kept, and 1 has gone
            await desk.forecast("r", lap)
        with pytest.raises(ArithmeticError):
            await desk.forecast("r", 13)
        assert await desk.forecast("r", 14) == b'["r",14]'

    stand = Stand()
    asyncio.run(ask())
    assert [lap for _, lap in stand.asked] == [1, 2, 3, 4, 5, 6, 1, 13, 14]
