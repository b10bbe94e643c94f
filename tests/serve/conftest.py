"""A server over the small simulated world of the forecasting tests, opened once: real uvicorn, real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import polars as pl
import pytest
import uvicorn
from fastapi import FastAPI

from f1_predict.api import Predictor
from f1_predict.evaluation.predictions import PREDICTION_COLUMNS
from f1_predict.evaluation.scorecard import make_scorecard
from f1_predict.jobs.serving import Address, server_of
from f1_predict.serve import create_app
from f1_predict.serve.limits import LOOPBACK_NAMES
from f1_predict.serve.reliability import reliability_of
from tests.forecasting.conftest import LAPS, predictor, world

__all__ = ["predictor", "world"]


@dataclass(frozen=True)
class Running:
    """A server that answers at `url`."""

    url: str
    predictor: Predictor
    app: FastAPI
    server: uvicorn.Server

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60.0, **options)  # type: ignore[arg-type]


@contextmanager
def running(app: FastAPI, predictor: Predictor) -> Iterator[Running]:
    """The application behind a socket until the block ends."""
    with Address(port=0).listen() as bound:
        bound.listen()  # whoever connects before uvicorn is ready waits
        server = server_of(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield Running(f"http://127.0.0.1:{bound.getsockname()[1]}", predictor, app, server)
        finally:
            server.should_exit = True
            thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def served(predictor: Predictor) -> Iterator[Running]:
    """The world's model behind loopback names, with a made-up backtest to tell of."""
    app = create_app(predictor, reliability=made_up(predictor), hosts=sorted(LOOPBACK_NAMES))
    with running(app, predictor) as found:
        yield found


def made_up(predictor: Predictor) -> dict[str, object]:
    """What a backtest would say of forecasts before and in the middle of the races."""
    archive = predictor.archive
    rows = [
        predictor.predict(race_id, lap).with_columns(fraction=pl.lit(fraction))
        for race_id in archive.race_ids[1:]
        for lap, fraction in ((None, 0.0), (LAPS, 0.2))
    ]
    predictions = pl.concat(rows).select(*PREDICTION_COLUMNS)
    tables = archive.tables
    return reliability_of(make_scorecard(predictions, tables.races, tables.results, draws=50), predictor.name)
