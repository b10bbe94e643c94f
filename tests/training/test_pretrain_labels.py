"""The answers to the pretraining tasks equal those of a slow oracle, and losses use them and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from f1_predict.config import SimulatorConfig
from f1_predict.horizon import RaceArchive
from f1_predict.schemas import Tables
from f1_predict.sources.simulator import simulate
from f1_predict.training.pretrain_labels import COLUMN, TASKS, answers_after, answers_before
from f1_predict.training.pretrain_network import BINS, RANKS_WEIGHT, blurred, expected_place, losses
from f1_predict.training.pretrain_pictures import truths_of
from tests.small_tables import random_tables
from tests.training.pretrain_oracle import Answers, slow_answers_after, slow_answers_before


def simulated() -> Tables:
    return simulate(1, 5, SimulatorConfig(races_per_season=3, teams=9, era="2018-2021"))


def check(found: np.ndarray, expected: Answers, drivers: list[str]) -> None:
    assert found.shape == (len(drivers), len(TASKS))
    for row, driver in enumerate(drivers):
        for task in TASKS:
            value = found[row, COLUMN[task.name]]
            wanted = expected[driver].get(task.name, np.nan)
            assert value == pytest.approx(wanted, abs=1e-9, nan_ok=True), (driver, task.name)


class TestAnswers:
    @pytest.mark.parametrize("make", [simulated, lambda: random_tables(3), lambda: random_tables(4)])
    def test_equal_the_oracle_at_any_lap(self, make: object) -> None:
        tables = make()  # type: ignore[operator]
        archive, truths = RaceArchive(tables), truths_of(tables)
        tables, cuts = archive.tables, 0  # in the order of time
        for race_id, truth in zip(archive.race_ids, truths, strict=True):
            there = sorted(set(archive.rows("laps", race_id)["lap"]))
            for lap in [*there[:: max(1, len(there) // 3)], *there[-1:]]:
                laps = archive.rows("laps", race_id)
                cut = float(laps.filter(laps["lap"] == lap)["end_time_s"].min())
                check(answers_after(truth, cut, lap), slow_answers_after(tables, race_id, cut, lap), truth.driver_ids)
                cuts += 1
        assert cuts > 8

    @pytest.mark.parametrize("make", [simulated, lambda: random_tables(3)])
    def test_equal_the_oracle_before_the_start(self, make: object) -> None:
        tables = make()  # type: ignore[operator]
        archive, truths = RaceArchive(tables), truths_of(tables)
        tables, races = archive.tables, archive.race_ids
        for number in range(1, len(races)):
            found = answers_before(truths[number], truths[:number], 2)
            check(found, slow_answers_before(tables, races[number], races[:number], 2), truths[number].driver_ids)
            assert np.isfinite(found[:, COLUMN["finish_place"]]).all()
            assert np.isnan(found[:, [COLUMN["place"], COLUMN["gap_leader"], COLUMN["stops"]]]).all()


class TestLosses:
    def rows(self, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed(0)
        outputs = torch.randn(n, len(TASKS) + BINS, generator=random).requires_grad_()
        answers = torch.rand(n, len(TASKS), generator=random)
        chances = [i for i, task in enumerate(TASKS) if task.kind == "chance"]
        answers[:, chances] = answers[:, chances].round()
        return outputs, answers

    def test_a_row_without_an_answer_contributes_nothing(self) -> None:
        outputs, answers = self.rows()
        answers[2, COLUMN["wear"]] = torch.nan
        answers[:, COLUMN["form_pace"]] = torch.nan
        answers[4, COLUMN["finish_place"]] = torch.nan
        found = losses(outputs, answers, 0.03)
        found.total.backward()
        assert outputs.grad is not None
        assert outputs.grad[2, COLUMN["wear"]] == 0.0
        assert (outputs.grad[:, COLUMN["form_pace"]] == 0.0).all()
        assert (outputs.grad[4, len(TASKS) :] == 0.0).all()
        assert (outputs.grad[3, len(TASKS) :] != 0.0).all()
        assert outputs.grad.isfinite().all()
        assert found.tasks[COLUMN["form_pace"]].isnan()
        kept = losses(outputs[[0, 1, 3, 4, 5]], answers[[0, 1, 3, 4, 5]], 0.03)
        torch.testing.assert_close(found.tasks[COLUMN["wear"]], kept.tasks[COLUMN["wear"]])

    def test_the_total_is_the_weighted_sum(self) -> None:
        outputs, answers = self.rows()
        found = losses(outputs, answers, 0.03)
        weights = torch.tensor([*(task.weight for task in TASKS), RANKS_WEIGHT])
        torch.testing.assert_close(found.total.detach(), (weights * found.tasks).sum())

    def test_each_kind_of_loss_by_hand(self) -> None:
        outputs, answers = self.rows(1)
        outputs = outputs.detach()
        found = losses(outputs, answers, 0.03).tasks
        column, task = COLUMN["gap_leader"], TASKS[COLUMN["gap_leader"]]
        off = abs(float(outputs[0, column]) - (float(answers[0, column]) - task.centre) / task.scale)
        assert float(found[column]) == pytest.approx(off - 0.5 if off > 1 else off**2 / 2, rel=1e-5)
        column = COLUMN["finish"]
        chance = 1 / (1 + np.exp(-float(outputs[0, column])))
        said = chance if answers[0, column] == 1 else 1 - chance
        assert float(found[column]) == pytest.approx(-np.log(said), rel=1e-5)

    def test_blurred_places(self) -> None:
        spread = blurred(torch.tensor([0.0, 0.525, 1.0]), 0.05)
        torch.testing.assert_close(spread.sum(dim=1), torch.ones(3))
        assert spread.argmax(dim=1).tolist() == [0, 10, BINS - 1]
        torch.testing.assert_close(spread[1, 9], spread[1, 11])  # 0.525 is the middle of bin 10
        sharp = torch.zeros(1, len(TASKS) + BINS)
        sharp[0, len(TASKS) + 3] = 50.0
        assert float(expected_place(sharp)) == pytest.approx(3.5 / BINS)
