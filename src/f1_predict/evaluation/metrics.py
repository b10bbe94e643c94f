"""How good forecasts of races were: proper scores, orders, events, calibration, coherence.

Pure functions on one race or on columns of events, and `score` over a table of predictions. Knows
nothing of models: a prediction is a row, whoever made it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.errors import ConfigError, DataError
from f1_predict.models.probabilities import PODIUM_PLACES, POINTS_PLACES, Forecast, summarise

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CLIP = 1e-9
"""Smallest probability in the log-loss."""
CALIBRATION_BINS = 15
_SUM_TOLERANCE = 1e-6
_COLUMNS = ("race_id", "driver_id", "position", "n_starters", "position_probs")


# --- One race: `probs` (n, n) driver x place, `position` (n,) true places 1..n, `rank` (n,) predicted places 1..n.


def log_loss(probs: FloatArray, position: IntArray) -> FloatArray:
    """-ln P(true position) of each row, natural logarithm, P clipped at 1e-9: (n,)."""
    return np.asarray(-np.log(np.maximum(probs[np.arange(len(probs)), position - 1], CLIP)), dtype=np.float64)


def rps(probs: FloatArray, position: IntArray) -> FloatArray:
    """Ranked probability score of each row: (n,), 0 for a field of one.

    Mean over the thresholds 1..places-1 of (P(place <= t) - [true place <= t])^2: E. Epstein, "A scoring
    system for probability forecasts of ranked categories", J. Appl. Meteorol. 8 (1969), divided by the
    number of thresholds so that fields of different sizes compare.
    """
    places = probs.shape[1]
    if places < 2:
        return np.zeros(len(probs))
    cumulative = np.cumsum(probs, axis=1)[:, :-1]
    step = position[:, None] <= np.arange(1, places)[None, :]
    return np.asarray(np.mean((cumulative - step) ** 2, axis=1), dtype=np.float64)


def accuracy(probs: FloatArray, position: IntArray) -> FloatArray:
    """1 where the most probable place (the first of equal ones) is the true one, else 0: (n,)."""
    return np.asarray(np.argmax(probs, axis=1) + 1 == position, dtype=np.float64)


def mae(rank: IntArray, position: IntArray) -> FloatArray:
    """Absolute difference of predicted rank and true position of each row, in places: (n,)."""
    return np.asarray(np.abs(rank - position), dtype=np.float64)


def spearman(rank: IntArray, position: IntArray) -> float:
    """Spearman's rank correlation of a race, 1 - 6 sum d^2 / (n (n^2 - 1)); NaN for fewer than two cars.

    Both orders are without ties, for which this formula is exact.
    """
    n = len(rank)
    if n < 2:
        return float("nan")
    return float(1.0 - 6.0 * np.sum((rank - position) ** 2) / (n * (n**2 - 1)))


def kendall(rank: IntArray, position: IntArray) -> float:
    """Kendall's tau of a race: share of pairs in the right order less that in the wrong one; NaN below two cars."""
    n = len(rank)
    if n < 2:
        return float("nan")
    agreement = np.sign(rank[:, None] - rank[None, :]) * np.sign(position[:, None] - position[None, :])
    return float(agreement.sum() / (n * (n - 1)))


def winner(rank: IntArray, position: IntArray) -> float:
    """1 if the race's winner is ranked first, else 0."""
    return float(rank[np.argmin(position)] == 1)


def podium(rank: IntArray, position: IntArray) -> float:
    """Share of the true first three among the predicted first three (of all, in a field below three)."""
    places = min(PODIUM_PLACES, len(rank))
    return float(np.sum((rank <= places) & (position <= places)) / places)


def coherence(probs: FloatArray) -> float:
    """Largest absolute deviation from 1 of any row or column sum of a race's driver x place matrix."""
    return float(max(np.abs(probs.sum(axis=0) - 1.0).max(), np.abs(probs.sum(axis=1) - 1.0).max()))


# --- Events: `probability` (n,) and `happened` (n,) of whether.


def brier(probability: FloatArray, happened: npt.NDArray[np.bool_]) -> FloatArray:
    """Squared difference of the event's probability and 1 or 0, each row: (n,)."""
    return np.asarray((probability - happened) ** 2, dtype=np.float64)


