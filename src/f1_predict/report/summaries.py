"""Tables of a comparison as plain titles, columns and rows: the terminal and the results page render the same."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from f1_predict.evaluation.compare import (
    CANDIDATE,
    LADDER,
    METRICS,
    RIVALS,
    Comparison,
    FewerPictures,
    Improvement,
)
from f1_predict.evaluation.ladder import DESIGN_TARGET, moment
from f1_predict.evaluation.latency import Latency

TableData = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, column names, rows of cells."""
DESIGN_LATENCY_MS = 1000.0


def score_tables(comparison: Comparison) -> list[TableData]:
    """One table per fraction, models in the order of the ladder."""
    fractions = list(comparison.scores[CANDIDATE])
    made: list[TableData] = []
    for fraction in fractions:
        rows = [
            [model, *(f"{comparison.scores[model][fraction][metric]:.3f}" for metric in METRICS)]
            for model in LADDER
            if fraction in comparison.scores.get(model, {})
        ]
        made.append((f"Scores {moment(fraction)}", ["model", *METRICS], rows))
    return made


def _percent(value: float) -> str:
    return f"{value:+.1f}" if isfinite(value) else "undefined"


def _interval(improvement: Improvement) -> str:
    change = improvement.change
    return f"{_percent(change.improvement)} % ({_percent(change.low)} to {_percent(change.high)})"


def improvement_table(comparison: Comparison) -> TableData:
    """The fusion network against its rivals: relative improvement with its 95 % interval."""
    rows = [
        [
            moment(found.fraction),
            found.rival,
            found.metric,
            f"{found.change.baseline:.3f}",
            f"{found.change.candidate:.3f}",
            _interval(found),
            "yes" if found.met else "no",
        ]
        for found in comparison.improvements
    ]
    columns = ["moment", "against", "metric", "rival", "fusion", "better by (95 % interval)", f"> {DESIGN_TARGET:g} %"]
    return f"{CANDIDATE} against the tabular baselines", columns, rows


def verdict(comparison: Comparison) -> str:
    """Whether the design's criterion is met: accuracy more than 5 % better than both tabular-only models."""
    lines = []
    for fraction in comparison.scores[CANDIDATE]:
        found = {(item.rival, item.metric): item for item in comparison.improvements if item.fraction == fraction}
        parts = []
        for rival in RIVALS:
            sure = "" if found[rival, "accuracy"].change.low > 0 else ", an interval that holds 0"
            parts.append(
                f"against {rival} accuracy {_interval(found[rival, 'accuracy'])}{sure}, "
                f"log-loss {_interval(found[rival, 'log_loss'])}"
            )
        met = all(found[rival, "accuracy"].met for rival in RIVALS)
        lines.append(
            f"{moment(fraction)}: the design's 5 % in accuracy is {'met' if met else 'NOT met'}; {'; '.join(parts)}."
        )
    return "\n".join(lines)


def picture_table(comparison: Comparison) -> TableData:
    """Rows with and without a picture, and the fusion network's scores on each."""

    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = [
        [
            moment(share.fraction),
            f"{share.rows:,}",
            f"{share.without / share.rows:.1%}",
            cell(share.accuracy_with),
            cell(share.accuracy_without),
            cell(share.log_loss_with),
            cell(share.log_loss_without),
        ]
        for share in comparison.pictures
    ]
    columns = ["moment", "rows", "no picture", "accuracy with", "without", "log-loss with", "without"]
    return "Pictures that are missing", columns, rows


def latency_table(latency: Latency) -> TableData:
    """Milliseconds from laps to probabilities."""
    rows = [
        ["one driver (batch 1)", f"{latency.one_driver:.0f}"],
        ["a whole field, in one batch", f"{latency.field:.0f}"],
        ["a whole field, per prediction", f"{latency.field_per_prediction:.1f}"],
        ["one driver, slowest of all calls", f"{latency.one_driver_slowest:.0f}"],
        ["on top: features of the field, from all earlier races", f"{latency.features:.0f}"],
        ["slowest single prediction, features included", f"{latency.slowest_prediction:.0f}"],
    ]
    under = "under" if latency.slowest_prediction < DESIGN_LATENCY_MS else "NOT under"
    return f"From laps to probabilities, warm: {under} the design's 1 s a prediction", ["what", "ms"], rows


def fewer_pictures_table(whole: Comparison, fewer: FewerPictures) -> TableData:
    """What the fusion network loses when a share of all pictures is removed, in training and in the test."""
    rows = []
    for fraction, scores in whole.scores[CANDIDATE].items():
        less = fewer.scores[fraction]
        for metric in ("accuracy", "log_loss", "mae"):
            change = f"{less[metric] - scores[metric]:+.3f}"
            rows.append([moment(fraction), metric, f"{scores[metric]:.3f}", f"{less[metric]:.3f}", change])
    columns = ["moment", "metric", "all pictures", f"{fewer.share:.0%} removed", "change"]
    return f"The same training with {fewer.share:.0%} of the pictures removed", columns, rows


def training_table(comparison: Comparison) -> TableData:
    """How the fits of the fusion network went, after encoding."""
    fits = {moment(fraction): network.result for fraction, network in comparison.networks.items()}
    rows = []
    for name, result in {**fits, "all fractions together": comparison.any_lap.result}.items():
        first, last, kept = result.history[0], result.history[-1], result.history[result.best_epoch - 1]
        rows.append(
            [
                name,
                str(len(result.history)),
                str(result.best_epoch),
                f"{first.train_loss:.3f}",
                f"{last.train_loss:.3f}",
                "-" if kept.validation is None else f"{kept.validation.loss:.3f}",
                "-" if last.validation is None else f"{last.validation.loss:.3f}",
                f"{sum(report.seconds for report in result.history):.1f}",
            ]
        )
    columns = ["network", "epochs", "kept", "training loss, first", "last", "validation loss, kept", "last", "seconds"]
    return "Training of the fusion networks, after encoding", columns, rows
