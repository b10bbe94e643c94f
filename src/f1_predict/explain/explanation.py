"""One driver's forecast taken apart: modalities masked, features by gradients, laps blanked, a heat map.

Sees Snapshots only. Knows nothing of terminals, pages or files.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from f1_predict.errors import ConfigError, NotFoundError
from f1_predict.explain.attribution import captum_attr, heat_map, of_features
from f1_predict.explain.occlusion import DriverPicture, Pixels, picture_of
from f1_predict.explain.question import CarQuestion, FieldQuestion, Question, target_of
from f1_predict.features import Feature
from f1_predict.forecasting.rows import as_pandas
from f1_predict.horizon import RaceInfo, Snapshot
from f1_predict.models.field_forecaster import FieldForecaster
from f1_predict.models.forecaster import Forecaster, RaceForecaster
from f1_predict.models.trace_layout import Layout

SCHEMA = "f1-predict/explanation/1"
"""Of `to_dict`; another number would mean that a key went or changed its meaning. New keys may come."""
LAP_COLUMNS = {"lap": pl.Int32, "change": pl.Float64, "left": pl.Int32, "right": pl.Int32}
HEAT_COLOURS = "YlOrRd"
"""Matplotlib's colours of the heat map: yellow little, dark red most."""
_STRONGEST = 0.6
"""Of a heat map over a picture: how much of the picture its hottest place hides."""
_GAP, _BAR = 8, 14
"""Pixels between a picture and the bar of its colours, and of the bar."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What moved one driver's forecast. All changes are in the unit of `value`: places, or probability.

    Attributes:
        race: the calendar row.
        driver_id: whose forecast.
        lap: laps completed by the leader; None before the race.
        model: name of the model.
        target: what is explained, as the forecast's column is called: "expected_position", "p_win", ...
        value: the network's own answer for this driver, which is what is explained.
        field_value: what the forecast says, where the answers for the whole field are balanced against each other.
        without: "picture" and "table" -> the answer with that masked: as for a driver without a picture, and
            with an average table.
        shares: "picture" and "table" -> share of the probability that masking it moves, of both together; 0 and 0
            where neither moves any.
        features: feature, label, unit, value (null = unknown), attribution (what it adds to the answer, from an average
            table on; they sum to value - without["table"]); the most telling first.
        laps: lap (Int32), change (value less the answer with that lap blanked), left and right (Int32, first and end
            column of the picture that were blanked), in order; no rows before the race and without a picture.
        picture: uint8 (H, W, 3), what the network sees; None for a driver without a lap to show.
        heat: float32 (H, W) in 0..1, where the picture mattered; None without a picture.
        layout: of the picture's axes, in its pixels; None without a picture.
        notes: what a reader should know besides, as sentences.
    """

    race: RaceInfo
    driver_id: str
    lap: int | None
    model: str
    target: str
    value: float
    field_value: float
    without: Mapping[str, float]
    shares: Mapping[str, float]
    features: pl.DataFrame
    laps: pl.DataFrame
    picture: Pixels | None
    heat: npt.NDArray[np.float32] | None
    layout: Layout | None
    notes: tuple[str, ...] = ()

    @property
    def race_id(self) -> str:
        """Shorthand for `race.race_id`."""
        return self.race.race_id

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; picture and heat map are left out (docs/explanations.md has the keys)."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "race_id": self.race_id,
            "driver_id": self.driver_id,
            "lap": self.lap,
            "target": self.target,
            "value": self.value,
            "field_value": self.field_value,
            "without": dict(self.without),
            "shares": dict(self.shares),
            "features": self.features.to_dicts(),
            "laps": self.laps.to_dicts(),
            "has_picture": self.picture is not None,
            "notes": list(self.notes),
        }

    def to_pandas(self) -> dict[str, Any]:
        """`features` and `laps` by these names, as pandas frames."""
        return {"features": as_pandas(self.features), "laps": as_pandas(self.laps)}

    def overlay(self) -> Pixels:
        """The picture with its heat map over it: uint8 (H, W, 3).

        Raises:
            NotFoundError: if the driver has no picture.
        """
        if self.picture is None or self.heat is None:
            raise NotFoundError("picture", self.driver_id, [], "There is no lap to show at this moment.")
        return heated(self.picture, self.heat)

    def picture_png(self) -> bytes:
        """The picture with its heat map over it, and beside it a bar of the colours, the most telling on top.

        Raises:
            NotFoundError: if the driver has no picture.
        """
        shown = self.overlay()
        height, width = shown.shape[:2]
        page = np.full((height, width + _GAP + _BAR, 3), 255, dtype=np.uint8)
        page[:, :width] = shown
        scale = np.repeat(np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None], _BAR, axis=1)
        page[:, width + _GAP :] = heated(page[:, width + _GAP :], scale)
        content = io.BytesIO()
        Image.fromarray(page).save(content, "PNG", optimize=True)
        return content.getvalue()


def heated(picture: Pixels, heat: npt.NDArray[np.float32]) -> Pixels:
    """A picture, uint8 (H, W, 3), with a heat map, (H, W) in 0..1, over it."""
    colour = 255.0 * colormaps[HEAT_COLOURS](heat)[..., :3]
    hidden = _STRONGEST * heat[..., None]
    return np.asarray(np.rint((1.0 - hidden) * picture + hidden * colour), dtype=np.uint8)


