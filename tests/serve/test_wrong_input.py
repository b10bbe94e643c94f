"""Wrong input of many kinds: each a clear message as JSON, none a traceback, and the server is alive after all."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from f1_predict.api import Predictor
from f1_predict.cli import main
from f1_predict.serve import Desk, Limits, create_app
from f1_predict.serve.limits import Gate, host_of, is_loopback, names_of
from tests.forecasting.conftest import RACE, World
from tests.serve.conftest import Running, running

R = f"/api/races/{RACE}"
WRONG = {
    "unknown race": ("/api/races/2101_race_99/forecast", 404, "no race '2101_race_99'. Did you mean 2101_race_"),
    "two races": ("/api/races/2101/forecast", 422, "'2101' names 3 races"),
    "lap 0": (f"{R}/forecast?lap=0", 422, "the lap must be a whole number from 1 to 8"),
    "lap 999": (
        f"{R}/forecast?lap=999",
        422,
        "has completed, got '999'. Leave it out for the forecast before the race.",
    ),
    "negative lap": (f"{R}/forecast?lap=-3", 422, "got '-3'"),
    "text for a lap": (f"{R}/moment?lap=abc", 422, "got 'abc'"),
    "half a lap": (f"{R}/forecast?lap=2.5", 422, "got '2.5'"),
    "no lap in it": (f"{R}/forecast?lap=", 422, "got ''"),
    "a lap of 60 digits": (f"{R}/forecast?lap={'9' * 60}", 422, "the lap must be a whole number"),
    "a lap too long to read": (f"{R}/forecast?lap={'9' * 300}", 422, "'lap': string should have at most 80"),
    "control characters": (f"{R}/forecast?lap=%1b%5b31m%00", 422, "got '?[31m?'"),
    "unknown driver": (f"{R}/picture?driver=nobody&lap=2", 404, "no driver 'nobody'"),
    "a chance that the model does not say": (
        f"{R}/explanation?driver=driver_001&lap=2&of=p_%1bother",
        422,
        "can explain expected_position, p_win, p_podium, p_points, p_finish, got 'p_?other'",
    ),
    "no driver": (f"{R}/explanation?lap=2", 422, "the parameter 'driver' is missing"),
    "a parameter that is not there": (f"{R}/forecast?lpa=3", 422, "there is no parameter 'lpa' here"),
    "no season": ("/api/races?season=next", 422, "'season': input should be a valid integer"),
    "a season before all": ("/api/races?season=1900", 422, "'season': input should be greater than or equal to 1950"),
    "every 0 laps": (f"{R}/replay?every=0", 422, "'every': input should be greater than or equal to 1"),
    "no yes and no no": (f"{R}/picture?driver=driver_001&heat=maybe", 422, "'heat': input should be a valid boolean"),
    "an address that is not there": ("/api/nothing", 404, "there is nothing at this address"),
    "a path for a race": ("/api/races/..%2f..%2f..%2fetc%2fpasswd/forecast", 404, "there is nothing at this address"),
    "dots for a race": ("/api/races/..../forecast", 404, "no race '....'"),
    "a path for a file": ("/assets/..%2f..%2fapi.py", 404, "there is nothing at this address"),
    "another file": ("/assets/__init__.py", 404, "there is nothing at this address"),
    "a race name without end": (f"/api/races/{'a' * 200}/forecast", 422, "'race': string should have at most 80"),
    "an address without end": (f"{R}/forecast?lap={'9' * 5000}", 414, "an address here has at most 2048 bytes"),
}


def refused(answer: httpx.Response, status: int, text: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["status"] == status
    assert text in error["message"]
    assert "Traceback" not in answer.text
    assert error["message"].endswith((".", "?"))
    assert error["message"].isprintable()


@pytest.mark.parametrize("name", WRONG)
def test_wrong_addresses(served: Running, name: str) -> None:
    path, status, text = WRONG[name]
    refused(served.get(path), status, text)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_wrong_methods(served: Running, method: str) -> None:
    refused(httpx.request(method, f"{served.url}{R}/forecast"), 405, "this address is only read: use GET")


def test_bodies_are_not_read(served: Running) -> None:
    huge = httpx.post(f"{served.url}{R}/forecast", content=b"x" * 5_000_000)
    refused(huge, 413, "one of more than 1024 bytes is not read")
    endless = httpx.post(f"{served.url}{R}/forecast", content=iter([b"x" * 1000]))
    refused(endless, 411, "without a Content-Length is not read")


def test_a_foreign_name_for_the_server(served: Running) -> None:
    refused(served.get("/api/model", headers={"Host": "evil.example"}), 400, "this server is asked as")
    assert served.get("/api/model", headers={"Host": "localhost:8000"}).status_code == 200


def raw(served: Running, request: bytes) -> bytes:
    where = urlsplit(served.url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(request)
        return connection.recv(4096)


def test_what_is_no_http_at_all(served: Running) -> None:
    for request in (b"\x00\x01\x02\r\n\r\n", b"GET /" + b"a" * 40_000, b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000):
        told = raw(served, request)
        assert told.startswith(b"HTTP/1.1 4")
        assert b"Traceback" not in told


def test_a_traversal_that_no_client_would_send(served: Running) -> None:
    told = raw(served, b"GET /assets/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 404")
    assert b"root:" not in told


def test_a_request_that_goes_away_harms_nobody(served: Running) -> None:
    where = urlsplit(served.url)
    for _ in range(3):
        with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
            connection.sendall(f"GET {R}/replay HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert served.get(f"{R}/forecast?lap=7").status_code == 200


def test_an_unforeseen_error_is_one_line_too(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(race_id: str, lap: int | None) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(served.predictor, "forecast", broken)
    answer = served.get("/api/races/2101_race_1/forecast?lap=3")
    refused(answer, 500, "something went wrong that should not have")
    assert "secret" not in answer.text


def test_the_server_is_alive_after_all(served: Running) -> None:
    assert served.get("/").status_code == 200
    assert served.get(f"{R}/forecast?lap=8").json()["moment"]["cutoff_lap"] == 8


# ---- what the command refuses before it serves ----


def changed(world: World, tmp_path: Path, **values: object) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(world.model, folder)
    manifest = json.loads((folder / "manifest.json").read_text()) | values
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def command(world: World, capsys: pytest.CaptureFixture[str], *options: str, model: Path | None = None) -> str:
    assert main(["serve", "--port", "0", *world.arguments(model), *options]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said


def test_model_folders_that_cannot_be_served(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere" in command(world, capsys, model=tmp_path / "nowhere")
    assert "the format version must be 1, got 99" in command(
        world, capsys, model=changed(world, tmp_path / "a", format_version=99)
    )
    broken = changed(world, tmp_path / "b")
    (broken / "model.safetensors").write_bytes(b"no tensors")
    assert "model.safetensors" in command(world, capsys, model=broken)
    empty = changed(world, tmp_path / "c")
    (empty / "manifest.json").write_text("{")
    assert "manifest.json" in command(world, capsys, model=empty)


def test_stores_predictions_and_addresses_that_cannot_be_used(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--data", str(tmp_path), "--model", str(world.model), "--port", "0"]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    file = tmp_path / "predictions.parquet"
    assert str(file) in command(world, capsys, "--predictions", str(file))
    file.write_bytes(b"no table")
    assert "is no Parquet file" in command(world, capsys, "--predictions", str(file))
    assert "cannot listen at 203.0.113.7" in command(world, capsys, "--host", "203.0.113.7")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = command(world, capsys, "--port", str(taken.getsockname()[1]))
    assert "Give an address of this machine (--host) and a port that is free (--port)." in said


# ---- the gate ----


def gate(clock: list[float], **limits: int) -> Gate:
    async def nothing(scope: object, receive: object, send: object) -> None: ...

    return Gate(nothing, Limits(**limits), clock=lambda: clock[0])


def test_the_gate_counts_each_client_for_itself_and_forgives_with_time() -> None:
    clock = [0.0]
    door = gate(clock, a_minute=60, burst=3)
    assert [door._take("a") for _ in range(5)] == [True, True, True, False, False]
    assert door._take("b")
    clock[0] = 1.0
    assert [door._take("a") for _ in range(2)] == [True, False]
    clock[0] = 1000.0
    assert [door._take("a") for _ in range(4)] == [True, True, True, False]


def test_names_of_hosts() -> None:
    assert [host_of(name) for name in ("LocalHost:8000", "[::1]:8000", "127.0.0.1", "[::1]", "evil.example.")] == [
        *("localhost", "::1", "127.0.0.1", "::1", "evil.example")
    ]
    assert [is_loopback(name) for name in ("localhost", "127.0.0.9", "::1", "0.0.0.0", "::", "example.org")] == [
        *(True, True, True, False, False, False)
    ]


def test_a_server_is_asked_by_the_address_that_it_is_bound_to() -> None:
    for host in ("localhost", "127.0.0.1", "127.0.0.2", "::1"):
        assert host in (names_of(host) or [])
        assert "evil.example" not in (names_of(host) or [])
    assert names_of("0.0.0.0") is None
    assert names_of("example.org") is None


def test_too_many_requests_are_told_to_come_back(predictor: Predictor) -> None:
    with running(create_app(predictor, limits=Limits(a_minute=1, burst=3)), predictor) as door:
        answers = [door.get("/api/model") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused(answers[-1], 429, "more than 1 requests a minute")
    assert answers[-1].headers["retry-after"] == "1"


@pytest.mark.parametrize("limits", [Limits(at_once=1), Limits(at_once_of_all=1)])
def test_too_much_at_once_is_told_to_come_back(predictor: Predictor, limits: Limits) -> None:
    """A replay that is being listened to counts; when it is over, the next request is answered."""
    with running(create_app(predictor, limits=limits), predictor) as door:
        with httpx.stream("GET", f"{door.url}{R}/replay", timeout=60.0) as stream:
            lines = stream.iter_lines()
            assert next(lines)
            busy = door.get("/api/model")
            assert sum(line == "event: end" for line in lines) == 1
        assert door.get("/api/model").status_code == 200
    refused(busy, 503, "too many requests are being answered already")
    assert busy.headers["retry-after"] == "1"


def test_more_work_than_may_wait_is_told_to_come_back(predictor: Predictor) -> None:
    desk = Desk(predictor, waiting=0)
    with running(create_app(predictor, desk=desk), predictor) as door:
        refused(door.get(f"{R}/forecast?lap=2"), 503, "too many forecasts are waiting to be made")
