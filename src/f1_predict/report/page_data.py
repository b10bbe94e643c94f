"""What the report page shows, as plain data: scores, verdicts, curves, one race after another.

Takes a scorecard's numbers as they are and the rows of a predictions file; knows nothing of charts or HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from f1_predict.errors import NotFoundError
from f1_predict.evaluation import ladder
from f1_predict.evaluation.bootstrap import Change
from f1_predict.evaluation.ladder import moment
from f1_predict.evaluation.metrics import EVENTS
from f1_predict.evaluation.scorecard import PRIMARY, Scorecard
from f1_predict.horizon import RaceArchive
from f1_predict.report.score_tables import verdict_word

MULTIMODAL = (ladder.EXPERT_CANDIDATE, ladder.DESIGN_CANDIDATE)
"""Rungs that look at pictures, the one to show first."""
MIDDLE = 0.5
"""The fraction that a page opens with, or the nearest one there is."""


@dataclass(frozen=True)
class LadderRow:
    """A model at a fraction of the race.

    Attributes:
        model: its name.
        scores: metric -> mean.
        intervals: metric -> 95 % interval of the mean.
        change: against the page's rival in log-loss; None for the rival itself, or where not compared.
    """

    model: str
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    change: Change | None

    @property
    def verdict(self) -> str:
        """What the interval of the change says, "" without a change."""
        return "" if self.change is None else verdict_word(self.change)


@dataclass(frozen=True)
class Skill:
    """A model against persistence in log-loss, at a fraction of the race."""

    model: str
    fraction: float
    rival: str
    change: Change


@dataclass(frozen=True)
class Bin:
    """A bin of a reliability curve: rows in it, their mean probability, the share of them that happened."""

    rows: int
    mean_probability: float
    frequency: float


@dataclass(frozen=True)
class Cut:
    """One model's forecast of one race at one fraction; every list is in the order of the race's drivers.

    Attributes:
        horizon: "pre_race" or "lap_k".
        probs: drivers x places.
        rank: predicted ranks, 1..n.
        expected: expected positions.
        win, podium, points: probabilities of the first place, the first three, the first ten.
        log_loss: of the race; None without a result.
    """

    horizon: str
    probs: list[list[float]]
    rank: list[int]
    expected: list[float]
    win: list[float]
    podium: list[float]
    points: list[float]
    log_loss: float | None


@dataclass(frozen=True)
class RaceForecasts:
    """The shown model's forecasts of one race.

    Attributes:
        race_id: the race.
        season: its season.
        name: "2024 Monaco Grand Prix".
        drivers: their ids, ordered.
        positions: true places in that order; None for a race without a complete result.
        cuts: by fraction.
    """

    race_id: str
    season: int
    name: str
    drivers: list[str]
    positions: list[int] | None
    cuts: Mapping[float, Cut]


@dataclass(frozen=True)
class Seasons:
    """Log-loss by season at a fraction: model -> season -> (mean, races)."""

    fraction: float
    scores: Mapping[str, Mapping[int, tuple[float, int]]]


@dataclass(frozen=True)
class PageData:
    """All that the page shows, but the pictures.

    Attributes:
        title: of the page.
        facts: data, weights and settings, by name.
        notes: what was missing, one sentence each.
        card: the scorecard that the numbers are of.
        main: the model that the page is about: `best`, or the last multi-modal one there is.
        rival: the model that it is held against; None if there is no other.
        middle: the fraction nearest to one half.
        ladder: by fraction, the models in the order of the ladder.
        skill: against persistence.
        reliability: (model, fraction, event) -> bins.
        races: the main model's forecasts, in the order of time.
        race_id: the race that the heat map opens with.
        seasons: by fraction.
    """

    title: str
    facts: Mapping[str, str]
    notes: tuple[str, ...]
    card: Scorecard
    main: str
    rival: str | None
    middle: float
    ladder: Mapping[float, tuple[LadderRow, ...]]
    skill: tuple[Skill, ...]
    reliability: Mapping[tuple[str, float, str], tuple[Bin, ...]]
    races: tuple[RaceForecasts, ...]
    race_id: str
    seasons: tuple[Seasons, ...]

    @cached_property
    def changes(self) -> dict[tuple[str, str, float, str], Change]:
        """(candidate, rival, fraction, metric) -> change."""
        return changes_of(self.card)


def changes_of(card: Scorecard) -> dict[tuple[str, str, float, str], Change]:
    """A scorecard's comparisons by (candidate, rival, fraction, metric)."""
    return {(item.candidate, item.rival, item.fraction, item.metric): item.change for item in card.changes}


