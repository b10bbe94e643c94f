"""The page that sets simulated races beside real ones, and says why a figure differs. Text only: measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from f1_predict.sources.simulator.calibrate import KNOBS, Window
from f1_predict.sources.simulator.calibrate_transfer import STATE, Ranking
from f1_predict.sources.simulator.figures import FIGURES, Figure
from f1_predict.sources.simulator.race_arrays import SLOW_PHASE, STOP_S

WITHIN = 0.10
"""A simulated figure may differ from the real one by this share."""
SIGMAS = 2.0
"""Figures that differ by fewer standard errors than this cannot be told apart."""

LATER = (
    "no race of this era was looked at, and the numbers of the last era before it are kept. The real sport has "
    "changed since: {}"
)
"""Why an era that was not tuned differs; the rest is by figure."""
CHANGED: dict[str, str] = {
    "pace_spread": "the budget cap of 2021 and the cars of 2022 brought the field together.",
    "lap_noise": "closer cars, laps a little more even.",
    "stops_recorded": "harder tyres, fewer stops (2018-2021).",
    "stops_seen": "harder tyres, fewer stops, and more of them behind safety cars, where lap times do not show them.",
    "retired": "cars became more reliable year by year.",
    "slow_phases": "race control calls safety cars, and since 2020 red flags, more readily.",
    "safety_cars": "race control calls safety cars more readily.",
    "changes": "the wider cars of 2017 pass less; those of 2022 can follow each other more closely.",
    "grid_result": "fewer retirements.",
    "pole_wins": "fewer retirements.",
    "gap_5": "closer cars.",
    "gap_10": "closer cars.",
}
"""What has changed since the last tuned era, by the figure's key."""
REASONS: dict[str, str] = {
    "pace_spread": "the skew of the cars' pace and its spread are turned at once, and disturb each other.",
    "lap_noise": "part of it is traffic, which other knobs decide.",
    "stops_seen": "where stops were recorded the knob turns to those; fewer of the simulated ones lie in slow phases.",
    "safety_cars": "recorded in 2018 alone.",
    "changes": "most changes of order come from stops; the knob for overtaking turns to passes on the track.",
    "grid_result": "retirements, the first lap and stops decide it, each with a knob of its own; none turns to it.",
    "pole_wins": "the noise of qualifying turns to it, and cannot make up for a field whose best car is too near.",
    "gap_2": "how much a leader saves the car turns to it; the median of some tens of races swings widely.",
    "gap_5": "one spread and one skew of the field do not fit both its front and its back.",
    "gap_10": "one spread and one skew of the field do not fit both its front and its back.",
}
"""Why a figure of a tuned era is not within 10 %, by the figure's key."""


@dataclass(frozen=True)
class Comparison:
    """What the page sets side by side.

    Attributes:
        real, simulated: figures by era, as `figures.era_figures`; an era without real races has no entry in `real`.
        windows: where each era's numbers come from.
        transfer: rankings of real races in mid-race, by who ranked.
        scored, learnt: the seasons that were ranked, and those that the real fit learnt from.
        races: simulated races of each era.
        seed: of the simulated races.
        seasons: first and last real season that were looked at in tuning.
    """

    real: Mapping[str, pl.DataFrame]
    simulated: Mapping[str, pl.DataFrame]
    windows: Mapping[str, Window]
    transfer: Mapping[str, Ranking]
    scored: tuple[int, int]
    learnt: tuple[int, int]
    races: int
    seed: int
    seasons: tuple[int, int]


