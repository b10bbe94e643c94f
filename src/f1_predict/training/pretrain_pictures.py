"""Pictures to pretrain on, by number: the same seed and number give the same pictures, and every number others.

Simulated seasons go the way of real ones: canonical tables, of which as much is lost as in real stores, snapshot,
renderer, preprocessing. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from f1_predict.config import PictureConfig, PretrainConfig, SimulatorConfig
from f1_predict.horizon import AfterLap, Horizon, PreRace, RaceArchive
from f1_predict.models.preprocessing import TRACES, Preprocessing
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.schemas import Tables
from f1_predict.sources.simulator import simulate
from f1_predict.training.pretrain_labels import RaceTruth, answers_after, answers_before, race_truth

Purpose = Literal["train", "held_out", "final", "statistics"]
PURPOSES: tuple[Purpose, ...] = ("train", "held_out", "final", "statistics")
"""What pictures are for; no two of them ever come from the same simulated seasons."""

STYLES = ("speed", "race")
_RECORDS = (0.35, 0.25, 0.40)
"""Shares of races with no record of stops, compounds and track status; with stops alone; with all."""
_LOSSY, _LOST_LAPS, _LOST_STRETCH = 0.25, 0.03, 0.15
"""Share of races that lose laps; the most they lose; share of those in which one car loses a stretch, too."""
_TRIES = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures and answers, row by row.

    Attributes:
        images: float16 (n, 3, size, size), preprocessed.
        answers: float32 (n, tasks), NaN where a task has none.
        cuts: int64 (n,), equal for the pictures of one race and cut.
        styles: int64 (n,), numbers of STYLES.
    """

    images: NDArray[np.float16]
    answers: NDArray[np.float32]
    cuts: NDArray[np.int64]
    styles: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.answers)

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """The rows of these numbers, in this order."""
        return Batch(self.images[rows], self.answers[rows], self.cuts[rows], self.styles[rows])


def join(batches: list[Batch]) -> Batch:
    """All rows of several batches; cuts are numbered on."""
    starts = np.cumsum([0, *(int(batch.cuts.max(initial=-1)) + 1 for batch in batches)])
    return Batch(
        np.concatenate([batch.images for batch in batches]),
        np.concatenate([batch.answers for batch in batches]),
        np.concatenate([batch.cuts + start for batch, start in zip(batches, starts[:-1], strict=True)]),
        np.concatenate([batch.styles for batch in batches]),
    )