def page_data(
    card: Scorecard,
    predictions: pl.DataFrame,
    archive: RaceArchive,
    facts: Mapping[str, str],
    *,
    against: str | None = None,
    race_id: str | None = None,
    title: str | None = None,
) -> PageData:
    """Summarise a backtest for the page.

    Args:
        card: made from `predictions`, with `rival_of` as what all models are compared with.
        predictions: a validated predictions file.
        archive: the races forecast, with those results that are known.
        facts: data, weights and settings, by name.
        against: what the page's model is held against; default see `rival_of`.
        race_id: the race that the heat map opens with; default the last one.
        title: of the page; default names the seasons.

    Raises:
        NotFoundError: if `race_id` is not among the predictions of the model shown, a race is not in the archive,
            or there is no model `against`.
    """
    middle = min(card.fractions, key=lambda fraction: (abs(fraction - MIDDLE), -fraction))
    rival = rival_of(card.models, against)
    main = main_model(card, rival, middle) if rival is None or len(card.models) > 1 else rival
    races = _races(predictions.filter(pl.col("model") == main), card, archive, main)
    known = [race.race_id for race in races]
    if race_id is not None and race_id not in known:
        raise NotFoundError("race", race_id, known, f"The file has to forecast it with {main}.")
    found = changes_of(card)
    fractions = sorted(card.fractions)
    first, last = min(card.seasons), max(card.seasons)
    return PageData(
        title=title or f"Formula 1 forecasts, {first}" + (f"-{last}" if last > first else ""),
        facts=dict(facts),
        notes=_notes(card),
        card=card,
        main=main,
        rival=rival,
        middle=middle,
        ladder={fraction: _rows(card, fraction, rival, found) for fraction in fractions},
        skill=_skill(card, found),
        reliability=_reliability(card.reliability),
        races=races,
        race_id=race_id or known[-1],
        seasons=tuple(_seasons(card, fraction) for fraction in fractions),
    )


def main_model(card: Scorecard, rival: str | None, fraction: float) -> str:
    """`best`, else the last multi-modal rung there is, else of the others the one with the lowest log-loss.

    Args:
        card: the scores.
        rival: what it will be held against, and so not the answer; None where there is one model only.
        fraction: of the log-loss, where a model has it.
    """
    others = [model for model in card.models if model != rival]
    for model in MULTIMODAL:
        if model in others:
            return model
    scored = [model for model in others if fraction in card.scores[model]] or others
    return min(scored, key=lambda model: card.scores[model].get(fraction, {}).get(PRIMARY, 0.0))


def rival_of(models: Sequence[str], against: str | None = None) -> str | None:
    """What the page's model is held against.

    Args:
        models: names in the predictions file.
        against: the one asked for.

    Returns:
        That one; else the strong rival, the running order or the grid, whichever is there first; else the first
        model that is not multi-modal; None where there is one model only.

    Raises:
        NotFoundError: if the file has no model `against`.
    """
    if against is not None and against not in models:
        raise NotFoundError("model", against, models, remedy="Name a model of the predictions file.")
    if against is not None or len(models) < 2:
        return against
    plain = [model for model in ladder.ordered(list(models)) if model not in MULTIMODAL]
    for name in (ladder.EXPERT_RIVAL, ladder.PERSISTENCE, "grid", *plain):
        if name in models:
            return name
    return models[-1]


def persistence(fraction: float) -> str:
    """The rung that skill is measured against: the running order, and the grid before the race."""
    return ladder.PERSISTENCE if fraction > 0.0 else "grid"


def _rows(
    card: Scorecard, fraction: float, rival: str | None, found: Mapping[tuple[str, str, float, str], Change]
) -> tuple[LadderRow, ...]:
    return tuple(
        LadderRow(
            model,
            card.scores[model][fraction],
            card.intervals.get(model, {}).get(fraction, {}),
            None if rival is None else found.get((model, rival, fraction, PRIMARY)),
        )
        for model in ladder.ordered(list(card.models))
        if fraction in card.scores[model]
    )


