"""The results page of a backtest, as Markdown: the tables of the terminal with what they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from f1_predict.evaluation import ladder
from f1_predict.evaluation.ladder import moment
from f1_predict.evaluation.scorecard import PRIMARY, Scorecard
from f1_predict.report.results_page import markdown_table
from f1_predict.report.score_tables import overview_table, scorecard_tables, verdicts
from f1_predict.report.summaries import TableData
from f1_predict.training.files import write_atomically

HEAD = """# Results

Written by `{command}`; no figure on this page was typed in. How forecasts are judged: [evaluation.md](evaluation.md).
The design's own comparison, each rung fitted at one part of the race alone: [comparison.md](comparison.md).

"""
EVENT_METRICS = tuple(f"{kind}_{event}" for event in ("win", "podium", "points", "finish") for kind in ("brier", "ece"))
ORDER_METRICS = ("kendall", "winner", "podium", "coherence")


@dataclass(frozen=True)
class BacktestResults:
    """All that the page shows.

    Attributes:
        command: that writes this page.
        facts: what it was made from and how long it took, by name.
        card: of all test seasons.
        untouched: of the latest seasons alone, on which no setting was chosen; None if all are such seasons.
    """

    command: str
    facts: Mapping[str, str]
    card: Scorecard
    untouched: Scorecard | None


def render(results: BacktestResults) -> str:
    """The page as Markdown."""
    card = results.card
    tables = scorecard_tables(card)
    facts: Sequence[Sequence[str]] = [[name, value] for name, value in results.facts.items()]
    rungs = [[name, meaning] for name, meaning in (ladder.RUNGS | ladder.ABLATIONS).items() if name in card.models]
    parts = [
        HEAD.format(command=results.command),
        markdown_table(tables[0], 2),
        "\n".join(f"- {line}" for line in verdicts(card)) + "\n",
        markdown_table(("The models", ["model", "what it is"], rungs), 2),
    ]
    if results.untouched is not None:
        first, last = results.untouched.seasons[0], results.untouched.seasons[-1]
        title, columns, rows = overview_table(results.untouched, PRIMARY, ladder.EXPERT_RIVAL)
        parts.append(markdown_table((f"{first}-{last} alone: {title}", columns, rows), 2))
        parts += [markdown_table(_metric_table(results.untouched, "mae", f"{first}-{last} alone: "), 2)]
    comparisons = tables[1 + len(card.fractions) :]
    parts += [markdown_table(table, 2) for table in comparisons]
    parts.append("## Scores at each part of the race\n")
    parts += [markdown_table(table) for table in tables[1 : 1 + len(card.fractions)]]
    parts.append("## Probabilities of events\n")
    parts += [markdown_table(_metrics_table(card, fraction, EVENT_METRICS)) for fraction in card.fractions]
    parts.append("## Orders and coherence\n")
    parts += [markdown_table(_metrics_table(card, fraction, ORDER_METRICS)) for fraction in card.fractions]
    parts.append(markdown_table(_season_table(card), 2))
    parts.append(markdown_table(_picture_table(card), 2))
    parts.append(markdown_table(("What was run", ["what", "value"], facts), 2))
    if card.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in card.notes) + "\n")
    return "\n".join(parts)


def write_backtest_results(path: Path, results: BacktestResults) -> None:
    """Write the page in place of the old one, whole or not at all."""
    write_atomically(path, render(results).encode())


def _metric_table(card: Scorecard, metric: str, prefix: str) -> TableData:
    """One metric of all models at all parts of the race."""
    rows = [
        [model, *(_number(card.scores[model].get(fraction, {}).get(metric)) for fraction in card.fractions)]
        for model in card.models
    ]
    return f"{prefix}{metric}", ["model", *(moment(fraction) for fraction in card.fractions)], rows


def _metrics_table(card: Scorecard, fraction: float, metrics: Sequence[str]) -> TableData:
    """Some metrics of all models at one part of the race."""
    rows = [
        [model, *(_number(card.scores[model][fraction].get(metric), 4) for metric in metrics)]
        for model in card.models
        if fraction in card.scores[model]
    ]
    return moment(fraction).capitalize(), ["model", *metrics], rows


def _season_table(card: Scorecard) -> TableData:
    """The primary score of every season in the middle of the race, or at the part nearest to it."""
    fraction = min(card.fractions, key=lambda value: abs(value - 0.5))
    rows = []
    for season in card.seasons:
        part = card.by_season.filter(season=season, fraction=fraction)
        found = dict(part.select("model", PRIMARY).iter_rows())
        races = int(part["races"].max() or 0)  # type: ignore[arg-type]
        rows.append([str(season), str(races), *(_number(found.get(model)) for model in card.models)])
    return f"{PRIMARY} by season, {moment(fraction)}", ["season", "races", *card.models], rows


def _picture_table(card: Scorecard) -> TableData:
    """Rows with and without a picture, of the models that look at pictures."""
    seen = card.pictures.filter(pl.col("model").is_in([ladder.DESIGN_CANDIDATE, ladder.EXPERT_CANDIDATE]))
    rows = [
        [
            model,
            moment(fraction),
            f"{count:,}",
            f"{without / count:.1%}" if count else "-",
            _number(with_picture),
            _number(without_picture),
        ]
        for model, fraction, count, without, with_picture, without_picture in seen.select(
            "model", "fraction", "rows", "without_picture", "log_loss_with", "log_loss_without"
        ).iter_rows()
    ]
    columns = ["model", "when", "rows", "without a picture", "log_loss with", "log_loss without"]
    return "Rows with and without a picture", columns, rows


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
