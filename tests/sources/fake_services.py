"""A local web server that answers as Jolpica and f1db's release page do, from files of their dump layouts.

Other files are served under the name of their host, so that a client may be sent here for all that it asks.

Made from Jolpica's documentation of its endpoints: pages of at most 100 rows, all values as text, absent keys for
nulls, packed with gzip. Faults can be put before any request.
"""

from __future__ import annotations

import gzip
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import polars as pl

MOST_ROWS = 100
Row = dict[str, Any]
ROWS = {"results": "Results", "qualifying": "QualifyingResults", "laps": "Laps", "pitstops": "PitStops"}


@dataclass
class Fault:
    """What goes wrong with one answer.

    Attributes:
        status: of the answer, with `headers` and `body`; None to answer well.
        cut: bytes of the body after which the connection breaks.
        change: alters the JSON of a good answer.
        hold: the answer is held back until this is set.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"Request was throttled."
    cut: int | None = None
    change: Callable[[Any], Any] | None = None
    hold: threading.Event | None = None


class FakeServices:
    """The data behind the server, and the log of what it was asked.

    Args:
        ergast: folder of Ergast's CSV dump.
        f1db: folder of f1db's CSV files; None to have no release.
        seasons: the first and last season wanted; None for all.
        frozen: nothing behind the server will change, so that answers may be kept.
    """

    def __init__(
        self, ergast: Path, f1db: Path | None = None, seasons: tuple[int, int] | None = None, frozen: bool = False
    ) -> None:
        self._answers: dict[tuple[str, str | None, str], list[tuple[Row, Row]]] | None = {} if frozen else None
        self.tables = {file.stem: _read(file) for file in ergast.glob("*.csv") if file.stem in _WANTED}
        races = self.tables["races"]
        if seasons is not None:
            races = races.filter(pl.col("year").cast(pl.Int64).is_between(*seasons))
        self.calendar: dict[str, list[Row]] = {}
        for race in races.with_columns(pl.col("round").cast(pl.Int64)).sort("year", "round").iter_rows(named=True):
            self.calendar.setdefault(race["year"], []).append(race | {"round": str(race["round"])})
        ids = races["raceId"].unique().implode()
        self.rows = {
            name: _by_race(self.tables[name].filter(pl.col("raceId").is_in(ids)))
            for name in ("results", "qualifying", "lap_times", "pit_stops")
        }
        self.people = {row["driverId"]: row for row in self.tables["drivers"].iter_rows(named=True)}
        self.teams = {row["constructorId"]: row for row in self.tables["constructors"].iter_rows(named=True)}
        self.places = {row["circuitId"]: row for row in self.tables["circuits"].iter_rows(named=True)}
        self.states = dict(self.tables["status"].select("statusId", "status").iter_rows())
        self.archive = None if f1db is None else zip_of(f1db)
        self.release = "v2024.1.0"
        self.files: dict[str, bytes] = {}  # "host/path" -> content
        self.asked: list[str] = []
        self.faults: list[Fault | None] = []
        self.url = ""
        self._lock = threading.Lock()

    @property
    def jolpica_url(self) -> str:
        return f"{self.url}/ergast/f1"

    @property
    def f1db_url(self) -> str:
        return f"{self.url}/f1db/releases/latest/download/f1db-csv.zip"

    def next_fault(self, path: str) -> Fault | None:
        with self._lock:
            self.asked.append(path)
            return self.faults.pop(0) if self.faults else None

    def answer(
        self, season: str, round_: str | None, endpoint: str, limit: int, offset: int, lap: str | None = None
    ) -> Row:
        """The JSON of one page; of laps, those of one number if it is given."""
        limit = min(limit, MOST_ROWS)
        every = self._every(season, round_, endpoint)
        if lap is not None:
            every = [(race, row) for race, row in every if row["number"] == lap]
        page: list[Row] = []
        for race, row in every[offset : offset + limit]:
            if not page or page[-1]["round"] != race["round"]:
                page.append(self._race(race))
                if endpoint != "races":
                    page[-1][ROWS[endpoint]] = []
            if endpoint == "laps":
                laps = page[-1]["Laps"]
                if not laps or laps[-1]["number"] != row["number"]:
                    laps.append({"number": row["number"], "Timings": []})
                laps[-1]["Timings"].append(row["timing"])
            elif endpoint != "races":
                page[-1][ROWS[endpoint]].append(row)
        filters = {"season": season} | ({"round": round_} if round_ is not None else {})
        return {
            "MRData": {
                "xmlns": "",
                "series": "f1",
                "url": f"http://api.jolpi.ca/ergast/f1/{season}/{endpoint}/",
                "limit": str(limit),
                "offset": str(offset),
                "total": str(len(every)),
                "RaceTable": {**filters, "Races": page},
            }
        }

    def _every(self, season: str, round_: str | None, endpoint: str) -> list[tuple[Row, Row]]:
        key = (season, round_, endpoint)
        if self._answers is not None and key in self._answers:
            return self._answers[key]
        races = [r for r in self.calendar.get(season, []) if round_ is None or r["round"] == round_]
        every = [(race, row) for race in races for row in self._race_rows(race, endpoint)]
        if self._answers is not None:
            self._answers[key] = every
        return every

    def _race(self, race: Row) -> Row:
        place = self.places[race["circuitId"]]
        return {
            "season": race["year"],
            "round": race["round"],
            "url": race.get("url") or "",
            "raceName": race["name"],
            "Circuit": {
                "circuitId": place["circuitRef"],
                "circuitName": place["name"],
                "Location": {"lat": "1.0", "long": "2.0", "locality": "Here", "country": "There"},
            },
            "date": race["date"],
        }

    def _race_rows(self, race: Row, endpoint: str) -> list[Row]:
        race_id = race["raceId"]
        if endpoint == "races":
            return [{}]
        if endpoint == "results":
            return [self._result(row) for row in self.rows["results"].get(race_id, [])]
        if endpoint == "qualifying":
            return [self._qualified(row) for row in self.rows["qualifying"].get(race_id, [])]
        if endpoint == "pitstops":
            return [
                {"driverId": self.people[row["driverId"]]["driverRef"]}
                | {key: row[key] for key in ("lap", "stop", "time", "duration")}
                for row in self.rows["pit_stops"].get(race_id, [])
            ]
        laps = sorted(self.rows["lap_times"].get(race_id, []), key=lambda row: int(row["lap"]))
        return [
            {
                "number": row["lap"],
                "timing": _without_nulls(
                    {
                        "driverId": self.people[row["driverId"]]["driverRef"],
                        "position": row["position"],
                        "time": clock(int(row["milliseconds"])),
                    }
                ),
            }
            for row in laps
        ]

    def _result(self, row: Row) -> Row:
        return _without_nulls(
            {
                "number": row["number"],
                "position": row["positionOrder"],
                "positionText": row["positionText"],
                "points": row.get("points", "0"),
                "Driver": self._driver(row),
                "Constructor": self._team(row),
                "grid": row["grid"],
                "laps": row["laps"],
                "status": self.states[row["statusId"]],
            }
        )

    def _qualified(self, row: Row) -> Row:
        known = {"number": row["number"], "position": row["position"]}
        known |= {"Driver": self._driver(row), "Constructor": self._team(row)}
        return _without_nulls(known | {f"Q{n}": row[f"q{n}"] for n in (1, 2, 3)})

    def _driver(self, row: Row) -> Row:
        person = self.people[row["driverId"]]
        return _without_nulls(
            {
                "driverId": person["driverRef"],
                "permanentNumber": person["number"],
                "code": person["code"],
                "url": person.get("url"),
                "givenName": person["forename"],
                "familyName": person["surname"],
                "dateOfBirth": person.get("dob"),
                "nationality": person.get("nationality"),
            }
        )

    def _team(self, row: Row) -> Row:
        team = self.teams[row["constructorId"]]
        return _without_nulls({"constructorId": team["constructorRef"], "name": team["name"], "nationality": "x"})


_WANTED = (
    *("races", "circuits", "constructors", "drivers", "status"),
    *("results", "qualifying", "pit_stops", "lap_times"),
)


def _read(file: Path) -> pl.DataFrame:
    return pl.read_csv(file, infer_schema=False, null_values="\\N")


def _by_race(frame: pl.DataFrame) -> dict[str, list[Row]]:
    parts = frame.partition_by("raceId", as_dict=True, maintain_order=True)
    return {str(key[0]): rows.to_dicts() for key, rows in parts.items()}


def _without_nulls(row: Row) -> Row:
    return {key: value for key, value in row.items() if value is not None}


def clock(milliseconds: int) -> str:
    """As Jolpica writes lap times: "58.304", "1:26.572", "2:05:07.547"."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}.{rest:03d}"
    return f"{minutes}:{seconds:02d}.{rest:03d}" if minutes else f"{seconds}.{rest:03d}"


