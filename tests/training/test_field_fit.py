from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from f1_predict.config import FieldConfig
from f1_predict.errors import DataError, F1PredictError, FeatureError, LabelError, PictureError
from f1_predict.training.field_fit import FieldEpoch, FieldRows, TrainedField, fit_field

QUICK = FieldConfig(
    width=16,
    heads=2,
    layers=1,
    dropout=0.1,
    image_width=4,
    members=1,
    epochs=6,
    batch_fields=8,
    learning_rate=5e-3,
    field_share=1.0,
)
PICTURE = 8


def make_rows(
    fields: int, seed: int = 0, *, signal: str = "table", sizes: tuple[int, ...] = (5, 6, 8), shown: float = 1.0
) -> FieldRows:
    """Fields whose order follows one feature, or one direction of the embeddings, with a little noise."""
    random = np.random.default_rng(seed)
    lengths = random.choice(sizes, fields)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n = int(offsets[-1])
    tabular = random.normal(size=(n, 3)).astype(np.float32)
    embeddings = (5.0 + 2.0 * random.normal(size=(n, PICTURE))).astype(np.float32)
    has_image = np.repeat(random.random(fields) < shown, lengths)
    told = tabular[:, 0] if signal == "table" else embeddings[:, :2].sum(axis=1)
    score = told + 0.2 * random.normal(size=n)
    positions = np.concatenate([score[a:b].argsort().argsort() + 1 for a, b in pairwise(offsets)]).astype(np.int64)
    classified = positions <= np.repeat(lengths, lengths) * 0.7
    return FieldRows(tabular, embeddings, has_image, positions, classified, offsets)


def log_loss(probabilities: np.ndarray, rows: FieldRows) -> float:
    return float(-np.log(probabilities[np.arange(len(rows)), rows.positions - 1]).mean())


def uniform(rows: FieldRows) -> float:
    return float(np.log(np.repeat(rows.sizes, rows.sizes)).mean())


@pytest.fixture(scope="module")
def on_table() -> TrainedField:
    return fit_field(make_rows(150), make_rows(40, 1), QUICK)


@pytest.fixture(scope="module")
def on_pictures() -> TrainedField:
    config = QUICK.model_copy(update={"epochs": 12, "image_dropout": 0.1})
    return fit_field(make_rows(250, signal="picture"), make_rows(40, 1, signal="picture"), config)


def test_a_signal_in_the_table_is_learnt(on_table: TrainedField) -> None:
    later = make_rows(40, 2)
    positions, finish = on_table.predict(later)
    assert log_loss(positions, later) < 0.75 * uniform(later)
    brier = np.mean((finish - later.classified) ** 2)
    assert brier < 0.6 * np.var(later.classified)


def test_a_signal_in_the_pictures_is_learnt_and_gone_when_they_are_masked(on_pictures: TrainedField) -> None:
    later = make_rows(40, 2, signal="picture")
    seen, _ = on_pictures.predict(later)
    blind, _ = on_pictures.predict(later, use_pictures=False)
    assert log_loss(seen, later) < 0.8 * uniform(later)
    assert log_loss(blind, later) == pytest.approx(uniform(later), abs=0.1), "masked, it must not be sure and wrong"


def test_masked_pictures_are_as_if_there_were_none(on_pictures: TrainedField) -> None:
    rows = make_rows(10, 3, signal="picture", shown=0.5)
    masked = on_pictures.predict(rows, use_pictures=False)
    without = on_pictures.predict(replace(rows, embeddings=None, has_image=np.zeros(len(rows), dtype=bool)))
    np.testing.assert_array_equal(masked[0], without[0])
    np.testing.assert_array_equal(masked[1], without[1])
    assert np.abs(masked[0] - on_pictures.predict(rows)[0]).max() > 0.05


def test_what_a_row_without_a_picture_holds_does_not_matter(on_pictures: TrainedField) -> None:
    rows = make_rows(10, 3, shown=0.5)
    assert rows.embeddings is not None
    spoilt = np.where(rows.has_image[:, None], rows.embeddings, np.float32(np.nan))
    np.testing.assert_array_equal(
        on_pictures.predict(rows)[0], on_pictures.predict(replace(rows, embeddings=spoilt))[0]
    )


@pytest.mark.parametrize("size", [1, 2, 7, 22, 26, 40])
def test_forecasts_are_coherent_for_sizes_never_trained_on(on_table: TrainedField, size: int) -> None:
    rows = make_rows(2, 4, sizes=(size,))
    positions, finish = on_table.predict(rows)
    assert positions.dtype == finish.dtype == np.float64
    assert positions.shape == (2 * size, size)
    assert ((finish > 0.0) & (finish < 1.0)).all()
    for start in (0, size):
        matrix = positions[start : start + size]
        np.testing.assert_allclose(matrix.sum(axis=0), 1.0, atol=1e-6)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-6)
        assert (matrix > 0.0).all()


