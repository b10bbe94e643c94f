"""A fetch against the local services, ready to run: for tests of everything that follows from one."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from rich.console import Console

from f1_predict.config import FetchConfig
from f1_predict.jobs.fetching import Outcome, Request, World, fetch_races, update_races
from f1_predict.schemas import Tables
from f1_predict.tables import read_store
from tests.sources.clocks import FakeClock
from tests.sources.fake_services import FakeServices
from tests.sources.fake_sessions import FakeFastF1, sessions_of
from tests.tables import foreign

ALL = ("jolpica", "fastf1", "f1db")


@dataclass
class Bench:
    """Services, clock and folders of one test."""

    services: FakeServices
    folder: Path
    fastf1: FakeFastF1 = field(default_factory=FakeFastF1)
    clock: FakeClock = field(default_factory=FakeClock)
    said: io.StringIO = field(default_factory=io.StringIO)
    attempts: int = 3

    @property
    def out(self) -> Path:
        return self.folder / "data/processed"

    @property
    def raw(self) -> Path:
        return self.folder / "data/raw"

    @property
    def world(self) -> World:
        return World(self.clock, self.clock.sleep, self.fastf1.loader, self.folder / "state")

    @property
    def config(self) -> FetchConfig:
        return FetchConfig(
            jolpica_url=self.services.jolpica_url,
            f1db_url=self.services.f1db_url,
            keep_limits=False,
            attempts=self.attempts,
        )

    @property
    def console(self) -> Console:
        return Console(file=self.said, width=400)

    def fetch(self, *seasons: int, sources: tuple[str, ...] = ALL, telemetry: bool = False) -> Outcome:
        request = Request(seasons or (2020,), sources, self.out, self.raw, telemetry)
        return fetch_races(self.console, request, self.config, self.world)

    def update(self, seasons: tuple[int, int] | None = None, sources: tuple[str, ...] = ALL) -> Outcome:
        return update_races(self.console, self.out, self.raw, sources, seasons, self.config, self.world)

    def tables(self) -> Tables:
        return read_store(self.out)

    def content(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted(self.out.iterdir())}


def small_bench(folder: Path, services: FakeServices, day: datetime = datetime(2020, 6, 1, tzinfo=UTC)) -> Bench:
    """A bench over the small championship, timing of race 2020/1 included."""
    frames = foreign.fastf1(folder)
    laps, weather = (pl.read_parquet(frames / f"{name}_2020.parquet") for name in ("laps", "weather"))
    return Bench(services, folder, FakeFastF1(sessions_of(laps, weather)), FakeClock(day))