@dataclass(frozen=True)
class Cell:
    """One figure of one era, real and simulated; None = unknown."""

    figure: Figure
    real: float | None
    real_se: float | None
    races: int
    simulated: float | None
    simulated_se: float | None

    @property
    def ratio(self) -> float | None:
        """Simulated over real; None where either is unknown, or the real one is next to nothing."""
        if self.real is None or self.simulated is None or abs(self.real) < 1e-6:
            return None
        return self.simulated / self.real

    @property
    def agrees(self) -> bool:
        """Whether the simulated figure is within 10 % of the real one."""
        return self.ratio is not None and abs(self.ratio - 1.0) <= WITHIN

    @property
    def apart(self) -> float | None:
        """The difference in standard errors of both."""
        if self.real is None or self.simulated is None or self.real_se is None or self.simulated_se is None:
            return None
        error = (self.real_se**2 + self.simulated_se**2) ** 0.5
        return abs(self.simulated - self.real) / error if error else None

    @property
    def verdict(self) -> str:
        """In a word or two, for a table."""
        if self.real is None:
            return "not recorded"
        if self.simulated is None:
            return "not simulated"
        if self.agrees:
            return "yes"
        if self.apart is not None and self.apart <= SIGMAS:
            return "cannot be told apart"
        return "no"


def cells(real: pl.DataFrame, simulated: pl.DataFrame) -> dict[str, Cell]:
    """All figures of one era, by key."""
    one, other = ({row["key"]: row for row in frame.iter_rows(named=True)} for frame in (real, simulated))
    return {
        figure.key: Cell(
            figure,
            one[figure.key]["value"],
            one[figure.key]["se"],
            one[figure.key]["races"],
            other[figure.key]["value"],
            other[figure.key]["se"],
        )
        for figure in FIGURES
    }


def page(found: Comparison) -> str:
    """The page as Markdown."""
    table = {era: cells(found.real[era], found.simulated[era]) for era in found.real}
    first, last = found.seasons
    parts = [
        "# The simulator beside real races",
        f"Written by `f1-predict calibrate --data STORE --out FILE --page FILE --seasons {first}-{last}`; no figure on "
        "this page was typed in. Real figures are averages over all races of an era; nothing of a single race is kept. "
        f"Simulated ones are of {found.races} races an era, of another seed than those of the tuning.",
        _how(found),
        _windows(found),
        "## The figures that were asked for",
        "± is one standard error, over races or over seasons, whichever is larger. *Within 10 %* says `yes`, or "
        f"`cannot be told apart` where the two differ by less than {SIGMAS:.0f} standard errors, or `no`: then the "
        "reason is given below the tables. *Seen in lap times* is counted by one rule in real and simulated races.",
        *(_era_table(era, table[era], found.windows[era]) for era in table),
        "## Why figures differ",
        _reasons(table, found.windows),
        "## All other figures",
        "Real → simulated.",
        _wide_table(table),
        "## Is what is learnt on simulated races true of real ones?",
        _transfer(found),
        _pictures(),
    ]
    return "\n\n".join(parts) + "\n"


def _how(found: Comparison) -> str:
    first, last = found.seasons
    return f"""## How the numbers were found

One function, `f1_predict.sources.simulator.figures.race_figures`, measures every figure below from the canonical
tables, of real and of simulated races. Stops, safety cars and stints are read from lap times, because nothing else was
recorded before 2011: a stop costs a car more than {STOP_S:.0f} s against its own usual laps, and under a safety car the
field is at least {SLOW_PHASE - 1.0:.0%} slower than around it. Where stops and track status were recorded, those counts
stand beside; how many of the recorded stops lap times show is among the other figures.

Each of {len(KNOBS)} knobs turns one number of `parameters.toml` (or a few by one factor) until one figure agrees: the
noise of laps until real and simulated laps are as noisy, the spread of cars until the field is as wide, and so on. All
knobs move at once, a little in each round, each round simulates other races, and the numbers of the later rounds are
averaged. The same store, seasons and seed give the same file. Numbers without a knob (tyre compounds, what rain
does, how a safety car is driven) were set by hand.

Races of {first} to {last} were looked at for this, and none after: models are scored on later seasons, and what is
trained on simulated races must not have seen them. The real figures of later eras stand here to check by; no number
was changed because of them."""


def _windows(found: Comparison) -> str:
    rows = ["| era | its numbers were tuned to | so the table below is |", "|---|---|---|"]
    for era, window in found.windows.items():
        own = window.tuned == era
        rows.append(
            f"| {era} | {window.first}-{window.last}{'' if own else f', taken over from {window.tuned}'} | "
            f"{'a fit' if own else 'a check: no race of it was looked at'} |"
        )
    return "\n".join(rows)


