"""A field's forecast as people and programs get it: one table, the same in memory, JSON, CSV and Parquet.

Every number comes from RaceForecaster.predict and is written in full, so that all formats say the same to the last
bit. Knows nothing of models, or of where the text goes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from f1_predict.forecasting.known import missing_of_drivers, missing_of_race
from f1_predict.horizon import RaceInfo, Snapshot

SCHEMA = "f1-predict/forecast/1"
"""Of the JSON; another number would mean that a key went or changed its meaning. New keys may come."""
FORECAST_COLUMNS: dict[str, pl.DataType] = {
    "race_id": pl.String(),
    "driver_id": pl.String(),
    "constructor_id": pl.String(),
    "model": pl.String(),  # the model folder's name
    "horizon": pl.String(),  # "pre_race" or "lap_k"
    "fraction": pl.Float64(),  # of the scheduled laps; 0 before the race
    "cutoff_lap": pl.Int32(),  # 0 before the race
    "n_starters": pl.Int32(),
    "predicted_rank": pl.Int32(),  # 1..n_starters by expected_position, each once
    "p_win": pl.Float64(),
    "p_podium": pl.Float64(),  # of the first three places
    "p_points": pl.Float64(),  # of the first ten places
    "p_finish": pl.Float64(),  # of being classified
    "expected_position": pl.Float64(),  # mean of position_probs
    "position_low": pl.Int64(),  # first and last place of the 80 % range
    "position_high": pl.Int64(),
    "has_image": pl.Boolean(),
    "missing": pl.List(pl.String()),  # codes of known.DRIVER_MISSING
    "race_missing": pl.List(pl.String()),  # codes of known.RACE_MISSING, the same in all rows
    "position_probs": pl.List(pl.Float64()),  # n_starters numbers that sum to 1, first place first
}
"""Column -> dtype, in order. What a model does not say is null: p_finish, or all that is about places."""
_OF_THE_FIELD = ("race_id", "model", "horizon", "fraction", "cutoff_lap", "n_starters", "race_missing")
"""Columns that are the same in all rows: in the JSON they stand above the field."""


@dataclass(frozen=True)
class RaceForecast:
    """A forecast of one race at one moment.

    Attributes:
        race: the calendar row.
        rows: columns and dtypes as FORECAST_COLUMNS, one row per starter, the best expected place first (where the
            model says nothing of places: the likeliest to be classified).
        notes: what a reader should know besides, as sentences.
    """

    race: RaceInfo
    rows: pl.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def lap(self) -> int:
        """Laps completed by the leader; 0 before the race."""
        return int(self.rows["cutoff_lap"][0])

    @property
    def missing(self) -> list[str]:
        """What is missing for the whole race: codes of known.RACE_MISSING."""
        return list(self.rows["race_missing"][0])

    def only(self, drivers: Sequence[str]) -> RaceForecast:
        """The rows of some drivers."""
        return replace(self, rows=self.rows.filter(pl.col("driver_id").is_in(list(drivers))))

    def to_json(self) -> str:
        """One object: schema, race, moment, notes, and the field as rows (docs/forecasts.md has the keys)."""
        head = self.rows.row(0, named=True)
        fields = self.rows.drop(*_OF_THE_FIELD).to_dicts()
        made: dict[str, Any] = {
            "schema": SCHEMA,
            "model": head["model"],
            "race": {**asdict(self.race), "date": self.race.date.isoformat()},
            "moment": {key: head[key] for key in ("horizon", "fraction", "cutoff_lap")},
            "n_starters": head["n_starters"],
            "missing": head["race_missing"],
            "notes": list(self.notes),
            "field": fields,
        }
        return json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """One line per starter; lists of codes with spaces between, probabilities of places as place_1, place_2, ..."""
        return csv_of(self.rows)

    def to_parquet(self) -> bytes:
        """The rows as they are."""
        return parquet_of(self.rows)


def csv_of(rows: pl.DataFrame) -> str:
    """Rows of FORECAST_COLUMNS as CSV, see RaceForecast.to_csv."""
    widest = int(rows["n_starters"].max() or 0)  # type: ignore[arg-type]
    places = [pl.col("position_probs").list.get(i, null_on_oob=True).alias(f"place_{i + 1}") for i in range(widest)]
    flat = rows.with_columns(pl.col("missing", "race_missing").list.join(" "), *places).drop("position_probs")
    return flat.write_csv()


def parquet_of(rows: pl.DataFrame) -> bytes:
    """Rows as a Parquet file."""
    content = io.BytesIO()
    rows.write_parquet(content, compression="zstd")
    return content.getvalue()


def forecast_of(snapshot: Snapshot, forecast: pl.DataFrame, model: str, notes: tuple[str, ...] = ()) -> RaceForecast:
    """A forecast with what is missing beside it.

    Args:
        snapshot: what was known.
        forecast: what RaceForecaster.predict said of it, rows in the order of the entries.
        model: the model's name.
        notes: see RaceForecast.
    """
    scheduled = snapshot.race.scheduled_laps
    rows = forecast.with_columns(
        snapshot.entries["constructor_id"],
        pl.Series("missing", missing_of_drivers(snapshot, forecast["has_image"].to_numpy()), pl.List(pl.String)),
        model=pl.lit(model),
        fraction=pl.lit(min(snapshot.cutoff_lap / scheduled, 1.0)),
        race_missing=pl.lit(missing_of_race(snapshot), pl.List(pl.String)),
    )
    order = (pl.col("predicted_rank"), pl.col("p_finish").neg(), pl.col("driver_id"))
    rows = rows.select(pl.col(name).cast(kind) for name, kind in FORECAST_COLUMNS.items()).sort(*order)
    return RaceForecast(snapshot.race, rows, notes)


def as_pandas(frame: pl.DataFrame) -> Any:
    """The same columns as a pandas frame; lists stay lists, and pyarrow is not needed."""
    from pandas import DataFrame

    return DataFrame(frame.to_dict(as_series=False))
