"""End to end on simulated races: draw, encode, train, compare, forecast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from f1_predict.config import Head
from f1_predict.errors import DataError
from f1_predict.evaluation.compare import compare, train_with_fewer_pictures
from f1_predict.evaluation.latency import measure_latency
from f1_predict.horizon import AfterLap
from f1_predict.models.multimodal_dataset import MultiModalDataset, collate
from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.normaliser import FeatureNormaliser
from f1_predict.models.probabilities import coherent, to_field
from f1_predict.training.artefacts import load_model
from f1_predict.training.train import EncodedDataset, for_finish, load_forecaster, save_network, train_network
from tests.integration.conftest import HALF, World


class TestMultiModalIntegration:
    """The whole line, from laps to forecasts."""

    def test_train_one_epoch(self, world: World) -> None:
        """One epoch over pictures from disk, batch by batch as the design writes it, lowers the loss."""
        assert world.summary.pictures >= 100
        assert world.summary.success_rate == 1.0
        dataset = MultiModalDataset(world.cache_file, world.pictures, split="train")
        torch.manual_seed(0)
        model = MultiModalFusionModel(
            tabular_input_dim=len(dataset.feature_names), output_dim=18, vision_encoder=world.encoder
        )
        seen = torch.from_numpy(world.train.embeddings[world.train.has_image])
        model.set_image_statistics(seen.mean(dim=0), seen.std(dim=0))
        before = _mean_loss(model, world)
        assert before == pytest.approx(np.log(18), abs=0.2)
        generator = torch.Generator().manual_seed(0)
        loader = DataLoader(dataset, batch_size=32, shuffle=True, collate_fn=collate, generator=generator)
        optimiser = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-3)
        model.train_mode()
        batches = 0
        for images, has_image, tabular, labels in loader:
            loss = model.loss(model.logits(images, tabular, has_image), labels - 1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            batches += 1
        assert batches == -(-len(dataset) // 32)
        assert _mean_loss(model, world) < before - 0.1

    def test_baseline_vs_multimodal_comparison(self, world: World) -> None:
        """At half distance the pictures tell more than any table known before the start."""
        comparison = compare(world.archive, world.train, world.validation, world.test, world.config)
        at_half = {model: scores[HALF] for model, scores in comparison.scores.items()}
        assert at_half["network_fusion"]["accuracy"] >= at_half["ensemble_pre"]["accuracy"]
        assert at_half["network_fusion"]["accuracy"] >= at_half["network_table"]["accuracy"]
        assert at_half["network_fusion"]["mae"] < at_half["network_table"]["mae"]
        measured = {(i.fraction, i.rival, i.metric): i.change for i in comparison.improvements}
        change = measured[HALF, "ensemble_pre", "accuracy"]
        rival, candidate = at_half["ensemble_pre"]["accuracy"], at_half["network_fusion"]["accuracy"]
        assert change.improvement == pytest.approx(100.0 * (candidate - rival) / rival)
        assert change.low <= change.improvement <= change.high
        assert change.races == 5
        for model, scores in comparison.scores.items():
            for fraction, values in scores.items():
                assert values["log_loss"] < np.log(18) + 0.6, (model, fraction)
        uniform = comparison.scores["uniform"][0.0]
        assert uniform["log_loss"] == pytest.approx(np.log(18))

    def test_inference_latency(self, world: World, tmp_path: Path) -> None:
        """The design's bound, on 100 forecasts or more: less than one second each, drawing and encoding included."""
        network = train_network(world.train, world.validation, world.config.changed("training", {"epochs": 1}))
        folder = save_network(tmp_path / "model", network, world.train, world.validation, world.encoder, world.config)
        forecaster = load_forecaster(folder, world.encoder)
        race_id = world.archive.race_ids[-1]
        snapshots = [world.archive.snapshot(race_id, AfterLap(lap)) for lap in range(10, 16)]
        latency = measure_latency(forecaster, snapshots)
        forecasts = [forecaster.predict(snapshot) for snapshot in snapshots]
        assert sum(forecast.height for forecast in forecasts) >= 100
        assert 0.0 < latency.one_driver <= latency.one_driver_slowest < 1000.0
        assert latency.field_per_prediction < 1000.0
        assert latency.slowest_prediction < 1000.0
        assert latency.calls == len(snapshots)
        for forecast in forecasts:
            assert sorted(forecast["predicted_rank"]) == list(range(1, 19))
            np.testing.assert_allclose(np.array(forecast["position_probs"].to_list()).sum(axis=1), 1.0, atol=1e-9)

    def test_missing_images_mixed_batch(self, world: World) -> None:
        """A fifth of the pictures is gone: training goes on, and the loss of accuracy is a number."""
        lost = world.train.without_pictures(0.2, seed=1)
        assert 0.1 < 1.0 - lost.has_image.sum() / world.train.has_image.sum() < 0.3
        assert (lost.embeddings[~lost.has_image] == 0.0).all()
        parts = (world.archive, world.train, world.validation, world.test, world.config)
        whole = train_with_fewer_pictures(*parts, share=0.0)
        fewer = train_with_fewer_pictures(*parts, share=0.2)
        none = train_with_fewer_pictures(*parts, share=1.0)
        assert whole.scores[HALF]["accuracy"] > none.scores[HALF]["accuracy"]
        assert whole.scores[HALF]["mae"] < fewer.scores[HALF]["mae"] < none.scores[HALF]["mae"]


