"""The page about backbones: what a probe came to, as tables for the terminal and as Markdown. Computes no score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from f1_predict.evaluation.bootstrap import Change
from f1_predict.evaluation.ladder import DESIGN_CANDIDATE, moment
from f1_predict.evaluation.probe import Line, Score
from f1_predict.report.results_page import markdown_table
from f1_predict.report.score_tables import verdict_word
from f1_predict.report.summaries import TableData
from f1_predict.training.files import write_atomically

WANTED: dict[str, tuple[float, float]] = {"speed": (2.10, 0.83), "race": (1.90, 0.855)}
"""Style -> the largest MAE and the least Spearman that trace weights are to reach at WANTED_AT."""
WANTED_OF, WANTED_AT = "trace", 0.5
NEEDS_DOWNLOAD = "imagenet"

HEAD = """# What a backbone reads off the pictures

Written by `{command}`; no figure on this page was typed in.

Two questions about the frozen ResNet-18 that turns a picture into 512 numbers, asked of real races that no weights have
seen (`trace` weights learnt from simulated races only, `random` ones from nothing):

1. How much of the finishing order is in those numbers? A ridge regression sees them and nothing else: no driver, no
   grid, no table. Its forecasts are ranked within each race.
2. How much does the design's network, rung 6 of the ladder, gain from them beside its table?

Every race is cut when the leader completes the given part of the scheduled laps, and all starters are ranked, those
already out as well. A car without a lap has no picture; the ridge regression takes it for what such cars came to.
"""
RIDGE = """## 1. Ridge regression on the frozen numbers alone

The target is finishing position over the size of the field; the numbers are standardised by the races learnt from,
and the penalty is chosen there on seasons left out. In the same way are ranked: the order of the grid, the running
order at the cut with the retired behind, and LightGBM trees on the same target, from the hand-made in-race features
alone and with the table of all that is known before the race. MAE is in places. Brackets hold 95 % intervals, races
resampled.
"""
RUNG = """## 2. Ladder rung 6

