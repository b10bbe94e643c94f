"""An explanation on the terminal: shares and features as bars, laps as a row of columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from f1_predict.explain import Explanation
from f1_predict.report import explain_words as words
from f1_predict.report.forecast_view import bar

FEATURES = 10
"""Features in the table: the most telling."""
LAPS = 5
"""Laps named below the row of columns."""
_HALF = 12
"""Characters of a bar to either side of 0."""
_MEANING_FROM = 24
"""Columns that there must be for a feature's meaning, for it to be shown."""
_COLUMNS = "▁▂▃▄▅▆▇█"
_MARGIN = 4
"""Columns left of the row of laps."""


def explanation_view(explanation: Explanation, width: int) -> Iterator[RenderableType]:
    """What is printed, part by part.

    Args:
        explanation: of one driver.
        width: of the terminal.
    """
    yield Text(words.title(explanation), style="bold")
    yield Text(words.headline(explanation))
    yield _shares(explanation)
    yield _features(explanation, width)
    if explanation.laps.height:
        yield _laps(explanation, width)
    for line in words.remarks(explanation):
        yield Text(line)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _shares(explanation: Explanation) -> Table:
    made = _table("What it rests on (share of the probability that masking it moves)")
    for name in ("", "share", "answer without it"):
        made.add_column(name, no_wrap=True)
    for name, share in explanation.shares.items():
        without = words.shown(explanation, explanation.without[name])
        made.add_row(name, Text(f"{share:>4.0%} ") + Text(bar(share, 24), style="magenta"), without)
    return made


def _features(explanation: Explanation, width: int) -> Table:
    together = words.changed(explanation, float(explanation.features["attribution"].sum()))
    unit = words.unit(explanation)
    made = _table(f"What the table's features add, from an average table on (all together {together} {unit})")
    top = explanation.features.head(FEATURES)
    most = max(top["attribution"].abs().to_list())
    rows: list[list[str | Text]] = [
        [
            row["feature"],
            words.value_text(row["value"]),
            words.changed(explanation, row["attribution"]),
            _either_side(row["attribution"] / most if most > 0.0 else 0.0, _style(explanation, row["attribution"])),
            f"{row['label']} ({row['unit']})",
        ]
        for row in top.iter_rows(named=True)
    ]
    heads = ("feature", "value", unit, "", "meaning")
    wide = [max(len(head), *(len(row[number]) for row in rows)) for number, head in enumerate(heads)]
    wide[-1] = min(wide[-1], width - sum(wide[:-1]) - 2 * len(wide) - 1)  # with padding and edges
    shown = 5 if wide[-1] >= _MEANING_FROM else 4
    for number, head in enumerate(heads[:shown]):
        side: Literal["left", "right"] = "right" if number in (1, 2) else "left"
        style = "dim" if head == "meaning" else ""
        made.add_column(head, justify=side, no_wrap=True, overflow="ellipsis", width=wide[number], style=style)
    for row in rows:
        made.add_row(*row[:shown])
    return made


def _style(explanation: Explanation, change: float) -> str:
    return "green" if words.better(explanation, change) else "red"


def _either_side(share: float, style: str) -> Text:
    """A bar to the left of a line for less than 0, to its right for more."""
    filled = Text(bar(abs(share), _HALF) if share > 0.0 else _leftwards(abs(share)), style=style)
    return Text(" " * _HALF + "│") + filled if share > 0.0 else filled + Text("│" + " " * _HALF)


def _leftwards(share: float) -> str:
    full, half = divmod(round(2 * _HALF * share), 2)
    return ("▐" * half + "█" * full).rjust(_HALF)


def _laps(explanation: Explanation, width: int) -> Text:
    """A column a lap, as high as the answer changes without it; then the most telling ones in numbers.

    The last lap holds the mark of where the driver is now, which outdoes all others: it is told apart from them.
    """
    changes = dict(explanation.laps.select("lap", "change").iter_rows())
    last = max(changes)
    before = sorted((lap for lap in changes if lap != last), key=lambda lap: -abs(changes[lap]))
    most = abs(changes[before[0]]) if before else abs(changes[last])
    made = Text("What each lap of the picture adds (the answer less the answer with that lap blanked)\n", style="bold")
    room = max(width - _MARGIN, 10) // 10 * 10
    for start in range(1, last + 1, room):
        row = range(start, min(start + room, last + 1))
        made.append(" " * _MARGIN)
        for lap in row:
            height = min(abs(changes[lap]) / most, 1.0) if lap in changes and most > 0.0 else 0.0
            column = _COLUMNS[round(7 * height)] if lap in changes else " "
            made.append(column, style=f"not bold {_style(explanation, changes.get(lap, 0.0))}")
        ticks = "".join(f"{lap:<5}" for lap in row if lap % 5 == 1)
        made.append(f"\n{' ' * _MARGIN}{ticks.rstrip()}\n", style="not bold dim")
    named = [f"lap {lap} {words.changed(explanation, changes[lap])}" for lap in before[:LAPS]]
    said = f"Most: {', '.join(named)}. " if named else ""
    now = words.changed(explanation, changes[last])
    made.append(
        f"{said}Lap {last}, with the mark of where the driver is now: {now} ({words.unit(explanation)}; green is to "
        "the driver's good).",
        style="not bold",
    )
    return made
