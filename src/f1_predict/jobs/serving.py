"""The command that serves forecasts over HTTP."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from rich.console import Console

from f1_predict.api import Predictor, open_predictor
from f1_predict.errors import ConfigError
from f1_predict.evaluation.ladder import DESIGN_CANDIDATE, EXPERT_CANDIDATE
from f1_predict.evaluation.predictions import read_predictions
from f1_predict.evaluation.scorecard import make_scorecard
from f1_predict.serve import Limits, create_app
from f1_predict.serve.limits import is_loopback, names_of
from f1_predict.serve.reliability import reliability_of
from f1_predict.training.manifests import FieldManifest

HEADER_BYTES = 16_384
"""Of a request's first line and headers."""
PATIENCE_S = 3
"""Seconds that streams are given when the server is told to stop."""


@dataclass(frozen=True)
class Address:
    """Where to listen; port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8000

    def listen(self) -> socket.socket:
        """A socket bound to it.

        Raises:
            ConfigError: if it cannot be had.
        """
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind(place)
            except OSError:
                bound.close()
                raise
        except OSError as error:
            raise ConfigError(
                f"cannot listen at {self.host}, port {self.port} ({error.strerror}). "
                "Give an address of this machine (--host) and a port that is free (--port)."
            ) from error
        return bound


def serve(
    console: Console,
    data: Path,
    model: Path,
    address: Address,
    predictions: Path | None = None,
    rate: int = Limits.a_minute,
    *,
    verbose: bool = False,
) -> None:
    """Open a model and a store and serve them until interrupted.

    Args:
        console: told of the address, and warned if others can reach it.
        data: the store.
        model: the model folder.
        address: where to listen.
        predictions: a predictions file, for the panel on reliability; None for none.
        rate: requests a minute of a client.
        verbose: a line a request.

    Raises:
        ConfigError: if the address cannot be had.
        StoreError, ArtefactError, FeatureError: if store or model cannot be read or used.
        DataError, NotFoundError: if the predictions cannot be read, or are of other races.
    """
    bound = address.listen()
    with bound:
        predictor = open_predictor(model, data)
        record = None if predictions is None else _record(predictor, predictions)
        loopback = is_loopback(address.host)
        app = create_app(
            predictor,
            reliability=record,
            limits=Limits(a_minute=rate),
            hosts=names_of(address.host),
        )
        warm_up(predictor)
        port = bound.getsockname()[1]
        shown = f"[{address.host}]" if ":" in address.host else address.host
        if not loopback:
            console.print(
                f"Warning: {address.host} is not the loopback: whoever reaches this machine can use this server. "
                "It has no passwords; leave --host out to keep it to yourself.",
                highlight=False,
            )
        console.print(
            f"Serving {predictor.name} on {predictor.archive.races.height:,} races at http://{shown}:{port} "
            "(the API: /docs). Stop with Ctrl+C.",
            highlight=False,
            soft_wrap=True,
        )
        server_of(app, verbose=verbose).run(sockets=[bound])


def server_of(app: FastAPI, *, verbose: bool = False) -> uvicorn.Server:
    """The HTTP server of an application: it trusts no header about who asks, and says nothing of itself."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=verbose,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_graceful_shutdown=PATIENCE_S,
        )
    )


def warm_up(predictor: Predictor) -> None:
    """Make what is made once, and forecast the last race that can be, so that no visitor need wait for it."""
    predictor.prepare()
    ready = _last_ready(predictor)
    if ready is not None:
        race_id, laps = ready
        predictor.forecast(race_id, laps // 2 or None)


def _last_ready(predictor: Predictor) -> tuple[str, int] | None:
    """Id and laps of the last race with laps, else with entries."""
    races = [row for row in predictor.races().iter_rows(named=True) if row["starters"]]
    if not races:
        return None
    last = max(enumerate(races), key=lambda one: (one[1]["laps"] > 0, one[0]))[1]
    return last["race_id"], last["laps"]


def _record(predictor: Predictor, predictions: Path) -> dict[str, object]:
    """What the predictions say of how reliable forecasts have been."""
    tables = predictor.archive.tables
    card = make_scorecard(read_predictions(predictions), tables.races, tables.results)
    whole_fields = isinstance(predictor.manifest, FieldManifest)
    return reliability_of(card, predictor.name, EXPERT_CANDIDATE if whole_fields else DESIGN_CANDIDATE)