def test_a_signal_learnt_on_small_fields_holds_in_larger_ones(on_table: TrainedField) -> None:
    rows = make_rows(30, 5, sizes=(12,))
    assert log_loss(on_table.predict(rows)[0], rows) < 0.85 * uniform(rows)


def test_places_beyond_a_field_have_no_probability_and_fields_keep_their_rows(on_table: TrainedField) -> None:
    rows = make_rows(12, 6)
    positions, finish = on_table.predict(rows)
    for start, end in pairwise(rows.fields):
        part = FieldRows(
            rows.tabular[start:end],
            None,
            np.zeros(end - start, dtype=bool),
            rows.positions[start:end],
            rows.classified[start:end],
            np.array([0, end - start]),
        )
        alone, alone_finish = on_table.predict(part, use_pictures=False)
        assert (positions[start:end, end - start :] == 0.0).all()
        together, together_finish = on_table.predict(rows, use_pictures=False)
        np.testing.assert_allclose(together[start:end, : end - start], alone, atol=1e-5)
        np.testing.assert_allclose(together_finish[start:end], alone_finish, atol=1e-5)
    assert finish.shape == (len(rows),)


def test_forecasts_do_not_look_at_labels(on_table: TrainedField) -> None:
    rows = make_rows(5, 7)
    blank = replace(rows, positions=np.zeros_like(rows.positions), classified=~rows.classified)
    np.testing.assert_array_equal(on_table.predict(rows)[0], on_table.predict(blank)[0])


def test_a_seed_makes_fits_bit_identical_whatever_the_global_state() -> None:
    config = QUICK.model_copy(update={"epochs": 2, "members": 2})
    train, validation, later = make_rows(30), make_rows(10, 1), make_rows(10, 2)
    forecasts, losses = [], []
    for state, threads in ((1, 1), (2, 2)):
        torch.manual_seed(state)
        threads_before = torch.get_num_threads()
        torch.set_num_threads(threads)
        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (it must not change)
        trained = fit_field(train, validation, config)
        forecasts.append(trained.predict(later))
        assert torch.equal(torch.get_rng_state(), before)
        np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
        assert torch.get_num_threads() == threads
        torch.set_num_threads(threads_before)
        losses.append([(epoch.train_loss, epoch.validation_log_loss) for epoch in trained.history])
    np.testing.assert_array_equal(forecasts[0][0], forecasts[1][0])
    np.testing.assert_array_equal(forecasts[0][1], forecasts[1][1])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][2], "members have seeds of their own"
    other = fit_field(train, validation, config.model_copy(update={"seed": 9})).predict(later)
    assert np.abs(other[0] - forecasts[0][0]).max() > 1e-3


def test_members_are_averaged() -> None:
    config = QUICK.model_copy(update={"epochs": 1, "members": 2})
    train, later = make_rows(20), make_rows(4, 1, sizes=(6,))
    both = fit_field(train, None, config)
    each = [TrainedField((network,), (1,), ()).predict(later) for network in both.networks]
    np.testing.assert_allclose(both.predict(later)[0], (each[0][0] + each[1][0]) / 2, atol=1e-4)
    np.testing.assert_allclose(both.predict(later)[1], (each[0][1] + each[1][1]) / 2, atol=1e-7)


def test_the_best_epoch_is_kept_and_the_fit_stops_when_it_does_not_get_better() -> None:
    noise = make_rows(40, 1)
    random = np.random.default_rng(0)
    shuffled = np.concatenate([random.permutation(np.arange(1, size + 1)) for size in noise.sizes])
    validation = replace(noise, positions=shuffled)
    seen: list[FieldEpoch] = []
    config = QUICK.model_copy(update={"epochs": 12, "patience": 2, "learning_rate": 0.02})
    trained = fit_field(make_rows(100), validation, config, seen.append)
    losses = [epoch.validation_log_loss for epoch in trained.history]
    assert list(trained.history) == seen
    assert trained.best_epochs == (int(np.argmin(losses)) + 1,)
    assert len(losses) == trained.best_epochs[0] + 2 < 12
    assert log_loss(trained.predict(validation)[0], validation) == pytest.approx(min(losses), abs=0.01)
    assert [epoch.epoch for epoch in seen] == list(range(1, len(seen) + 1))
    assert {(epoch.member, epoch.members, epoch.epochs) for epoch in seen} == {(1, 1, 12)}


def test_without_validation_all_epochs_count() -> None:
    trained = fit_field(make_rows(30), None, QUICK.model_copy(update={"epochs": 3}))
    assert trained.best_epochs == (3,)
    assert [epoch.validation_log_loss for epoch in trained.history] == [None] * 3
    assert trained.history[-1].train_loss < trained.history[0].train_loss


