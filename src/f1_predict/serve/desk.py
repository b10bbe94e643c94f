"""Where answers are made: one piece of work at a time, in a thread, each once, and kept.

A forecast is that of `Predictor.forecast` for its lap alone, so that it is bit for bit what `f1-predict predict`
says. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import anyio.to_thread

from f1_predict.api import Predictor
from f1_predict.errors import NotFoundError
from f1_predict.explain import target_of
from f1_predict.forecasting import entries_of, find_starter, horizon_after, race_events
from f1_predict.horizon import Horizon
from f1_predict.models.trace_files import encode_png
from f1_predict.serve.moments import moment_of

KEPT_BYTES = 128_000_000
"""Of answers that stay in memory; those asked for longest ago go first."""
WAITING = 64
"""Pieces of work that may wait or be under way; whoever asks for more is told to come back."""

Made = tuple[bytes, ...]
"""What one piece of work gives."""


class BusyError(Exception):
    """More work is waiting than will be taken on."""


def as_json(value: object) -> bytes:
    """Compact JSON; numbers in full."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class Desk:
    """Answers about races, each made once.

    Torch, matplotlib and a race's kept features are for one thread at a time: whoever asks takes turns, first come
    first served. Whoever asks for what is being made waits for that. Methods belong to one event loop.

    Args:
        predictor: model and store.
        kept_bytes: see KEPT_BYTES.
        waiting: see WAITING.
    """

    def __init__(self, predictor: Predictor, kept_bytes: int = KEPT_BYTES, waiting: int = WAITING) -> None:
        self.predictor = predictor
        self._kept: OrderedDict[Hashable, Made] = OrderedDict()
        self._kept_bytes, self._limit, self._waiting = 0, kept_bytes, waiting
        self._coming: dict[Hashable, asyncio.Task[Made]] = {}
        self._turn = asyncio.Lock()

    # ---- what can be asked for: cheap, and refused before any work ----

    def race(self, name: str) -> str:
        """The race_id of a race that has entries.

        Raises:
            NotFoundError, AmbiguousError: if the name fits no race, or several.
            DataError: if the race has no entries yet.
        """
        race_id = self.predictor.find(name)
        entries_of(self.predictor.archive, race_id)
        return race_id

    def horizon(self, race_id: str, lap: object) -> Horizon:
        """The moment after a lap, or before the race.

        Raises:
            HorizonError: if the race has no such lap.
        """
        return horizon_after(self.predictor.archive, race_id, lap)

    def driver(self, race_id: str, name: str) -> str:
        """The driver_id of a starter.

        Raises:
            NotFoundError, AmbiguousError: if the name fits nobody in the field, or several.
        """
        return find_starter(self.predictor.archive, race_id, name)

    def target(self, name: str | None) -> str:
        """What of a forecast is explained: the name, or the model's first.

        Raises:
            ConfigError: if the model says nothing of that.
        """
        return target_of(self.predictor.forecaster, name)

    # ---- what takes work; `lap` None is before the race, and ids are those found above ----

    async def forecast(self, race_id: str, lap: int | None) -> bytes:
        """The forecast as compact JSON, with the values of `RaceForecast.to_json`."""
        return await self._one(
            ("forecast", race_id, lap), lambda: as_json(json.loads(self.predictor.forecast(race_id, lap).to_json()))
        )

    async def moment(self, race_id: str, lap: int | None) -> bytes:
        """What is known and not known, as JSON; see `moments.moment_of`."""
        archive = self.predictor.archive

        def work() -> bytes:
            return as_json(moment_of(archive.snapshot(race_id, self.horizon(race_id, lap))))

        return await self._one(("moment", race_id, lap), work, alone=False)

    async def events(self, race_id: str) -> bytes:
        """What happened in a race, as JSON rows; none where it has no laps."""

        def work() -> bytes:
            if self.predictor.archive.laps_completed(race_id) == 0:
                return b"[]"
            return as_json(race_events(self.predictor.archive, race_id).drop("race_id").to_dicts())

        return await self._one(("events", race_id), work, alone=False)

    async def picture(self, race_id: str, driver: str, lap: int | None) -> bytes:
        """What the model saw of a driver, as PNG.

        Raises:
            NotFoundError: if there is no picture: the driver has no lap to show.
        """
        return await self._one(("picture", race_id, driver, lap), lambda: self._drawn(race_id, driver, lap))

    async def explanation(self, race_id: str, driver: str, lap: int | None, target: str) -> bytes:
        """What moved a driver's forecast, as JSON; see `Predictor.explain`."""
        return (await self._explained(race_id, driver, lap, target))[0]

    async def lit_picture(self, race_id: str, driver: str, lap: int | None, target: str) -> bytes:
        """The picture with what mattered to the forecast lit up, as PNG.

        Raises:
            NotFoundError: if there is no picture.
        """
        return (await self._explained(race_id, driver, lap, target))[1] or await self.picture(race_id, driver, lap)

    async def _explained(self, race_id: str, driver: str, lap: int | None, target: str) -> Made:
        """An explanation as JSON, and its picture, b"" without one."""

        def work() -> Made:
            explanation = self.predictor.explain(race_id, driver, lap, target)
            picture = b"" if explanation.picture is None else explanation.picture_png()
            return as_json(explanation.to_dict()), picture

        return await self._once(("explanation", race_id, driver, lap, target), work)

    def _drawn(self, race_id: str, driver: str, lap: int | None) -> bytes:
        snapshot = self.predictor.archive.snapshot(race_id, self.horizon(race_id, lap))
        drawn = self.predictor.forecaster.generator.render(snapshot, [driver])
        if not drawn.present[0]:
            raise NotFoundError("picture", driver, [], f"{driver} has no lap to show at this moment.")
        return encode_png(drawn.images[0], {})

    async def _one(self, key: Hashable, work: Callable[[], bytes], *, alone: bool = True) -> bytes:
        return (await self._once(key, lambda: (work(),), alone=alone))[0]

    async def _once(self, key: Hashable, work: Callable[[], Made], *, alone: bool = True) -> Made:
        """What was made before, is being made, or is made now; `alone` if it has to wait for its turn.

        Raises:
            BusyError: if too much is waiting already.
        """
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        task = self._coming.get(key)
        if task is None:
            if len(self._coming) >= self._waiting:
                raise BusyError
            task = self._coming[key] = asyncio.create_task(self._made(key, work, alone))
            task.add_done_callback(_look)
        return await asyncio.shield(task)  # who stops waiting takes nothing from the others

    async def _made(self, key: Hashable, work: Callable[[], Made], alone: bool) -> Made:
        try:
            async with self._turn if alone else contextlib.nullcontext():
                made = await anyio.to_thread.run_sync(work)
            self._keep(key, made)
            return made
        finally:
            del self._coming[key]

    def _keep(self, key: Hashable, made: Made) -> None:
        self._kept[key] = made
        self._kept_bytes += sum(map(len, made))
        while self._kept_bytes > self._limit:
            self._kept_bytes -= sum(map(len, self._kept.popitem(last=False)[1]))


def _look(task: asyncio.Task[Any]) -> None:
    """Take note of a failure that nobody is left to hear of."""
    if not task.cancelled():
        task.exception()
