"""A scorecard as plain titles, columns and rows for the terminal, 120 columns wide. Computes no score."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from f1_predict.errors import NotFoundError
from f1_predict.evaluation.bootstrap import Change
from f1_predict.evaluation.ladder import (
    ABLATIONS,
    DESIGN_CANDIDATE,
    DESIGN_RIVALS,
    DESIGN_TARGET,
    EXPERT_CANDIDATE,
    EXPERT_RIVAL,
    moment,
)
from f1_predict.evaluation.metrics import HIGHER_IS_BETTER
from f1_predict.evaluation.scorecard import CHANGE_METRICS, PRIMARY, PairedChange, Scorecard
from f1_predict.report.summaries import TableData

MAIN_METRICS = (PRIMARY, "rps", "accuracy", "mae", "spearman")
DESIGN_METRICS = ("accuracy", "log_loss")


def verdict_word(change: Change) -> str:
    """Whether the 95 % interval of the change leaves out 0, in plain words."""
    if change.low > 0.0:
        return "better"
    return "worse" if change.high < 0.0 else "not told apart"


def scorecard_tables(
    card: Scorecard, metrics: Sequence[str] = MAIN_METRICS, against: str | None = None
) -> list[TableData]:
    """The overview, one table a horizon, the design's comparison, the expert's.

    Args:
        card: the scorecard.
        metrics: names in its scores; the first one is shown with its interval and against the rival.
        against: the rival of the tables; the strong rival of the ladder if not given.

    Raises:
        NotFoundError: if no model has a score of that name.
    """
    known = {name for by_fraction in card.scores.values() for scores in by_fraction.values() for name in scores}
    for name in metrics:
        if name not in known:
            raise NotFoundError("metric", name, sorted(known))
    rival = against if against is not None else EXPERT_RIVAL
    tables = [overview_table(card, metrics[0], rival)]
    tables += [horizon_table(card, fraction, metrics, rival) for fraction in card.fractions]
    tables += [table for table in (design_table(card), expert_table(card)) if table is not None]
    return tables


def overview_table(card: Scorecard, metric: str, rival: str) -> TableData:
    """One metric of all models at all horizons, and where they win or lose against the rival."""
    found = _against(card, rival, metric)
    rows = []
    for model in card.models:
        cells = []
        for fraction in card.fractions:
            score = card.scores[model].get(fraction, {}).get(metric)
            change = found.get((model, fraction))
            cells.append(_number(score) + ("" if change is None else f" ({_mark(change)})"))
        rows.append([model, *cells])
    title = f"{metric}, {_direction(metric)}, at each part of the race"
    if found:
        title += f"; in brackets % better (+) or worse (-) than {rival}, * if the 95 % interval leaves out 0"
    return title, ["model", *(_part(fraction) for fraction in card.fractions)], rows


def horizon_table(card: Scorecard, fraction: float, metrics: Sequence[str], rival: str) -> TableData:
    """All models at one horizon: the first metric with its interval and against the rival, then the others."""
    first = metrics[0]
    found = _against(card, rival, first)
    compared = any(part == fraction for _, part in found)
    rows = []
    for model in card.models:
        scores = card.scores[model].get(fraction)
        if scores is None:
            continue
        bounds = card.intervals[model][fraction].get(first)
        cells = [_number(scores.get(first)) + ("" if bounds is None else f" ({bounds[0]:.3f}-{bounds[1]:.3f})")]
        if compared:
            change = found.get((model, fraction))
            cells.append("" if change is None else f"{_interval(change)} {_short_word(change)}".rstrip())
        rows.append([model, *cells, *(_number(scores.get(name)) for name in metrics[1:])])
    columns = ["model", f"{first} (95 %)", *([f"% against {rival}"] if compared else []), *metrics[1:]]
    title = f"Scores {moment(fraction)}"
    if compared:
        title += f"; against {rival}, + is better; without a word the interval holds 0"
    return title, columns, rows


def design_table(card: Scorecard) -> TableData | None:
    """The design's criterion: fusion more than 5 % better than what sees the table only. None without the models."""
    found = [
        item
        for item in card.changes
        if item.candidate == DESIGN_CANDIDATE and item.rival in DESIGN_RIVALS and item.metric in DESIGN_METRICS
    ]
    if not found:
        return None
    columns, rows = _comparison(found)
    for row, item in zip(rows, found, strict=True):
        change = item.change.improvement
        row.append("yes" if isfinite(change) and change > DESIGN_TARGET else "NO")
    return f"The design's criterion: {DESIGN_CANDIDATE}", [*columns, f"> {DESIGN_TARGET:g} %"], rows


