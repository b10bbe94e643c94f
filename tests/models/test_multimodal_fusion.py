"""The fusion network: shapes, missing pictures, gradients, heads, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from f1_predict.errors import ConfigError, FeatureError, LabelError, PictureError
from f1_predict.models import multimodal_fusion
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.vision_encoder import VisionEncoder

FEATURES = 5


@pytest.fixture(scope="module")
def encoder() -> VisionEncoder:
    return VisionEncoder(weights="random")


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small(**changes: Any) -> MultiModalFusionModel:
    """A network on embeddings of four numbers."""
    settings: dict[str, Any] = {
        "image_feature_dim": 4,
        "tabular_input_dim": FEATURES,
        "tabular_dim": 6,
        "hidden": (8, 7),
        "output_dim": 20,
    }
    return MultiModalFusionModel(**(settings | changes))


def pictures(count: int, size: int = 224) -> Tensor:
    return torch.randn(count, 3, size, size)


class TestMultiModalFusionModel:
    def test_forward_pass_shape(self, encoder: VisionEncoder) -> None:
        model = MultiModalFusionModel(512, FEATURES, 22, vision_encoder=encoder).eval_mode()
        output = model(pictures(3), torch.randn(3, FEATURES))
        assert output.shape == (3, 22)
        assert output.dtype == torch.float32
        widths = [(layer.in_features, layer.out_features) for layer in model.modules() if isinstance(layer, nn.Linear)]
        assert widths == [(FEATURES, 128), (640, 256), (256, 128), (128, 22)]
        assert [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)] == [0.3, 0.3]

    def test_missing_image_handling(self, encoder: VisionEncoder) -> None:
        """No pictures at all, and one missing in a batch of 20: the zero vector, and only for the rows concerned."""
        model = MultiModalFusionModel(tabular_input_dim=FEATURES, vision_encoder=encoder).eval_mode()
        tabular, images = torch.randn(20, FEATURES), pictures(20, size=64)
        has_image = torch.ones(20, dtype=torch.bool)
        has_image[7] = False
        images[7] = math.nan  # what a masked row holds does not matter
        with torch.no_grad():
            none = model(None, tabular)
            mixed = model(images, tabular, has_image)
            some = [0, 6, 8, 19]
            alone = model(images[some], tabular[some])
            torch.testing.assert_close(model.fuse(torch.zeros(20, 512), tabular), none, rtol=0, atol=0)
        assert torch.isfinite(mixed).all()
        torch.testing.assert_close(mixed[7], none[7], rtol=0, atol=0)
        torch.testing.assert_close(mixed[some], alone, rtol=1e-4, atol=1e-6)
        assert (mixed - none)[has_image].abs().amax(dim=1).min() > 1e-3  # every picture matters

    def test_gradient_flow(self, encoder: VisionEncoder) -> None:
        model = MultiModalFusionModel(tabular_input_dim=FEATURES, vision_encoder=encoder).train_mode()
        before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)  # the design's line: all parameters
        loss = model.loss(model.logits(pictures(4, 64), torch.randn(4, FEATURES)), torch.tensor([0, 5, 11, 19]))
        loss.backward()
        for name, parameter in model.named_parameters():
            if "vision_encoder" in name:
                assert parameter.grad is None
                assert not parameter.requires_grad
            else:
                assert parameter.grad is not None
                assert parameter.grad.abs().max() > 0, name
        optimiser.step()
        for name, tensor in encoder.state_dict().items():  # running statistics of batch-norm included
            assert torch.equal(tensor, before[name]), name

    def test_batch_consistency(self, encoder: VisionEncoder) -> None:
        model = MultiModalFusionModel(tabular_input_dim=FEATURES, vision_encoder=encoder).eval_mode()
        images, tabular = pictures(4), torch.randn(4, FEATURES)
        with torch.no_grad():
            first = model(images, tabular)
            assert torch.equal(model(images, tabular), first)
            alone = torch.cat([model(images[i : i + 1], tabular[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(alone, first, rtol=1e-4, atol=1e-6)
        assert not torch.equal(first[0], first[1])

    @pytest.mark.parametrize("head", ["position", "position_regression", "finish"])
    def test_output_range(self, head: Any) -> None:
        model = small(head=head).eval_mode()
        output = model.fuse(100 * torch.randn(50, 4), 8 * torch.randn(50, FEATURES))
        assert output.shape == (50, 20 if head == "position" else 1)
        assert ((output >= 0) & (output <= 1)).all()
        if head == "position":
            torch.testing.assert_close(output.sum(dim=1), torch.ones(50))
        assert output.std() > 0

    def test_eval_and_train_mode_return_the_model(self, encoder: VisionEncoder) -> None:
        model = MultiModalFusionModel(tabular_input_dim=FEATURES, vision_encoder=encoder)
        assert model.train_mode() is model
        assert model.training
        assert not any(module.training for module in encoder.backbone.modules())
        tabular = torch.randn(8, FEATURES)
        assert not torch.equal(model(None, tabular), model(None, tabular))  # dropout
        assert model.eval_mode() is model
        assert torch.equal(model(None, tabular), model(None, tabular))


class TestHeadsAndLoss:
    def test_forward_is_the_activated_logits(self) -> None:
        features, tabular = torch.randn(6, 4), torch.randn(6, FEATURES)
        model = small().eval_mode()
        torch.testing.assert_close(model.fuse(features, tabular), model.fuse_logits(features, tabular).softmax(dim=1))
        model = small(head="finish").eval_mode()
        torch.testing.assert_close(model.fuse(features, tabular), model.fuse_logits(features, tabular).sigmoid())

    def test_loss_of_each_head(self) -> None:
        logits = torch.zeros(2, 20)
        assert small().loss(logits, torch.tensor([0, 19])).item() == pytest.approx(math.log(20))
        regression = small(head="position_regression")
        assert regression.loss(torch.zeros(2, 1), torch.tensor([0.0, 0.25])).item() == pytest.approx(
            (0.5**2 + 0.25**2) / 2
        )
        finish = small(head="finish")
        assert finish.loss(torch.tensor([[2.0]]), torch.tensor([1])).item() == pytest.approx(math.log(1 + math.exp(-2)))

    def test_loss_stays_finite_where_probabilities_round_to_zero(self) -> None:
        logits = torch.zeros(1, 20)
        logits[0, 0] = 500.0
        assert small().loss(logits, torch.tensor([3])).item() == pytest.approx(500.0)

    @pytest.mark.parametrize(("head", "bad"), [("position", 20), ("position", -1), ("finish", 2.0)])
    def test_targets_outside_the_classes_are_refused(self, head: Any, bad: float) -> None:
        model = small(head=head)
        logits = torch.zeros(2, model.output_dim)
        with pytest.raises(LabelError, match=rf"targets of head '{head}' must be in 0 .. (19|1), row 1 is {bad}"):
            model.loss(logits, torch.tensor([0, bad]))

    def test_shapes_of_the_loss_are_checked(self) -> None:
        with pytest.raises(LabelError, match=r"targets must have shape \(2,\), got \(3,\)"):
            small().loss(torch.zeros(2, 20), torch.zeros(3))
        with pytest.raises(LabelError, match=r"logits must have shape \(B, 20\), got \(2, 1\)"):
            small().loss(torch.zeros(2, 1), torch.zeros(2))

    def test_a_few_steps_learn_the_labels(self) -> None:
        features, tabular = torch.randn(16, 4), torch.randn(16, FEATURES)
        targets = torch.arange(16) % 4
        model = small(output_dim=4, dropout=0.0, hidden=(32, 32)).train_mode()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        first = model.loss(model.fuse_logits(features, tabular), targets).item()
        for _ in range(60):
            optimiser.zero_grad()
            loss = model.loss(model.fuse_logits(features, tabular), targets)
            loss.backward()
            optimiser.step()
        assert loss.item() < first / 3


class TestImageStatistics:
    def test_standardising_equals_standardised_inputs(self) -> None:
        model = small().eval_mode()
        features, tabular = 3.0 * torch.randn(6, 4) + 50.0, torch.randn(6, FEATURES)
        mean, std = features.mean(dim=0), features.std(dim=0)
        expected = model.fuse((features - mean) / std, tabular)
        absent = model.fuse(None, tabular)
        model.set_image_statistics(mean, std)
        torch.testing.assert_close(model.fuse(features, tabular), expected)
        assert torch.equal(model.fuse(None, tabular), absent)  # zero comes after standardising
        masked = model.fuse(torch.full((6, 4), math.inf), tabular, torch.zeros(6, dtype=torch.bool))
        assert torch.equal(masked, absent)
        torch.testing.assert_close(model.fuse(mean.expand(6, 4), tabular), absent)  # the average picture

    def test_a_channel_that_never_moves_counts_as_one(self) -> None:
        model = small()
        model.set_image_statistics(torch.tensor([0.0, 0.0, -40.0, 3.0]), torch.tensor([2.0, 0.0, 1e-5, 0.5]))
        assert model.image_scale.tolist() == [2.0, 1.0, 1.0, 0.5]

    @pytest.mark.parametrize(
        ("mean", "std", "message"),
        [
            (torch.zeros(3), torch.ones(4), r"mean must have shape \(4,\), got \(3,\)"),
            (torch.zeros(4), torch.ones(4, 1), r"std must have shape \(4,\), got \(4, 1\)"),
            (torch.full((4,), math.nan), torch.ones(4), "mean of the embeddings must be finite"),
            (torch.zeros(4), -torch.ones(4), "std must not be negative"),
        ],
    )
    def test_unusable_statistics_are_refused(self, mean: Tensor, std: Tensor, message: str) -> None:
        with pytest.raises(FeatureError, match=message):
            small().set_image_statistics(mean, std)


class TestBackboneStaysOutside:
    def test_embeddings_alone_never_make_a_backbone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> VisionEncoder:
            raise RuntimeError("a backbone was made")

        monkeypatch.setattr(multimodal_fusion, "VisionEncoder", refuse)
        model = MultiModalFusionModel(tabular_input_dim=FEATURES).eval_mode()
        model.fuse(torch.randn(2, 512), torch.randn(2, FEATURES))
        model(None, torch.randn(2, FEATURES))
        nobody = torch.zeros(2, dtype=torch.bool)
        model(pictures(2, 32), torch.randn(2, FEATURES), nobody)
        with pytest.raises(RuntimeError, match="a backbone was made"):
            model(pictures(2, 32), torch.randn(2, FEATURES))

    def test_it_is_made_once_when_pictures_come(self, monkeypatch: pytest.MonkeyPatch, encoder: VisionEncoder) -> None:
        made: list[VisionEncoder] = []

        def make() -> VisionEncoder:
            made.append(encoder)
            return encoder

        monkeypatch.setattr(multimodal_fusion, "VisionEncoder", make)
        model = MultiModalFusionModel(tabular_input_dim=FEATURES).eval_mode()
        images, tabular = pictures(2), torch.randn(2, FEATURES)
        output = model(images, tabular)
        model(images, tabular)
        assert len(made) == 1
        assert model.vision_encoder is encoder
        torch.testing.assert_close(output, model.fuse(encoder(images), tabular))

    def test_state_has_no_backbone_and_loads_into_a_model_with_or_without_one(self, encoder: VisionEncoder) -> None:
        model = MultiModalFusionModel(tabular_input_dim=FEATURES, vision_encoder=encoder).eval_mode()
        model.set_image_statistics(torch.randn(512), torch.rand(512))
        state = model.head_state_dict()
        assert not [name for name in state if "encoder." in name and "tabular_encoder" not in name]
        assert {"image_mean", "image_scale", "tabular_encoder.0.weight", "fusion_network.6.bias"} <= set(state)
        features, tabular = torch.randn(3, 512), torch.randn(3, FEATURES)
        for backbone in (encoder, None):
            other = MultiModalFusionModel(tabular_input_dim=FEATURES, vision_encoder=backbone).eval_mode()
            other.load_head_state_dict(state)
            assert torch.equal(other.fuse(features, tabular), model.fuse(features, tabular))

    def test_it_stays_outside_when_the_model_is_part_of_another(self, encoder: VisionEncoder) -> None:
        outer = nn.ModuleDict({"net": small(image_feature_dim=512, vision_encoder=encoder)})
        state = outer.state_dict()
        assert sorted(state)[0] == "net.fusion_network.0.bias"
        assert not [name for name in state if "_vision_encoder" in name]
        outer.load_state_dict(state)

    @pytest.mark.parametrize("change", ["missing", "strange", "shape"])
    def test_another_networks_tensors_are_refused(self, change: str) -> None:
        model = small()
        state = model.head_state_dict()
        if change == "missing":
            del state["image_mean"]
        elif change == "strange":
            state["layer9.weight"] = torch.zeros(1)
        else:
            state["image_mean"] = torch.zeros(5)
        with pytest.raises(FeatureError, match=r"the tensors are not of this network: .*(image_mean|layer9)"):
            model.load_head_state_dict(state)


class TestRefusals:
    def test_tabular_width_must_be_given(self) -> None:
        with pytest.raises(ConfigError, match=r"tabular_input_dim must be given: the number of features"):
            MultiModalFusionModel()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"output_dim": 0}, "output_dim must be at least 1, got 0"),
            ({"tabular_input_dim": -2}, "tabular_input_dim must be at least 1, got -2"),
            ({"hidden": (8, 0)}, r"hidden\[1\] must be at least 1, got 0"),
            ({"head": "podium"}, "head must be one of position, position_regression, finish, got 'podium'"),
            ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ],
    )
    def test_unusable_settings(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            small(**changes)

    def test_an_encoder_of_another_width(self, encoder: VisionEncoder) -> None:
        with pytest.raises(ConfigError, match="image_feature_dim must be the encoder's 512, got 4"):
            small(vision_encoder=encoder)

    def test_unknown_values_in_the_table(self) -> None:
        tabular = torch.zeros(3, FEATURES)
        tabular[1, 2] = math.nan
        with pytest.raises(
            FeatureError, match=r"tabular_features must be finite, row 1 column 2 is nan. Pass .*FeatureNormaliser"
        ):
            small()(None, tabular)

    def test_embeddings_that_are_not_finite(self) -> None:
        features = torch.zeros(2, 4)
        features[1, 3] = math.inf
        with pytest.raises(FeatureError, match="image_features must be finite, row 1 column 3 is inf"):
            small().fuse(features, torch.zeros(2, FEATURES))

    @pytest.mark.parametrize(
        ("tabular", "message"),
        [
            (torch.zeros(2, FEATURES + 1), rf"must have shape \(B, {FEATURES}\), got \(2, {FEATURES + 1}\)"),
            (torch.zeros(FEATURES), rf"must have shape \(B, {FEATURES}\), got \({FEATURES},\)"),
            (torch.zeros(2, FEATURES, dtype=torch.int64), "must be floating point, got torch.int64"),
        ],
    )
    def test_tables_of_another_shape(self, tabular: Tensor, message: str) -> None:
        with pytest.raises(FeatureError, match=f"tabular_features {message}"):
            small()(None, tabular)

    def test_rows_that_do_not_match(self) -> None:
        tabular = torch.zeros(20, FEATURES)
        with pytest.raises(PictureError, match=r"images must have the 20 rows of tabular_features, got 19.*collate"):
            small()(pictures(19, 8), tabular)
        with pytest.raises(FeatureError, match=r"image_features must have shape \(20, 4\), got \(19, 4\)"):
            small().fuse(torch.zeros(19, 4), tabular)
        for mask in (torch.ones(19, dtype=torch.bool), torch.ones(20)):
            with pytest.raises(PictureError, match=r"has_image must be bool of shape \(20,\), got"):
                small().fuse(torch.zeros(20, 4), tabular, mask)

    def test_no_rows_give_no_rows(self) -> None:
        assert small().eval_mode()(None, torch.zeros(0, FEATURES)).shape == (0, 20)
