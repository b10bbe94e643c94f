"""The ladder of models: their names, their order in every table, and what each may see."""

from __future__ import annotations

RUNGS: dict[str, str] = {
    "uniform": "every place equally likely",
    "grid": "how often each grid slot ended where, counted on past races",
    "current_order": "how often each running position ended where, counted on past races at this part of the race",
    "ensemble_pre": "boosting, forest and ordinal regression on what is known before the race",
    "network_table": "the design's network on the table, every picture masked",
    "network_fusion": "the design's network on picture and table",
    "ensemble_inrace": "boosting, forest and ordinal regression with hand-made in-race features: the strong rival",
    "best": "attention over the field, on picture, table and in-race features",
}
"""Rung -> what it is, in the order of every table."""

DESIGN_CANDIDATE, DESIGN_RIVALS = "network_fusion", ("ensemble_pre", "network_table")
DESIGN_TARGET = 5.0
"""The design asks that the first be better than the others by more than so many percent."""
EXPERT_CANDIDATE, EXPERT_RIVAL = "best", "ensemble_inrace"
"""The comparison that counts for an expert."""
PERSISTENCE = "current_order"
"""What skill during the race is measured against; before the race it is the order of the grid."""
ABLATIONS: dict[str, str] = {
    "best_without_pictures": "the network of `best`, trained with pictures, every picture masked when it forecasts",
}
"""No rungs: further rows that a backtest writes to tell what a part is worth."""
TUNING = (
    "settings of the models were chosen on 2011-2012, fitted on 1996-2010: ensemble_inrace in 19 fits (9 of the whole, "
    "10 of single members), best in 17 and how often it sees which cuts in 4 more on 2013-2014; those of the pre-race "
    "features and of ensemble_pre on seasons to 2018"
)
"""What was tried, so that nobody need guess whether the strong rival got less care."""
FIRST_UNTOUCHED_SEASON = 2019
"""Settings of the pre-race features and of ensemble_pre were chosen on seasons to 2018: from here on, no setting has
been chosen on a season that it is scored on."""
LOOKS_AT_PICTURES = frozenset({DESIGN_CANDIDATE, EXPERT_CANDIDATE})
"""Models whose forecasts say that a row had a picture; the others saw none."""
COUNTED = frozenset({"uniform", "grid", PERSISTENCE})
"""Models that count; the forecasts of all others, which learn, are balanced (probabilities.coherent), one as the
other: every place goes to one driver, and whoever uses such a model would do the same."""
IN_RACE_ONLY = frozenset({"current_order"})
"""Rungs that need a running order, and so do not forecast before the race."""


def moment(fraction: float) -> str:
    """A fraction of the race in words."""
    return "before the race" if fraction == 0 else f"after {fraction:.0%} of the race"


def ordered(models: list[str]) -> list[str]:
    """Names of models, each once: the rungs first, in their order, then the ablations, then all others by name."""
    known = [*RUNGS, *ABLATIONS]
    return [name for name in known if name in models] + sorted(set(models) - set(known))
