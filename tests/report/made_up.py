"""Made-up forecasts of simulated races, quick and of known quality: noise around the true order, softened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from f1_predict.errors import HorizonError
from f1_predict.evaluation.predictions import prediction_rows
from f1_predict.features.order import current_order, start_order
from f1_predict.horizon import RaceArchive

LADDER = {
    "uniform": None,
    "grid": 0.0,
    "current_order": 0.0,
    "ensemble_pre": 0.1,
    "network_table": 0.15,
    "network_fusion": 0.28,
    "ensemble_inrace": 0.4,
    "best": 0.42,
}
"""Model -> how far it looks from the order as it stands to the true one; None knows nothing."""


def made_up(
    archive: RaceArchive,
    race_ids: Sequence[str],
    fractions: Sequence[float],
    models: Mapping[str, float | None] = LADDER,
    finish: bool = True,
) -> pl.DataFrame:
    """Predictions of races by models that peek at the result, each to its own degree."""
    rng = np.random.default_rng(5)
    rows = []
    for race_id in race_ids:
        results = dict(archive.rows("results", race_id).select("driver_id", "position").iter_rows())
        for fraction in fractions:
            try:
                snapshot = archive.snapshot(race_id, archive.horizon_at(race_id, fraction))
            except HorizonError:
                continue
            n = snapshot.entries.height
            order = start_order(snapshot) if fraction == 0 else current_order(snapshot)
            truth = np.array([results.get(driver, order[i]) for i, driver in enumerate(snapshot.driver_ids)])
            for model, peek in models.items():
                if fraction == 0 and model == "current_order":
                    continue
                if peek is None:
                    probs = np.full((n, n), 1.0 / n)
                else:
                    base = start_order(snapshot) if model in ("grid", "ensemble_pre") else order
                    centre = base + peek * (truth - base) + rng.normal(0.0, 0.6, n) * (peek > 0)
                    width = 1.2 + 3.0 * (1.0 - fraction)
                    distance = np.abs(np.arange(1, n + 1)[None, :] - centre[:, None])
                    probs = np.exp(-distance / width) + 0.02
                    probs /= probs.sum(axis=1, keepdims=True)
                seen = np.isin(snapshot.driver_ids, snapshot.laps["driver_id"].unique().to_list()) | (fraction == 0)
                sees = model in ("network_fusion", "best")
                p_finish = np.clip(0.95 - 0.03 * order + 0.2 * fraction, 0.02, 0.98) if finish and peek else None
                rows.append(prediction_rows(snapshot, fraction, model, probs, p_finish, seen & sees))
    return pl.concat(rows)
