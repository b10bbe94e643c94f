"""How reliable forecasts have been, from a scorecard, as plain data for a page.

Takes the scorecard's numbers as they are; computes none.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from f1_predict.evaluation import ladder
from f1_predict.evaluation.metrics import EVENTS
from f1_predict.evaluation.scorecard import Scorecard

SCORES = ("log_loss", "mae", "accuracy")


def reliability_of(card: Scorecard, model: str, rung: str = ladder.DESIGN_CANDIDATE) -> dict[str, Any]:
    """What a backtest says of each model at each moment that it forecast.

    Args:
        card: of the predictions.
        model: the one that is served; its own record is shown first if it has one.
        rung: of the ladder, the network of the same kind: its record is shown first otherwise.

    Returns:
        races, seasons, shown (the model to begin with), models: a dictionary a model of name, about and moments, each
        of fraction, scores (metric -> value, low, high) and events (event -> bins of rows, mean_probability,
        frequency).
    """
    shown = next((name for name in (model, rung) if name in card.models), card.models[0])
    about = ladder.RUNGS | ladder.ABLATIONS
    return {
        "races": card.races,
        "seasons": [card.seasons[0], card.seasons[-1]],
        "shown": shown,
        "models": [
            {
                "name": name,
                "about": about.get(name, "a model of this predictions file"),
                "moments": [_moment(card, name, fraction) for fraction in card.scores[name]],
            }
            for name in card.models
        ],
    }


def _moment(card: Scorecard, model: str, fraction: float) -> dict[str, Any]:
    bins = card.reliability.filter((pl.col("model") == model) & (pl.col("fraction") == fraction))
    events = {
        event: bins.filter(pl.col("event") == event).select("rows", "mean_probability", "frequency").to_dicts()
        for event in EVENTS
        if event in bins["event"]
    }
    scores = {}
    for name in SCORES:
        low, high = card.intervals[model][fraction][name]
        scores[name] = {"value": card.scores[model][fraction][name], "low": low, "high": high}
    return {"fraction": fraction, "scores": scores, "events": events}
