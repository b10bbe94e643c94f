"""The Ray engine against the local one, on a cluster of two machines of which one is stopped midway."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from f1_predict.cli import main
from f1_predict.config import PictureConfig
from f1_predict.errors import ConfigError, F1PredictError, NotFoundError
from f1_predict.evaluation.backtest import run_backtest
from f1_predict.horizon import AfterLap, PreRace, RaceArchive
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.scale import LocalEngine, ray_engine
from f1_predict.scale.ray_engine import RayEngine
from f1_predict.schemas import Tables
from f1_predict.sources.simulator import simulate
from f1_predict.tables import write_store
from f1_predict.training.cut_embeddings import embed_cuts
from f1_predict.training.drawing import draw_cuts
from f1_predict.training.embeddings import EmbeddingCache, encode_dataset
from tests.evaluation.test_backtest import bench, settings
from tests.scale import work
from tests.scale.stopping import Stopping, start_cluster
from tests.training.stand_ins import PicturePaths, write_pictures

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[scale]'")

SMALL = PictureConfig(width=200, height=160, plot_box=(20, 20, 128, 128), past_races=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A machine of one CPU, which this process is connected to."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
    ):
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # the loopback interface alone
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", folder)
        made = start_cluster()
        patch.setenv("RAY_ADDRESS", made.address)
        with RayEngine.open(1):
            yield made
        made.shutdown()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Seasons 2101 to 2104."""
    return simulate(4, 5, settings().simulator)


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by name; none is half written."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in found if name.endswith(".part")]
    return found


class TestAMachineIsStopped:
    def test_drawing_and_encoding(self, cluster: Any, tables: Tables, notes: Path, tmp_path: Path) -> None:
        """What a machine had done stays, what it was doing is done again, and the cache has the same bytes."""
        archive, encoder = RaceArchive(tables), VisionEncoder(weights="random")
        cuts = [(f"2104_race_{round_}", horizon) for round_ in (1, 2) for horizon in (PreRace(), AfterLap(9))]
        generator = SpeedTraceGenerator(config=SMALL)
        here = embed_cuts(archive, cuts, generator, encoder, EmbeddingCache(tmp_path / "here"), 8)
        engine = Stopping(cluster, notes)
        there = embed_cuts(archive, cuts, generator, encoder, EmbeddingCache(tmp_path / "there"), 8, None, engine)
        assert len(engine.done_by(doomed=True)) == 1
        assert engine.lost() in engine.done_by(doomed=False)
        assert [cut.embeddings.tobytes() for cut in there] == [cut.embeddings.tobytes() for cut in here]
        assert files_of(tmp_path / "there") == files_of(tmp_path / "here")

    def test_the_season_by_model_grid(self, cluster: Any, tables: Tables, notes: Path, tmp_path: Path) -> None:
        """The same parts, byte for byte, and the same predictions."""
        made = bench(tables, tmp_path, ("uniform", "grid", "current_order", "ensemble_pre", "network_table"))
        here = made.run()
        elsewhere = replace(made.workshop, parts=tmp_path / "there")
        engine = Stopping(cluster, notes)
        there = run_backtest(elsewhere, made.cuts, made.plan, made.config, 1, None, engine)
        assert len(engine.done_by(doomed=True)) == 1
        assert engine.lost() in engine.done_by(doomed=False)
        assert there.equals(here)
        parts = {path.name: path.read_bytes() for path in tmp_path.glob("*.parquet")}
        assert len(parts) == 5
        assert files_of(tmp_path / "there") == parts


class TestTheSameBytes:
    def test_pictures_and_their_markers(self, cluster: Any, tables: Tables, tmp_path: Path) -> None:
        archive, cuts = RaceArchive(tables), [("2104_race_1", PreRace()), ("2104_race_2", AfterLap(9))]
        folders = [tmp_path / "here", tmp_path / "there"]
        for folder, engine in zip(folders, (LocalEngine(), RayEngine()), strict=True):
            _, summary = draw_cuts(archive, cuts, SpeedTraceGenerator(folder, SMALL), engine=engine)
            assert summary.drawn == summary.pictures > 8
        assert files_of(folders[0]) == files_of(folders[1])

    def test_encoded_files(self, cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A file that cannot be read is told of in the same words."""
        paths = write_pictures(tmp_path / "pictures", 5)
        paths[2].write_bytes(b"no picture")
        encoder, told = VisionEncoder(weights="random"), []
        for name, engine in (("here", None), ("there", RayEngine())):
            dataset: Any = PicturePaths([*paths, None])
            caplog.clear()
            _, has_image = encode_dataset(dataset, encoder, EmbeddingCache(tmp_path / name), 2, None, engine)
            assert has_image.tolist() == [True, True, False, True, True, False]
            told.append([record.getMessage() for record in caplog.records])
        assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
        assert told[0] == told[1]
        assert "counts as a missing picture" in told[0][0]

    def test_the_command(self, cluster: Any, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Relative folders are those of the command, wherever Ray starts its processes."""
        monkeypatch.setattr(RayEngine, "open", lambda processes: nullcontext(RayEngine()))
        monkeypatch.chdir(tmp_path)
        write_store(tables, tmp_path / "data/processed")
        for engine in ("local", "ray"):
            arguments = ["--at", "lap_5", "--seasons", "2104", "--out", engine, "--workers", "1", "--engine", engine]
            assert main(["traces", *arguments]) == 0
        assert len(files_of(tmp_path / "local")) > 20
        assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


class TestWhatGoesWrong:
    def test_errors_and_warnings_arrive(self, cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(NotFoundError, match=r"^no race '2024_rac'\. Did you mean 2024_race_1\?$"):
            list(RayEngine().map(work.miss, range(3)))
        with caplog.at_level(logging.WARNING):
            assert list(RayEngine().map(work.warn, [1])) == [1]
        assert [record.getMessage() for record in caplog.records] == ["number 1 is odd"]

    def test_what_is_lost_again_and_again_ends_the_work(self, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ray_engine, "RETRIES", 0)
        with pytest.raises(F1PredictError, match=r"item 0 was lost with its process or machine.*memory ran out"):
            list(RayEngine().map(work.die, [0]))

    def test_a_machine_with_another_program(self, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ray_engine, "fingerprint", lambda: "another")
        with pytest.raises(ConfigError, match=r"has another version of f1-predict or of a library"):
            list(RayEngine().map(work.double, [1]))

    def test_a_machine_that_does_not_see_the_folder(
        self, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        engine = RayEngine()
        gone.rmdir()
        with pytest.raises(ConfigError, match=r"cannot enter .*gone \(No such file or directory\)"):
            list(engine.map(work.double, [1]))

    def test_no_cluster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
        with pytest.raises(ConfigError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 .*refused"), RayEngine.open(1):
            pass

    def test_no_gpu(self, cluster: Any) -> None:
        with pytest.raises(ConfigError, match=r"no machine of the Ray cluster has a GPU"):
            list(RayEngine().map(work.double, [1], gpu=True))


def test_nothing_listens_beyond_this_machine(cluster: Any) -> None:
    """All sockets that this user's Ray processes listen on are bound to the loopback interface."""
    import psutil

    mine = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)} | {os.getpid()}
    listening = {
        entry.laddr.ip for entry in psutil.net_connections("tcp") if entry.pid in mine and entry.status == "LISTEN"
    }
    assert listening
    assert all(address.removeprefix("::ffff:").startswith("127.") for address in listening), listening
