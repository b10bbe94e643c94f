"""Pretraining: pictures by number, a run that can be cut off anywhere, and weights that the encoder takes."""

from __future__ import annotations

import dataclasses
import io
import json
import multiprocessing
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from torch import nn

from f1_predict.config import Config, PretrainConfig, SimulatorConfig
from f1_predict.errors import ArtefactError, ConfigError, F1PredictError, WeightsError
from f1_predict.jobs.pretraining import CHECKPOINT, LOG, Request, pretrain_backbone
from f1_predict.models.backbone_weights import load_weights
from f1_predict.models.preprocessing import TRACES
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.sources.simulator import simulate
from f1_predict.training import pretrain_fit, pretrain_pictures, pretrain_state
from f1_predict.training.pretrain_card import MAX_BYTES, round_to_half, write_weights
from f1_predict.training.pretrain_feed import batches_ahead
from f1_predict.training.pretrain_fit import Listeners, StepReport, pretrain, settle_statistics
from f1_predict.training.pretrain_labels import COLUMN, TASKS
from f1_predict.training.pretrain_network import BINS, PretrainNetwork
from f1_predict.training.pretrain_pictures import PURPOSES, STYLES, Batch, PictureSource, join, recorded
from f1_predict.training.pretrain_scores import score
from f1_predict.training.pretrain_state import PretrainState

TINY = PretrainConfig(
    pictures=16,
    batch_size=4,
    small_share=0.5,
    small_size=32,
    workers=0,
    seasons_per_block=1,
    races_per_season=2,
    drivers_per_cut=5,
    eras=("2022-2024",),
    before_share=0.3,
    evaluate_every=8,
    held_out_cuts=1,
    final_cuts=2,
    statistics_pictures=4,
)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def drawn() -> list[Batch]:
    """Four batches of made-up pictures, so that training tests need no renderer."""
    random = np.random.default_rng(0)
    answers = random.random((16, len(TASKS))).astype(np.float32)
    answers[:, [i for i, task in enumerate(TASKS) if task.kind == "chance"]] = 1.0
    answers[random.random(answers.shape) < 0.2] = np.nan
    images = random.normal(size=(16, 3, 40, 40)).astype(np.float16)
    whole = Batch(images, answers, np.repeat(np.arange(4), 4), np.repeat([0, 1], 8))
    return [whole.take(np.arange(start, start + 4)) for start in range(0, 16, 4)]


class SmallNetwork(nn.Module):
    """In the place of PretrainNetwork where its 11 million weights would only cost time."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            convolution = nn.Conv2d(3, 8, 3, stride=2, bias=False)
            pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.backbone = nn.Sequential(convolution, nn.BatchNorm2d(8), pool)
            self.heads = nn.Linear(8, len(TASKS) + BINS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.heads(self.backbone(images)).float()
        return said


@pytest.fixture
def canned(drawn: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source gives the made-up pictures."""

    def batches(self: PictureSource, first: int = 0, stride: int = 1, offset: int = 0) -> Iterator[Batch]:
        number = first
        while True:
            yield drawn[number % len(drawn)]
            number += 1

    monkeypatch.setattr(PictureSource, "batches", batches)
    monkeypatch.setattr(PictureSource, "whole_cuts", lambda self, count: join(drawn[:2]))
    monkeypatch.setattr(pretrain_state, "PretrainNetwork", SmallNetwork)


def silent(step: list[StepReport] | None = None) -> Listeners:
    return Listeners((step if step is not None else []).append, lambda done, scores: None, lambda text: None)


