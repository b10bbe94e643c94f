"""The results page, as Markdown: the same tables as the terminal, with what they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from f1_predict.evaluation.compare import Comparison, FewerPictures
from f1_predict.evaluation.latency import Latency
from f1_predict.report import summaries
from f1_predict.report.summaries import TableData
from f1_predict.training.files import write_atomically

HEAD = """# Results

Written by `{command}`; no figure on this page was typed in.

"""


@dataclass(frozen=True)
class Results:
    """All that the page shows.

    Attributes:
        command: that writes this page.
        facts: what it was made from and how long it took, by name.
        comparison: on all pictures.
        fewer: the same training with a share of the pictures removed; None if it was not done.
        latency: of the trained network; None where no test race has laps.
    """

    command: str
    facts: Mapping[str, str]
    comparison: Comparison
    fewer: FewerPictures | None
    latency: Latency | None


def markdown_table(data: TableData, level: int = 3) -> str:
    """A titled Markdown table; all but the first column are set to the right."""
    title, columns, rows = data
    lines = [f"{'#' * level} {title}", "", "| " + " | ".join(columns) + " |"]
    lines.append("|" + "|".join(["---", *["---:"] * (len(columns) - 1)]) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def render(results: Results) -> str:
    """The page as Markdown."""
    comparison = results.comparison
    facts: Sequence[Sequence[str]] = [[name, value] for name, value in results.facts.items()]
    latency = [] if results.latency is None else [markdown_table(summaries.latency_table(results.latency), 2)]
    parts = [
        HEAD.format(command=results.command),
        markdown_table(("What was run", ["what", "value"], facts), 2),
        "## The design's criterion\n",
        summaries.verdict(comparison).replace("\n", "  \n") + "\n",
        "## Ladder\n",
        *(markdown_table(data) for data in summaries.score_tables(comparison)),
        markdown_table(summaries.improvement_table(comparison), 2),
        *latency,
        markdown_table(summaries.picture_table(comparison), 2),
    ]
    if results.fewer is not None:
        parts.append(markdown_table(summaries.fewer_pictures_table(comparison, results.fewer), 2))
    parts.append(markdown_table(summaries.training_table(comparison), 2))
    return "\n".join(parts)


def write_results(path: Path, results: Results) -> None:
    """Write the page in place of the old one, whole or not at all."""
    write_atomically(path, render(results).encode())
