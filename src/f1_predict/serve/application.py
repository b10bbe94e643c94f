"""The application: the API under /api, its description at /docs, and the page, behind the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from f1_predict import __version__
from f1_predict.api import Predictor
from f1_predict.forecasting import DRIVER_MISSING
from f1_predict.serve import pages
from f1_predict.serve.desk import Desk, as_json
from f1_predict.serve.limits import Gate, Limits
from f1_predict.serve.problems import answer_with_problems
from f1_predict.serve.routes import Site, router

PICTURES = {
    "speed": "the field's own pace; speed against the field's median, lap by lap; gap to the leader; running position. "
    "The driver is in colour, the field in grey.",
    "race": "the field's own pace; tyres and stops; clean pace; the cars around; gap; running position. Beside each "
    "lane stand its numbers now and, at the present pace, at the flag.",
}
"""What a picture shows from top to bottom, by style."""
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


def create_app(
    predictor: Predictor,
    *,
    reliability: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    hosts: Sequence[str] | None = None,
    desk: Desk | None = None,
) -> FastAPI:
    """The application.

    Args:
        predictor: model and store.
        reliability: see `reliability.reliability_of`; None if there is no backtest to tell of.
        limits: what a client may ask.
        hosts: names that requests may call the server by; None for any.
        desk: makes the answers; None for one with the usual bounds.
    """
    app = FastAPI(
        title="f1-predict",
        version=__version__,
        description="Forecasts of Formula 1 races before the start and at every lap. Every forecast sees what was "
        "known at its moment and nothing later. Errors are JSON with one clear message.",
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    races = predictor.races().with_columns(pl.col("date").cast(pl.String)).to_dicts()
    app.state.site = Site(
        desk=desk or Desk(predictor),
        races={row["race_id"]: row for row in races},
        model=as_json(_model(predictor, reliability is not None)),
        reliability=None if reliability is None else as_json(reliability),
    )
    answer_with_problems(app)
    app.include_router(router)
    _add_pages(app)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
    app.add_middleware(Gate, limits=limits or Limits(), hosts=hosts)
    return app


def _model(predictor: Predictor, reliability: bool) -> dict[str, Any]:
    """What /api/model answers."""
    forecaster, manifest = predictor.forecaster, predictor.manifest
    return {
        "name": predictor.name,
        "head": forecaster.head,
        "places": forecaster.head != "finish",
        "seasons": [] if manifest is None else sorted({*manifest.data.seasons, *manifest.data.validation_seasons}),
        "backbone": forecaster.encoder.weights_name,
        "picture": PICTURES[forecaster.generator.config.style],
        "reliability": reliability,
        "missing": DRIVER_MISSING,
        "version": __version__,
    }


def _add_pages(app: FastAPI) -> None:
    assets = pages.read_assets()
    home = pages.render("page.html.j2", assets, version=__version__)
    docs = pages.render("docs.html.j2", assets, version=__version__, api=app.openapi())

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(home, headers={"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    async def description() -> HTMLResponse:
        return HTMLResponse(docs, headers={"Cache-Control": "no-cache"})

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return Response(assets[name].content, media_type=assets[name].media_type, headers=_FOR_EVER)
