"""Killed, cut off or out of room at any moment: the store is whole, and a second start ends as if nothing had been."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from f1_predict.errors import F1PredictError
from f1_predict.schemas import Tables
from f1_predict.sources.http import PoliteClient
from f1_predict.sources.locking import lock_file
from f1_predict.tables import read_store, store_source
from f1_predict.tables.store import read_provenance
from tests.conftest import REPOSITORY
from tests.sources.fake_services import FakeServices, serving
from tests.sources.fetching import Bench, small_bench
from tests.tables import foreign

MOMENTS = 20


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


class Reaper:
    """Counts everything that touches disk or network, and from the nth such act on raises at each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException], again: bool) -> None:
        self.count, self.at, self._error, self._again = 0, -1, error, again
        # Flushing matters to a power cut only, and takes its time.
        monkeypatch.setattr(os, "fsync", self._watched(lambda handle: None))
        for owner, name in ((Path, "replace"), (Path, "rename"), (PoliteClient, "_ask")):
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.at >= 0 and (self.count == self.at or (self._again and self.count > self.at)):
                raise self._error()
            return act(*args, **kwargs)

        return watched

    def arm(self, at: int) -> None:
        self.count, self.at = 0, at

    def disarm(self) -> None:
        self.at = -1


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServices]:
    folder = tmp_path_factory.mktemp("services")
    with serving(FakeServices(foreign.ergast(folder), foreign.f1db(folder))) as running:
        yield running


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the schemas out: other tests have them, and they take most of the time."""
    monkeypatch.setattr(Tables, "validate", lambda self: self)


def whole_or_absent(bench: Bench) -> None:
    if store_source(bench.out) is None:  # which also ends a swap that was cut off
        assert not bench.out.exists()
        return
    tables = read_store(bench.out)
    read_provenance(bench.out)
    assert set(tables.races["season"]) <= {1955, 2020}
    assert tables.races.height in (1, 2, 3)


def test_killed_at_twenty_random_moments(
    services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked: None
) -> None:
    reaper = Reaper(monkeypatch, Killed, again=True)
    unbroken = small_bench(tmp_path / "unbroken", services)
    unbroken.fetch(1955, 2020)
    expected, acts = unbroken.content(), reaper.count
    assert acts >= 60
    rng = random.Random(5)
    for number, moment in enumerate(sorted(rng.sample(range(1, acts + 1), MOMENTS))):
        bench = small_bench(tmp_path / str(number), services)
        reaper.arm(moment)
        with pytest.raises(Killed):
            bench.fetch(1955, 2020)
        reaper.disarm()
        whole_or_absent(bench)
        bench.fetch(1955, 2020)
        assert bench.content() == expected, moment
        assert sorted(path.name for path in bench.out.parent.glob(".*")) == []


def test_killed_again_and_again_on_the_way(
    services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked: None
) -> None:
    reaper = Reaper(monkeypatch, Killed, again=True)
    bench, kills, rng = small_bench(tmp_path, services), 0, random.Random(7)
    while True:
        reaper.arm(rng.randint(8, 30))
        try:
            bench.fetch(1955, 2020)
            break
        except Killed:
            kills += 1
        reaper.disarm()
        whole_or_absent(bench)
    reaper.disarm()
    assert kills >= 3
    unbroken = small_bench(tmp_path / "unbroken", services)
    unbroken.fetch(1955, 2020)
    assert bench.content() == unbroken.content()


def test_an_update_killed_while_it_writes_the_store_keeps_the_old_one_or_has_the_new(
    services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked: None
) -> None:
    bench = small_bench(tmp_path, services)
    bench.fetch(1955)
    old = bench.content()
    bench.fetch(2020)
    new = bench.content()

    def back_to_old() -> None:
        shutil.rmtree(bench.out)
        bench.out.mkdir()
        for name, content in old.items():
            (bench.out / name).write_bytes(content)

    back_to_old()
    reaper = Reaper(monkeypatch, Killed, again=True)
    bench.fetch(2020)
    acts, found = reaper.count, []
    assert bench.content() == new
    for moment in range(max(1, acts - 11), acts + 1):
        back_to_old()
        reaper.arm(moment)
        with pytest.raises(Killed):
            bench.fetch(2020)
        reaper.disarm()
        read_store(bench.out)
        found.append(bench.content())
    assert all(each in (old, new) for each in found)
    assert old in found
    assert new in found


def test_a_full_disk_is_an_error_and_nothing_is_lost(
    services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked: None
) -> None:
    def full() -> BaseException:
        return OSError(28, "No space left on device")

    unbroken = small_bench(tmp_path / "unbroken", services)
    unbroken.fetch(1955, 2020)
    expected = unbroken.content()
    calls = [0]
    room = [10**6]

    def limited(handle: int) -> None:
        calls[0] += 1
        if calls[0] > room[0]:
            raise full()

    monkeypatch.setattr(os, "fsync", limited)
    for number, written in enumerate((0, 4, 12, 16, 21, 28)):
        bench = small_bench(tmp_path / str(number), services)
        calls[0], room[0] = 0, written
        with pytest.raises(F1PredictError, match=r"cannot be written .*No space left on device"):
            bench.fetch(1955, 2020)
        whole_or_absent(bench)
        room[0] = 10**6
        bench.fetch(1955, 2020)
        assert bench.content() == expected


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: a write fails in its midst, whoever makes it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_in_its_midst_is_an_error_and_nothing_is_lost(
    services: FakeServices, tmp_path: Path, unchecked: None
) -> None:
    unbroken = small_bench(tmp_path / "unbroken", services)
    unbroken.fetch(1955, 2020, sources=("jolpica",))
    expected, said = unbroken.content(), []
    for size in (100, 400, 1000, 1600, 2200, 2800, 3400):
        bench = small_bench(tmp_path / str(size), services)
        try:
            with room_for(size):
                bench.fetch(1955, 2020, sources=("jolpica",))
        except F1PredictError as error:
            said.append(str(error))
        whole_or_absent(bench)
        bench.fetch(1955, 2020, sources=("jolpica",))
        assert bench.content() == expected
        assert sorted(path.name for path in bench.out.parent.rglob(".*")) == []
    assert all("cannot be written" in text and "File too large" in text for text in said)
    assert "/raw/jolpica/" in said[0]
    assert any("processed: the store" in text for text in said)


NURSERY = """
import os, sys, traceback
from types import SimpleNamespace
from pathlib import Path
from tests.sources.fetching import small_bench
services = SimpleNamespace(jolpica_url=sys.argv[1], f1db_url=sys.argv[2])
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            small_bench(Path(line.strip()), services).fetch(1955, 2020)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Starts a fetch of all sources for each folder that it is given, as a process of its own, without importing anew."""


def test_processes_killed_at_random_times_over_all_sources(services: FakeServices, tmp_path: Path) -> None:
    command = [sys.executable, "-c", NURSERY, services.jolpica_url, services.f1db_url]
    rng, killed = random.Random(11), 0
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None

        def run(folder: Path, seconds: float | None = None) -> int:
            """The exit code of a fetch that is killed after some time."""
            print(folder, file=nursery.stdin, flush=True)
            child = int(nursery.stdout.readline())
            if seconds is not None:
                time.sleep(seconds)
                with suppress(ProcessLookupError):  # it was quicker
                    os.kill(child, signal.SIGKILL)
            return int(nursery.stdout.readline())

        start = time.perf_counter()
        assert run(tmp_path / "unbroken") == 0
        usual = time.perf_counter() - start
        expected = small_bench(tmp_path / "unbroken", services).content()
        for number in range(30):
            if killed == 6:
                break
            bench = small_bench(tmp_path / str(number), services)
            if run(bench.folder, rng.uniform(0.0, usual)) != -signal.SIGKILL:
                continue
            killed += 1
            whole_or_absent(bench)
            assert run(bench.folder) == 0
            assert bench.content() == expected
            assert sorted(path.name for path in bench.out.parent.rglob(".*")) == []
    assert killed == 6


CHILD = """
import sys
from pathlib import Path
from rich.console import Console
from f1_predict.config import FetchConfig
from f1_predict.jobs.fetching import Request, World, fetch_races
url, folder = sys.argv[1], Path(sys.argv[2])
config = FetchConfig(jolpica_url=url + "/ergast/f1", keep_limits=False)
world = World(clock=lambda: 1590969600.0)
fetch_races(Console(), Request((1955, 2020), ("jolpica",), folder / "processed", folder / "raw"), config, world)
"""


def test_a_process_that_is_killed_leaves_no_lock_and_a_whole_store(tmp_path: Path) -> None:
    services = FakeServices(foreign.ergast(tmp_path))
    victim: list[subprocess.Popen[bytes]] = []
    deadly = {"after": 7}
    next_fault = services.next_fault

    def fatal(path: str) -> Any:
        fault = next_fault(path)
        if len(services.asked) == deadly["after"]:
            os.kill(victim[-1].pid, signal.SIGKILL)
        return fault

    services.next_fault = fatal  # type: ignore[method-assign]
    with serving(services):

        def run() -> int:
            command = [sys.executable, "-c", CHILD, services.url, str(tmp_path)]
            victim.append(subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL))
            return victim[-1].wait(timeout=120)

        assert run() == -signal.SIGKILL
        assert lock_file(tmp_path / "raw").exists()  # the file, but nobody holds it
        assert read_store(tmp_path / "processed").races["season"].to_list() == [1955]
        deadly["after"] = -1
        assert run() == 0
    assert read_store(tmp_path / "processed").races.height == 3
    assert not lock_file(tmp_path / "raw").exists()