def _skill(card: Scorecard, found: Mapping[tuple[str, str, float, str], Change]) -> tuple[Skill, ...]:
    return tuple(
        Skill(model, fraction, persistence(fraction), change)
        for model in ladder.ordered(list(card.models))
        for fraction in sorted(card.fractions)
        if (change := found.get((model, persistence(fraction), fraction, PRIMARY))) is not None
    )


def _reliability(frame: pl.DataFrame) -> dict[tuple[str, float, str], tuple[Bin, ...]]:
    made: dict[tuple[str, float, str], list[Bin]] = {}
    for row in frame.sort("model", "fraction", "event", "bin").iter_rows(named=True):
        key = (row["model"], row["fraction"], row["event"])
        if row["event"] in EVENTS and row["rows"]:
            made.setdefault(key, []).append(Bin(row["rows"], row["mean_probability"], row["frequency"]))
    return {key: tuple(bins) for key, bins in made.items()}


def _seasons(card: Scorecard, fraction: float) -> Seasons:
    scores: dict[str, dict[int, tuple[float, int]]] = {}
    rows = card.by_season.filter(pl.col("fraction") == fraction).sort("season")
    for row in rows.iter_rows(named=True):
        scores.setdefault(row["model"], {})[row["season"]] = (row[PRIMARY], row["races"])
    return Seasons(fraction, {model: scores[model] for model in ladder.ordered(list(scores))})


def _notes(card: Scorecard) -> tuple[str, ...]:
    """What was missing: the scorecard's notes, and rows without a picture of models that look at pictures."""
    notes = list(card.notes)
    partly = (pl.col("without_picture") > 0) & (pl.col("without_picture") < pl.col("rows"))
    rows = card.pictures.filter(partly | (pl.col("model").is_in(MULTIMODAL) & (pl.col("without_picture") > 0)))
    for row in rows.iter_rows(named=True):
        without, seen = row["log_loss_without"], row["log_loss_with"]
        scored = f"; log-loss {without:.3f} on them" + ("" if seen is None else f", {seen:.3f} on the others")
        notes.append(
            f"`{row['model']}`, {moment(row['fraction'])}: {row['without_picture']:,} of {row['rows']:,} rows "
            f"had no picture{scored}."
        )
    return tuple(notes)


def _races(rows: pl.DataFrame, card: Scorecard, archive: RaceArchive, model: str) -> tuple[RaceForecasts, ...]:
    calendar = {row["race_id"]: (i, row["season"], row["name"]) for i, row in enumerate(archive.races.to_dicts())}
    losses = {
        (row["race_id"], row["fraction"]): row[PRIMARY]
        for row in card.by_race.filter(pl.col("model") == model).iter_rows(named=True)
    }
    made = []
    for part in rows.sort("race_id", "fraction", "driver_id").partition_by("race_id", maintain_order=True):
        race_id = part["race_id"][0]
        if race_id not in calendar:
            raise NotFoundError("race", race_id, calendar, "Give --data the store that the predictions are of.")
        cuts = {
            cut["fraction"][0]: _cut(cut, losses.get((race_id, cut["fraction"][0])))
            for cut in part.partition_by("fraction", maintain_order=True)
        }
        drivers = part.filter(pl.col("fraction") == part["fraction"][0])["driver_id"].to_list()
        _, season, name = calendar[race_id]
        positions = _positions(archive, race_id, drivers)
        made.append(RaceForecasts(race_id, season, f"{season} {name}", drivers, positions, cuts))
    return tuple(sorted(made, key=lambda race: calendar[race.race_id][0]))


def _positions(archive: RaceArchive, race_id: str, drivers: list[str]) -> list[int] | None:
    known = dict(archive.rows("results", race_id).select("driver_id", "position").iter_rows())
    return [known[driver] for driver in drivers] if all(driver in known for driver in drivers) else None


def _cut(rows: pl.DataFrame, log_loss: float | None) -> Cut:
    return Cut(
        horizon=rows["horizon"][0],
        probs=rows["position_probs"].to_list(),
        rank=rows["predicted_rank"].to_list(),
        expected=rows["expected_position"].to_list(),
        win=rows["p_win"].to_list(),
        podium=rows["p_podium"].to_list(),
        points=rows["p_points"].to_list(),
        log_loss=log_loss,
    )
