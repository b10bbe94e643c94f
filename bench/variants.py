"""What the faster runtimes of the encoder change: its numbers, and the forecasts made with them, on later races."""

from __future__ import annotations

from typing import Any

import numpy as np
from bench.world import CONFIG, Learner, World

from f1_predict.models.multimodal_fusion import MultiModalFusionModel
from f1_predict.models.probabilities import coherent, summarise, to_field
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.training.cut_embeddings import CutEmbeddings
from f1_predict.training.cut_table import CutTable, build_cut_table
from f1_predict.training.fit import predict

VALIDATION_SHARE = 0.15


def compare(
    world: World, made: dict[str, VisionEncoder], learner: Learner, rows: int
) -> tuple[list[dict[str, Any]], str]:
    """Each runtime against the reference on races later than those learnt from.

    One network is fitted on the reference's embeddings; then the embeddings of the other runtimes are put in the
    place of the reference's, and nothing else is changed.

    Returns:
        For each runtime what changed, and what was compared, in words.
    """
    network = _network(learner)
    cuts = world.cuts(rows)
    embedded: dict[str, list[CutEmbeddings]] = {name: [] for name in made}
    generator = SpeedTraceGenerator()
    for race_id, horizon in cuts:
        traces = generator.render(world.archive.snapshot(race_id, horizon))
        for name, encoder in made.items():
            vectors = np.zeros((len(traces.present), encoder.feature_dim), dtype=np.float32)
            if traces.present.any():
                vectors[traces.present] = encoder.encode_arrays(traces.images[traces.present])
            embedded[name].append(CutEmbeddings(vectors, traces.present))
    reference = next(iter(made))
    tables = {
        name: build_cut_table(world.archive, cuts, dict(zip(cuts, found, strict=True)), 512, CONFIG.features)
        for name, found in embedded.items()
    }
    known = {name: _forecasts(network, learner, table) for name, table in tables.items()}
    base, base_ranks = known[reference]
    told = []
    for name, (losses, ranks) in known.items():
        ours, theirs = tables[name].embeddings, tables[reference].embeddings
        cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
        moved = np.abs(ranks - base_ranks)
        told.append(
            {
                "runtime": name,
                "cosine_mean": float(cosine.mean()),
                "cosine_least": float(cosine.min()),
                "log_loss": float(losses.mean()),
                "log_loss_change_percent": float(100.0 * (losses.mean() / base.mean() - 1.0)),
                "largest_change_of_a_probability": float(np.abs(np.exp(-losses) - np.exp(-base)).max()),
                "ranks_changed_percent": float(100.0 * (moved > 0).mean()),
                "rank_change_mean": float(moved.mean()),
                "rank_change_most": int(moved.max()),
            }
        )
    races = len({race_id for race_id, _ in cuts})
    words = f"{len(base):,} rows of {races} races at {len(cuts)} moments ({world.told}), later than those learnt from"
    return told, words


def _network(learner: Learner) -> MultiModalFusionModel:
    """Fitted on the earlier rows, its epoch chosen on the later ones."""
    rows = learner.rows(learner.table)
    first = int(len(rows) * (1.0 - VALIDATION_SHARE))

    def part(own: slice) -> Any:
        return type(rows)(**{name: None if value is None else value[own] for name, value in vars(rows).items()})

    return learner.train(part(slice(first)), part(slice(first, None)), CONFIG.training.epochs)


def _forecasts(network: MultiModalFusionModel, learner: Learner, table: CutTable) -> tuple[np.ndarray, np.ndarray]:
    """Log-loss and predicted rank of every row."""
    output = predict(network, learner.rows(table))
    losses, ranks = [], []
    for first, field in table.cuts.select("first_row", "starters").iter_rows():
        own = slice(first, first + field)
        probabilities = coherent(to_field(output[own], field))
        placed = probabilities[np.arange(field), table.positions[own] - 1]
        losses.append(-np.log(np.maximum(placed, 1e-15)))
        ranks.append(summarise(probabilities).predicted_rank)
    return np.concatenate(losses), np.concatenate(ranks)