def _normaliser(rows: EncodedDataset) -> FeatureNormaliser:
    return FeatureNormaliser.fit(rows.dataset.tabular_raw, rows.dataset.feature_names)


def _mean_loss(model: MultiModalFusionModel, world: World) -> float:
    """Cross-entropy of the training rows, in nats, without dropout."""
    rows = world.train
    with torch.inference_mode():
        logits = model.eval_mode().fuse_logits(
            torch.from_numpy(rows.embeddings),
            torch.from_numpy(_normaliser(rows).transform(rows.dataset.tabular_raw)),
            torch.from_numpy(rows.has_image),
        )
        return model.loss(logits, torch.from_numpy(rows.dataset.positions) - 1).item()


def test_a_model_folder_forecasts_as_the_network_it_was_saved_from(world: World, tmp_path: Path) -> None:
    """Pictures drawn in memory and features built one race at a time give what the dataset's rows gave."""
    network = train_network(world.train, world.validation, world.config.changed("training", {"epochs": 2}))
    folder = save_network(tmp_path / "model", network, world.train, world.validation, world.encoder, world.config)
    forecaster = load_forecaster(folder, world.encoder)
    output = network.predict(world.test)
    race_id, lap = world.test.dataset.race_ids[0], None
    rows = [row for row, other in enumerate(world.test.dataset.race_ids) if other == race_id]
    rows = [row for row in rows if world.test.dataset.horizons[row] != "pre_race"]
    lap = int(world.test.dataset.horizons[rows[0]].removeprefix("lap_"))
    forecast = forecaster.predict(world.archive.snapshot(race_id, AfterLap(lap)))
    assert forecast["driver_id"].to_list() == [world.test.dataset.driver_ids[row] for row in rows]
    balanced = coherent(to_field(output[rows], len(rows)))
    np.testing.assert_allclose(np.array(forecast["position_probs"].to_list()), balanced, atol=1e-5)
    assert forecast["p_win"].sum() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("head", ["position", "position_regression", "finish"])
def test_every_head_learns_and_is_saved(world: World, tmp_path: Path, head: Head) -> None:
    """Each head's training loss falls, and its folder gives the same output again; only two forecast places."""
    config = world.config.changed("fusion", {"head": head}).changed("training", {"epochs": 4})
    network = train_network(world.train, world.validation, config)
    losses = [report.train_loss for report in network.result.history]
    assert losses[-1] < losses[0]
    beside = None if head == "finish" else train_network(world.train, world.validation, for_finish(config))
    save_network(tmp_path / "model", network, world.train, world.validation, world.encoder, config, beside)
    model, manifest, finish = load_model(tmp_path / "model", encoder=world.encoder)
    again = replace(network, model=model, normaliser=manifest.restore_normaliser())
    np.testing.assert_array_equal(again.predict(world.test), network.predict(world.test))
    assert (network.sigma is None) == (head != "position_regression")
    snapshot = world.archive.snapshot(world.archive.race_ids[-1], AfterLap(10))
    forecast = load_forecaster(tmp_path / "model", world.encoder).predict(snapshot)
    assert forecast["p_finish"].is_between(0.0, 1.0).all()
    if beside is None:
        assert forecast["p_win"].is_null().all()
        assert finish is None
    else:
        np.testing.assert_array_equal(replace(beside, model=finish).predict(world.test), beside.predict(world.test))
        assert beside.result.history[-1].train_loss < beside.result.history[0].train_loss
        assert sorted(forecast["predicted_rank"]) == list(range(1, 19))


def test_rows_in_another_order_than_the_entries_are_refused(world: World) -> None:
    """The same drivers and positions, swapped in the file: their forecasts would go to each other."""
    order = np.arange(len(world.test))
    order[[0, 1]] = order[[1, 0]]
    with pytest.raises(DataError, match=f"drivers or positions of {world.test.dataset.race_ids[0]} are not those"):
        compare(world.archive, world.train, world.validation, world.test.take(order), world.config)
