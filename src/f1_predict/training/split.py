"""Which season trains, validates and tests: walk-forward by season, never by row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from f1_predict.errors import ConfigError
from f1_predict.horizon import Horizon, RaceArchive

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class SeasonSplit:
    """Seasons in the order of time: train, then validation, then test.

    Raises:
        ConfigError: if a part is empty, or a season of an earlier part is not before all of a later one.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, seasons in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if not seasons:
                raise ConfigError(
                    f"the split has no {name} season: it needs at least one each to train, validate and test."
                )
        if not (max(self.train) < min(self.validation) and max(self.validation) < min(self.test)):
            raise ConfigError(
                f"training ({_span(self.train)}), validation ({_span(self.validation)}) and test seasons "
                f"({_span(self.test)}) must follow each other in time."
            )

    def part_of(self, season: int) -> SplitName | None:
        """The part that a season belongs to, or None."""
        if season in self.train:
            return "train"
        if season in self.validation:
            return "validation"
        return "test" if season in self.test else None

    def describe(self) -> str:
        """One line for people."""
        return f"train {_span(self.train)}, validate {_span(self.validation)}, test {_span(self.test)}"


def _span(seasons: Sequence[int]) -> str:
    return str(seasons[0]) if len(seasons) == 1 else f"{min(seasons)}-{max(seasons)}"


def split_seasons(
    available: Iterable[int],
    train: tuple[int, int] | None = None,
    test: tuple[int, int] | None = None,
) -> SeasonSplit:
    """Split the seasons there are.

    Args:
        available: seasons with races.
        train: first and last season to learn from (the latest of them validate); default: all before `test`.
        test: first and last season to score; default: the last fifth of the seasons, at least one.

    Returns:
        The split. Validation is the latest season of the training range; the latest two from six seasons on.

    Raises:
        ConfigError: if fewer than three seasons are there, or the ranges leave a part empty or overlap.
    """
    seasons = sorted(set(available))
    if len(seasons) < 3:
        raise ConfigError(
            f"{len(seasons)} season(s) are too few: one each is needed to train, validate and test. "
            "Ingest or simulate at least three seasons."
        )
    if test is None:
        later = seasons if train is None else [s for s in seasons if s > train[1]]
        tested = later if train is not None else seasons[-max(1, len(seasons) // 5) :]
    else:
        tested = [s for s in seasons if test[0] <= s <= test[1]]
    first_test = min(tested, default=seasons[-1] + 1)
    low, high = train or (seasons[0], first_test - 1)
    learning = [s for s in seasons if low <= s <= high]
    held_out = 2 if len(learning) >= 6 else 1
    return SeasonSplit(tuple(learning[:-held_out]), tuple(learning[-held_out:]), tuple(tested))


def cuts_of(
    archive: RaceArchive, split: SeasonSplit, fractions: Sequence[float]
) -> list[tuple[str, Horizon, SplitName]]:
    """The cuts of a dataset: every race of the split's seasons that has results, at every fraction.

    A race without laps is cut before the race only. Fractions that fall on the same lap give one cut.

    Args:
        archive: the races.
        split: seasons and their parts.
        fractions: of the scheduled laps; 0 is before the race.

    Returns:
        (race_id, horizon, part) in the order of time.
    """
    cuts: list[tuple[str, Horizon, SplitName]] = []
    for race_id, season in archive.races.select("race_id", "season").iter_rows():
        part = split.part_of(season)
        if part is None or archive.rows("results", race_id).is_empty():
            continue
        reachable = [f for f in fractions if f == 0 or archive.laps_completed(race_id) > 0]
        horizons = dict.fromkeys(archive.horizon_at(race_id, fraction) for fraction in reachable)
        cuts += [(race_id, horizon, part) for horizon in horizons]
    return cuts