def zip_of(folder: Path) -> bytes:
    """The CSV files of a folder as f1db's release archive has them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.glob("*.csv")):
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())
    return made.getvalue()


@contextmanager
def serving(services: FakeServices) -> Iterator[FakeServices]:
    """The services behind a local address (`services.url`) while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one piece
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            fault = services.next_fault(self.path)
            if fault is not None and fault.hold is not None:
                fault.hold.wait(5.0)
            if fault is not None and fault.status is not None:
                self.send(fault.status, fault.headers, fault.body)
                return
            address = urlsplit(self.path)
            if address.path.startswith("/f1db/"):
                self.archive(address.path, fault)
                return
            if not address.path.startswith("/ergast/"):
                content = services.files.get(unquote(address.path).strip("/"))
                if content is None:
                    self.send(404, {}, b"Not Found")
                else:
                    self.packed(content, "text/plain", fault)
                return
            parts = [part.removesuffix(".json") for part in address.path.strip("/").split("/")[2:]]
            lap = parts.pop() if len(parts) == 4 else None
            season, endpoint = parts[0], parts[-1] if len(parts) > 1 else "races"
            round_ = parts[1] if len(parts) == 3 else None
            query = {key: int(values[0]) for key, values in parse_qs(address.query).items()}
            data: Any = services.answer(season, round_, endpoint, query.get("limit", 30), query.get("offset", 0), lap)
            if fault is not None and fault.change is not None:
                data = fault.change(data)
            self.packed(json.dumps(data).encode(), "application/json", fault)

        def packed(self, body: bytes, kind: str, fault: Fault | None) -> None:
            headers = {"Content-Type": kind}
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                body, headers = gzip.compress(body, 1), headers | {"Content-Encoding": "gzip"}
            self.send(200, headers, body, None if fault is None else fault.cut)

        def archive(self, path: str, fault: Fault | None) -> None:
            if "/latest/" in path and services.archive is not None:
                place = f"{services.url}/f1db/releases/download/{services.release}/f1db-csv.zip"
                self.send(302, {"Location": place}, b"")
            elif services.archive is not None:
                body = services.archive if fault is None or fault.change is None else fault.change(services.archive)
                self.send(200, {"Content-Type": "application/zip"}, body, None if fault is None else fault.cut)
            else:
                self.send(404, {}, b"Not Found")

        def send(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:  # as was asked: who is not told would use it again
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body if cut is None else body[:cut])
            if cut is not None:
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that hung up is no fault of the server's

    server = Server(("127.0.0.1", 0), Handler)
    services.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield services
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
