"""What a table of predictions must be: its columns, and the checks that say which row breaks which rule.

Knows no files, no results and no metrics: whoever made the rows, a table that passes here can be scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from f1_predict.errors import DataError
from f1_predict.models.probabilities import PODIUM_PLACES, POINTS_PLACES

FloatArray = npt.NDArray[np.float64]

PREDICTION_COLUMNS: dict[str, pl.DataType] = {
    "race_id": pl.String(),
    "driver_id": pl.String(),
    "model": pl.String(),
    "horizon": pl.String(),  # "pre_race" or "lap_k"
    "fraction": pl.Float64(),  # of the scheduled laps; 0 before the race
    "cutoff_lap": pl.Int32(),  # 0 before the race, else the k of "lap_k"
    "n_starters": pl.Int32(),
    "position_probs": pl.List(pl.Float64()),  # n_starters numbers that sum to 1, first place first
    "expected_position": pl.Float64(),
    "predicted_rank": pl.Int32(),  # 1..n_starters by expected_position, each once in a race
    "p_win": pl.Float64(),
    "p_podium": pl.Float64(),
    "p_points": pl.Float64(),
    "p_finish": pl.Float64(),  # null where not forecast
    "has_image": pl.Boolean(),
}
"""Column -> dtype of the predictions file, in order. Only `p_finish` may be null."""
NULLABLE = frozenset({"p_finish"})
FORECAST_KEYS = ("race_id", "fraction", "model")
"""What makes up one forecast of a whole field."""
TOLERANCE = 1e-6
"""How far sums and summaries may be from what the probabilities give."""
REMEDY_FILE = "Give the Parquet file that `f1-predict backtest --out FILE.parquet` wrote, or one with the same columns."


@dataclass(frozen=True)
class _Checked:
    """A frame on its way through the checks, and how a refusal names one of its rows."""

    frame: pl.DataFrame
    where: str

    def require(
        self, good: pl.Series | npt.NDArray[np.bool_], must: str, came: str | Callable[[int], str], remedy: str
    ) -> None:
        """Refuse the first row that is not good.

        Args:
            good: one flag a row.
            must: what every row must be.
            came: what the row is; may name columns, as in '{fraction}', or be a function of the row's number.
            remedy: what to do.

        Raises:
            DataError: naming file, row, race, driver, model and the remedy.
        """
        flags = np.asarray(good, dtype=np.bool_)
        if flags.all():
            return
        number = int(np.argmin(flags))
        row = self.frame.row(number, named=True)
        got = came.format(**row) if isinstance(came, str) else came(number)
        raise DataError(f"{_row_name(self.where, number, row)}: {must}, got {got}. {remedy}")


def _row_name(where: str, number: int, row: dict[str, object]) -> str:
    keys = [f"{row.get('race_id')}", f"driver '{row.get('driver_id')}'", f"model '{row.get('model')}'"]
    return f"{where}, row {number + 1} ({', '.join(keys)})"


def validate_predictions(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """Check a table of predictions.

    Args:
        frame: the columns of PREDICTION_COLUMNS in any order; other widths of integers and floats are cast
            where no value changes.
        where: what messages call the table, usually its file.

    Returns:
        the same rows in the same order, columns and dtypes as PREDICTION_COLUMNS.

    Raises:
        DataError: naming file, row (the first is 1), race, driver, model and the remedy, if a column is missing,
            unknown or of another kind; there are no rows; a value is null; horizon, fraction and cutoff_lap
            disagree; probabilities are not n_starters finite numbers >= 0 that sum to 1 within 1e-6, or
            expected_position, p_win, p_podium or p_points are more than 1e-6 from what they give; p_finish is
            not in [0, 1], or given for a part of a field; a forecast of a race has fewer or more rows than
            starters, a driver twice, or ranks that are not 1..n in the order of expected_position; two models
            forecast the same fraction of a race at different cuts or for fields of different sizes.
    """
    checked = _Checked(_with_types(frame, where), where)
    _require_moments(checked)
    _require_probabilities(checked)
    _require_finish(checked)
    _require_whole_fields(checked)
    _require_ranks(checked)
    _require_same_cuts(checked)
    return checked.frame


def _with_types(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    missing = [name for name in PREDICTION_COLUMNS if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in PREDICTION_COLUMNS]
    if missing or unknown:
        raise DataError(
            f"{where}: columns must be {', '.join(PREDICTION_COLUMNS)}; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}. "
            "Add, rename or drop columns, one row per race, driver, horizon and model."
        )
    if frame.is_empty():
        raise DataError(f"{where}: a predictions file needs rows, got none. {REMEDY_FILE}")
    columns = [_with_type(frame, name, dtype, where) for name, dtype in PREDICTION_COLUMNS.items()]
    made = pl.DataFrame(columns)
    checked = _Checked(made, where)
    for name in PREDICTION_COLUMNS:
        if name not in NULLABLE:
            checked.require(made[name].is_not_null(), f"'{name}' must have a value", "null", "Fill it in.")
    return made


def _with_type(frame: pl.DataFrame, name: str, dtype: pl.DataType, where: str) -> pl.Series:
    """A column as `dtype`, if it is of the same kind and no value changes."""
    series = frame[name]
    if series.dtype == dtype:
        return series
    inner = getattr(series.dtype, "inner", None)
    if isinstance(dtype, pl.List):
        fits = isinstance(series.dtype, pl.List | pl.Array) and inner is not None and inner.is_numeric()
    elif dtype.is_numeric():
        fits = series.dtype.is_numeric() or (series.dtype == pl.Null and name in NULLABLE)
    else:
        fits = dtype == pl.String and isinstance(series.dtype, pl.Categorical | pl.Enum)
    if not fits:
        raise DataError(f"{where}: column '{name}' must be {dtype}, got {series.dtype}. Convert the column.")
    cast = series.cast(dtype, strict=False)
    if dtype.is_numeric() and series.dtype != pl.Null:
        kept = cast.cast(series.dtype, strict=False).eq_missing(series)
        came = f"{{{name}}}, which {dtype} cannot hold"
        _Checked(frame, where).require(kept, f"'{name}' must be of type {dtype}", came, "Correct the value.")
    if name == "fraction" and series.dtype == pl.Float32:
        return cast.round(6)  # 0.1 in single precision is the same part of the race as 0.1
    return cast


def _require_moments(checked: _Checked) -> None:
    """Fraction, horizon and cutoff_lap tell the same moment."""
    frame = checked.frame
    checked.require(
        frame["fraction"].is_between(0.0, 1.0) & frame["fraction"].is_not_nan(),
        "'fraction' must be in [0, 1]",
        "{fraction}",
        "Give the share of the scheduled laps, 0 before the race.",
    )
    before = frame["fraction"] == 0.0
    expected = frame.select(
        pl.when(pl.col("fraction") == 0.0)
        .then(pl.lit("pre_race"))
        .otherwise(pl.concat_str(pl.lit("lap_"), pl.col("cutoff_lap")))
    ).to_series()
    checked.require(
        (frame["horizon"] == expected) & ((frame["cutoff_lap"] >= 1) ^ before) & (frame["cutoff_lap"] >= 0),
        "'horizon' must be 'pre_race' with fraction 0 and cutoff_lap 0, or 'lap_k' with cutoff_lap k >= 1 and a "
        "fraction above 0",
        "horizon '{horizon}', fraction {fraction}, cutoff_lap {cutoff_lap}",
        "Make the three tell the same moment.",
    )


def _require_probabilities(checked: _Checked) -> None:
    """Probabilities of a field, and summaries that are what they give."""
    frame = checked.frame
    checked.require(
        frame["n_starters"] >= 2, "'n_starters' must be 2 or more", "{n_starters}", "Give the number of entries."
    )
    lengths = frame["position_probs"].list.len()
    checked.require(
        lengths == frame["n_starters"].cast(lengths.dtype),
        "'position_probs' must have n_starters numbers",
        lambda row: f"{lengths[row]} for n_starters {frame['n_starters'][row]}",
        "Give one probability a place, the first place first.",
    )
    flat = frame["position_probs"].explode().fill_null(np.nan).to_numpy()
    sizes = frame["n_starters"].to_numpy()
    starts = np.cumsum(sizes) - sizes
    sums, least = np.empty(len(sizes)), np.empty(len(sizes))
    derived = {name: np.empty(len(sizes)) for name in ("expected_position", "p_win", "p_podium", "p_points")}
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        probs = flat[starts[rows][:, None] + np.arange(size)[None, :]]
        with np.errstate(invalid="ignore", over="ignore"):  # rows with infinite values are refused below
            sums[rows], least[rows] = probs.sum(axis=1), probs.min(axis=1)
            derived["expected_position"][rows] = (probs * np.arange(1, size + 1)).sum(axis=1)
            derived["p_win"][rows] = probs[:, 0]
            derived["p_podium"][rows] = probs[:, :PODIUM_PLACES].sum(axis=1)
            derived["p_points"][rows] = probs[:, :POINTS_PLACES].sum(axis=1)
    checked.require(
        (least >= 0.0) & (np.abs(sums - 1.0) <= TOLERANCE),  # a NaN fails both
        "'position_probs' must be finite, not negative and sum to 1 within 1e-6",
        lambda row: f"a sum of {sums[row]:.9g} and {least[row]:.3g} at least",
        "Divide each row by its sum.",
    )
    for name, values in derived.items():
        checked.require(
            np.abs(frame[name].to_numpy() - values) <= TOLERANCE,
            f"'{name}' must be what position_probs give within 1e-6",
            _what_came(frame[name], values),
            "Compute it from position_probs: the mean place, or the sum over the first 1, 3 or 10 places.",
        )


def _what_came(given: pl.Series, values: FloatArray) -> Callable[[int], str]:
    return lambda row: f"{given[row]}, where they give {values[row]:.9g}"


def _require_finish(checked: _Checked) -> None:
    finish = checked.frame["p_finish"]
    checked.require(
        finish.is_null() | (finish.is_between(0.0, 1.0) & finish.is_not_nan()).fill_null(False),
        "'p_finish' must be a probability in [0, 1], or null where it is not forecast",
        "{p_finish}",
        "Correct the value.",
    )
    partly = checked.frame.select(
        pl.col("p_finish").is_not_null() | (pl.col("p_finish").is_null().all().over(FORECAST_KEYS))
    ).to_series()
    checked.require(
        partly,
        "'p_finish' must be given for all drivers of a forecast or for none",
        "null beside numbers",
        "Forecast every starter, or leave the column null for the race.",
    )


def _require_whole_fields(checked: _Checked) -> None:
    """One row a starter in every forecast."""
    frame = checked.frame
    again = frame.select(pl.struct(*FORECAST_KEYS, "driver_id").is_first_distinct()).to_series()
    checked.require(
        again,
        "a driver must have one row per race, fraction and model",
        "a second one at fraction {fraction}",
        "Drop the repeated rows.",
    )
    counted = frame.select("n_starters", rows=pl.len().over(FORECAST_KEYS).cast(pl.Int32))
    whole = counted["rows"] == counted["n_starters"]
    found = counted["rows"][int(whole.to_numpy().argmin())]  # of the first row that is refused, if one is
    checked.require(
        whole,
        "a forecast must have one row per starter",
        f"{found} rows for n_starters {{n_starters}} at fraction {{fraction}}",
        "Forecast every starter of the race, and give all of them the same n_starters.",
    )


def _require_ranks(checked: _Checked) -> None:
    frame = checked.frame
    rank = frame["predicted_rank"]
    distinct = frame.select(pl.struct(*FORECAST_KEYS, "predicted_rank").is_first_distinct()).to_series()
    checked.require(
        (rank >= 1) & (rank <= frame["n_starters"]) & distinct,
        "'predicted_rank' must be 1..n_starters, each once in a forecast",
        "{predicted_rank} (outside, or for the second time) for n_starters {n_starters}",
        "Rank the drivers by expected_position.",
    )
    ahead = (
        frame.with_row_index("_row")
        .sort(*FORECAST_KEYS, "predicted_rank")
        .select("_row", step=pl.col("expected_position").diff().over(FORECAST_KEYS).fill_null(0.0))
        .sort("_row")["step"]
    )
    checked.require(
        ahead >= -TOLERANCE,
        "'predicted_rank' must order a forecast by expected_position",
        "rank {predicted_rank} with expected position {expected_position}, less than that of the rank before",
        "Rank the drivers by expected_position.",
    )


def _require_same_cuts(checked: _Checked) -> None:
    """Models are compared on the same field at the same moment only."""
    frame = checked.frame
    for name, over in (("cutoff_lap", ("race_id", "fraction")), ("n_starters", ("race_id",))):
        same = frame.select(pl.col(name) == pl.col(name).first().over(over)).to_series()
        checked.require(
            same,
            f"'{name}' must be the same in all rows of a race{' and fraction' if len(over) > 1 else ''}",
            f"{{{name}}} at fraction {{fraction}} beside another",
            "Forecast the same field at the same cut with every model.",
        )