def ece(probability: FloatArray, happened: npt.NDArray[np.bool_], bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error: mean over rows of |mean probability - frequency| of the row's bin.

    Rows are ordered by probability (equal ones keep their order) and cut into `bins` bins of the same
    number of rows, the first ones a row larger where it does not divide: M. Naeini, G. Cooper and
    M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI (2015).
    """
    gaps = [abs(mean - frequency) * rows for rows, mean, frequency in calibration_bins(probability, happened, bins)]
    return sum(gaps) / len(probability)


def calibration_bins(
    probability: FloatArray, happened: npt.NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> list[tuple[int, float, float]]:
    """Rows, mean probability and frequency of the event in each bin of `ece`, the least probable bin first."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [(len(part), float(probability[part].mean()), float(happened[part].mean())) for part in parts]


# --- Tables of predictions.


@dataclass(frozen=True)
class RaceRows:
    """One race of a table of predictions, checked, rows ordered by driver_id.

    Attributes:
        race_id: the race.
        position: int64 (n,), true places, 1..n, each once.
        probs: float64 (n, n), rows sum to 1.
        forecast: what the probabilities come to.
        finish: probability of being classified and whether so, each (n,); None where not forecast.
    """

    race_id: str
    position: IntArray
    probs: FloatArray
    forecast: Forecast
    finish: tuple[FloatArray, npt.NDArray[np.bool_]] | None

    def event(self, name: str) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Probability and outcome of "win", "podium", "points" or "finish"."""
        if name == "win":
            return self.forecast.p_win, self.position == 1
        if name == "podium":
            return self.forecast.p_podium, self.position <= PODIUM_PLACES
        if name == "points":
            return self.forecast.p_points, self.position <= POINTS_PLACES
        if self.finish is None:
            raise DataError(f"{self.race_id}: no 'p_finish' to score. Add the column, or leave out brier_finish.")
        return self.finish


EVENTS = ("win", "podium", "points", "finish")

PER_ROW: dict[str, Callable[[RaceRows], FloatArray]] = {
    "log_loss": lambda race: log_loss(race.probs, race.position),
    "rps": lambda race: rps(race.probs, race.position),
    "accuracy": lambda race: accuracy(race.probs, race.position),
    "mae": lambda race: mae(race.forecast.predicted_rank, race.position),
    "brier_win": lambda race: brier(*race.event("win")),
    "brier_podium": lambda race: brier(*race.event("podium")),
    "brier_points": lambda race: brier(*race.event("points")),
    "brier_finish": lambda race: brier(*race.event("finish")),
}
"""Metrics averaged over race x driver: contribution of each row of a race."""

PER_RACE: dict[str, Callable[[RaceRows], float]] = {
    "spearman": lambda race: spearman(race.forecast.predicted_rank, race.position),
    "kendall": lambda race: kendall(race.forecast.predicted_rank, race.position),
    "winner": lambda race: winner(race.forecast.predicted_rank, race.position),
    "podium": lambda race: podium(race.forecast.predicted_rank, race.position),
    "coherence": lambda race: coherence(race.probs),
}
"""Metrics with one value a race, averaged over races."""

HIGHER_IS_BETTER = frozenset({"accuracy", "spearman", "kendall", "winner", "podium"})
"""Metrics of which more is better; of all others less is."""


def races_of(rows: pl.DataFrame) -> list[RaceRows]:
    """The races of a table of predictions of one model at one horizon, in the order of race_id.

    Args:
        rows: one row per race x driver with race_id, driver_id, position (true place), n_starters,
            position_probs (list of n_starters floats that sum to 1); p_finish together with classified
            is optional.

    Raises:
        DataError: naming the race, if a column is missing, there are no rows, a driver comes twice, a
            race has fewer or more rows than starters, its true places are not 1..n, or probabilities
            are not n_starters non-negative numbers that sum to 1 within 1e-6.
    """
    missing = [name for name in _COLUMNS if name not in rows.columns]
    if missing or rows.is_empty():
        raise DataError(
            f"a table of predictions needs rows and the columns {', '.join(_COLUMNS)}; it has {rows.height} rows"
            f" and lacks {', '.join(missing) or 'no column'}. Score one model at one horizon at a time."
        )
    ordered = rows.sort("race_id", "driver_id")
    return [_race(part) for part in ordered.partition_by("race_id", maintain_order=True)]


def _race(part: pl.DataFrame) -> RaceRows:
    race_id = part["race_id"][0]
    twice = part.filter(pl.col("driver_id").is_duplicated())
    if twice.height:
        raise DataError(
            f"{race_id}: driver '{twice['driver_id'][0]}' has several rows. Score one model at one horizon at a time."
        )
    starters = part["n_starters"].unique().to_list()
    if starters != [part.height]:
        raise DataError(
            f"{race_id} has {part.height} rows for {' or '.join(map(str, starters))} starters. Forecast every starter."
        )
    n = part.height
    position = part["position"].cast(pl.Int64)
    if position.sort().to_list() != list(range(1, n + 1)):
        raise DataError(f"{race_id}: true positions must be 1..{n}, each once, got {position.sort().to_list()}.")
    probs = _probabilities(part, race_id)
    finish = None
    if "p_finish" in part.columns and "classified" in part.columns and not part["p_finish"].has_nulls():
        p_finish = part["p_finish"].cast(pl.Float64).to_numpy()
        if not ((p_finish >= 0.0) & (p_finish <= 1.0)).all():
            raise DataError(f"{race_id}: 'p_finish' must be in [0, 1], got {p_finish.min()} to {p_finish.max()}.")
        finish = (p_finish, part["classified"].to_numpy().astype(np.bool_))
    return RaceRows(race_id, position.to_numpy(), probs, summarise(probs), finish)


def _probabilities(part: pl.DataFrame, race_id: str) -> FloatArray:
    lists = part["position_probs"].to_list()
    for driver, values in zip(part["driver_id"], lists, strict=True):
        if values is None or len(values) != part.height:
            raise DataError(
                f"{race_id}, driver '{driver}': 'position_probs' must have {part.height} numbers, one a starter, "
                f"got {'null' if values is None else len(values)}. Use to_field on the model's classes."
            )
    probs = np.array(lists, dtype=np.float64)
    bad = ~(np.isfinite(probs) & (probs >= 0.0)).all(axis=1) | ~(np.abs(probs.sum(axis=1) - 1.0) <= _SUM_TOLERANCE)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{race_id}, driver '{part['driver_id'][row]}': 'position_probs' must not be negative and sum to 1, "
            f"got {probs[row].min()} at least and a sum of {probs[row].sum()}. Use to_field on the model's output."
        )
    return probs


def score(rows: pl.DataFrame) -> dict[str, float]:
    """All metrics of one model's predictions at one horizon, by name.

    Averages run over race x driver; `spearman`, `kendall`, `winner`, `podium` and `coherence` over races;
    `ece_*` pools all rows. The metrics of "finish" are there only if every race has `p_finish`.

    Args:
        rows: see `races_of`.

    Raises:
        DataError: as `races_of`.
    """
    races = races_of(rows)
    with_finish = all(race.finish is not None for race in races)
    scores: dict[str, float] = {}
    for name, per_row in PER_ROW.items():
        if with_finish or name != "brier_finish":
            scores[name] = float(np.mean(np.concatenate([per_row(race) for race in races])))
    for name, whole_race in PER_RACE.items():
        scores[name] = float(np.mean([whole_race(race) for race in races]))
    for event in EVENTS:
        if with_finish or event != "finish":
            parts = [race.event(event) for race in races]
            scores[f"ece_{event}"] = ece(np.concatenate([p for p, _ in parts]), np.concatenate([h for _, h in parts]))
    return scores


def per_race(rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """What each race contributes to a metric: its mean over the table is sum(total) / sum(weight).

    Args:
        rows: see `races_of`.
        metric: a name in PER_ROW (weight = rows of the race) or PER_RACE (weight = 1).

    Returns:
        race_id, total (Float64), weight (Float64), one row a race in the order of race_id.

    Raises:
        ConfigError: if no race contributes to the metric on its own, or there is none of that name.
        DataError: as `races_of`.
    """
    if metric not in PER_ROW and metric not in PER_RACE:
        raise ConfigError(
            f"'{metric}' is no metric that races contribute to. Use one of {', '.join([*PER_ROW, *PER_RACE])}."
        )
    races = races_of(rows)
    if metric in PER_ROW:
        values = [PER_ROW[metric](race) for race in races]
        totals, weights = [float(v.sum()) for v in values], [float(len(v)) for v in values]
    else:
        totals, weights = [PER_RACE[metric](race) for race in races], [1.0] * len(races)
    return pl.DataFrame({"race_id": [race.race_id for race in races], "total": totals, "weight": weights})


def contributions(races: list[RaceRows]) -> pl.DataFrame:
    """What each race contributes to every metric, in one pass over the races.

    Returns:
        race_id, rows (Int64), and one Float64 column per name in PER_ROW (sum over the race's rows) and PER_RACE
        (the race's value), rows in the order of `races`; without brier_finish unless all races have `p_finish`.
    """
    with_finish = all(race.finish is not None for race in races)
    columns: dict[str, list[float]] = {}
    for name, per_row in PER_ROW.items():
        if with_finish or name != "brier_finish":
            columns[name] = [float(per_row(race).sum()) for race in races]
    for name, whole_race in PER_RACE.items():
        columns[name] = [whole_race(race) for race in races]
    keys = {"race_id": [race.race_id for race in races], "rows": [len(race.position) for race in races]}
    return pl.DataFrame({**keys, **columns})
