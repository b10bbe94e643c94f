"""The invented circuits, and what each does to a race. Knows nothing of cars."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Circuit:
    """A circuit, and what it does to a race. The parameters of an era multiply or set beside what is said here."""

    name: str
    kind: str  # RACE, ROAD or STREET
    length_km: float
    speed_kmh: float  # of the reference car, dry, without fuel, on new tyres
    turns: int
    direction: str
    difficulty_s: float  # how much quicker over a lap a car must be to have an even chance to overtake
    wear: float  # of tyres, 1 = normal
    pit_loss_s: float  # by a stop, both laps together
    line_share: float  # of that, what is lost before the line (most circuits have the line before the pits)
    caution: float  # chance that an incident brings out a safety car, 1 = normal
    rain: float  # chance that a race sees rain

    @property
    def base_lap_s(self) -> float:
        """Lap time of the reference car."""
        return self.length_km / self.speed_kmh * 3600.0

    @property
    def laps(self) -> int:
        """Scheduled laps: the fewest that reach 305 km."""
        return math.ceil(305.0 / self.length_km)


CIRCUITS: tuple[Circuit, ...] = (
    Circuit("Aldervane", "RACE", 6.05, 236.0, 17, "CLOCKWISE", 0.7, 1.20, 19.0, 0.03, 0.9, 0.25),
    Circuit("Brakka Bay", "RACE", 5.25, 212.0, 16, "CLOCKWISE", 0.5, 1.25, 22.7, 0.14, 0.7, 0.02),
    Circuit("Cinderwick", "RACE", 4.45, 228.0, 9, "CLOCKWISE", 0.6, 0.95, 20.5, 0.18, 1.0, 0.20),
    Circuit("Dunmarrow", "ROAD", 7.0, 232.0, 21, "CLOCKWISE", 0.5, 1.05, 17.5, 0.26, 1.1, 0.30),
    Circuit("Esterholm", "RACE", 4.55, 204.0, 13, "CLOCKWISE", 1.4, 1.10, 20.8, 0.14, 0.6, 0.12),
    Circuit("Fenwick Harbour", "STREET", 3.95, 175.0, 18, "CLOCKWISE", 3.2, 0.70, 21.0, 0.87, 1.3, 0.12),
    Circuit("Granvale", "RACE", 4.85, 214.0, 15, "ANTI_CLOCKWISE", 1.1, 1.20, 21.7, 0.17, 0.7, 0.08),
    Circuit("Hollis Park", "RACE", 5.65, 252.0, 10, "CLOCKWISE", 0.6, 0.75, 24.5, 0.18, 0.8, 0.08),
    Circuit("Istrel Lights", "STREET", 5.1, 180.0, 22, "ANTI_CLOCKWISE", 1.9, 1.00, 27.2, 0.28, 1.7, 0.15),
    Circuit("Jarrow Ring", "RACE", 4.15, 220.0, 14, "ANTI_CLOCKWISE", 0.5, 1.05, 21.0, 0.20, 1.1, 0.30),
    Circuit("Kestrel Island", "ROAD", 4.7, 216.0, 12, "CLOCKWISE", 0.6, 0.85, 17.9, 0.88, 1.3, 0.20),
    Circuit("Lantern Docks", "STREET", 6.2, 205.0, 23, "ANTI_CLOCKWISE", 0.6, 0.75, 22.4, 0.24, 1.5, 0.03),
    Circuit("Merrow Plains", "RACE", 5.6, 207.0, 19, "ANTI_CLOCKWISE", 0.7, 1.15, 20.4, 0.04, 0.8, 0.06),
    Circuit("Nordhavel", "RACE", 3.95, 208.0, 11, "CLOCKWISE", 1.3, 1.15, 22.3, 0.16, 1.0, 0.20),
    Circuit("Okarimo", "RACE", 5.95, 225.0, 20, "CLOCKWISE", 1.0, 1.20, 21.3, 0.12, 1.0, 0.25),
    Circuit("Pellworth", "ROAD", 5.35, 224.0, 12, "CLOCKWISE", 0.9, 0.95, 24.0, 0.80, 1.3, 0.12),
    Circuit("Quillon", "RACE", 5.5, 206.0, 18, "CLOCKWISE", 0.8, 1.10, 23.0, 0.20, 0.8, 0.12),
    Circuit("Rask Oasis", "RACE", 5.15, 222.0, 15, "ANTI_CLOCKWISE", 1.1, 0.85, 22.1, 0.10, 0.7, 0.02),
)
"""Invented, all of them."""
