"""Random numbers of many races at once, one stream a race: no race depends on its neighbours in an array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def stream(seed: int, season: int, race: int) -> np.random.Generator:
    """The stream of one race (race 0: of the winter before the season)."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(season, race))))


class Draws:
    """The streams of a block of races; every method draws the same shape for each race."""

    def __init__(self, streams: Sequence[np.random.Generator]) -> None:
        self.streams = list(streams)

    def uniform(self, *shape: int) -> Floats:
        """From [0, 1), float64 (races, *shape)."""
        out = np.empty((len(self.streams), *shape))
        for row, rng in zip(out, self.streams, strict=True):
            rng.random(out=row)
        return out

    def normal(self, *shape: int) -> Floats:
        """Mean 0, standard deviation 1, float64 (races, *shape)."""
        out = np.empty((len(self.streams), *shape))
        for row, rng in zip(out, self.streams, strict=True):
            rng.standard_normal(out=row)
        return out

    def by_lap(self, laps: Ints, kinds: int, normals: int, cars: int) -> NDArray[np.float32]:
        """Draws of every lap of each race, float32 (most laps, kinds, races, cars).

        The first `normals` kinds are normal, the others uniform; zeros after a race's last lap.
        """
        out = np.zeros((int(laps.max()), kinds, len(self.streams), cars), dtype=np.float32)
        for race, (rng, count) in enumerate(zip(self.streams, laps, strict=True)):
            out[:count, :normals, race] = rng.standard_normal((count, normals, cars), dtype=np.float32)
            out[:count, normals:, race] = rng.random((count, kinds - normals, cars), dtype=np.float32)
        return out


def exponential(uniform: Floats) -> Floats:
    """Uniform draws made exponential ones of mean 1."""
    return np.asarray(-np.log1p(-uniform))


def rank(keys: Floats) -> Ints:
    """Place of each entry in its row, from 0; equal ones in the order of the row. Shape of `keys`."""
    order = np.argsort(keys, axis=-1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(keys.shape[-1]), keys.shape), axis=-1)
    return places