The same code as in the [backtest](results.md), here on one split of the seasons instead of season by season: a fit
moves by its seed about as much as backbones differ, so several fits on one split say more than one fit a season. Each
forecasts all moments of this page. Means are over fits, "fits" is from the best to the worst of them; intervals and
comparisons average the fits first and resample races. `network_table` is the same network with every picture masked,
`ensemble_inrace` the strong rival without pictures, `current_order` the running order as counted probabilities.
"""


@dataclass(frozen=True)
class ProbeResults:
    """All that a probe came to.

    Attributes:
        command: that writes the page.
        weights, styles: in the order asked for.
        ridge: scores of ranks, by moment.
        alphas: (weights/style, fraction) -> penalty of the ridge regression.
        rung: scores of the rungs, by moment.
        facts: what was run and what it took, by name.
    """

    command: str
    weights: tuple[str, ...]
    styles: tuple[str, ...]
    ridge: tuple[Line, ...]
    alphas: Mapping[tuple[str, float], float]
    rung: tuple[Line, ...]
    facts: Mapping[str, str]


def probe_tables(results: ProbeResults) -> list[TableData]:
    """Tables of both questions, one a moment each."""
    return [*_ridge_tables(results), *_rung_tables(results)]


def verdicts(results: ProbeResults) -> list[str]:
    """Whether the trace weights read what they are to read, in sentences; and what was not measured."""
    lines = []
    for style, (mae, spearman) in WANTED.items():
        found = [line for line in results.ridge if (line.model, line.fraction) == (f"{WANTED_OF}/{style}", WANTED_AT)]
        for line in found:
            scores = line.scores
            met = scores["mae"].mean <= mae and scores["spearman"].mean >= spearman
            lines.append(
                f"{line.model} {moment(line.fraction)}: MAE {scores['mae'].mean:.3f} (wanted {mae:.2f} or less), "
                f"Spearman {scores['spearman'].mean:.3f} (wanted {spearman:.3f} or more): "
                f"{'met' if met else 'NOT met'}."
            )
    for line in results.rung:
        for rival, changes in line.changes.items():
            if rival.startswith(DESIGN_CANDIDATE):
                change = changes["log_loss"]
                lines.append(
                    f"{line.model} against {rival} {moment(line.fraction)}: log_loss {_interval(change)} %, "
                    f"{verdict_word(change)}."
                )
    if NEEDS_DOWNLOAD not in results.weights:
        lines.append(
            f"{NEEDS_DOWNLOAD} was not measured: its weights must be downloaded. Where they can be, run "
            f"`f1-predict probe --weights {','.join((*results.weights, NEEDS_DOWNLOAD))}`."
        )
    return lines


def render(results: ProbeResults) -> str:
    """The page as Markdown."""
    facts: Sequence[Sequence[str]] = [[name, value] for name, value in results.facts.items()]
    parts = [
        HEAD.format(command=results.command),
        "\n".join(f"- {line}" for line in verdicts(results)) + "\n",
        RIDGE,
        *(markdown_table(table) for table in _ridge_tables(results)),
        RUNG,
        *(markdown_table(table) for table in _rung_tables(results)),
        markdown_table(("What was run", ["what", "value"], facts), 2),
    ]
    return "\n".join(parts)


def write_probe_page(path: Path, results: ProbeResults) -> None:
    """Write the page in place of the old one, whole or not at all."""
    write_atomically(path, render(results).encode())


def _ridge_tables(results: ProbeResults) -> list[TableData]:
    tables: list[TableData] = []
    for fraction, lines in _by_moment(results.ridge).items():
        rows = []
        for line in lines:
            alpha = results.alphas.get((line.model, fraction))
            rows.append(
                [
                    line.model,
                    *(_with_interval(line.scores[name]) for name in ("mae", "spearman")),
                    *_against(line, "mae", results),
                    "" if alpha is None else f"{alpha:.4g}",
                ]
            )
        columns = ["ranked by", "MAE", "Spearman", *_rival_columns("current_order", results), "alpha"]
        tables.append((f"Ranks {moment(fraction)}, {lines[0].races:,} races; % better in MAE", columns, rows))
    return tables


def _rung_tables(results: ProbeResults) -> list[TableData]:
    tables: list[TableData] = []
    for fraction, lines in _by_moment(results.rung).items():
        rows = []
        for line in lines:
            fits = line.scores["log_loss"].fits
            rows.append(
                [
                    line.model,
                    _with_interval(line.scores["log_loss"]),
                    f"{min(fits):.3f}-{max(fits):.3f}" if len(fits) > 1 else "",
                    *_against(line, "log_loss", results),
                    *(_with_interval(line.scores[name]) for name in ("accuracy", "mae")),
                    f"{line.scores['spearman'].mean:.3f}",
                ]
            )
        columns = ["model", "log_loss", "fits", *_rival_columns("network_table", results)]
        columns += ["accuracy", "MAE", "Spearman"]
        tables.append((f"Rung 6 {moment(fraction)}, {lines[0].races:,} races; % better in log_loss", columns, rows))
    return tables


def _by_moment(lines: Sequence[Line]) -> dict[float, list[Line]]:
    found: dict[float, list[Line]] = {}
    for line in lines:
        found.setdefault(line.fraction, []).append(line)
    return found


def _rival_columns(common: str, results: ProbeResults) -> list[str]:
    """One column for the rival of all, and one for the first backbone where there are several."""
    columns = [f"% better than {common}"]
    return columns + ([f"than {results.weights[0]}"] if len(results.weights) > 1 else [])


def _against(line: Line, metric: str, results: ProbeResults) -> list[str]:
    """The cells of `_rival_columns`; the first rival of a line is that of all."""
    cells = [_interval(changes[metric]) for changes in line.changes.values()]
    wide = 2 if len(results.weights) > 1 else 1
    return cells + [""] * (wide - len(cells))


def _with_interval(score: Score) -> str:
    return f"{score.mean:.3f} ({score.low:.3f}-{score.high:.3f})"


def _interval(change: Change) -> str:
    return f"{change.improvement:+.1f} ({change.low:+.1f} to {change.high:+.1f})"
