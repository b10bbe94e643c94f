"""FastF1 itself at work on a simulated race: all that it asks for, of whatever host, comes from the local services.

Nothing of FastF1 is replaced but its clock, which it sleeps by to keep the services' limits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fastf1.req
import polars as pl
import pytest
import requests

from f1_predict.config import SimulatorConfig
from f1_predict.jobs.fetching import World
from f1_predict.schemas import Tables
from f1_predict.sources.fastf1_loader import real_loader
from f1_predict.sources.simulator import simulate
from tests.sources.clocks import FakeClock
from tests.sources.dumps import code_of, ergast_dump, f1db_dump, to_the_millisecond
from tests.sources.fake_services import FakeServices, serving
from tests.sources.fetching import Bench
from tests.sources.live_timing import Car, LiveRace, live_files, schedule_file

SEASON = 2020
FIRST, SECOND = "2020_race_1", "2020_race_2"
NO_LAP, RETIRED = "driver_006", "driver_005"
"""In the first race, of six cars, one completes no lap and another three quarters of them."""
RED_S, STOPPED_S = 2400.0, 1500.0
"""Both races are stopped then, for so long."""
JOLPICA = "api.jolpi.ca"
STATUSES = (
    *((0.0, "1"), (200.0, "2"), (230.0, "1"), (1500.0, "4"), (1800.0, "1")),
    *((RED_S, "5"), (RED_S + STOPPED_S, "1"), (4500.0, "6"), (4560.0, "1")),
)
_UNUSED_LIMITS = copy.deepcopy(fastf1.req._SessionWithRateLimiting._RATE_LIMITS)
"""FastF1 counts its requests for as long as the program runs: tests begin anew, on a clock of their own."""


def simulated(last_lap: int | None = None) -> Tables:
    """Two simulated races as the services would have them, cut short after a lap if wanted.

    What the tests need to meet is put in by hand, whatever the simulator draws.
    """
    tables = simulate(1, 25, SimulatorConfig(first_season=SEASON, races_per_season=2, teams=3))
    total = pl.col("scheduled_laps") if last_lap is None else pl.lit(last_lap)
    races = tables.races.with_columns(scheduled_laps=total.cast(tables.races.schema["scheduled_laps"]))
    laps = tables.laps.join(races.select("race_id", "scheduled_laps"), on="race_id", maintain_order="left")
    first, driver, lap = pl.col("race_id") == FIRST, pl.col("driver_id"), pl.col("lap")
    out = first & ((driver == NO_LAP) | ((driver == RETIRED) & (lap > 0.75 * pl.col("scheduled_laps"))))
    laps = laps.filter(lap <= pl.col("scheduled_laps"), ~out).drop("scheduled_laps")
    last_s = laps["end_time_s"].max() if last_lap is not None else None
    weather = tables.weather if last_s is None else tables.weather.filter(pl.col("time_s") <= last_s + 60.0)
    counts = laps.group_by("race_id", "driver_id").agg(run=pl.len())
    results = tables.results.join(counts, on=["race_id", "driver_id"], how="left", maintain_order="left")
    stopped = first & driver.is_in([NO_LAP, RETIRED])
    results = results.with_columns(
        laps_completed=pl.col("run").fill_null(0).cast(results.schema["laps_completed"]),
        classified=~stopped & (pl.col("run") > 0),
        status=pl.when(stopped).then(pl.lit("Gearbox")).otherwise("status"),
    ).drop("run")
    after = pl.col("time_s") > RED_S
    changed = {
        "races": races,
        "results": results,
        "laps": _as_timed(laps, tables.entries),
        "weather": weather.with_columns(time_s=pl.col("time_s") + pl.when(after).then(STOPPED_S).otherwise(0.0)),
    }
    tables = to_the_millisecond(tables.map(lambda name, frame: changed.get(name, frame)))
    laps = tables.laps.with_columns(track_status=_statuses(tables.laps))
    return tables.map(lambda name, frame: laps if name == "laps" else frame)


def _as_timed(laps: pl.DataFrame, entries: pl.DataFrame) -> pl.DataFrame:
    """Laps stopped by the red flag, with tyres that are changed in the pits only, and a speed trap."""
    pair = ["race_id", "driver_id"]
    age, compound = pl.col("tyre_life"), pl.col("compound")
    changed = (age != age.shift(1).over(pair) + 1) | (compound != compound.shift(1).over(pair))
    pit_in = pl.col("pit_in") | changed.shift(-1).over(pair).fill_null(False)
    laps = laps.with_columns(pit_in=pit_in).join(
        entries.select(*pair, "grid"), on=pair, how="left", maintain_order="left"
    )
    return laps.with_columns(
        end_time_s=pl.col("end_time_s") + pl.when(pl.col("end_time_s") > RED_S).then(STOPPED_S).otherwise(0.0),
        pit_out=pl.col("pit_in").shift(1).over(pair).fill_null(pl.col("grid") == 0),
        # Never twice the same in a row: timing tells changes only.
        speed_trap_kmh=280.0 + (7 * pl.col("lap") + 11 * pl.col("driver_id").str.tail(3).cast(pl.Int64)) % 50,
    ).drop("grid")


def _statuses(laps: pl.DataFrame) -> pl.Series:
    """All statuses in force at any moment of a lap, each once, in the order in which they came."""
    ends = [*(at for at, _ in STATUSES[1:]), float("inf")]
    spells = [(begin, end, status) for (begin, status), end in zip(STATUSES, ends, strict=True)]
    found = []
    for end_s, time_s in laps.select("end_time_s", "lap_time_s").iter_rows():
        seen = [status for begin, end, status in spells if begin <= end_s and end_s - time_s <= end]
        found.append("".join(dict.fromkeys(seen)))
    return pl.Series(found, dtype=pl.String)


def live_race(tables: Tables, race_id: str) -> LiveRace:
    """A race's timing."""
    cars = [
        Car(row["driver_id"], str(row["car_number"]), code_of(row["driver_id"]), row["constructor_id"])
        for row in tables.entries.filter(race_id=race_id).iter_rows(named=True)
    ]
    (race,) = tables.races.filter(race_id=race_id).to_dicts()
    return LiveRace(race, cars, tables.laps.filter(race_id=race_id), tables.weather.filter(race_id=race_id), STATUSES)


