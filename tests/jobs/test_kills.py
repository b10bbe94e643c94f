"""Killed, cut off or out of room at any moment: the store is whole, and a second start ends as if nothing had been."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from f1_predict.errors import F1PredictError
from f1_predict.schemas import Tables
from f1_predict.sources.http import PoliteClient
from f1_predict.sources.locking import is_free, lock_file
from f1_predict.tables import read_store, store_source
from f1_predict.tables.store import read_provenance
from tests.conftest import REPOSITORY
from tests.sources.fake_services import FakeServices, Fault, serving
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
    assert set(tables.races["season"]) <= {1955, 2019, 2020}
    assert tables.races.height in (1, 2, 3)


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
from f1_predict.cli import main
from f1_predict.jobs import fetching
from f1_predict.schemas import Tables
from f1_predict.sources import http
from tests.sources.fetching import small_bench
services = SimpleNamespace(jolpica_url=sys.argv[1], f1db_url=sys.argv[2])
http._certificates()
Tables.validate = lambda self: self
os.fsync = lambda handle: None
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        bench = small_bench(Path(line.strip()), services)
        fetching.World = lambda: bench.world
        settings = bench.folder / "local.toml"
        urls = f"jolpica_url = '{services.jolpica_url}'\\nf1db_url = '{services.f1db_url}'"
        settings.write_text(f"[fetch]\\n{urls}\\nkeep_limits = false\\n")
        command = ["fetch", "--seasons", "2019-2020", "--out", str(bench.out), "--raw", str(bench.raw)]
        os._exit(main([*command, "--config", str(settings)]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs `f1-predict fetch` of all sources for each folder that it is given, as a process of its own, without importing
anew; schemas and flushing, which take most of the time, are left out."""


class Nursery:
    """Processes that fetch, and may be killed at it."""

    def __init__(self, process: subprocess.Popen[str], services: FakeServices) -> None:
        self._process, self._services = process, services

    def fetch(self, folder: Path, requests: int | None = None, seconds: float = 0.0) -> int:
        """The exit code of a fetch, which is killed so many seconds after so many requests, if it gets there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = len(self._services.asked)
        print(folder, file=self._process.stdin, flush=True)
        child = int(self._process.stdout.readline())
        if requests is not None:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(child)
                while len(self._services.asked) - before < requests and process.status() != psutil.STATUS_ZOMBIE:
                    time.sleep(0.005)
                time.sleep(seconds)
                process.kill()
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def recent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServices]:
    """The small championship with its old season moved to 2019, so that seasons follow one another."""
    folder, races = tmp_path_factory.mktemp("recent"), foreign.ERGAST["races.csv"].replace("1955", "2019")
    with serving(FakeServices(foreign.ergast(folder, races=races), foreign.f1db(folder))) as running:
        yield running


@pytest.fixture(scope="module")
def nursery(recent: FakeServices) -> Iterator[Nursery]:
    command = [sys.executable, "-c", NURSERY, recent.jolpica_url, recent.f1db_url]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Nursery(process, recent)
        assert process.stdin is not None
        process.stdin.close()


def test_processes_killed_at_twenty_random_moments(nursery: Nursery, recent: FakeServices, tmp_path: Path) -> None:
    """Killed, started again, and killed again, until one comes to its end; and so on with the next."""
    recent.asked.clear()
    assert nursery.fetch(tmp_path / "unbroken") == 0
    asked, expected = len(recent.asked), small_bench(tmp_path / "unbroken", recent).content()
    rng, killed, ended = random.Random(11), 0, 0
    while killed < MOMENTS:
        bench = small_bench(tmp_path / str(ended), recent)
        while code := nursery.fetch(
            bench.folder, rng.randint(0, asked) if killed < MOMENTS else None, rng.uniform(0.0, 0.2)
        ):
            assert code == -signal.SIGKILL
            killed += 1
            whole_or_absent(bench)
        ended += 1
        assert ended < 5 * MOMENTS
        assert bench.content() == expected
        assert sorted(path.name for path in bench.out.parent.rglob(".*")) == []


def test_a_process_that_is_killed_leaves_no_lock_and_a_whole_store(
    nursery: Nursery, recent: FakeServices, tmp_path: Path
) -> None:
    bench = small_bench(tmp_path, recent)
    last, held = "2020/1/laps/", threading.Event()  # comes after the store has 2019
    unbroken = small_bench(tmp_path / "unbroken", recent)
    recent.asked.clear()
    assert nursery.fetch(unbroken.folder) == 0
    before = next(n for n, path in enumerate(recent.asked) if last in path)
    recent.faults = [*[None] * before, Fault(hold=held)]
    assert nursery.fetch(tmp_path, before + 1) == -signal.SIGKILL
    held.set()
    assert lock_file(bench.raw).exists()  # the file, but nobody holds it
    assert is_free(bench.raw)
    assert bench.tables().races["season"].to_list() == [2019]
    assert nursery.fetch(tmp_path) == 0
    assert bench.content() == unbroken.content()
    assert not lock_file(bench.raw).exists()
