"""How a fetch shows itself on the terminal: its progress under the limits, what changed, what is missing.

Renders what it is given and computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from f1_predict.sources.fastf1_live import Missing
from f1_predict.sources.jolpica_season import Fetching
from f1_predict.tables.quality import Check
from f1_predict.tables.update import Change

SHOWN = 12
"""Lines of each kind; the file of the report has them all."""


class FetchBar:
    """A bar of requests done and expected, with the time left under the limits; gone when the work is done."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of about {task.total:.0f} requests"),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Progress(*columns, console=console, transient=True)
        self._task: TaskID = self._bar.add_task("Jolpica", total=1.0, left="")

    def __enter__(self) -> FetchBar:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def show(self, fetching: Fetching) -> None:
        """Move the bar."""
        left = f"at least {duration(fetching.seconds_left)} left under its limits"
        self._bar.update(self._task, completed=fetching.done, total=fetching.expected, left=left)

    def wait(self, seconds: float) -> None:
        """Say that a limit of Jolpica is used up, and for how long."""
        self.say(f"Jolpica's limit of requests is used up: waiting {duration(seconds)}, then going on")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """ "40 s", "12 min" or "3 h 20 min"."""
    minutes = round(seconds / 60.0)
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def change_lines(changes: Sequence[Change]) -> list[str]:
    """One line per changed race, corrections first; additions are counted when there are many."""
    corrected = [change for change in changes if change.kind != "added"]
    added = [change for change in changes if change.kind == "added"]
    lines = [str(change) for change in corrected[:SHOWN]]
    if len(corrected) > SHOWN:
        lines.append(f"... and {len(corrected) - SHOWN} other races completed, corrected or removed")
    if len(added) > SHOWN:
        return [*lines, f"{len(added)} races added, {added[0].race_id} to {added[-1].race_id}"]
    return lines + [str(change) for change in added]


def missing_lines(missing: Sequence[Missing]) -> list[str]:
    """One line per session that lacks something; sessions that lack the same are one line."""
    sessions: dict[str, list[str]] = {}
    for each in missing:
        sessions.setdefault(f"{each.race_id} ({each.session})", []).append(each.what)
    alike: dict[str, list[str]] = {}
    for session, what in sessions.items():
        alike.setdefault(", ".join(what), []).append(session)
    lines = [f"missing in {_places(places)}: {what}" for what, places in alike.items()]
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"... and {len(lines) - SHOWN} other gaps"]


def _places(places: Sequence[str]) -> str:
    if len(places) < 4:
        return ", ".join(places)
    return f"{len(places)} sessions from {places[0]} to {places[-1]}"


def check_lines(checks: Sequence[Check]) -> list[str]:
    """One line per thing that was found untidy, with its first row; the file of the report has all of them."""
    lines = []
    for check in checks:
        total = "" if check.total is None else f" of {check.total:,}"
        first = f" (first: {check.examples[0]})" if check.examples else ""
        lines.append(f"{check.source}: {check.name}: {check.count:,}{total}{first}")
    return lines
