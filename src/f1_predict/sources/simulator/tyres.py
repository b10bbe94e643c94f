"""Tyres of a block of races: how fast each is, how long it lasts, which comes next and when. Knows no traffic."""

from __future__ import annotations

import numpy as np

from f1_predict.sources.simulator.draws import Bools, Draws, Floats, Ints
from f1_predict.sources.simulator.parameters import EraParameters

TYRES = ("SOFT", "MEDIUM", "HARD", "INTERMEDIATE", "WET")
INTERMEDIATE, WET = 3, 4
_RAIN_LIFE = 0.55  # of the race: tyres for rain are changed for the weather, hardly ever for wear


class Tyres:
    """The tyres of a block of races; `life` is (races, tyres), in laps."""

    def __init__(self, era: EraParameters, laps: Ints, wear: Floats, draws: Draws) -> None:
        self.era, self.laps = era, laps[:, None]
        spread = np.exp(era.life_sd * draws.normal(1) + 0.4 * era.life_sd * draws.normal(3))
        dry = np.array([era.soft_life, era.medium_life, era.hard_life]) * laps[:, None] / wear[:, None] * spread
        rain = np.broadcast_to(_RAIN_LIFE * laps[:, None], (laps.size, 2))
        self.life = np.hstack([np.sort(dry, axis=1), rain])
        self.usual = 0.25 * (self.life[:, :1] + self.life[:, 1:2] + 2.0 * self.life[:, 2:3])
        self.new = np.array([0.0, era.medium_loss, era.hard_loss, 0.0, 0.0])

    def first(self, wetness: Floats, draws: Draws) -> Ints:
        """The tyres of the start: teams agree more or less. (races, cars)."""
        cars = wetness.shape[1]
        softer, harder = 0.10 + 0.45 * draws.uniform(1), 0.02 + 0.16 * draws.uniform(1)
        luck = draws.uniform(cars)
        dry = np.where(luck < softer, 0, np.where(luck > 1.0 - harder, 2, 1))
        return np.where(self.wanted(wetness) == 0, dry, self.wanted(wetness))

    def wanted(self, wetness: Floats) -> Ints:
        """The quickest kind for the wetness: 0 (any slick tyre), INTERMEDIATE or WET."""
        slick, inter, wet = self.in_rain(wetness)
        return np.where(slick <= np.minimum(inter, wet), 0, np.where(inter <= wet, INTERMEDIATE, WET))

    def in_rain(self, wetness: Floats) -> tuple[Floats, Floats, Floats]:
        """Share of the lap lost on a slick, an intermediate and a wet tyre."""
        era = self.era
        slick, inter = era.slick_wet * wetness, era.inter_dry + era.inter_wet * wetness
        return slick, inter, era.wet_dry + era.wet_wet * wetness

    def life_of(self, tyre: Ints) -> Floats:
        """Laps that each car's tyre usually lasts: (races, cars)."""
        return np.take_along_axis(self.life, tyre, axis=1)

    def loss(self, tyre: Ints, age: Ints, wetness: Floats, raining: Bools) -> Floats:
        """Share of the lap lost to the tyre: compound, wear and water. (races, cars); `raining` is (races,)."""
        era, used = self.era, age / self.life_of(tyre)
        share = self.new[tyre] + era.wear * used**era.wear_power + era.cliff * np.maximum(used - era.cliff_at, 0.0)
        share += era.cold * (age == 0)
        rows = np.flatnonzero(raining)
        if rows.size:
            slick, inter, wet = self.in_rain(wetness[rows])
            share[rows] += np.where(tyre[rows] == WET, wet, np.where(tyre[rows] == INTERMEDIATE, inter, slick))
        return np.asarray(share)

    def target(self, tyre: Ints, left: Ints, both: Bools, chance: Floats) -> Floats:
        """The age at which a new tyre is to be changed; more than is `left` if it goes to the end. (races, cars).

        Args:
            tyre: the new tyre.
            left: laps to go.
            both: two dry compounds have been used (or rain has made that needless).
            chance: normal draws.
        """
        era, life = self.era, self.life_of(tyre)
        stints = np.maximum(np.floor(left / self.usual + 0.5 + 0.25 * chance), 1.0 + ~both)
        own = np.clip(life / self.usual, 0.6, 1.3)
        age = left / stints * own * np.exp(era.stint_sd * chance)
        to_the_end = both & (1.15 * life >= left)
        return np.where(to_the_end, 2.0 * self.laps, np.minimum(age, 1.35 * life))

    def next(self, tyre: Ints, used: Ints, left: Ints, wetness: Floats, chance: Floats) -> Ints:
        """The tyre of the next stint: for rain, or the softest dry one that lasts, or a hard one. (races, cars).

        Args:
            tyre: the old one.
            used: bit i is set when dry compound i has been used.
            left: laps to go.
            wetness: of the track.
            chance: uniform draws.
        """
        other = used[:, :, None] & ~(1 << np.arange(3)) != 0  # another one has been used: this one is allowed
        allowed = other | (used == 0)[:, :, None] | (tyre >= INTERMEDIATE)[:, :, None]
        lasts = allowed & (self.life[:, None, :3] * (1.0 + 0.3 * chance[:, :, None]) >= left[:, :, None])
        hard = np.where(allowed[:, :, 2] & (chance < 0.6) | ~allowed[:, :, 1], 2, 1)
        dry = np.where(lasts.any(axis=2), lasts.argmax(axis=2), hard)
        kind = self.wanted(wetness)
        return np.where(kind == 0, dry, kind)
