"""The API: translates requests to questions for the desk, and nothing else.

What cannot be asked is refused before any work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException

from f1_predict.errors import HorizonError
from f1_predict.forecasting.names import MAX_NAME
from f1_predict.report.page_text import person
from f1_predict.serve import answers
from f1_predict.serve.desk import Desk, as_json

STEADY = {"Cache-Control": "private, max-age=600"}
"""Of answers that stay the same as long as the server runs."""


@dataclass(frozen=True)
class Site:
    """What the routes answer from.

    Attributes:
        desk: makes forecasts.
        races: rows of `answers.Race` by race_id, in the order of time.
        model: the answer of /api/model.
        reliability: that of /api/reliability; None if there is no backtest to tell of.
    """

    desk: Desk
    races: dict[str, dict[str, Any]]
    model: bytes
    reliability: bytes | None


async def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


TheSite = Annotated[Site, Depends(_site)]
RaceName = Annotated[
    str, Path(max_length=MAX_NAME, description="Id, or season and parts of the name.", examples=["2018_race_14"])
]


async def _race(site: TheSite, race: RaceName) -> str:
    if race in site.races:
        return site.desk.race(race)
    return await anyio.to_thread.run_sync(site.desk.race, race)  # to look for the closest names takes a while


RaceId = Annotated[str, Depends(_race)]
router = APIRouter(prefix="/api", responses={code: {"model": answers.Problem} for code in (404, 422)})


def _json(content: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(content, media_type="application/json", headers=headers)


def _lap(site: Site, race: str, asked: str | None) -> int | None:
    """The lap, checked; None before the race."""
    lap = answers.number(asked)
    site.desk.horizon(race, lap)
    return lap if isinstance(lap, int) else None


@router.get("/model", tags=["about"], summary="The model", response_model=answers.ModelAnswer)
async def model(site: TheSite, query: Annotated[answers.NoQuery, Query()]) -> Response:
    """What is served."""
    return _json(site.model)


@router.get(
    "/reliability",
    tags=["about"],
    summary="How reliable forecasts have been in the backtest",
    response_model=answers.ReliabilityAnswer,
)
async def reliability(site: TheSite, query: Annotated[answers.NoQuery, Query()]) -> Response:
    """Scores and reliability curves of every model of the predictions file, by moment."""
    if site.reliability is None:
        raise HTTPException(404, "no backtest was given; start the server with --predictions predictions.parquet.")
    return _json(site.reliability, STEADY)


@router.get("/races", tags=["races"], summary="The races", response_model=answers.RacesAnswer)
async def races(site: TheSite, query: Annotated[answers.SeasonQuery, Query()]) -> Response:
    """In the order of time."""
    return _json(as_json({"races": [row for row in site.races.values() if query.season in (None, row["season"])]}))


@router.get("/races/{race}/field", tags=["races"], summary="Who starts", response_model=answers.FieldAnswer)
async def field(site: TheSite, race: RaceId, query: Annotated[answers.NoQuery, Query()]) -> Response:
    """The race and its starters."""
    entries = site.desk.predictor.archive.rows("entries", race)
    starters = entries.select("driver_id", "constructor_id", "car_number", "grid").to_dicts()
    named = [{**one, "name": person(one["driver_id"])} for one in starters]
    return _json(as_json({"race": site.races[race], "field": named}))


@router.get(
    "/races/{race}/events",
    tags=["races"],
    summary="Stops, retirements, safety cars",
    response_model=answers.EventsAnswer,
)
async def events(site: TheSite, race: RaceId, query: Annotated[answers.NoQuery, Query()]) -> Response:
    """With hindsight: no forecast saw them."""
    return _json(b'{"events":' + await site.desk.events(race) + b"}", STEADY)


@router.get(
    "/races/{race}/forecast",
    tags=["forecasts"],
    summary="The whole field's forecast at a lap",
    response_model=answers.ForecastAnswer,
)
async def forecast(site: TheSite, race: RaceId, query: Annotated[answers.LapQuery, Query()]) -> Response:
    """What `f1-predict predict --json` writes."""
    return _json(await site.desk.forecast(race, _lap(site, race, query.lap)), STEADY)


@router.get(
    "/races/{race}/moment",
    tags=["forecasts"],
    summary="What is known at a lap and what is not",
    response_model=answers.MomentAnswer,
)
async def moment(site: TheSite, race: RaceId, query: Annotated[answers.LapQuery, Query()]) -> Response:
    """In sentences, with the order on the road."""
    return _json(await site.desk.moment(race, _lap(site, race, query.lap)), STEADY)


async def _laps(site: TheSite, race: RaceId, query: Annotated[answers.EveryQuery, Query()]) -> list[int | None]:
    last = site.races[race]["laps"]
    if last == 0:
        raise HorizonError(f"{race} has no laps in the store, so there is nothing to replay. Ask for its forecast.")
    return [None, *range(query.every, last, query.every), last]


@router.get(
    "/races/{race}/replay",
    tags=["forecasts"],
    summary="Forecasts lap after lap, as server-sent events",
    response_class=EventSourceResponse,
)
async def replay(
    site: TheSite, race: RaceId, laps: Annotated[list[int | None], Depends(_laps)]
) -> AsyncIterator[ServerSentEvent]:
    """An event `forecast` (id: the lap, 0 before the race) for each moment as soon as it is made, and then `end`."""
    for lap in laps:
        made = await site.desk.forecast(race, lap)
        yield ServerSentEvent(raw_data=made.decode(), event="forecast", id=str(lap or 0))
    yield ServerSentEvent(raw_data="{}", event="end")


@router.get("/races/{race}/explanation", tags=["forecasts"], summary="What moved a driver's forecast")
async def explanation(site: TheSite, race: RaceId, query: Annotated[answers.ExplanationQuery, Query()]) -> Response:
    """What `f1-predict explain --json` writes; takes seconds."""
    asked = (race, site.desk.driver(race, query.driver), _lap(site, race, query.lap))
    return _json(await site.desk.explanation(*asked, site.desk.target(query.of)), STEADY)


@router.get(
    "/races/{race}/picture",
    tags=["forecasts"],
    summary="What the model saw of a driver",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
async def picture(site: TheSite, race: RaceId, query: Annotated[answers.PictureQuery, Query()]) -> Response:
    """As PNG, plain or with what mattered to the forecast lit up."""
    asked = (race, site.desk.driver(race, query.driver), _lap(site, race, query.lap))
    of = site.desk.target(query.of)
    content = await (site.desk.lit_picture(*asked, of) if query.heat else site.desk.picture(*asked))
    return Response(content, media_type="image/png", headers=STEADY)