class PictureSource:
    """Draws blocks of pictures. Cheap to make and to pickle (settings only).

    Args:
        config: what blocks are made of.
        purpose: "train", or another for pictures that training never sees.
        preprocessing: that the pictures come through.
    """

    def __init__(self, config: PretrainConfig, purpose: Purpose, preprocessing: Preprocessing = TRACES) -> None:
        self.config, self.purpose, self.preprocessing = config, purpose, preprocessing
        self._generators = [SpeedTraceGenerator(config=PictureConfig(style=style)) for style in STYLES]

    @property
    def batches_per_block(self) -> int:
        """Batches of `config.batch_size` in a block."""
        config = self.config
        cuts = config.seasons_per_block * config.races_per_season * config.cuts_per_race
        return max(1, cuts * config.drivers_per_cut // config.batch_size)

    def batches(self, first: int = 0, stride: int = 1, offset: int = 0) -> Iterator[Batch]:
        """Batches without end, from batch `first` on: of every `stride`-th block alone, from block `offset` on.

        A block's pictures are shuffled; where it has too few for its batches (cars without a lap), some come twice.
        """
        size, count = self.config.batch_size, self.batches_per_block
        start, skipped = divmod(first, count)
        number = start + (offset - start) % stride
        while True:
            block = join(list(self.cuts(number)))
            order = np.random.default_rng([self.config.seed, number]).permutation(len(block))
            rows = np.resize(order, count * size).reshape(count, size)
            for batch in rows[skipped if number == start else 0 :]:
                yield block.take(batch)
            number += stride

    def whole_cuts(self, count: int) -> Batch:
        """The first `count` cuts with every car that can be drawn, in order."""
        found: list[Batch] = []
        number = 0
        while len(found) < count:
            found.extend(self.cuts(number, whole=True))
            number += 1
        return join(found[:count])

    def cuts(self, number: int, *, whole: bool = False) -> Iterator[Batch]:
        """The cuts of block `number`, one after another, each with some of its cars, or all."""
        config = self.config
        for season in range(config.seasons_per_block):
            key = (PURPOSES.index(self.purpose), number, season)
            rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=key))
            tables = simulate(1, int(rng.integers(2**63)), _world(config, rng))
            truths = truths_of(tables)
            archive = RaceArchive(recorded(tables, rng))
            for race in range(len(truths)):
                for _ in range(config.cuts_per_race):
                    cut = self._cut(archive, truths, race, rng, whole)
                    if cut is not None:
                        yield cut

    def _cut(
        self, archive: RaceArchive, truths: list[RaceTruth], race: int, rng: np.random.Generator, whole: bool
    ) -> Batch | None:
        """One cut of a race, or None where nothing can be drawn."""
        race_id, truth = archive.race_ids[race], truths[race]
        style = int(rng.integers(len(STYLES)))
        generator = self._generators[style]
        horizon = self._horizon(archive, race_id, truth, race, rng)
        if horizon is None:
            return None
        snapshot = archive.snapshot(race_id, horizon)
        if isinstance(horizon, PreRace):
            answers = answers_before(truth, truths[:race], generator.config.past_races)
            there = snapshot.past.laps["driver_id"].unique()
        else:
            answers = answers_after(truth, snapshot.cut_time_s, snapshot.cutoff_lap)
            there = snapshot.laps["driver_id"].unique()
        rows = np.flatnonzero(np.isin(truth.driver_ids, there.to_list()))
        if not whole:
            rows = np.sort(rng.permutation(rows)[: self.config.drivers_per_cut])
        if rows.size == 0:
            return None
        traces = generator.render(snapshot, [truth.driver_ids[row] for row in rows])
        images = self.preprocessing.batch(traces.images[traces.present]).numpy().astype(np.float16)
        kept = rows[traces.present]
        zeros = np.zeros(len(kept), dtype=np.int64)
        return Batch(images, answers[kept].astype(np.float32), zeros, zeros + style)

    def _horizon(
        self, archive: RaceArchive, race_id: str, truth: RaceTruth, race: int, rng: np.random.Generator
    ) -> Horizon | None:
        """A moment of the race at which somebody's lap is recorded; None where none was found."""
        if race > 0 and rng.random() < self.config.before_share:
            return PreRace()
        wide = rng.random() < self.config.early_late_share
        low, high = (0.0, 1.0) if wide else (0.1, 0.9)
        known = set(archive.rows("laps", race_id)["lap"])
        for _ in range(_TRIES):
            lap = max(1, round(truth.scheduled * rng.uniform(low, high)))
            if lap in known:
                return AfterLap(lap)
        return None


def _world(config: PretrainConfig, rng: np.random.Generator) -> SimulatorConfig:
    """A season's settings: its era and the size of its field by chance."""
    teams = int(rng.integers(config.teams[0], config.teams[1] + 1))
    era = config.eras[rng.integers(len(config.eras))]
    return SimulatorConfig(races_per_season=config.races_per_season, teams=teams, era=era)


def truths_of(tables: Tables) -> list[RaceTruth]:
    """The races in the order of time."""
    archive = RaceArchive(tables)
    return [
        race_truth(
            archive.rows("entries", race_id), archive.rows("laps", race_id), archive.rows("results", race_id), scheduled
        )
        for race_id, scheduled in archive.races.select("race_id", "scheduled_laps").iter_rows()
    ]


def recorded(tables: Tables, rng: np.random.Generator) -> Tables:
    """What a real store might hold of these races: columns without records, laps and stretches of laps missing.

    A race has no record of stops, compounds and track status (as before 2011), or of stops alone (as before 2018),
    or all. At least one car keeps all its laps.
    """
    races = tables.races["race_id"]
    level = rng.choice(len(_RECORDS), len(races), p=_RECORDS)
    lossy = rng.random(len(races)) < _LOSSY
    by_race = pl.DataFrame({"race_id": races, "_level": level})
    laps = tables.laps.join(by_race, on="race_id", how="left", maintain_order="left")
    tyres = ("compound", "tyre_life", "track_status")
    for below, columns in enumerate([("pit_in", "pit_out", *tyres), tyres]):
        laps = laps.with_columns(
            pl.when(pl.col("_level") != below).then(pl.col(column)).alias(column) for column in columns
        )
    keep = np.ones(laps.height, dtype=np.bool_)
    bounds = np.flatnonzero(np.diff(laps["race_id"].rle_id().to_numpy(), prepend=-1, append=-2))
    for race, (start, end) in enumerate(pairwise(bounds)):
        if not lossy[race]:
            continue
        keep[start:end] = rng.random(end - start) >= rng.uniform(0.0, _LOST_LAPS)
        if rng.random() < _LOST_STRETCH:
            first = int(rng.integers(start, end))
            keep[first : min(first + int(rng.integers(5, 60)), end)] = False
    return replace(tables, laps=laps.drop("_level").filter(pl.Series(keep)))