@dataclass
class TrueBench(Bench):
    """A bench whose sessions are loaded by FastF1; `hosts` are those that it asked, request by request."""

    hosts: list[str] = field(default_factory=list)
    races: dict[str, LiveRace] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return World(self.clock, self.clock.sleep, real_loader, self.folder / "state")

    def files_of(self, race_id: str, *names: str) -> list[str]:
        """The addresses of some of a session's files, in the services' `files`."""
        found = [place for place in self.services.files if self.races[race_id].path in place]
        return [place for place in found if place.rsplit("/", 1)[1].split(".")[0] in names]


@contextmanager
def true_bench(
    folder: Path, tables: Tables, monkeypatch: pytest.MonkeyPatch, stops: Sequence[str] = ()
) -> Iterator[TrueBench]:
    """Services over the tables, with FastF1 sent to them.

    Args:
        folder: for everything.
        tables: as `simulated`.
        monkeypatch: undoes it all.
        stops: races whose pit stops Jolpica knows.
    """
    services = FakeServices(ergast_dump(tables, folder / "ergast", stops), f1db_dump(tables, folder / "f1db"))
    races = {race_id: live_race(tables, race_id) for race_id in tables.races["race_id"]}
    services.files |= schedule_file(SEASON, tables.races)
    for race in races.values():
        services.files |= live_files(race)
    with serving(services):
        bench = TrueBench(services, folder, clock=FakeClock(), races=races)
        redirect_fastf1(bench.services, monkeypatch, bench.clock, bench.hosts.append)
        yield bench


def redirect_fastf1(
    services: FakeServices,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
    asked: Callable[[str], None] = lambda host: None,
) -> None:
    """Send each request that `requests` makes to the local services, under the name of its host."""
    send = requests.adapters.HTTPAdapter.send

    def redirected(self: Any, request: Any, **kwargs: Any) -> Any:
        address = urlsplit(request.url)
        asked(address.netloc)
        place = address.path if address.netloc == JOLPICA else f"/{address.netloc}{address.path}"
        local = request.copy()
        local.url = services.url + place + (f"?{address.query}" if address.query else "")
        response = send(self, local, **kwargs)
        response.request, response.url = request, request.url
        return response

    class Time:
        time = staticmethod(clock)
        sleep = staticmethod(clock.sleep)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", redirected)
    monkeypatch.setattr(fastf1.req, "time", Time)
    monkeypatch.setattr(fastf1.req._SessionWithRateLimiting, "_RATE_LIMITS", copy.deepcopy(_UNUSED_LIMITS))
    for name in ("F1_USERNAME", "F1_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
