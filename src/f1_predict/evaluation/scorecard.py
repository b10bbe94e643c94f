"""The scorecard of a predictions file: scores of all models at all horizons, how sure they are, who beats whom.

Computes and does not render. Knows the names of the ladder, to choose the comparisons, and nothing of how a model
works: whoever wrote the file is scored alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import polars as pl

from f1_predict.errors import NotFoundError
from f1_predict.evaluation import ladder, metrics
from f1_predict.evaluation.bootstrap import Change, Drawn, change_between, draw_races
from f1_predict.evaluation.scored_races import NAMED, Forecasts, ScoredRaces, score_rows

PRIMARY = "log_loss"
"""The score that decides."""
INTERVAL_METRICS = (
    *("log_loss", "rps", "accuracy", "mae", "spearman"),
    *("brier_win", "brier_podium", "brier_points", "brier_finish"),
)
"""Scores with an interval of their own."""
CHANGE_METRICS = ("log_loss", "rps", "accuracy", "mae", "spearman")
"""Scores on which models are compared."""
SHOWN = ("log_loss", "mae", "accuracy", "spearman")
"""Scores of single races and seasons."""


@dataclass(frozen=True)
class PairedChange:
    """A candidate against a rival on one metric at one fraction, over the races that both forecast."""

    candidate: str
    rival: str
    fraction: float
    metric: str
    change: Change


@dataclass(frozen=True)
class Scorecard:
    """What a predictions file comes to.

    Attributes:
        models: in the order of the ladder.
        fractions: of the scheduled laps, ascending; 0 is before the race.
        seasons: of the races scored, ascending.
        races: how many were scored.
        skipped: races that were forecast and have no results, in the order of time.
        scores: model -> fraction -> metric -> value, see `metrics.score`; a model has only the fractions that it
            forecast, and `brier_finish` and `ece_finish` only where all its races have `p_finish`.
        intervals: model -> fraction -> metric -> low and high end of the 95 % interval of the mean, from a bootstrap
            over races, for INTERVAL_METRICS.
        changes: pairs of models, see `make_scorecard`, by fraction and metric.
        by_season: season, model, fraction, races, log_loss, mae, accuracy, spearman.
        reliability: model, fraction, event ("win", "podium", "points", "finish"), bin (1 = least probable), rows,
            mean_probability, frequency: the bins of `metrics.ece`.
        by_race: race_id, season, model, fraction, rows, log_loss, mae, accuracy, spearman: means over the race.
        pictures: model, fraction, rows, without_picture, log_loss_with, log_loss_without (null: no such rows).
        notes: what a reader must know before comparing, as sentences.
    """

    models: tuple[str, ...]
    fractions: tuple[float, ...]
    seasons: tuple[int, ...]
    races: int
    skipped: tuple[str, ...]
    scores: Mapping[str, Mapping[float, Mapping[str, float]]]
    intervals: Mapping[str, Mapping[float, Mapping[str, tuple[float, float]]]]
    changes: Sequence[PairedChange]
    by_season: pl.DataFrame
    reliability: pl.DataFrame
    by_race: pl.DataFrame
    pictures: pl.DataFrame
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain lists and dictionaries for JSON; numbers that are not finite become None."""
        tables = {name: getattr(self, name).to_dicts() for name in ("by_season", "reliability", "by_race", "pictures")}
        changes = [{**vars(item), "change": vars(item.change)} for item in self.changes]
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in tables}
        made: dict[str, Any] = _plain({**plain, "changes": changes, **tables})
        return made


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {(f"{key:g}" if isinstance(key, float) else str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def make_scorecard(
    predictions: pl.DataFrame,
    races: pl.DataFrame,
    results: pl.DataFrame,
    *,
    against: str | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Scorecard:
    """Score a predictions file.

    Compared, as far as the file has both: the design's candidate with its rivals; every model with the strong rival;
    `best` with itself without pictures; every model with persistence (the running order; before the race the grid);
    every model with `against`. Each pair is compared over the races that both forecast. Equal input gives equal
    bits; the order of the rows does not matter.

    Args:
        predictions: see `predictions.PREDICTION_COLUMNS`; checked here.
        races: the canonical table.
        results: the canonical table; races without results are skipped and listed.
        against: a model of the file.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        NotFoundError: if a race is not in `races`, or the file has no model `against`.
        DataError: as `scored_races.score_rows`.
    """
    scored = score_rows(predictions, races, results)
    models = ladder.ordered([model for model, _ in scored.forecasts])
    fractions = tuple(sorted({fraction for _, fraction in scored.forecasts}))
    if against is not None and against not in models:
        raise NotFoundError("model", against, models, remedy="Name a model of the predictions file.")
    keys = [(model, fraction) for model in models for fraction in fractions if (model, fraction) in scored.forecasts]
    parts = {key: metrics.contributions(scored.forecasts[key].races) for key in keys}
    drawn = _Draws(parts, draws, seed)
    reliability = pl.concat([_reliability(*key, scored.forecasts[key]) for key in keys])
    by_race = _by_race(parts, scored.calendar)
    return Scorecard(
        models=tuple(models),
        fractions=fractions,
        seasons=tuple(scored.calendar["season"].unique().sort().to_list()),
        races=scored.calendar.height,
        skipped=scored.skipped,
        scores=_nested(keys, {key: _scores(parts[key], reliability, *key) for key in keys}),
        intervals=_nested(keys, {key: drawn.intervals(*key) for key in keys}),
        changes=[
            change
            for fraction in fractions
            for candidate, rival in _pairs([m for m in models if (m, fraction) in parts], fraction, against)
            for change in drawn.changes(candidate, rival, fraction)
        ],
        by_season=_by_season(by_race),
        reliability=reliability,
        by_race=by_race,
        pictures=pl.concat([_pictures(*key, scored.forecasts[key]) for key in keys]),
        notes=_notes(scored, models, fractions),
    )


def _nested(keys: Iterable[tuple[str, float]], values: Mapping[tuple[str, float], Any]) -> dict[str, dict[float, Any]]:
    made: dict[str, dict[float, Any]] = {}
    for model, fraction in keys:
        made.setdefault(model, {})[fraction] = values[model, fraction]
    return made


def _weights(part: pl.DataFrame, metric: str) -> np.ndarray:
    if metric in metrics.PER_ROW:
        return part["rows"].cast(pl.Float64).to_numpy()
    return np.ones(part.height)


def _scores(part: pl.DataFrame, reliability: pl.DataFrame, model: str, fraction: float) -> dict[str, float]:
    names = [name for name in (*metrics.PER_ROW, *metrics.PER_RACE) if name in part.columns]
    scores = {name: float(part[name].to_numpy().sum() / _weights(part, name).sum()) for name in names}
    bins = reliability.filter((pl.col("model") == model) & (pl.col("fraction") == fraction))
    for event in metrics.EVENTS:
        here = bins.filter(pl.col("event") == event)
        if here.height:
            gaps = (here["mean_probability"] - here["frequency"]).abs().to_numpy() * here["rows"].to_numpy()
            scores[f"ece_{event}"] = float(gaps.sum() / here["rows"].sum())
    return scores


class _Draws:
    """The bootstrap of every model at every fraction, made once and shared by all its comparisons."""

    def __init__(self, parts: Mapping[tuple[str, float], pl.DataFrame], draws: int, seed: int) -> None:
        self._parts, self._draws, self._seed = parts, draws, seed
        self._made: dict[tuple[str, float, tuple[str, ...]], dict[str, Drawn]] = {}

    def races(self, model: str, fraction: float) -> tuple[str, ...]:
        return tuple(self._parts[model, fraction]["race_id"])

    def over(self, model: str, fraction: float, races: tuple[str, ...]) -> dict[str, Drawn]:
        """By metric, over some of the model's races, which are given in their order."""
        key = (model, fraction, races)
        if key not in self._made:
            part = self._parts[model, fraction]
            if len(races) < part.height:
                part = part.filter(pl.col("race_id").is_in(races))
            names = [name for name in INTERVAL_METRICS if name in part.columns]
            totals = np.stack([part[name].to_numpy() for name in names])
            weights = np.stack([_weights(part, name) for name in names])
            drawn = draw_races(totals, weights, draws=self._draws, seed=self._seed)
            self._made[key] = dict(zip(names, drawn, strict=True))
        return self._made[key]

    def intervals(self, model: str, fraction: float) -> dict[str, tuple[float, float]]:
        drawn = self.over(model, fraction, self.races(model, fraction))
        return {name: found.interval for name, found in drawn.items()}

    def changes(self, candidate: str, rival: str, fraction: float) -> list[PairedChange]:
        """Over the races that both forecast; none without such races."""
        theirs = set(self.races(rival, fraction))
        common = tuple(race_id for race_id in self.races(candidate, fraction) if race_id in theirs)
        if not common:
            return []
        after, before = (self.over(model, fraction, common) for model in (candidate, rival))
        return [
            PairedChange(
                candidate,
                rival,
                fraction,
                metric,
                change_between(before[metric], after[metric], higher_is_better=metric in metrics.HIGHER_IS_BETTER),
            )
            for metric in CHANGE_METRICS
        ]


def _pairs(models: Sequence[str], fraction: float, against: str | None) -> list[tuple[str, str]]:
    """Candidate and rival of every comparison at a fraction, each pair once."""
    persistence = ladder.PERSISTENCE if fraction > 0 else "grid"
    wanted = [(ladder.DESIGN_CANDIDATE, rival) for rival in ladder.DESIGN_RIVALS]
    wanted.append((ladder.EXPERT_CANDIDATE, ladder.EXPERT_RIVAL))
    wanted += [(ladder.EXPERT_CANDIDATE, name) for name in ladder.ABLATIONS]
    for rival in (ladder.EXPERT_RIVAL, persistence, *([against] if against is not None else [])):
        wanted += [(model, rival) for model in models]
    return [(a, b) for a, b in dict.fromkeys(wanted) if a != b and a in models and b in models]


def _by_race(parts: Mapping[tuple[str, float], pl.DataFrame], calendar: pl.DataFrame) -> pl.DataFrame:
    """Means over each race; races in the order of time, models and fractions in that of the ladder."""
    frames = [
        part.select(
            "race_id",
            model=pl.lit(model),
            fraction=pl.lit(fraction),
            rows=pl.col("rows"),
            **{name: pl.col(name) / (pl.col("rows") if name in metrics.PER_ROW else 1) for name in SHOWN},
        )
        for (model, fraction), part in parts.items()
    ]
    order = calendar.with_row_index("_race")
    rows = pl.concat(frames).with_row_index("_row").join(order, on="race_id", how="left").sort("_race", "_row")
    return rows.select("race_id", "season", "model", "fraction", "rows", *SHOWN)


def _by_season(by_race: pl.DataFrame) -> pl.DataFrame:
    """Means over race x driver (spearman: over races) of each season."""
    weighted = [
        (
            (pl.col(name) * pl.col("rows")).sum() / pl.col("rows").sum()
            if name in metrics.PER_ROW
            else pl.col(name).mean()
        ).alias(name)
        for name in SHOWN
    ]
    groups = by_race.group_by("season", "model", "fraction", maintain_order=True)
    return groups.agg(pl.len().cast(pl.Int64).alias("races"), *weighted)


RELIABILITY = {
    "model": pl.String,
    "fraction": pl.Float64,
    "event": pl.String,
    "bin": pl.Int64,
    "rows": pl.Int64,
    "mean_probability": pl.Float64,
    "frequency": pl.Float64,
}


def _reliability(model: str, fraction: float, forecasts: Forecasts) -> pl.DataFrame:
    made: list[tuple[object, ...]] = []
    for event in metrics.EVENTS:
        if event == "finish" and any(race.finish is None for race in forecasts.races):
            continue
        pairs = [race.event(event) for race in forecasts.races]
        probability, happened = (np.concatenate(column) for column in zip(*pairs, strict=True))
        for number, found in enumerate(metrics.calibration_bins(probability, happened), start=1):
            made.append((model, fraction, event, number, *found))
    return pl.DataFrame(made, schema=RELIABILITY, orient="row")


def _pictures(model: str, fraction: float, forecasts: Forecasts) -> pl.DataFrame:
    losses = np.concatenate([metrics.log_loss(race.probs, race.position) for race in forecasts.races])
    seen = forecasts.has_image
    with_picture, without = (float(losses[part].mean()) if part.any() else None for part in (seen, ~seen))
    return pl.DataFrame(
        [(model, fraction, len(losses), int((~seen).sum()), with_picture, without)],
        schema={
            "model": pl.String,
            "fraction": pl.Float64,
            "rows": pl.Int64,
            "without_picture": pl.Int64,
            "log_loss_with": pl.Float64,
            "log_loss_without": pl.Float64,
        },
        orient="row",
    )


def _notes(scored: ScoredRaces, models: Sequence[str], fractions: Sequence[float]) -> tuple[str, ...]:
    """Races that some models lack, and forecasts that could not be scored in full."""
    notes = []
    if scored.skipped:
        shown = ", ".join(scored.skipped[:NAMED]) + (" and others" if len(scored.skipped) > NAMED else "")
        notes.append(f"races without results, skipped: {len(scored.skipped)} ({shown}).")
    for fraction in fractions:
        when = ladder.moment(fraction)
        covered = {
            model: {race.race_id for race in scored.forecasts[model, fraction].races}
            for model in models
            if (model, fraction) in scored.forecasts
        }
        every = set().union(*covered.values())
        for model in models:
            if fraction == 0 and model in ladder.IN_RACE_ONLY:
                continue
            if model not in covered:
                notes.append(f"{model} has no forecasts {when}.")
            elif lacking := len(every - covered[model]):
                notes.append(
                    f"{model} lacks {lacking} of the {len(every)} races {when}: its scores there are over "
                    "other races than those of other models; pairs are compared over common races only."
                )
    for (model, fraction), forecasts in scored.forecasts.items():
        if forecasts.some_finish and any(race.finish is None for race in forecasts.races):
            when = ladder.moment(fraction)
            notes.append(f"{model} forecasts p_finish for a part of the races {when}: finish is not scored there.")
    return tuple(notes)
