"""A plain table for the terminal, for modules that do not want all that `terminal` imports."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A titled table; all but the first column are set to the right."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made
