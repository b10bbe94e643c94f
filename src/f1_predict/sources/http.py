"""Asks a web service politely: within its limits, again with growing pauses when it fails, and never forever.

Knows nothing of what the answers mean: the caller says whether one is whole.
"""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from f1_predict import __version__
from f1_predict.errors import DownloadError
from f1_predict.sources.limits import RateLimiter

T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
THROTTLED_PAUSE_S = 30.0
"""At least, after a 429 that names no time."""
LONGEST_RETRY_AFTER_S = 3700.0
"""An hour's limit is waited for; who must wait longer is told instead."""
UNREACHED_ATTEMPTS = 3
"""At a service that has not answered this client yet: there is no connection, and waiting seldom helps."""
MAX_ANSWER_BYTES = 256 * 1024 * 1024
_TOO_MANY = 429


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes a while."""
    return httpx.create_ssl_context()


class BadAnswerError(Exception):
    """An answer that is wrong, cut short or something else than was asked for; never leaves `PoliteClient.get`."""


@dataclass(frozen=True)
class Answer:
    """A whole answer with status 200.

    Attributes:
        content: the body, unpacked.
        headers: of the answer.
        url: the address that answered in the end, after redirects.
        redirects: the addresses on the way there.
    """

    content: bytes
    headers: Mapping[str, str]
    url: str
    redirects: tuple[str, ...]


class PoliteClient:
    """A web client for one service; leaving its `with` block closes the connections.

    Args:
        limiter: what the service allows.
        timeout_s: to connect, and between two pieces of an answer.
        attempts: how often a request is made before the error.
        clock: seconds since the epoch.
        sleep: waits so many seconds.
        on_wait: told, in one line, of every fault and the pause after it.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        *,
        timeout_s: float = 30.0,
        attempts: int = 8,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.limiter, self._attempts = limiter, attempts
        self._clock, self._sleep, self._on_wait = clock, sleep, on_wait
        headers = {"User-Agent": f"f1-predict/{__version__}"}
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=True, headers=headers, verify=_certificates())
        self._reached = False
        self.requests = 0
        """Made so far, failed ones included."""

    def __enter__(self) -> PoliteClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, url: str, params: Mapping[str, int], accept: Callable[[Answer], T]) -> T:
        """Ask until there is a good answer.

        Time-outs, cut connections, 429, 5xx and answers that `accept` refuses are asked for again, after pauses that
        double; a Retry-After is obeyed. A service that was never reached is soon given up.

        Args:
            url: the address.
            params: of the query.
            accept: turns an answer into what is wanted; raises BadAnswerError if it is wrong or not whole.

        Raises:
            DownloadError: if all attempts fail, or the service refuses the request (4xx).
        """
        pause, most, hint = FIRST_PAUSE_S, self._attempts, ""
        for attempt in range(1, most + 1):
            self.limiter.wait()
            self.requests += 1
            wait = 0.0
            try:
                response = self._ask(url, params)
                if response.status_code == httpx.codes.OK:
                    trail = tuple(str(step.headers.get("location", "")) for step in response.history)
                    return accept(Answer(response.content, response.headers, str(response.url), trail))
                problem = f"it answers {response.status_code} ({response.reason_phrase})"
                if response.status_code == _TOO_MANY:
                    wait = self._retry_after(response, url) or THROTTLED_PAUSE_S
                elif response.status_code != httpx.codes.REQUEST_TIMEOUT and response.status_code < 500:
                    raise DownloadError(f"{url}: {problem}. Check the address, the seasons and the service's own page.")
                else:
                    wait = self._retry_after(response, url)
            except (httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects) as error:
                problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not self._reached:
                    most, hint = min(most, UNREACHED_ATTEMPTS), " Is there a connection to the internet?"
            except BadAnswerError as error:
                problem = str(error)
            if attempt >= most:
                break
            wait = max(wait, pause)
            if self._on_wait is not None:
                self._on_wait(f"{url}: {problem}; asking again in {wait:.0f} s ({attempt} of {most})")
            self._sleep(wait)
            pause = min(2.0 * pause, LONGEST_PAUSE_S)
        raise DownloadError(
            f"{url}: {problem}, {most} times.{hint} What was fetched before is kept: start again later, "
            "and it goes on from there."
        )

    def _ask(self, url: str, params: Mapping[str, int]) -> httpx.Response:
        with self._http.stream("GET", url, params=dict(params) or None) as response:
            self._reached = True
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise BadAnswerError(f"the answer is longer than {MAX_ANSWER_BYTES >> 20} MiB")
        # The body is unpacked already: what says that it is packed, or how long it was, no longer holds.
        headers = [(k, v) for k, v in response.headers.items() if k not in ("content-encoding", "content-length")]
        made = httpx.Response(response.status_code, headers=headers, content=bytes(content), request=response.request)
        made.history = response.history
        return made

    def _retry_after(self, response: httpx.Response, url: str) -> float:
        """Seconds that the service asks us to wait; 0.0 where it names none."""
        text = response.headers.get("retry-after", "").strip()
        if not text:
            return 0.0
        try:
            seconds = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - self._clock()
        except ValueError:
            return 0.0
        if seconds > LONGEST_RETRY_AFTER_S:
            raise DownloadError(
                f"{url}: the service asks to wait {seconds / 3600.0:.1f} hours. Start again after that: "
                "what was fetched is kept."
            )
        return max(seconds, 0.0)