def equal(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


class TestPictures:
    def test_the_same_number_gives_the_same_pictures_and_another_others(self) -> None:
        source = PictureSource(TINY, "train")
        first, second = next(source.batches(0)), next(source.batches(1))
        again = next(PictureSource(TINY, "train").batches(1))
        for field in dataclasses.fields(Batch):
            np.testing.assert_array_equal(getattr(second, field.name), getattr(again, field.name))
        assert not np.array_equal(first.images, second.images)
        assert first.images.shape == (4, 3, 112, 112)
        assert np.isfinite(first.images).all()
        assert abs(first.images).max() <= 1.0
        assert first.answers.shape == (4, len(TASKS))
        other = next(PictureSource(TINY.model_copy(update={"seed": 1}), "train").batches(1))
        assert not np.array_equal(second.images, other.images)

    def test_other_processes_draw_the_same(self) -> None:
        source = PictureSource(TINY, "train")
        here = source.batches(1)
        with batches_ahead(source, 1, 2) as there:
            for _ in range(source.batches_per_block + 1):
                expected, found = next(here), next(there)
                np.testing.assert_array_equal(found.images, expected.images)
                np.testing.assert_array_equal(found.answers, expected.answers)

    def test_what_goes_wrong_in_another_process_is_told(self) -> None:
        source = PictureSource(TINY.model_copy(update={"eras": ("1899",)}), "train")
        with (
            batches_ahead(source, 0, 1) as there,
            pytest.raises(F1PredictError, match=r"drawing pictures failed: .*1899"),
        ):
            next(there)

    def test_what_goes_wrong_is_told_whole_however_long_it_is(self) -> None:
        """More than a pipe holds: a process that ended at once would take it with it."""
        era = "1899" * 500_000
        source = PictureSource(TINY.model_copy(update={"eras": (era,)}), "train")
        with batches_ahead(source, 0, 1) as there, pytest.raises(F1PredictError) as told:
            next(there)
        assert era in str(told.value)

    @pytest.mark.parametrize("drawn", [0, 3])
    def test_a_process_that_is_killed_is_missed(self, drawn: int) -> None:
        """Wherever it was: starting, drawing, or in the middle of a batch, which it fills the pipe with."""
        with batches_ahead(PictureSource(TINY, "train"), 0, 1) as there:
            for _ in range(drawn):
                next(there)
            (drawer,) = multiprocessing.active_children()
            drawer.kill()
            with pytest.raises(F1PredictError, match=r"draws pictures ended \(exit code -9\). Start again"):
                deque(there, maxlen=0)

    def test_drawing_processes_end_with_this_one(self, tmp_path: Path) -> None:
        """Even where it is killed: their pipes break."""
        script = (
            "import multiprocessing, time\n"
            "from f1_predict.training.pretrain_feed import batches_ahead\n"
            "from f1_predict.training.pretrain_pictures import PictureSource\n"
            "from tests.training.test_pretrain import TINY\n"
            "if __name__ == '__main__':\n"
            "    with batches_ahead(PictureSource(TINY, 'train'), 0, 1) as there:\n"
            "        next(there)\n"
            "        print(multiprocessing.active_children()[0].pid, flush=True)\n"
            "        time.sleep(600)\n"
        )
        path = tmp_path / "trainer.py"
        path.write_text(script)
        command, ours = [sys.executable, str(path)], os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ours) as trainer:
            assert trainer.stdout is not None
            drawer = psutil.Process(int(trainer.stdout.readline()))
            trainer.kill()
            drawer.wait(timeout=30)

    def test_no_season_serves_two_purposes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seeds: dict[str, set[int]] = {}

        def noted(seasons: int, seed: int, config: SimulatorConfig) -> None:
            seeds[purpose].add(seed)
            raise InterruptedError

        monkeypatch.setattr(pretrain_pictures, "simulate", noted)
        for purpose in PURPOSES:
            seeds[purpose] = set()
            for number in range(50):
                with pytest.raises(InterruptedError):
                    next(PictureSource(TINY, purpose).cuts(number))
        assert [len(found) for found in seeds.values()] == [50] * len(PURPOSES)
        assert len(set.union(*seeds.values())) == 50 * len(PURPOSES)

    def test_whole_cuts_hold_the_whole_field(self) -> None:
        config = TINY.model_copy(update={"teams": (9, 9), "before_share": 0.0})
        found = PictureSource(config, "final").whole_cuts(2)
        assert found.cuts.tolist() == sorted(found.cuts.tolist())
        for cut in (0, 1):
            rows = found.cuts == cut
            assert 14 <= rows.sum() <= 18  # a car may be out, or unrecorded, on lap 1
            places = found.answers[rows, COLUMN["finish_place"]] * 18 + 0.5
            assert len(set(np.round(places))) == rows.sum()
            assert len(set(found.styles[rows])) == 1

    def test_records_are_lost_as_in_real_stores(self) -> None:
        tables = simulate(1, 2, SimulatorConfig(races_per_season=12, teams=4, era="2018-2021"))
        found = recorded(tables, np.random.default_rng(0)).laps
        by_race = found.group_by("race_id", maintain_order=True).agg(
            pl.col("pit_in", "compound", "track_status").is_null().all(), pl.len()
        )
        kinds = set(by_race.select("pit_in", "compound", "track_status").iter_rows())
        assert kinds == {(True, True, True), (False, True, True), (False, False, False)}
        lost = 1.0 - by_race["len"] / tables.laps.group_by("race_id", maintain_order=True).len()["len"]
        assert (lost == 0.0).sum() >= 6
        assert (lost > 0.0).sum() > 0
        kept = ["race_id", "driver_id", "lap", "lap_time_s", "end_time_s", "position"]
        assert found.select(kept).join(tables.laps.select(kept), on=kept, how="anti").is_empty()


