"""docs/benchmarks.md from the benchmark's JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KEEPS_PERCENT = 0.2
"""Most that a runtime may change the log-loss, either way."""


def page(found: dict[str, Any]) -> str:
    """The page, as Markdown."""
    machine = found["machine"]
    parts = [
        "# Benchmarks",
        "Written by `make bench`; not to be edited. What it measured is beside it in `benchmarks.json`.",
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, torch {machine['torch']}"
        f"{', OpenVINO ' + machine['openvino'] if machine['openvino'] else ''}; {found['date']}. Load average of the "
        f"machine {found['load_before'][0]:.1f} before and {found['load_after'][0]:.1f} after, the benchmark included: "
        "figures move with what else runs, ratios much less, since the plain way and ours are timed in turns. "
        f"Data: {found['data']}.",
        "Every figure stands beside a **plain** way to do the same in the same run "
        "([`bench/plain.py`](../bench/plain.py)): one matplotlib figure a driver, a PNG on disk and read back, an "
        "eager float32 ResNet-18 at 224 pixels, every picture encoded again in every epoch. Figures are medians, least "
        "to greatest in brackets; `times` is plain divided by ours, round by round.",
        "## Stages, and end to end",
        _table(
            ["what", "unit", "plain", "ours", "times", "wanted", ""],
            [
                [
                    row["name"],
                    row["unit"],
                    _spread(row["plain"]),
                    _spread(row["ours"]),
                    _times(row["times"]),
                    row["wanted"] or "",
                    _verdict(row),
                ]
                for row in found["measured"]
            ],
        ),
        "How it was done:",
        "\n".join(f"- {row['name']}: {row['note']}." for row in found["measured"] if row["note"]),
        "## Memory",
        _memory(found["memory"]),
        "## Growth with the rows",
        "Reference runtime; drawing and encoding the first time, then looking up, and an epoch of the network.",
        _table(
            ["rows", "draw and encode, s", "ms a row", "look up, s", "epoch, s", "epoch, ms a row"],
            [
                [
                    f"{row['rows']:,}",
                    f"{row['draw_and_encode_s']:.2f}",
                    f"{row['draw_and_encode_ms_a_row']:.2f}",
                    f"{row['look_up_s']:.2f}",
                    f"{row['epoch_s']:.3f}",
                    f"{row['epoch_ms_a_row']:.4f}",
                ]
                for row in found["growth"]
            ],
        ),
        "## What the runtimes change",
        f"{found['variants_of']}. One network, fitted on the reference's embeddings, forecasts them from each "
        "runtime's: cosine between embeddings, log-loss of the finishing place, and the drivers' predicted ranks.",
        _table(
            [
                "runtime",
                "cosine, mean",
                "least",
                "log-loss",
                "change",
                f"within {KEEPS_PERCENT} %",
                "largest change of the true place's probability",
                "ranks that changed",
                "mean change",
                "largest",
            ],
            [
                [
                    row["runtime"],
                    f"{row['cosine_mean']:.6f}",
                    f"{row['cosine_least']:.6f}",
                    f"{row['log_loss']:.4f}",
                    f"{row['log_loss_change_percent']:+.3f} %",
                    "yes" if abs(row["log_loss_change_percent"]) <= KEEPS_PERCENT else "**no**",
                    f"{row['largest_change_of_a_probability']:.4f}",
                    f"{row['ranks_changed_percent']:.2f} %",
                    f"{row['rank_change_mean']:.4f}",
                    str(row["rank_change_most"]),
                ]
                for row in found["variants"]
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _verdict(row: dict[str, Any]) -> str:
    """Whether what was wanted holds, of the medians: "15 x" or "200,000 a second" at least, "20 s" at most."""
    if not row["wanted"]:
        return ""
    figure, unit = row["wanted"].split()[:2]
    bound = float(figure.replace(",", ""))
    found = (row["times"] or row["ours"])["median"]
    holds = row["ours"]["median"] <= bound if unit == "s" else found >= bound
    return "met" if holds else "**missed**"


def _memory(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        steps = ", ".join(f"{step['mb']:,.0f} MB after {step['pictures']:,}" for step in row["while"])
        lines.append(
            f"Drawing and encoding {row['pictures']:,} pictures into the cache with `{row['runtime']}` took "
            f"{row['seconds']:,.0f} s and at most **{row['peak_mb']:,.0f} MB** of resident memory (wanted: under "
            f"1,500, flat): {row['before_mb']:,.0f} MB with the races and the encoder loaded, {steps}. Loading them "
            f"had taken {row['most_before_mb']:,.0f} MB for a moment."
        )
    return "\n\n".join(lines)


def _spread(values: dict[str, float] | None) -> str:
    if values is None:
        return "-"
    if values["low"] == values["high"]:
        return _figure(values["median"])
    return f"{_figure(values['median'])} ({_figure(values['low'])}-{_figure(values['high'])})"


def _times(values: dict[str, float] | None) -> str:
    if values is None:
        return "-"
    return f"**{values['median']:.1f} x** ({values['low']:.1f}-{values['high']:.1f})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(json.loads(Path(sys.argv[1]).read_text())), encoding="utf-8")