def expert_table(card: Scorecard) -> TableData | None:
    """The comparison that counts for an expert, and what pictures are worth in it. None without the models."""
    rivals = (EXPERT_RIVAL, *ABLATIONS)
    found = [item for item in card.changes if item.candidate == EXPERT_CANDIDATE and item.rival in rivals]
    if not found:
        return None
    return (f"The expert's comparison: {EXPERT_CANDIDATE}", *_comparison(found))


def verdicts(card: Scorecard) -> list[str]:
    """The two comparisons in sentences; says so where the file does not have the models."""
    pairs = [*((DESIGN_CANDIDATE, rival) for rival in DESIGN_RIVALS), (EXPERT_CANDIDATE, EXPERT_RIVAL)]
    pairs += [(EXPERT_CANDIDATE, ablation) for ablation in ABLATIONS if ablation in card.models]
    if not {DESIGN_CANDIDATE, EXPERT_CANDIDATE} & set(card.models):
        return [f"Neither {DESIGN_CANDIDATE} nor {EXPERT_CANDIDATE} is among the models: the ladder is not compared."]
    lines = []
    for candidate, rival in pairs:
        found = [
            item for item in card.changes if (item.candidate, item.rival, item.metric) == (candidate, rival, PRIMARY)
        ]
        if not found:
            lacking = [name for name in (candidate, rival) if name not in card.models]
            lines.append(
                f"{candidate} against {rival}: not compared, "
                + (f"the predictions have no {' and no '.join(lacking)}." if lacking else "they share no race.")
            )
            continue
        words: dict[str, list[str]] = {}
        for item in found:
            words.setdefault(verdict_word(item.change), []).append(_when(item.fraction))
        parts = "; ".join(f"{word} {', '.join(when)}" for word, when in words.items())
        lines.append(f"{candidate} against {rival}, {PRIMARY}: {parts}.{_design_verdict(card, candidate, rival)}")
    return lines


def _design_verdict(card: Scorecard, candidate: str, rival: str) -> str:
    found = [
        item for item in card.changes if (item.candidate, item.rival, item.metric) == (candidate, rival, "accuracy")
    ]
    if candidate != DESIGN_CANDIDATE or not found:
        return ""
    met = [item for item in found if isfinite(item.change.improvement) and item.change.improvement > DESIGN_TARGET]
    sure = [item for item in met if item.change.low > DESIGN_TARGET]
    return (
        f" More than {DESIGN_TARGET:g} % better in accuracy at {len(met)} of {len(found)} parts of the race, "
        f"with the whole interval above {DESIGN_TARGET:g} % at {len(sure)}."
    )


def _against(card: Scorecard, rival: str, metric: str) -> dict[tuple[str, float], Change]:
    return {
        (item.candidate, item.fraction): item.change
        for item in card.changes
        if item.rival == rival and item.metric == metric and metric in CHANGE_METRICS
    }


def _comparison(found: Sequence[PairedChange]) -> tuple[list[str], list[list[str]]]:
    columns = ["race run", "against", "metric", "rival", "model", "% better (95 % interval)", "verdict"]
    rows = [
        [
            _part(item.fraction),
            item.rival,
            item.metric,
            _number(item.change.baseline),
            _number(item.change.candidate),
            _interval(item.change),
            verdict_word(item.change),
        ]
        for item in found
    ]
    return columns, rows


def _part(fraction: float) -> str:
    return "before" if fraction == 0 else f"{100 * fraction:.3g} %"


def _when(fraction: float) -> str:
    return "before the race" if fraction == 0 else f"at {_part(fraction)}"


def _direction(metric: str) -> str:
    return "higher is better" if metric in HIGHER_IS_BETTER else "lower is better"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{value:+.1f}" if isfinite(value) else "undefined"


def _mark(change: Change) -> str:
    return _percent(change.improvement) + ("" if change.low <= 0.0 <= change.high else "*")


def _interval(change: Change) -> str:
    return f"{_percent(change.improvement)} ({_percent(change.low)} to {_percent(change.high)})"


def _short_word(change: Change) -> str:
    word = verdict_word(change)
    return word if word in ("better", "worse") else ""