def _era_table(era: str, table: dict[str, Cell], window: Window) -> str:
    kind = "tuned" if window.tuned == era else "a check"
    rows = [
        f"### {era} ({kind})",
        "",
        "| figure | real | simulated | ratio | within 10 % |",
        "|---|---:|---:|---:|---|",
    ]
    for cell in table.values():
        if cell.figure.asked:
            unit = f" ({cell.figure.unit})" if cell.figure.unit else ""
            rows.append(
                f"| {cell.figure.text}{unit} | {_pm(cell.real, cell.real_se, cell.figure)} | "
                f"{_pm(cell.simulated, cell.simulated_se, cell.figure)} | {_ratio(cell)} | {cell.verdict} |"
            )
    races = max(cell.races for cell in table.values())
    return "\n".join([*rows, "", f"{races} real races."])


def _wide_table(table: dict[str, dict[str, Cell]]) -> str:
    rows = [f"| figure | {' | '.join(table)} |", f"|---|{'---:|' * len(table)}"]
    for figure in FIGURES:
        if figure.asked:
            continue
        unit = f" ({figure.unit})" if figure.unit else ""
        pairs = [
            f"{_plain(cell.real, figure)} → {_plain(cell.simulated, figure)}"
            for cell in (table[era][figure.key] for era in table)
        ]
        rows.append(f"| {figure.text}{unit} | {' | '.join(pairs)} |")
    return "\n".join(rows)


def _reasons(table: dict[str, dict[str, Cell]], windows: Mapping[str, Window]) -> str:
    lines = []
    for figure in FIGURES:
        off = [era for era in table if figure.asked and table[era][figure.key].verdict == "no"]
        tuned = [era for era in off if windows[era].tuned == era]
        later = [era for era in off if era not in tuned]
        if tuned:
            lines.append(f"- **{figure.text}** ({', '.join(tuned)}): {REASONS.get(figure.key, 'not known.')}")
        if later:
            why = LATER.format(CHANGED.get(figure.key, "how, is not known."))
            lines.append(f"- **{figure.text}** ({', '.join(later)}): {why}")
    return "\n".join(lines) if lines else "None does."


def _transfer(found: Comparison) -> str:
    (first, last), (begin, end) = found.scored, found.learnt
    rows = ["| ranked by | mean absolute error of ranks | Spearman | races |", "|---|---:|---:|---:|"]
    rows += [f"| {who} | {r.mae:.3f} | {r.spearman:.3f} | {r.races} |" for who, r in found.transfer.items()]
    return (
        f"Real races of {first}-{last} at half distance: the cars still running are ranked by a linear regression of "
        f"their final rank on {', '.join(STATE[:-1])} and {STATE[-1]}, all read from lap times. One regression was "
        f"fitted to real races of {begin}-{end}, the others to simulated races alone. (Averages of the ranked seasons "
        "were part of the calibration; their results were not.)\n\n" + "\n".join(rows)
    )


def _pictures() -> str:
    return (
        "## Real and simulated traces side by side\n\n"
        "Pictures of real races are race data and are not kept here. This draws both, to compare by eye:\n\n"
        "```sh\n"
        "f1-predict simulate --seasons 1 --seed 1 --out simulated/processed\n"
        "f1-predict traces --data simulated/processed --out simulated/traces\n"
        "f1-predict traces --data data/processed --seasons 2018 --out real/traces\n"
        "```"
    )


def _pm(value: float | None, se: float | None, figure: Figure) -> str:
    return "–" if value is None else f"{_plain(value, figure)} ± {_plain(se, figure)}"


def _plain(value: float | None, figure: Figure) -> str:
    return "–" if value is None else f"{value:.{figure.decimals}f}"


def _ratio(cell: Cell) -> str:
    return "–" if cell.ratio is None else f"{cell.ratio:.2f}"
