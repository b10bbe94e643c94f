"""What the API takes and answers, as models: for checking queries and for the documentation at /docs.

Answers are sent as the bytes that the desk keeps; tests hold them against these models.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from f1_predict.forecasting.names import MAX_NAME

Text = Annotated[str, Field(max_length=MAX_NAME)]
Lap = Annotated[
    str | None,
    Field(
        max_length=MAX_NAME,
        description="After the leader completes it; leave it out for the forecast before the race.",
        json_schema_extra={"type": "integer", "minimum": 1, "examples": [20]},
    ),
]
Driver = Annotated[
    str, Field(min_length=1, max_length=MAX_NAME, description="Id or parts of the name.", examples=["hamilton"])
]


def number(text: str | None) -> int | str | None:
    """A whole number, or the text as it came: `horizon_after` says in one way what it must be."""
    return int(text) if text is not None and re.fullmatch(r"[-+]?\d{1,9}", text, flags=re.ASCII) else text


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SeasonQuery(_Query):
    """Which races."""

    season: Annotated[int | None, Field(ge=1950, le=2200, description="Only of this season.")] = None


class NoQuery(_Query):
    """No parameters."""


class LapQuery(_Query):
    """A moment."""

    lap: Lap = None


class DriverQuery(LapQuery):
    """A driver at a moment."""

    driver: Driver


class ExplanationQuery(DriverQuery):
    """A forecast to be explained."""

    of: Annotated[
        str | None,
        Field(
            max_length=MAX_NAME,
            description="expected_position (if not given), p_win, p_podium, p_points or p_finish, as the model says.",
        ),
    ] = None


class PictureQuery(ExplanationQuery):
    """A picture; `of` is for its heat map."""

    heat: Annotated[bool, Field(description="With what mattered to the forecast in it, as a heat map.")] = False


class EveryQuery(_Query):
    """A replay."""

    every: Annotated[int, Field(ge=1, le=200, description="Forecast after each so many laps, and the last.")] = 1


class Problem(BaseModel):
    """What is answered to a request that cannot be served."""

    class Detail(BaseModel):
        """Status and one clear sentence or two."""

        status: int
        message: str

    error: Detail


class ModelAnswer(BaseModel):
    """The model that is served."""

    name: str
    head: str
    places: Annotated[bool, Field(description="False for a model that says who will finish, and nothing of places.")]
    seasons: Annotated[list[int], Field(description="That it learnt from, or that chose its epoch.")]
    backbone: str
    picture: Annotated[str, Field(description="What a picture shows, from top to bottom.")]
    reliability: Annotated[bool, Field(description="Whether /api/reliability has something to say.")]
    missing: Annotated[dict[str, str], Field(description="Codes of what a forecast did without, in words.")]
    version: str


class Race(BaseModel):
    """A race of the store."""

    race_id: str
    season: int
    round: int
    name: str
    date: str
    circuit_id: str
    scheduled_laps: int
    starters: Annotated[int, Field(description="0: it has no entries yet, and cannot be forecast.")]
    laps: Annotated[int, Field(description="Completed by the leader so far; 0 before the race.")]


class RacesAnswer(BaseModel):
    """Races in the order of time."""

    races: list[Race]


class Starter(BaseModel):
    """A driver of a field."""

    driver_id: str
    name: str
    constructor_id: str
    car_number: int | None
    grid: Annotated[int, Field(description="0: pit lane, or not known.")]


class FieldAnswer(BaseModel):
    """Who starts."""

    race: Race
    field: list[Starter]


class Event(BaseModel):
    """Something that happened, with hindsight."""

    kind: str
    lap: int
    until: int
    driver_id: str | None
    recorded: bool


class EventsAnswer(BaseModel):
    """What happened in a race."""

    events: list[Event]


class ForecastAnswer(BaseModel):
    """The JSON of `f1-predict predict`; docs/forecasts.md has the keys."""

    model_config = ConfigDict(extra="allow")
    schema_: Annotated[str, Field(alias="schema")]
    model: str
    race: dict[str, Any]
    moment: dict[str, Any]
    n_starters: int
    missing: list[str]
    notes: list[str]
    field: list[dict[str, Any]]


class Car(BaseModel):
    """A car at a moment."""

    driver_id: str
    place: int
    laps: int
    stops: int
    stopped: bool


class MomentAnswer(BaseModel):
    """What is known at a moment and what is not."""

    lap: int
    scheduled_laps: int
    known: list[str]
    to_come: list[str]
    lacking: Annotated[list[str], Field(description="What could be known and is not in the store.")]
    cars: list[Car]


class Score(BaseModel):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


class Bin(BaseModel):
    """Forecasts of about one probability, and how often what they said came true."""

    rows: int
    mean_probability: float
    frequency: float


class ScoredMoment(BaseModel):
    """One model at one moment of the backtest."""

    fraction: float
    scores: dict[str, Score]
    events: dict[str, list[Bin]]


class ScoredModel(BaseModel):
    """One model of the backtest."""

    name: str
    about: str
    moments: list[ScoredMoment]


class ReliabilityAnswer(BaseModel):
    """How reliable forecasts have been."""

    races: int
    seasons: list[int]
    shown: str
    models: list[ScoredModel]
