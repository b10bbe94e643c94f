"""The races in which the page's model gained and lost most on its reference, with pictures of a few of their drivers.

Against a reference, so that it is about the model and not about the chaos of the race. Reads results through page
data only; pictures are drawn from Snapshots.
"""

from __future__ import annotations

import base64
import io
import tempfile
from dataclasses import dataclass
from math import log
from pathlib import Path

import polars as pl
from PIL import Image

from f1_predict.errors import HorizonError, PictureError
from f1_predict.evaluation.ladder import moment
from f1_predict.evaluation.metrics import CLIP
from f1_predict.evaluation.scorecard import PRIMARY
from f1_predict.horizon import RaceArchive, parse_horizon
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.report.page_data import PageData, RaceForecasts, persistence
from f1_predict.report.page_text import code, person

RACES_EACH = 3
"""Best ones shown, and worst ones."""
DRIVERS_EACH = 2
COLOURS = 256
"""Of a picture on the page: a third of the bytes, and no pixel differs by more than the eye sees."""


@dataclass(frozen=True)
class Picture:
    """One driver's picture at the cut.

    Attributes:
        driver: for people.
        text: what was forecast and what came.
        png: the file; None where there is no lap to draw.
    """

    driver: str
    text: str
    png: bytes | None

    @property
    def uri(self) -> str:
        """The picture as a data URI, "" if there is none."""
        return "" if self.png is None else f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Example:
    """A race in which the model did well or badly against the reference.

    Attributes:
        race: its forecasts.
        horizon: of the cut.
        model, reference: log-loss of each in this race.
        gain: reference less model; positive when the model was better.
        pictures: of the drivers who made most of the difference.
        note: why there are no pictures, "" if there are.
    """

    race: RaceForecasts
    horizon: str
    model: float
    reference: float
    gain: float
    pictures: tuple[Picture, ...]
    note: str


@dataclass(frozen=True)
class Examples:
    """The best and the worst races of the model at the page's middle fraction.

    Attributes:
        reference: what it was held against.
        caption: in how many races it was ahead, by how much.
        best, worst: most gained and most lost first; neither holds a race on the other side of 0.
    """

    reference: str
    caption: str
    best: tuple[Example, ...]
    worst: tuple[Example, ...]


def examples(
    page: PageData, predictions: pl.DataFrame, archive: RaceArchive, generator: SpeedTraceGenerator | None = None
) -> Examples | None:
    """The races to show, with pictures; None where the model has nothing to be held against.

    Args:
        page: the page's data.
        predictions: the rows that it was made from.
        archive: the races, for the pictures.
        generator: for its settings; pictures are written to a temporary folder.
    """
    reference = page.rival or persistence(page.middle)
    at_cut = page.card.by_race.filter(pl.col("fraction") == page.middle)
    mine = at_cut.filter(pl.col("model") == page.main).select("race_id", model=PRIMARY)
    theirs = at_cut.filter(pl.col("model") == reference).select("race_id", reference=PRIMARY)
    both = mine.join(theirs, on="race_id", how="inner").with_columns(gain=pl.col("reference") - pl.col("model"))
    if both.is_empty() or reference == page.main:
        return None
    both = both.sort("gain", "race_id", descending=[True, False])
    best = both.filter(pl.col("gain") > 0).head(RACES_EACH)
    worst = both.filter(pl.col("gain") < 0).tail(RACES_EACH).reverse()
    config = None if generator is None else generator.config
    with tempfile.TemporaryDirectory() as folder:
        drawer = _Drawer(page, predictions, archive, reference, SpeedTraceGenerator(folder, config))
        return Examples(
            reference,
            _caption(page, both, reference),
            tuple(drawer.example(row) for row in best.to_dicts()),
            tuple(drawer.example(row) for row in worst.to_dicts()),
        )


def _caption(page: PageData, both: pl.DataFrame, reference: str) -> str:
    ahead = both.filter(pl.col("gain") > 0).height
    top, bottom = both.row(0, named=True), both.row(-1, named=True)
    return (
        f"{moment(page.middle).capitalize()} {code(page.main)} has the lower log-loss in {ahead} of {both.height} "
        f"races against {code(reference)}. Its greatest gain in one race is {top['gain']:+.3f} a driver, its "
        f"greatest loss {bottom['gain']:+.3f}."
    )


@dataclass(frozen=True)
class _Drawer:
    page: PageData
    predictions: pl.DataFrame
    archive: RaceArchive
    reference: str
    generator: SpeedTraceGenerator

    def example(self, row: dict[str, float | str]) -> Example:
        """One race: the drivers who made most of the difference, each with a picture where one can be drawn."""
        race = next(race for race in self.page.races if race.race_id == row["race_id"])
        cut = race.cuts[self.page.middle]
        gain = float(row["gain"])
        try:
            snapshot = self.archive.snapshot(race.race_id, parse_horizon(cut.horizon))
            paths, note = self.generator.write(snapshot), ""
        except (HorizonError, PictureError) as error:
            paths, note = {}, f"No pictures: {error}"
        if not paths:
            note = note or "No pictures: there is no lap of this race before the cut."
        pictures = [
            self._picture(race, driver, paths.get(driver)) for driver in self._drivers(race, gain > 0, list(paths))
        ]
        return Example(race, cut.horizon, float(row["model"]), float(row["reference"]), gain, tuple(pictures), note)

    def _loss(self, race: RaceForecasts, model: str) -> dict[str, float]:
        """-ln P(true place) by driver."""
        positions = dict(zip(race.drivers, race.positions or [], strict=True))
        rows = self.predictions.filter(
            pl.col("race_id") == race.race_id, pl.col("model") == model, pl.col("fraction") == self.page.middle
        )
        return {
            driver: -log(max(probs[positions[driver] - 1], CLIP))
            for driver, probs in rows.select("driver_id", "position_probs").iter_rows()
        }

    def _drivers(self, race: RaceForecasts, won: bool, drawn: list[str]) -> list[str]:
        """Those with a picture first on whom the model gained (or lost) most."""
        mine, theirs = self._loss(race, self.page.main), self._loss(race, self.reference)
        sign = 1.0 if won else -1.0
        return sorted(drawn, key=lambda driver: (-sign * (theirs[driver] - mine[driver]), driver))[:DRIVERS_EACH]

    def _picture(self, race: RaceForecasts, driver: str, path: str | None) -> Picture:
        row = race.drivers.index(driver)
        cut, place = race.cuts[self.page.middle], (race.positions or [])[row]
        theirs = self.predictions.filter(
            pl.col("race_id") == race.race_id,
            pl.col("model") == self.reference,
            pl.col("fraction") == self.page.middle,
            pl.col("driver_id") == driver,
        )["position_probs"][0][place - 1]
        text = (
            f"finished {place}; {code(self.page.main)} gave that place {100 * cut.probs[row][place - 1]:.0f} %, "
            f"{code(self.reference)} {100 * theirs:.0f} %"
        )
        return Picture(person(driver), text, None if path is None else smaller(Path(path)))


def smaller(path: Path) -> bytes:
    """A picture's PNG in fewer colours."""
    content = io.BytesIO()
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(content, "PNG", optimize=True)
    return content.getvalue()
