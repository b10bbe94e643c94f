"""What a client may ask of the server: how often, how much at once, how long an address, how large a body.

Stands before the application, so that what is refused costs nothing. Also sets the headers that keep a page to its
own server. Knows nothing of races.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f1_predict.serve.problems import problem

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_CLIENTS_KEPT = 10_000
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Limits:
    """What is answered; the rest is refused with one line.

    Attributes:
        a_minute: requests of a client, on average.
        burst: requests of a client at one go, before the average counts.
        at_once: requests of a client that are being answered, streams included; fewer than may wait at the desk, so
            that no client fills it alone.
        at_once_of_all: the same of all clients.
        body_bytes: of a request; nothing here needs one.
        address_bytes: of path and query.
    """

    a_minute: int = 1200
    burst: int = 240
    at_once: int = 32
    at_once_of_all: int = 256
    body_bytes: int = 1024
    address_bytes: int = 2048


class Gate:
    """ASGI middleware that lets through what the limits allow.

    Args:
        app: the application.
        limits: see Limits.
        hosts: names that a request may call the server by; None for any. A server on the loopback is called by
            loopback names: another name means that a foreign page has been pointed at it.
        clock: seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        hosts: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._limits, self._clock = app, limits, clock
        self._hosts = None if hosts is None else frozenset(hosts)
        self._tokens: dict[str, tuple[float, float]] = {}
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        client = scope["client"][0] if scope.get("client") else ""
        refused = self._refusal(scope, client)
        if refused is not None:
            status, text = refused
            headers = {"Retry-After": "1"} if status in (429, 503) else {"Connection": "close"}
            await problem(status, text, headers)(scope, receive, send_with_headers)
            return
        self._open[client] += 1
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    def _refusal(self, scope: Scope, client: str) -> tuple[int, str] | None:
        """Status and message, or None."""
        limits, headers = self._limits, Headers(scope=scope)
        if self._hosts is not None and host_of(headers.get("host", "")) not in self._hosts:
            return 400, f"this server is asked as {' or '.join(sorted(self._hosts))}; the Host header says otherwise."
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > limits.address_bytes:
            return 414, f"an address here has at most {limits.address_bytes} bytes."
        if "transfer-encoding" in headers:
            return 411, "no request here needs a body, and one without a Content-Length is not read."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limits.body_bytes:
            return 413, f"no request here needs a body; one of more than {limits.body_bytes} bytes is not read."
        if self._open[client] >= limits.at_once or self._open.total() >= limits.at_once_of_all:
            return 503, "too many requests are being answered already. Wait for some of them."
        if not self._take(client):
            return 429, f"more than {limits.a_minute} requests a minute. Ask more slowly."
        return None

    def _take(self, client: str) -> bool:
        """Take one of the client's tokens, which come back at `a_minute`; False if none is left."""
        now, limits = self._clock(), self._limits
        tokens, then = self._tokens.pop(client, (float(limits.burst), now))
        tokens = min(tokens + (now - then) * limits.a_minute / 60.0, float(limits.burst))
        self._tokens[client] = (tokens - 1.0 if tokens >= 1.0 else tokens, now)
        if len(self._tokens) > _CLIENTS_KEPT:  # whoever was silent for longest
            del self._tokens[next(iter(self._tokens))]
        return tokens >= 1.0


def host_of(header: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    name = header.rsplit("]", 1)[0].lstrip("[") if header.startswith("[") else header.rsplit(":", 1)[0]
    return name.lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether a server bound to this name or address is reached from its own machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> list[str] | None:
    """What a server bound to this name or address may be called by; None, for any name, unless it is the loopback."""
    return sorted(LOOPBACK_NAMES | {host.lower()}) if is_loopback(host) else None
