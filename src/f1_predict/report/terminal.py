"""Tables and progress bars on the terminal. Renders what it is given and computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from f1_predict.evaluation.compare import Comparison
from f1_predict.report import summaries
from f1_predict.report.plain import table as table
from f1_predict.tables import QualityReport
from f1_predict.training.fit import EpochReport
from f1_predict.training.progress import Progress as Done
from f1_predict.training.progress import ProgressCallback

EXAMPLES = 3
"""Rows shown of a check; the file of the quality report has them all."""


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[ProgressCallback]:
    """A bar with count, rate and time left; gone when the work is done.

    Yields:
        a callback for functions that report their progress.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(done: Done) -> None:
            if done.what not in tasks:
                tasks[done.what] = bar.add_task(f"{title}: {done.what}", total=done.total, rate="")
            bar.update(tasks[done.what], completed=done.done, rate=f"{done.per_second:,.0f}/s")

        yield show


def epoch_line(report: EpochReport) -> str:
    """One line per epoch: losses, validation metrics, learning rate, time left."""
    parts = [f"epoch {report.epoch:2d}/{report.epochs}", f"loss {report.train_loss:.4f}"]
    if report.validation is not None:
        scores = asdict(report.validation)
        parts += [f"{name} {value:.4f}" for name, value in scores.items() if value is not None and name != "loss"]
    parts += [f"lr {report.learning_rate:g}", f"{report.seconds_left:.0f} s left"]
    return "  ".join(parts)


def quality_table(quality: QualityReport) -> Table:
    """What ingest found untidy, one check a row, with examples."""
    made = Table(title="Quality of the data", title_justify="left", title_style="bold")
    made.add_column("source", no_wrap=True)
    made.add_column("check")
    made.add_column("count", justify="right", no_wrap=True)
    made.add_column("examples")
    for check in quality:
        total = "" if check.total is None else f" of {check.total:,}"
        shown = "; ".join(check.examples[:EXAMPLES]) + (" ..." if len(check.examples) > EXAMPLES else "")
        made.add_row(check.source, check.name, f"{check.count:,}{total}", shown)
    return made


def comparison_tables(comparison: Comparison) -> list[Table | str]:
    """Scores of the ladder, improvements with intervals, and pictures that were missing."""
    parts: list[Table | str] = [
        table(name, columns, rows)
        for name, columns, rows in (
            *summaries.score_tables(comparison),
            summaries.improvement_table(comparison),
            summaries.picture_table(comparison),
            summaries.training_table(comparison),
        )
    ]
    return [*parts, summaries.verdict(comparison)]
