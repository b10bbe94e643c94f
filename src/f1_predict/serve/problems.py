"""Errors as JSON: a status and one clear message, never a traceback.

`{"error": {"status": 404, "message": "no race '2018_race_99'. Did you mean ..."}}`
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from f1_predict.errors import DataError, F1PredictError, NotFoundError
from f1_predict.forecasting.names import quoted
from f1_predict.serve.desk import BusyError

log = logging.getLogger(__name__)

_WORDS = {
    404: "there is nothing at this address. The API is described at /docs.",
    405: "this address is only read: use GET.",
    413: "no request here needs a body; this one is too large.",
}


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as a response."""
    return JSONResponse({"error": {"status": status, "message": message}}, status, dict(headers or {}))


def status_of(error: F1PredictError) -> int:
    """404 for what is not there, 409 for a race that is not ready, 422 for what cannot be asked."""
    if isinstance(error, NotFoundError):
        return 404
    return 409 if isinstance(error, DataError) else 422


def answer_with_problems(app: FastAPI) -> None:
    """Register the handlers of all errors."""

    @app.exception_handler(F1PredictError)
    async def _refused(request: Request, error: F1PredictError) -> JSONResponse:
        return problem(status_of(error), str(error))

    @app.exception_handler(BusyError)
    async def _busy(request: Request, error: BusyError) -> JSONResponse:
        return problem(503, "too many forecasts are waiting to be made. Come back in a moment.", {"Retry-After": "2"})

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "; ".join(_sentence(one) for one in error.errors()[:3]) + ".")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, _WORDS.get(error.status_code, str(error.detail)), error.headers)

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "something went wrong that should not have; the server's log says what.")


def _sentence(error: Mapping[str, object]) -> str:
    """One complaint of pydantic in words."""
    location = error["loc"]
    name = str(location[-1]) if isinstance(location, tuple) else str(location)
    kind = error["type"]
    if kind == "missing":
        return f"the parameter {quoted(name)} is missing"
    if kind == "extra_forbidden":
        return f"there is no parameter {quoted(name)} here"
    return f"{quoted(name)}: {str(error['msg']).lower()}, got {quoted(error.get('input'))}"
