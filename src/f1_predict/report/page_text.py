"""The report's captions: what to see in each figure, said from its numbers, losses as plainly as wins.

Every sentence is computed; none is there whatever came out. Knows nothing of charts or HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from f1_predict.evaluation.bootstrap import Change
from f1_predict.evaluation.ladder import moment
from f1_predict.evaluation.metrics import EVENTS, HIGHER_IS_BETTER
from f1_predict.evaluation.scorecard import PRIMARY
from f1_predict.report.page_data import (
    MULTIMODAL,
    Bin,
    LadderRow,
    PageData,
    RaceForecasts,
    Seasons,
    persistence,
)
from f1_predict.report.score_tables import verdict_word

HAPPENINGS = {"win": "won", "podium": "came among the first three", "points": "came among the first ten"} | {
    "finish": "were classified"
}
CONFIDENT = 0.02
"""Mean gap between probability and frequency below which a curve is called close to the diagonal."""


def percent(value: float) -> str:
    """A signed percentage with one decimal."""
    return f"{value:+.1f} %" if isfinite(value) else "undefined"


def code(name: str) -> str:
    """A model's name between backticks, which the page sets in another type."""
    return f"`{name.replace('`', '')}`"


def with_interval(change: Change) -> str:
    """ "+1.2 % [+0.3, +2.0]"."""
    ends = [f"{end:+.1f}" if isfinite(end) else "undefined" for end in (change.low, change.high)]
    return f"{percent(change.improvement)} [{', '.join(ends)}]"


def listed(parts: Iterable[str]) -> str:
    """ "a, b and c"."""
    items = list(parts)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def moments(fractions: Iterable[float]) -> str:
    """ "before the race and after 25%, 50% and 75% of the race"."""
    given = list(fractions)
    shares = [f"{fraction:.0%}" for fraction in given if fraction > 0]
    parts = [moment(0.0)] if 0.0 in given else []
    return " and ".join([*parts, f"after {listed(shares)} of the race"] if shares else parts)


def headline(page: PageData) -> str:
    """Where the model of the page beats its rival, where it loses, where the races cannot tell."""
    if page.rival is None:
        return f"{code(page.main)} is the only model in the file: there is nothing to compare it with."
    found: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for fraction in page.ladder:
        change = page.changes.get((page.main, page.rival, fraction, PRIMARY))
        if change is not None:
            found[verdict_word(change)].append(f"{moment(fraction)} ({with_interval(change)})")
    if not any(found.values()):
        return f"{code(page.main)} was not compared with {code(page.rival)}: they forecast no race at the same moment."
    words = {"better": "beats it", "worse": "loses to it", "not told apart": "cannot be told from it"}
    parts = [f"{words[name]} {listed(places)}" for name, places in found.items() if places]
    names = f"{code(page.main)} against {code(page.rival)}"
    return f"{names}, log-loss better by, with 95 % intervals: it {'; it '.join(parts)}."


def losses(page: PageData) -> str:
    """Where the multi-modal models lose to the rival; said also where they do not."""
    models = [model for model in MULTIMODAL if model in page.card.models and model != page.rival]
    if page.rival is None or not models:
        return "There is no multi-modal model here to hold against a rival." if page.rival is not None else ""
    sentences = []
    for model in models:
        rows = [(fraction, row) for fraction, rows in page.ladder.items() for row in rows if row.model == model]
        compared = [(fraction, row) for fraction, row in rows if row.change is not None]
        lost = [fraction for fraction, row in compared if row.verdict == "worse"]
        behind = [f for f, row in compared if row.change is not None and row.change.improvement < 0 and f not in lost]
        if not compared:
            sentences.append(f"{code(model)} was not compared with {code(page.rival)}.")
            continue
        text = (
            f"{code(model)} loses to {code(page.rival)} {moments(lost)}"
            if lost
            else f"{code(model)} nowhere loses for certain"
        )
        if behind:
            text += f", and is behind by less than the races can tell {moments(behind)}"
        sentences.append(text + ".")
    return " ".join(sentences)


def ladder_caption(page: PageData, metric: str, name: str) -> str:
    """Who is ahead at each fraction, and whether the intervals of the first two lie apart."""
    parts = []
    for fraction, rows in page.ladder.items():
        order = sorted(rows, key=lambda row: row.scores[metric], reverse=metric in HIGHER_IS_BETTER)
        first = order[0]
        text = f"{moment(fraction)} {code(first.model)} ({first.scores[metric]:.3f})"
        if len(order) > 1:
            text += f" before {code(order[1].model)} ({order[1].scores[metric]:.3f})"
        parts.append(text)
    side = "right" if metric in HIGHER_IS_BETTER else "left"
    return (
        f"Further {side} is better. Ahead in {name}: {'; '.join(parts)}. "
        f"Lines are 95 % intervals over races{_overlap(page, metric)}"
    )


def _overlap(page: PageData, metric: str) -> str:
    """Why dots whose lines overlap may still differ for certain: races are hard or easy for all models alike."""
    hidden = 0
    for rows in page.ladder.values():
        by_name: dict[str, LadderRow] = {row.model: row for row in rows}
        main, rival = by_name.get(page.main), by_name.get(page.rival or "")
        if main is None or rival is None or metric not in main.intervals or metric not in rival.intervals:
            continue
        (low, high), (other_low, other_high) = main.intervals[metric], rival.intervals[metric]
        hidden += low <= other_high and other_low <= high
    if page.rival is None:
        return "."
    return (
        f"; those of {code(page.main)} and {code(page.rival)} overlap in {hidden} of {len(page.ladder)} panels. "
        "A race is hard or easy for all models alike, so the last panel, with the same races for both, tells more."
    )


