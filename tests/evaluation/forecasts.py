"""Random predictions with races and results to score them: fields of several sizes, untidy order, seeded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl

from f1_predict.evaluation.predictions import PREDICTION_COLUMNS
from f1_predict.horizon.horizons import lap_of_fraction
from f1_predict.models.probabilities import summarise
from f1_predict.schemas import dtypes

SIZES = (18, 22, 12, 20, 20, 24)
LAPS = 57


def race_ids(races: int = len(SIZES)) -> list[str]:
    """Two seasons; rounds up to 12, so that the order of the names is not the order of time."""
    return [f"{2101 + i // 3}_race_{(2, 9, 12)[i % 3]}" for i in range(races)]


def calendar_and_results(seed: int = 0, sizes: Sequence[int] = SIZES) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Canonical `races` and `results`; driver_00 tends to come first."""
    rng = np.random.default_rng(seed)
    races, results = [], []
    for number, (race_id, n) in enumerate(zip(race_ids(len(sizes)), sizes, strict=True)):
        season, round_ = int(race_id[:4]), int(race_id.rsplit("_", 1)[1])
        races.append(
            {
                "race_id": race_id,
                "season": season,
                "round": round_,
                "name": f"Grand Prix {number}",
                "date": date(season, 3, 1) + timedelta(weeks=round_),
                "circuit_id": "ring",
                "course_length_km": 5.0,
                "scheduled_laps": LAPS,
            }
        )
        order = np.argsort(np.argsort(np.arange(n) + rng.normal(0.0, 3.0, size=n)))
        for driver, position in enumerate(order + 1):
            results.append(
                {
                    "race_id": race_id,
                    "driver_id": f"driver_{driver:02d}",
                    "position": int(position),
                    "classified": bool(rng.random() < 0.8),
                    "status": "Finished",
                    "laps_completed": LAPS,
                }
            )
    return pl.DataFrame(races, schema=dtypes("races")), pl.DataFrame(results, schema=dtypes("results"))


def forecast_rows(
    race_id: str, n: int, model: str, fraction: float, probs: np.ndarray, rng: np.random.Generator, finish: bool
) -> pl.DataFrame:
    """One model's forecast of a field, drivers driver_00, driver_01, ..."""
    made = summarise(probs)
    lap = lap_of_fraction(fraction, LAPS) if fraction else 0
    return pl.DataFrame(
        {
            "race_id": [race_id] * n,
            "driver_id": [f"driver_{i:02d}" for i in range(n)],
            "model": [model] * n,
            "horizon": [f"lap_{lap}" if lap else "pre_race"] * n,
            "fraction": [fraction] * n,
            "cutoff_lap": [lap] * n,
            "n_starters": [n] * n,
            "position_probs": probs.tolist(),
            "expected_position": made.expected_position,
            "predicted_rank": made.predicted_rank,
            "p_win": made.p_win,
            "p_podium": made.p_podium,
            "p_points": made.p_points,
            "p_finish": rng.random(n) if finish else [None] * n,
            "has_image": rng.random(n) < 0.7,
        },
        schema=PREDICTION_COLUMNS,
    )


def random_predictions(
    models: Sequence[str],
    fractions: Sequence[float] = (0.0, 0.5),
    sizes: Sequence[int] = SIZES,
    seed: int = 1,
    with_finish: Sequence[str] = (),
) -> pl.DataFrame:
    """Forecasts that know a little: as in the results, driver_00 tends to come first. `uniform` is uniform."""
    rng = np.random.default_rng(seed)
    frames = []
    for race_id, n in zip(race_ids(len(sizes)), sizes, strict=True):
        for fraction in fractions:
            for model in models:
                if model == "current_order" and fraction == 0.0:
                    continue
                near = np.exp(-np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / 3.0)
                probs = near * rng.gamma(0.7, size=(n, n))
                probs /= probs.sum(axis=1, keepdims=True)
                if model == "uniform":
                    probs = np.full((n, n), 1.0 / n)
                frames.append(forecast_rows(race_id, n, model, fraction, probs, rng, model in with_finish))
    return pl.concat(frames)


def replaced(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    """A copy in which one row has other values."""
    rows = frame.to_dicts()
    rows[row] |= values
    return pl.DataFrame(rows, schema=frame.schema)