@pytest.mark.usefixtures("canned")
class TestTraining:
    def test_resuming_equals_an_unbroken_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        unbroken = pretrain(TINY, CPU, tmp_path / "one.safetensors", silent())
        assert unbroken.done.pictures == 16
        assert unbroken.done.steps == 4

        monkeypatch.setattr(pretrain_fit, "REPORT_STEPS", 1)

        def stop(report: StepReport) -> None:
            if report.done.steps == 3:
                raise KeyboardInterrupt

        often = TINY.model_copy(update={"checkpoint_minutes": 1e-9})
        checkpoint = tmp_path / "two.safetensors"
        with pytest.raises(KeyboardInterrupt):
            pretrain(often, CPU, checkpoint, dataclasses.replace(silent(), step=stop))
        steps: list[StepReport] = []
        resumed = pretrain(TINY, CPU, checkpoint, silent(steps))
        assert [report.done.steps for report in steps] == [3, 4]  # step 3 was told of, but not saved
        assert equal(resumed.network, unbroken.network)
        assert equal(pretrain(TINY, CPU, tmp_path / "three.safetensors", silent()).network, unbroken.network)
        other = pretrain(TINY.model_copy(update={"seed": 1}), CPU, tmp_path / "four.safetensors", silent())
        assert not equal(other.network, unbroken.network)

    def test_pictures_are_small_at_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pretrain_fit, "REPORT_STEPS", 1)
        steps: list[StepReport] = []
        pretrain(TINY, CPU, tmp_path / "c.safetensors", silent(steps))
        assert [report.size for report in steps] == [32, 32, 40, 40]
        assert steps[-1].learning_rate < steps[1].learning_rate <= TINY.learning_rate
        assert set(steps[0].losses) <= {*(task.name for task in TASKS), "finish_ranks"}

    def test_a_time_budget_gives_a_whole_schedule(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pretrain_fit, "REPORT_STEPS", 1)
        steps: list[StepReport] = []
        timed = TINY.model_copy(update={"minutes": 0.02, "pictures": 1})
        pretrain(timed, CPU, tmp_path / "c.safetensors", silent(steps))
        assert steps[-1].done.seconds >= 1.2
        assert steps[0].size == 32
        assert steps[-1].size == 40

    def test_another_run_s_checkpoint_is_refused(self, tmp_path: Path) -> None:
        checkpoint = tmp_path / "c.safetensors"
        PretrainState(TINY, CPU).save(checkpoint)
        with pytest.raises(ConfigError, match=r"with seed = 0, the settings say 5.*--work.*start anew"):
            PretrainState(TINY.model_copy(update={"seed": 5}), CPU).load(checkpoint)
        PretrainState(TINY.model_copy(update={"workers": 2}), CPU).load(checkpoint)  # changes nothing learnt
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
        with pytest.raises(ArtefactError, match=r"is no checkpoint of a pretraining.*Delete"):
            PretrainState(TINY, CPU).load(checkpoint)

    def test_a_loss_that_is_not_finite_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pretrain_fit, "REPORT_STEPS", 1)
        monkeypatch.setattr(PictureSource, "batches", lambda self, first=0: iter([spoiled]))
        spoiled = Batch(
            np.full((4, 3, 40, 40), np.nan, np.float16), np.ones((4, len(TASKS)), np.float32), *[np.zeros(4, int)] * 2
        )
        with pytest.raises(F1PredictError, match=r"not finite. Set pretrain.learning_rate lower"):
            pretrain(TINY, CPU, tmp_path / "c.safetensors", silent())

    def test_statistics_are_of_the_pictures_given(self, drawn: list[Batch]) -> None:
        network = SmallNetwork(0)
        settle_statistics(network, TINY, CPU)  # type: ignore[arg-type]
        with torch.no_grad():
            first = network.backbone[0](torch.from_numpy(drawn[0].images).float())
        found = network.backbone[1].running_mean
        torch.testing.assert_close(found, first.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
        assert not network.training


class TestScores:
    def test_a_perfect_forecast(self, drawn: list[Batch]) -> None:
        pictures = join(drawn)
        place = np.tile([0.1, 0.4, 0.6, 0.9], 4)
        pictures.answers[:, COLUMN["finish_place"]] = place
        pictures.answers[:, COLUMN["place"]] = np.tile([0.4, 0.1, 0.6, 0.9], 4)
        pictures.answers[:4, COLUMN["place"]] = np.nan  # before the start

        class Told(nn.Module):
            """Puts each picture into the bin of its place, by the picture's number in its first pixel."""

            def __init__(self) -> None:
                super().__init__()
                self.at = nn.Parameter(torch.zeros(1))

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                said = torch.zeros(len(images), len(TASKS) + BINS)
                number = images[:, 0, 0, 0].long()
                said[torch.arange(len(images)), len(TASKS) + (torch.from_numpy(place)[number] * BINS).long()] = 30.0
                return said

        pictures.images[:, 0, 0, 0] = np.arange(16)
        found = score(Told(), pictures, 0.03, 5, half=False)  # type: ignore[arg-type]
        assert set(found.ranks) == {"before", "speed", "race"}
        for name, cuts in (("before", 1), ("speed", 1), ("race", 2)):
            assert found.ranks[name].cuts == cuts
            assert (found.ranks[name].mae, found.ranks[name].spearman) == (0.0, 1.0)
        assert found.ranks["race"].order_mae == 0.5
        assert found.ranks["race"].order_spearman == pytest.approx(0.8)
        assert np.isnan(found.ranks["before"].order_mae)


class TestFiles:
    def test_half_precision_loses_nothing_more(self, tmp_path: Path) -> None:
        network = PretrainNetwork(3)
        round_to_half(network)
        path = tmp_path / "w.safetensors"
        size = write_weights(path, network.backbone, TRACES, STYLES)
        assert size == path.stat().st_size <= MAX_BYTES
        loaded = load_weights(str(path))
        assert loaded.preprocessing == TRACES
        state = network.backbone.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.tensors.items())
        assert all(tensor.dtype == torch.float32 for tensor in loaded.tensors.values())

    def test_a_value_too_large_for_half_precision_is_an_error(self) -> None:
        network = PretrainNetwork(0)
        network.backbone.bn1.running_var.fill_(1e6)
        with pytest.raises(
            WeightsError, match=r"'backbone.bn1.running_var'.*half precision does not hold \(largest 1e\+06"
        ):
            round_to_half(network)

    def test_killed_while_writing_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "w.safetensors"
        write_weights(path, PretrainNetwork(0).backbone, TRACES, STYLES)
        old = path.read_bytes()

        def killed(self: Path, target: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_weights(path, PretrainNetwork(1).backbone, TRACES, STYLES)
        assert path.read_bytes() == old
        assert list(tmp_path.iterdir()) == [path]


def test_the_whole_command_s_work(tmp_path: Path) -> None:
    """From nothing to weights that VisionEncoder takes, with card and log; the checkpoint is gone."""
    out, work, shown = tmp_path / "weights" / "trace.safetensors", tmp_path / "work", io.StringIO()
    request = Request(out, work, "cpu", "f1-predict pretrain --pictures 8")
    settings = TINY.model_dump() | {"pictures": 8}
    console = Console(file=shown, width=200)
    scores = pretrain_backbone(console, request, Config().changed("pretrain", settings))
    assert f"Weights -> {out}" in shown.getvalue()
    assert not (work / CHECKPOINT).exists()
    events = [json.loads(line) for line in (work / LOG).read_text().splitlines()]
    assert {event["event"] for event in events} == {"note", "scores", "final"}
    assert next(e for e in events if e["event"] == "scores")["done"]["pictures"] == 8

    with safe_open(out, framework="pt") as file:
        assert file.metadata()["styles"] == "speed,race"
    encoder = VisionEncoder(weights=str(out))
    assert encoder.preprocessing.size == 112
    assert encoder.identity.endswith(TRACES.identity)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 448, 448, 3), dtype=np.uint8)
    assert encoder.encode_arrays(pictures, 2).shape == (3, 512)

    card = out.with_suffix(".md").read_text()
    assert "Made by `f1-predict pretrain --pictures 8`" in card
    assert load_weights(str(out)).sha256 in card
    assert "| Licence | MIT" in card
    assert "8 pictures of simulated races, eras 2022-2024" in card
    assert f"| finish_ranks | {scores.losses['finish_ranks']:.3f} |" in card
    assert "seed = 0" in card
    assert "nan" not in card


def test_numbers_next_to_nothing_count_again_after_training() -> None:
    """Flushing them is a state of the whole processor: left on, it would change what comes after in the process."""
    with pretrain_fit._flushed_denormals():
        assert sys.float_info.min * 0.5 == 0.0
    assert sys.float_info.min * 0.5 > 0.0