def explain(
    forecaster: RaceForecaster,
    snapshot: Snapshot,
    driver_id: str,
    values: npt.NDArray[np.float64],
    forecast: Mapping[str, Any],
    target: str | None = None,
    notes: tuple[str, ...] = (),
) -> Explanation:
    """Take one starter's forecast apart.

    Args:
        forecaster: the trained model.
        snapshot: what was known.
        driver_id: one of the starters.
        values: float64 (n_starters, len(FEATURE_NAMES)), NaN = unknown, in the order of entries.
        forecast: the starter's row of the field's forecast (forecasting.FORECAST_COLUMNS).
        target: see `question.targets_of`; None: its first.
        notes: see Explanation.

    Raises:
        ConfigError: if captum is not installed, or the model says nothing of the target.
    """
    captum_attr()  # what is missing is said before anything is computed
    row = snapshot.driver_ids.index(driver_id)
    known = forecaster.table(snapshot, values)
    tables = torch.from_numpy(forecaster.normaliser.transform(known))
    question, table = question_about(forecaster, snapshot, row, tables, target), tables[row : row + 1]
    drawn = picture_of(snapshot, driver_id, forecaster.generator)
    vectors = None if drawn is None else _encoded(forecaster, drawn.pixels[None])
    with torch.no_grad():
        full = question.outcomes(vectors, table)
        without = {
            "picture": question.outcomes(None, table),
            "table": question.outcomes(vectors, torch.zeros_like(table)),
        }
    return Explanation(
        race=snapshot.race,
        driver_id=driver_id,
        lap=snapshot.cutoff_lap or None,
        model=str(forecast["model"]),
        target=question.target,
        value=float(question.worth(full)[0]),
        field_value=float(forecast[question.target]),
        without={name: float(question.worth(masked)[0]) for name, masked in without.items()},
        shares=_shares(full, without),
        features=_features(forecaster.catalogue, known[row], of_features(question, vectors, table)),
        laps=lap_changes(forecaster, question, drawn, table),
        picture=None if drawn is None else drawn.pixels,
        heat=None if drawn is None else heat_map(question, forecaster.encoder, drawn.pixels, table),
        layout=None if drawn is None else drawn.layout,
        notes=notes,
    )


def question_about(
    forecaster: RaceForecaster, snapshot: Snapshot, row: int, tables: Tensor, target: str | None = None
) -> Question:
    """What can be asked of a model about one starter.

    Args:
        forecaster: the trained model.
        snapshot: what was known.
        row: the starter's, in `snapshot.entries`.
        tables: float32 (n_starters, F), standardised.
        target: see `question.targets_of`; None: its first.

    Raises:
        ConfigError: if the model says nothing of the target, or is of no kind that model folders hold.
    """
    if isinstance(forecaster, FieldForecaster):
        target = target_of(forecaster, target)  # before the field's pictures are encoded
        vectors, present = (torch.from_numpy(found) for found in forecaster.embed(snapshot, snapshot.driver_ids))
        return FieldQuestion(forecaster, row, tables, vectors, present, target)
    if isinstance(forecaster, Forecaster):
        return CarQuestion(forecaster, snapshot.entries.height, target)
    raise ConfigError(f"a {type(forecaster).__name__} cannot be explained. Explain one of a model folder.")


def _encoded(forecaster: RaceForecaster, pictures: Pixels) -> Tensor:
    return torch.from_numpy(forecaster.encoder.encode_arrays(pictures))


def _shares(full: Tensor, without: Mapping[str, Tensor]) -> dict[str, float]:
    """Total variation: the probability that has to move from some places to others when a modality is masked.

    Args:
        full: float64 (1, n), the probability of each outcome.
        without: the same with one modality masked, by its name.
    """
    moved = {name: 0.5 * float((full - masked).abs().sum()) for name, masked in without.items()}
    total = sum(moved.values())
    return {name: part / total if total > 0.0 else 0.0 for name, part in moved.items()}


def _features(
    catalogue: Sequence[Feature], values: npt.NDArray[np.float64], attribution: npt.NDArray[np.float64]
) -> pl.DataFrame:
    rows = [(feature.name, feature.meaning, feature.unit) for feature in catalogue]
    made = pl.DataFrame(rows, schema=["feature", "label", "unit"], orient="row").with_columns(
        pl.Series("value", values).fill_nan(None), pl.Series("attribution", attribution)
    )
    return made.sort(pl.col("attribution").abs(), descending=True, maintain_order=True)


@torch.no_grad()
def lap_changes(
    forecaster: RaceForecaster, question: Question, drawn: DriverPicture | None, table: Tensor
) -> pl.DataFrame:
    """What each lap of a picture adds: the answer less the one with that lap blanked, see Explanation.laps.

    Args:
        forecaster: the trained model.
        question: what is explained.
        drawn: the driver's picture; None where there is none.
        table: float32 (1, F), standardised.
    """
    laps = [] if drawn is None else drawn.laps
    change, columns = np.empty(0), []
    if drawn is not None and laps:
        vectors = _encoded(forecaster, np.stack([drawn.pixels, *(drawn.blanked(lap) for lap in laps)]))
        answers = question.value(vectors, table.expand(len(vectors), -1)).numpy()
        change, columns = answers[0] - answers[1:], [drawn.columns(lap) for lap in laps]
    left, right = ([pair[side] for pair in columns] for side in (0, 1))
    return pl.DataFrame({"lap": laps, "change": change, "left": left, "right": right}, schema=LAP_COLUMNS)