def test_no_rows_are_refused() -> None:
    empty = FieldRows(
        np.empty((0, 3), np.float32), None, np.empty(0, bool), np.empty(0, np.int64), np.empty(0, bool), np.array([0])
    )
    with pytest.raises(DataError, match=r"there are no validation rows to fit on\. Choose a split with races in it"):
        fit_field(make_rows(5), empty, QUICK)
    with pytest.raises(DataError, match="there are no train rows"):
        fit_field(empty, None, QUICK)


@pytest.mark.parametrize("bad", [0, 4, 6])
def test_positions_that_are_not_those_of_the_field_are_refused(bad: int) -> None:
    rows = make_rows(3, sizes=(5,))
    positions = rows.positions.copy()
    positions[5 + int(np.flatnonzero(positions[5:10] == 5)[0])] = bad
    message = r"positions of field 1 of the train rows \(rows 5 to 9\) must be 1\.\.5, each once, got \[.*\]\. Rank all"
    with pytest.raises(LabelError, match=message):
        fit_field(replace(rows, positions=positions), None, QUICK)
    with pytest.raises(LabelError, match="field 1 of the validation rows"):
        fit_field(rows, replace(rows, positions=positions), QUICK)


def test_values_that_are_not_finite_are_refused_by_row() -> None:
    rows = make_rows(3)
    tabular = rows.tabular.copy()
    tabular[4, 2] = np.nan
    with pytest.raises(FeatureError, match=r"tabular must be finite, got nan in row 4, column 2\. Use Feature"):
        replace(rows, tabular=tabular)
    assert rows.embeddings is not None
    embeddings = rows.embeddings.copy()
    embeddings[7, 1] = np.inf
    with pytest.raises(PictureError, match=r"the embedding of row 7 must be finite\. Encode its picture again"):
        replace(rows, embeddings=embeddings)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fields": np.array([0, 4])}, DataError, r"fields must be offsets .* end with the number of rows, 10"),
        ({"fields": np.array([0, 5, 5, 10])}, DataError, r"field 1 must have a row or more, got rows 5 to 5\."),
        ({"has_image": np.ones(9, dtype=bool)}, DataError, r"has_image must have shape \(10,\).*got \(9,\)"),
        (
            {"always": np.ones(3, dtype=bool)},
            DataError,
            r"always must have shape \(2,\), one value a field, got \(3,\)",
        ),
        ({"embeddings": None}, PictureError, r"row 0 has a picture but there are no embeddings\. Give them"),
        ({"embeddings": np.zeros((9, 8), np.float32)}, PictureError, r"float32 of shape \(10, width\).*\(9, 8\)"),
        ({"tabular": np.zeros((10, 3))}, FeatureError, r"tabular must be float32 .* got float64 of shape \(10, 3\)"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(make_rows(2, sizes=(5,)), **change)  # type: ignore[arg-type]


def test_rows_of_another_width_are_refused(on_table: TrainedField) -> None:
    rows = make_rows(2)
    with pytest.raises(FeatureError, match=r"tabular must have shape \(fields, cars, 3\)"):
        on_table.predict(replace(rows, tabular=np.zeros((len(rows), 4), np.float32)))
    with pytest.raises(PictureError, match=r"embeddings must have shape .* 8\), got"):
        on_table.predict(replace(rows, embeddings=np.zeros((len(rows), 9), np.float32)))


def test_a_loss_that_is_not_finite_is_an_error_with_a_remedy() -> None:
    rows = make_rows(10)
    huge = replace(rows, tabular=rows.tabular * np.float32(1e38))
    with pytest.raises(F1PredictError, match=r"the loss of epoch 1 is not finite .*Set field\.learning_rate lower"):
        fit_field(huge, None, QUICK)


def test_an_epoch_sees_the_marked_fields_and_a_share_of_the_others_whoever_has_a_picture() -> None:
    from f1_predict.training.field_fit import _Fit

    config = QUICK.model_copy(update={"field_share": 0.3})
    marked = np.zeros(40, dtype=bool)
    marked[::4] = True
    rows = replace(make_rows(40, shown=0.5), always=marked)

    def drawn(fit: _Fit) -> list[set[int]]:
        return [{int(field) for batch in fit._draw() for field in batch} for _ in range(2)]

    epochs = drawn(_Fit(rows, None, config, 1, None))
    always = set(np.flatnonzero(marked).tolist())
    assert all(always <= fields and len(fields - always) == 9 for fields in epochs)
    assert epochs[0] != epochs[1]
    blind = replace(rows, embeddings=None, has_image=np.zeros(len(rows), dtype=bool))
    assert drawn(_Fit(blind, None, config, 1, None)) == epochs, "else pictures are credited with other training rows"
    assert [len(fields) for fields in drawn(_Fit(replace(rows, always=None), None, config, 1, None))] == [12, 12]
