from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from f1_predict.config import TrainingConfig
from f1_predict.errors import DataError, F1PredictError, FeatureError, LabelError
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.training.fit import EpochReport, fit, predict
from f1_predict.training.rows import TrainingRows
from tests.training.stand_ins import CLASSES, FEATURES, PICTURE_DIM, make_model, make_rows

QUICK = TrainingConfig(epochs=3, learning_rate=5e-3)


def weights(model: MultiModalFusionModel) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in model.head_state_dict().items()}


def assert_equal_weights(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("head", ["position", "position_regression", "finish"])
def test_the_network_learns_what_can_be_learnt(head: str) -> None:
    model = make_model(head=head)
    train, later = make_rows(400, head=head), make_rows(200, 1, head=head)
    result = fit(model, train, later, TrainingConfig(epochs=8, learning_rate=5e-3))
    assert result.converged
    assert not result.restarted
    assert result.history[-1].train_loss < 0.8 * result.history[0].train_loss
    scores = result.history[result.best_epoch - 1].validation
    assert scores is not None
    assert scores.accuracy > (0.85 if head == "finish" else 0.45)
    if head != "finish":
        assert scores.mae is not None
        assert scores.mae < 0.8
    assert (scores.log_loss is None) == (head == "position_regression")
    output = predict(model, later)
    assert output.dtype == np.float64
    assert output.shape == (200, CLASSES if head == "position" else 1)


def test_the_reported_scores_are_those_of_the_forecasts() -> None:
    model, later = make_model(), make_rows(50, 1)
    result = fit(model, make_rows(100), later, QUICK.model_copy(update={"restore_best": False}))
    probabilities = predict(model, later)
    scores = result.history[-1].validation
    assert scores is not None
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    truth = probabilities[np.arange(50), later.targets]  # type: ignore[index]
    assert scores.log_loss == pytest.approx(-np.log(truth).mean(), abs=1e-5)
    assert scores.accuracy == pytest.approx((probabilities.argmax(1) == later.targets).mean())
    expected = probabilities @ np.arange(CLASSES)
    assert scores.mae == pytest.approx(np.abs(expected - later.targets).mean(), abs=1e-5)


def test_a_seed_makes_runs_bit_identical_whatever_the_global_state() -> None:
    runs = []
    for state, threads in ((1, 1), (2, 2)):
        torch.manual_seed(state)
        before, threads_before = torch.get_rng_state(), torch.get_num_threads()
        torch.set_num_threads(threads)
        model = make_model()
        result = fit(model, make_rows(70), make_rows(30, 1), QUICK)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == threads
        torch.set_num_threads(threads_before)
        losses = [(r.train_loss, r.validation.loss) for r in result.history if r.validation]
        runs.append((weights(model), losses))
    assert_equal_weights(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    other = make_model()
    fit(other, make_rows(70), None, QUICK.model_copy(update={"seed": 7}))
    assert not np.array_equal(other.tabular_encoder[0].weight.detach().numpy(), runs[0][0]["tabular_encoder.0.weight"])


def test_the_best_epoch_by_validation_loss_is_kept() -> None:
    """Labels of chance: what is learnt by heart makes validation worse."""
    rng = np.random.default_rng(0)
    train, later = (replace(make_rows(60, s), targets=rng.integers(CLASSES, size=60)) for s in (0, 1))
    config = TrainingConfig(epochs=12, learning_rate=1e-2, restore_best=True)
    model = make_model(dropout=0.0)
    result = fit(model, train, later, config)
    losses = [r.validation.loss for r in result.history if r.validation]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert losses[-1] > 1.2 * min(losses)
    truth = predict(model, later)[np.arange(60), later.targets]  # type: ignore[index]
    assert -np.log(truth).mean() == pytest.approx(min(losses), abs=1e-4)
    last = make_model(dropout=0.0)
    kept = fit(last, train, later, config.model_copy(update={"restore_best": False}))
    assert kept.best_epoch == 12
    truth = predict(last, later)[np.arange(60), later.targets]  # type: ignore[index]
    assert -np.log(truth).mean() == pytest.approx(losses[-1], abs=1e-3)


def test_a_loss_that_does_not_fall_starts_again_once_from_the_first_weights(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[EpochReport] = []
    absurd = TrainingConfig(epochs=6, learning_rate=50.0, fallback_learning_rate=5e-3)
    model = make_model()
    with caplog.at_level(logging.WARNING):
        result = fit(model, make_rows(200), make_rows(50, 1), absurd, seen.append)
    assert result.restarted
    assert result.converged
    assert result.learning_rate == 5e-3
    assert [r.attempt for r in seen] == [1] * absurd.stall_epochs + [2] * 6
    assert result.history == tuple(seen[absurd.stall_epochs :])
    sane = make_model()
    fit(sane, make_rows(200), make_rows(50, 1), absurd.model_copy(update={"learning_rate": 5e-3}))
    assert_equal_weights(weights(model), weights(sane))
    found = result.diagnostics
    assert found is not None
    assert found.learning_rate == 50.0
    assert len(found.losses) == 1 + absurd.stall_epochs
    rows = make_rows(200)
    assert found.tabular is not None
    assert found.tabular.max == rows.tabular.max()
    assert found.tabular.std == pytest.approx(rows.tabular.std(), rel=1e-5)
    assert found.embeddings is not None
    assert found.embeddings.min == rows.embeddings.min()  # type: ignore[union-attr]
    assert set(found.gradient_norms) == {name for name, _ in make_model().named_parameters()}
    for text in ("does not fall", "learning rate 50", "features: mean", "gradient norms: tabular_encoder.0.weight"):
        assert text in caplog.text


def test_a_loss_that_is_not_finite_counts_as_not_falling() -> None:
    result = fit(make_model(), make_rows(100), None, TrainingConfig(epochs=4, learning_rate=1e38))
    assert result.diagnostics is not None
    assert "the loss of epoch 1 is not finite" in result.diagnostics.reason
    assert result.learning_rate == 5e-4
    assert np.isfinite([r.train_loss for r in result.history]).all()


def test_a_few_steps_that_help_are_no_reason_to_start_again() -> None:
    """Two steps of one epoch: the loss with dropout is still above the first one's, the loss itself has fallen."""
    result = fit(make_model(dropout=0.5), make_rows(64), None, TrainingConfig(epochs=1, learning_rate=2e-3))
    assert result.converged
    assert not result.restarted


def test_a_fit_that_fails_twice_says_so() -> None:
    config = TrainingConfig(epochs=4, learning_rate=1e38, fallback_learning_rate=1e37)
    with pytest.raises(F1PredictError, match=r"cannot be fitted.*not finite.*set training.learning_rate lower"):
        fit(make_model(), make_rows(100), None, config)


def test_rows_with_nothing_to_learn_end_without_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Same inputs, evenly spread labels: no rate can make the loss fall by a third."""
    rows = make_rows(50, pictures=False)
    rows = replace(rows, tabular=np.zeros_like(rows.tabular), targets=np.arange(50) % CLASSES)
    result = fit(make_model(), rows, None, TrainingConfig(epochs=3, stall_margin=0.3))
    assert result.restarted
    assert not result.converged
    assert len(result.history) == 3
    assert "may have learnt nothing" in caplog.text


def test_running_out_of_memory_adds_up_parts_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train, later = make_rows(101), make_rows(40, 1)
    whole = make_model(dropout=0.0)
    unbroken = fit(whole, train, later, QUICK)
    expected = predict(whole, later)
    original = MultiModalFusionModel.combine

    def small_memory(self, visual, tabular):
        if len(tabular) > 9:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return original(self, visual, tabular)

    monkeypatch.setattr(MultiModalFusionModel, "combine", small_memory)
    model = make_model(dropout=0.0)
    broken = fit(model, train, later, QUICK)
    assert "memory ran out while fitting the network with a batch of 32 rows; going on with 16" in caplog.text
    assert "memory ran out while fitting the network with a batch of 16 rows; going on with 8" in caplog.text
    for one, other in zip(unbroken.history, broken.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-4)
    np.testing.assert_allclose(predict(model, later), expected, atol=1e-3)


def test_progress_is_told_of_every_epoch() -> None:
    seen: list[EpochReport] = []
    result = fit(make_model(), make_rows(64), make_rows(20, 1), QUICK, seen.append)
    assert tuple(seen) == result.history
    assert [(r.epoch, r.epochs, r.learning_rate) for r in seen] == [(e, 3, 5e-3) for e in (1, 2, 3)]
    assert seen[0].seconds_left > 0.0
    assert seen[-1].seconds_left == 0.0


def test_embeddings_are_standardised_by_the_training_rows_with_a_picture() -> None:
    rows = make_rows(50)
    mask = np.arange(50) % 3 > 0
    embeddings = np.where(mask[:, None], 100.0 + 7.0 * rows.embeddings, np.nan).astype(np.float32)  # type: ignore[operator]
    model = make_model()
    fit(model, replace(rows, embeddings=embeddings, has_image=mask), None, QUICK)
    np.testing.assert_allclose(model.image_mean.numpy(), embeddings[mask].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(model.image_scale.numpy(), embeddings[mask].std(axis=0), rtol=1e-4)


def test_forecasts_do_not_depend_on_the_batch_and_leave_the_mode() -> None:
    model, rows = make_model().train_mode(), make_rows(23)
    np.testing.assert_allclose(predict(model, rows, 4), predict(model, rows), atol=1e-6)
    assert model.training
    assert predict(model, replace_all(rows, 0)).shape == (0, CLASSES)


def replace_all(rows: TrainingRows, count: int) -> TrainingRows:
    values = {name: None if value is None else value[:count] for name, value in vars(rows).items()}
    return TrainingRows(**values)


def test_a_label_outside_the_classes_names_race_and_driver() -> None:
    rows = make_rows(10)
    targets = rows.targets.copy()
    targets[7] = CLASSES
    wrong = replace(rows, targets=targets)
    message = r"2020_race_2, driver_7: the target of head 'position' must be a class from 0 to 4.*got 5"
    with pytest.raises(LabelError, match=message):
        fit(make_model(), wrong, None, QUICK)
    with pytest.raises(LabelError, match="driver_7"):
        fit(make_model(), rows, wrong, QUICK)
    with pytest.raises(LabelError, match=r"driver_0: the target of head 'finish' must be 0 or 1"):
        replace(rows, targets=np.full(10, 0.5, np.float32)).check_targets("finish", 1)
    with pytest.raises(LabelError, match=r"must be in \[0, 1\], got 1.5.*relative_position"):
        replace(rows, targets=np.full(10, 1.5, np.float32)).check_targets("position_regression", 1)


def test_rows_that_do_not_belong_together_are_refused() -> None:
    rows = make_rows(10)
    with pytest.raises(DataError, match=r"one entry per row everywhere, got .*tabular 9"):
        replace(rows, tabular=rows.tabular[:9])
    with pytest.raises(DataError, match=r"no train rows"):
        fit(make_model(), replace_all(rows, 0), None, QUICK)
    with pytest.raises(FeatureError, match=r"tabular must have shape \(rows, features\), got \(10,\)"):
        replace(rows, tabular=rows.tabular[:, 0])
    bad = rows.tabular.copy()
    bad[3, 2] = np.nan
    with pytest.raises(FeatureError, match=r"tabular must be finite, got nan in column 2 for 2020_race_1, driver_3"):
        replace(rows, tabular=bad)
    assert rows.tabular.shape == (10, FEATURES)
    assert rows.embeddings is not None
    assert rows.embeddings.shape == (10, PICTURE_DIM)
