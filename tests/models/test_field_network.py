from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from f1_predict.config import Config, FieldConfig
from f1_predict.errors import ConfigError, FeatureError, PictureError
from f1_predict.models.field_network import MASKED, FieldNetwork, FieldOutput

SMALL = FieldConfig(width=16, heads=2, image_width=4)
FEATURES, PICTURE = 5, 7


@pytest.fixture
def network() -> FieldNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FieldNetwork(FEATURES, PICTURE, SMALL).eval()


def field(cars: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """One field: table, embeddings, and a picture for every second car."""
    generator = torch.Generator().manual_seed(seed)
    tabular = torch.randn(1, cars, FEATURES, generator=generator)
    embeddings = torch.randn(1, cars, PICTURE, generator=generator)
    return tabular, embeddings, (torch.arange(cars) % 2 == 0)[None]


def everyone(cars: int) -> Tensor:
    return torch.ones(1, cars, dtype=torch.bool)


@torch.no_grad()
def forecast(network: FieldNetwork, cars: int, seed: int = 1) -> FieldOutput:
    return network(*field(cars, seed), everyone(cars))


@torch.no_grad()
def test_the_order_of_the_cars_does_not_matter(network: FieldNetwork) -> None:
    tabular, embeddings, has_image = field(22)
    one = network(tabular, embeddings, has_image, everyone(22))
    order = torch.randperm(22, generator=torch.Generator().manual_seed(3))
    other = network(tabular[:, order], embeddings[:, order], has_image[:, order], everyone(22))
    torch.testing.assert_close(other.position, one.position[:, order], rtol=0, atol=1e-4)
    torch.testing.assert_close(other.finish, one.finish[:, order], rtol=0, atol=1e-5)
    assert (one.position.exp().std(dim=1) > 1e-4).any(), "a forecast that knows no car would pass too"


@torch.no_grad()
def test_padding_changes_nothing_whatever_it_holds_and_wherever_it_stands(network: FieldNetwork) -> None:
    tabular, embeddings, has_image = field(6)
    alone = network(tabular, embeddings, has_image, everyone(6))
    at = torch.tensor([1, 2, 4, 7, 8, 9])
    present = torch.zeros(1, 11, dtype=torch.bool)
    present[:, at] = True
    wide, pictures = torch.full((1, 11, FEATURES), torch.nan), torch.full((1, 11, PICTURE), torch.nan)
    shown = torch.ones(1, 11, dtype=torch.bool)
    wide[:, at], pictures[:, at], shown[:, at] = tabular, embeddings, has_image
    padded = network(wide, pictures, shown, present)
    torch.testing.assert_close(padded.position[:, at][:, :, :6], alone.position, rtol=0, atol=1e-4)
    torch.testing.assert_close(padded.finish[:, at], alone.finish, rtol=0, atol=1e-5)
    assert padded.position[:, at][:, :, 6:].max() < MASKED / 2, "places that the field does not have"
    assert padded.position[0, ~present[0]].max() < MASKED / 2


@torch.no_grad()
def test_fields_of_a_batch_do_not_see_each_other(network: FieldNetwork) -> None:
    one, other = field(8, 1), field(8, 2)
    both = [torch.cat(pair) for pair in zip(one, other, strict=True)]
    together = network(*both, everyone(8).expand(2, 8))
    torch.testing.assert_close(together.position[:1], network(*one, everyone(8)).position, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.position[1:], network(*other, everyone(8)).position, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cars", [1, 2, 3, 20, 22, 26, 31, 40])
def test_any_size_of_field_gets_a_coherent_matrix(network: FieldNetwork, cars: int) -> None:
    matrix = forecast(network, cars).position.double().exp()[0]
    assert matrix.shape == (cars, cars)
    torch.testing.assert_close(matrix.sum(1), torch.ones(cars, dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(matrix.sum(0), torch.ones(cars, dtype=torch.float64), rtol=0, atol=1e-2)


def test_more_rounds_come_closer_to_columns_of_one() -> None:
    deviations = []
    for rounds in (1, 4, 30):
        torch.manual_seed(0)
        sharp = FieldNetwork(FEATURES, PICTURE, SMALL.model_copy(update={"sinkhorn_rounds": rounds})).eval()
        with torch.no_grad():
            sharp.query.weight.mul_(20.0)
        deviations.append(float((forecast(sharp, 20).position.exp().sum(1) - 1.0).abs().max().detach()))
    assert deviations[0] > 2 * deviations[1] > 4 * deviations[2]
    assert deviations[0] > 0.05, "else there is nothing to balance"


@torch.no_grad()
def test_a_masked_picture_is_no_picture(network: FieldNetwork) -> None:
    tabular, embeddings, has_image = field(20)
    without = network(tabular, None, has_image, everyone(20)).position
    nobody = torch.zeros_like(has_image)
    torch.testing.assert_close(network(tabular, embeddings, nobody, everyone(20)).position, without, rtol=0, atol=0)
    hidden = embeddings.clone()
    hidden[~has_image] = torch.nan
    shown = network(tabular, embeddings, has_image, everyone(20)).position
    torch.testing.assert_close(network(tabular, hidden, has_image, everyone(20)).position, shown, rtol=0, atol=0)
    assert (shown - without).abs().max() > 1e-3


@torch.no_grad()
def test_embeddings_are_standardised_with_the_statistics_given(network: FieldNetwork) -> None:
    tabular, embeddings, has_image = field(20)
    plain = network(tabular, embeddings, has_image, everyone(20)).position
    mean, std = torch.linspace(-3, 3, PICTURE), torch.linspace(0.5, 2, PICTURE)
    network.set_image_statistics(mean, std)
    again = network(tabular, embeddings * std + mean, has_image, everyone(20)).position
    torch.testing.assert_close(again, plain, rtol=0, atol=1e-4)
    network.set_image_statistics(mean, torch.zeros(PICTURE))
    one = network(tabular, embeddings, has_image, everyone(20)).position
    other = network(tabular, embeddings + 1.0, has_image, everyone(20)).position
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_gradients_are_finite_and_reach_every_weight(network: FieldNetwork) -> None:
    tabular, embeddings, has_image = field(9)
    present = everyone(9)
    present[0, 7:] = False
    position, finish = network(tabular * 50.0, embeddings, has_image, present)
    (finish[present].sum() - position[0, torch.arange(7), torch.arange(7)].sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_places_by_a_score_are_counted() -> None:
    """A car that beats k others by far stands on place k + 1 less nothing: what `_ranked` describes."""
    torch.manual_seed(0)
    network = FieldNetwork(FEATURES, PICTURE, SMALL).eval()
    cars = torch.randn(1, 6, SMALL.width)
    ranked = network._ranked(cars, everyone(6), torch.tensor([6]))
    with torch.no_grad():
        network.strength.weight.mul_(1e4)  # steps in place of slopes: only the order is left
        steps = network._ranked(cars, everyone(6), torch.tensor([6]))
        network.strength.weight.mul_(3.0)
        network.strength.bias.add_(7.0)
        torch.testing.assert_close(network._ranked(cars, everyone(6), torch.tensor([6])), steps, rtol=0, atol=1e-4)
    assert (ranked - steps).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tabular": torch.zeros(1, 4, 6)}, FeatureError, r"tabular must have shape \(fields, cars, 5\).*\(1, 4, 6\)"),
        ({"present": torch.ones(1, 5, dtype=torch.bool)}, FeatureError, r"present \(fields, cars\).*\(1, 5\)"),
        (
            {"embeddings": torch.zeros(1, 4, 8)},
            PictureError,
            r"embeddings must have shape \(1, 4, 7\), got \(1, 4, 8\)",
        ),
        (
            {"has_image": torch.ones(4, dtype=torch.bool)},
            PictureError,
            r"has_image must have shape \(1, 4\), got \(4,\)",
        ),
    ],
)
def test_wrong_shapes_are_refused(
    network: FieldNetwork, change: dict[str, Tensor], error: type[Exception], message: str
) -> None:
    tabular, embeddings, has_image = field(4)
    inputs = {"tabular": tabular, "embeddings": embeddings, "has_image": has_image, "present": everyone(4)} | change
    with pytest.raises(error, match=message):
        network(**inputs)


def test_widths_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="tabular_dim must be at least 1, got 0"):
        FieldNetwork(0, PICTURE, SMALL)
    with pytest.raises(ConfigError, match="image_dim must be at least 1, got 0"):
        FieldNetwork(FEATURES, 0, SMALL)


def test_the_width_must_divide_among_the_heads() -> None:
    with pytest.raises(ConfigError, match=r"setting 'field': .*width must be divisible by heads, got 30 and 4"):
        Config().changed("field", {"width": 30, "heads": 4})


def test_a_new_network_knows_nothing(network: FieldNetwork) -> None:
    matrix = forecast(network, 20).position
    truth = -matrix[0, torch.arange(20), torch.arange(20)].mean()
    assert float(truth) == pytest.approx(math.log(20), abs=0.6)
