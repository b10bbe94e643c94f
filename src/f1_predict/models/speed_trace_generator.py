"""SpeedTraceGenerator: pictures of how each car has been lapping, from a Snapshot or from lists of laps.

Sees snapshots and lists only, so a picture cannot show what happened after its cut. Drawing is in `trace_canvas` and
`race_canvas`, the numbers are in `trace_data` and `race_data`, files in `trace_files`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from f1_predict.config import PictureConfig
from f1_predict.errors import PictureError
from f1_predict.horizon import AfterLap, FullRace, Horizon, PreRace, Snapshot
from f1_predict.models.page_canvas import PageCanvas, own_settings
from f1_predict.models.race_canvas import RaceCanvas
from f1_predict.models.race_data import RaceScene, race_scene
from f1_predict.models.trace_canvas import TraceCanvas
from f1_predict.models.trace_data import (
    SCALES,
    UNITS,
    Scale,
    Scene,
    Unit,
    checked_laps,
    scene_of_lists,
    scene_of_snapshot,
)
from f1_predict.models.trace_files import (
    MAX_PIXELS,
    checked_id,
    concerns_all,
    copy_rgb,
    log_failure,
    read_plot_area,
    write_png,
)

__all__ = ["MAX_PIXELS", "BatchSummary", "SpeedTraceGenerator", "TraceBatch", "read_plot_area"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TraceBatch:
    """The plot areas of one snapshot.

    Attributes:
        driver_ids: the starters, in the order of the snapshot's entries.
        images: uint8 (n, height, width, 3); zeros where `present` is False.
        present: bool (n,); False for a driver who has no lap to show.
    """

    driver_ids: list[str]
    images: npt.NDArray[np.uint8]
    present: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BatchSummary:
    """How the last `generate_batch` or `write` went; a driver without laps is not an attempt in `write`."""

    attempted: int
    written: int

    @property
    def failed(self) -> int:
        """Pictures that could not be made; each has a line in generation_errors.log."""
        return self.attempted - self.written

    @property
    def success_rate(self) -> float:
        """Share of the attempted pictures that were written; 1.0 when none was attempted."""
        return self.written / self.attempted if self.attempted else 1.0


class SpeedTraceGenerator:
    """Draws pictures of races: 800 x 600 PNG files for people, plot areas for the network.

    In style "speed" the plot area shows, from top to bottom: the field's own pace (safety cars, rain), speed against
    the field's median lap by lap, the gap to the leader and the running position; the driver in colour before the
    whole field in grey. Style "race" is what is read from a pit wall: lanes for the field's pace, tyres and stops,
    clean pace, the cars around, gap and position, shaded under safety cars and in rain, and beside each lane its
    numbers now and, at the present pace, at the flag. `config.style` says which.

    The plot area holds no text and nothing that tells who drives or where. All pictures of a race and cut share their
    axes. Pictures depend on the data alone, never on what was drawn before, and equal input gives equal bytes.

    Cheap to make and to pickle (settings only); safe to use from several threads, which then take turns. To use
    several cores, give each process its own.

    Args:
        output_dir: folder of the pictures; made when the first one is written.
        config: style, picture size, plot box and number of past races.
    """

    def __init__(
        self, output_dir: str | Path = "data/multimodal/speed_traces", config: PictureConfig | None = None
    ) -> None:
        self.output_dir = Path(output_dir)
        self.config = config if config is not None else PictureConfig()
        self.last_batch: BatchSummary | None = None
        self._canvas: PageCanvas[Any] | None = None
        self._turn = threading.RLock()

    def __reduce__(self) -> tuple[type[SpeedTraceGenerator], tuple[Path, PictureConfig]]:
        return type(self), (self.output_dir, self.config)

    @property
    def error_log(self) -> Path:
        """The log of pictures that could not be made: generation_errors.log beside the output folder."""
        return self.output_dir.parent / "generation_errors.log"

    def picture_path(self, race_id: str, driver_id: str, horizon: Horizon) -> Path:
        """Where a picture is stored: [race_id]/[driver_id].png, in lap_[k]/ or pre_race/ for a cut.

        Pictures in style "race" have a folder of that name around all this, so that both styles can be there.

        Raises:
            PictureError: if an id is no plain name.
        """
        folder = self.output_dir if self.config.style == "speed" else self.output_dir / self.config.style
        folder /= checked_id("race_id", race_id)
        if not isinstance(horizon, FullRace):
            folder /= horizon.name
        return folder / f"{checked_id('driver_id', driver_id)}.png"

    # ---- from a snapshot ----

    def render(self, snapshot: Snapshot, drivers: Sequence[str] | None = None) -> TraceBatch:
        """The plot areas of starters, pixel for pixel those of the PNG files that `write` makes.

        Args:
            snapshot: the race and cut.
            drivers: whose; None for all, in the order of `snapshot.entries`.

        Returns:
            TraceBatch, rows in the order of `drivers`.
        """
        scene = self._scene(snapshot, "relative")
        drivers = snapshot.driver_ids if drivers is None else list(drivers)
        _, _, width, height = self.config.plot_box
        images = np.empty((len(drivers), height, width, 3), dtype=np.uint8)
        present = np.array([driver in scene.drivers for driver in drivers], dtype=np.bool_)
        images[~present] = 0
        with self._drawing() as canvas:
            for i in np.flatnonzero(present):
                copy_rgb(canvas.draw_area(scene, drivers[i]), images[i])
        return TraceBatch(drivers, images, present)

    def write(self, snapshot: Snapshot, *, scale: Scale = "relative") -> dict[str, str]:
        """Write the PNG of every starter who has a lap to show; a picture that fails is logged and left out.

        Args:
            snapshot: the race and cut.
            scale: of the speed panel: "relative", or "absolute" (km/h) for people, which style "race" does not have.
                Both go to the same path; the file's metadata says which ("style").

        Returns:
            Path of each picture by driver_id.

        Raises:
            PictureError: if nothing can be written any more (disk full, folder not writable), or scale
                "absolute" is asked for in style "race" or where no speed is known.
        """
        scene = self._scene(snapshot, _one_of("scale", scale, SCALES))
        what = "Lap speed" if scale == "absolute" else "Speed against the field"
        heading = f"{snapshot.race.season} {snapshot.race.name}"
        subtitle = _subtitle(
            snapshot.horizon, "Race" if self.config.style == "race" else what, snapshot.race.scheduled_laps
        )
        titles = {driver: (f"{heading}: {driver.replace('_', ' ').title()}", subtitle) for driver in scene.drivers}
        paths = self._pages(scene, snapshot.race_id, snapshot.horizon, titles)
        self._finish(len(scene.drivers), len(paths))
        return paths

    def _scene(self, snapshot: Snapshot, scale: Scale) -> Scene | RaceScene:
        if self.config.style == "speed":
            return scene_of_snapshot(snapshot, scale, self.config.past_races)
        if scale == "absolute":
            raise PictureError(
                "scale 'absolute' is one of pictures in style 'speed', got style 'race'. Use 'relative'."
            )
        return race_scene(snapshot, self.config.past_races)

    # ---- from lists of laps ----

    def _require_lists(self) -> None:
        if self.config.style != "speed":
            raise PictureError(
                f"lists of laps give pictures in style 'speed' only, got style '{self.config.style}', which shows far "
                "more. Use write() with a Snapshot, or the style 'speed'."
            )

    def generate_trace(
        self,
        race_id: str,
        driver_id: str,
        lap_data: Sequence[float | None],
        *,
        unit: Unit = "kmh",
        scale: Scale = "relative",
        field: Mapping[str, Sequence[float | None]] | None = None,
        scheduled_laps: int | None = None,
    ) -> str:
        """Draw one driver's laps and write [output_dir]/[race_id]/[driver_id].png.

        Args:
            race_id: names the folder.
            driver_id: names the file.
            lap_data: one value a lap from lap 1 on; None or NaN for a missing lap, which breaks the line.
            unit: "kmh" for lap speeds in km/h, "s" for lap times in seconds.
            scale: "relative" (per cent against the field's median, or the driver's own median without a field)
                or "absolute" (km/h, needs unit "kmh").
            field: laps of the other cars by driver, in the same unit; an entry of driver_id is ignored.
            scheduled_laps: laps on the horizontal axis; default the longest list.

        Returns:
            Path of the picture.

        Raises:
            PictureError: if the laps cannot be drawn (the message names the lap), an id is no plain name (nothing
                is written then), a setting is unknown, the style is not "speed", or the file cannot be written.
        """
        self._require_lists()
        path = self.picture_path(race_id, driver_id, FullRace())
        _one_of("unit", unit, UNITS)
        _one_of("scale", scale, SCALES)
        times = {driver_id: checked_laps(lap_data, unit, f"{race_id}, {driver_id}: lap_data")}
        for other, laps in (field or {}).items():
            if other != driver_id:
                times[other] = checked_laps(laps, unit, f"{race_id}, {driver_id}: field of {other}")
        scene = scene_of_lists(
            times, [driver_id], unit=unit, scale=scale, scheduled_laps=scheduled_laps, where=f"{race_id}, {driver_id}"
        )
        with self._drawing() as canvas:
            self._page(canvas, path, scene, driver_id, _list_title(race_id, driver_id, scene), race_id, FullRace())
        return str(path)

    def generate_batch(
        self, races: list[dict[str, Any]], *, unit: Unit = "kmh", scale: Scale = "relative"
    ) -> dict[str, str]:
        """Draw all drivers of several races, each before the field of its race.

        A picture that cannot be made is logged, also to generation_errors.log beside the output folder, and the
        batch goes on; its laps are left out of the field. `last_batch` tells how it went.

        Args:
            races: dicts with "race_id", "drivers" (laps by driver_id) and optionally "scheduled_laps".
            unit: as in `generate_trace`.
            scale: as in `generate_trace`.

        Returns:
            Path of each picture by "race_id/driver_id".

        Raises:
            PictureError: if unit or scale is unknown, the style is not "speed", or nothing can be written any more
                (disk full, folder not writable).
        """
        self._require_lists()
        _one_of("unit", unit, UNITS)
        _one_of("scale", scale, SCALES)
        paths: dict[str, str] = {}
        attempted = 0
        for race in races:
            try:
                race_id, drivers = _race_of(race)
            except PictureError as error:
                attempted += max(1, _count(race))
                log_failure(self.error_log, race.get("race_id") if isinstance(race, Mapping) else race, None, error)
                continue
            attempted += len(drivers)
            paths |= self._batch_race(race_id, drivers, race.get("scheduled_laps"), unit, scale)
        self._finish(attempted, len(paths))
        return paths

    def _batch_race(
        self, race_id: str, drivers: Mapping[str, Any], scheduled_laps: int | None, unit: Unit, scale: Scale
    ) -> dict[str, str]:
        times: dict[str, npt.NDArray[np.float64]] = {}
        for driver, laps in drivers.items():
            try:
                times[checked_id("driver_id", driver)] = checked_laps(laps, unit, f"{race_id}, {driver}: laps")
            except PictureError as error:
                log_failure(self.error_log, race_id, driver, error)
        if not times:
            return {}
        try:
            scene = scene_of_lists(
                times, list(times), unit=unit, scale=scale, scheduled_laps=scheduled_laps, where=race_id
            )
        except PictureError as error:
            for driver in times:
                log_failure(self.error_log, race_id, driver, error)
            return {}
        titles = {driver: _list_title(race_id, driver, scene) for driver in times}
        paths = self._pages(scene, race_id, FullRace(), titles)
        return {f"{race_id}/{driver}": path for driver, path in paths.items()}

    # ---- shared ----

    @contextmanager
    def _drawing(self) -> Iterator[PageCanvas[Any]]:
        """The canvas, for one thread at a time and under fixed matplotlib settings."""
        with self._turn, own_settings():
            if self._canvas is None:
                self._canvas = RaceCanvas(self.config) if self.config.style == "race" else TraceCanvas(self.config)
            yield self._canvas

    def _page(
        self, canvas: PageCanvas[Any], path: Path, scene: Scene | RaceScene, driver: str, title: tuple[str, str],
        race_id: str, horizon: Horizon,
    ) -> None:  # fmt: skip
        texts = {
            "box": ",".join(str(part) for part in self.config.plot_box),
            "style": scene.axes.scale if isinstance(scene, Scene) else "race",
            "race": race_id,
            "driver": driver,
            "horizon": horizon.name,
        }
        write_png(path, canvas.draw_page(scene, driver, title), texts)

    def _pages(
        self, scene: Scene | RaceScene, race_id: str, horizon: Horizon, titles: Mapping[str, tuple[str, str]]
    ) -> dict[str, str]:
        """Paths of the pictures by driver; one that fails is logged, unless no other could be written either."""
        paths: dict[str, str] = {}
        with self._drawing() as canvas:
            for driver, title in titles.items():
                try:
                    path = self.picture_path(race_id, driver, horizon)
                    self._page(canvas, path, scene, driver, title, race_id, horizon)
                except PictureError as error:
                    if concerns_all(error):
                        raise
                    log_failure(self.error_log, race_id, driver, error)
                else:
                    paths[driver] = str(path)
        return paths

    def _finish(self, attempted: int, written: int) -> None:
        self.last_batch = BatchSummary(attempted, written)
        _LOG.info("%d of %d pictures written (%.1f %%)", written, attempted, 100.0 * self.last_batch.success_rate)


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise PictureError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    return value


def _count(race: object) -> int:
    drivers = race.get("drivers") if isinstance(race, Mapping) else None
    return len(drivers) if isinstance(drivers, Mapping) else 1


def _race_of(race: object) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(race, Mapping) or not isinstance(race.get("drivers"), Mapping):
        raise PictureError(f"a race must be a dict with 'race_id' and 'drivers' (laps by driver_id), got {race!r:.80}.")
    return checked_id("race_id", race.get("race_id")), cast("Mapping[str, Any]", race["drivers"])


def _list_title(race_id: str, driver_id: str, scene: Scene) -> tuple[str, str]:
    against = "its own median" if scene.axes.kind == "solo" else "the field's median"
    what = "Lap speed" if scene.axes.scale == "absolute" else f"Speed against {against}"
    return f"{race_id}: {driver_id}", f"{what}, lap by lap"


def _subtitle(horizon: Horizon, what: str, scheduled_laps: int) -> str:
    if isinstance(horizon, PreRace):
        return f"{what} in the last races, as known before the start"
    if isinstance(horizon, AfterLap):
        return f"{what}, as known after lap {horizon.lap} of {scheduled_laps}"
    return f"{what}, full race"
