"""Draws the pictures of many cuts, in several processes, and only those that are not there yet.

A marker file in each cut's picture folder says what its pictures were drawn from. Knows nothing of
labels or features.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import matplotlib
import polars as pl

from f1_predict.config import PictureConfig
from f1_predict.errors import ArtefactError
from f1_predict.features import conditions, inrace, inrace_catalogue, inrace_cut, inrace_laps, order, sessions
from f1_predict.horizon import Horizon, PreRace, RaceArchive, Snapshot, arrays
from f1_predict.models import (
    page_canvas,
    race_canvas,
    race_data,
    race_layout,
    speed_trace_generator,
    trace_canvas,
    trace_data,
    trace_files,
    trace_layout,
)
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.scale import Engine, LocalEngine
from f1_predict.schemas import Tables, empty
from f1_predict.training.files import write_atomically
from f1_predict.training.progress import Meter, ProgressCallback

MARKER = ".pictures.json"
_SPEED_CODE = (speed_trace_generator, page_canvas, trace_canvas, trace_data, trace_files, trace_layout)
_RACE_CODE = (
    speed_trace_generator, page_canvas, race_canvas, race_data, race_layout, trace_data, trace_files, trace_layout,
    arrays, conditions, inrace, inrace_catalogue, inrace_cut, inrace_laps, order, sessions,
)  # fmt: skip
"""The code that a picture of either style depends on."""
MIN_CUTS_PER_WORKER = 8
"""A worker takes about as long to start as it takes to draw half as many cuts."""


def picture_inputs(snapshot: Snapshot, picture: PictureConfig) -> Snapshot:
    """The snapshot without what its pictures do not show: small enough to send to another process.

    A picture before the race shows each starter's last `picture.past_races` races with laps; one during it, that
    race's laps alone. So earlier results, entries and weather go, and all other earlier laps; this race's weather
    stays for the style that shows it.
    """
    past = Tables(**{name: empty(name) for name in vars(snapshot.past)})
    if isinstance(snapshot.horizon, PreRace):
        runs = snapshot.past_runs
        own = runs.filter(pl.col("driver_id").is_in(snapshot.driver_ids))
        shown = own.group_by("driver_id", maintain_order=True).tail(picture.past_races)["race_id"].unique().to_list()
        races = snapshot.past.races.filter(pl.col("race_id").is_in(shown))
        earlier = int(runs["laps"].head(runs["race_id"].is_in(shown).arg_max() or 0).sum())
        laps = snapshot.past.laps.slice(earlier).filter(pl.col("race_id").is_in(shown))
        past = replace(past, races=races, laps=laps)
    weather = snapshot.weather if picture.style == "race" else snapshot.weather.clear()
    return replace(snapshot, past=past, weather=weather)


def drivers_with_laps(inputs: Snapshot) -> frozenset[str]:
    """The starters that a picture can be drawn of, from `picture_inputs`."""
    laps = inputs.past.laps if isinstance(inputs.horizon, PreRace) else inputs.laps
    return frozenset(laps["driver_id"].unique().to_list()) & frozenset(inputs.driver_ids)


@cache
def _digest_of_renderer(style: str) -> str:
    """SHA-256 of the code that draws: pictures drawn by older code are drawn again."""
    hasher = hashlib.sha256(matplotlib.__version__.encode())
    for module in _RACE_CODE if style == "race" else _SPEED_CODE:
        hasher.update(inspect.getsource(module).encode())
    return hasher.hexdigest()


Texts = dict[tuple[str, str], bytes]
"""Rows of one archive as CSV, by table and race: those that many cuts show are written once."""


def digest_of_inputs(inputs: Snapshot, generator: SpeedTraceGenerator, texts: Texts | None = None) -> str:
    """SHA-256 of all that the pictures of a cut are made from: the rows, the settings and the drawing code.

    `texts` is for those who ask for many cuts of one archive: looked up, and added to.
    """
    texts = {} if texts is None else texts
    settings = {
        "renderer": _digest_of_renderer(generator.config.style),
        "picture": generator.config.model_dump(mode="json"),
        "race": str(asdict(inputs.race)),
        "horizon": inputs.horizon.name,
    }
    hasher = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    if ("entries", inputs.race_id) not in texts:
        texts["entries", inputs.race_id] = _csv(inputs.entries)
    for text in (texts["entries", inputs.race_id], _csv(inputs.laps), _csv(inputs.weather), _csv(inputs.past.races)):
        hasher.update(text + b"\0")
    hasher.update(_header(inputs.past.laps))
    for race_id in inputs.past.races["race_id"]:
        if ("laps", race_id) not in texts:
            rows = inputs.past.laps.filter(pl.col("race_id") == race_id)
            texts["laps", race_id] = rows.write_csv(include_header=False).encode()
        hasher.update(texts["laps", race_id])
    hasher.update(b"\0")
    return hasher.hexdigest()


def _csv(frame: pl.DataFrame) -> bytes:
    return _header(frame) if frame.is_empty() else frame.write_csv().encode()


def _header(frame: pl.DataFrame) -> bytes:
    return (",".join(frame.columns) + "\n").encode()


@dataclass(frozen=True)
class Drawing:
    """One cut whose pictures are wanted, from `picture_inputs`, and the digest of those inputs."""

    inputs: Snapshot
    digest: str

    def folder(self, generator: SpeedTraceGenerator) -> Path:
        """Where the pictures and their marker are."""
        return generator.picture_path(self.inputs.race_id, "any", self.inputs.horizon).parent


def drawn_already(drawing: Drawing, generator: SpeedTraceGenerator) -> dict[str, str] | None:
    """The pictures of a cut (driver -> path) if all are there and current, else None.

    They are when the marker has the digest of the cut's inputs, and every file in it is there in its size.
    """
    marker = drawing.folder(generator) / MARKER
    try:
        record = json.loads(marker.read_text(encoding="utf-8"))
        if record["digest"] != drawing.digest:
            return None
        sizes: dict[str, int] = record["sizes"]
        race_id, horizon = drawing.inputs.race_id, drawing.inputs.horizon
        paths = {driver: generator.picture_path(race_id, driver, horizon) for driver in sizes}
        if any(path.stat().st_size != sizes[driver] for driver, path in paths.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no marker, half a marker or a picture gone: draw again
    return {driver: str(path) for driver, path in paths.items()}


def draw(drawing: Drawing, generator: SpeedTraceGenerator) -> dict[str, str]:
    """Draw the pictures of a cut (driver -> path) and leave its marker.

    A picture that fails is logged by the generator and left out; then there is no marker, and the cut is drawn
    again the next time.

    Raises:
        PictureError, ArtefactError: if nothing can be written any more (disk full, folder not writable).
    """
    (drawing.folder(generator) / MARKER).unlink(missing_ok=True)
    paths = generator.write(drawing.inputs)
    if paths.keys() == drivers_with_laps(drawing.inputs):
        sizes = {driver: Path(path).stat().st_size for driver, path in paths.items()}
        record = json.dumps({"digest": drawing.digest, "sizes": sizes}, indent=0)
        write_atomically(drawing.folder(generator) / MARKER, record.encode())
    return paths


@dataclass(frozen=True)
class CutPictures:
    """The pictures of one cut.

    Attributes:
        paths: driver -> path.
        drawable: starters with laps to show.
        starters: cars in the race.
    """

    paths: dict[str, str]
    drawable: frozenset[str]
    starters: int


@dataclass(frozen=True)
class DrawingSummary:
    """How drawing went, in race x driver x horizon.

    Attributes:
        rows: starters of all cuts.
        pictures: those with a picture.
        drawn: pictures drawn now; the others were there and current.
        without_laps: no picture, because the driver has no laps to show.
        failed: no picture, although there were laps.
        seconds: taken by drawing.
    """

    rows: int
    pictures: int
    drawn: int
    without_laps: int
    failed: int
    seconds: float

    @property
    def missing_pictures(self) -> int:
        """Rows without a picture."""
        return self.without_laps + self.failed

    @property
    def success_rate(self) -> float:
        """Share of the pictures that could be drawn (there were laps) and are there; 1.0 if none could."""
        drawable = self.pictures + self.failed
        return self.pictures / drawable if drawable else 1.0

    @property
    def pictures_per_second(self) -> float:
        """Pictures drawn in a second of drawing; 0.0 if none was."""
        return self.drawn / self.seconds if self.drawn else 0.0


def draw_cuts(
    archive: RaceArchive,
    cuts: Sequence[tuple[str, Horizon]],
    generator: SpeedTraceGenerator,
    workers: int = 1,
    progress: ProgressCallback | None = None,
    engine: Engine | None = None,
) -> tuple[list[CutPictures], DrawingSummary]:
    """Draw the pictures of some cuts, those left out that are there and current.

    Each task carries its own small snapshot, so no process holds the tables a second time. Snapshots are cut twice,
    once to see what is stale and once to draw it: cutting is quick, and keeping them all would fill the memory.

    Args:
        archive: the races.
        cuts: race_id and horizon of each.
        generator: draws into its folder.
        workers: processes; fewer, or none but this one, where starting them would take longer than it saves. See
            `LocalEngine` for what a script must do that asks for more than one.
        progress: told of the pictures drawn.
        engine: draws in place of the processes; its machines must see the generator's folder.

    Returns:
        The pictures of every cut, in the order of `cuts`, and a summary.

    Raises:
        NotFoundError, HorizonError: if a race is not there or does not reach its cut.
        PictureError, ArtefactError: if nothing can be written (any more).
        F1PredictError: if a process is lost.
    """
    picture = generator.config
    found: list[CutPictures] = []
    stale: dict[int, str] = {}
    texts: Texts = {}
    for number, (race_id, horizon) in enumerate(cuts):
        inputs = picture_inputs(archive.snapshot(race_id, horizon), picture)
        drawing = Drawing(inputs, digest_of_inputs(inputs, generator, texts))
        paths = drawn_already(drawing, generator)
        if paths is None:
            stale[number] = drawing.digest
        found.append(CutPictures(paths or {}, drivers_with_laps(inputs), inputs.entries.height))

    def drawings() -> Iterator[Drawing]:
        for number, digest in stale.items():
            yield Drawing(picture_inputs(archive.snapshot(*cuts[number]), picture), digest)

    meter = Meter("pictures", sum(len(found[number].drawable) for number in stale), progress)
    engine = engine or LocalEngine(min(workers, len(stale) // MIN_CUTS_PER_WORKER))
    numbers, drawn_now = list(stale), 0
    for place, paths in engine.unordered(partial(draw, generator=generator), drawings()):
        _see(paths)
        number = numbers[place]
        found[number] = replace(found[number], paths=paths)
        drawn_now += len(paths)
        meter.add(len(paths))
    rows, pictures = sum(cut.starters for cut in found), sum(len(cut.paths) for cut in found)
    drawable = sum(len(cut.drawable) for cut in found)
    return found, DrawingSummary(rows, pictures, drawn_now, rows - drawable, drawable - pictures, meter.seconds)


def _see(paths: dict[str, str]) -> None:
    """Raise an ArtefactError unless the files are there, whichever machine wrote them."""
    for path in paths.values():
        if not Path(path).exists():
            raise ArtefactError(
                f"{path}: was drawn by another machine and is not here. All machines must see the same folder."
            )
