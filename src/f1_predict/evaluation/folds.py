"""What a backtest forecasts and from what it may learn: seasons, cuts, folds.

Walk-forward by season. Knows nothing of models, files or scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from f1_predict.config import Config
from f1_predict.errors import ConfigError, NotFoundError
from f1_predict.evaluation import ladder
from f1_predict.horizon import Horizon, RaceArchive
from f1_predict.training.cut_table import CutTable, Integers
from f1_predict.training.split import split_seasons


@dataclass(frozen=True)
class Plan:
    """What a backtest is to forecast.

    Attributes:
        seasons: the test seasons, each forecast from what came before it.
        models: rungs of the ladder, in its order.
        fractions: of the scheduled laps; 0 is before the race.
    """

    seasons: tuple[int, ...]
    models: tuple[str, ...]
    fractions: tuple[float, ...]

    @classmethod
    def of(
        cls, archive: RaceArchive, seasons: tuple[int, int], models: Sequence[str], fractions: Sequence[float]
    ) -> Plan:
        """A plan that the races allow.

        Args:
            archive: the races there are.
            seasons: first and last test season.
            models: names of rungs; none means all.
            fractions: in [0, 1).

        Raises:
            NotFoundError: if a model is no rung.
            ConfigError: if a fraction is not in [0, 1), or there is no such season, or too few before the first.
        """
        for model in models:
            if model not in ladder.RUNGS:
                raise NotFoundError("model", model, ladder.RUNGS)
        outside = [fraction for fraction in fractions if not 0.0 <= fraction < 1.0]
        if outside or not fractions:
            raise ConfigError(f"fractions must be one or more in [0, 1), got {list(fractions)}.")
        there = archive.races["season"].unique().sort().to_list()
        if not there:
            raise ConfigError("the store holds no races. Ingest some with `f1-predict ingest`.")
        tested = tuple(season for season in there if seasons[0] <= season <= seasons[1])
        if not tested:
            raise ConfigError(
                f"there is no season of {seasons[0]}-{seasons[1]} in the store, which holds {there[0]}-{there[-1]}. "
                "Ingest it, or choose others with --test-seasons."
            )
        before_only = max(fractions) == 0.0
        if before_only and models and set(models) <= ladder.IN_RACE_ONLY:
            raise ConfigError(f"{', '.join(models)} forecasts during the race only. Give --fractions above 0.")
        chosen = tuple(
            name
            for name in ladder.RUNGS
            if (name in models or not models) and not (before_only and name in ladder.IN_RACE_ONLY)
        )
        return cls(tested, chosen, tuple(sorted(set(fractions))))

    def learning_fractions(self, training_cuts: int) -> tuple[float, ...]:
        """The start, evenly spread fractions of the race, and those that are scored."""
        spread = [round(step / (training_cuts + 1), 6) for step in range(training_cuts + 1)]
        return tuple(sorted({*spread, *self.fractions}))


@dataclass(frozen=True)
class Cuts:
    """The cuts of a plan's races: which there are, and which fractions they stand at.

    Attributes:
        cuts: (race_id, horizon), each once, in the order of time.
        at: fraction -> (race_id, horizon) of each race that reaches it.
    """

    cuts: tuple[tuple[str, Horizon], ...]
    at: Mapping[float, tuple[tuple[str, Horizon], ...]]

    @classmethod
    def of(cls, archive: RaceArchive, plan: Plan, config: Config) -> Cuts:
        """All cuts to learn from and to forecast; a race without laps is cut before the start only."""
        races = archive.races.filter(pl.col("season") <= max(plan.seasons))
        at: dict[float, list[tuple[str, Horizon]]] = {}
        cuts: dict[tuple[str, Horizon], None] = {}
        for race_id, season in races.select("race_id", "season").iter_rows():
            if archive.rows("entries", race_id).is_empty():
                continue
            tested = season in plan.seasons
            fractions = plan.learning_fractions(config.evaluation.training_cuts)
            if not tested and archive.rows("results", race_id).is_empty():
                continue  # nothing to learn from it, and it is not asked for
            for fraction in fractions:
                if fraction == 0.0 or archive.laps_completed(race_id) > 0:
                    cut = (race_id, archive.horizon_at(race_id, fraction))
                    cuts[cut] = None
                    at.setdefault(fraction, []).append(cut)
        return cls(tuple(cuts), {fraction: tuple(found) for fraction, found in at.items()})

    def scored(self, plan: Plan) -> list[tuple[str, Horizon]]:
        """The cuts at the scored fractions, which need pictures; in the order of time."""
        wanted = {cut for fraction in plan.fractions for cut in self.at.get(fraction, ())}
        return [cut for cut in self.cuts if cut in wanted]


@dataclass(frozen=True)
class Fold:
    """One season to forecast and what may be learnt from: everything before it.

    Attributes:
        season: the test season.
        train: numbers of the cuts to learn from, at all fractions of all races of earlier seasons.
        validation: the same, of the latest earlier season(s): what chooses when to stop.
        test: numbers of the cuts to forecast.
        at: fraction of the race -> numbers of the cuts at it, of all seasons; two fractions may share a cut.
        scored: the fractions that are forecast.
    """

    season: int
    train: Integers
    validation: Integers
    test: Integers
    at: Mapping[float, Integers]
    scored: tuple[float, ...]

    @property
    def learned(self) -> Integers:
        """Training and validation cuts."""
        return np.concatenate([self.train, self.validation])

    @property
    def scored_cuts(self) -> Integers:
        """The cuts at the scored fractions, of all seasons, each once."""
        return cuts_at(self.at, self.scored)


def cuts_at(at: Mapping[float, Integers], fractions: Sequence[float]) -> Integers:
    """The cuts that stand at some fractions, each once, in the order of time."""
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(at[fraction] for fraction in fractions)]))


def fold_of(table: CutTable, cuts: Cuts, plan: Plan, season: int) -> Fold:
    """What may be learnt from and what is to be forecast, for one test season.

    Walk-forward by season: every training and validation race is of an earlier season and has a result; the latest
    two earlier seasons (one, where there are few) validate.

    Raises:
        ConfigError: if fewer than two earlier seasons have results.
    """
    number = {key: i for i, key in enumerate(zip(table.cuts["race_id"], table.cuts["horizon"], strict=True))}
    at = {
        fraction: np.array([number[race_id, horizon.name] for race_id, horizon in found], dtype=np.int64)
        for fraction, found in cuts.at.items()
    }
    seasons = table.cuts["season"].to_numpy()
    has_result = table.positions[table.cuts["first_row"].to_numpy()] > 0
    earlier = sorted({int(s) for s in seasons[has_result] if s < season})
    if len(earlier) < 2:
        raise ConfigError(
            f"season {season} cannot be forecast: {len(earlier)} season(s) with results before it; one to train, one "
            "to validate are needed. Ingest earlier seasons, or start with a later one (--test-seasons)."
        )
    split = split_seasons([*earlier, season], (earlier[0], earlier[-1]), (season, season))
    scored = tuple(fraction for fraction in plan.fractions if fraction in at)
    wanted = cuts_at(at, scored)
    return Fold(
        season=season,
        train=np.flatnonzero(np.isin(seasons, split.train) & has_result),
        validation=np.flatnonzero(np.isin(seasons, split.validation) & has_result),
        test=wanted[seasons[wanted] == season],
        at=at,
        scored=scored,
    )