def skill_caption(page: PageData) -> str:
    """How far the model of the page is ahead of persistence, and which models fall behind it."""
    mine = [item for item in page.skill if item.model == page.main]
    if not mine:
        return f"{code(page.main)} was not compared with persistence."
    parts = [f"{moment(item.fraction)} {with_interval(item.change)} on {code(item.rival)}" for item in mine]
    behind: dict[str, list[float]] = {}
    for item in page.skill:
        if item.model != "uniform" and verdict_word(item.change) == "worse":
            behind.setdefault(item.model, []).append(item.fraction)
    names = "; ".join(f"{code(model)} {moments(places)}" for model, places in behind.items()) if behind else "no model"
    lines = f"Above the dotted line is better than the order as it stands. {code(page.main)}: {'; '.join(parts)}. "
    lines += f"Worse than that order for certain: {names}"
    lines += " (`uniform` left out)." if "uniform" in page.card.models else "."
    racing = [item for item in mine if item.fraction > 0]
    if len(racing) > 1:
        lines += (
            f" Between {racing[0].fraction:.0%} and {racing[-1].fraction:.0%} of the race its lead goes from "
            f"{racing[0].change.improvement:.1f} to {racing[-1].change.improvement:.1f} %."
        )
    return lines


def reliability_note(event: str, bins: Sequence[Bin], error: float) -> str:
    """One event's curve in a sentence: its expected calibration error, and its bin furthest off."""
    worst = max(bins, key=lambda item: abs(item.mean_probability - item.frequency))
    return (
        f"off by {100 * error:.1f} points on average; furthest where it said "
        f"{100 * worst.mean_probability:.0f} % and {100 * worst.frequency:.0f} % of {worst.rows:,} "
        f"{HAPPENINGS[event]}"
    )


def reliability_caption(page: PageData, model: str, fraction: float) -> str:
    """Which events' probabilities can be taken at their word, and which not."""
    scores = page.card.scores[model][fraction]
    gaps = {event: scores[f"ece_{event}"] for event in EVENTS if (model, fraction, event) in page.reliability}
    close = [event for event, value in gaps.items() if value < CONFIDENT]
    far = [event for event, value in gaps.items() if value >= CONFIDENT]
    counts = {item.rows for event in gaps for item in page.reliability[model, fraction, event]}
    size = f"{min(counts):,} to {max(counts):,}" if len(counts) > 1 else f"{min(counts):,}"
    text = f"{code(model)} {moment(fraction)}: on the dotted line a probability is what it says. "
    text += f"Off by less than 2 points on average: {listed(close)}. " if close else ""
    text += f"Off by 2 points or more: {listed(far)}. " if far else ""
    return text + (
        f"A dot is {size} rows; its bar is a 95 % range that takes rows as independent, and so is rather too short."
    )


def seasons_caption(page: PageData, seasons: Seasons) -> str:
    """In how many seasons the model of the page is ahead, and which were hard and easy."""
    mine = seasons.scores.get(page.main, {})
    if not mine:
        return f"There is no forecast by {code(page.main)} {moment(seasons.fraction)}."
    hard, easy = max(mine, key=lambda year: mine[year][0]), min(mine, key=lambda year: mine[year][0])
    text = ""
    for rival in dict.fromkeys(name for name in (page.rival, persistence(seasons.fraction)) if name is not None):
        theirs = seasons.scores.get(rival, {})
        common = [year for year in mine if year in theirs]
        if common and rival != page.main:
            ahead = [year for year in common if mine[year][0] < theirs[year][0]]
            text += f"{code(page.main)} is ahead of {code(rival)} in {len(ahead)} of {len(common)} seasons"
            behind = [str(year) for year in common if year not in ahead]
            text += f" and behind in {listed(behind)}. " if behind else ". "
    if len(mine) > 1:
        text += f"Hardest for it was {hard} ({mine[hard][0]:.3f}), easiest {easy} ({mine[easy][0]:.3f})."
    else:
        text += f"Its one season, {hard}: {mine[hard][0]:.3f} over {mine[hard][1]} races."
    return text


def person(driver_id: str) -> str:
    """A driver's name from the id: "max_verstappen" -> "Max Verstappen"."""
    return driver_id.replace("_", " ").title()


def heat_caption(page: PageData, race: RaceForecasts, fraction: float) -> str:
    """What one race's matrix says of its winner, and how far the ranking was off."""
    cut = race.cuts[fraction]
    favourite = min(range(len(cut.rank)), key=lambda row: cut.rank[row])
    text = f"{code(page.main)} ranked {person(race.drivers[favourite])} first ({100 * cut.win[favourite]:.0f} % to win)"
    if race.positions is None:
        return text + ". The race has no complete result yet: no rings."
    n = len(race.positions)
    won = race.positions.index(1)
    off = sum(abs(rank - place) for rank, place in zip(cut.rank, race.positions, strict=True)) / n
    exact = sum(rank == place for rank, place in zip(cut.rank, race.positions, strict=True))
    text += f"; {person(race.drivers[won])} won" if won != favourite else ", who won"
    if won != favourite:
        text += f", given {100 * cut.win[won]:.0f} % and ranked {cut.rank[won]} of {n}"
    text += f". Ranked places are off by {off:.1f} on average, {exact} of {n} exact"
    if cut.log_loss is not None:
        mean = page.card.scores[page.main][fraction][PRIMARY]
        side = "easier" if cut.log_loss < mean else "harder"
        text += f". Log-loss {cut.log_loss:.3f}, {side} than its mean of {mean:.3f} over all races"
    return text + "."
