"""Brings Jolpica's answers about whole seasons to disk, asking only for what is not there or may have changed.

Knows when an answer is final; what it means is the business of `jolpica_frames`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from f1_predict.sources.http import PoliteClient
from f1_predict.sources.jolpica import ABSENT, FIRST_LAPS_SEASON, FIRST_STOPS_SEASON, Endpoint, fetch
from f1_predict.sources.raw import Document, RawCache

SOURCE = "jolpica"
SETTLED_AFTER = timedelta(days=7)
"""A result may be protested and corrected; what was asked for this long after a race is taken as final by a fetch."""
_USUAL_PAGES: dict[Endpoint, int] = {"races": 1, "results": 5, "qualifying": 5, "laps": 13, "pitstops": 1}
_OF_SEASON: tuple[Endpoint, ...] = ("results", "qualifying")


@dataclass(frozen=True)
class Fetching:
    """How far a fetch has come.

    Attributes:
        done, expected: requests; the latter is an estimate until the first page of each answer is there.
        seconds_left: at least, under the limits of the service.
    """

    done: int
    expected: int
    seconds_left: float


def race_parts(season: int, round_: int, endpoint: str) -> tuple[str, str, str, str]:
    """Where a race's answer is kept."""
    return SOURCE, f"{season}", f"{round_:02d}", endpoint


def season_parts(season: int, endpoint: str) -> tuple[str, str, str]:
    """Where a season's answer is kept."""
    return SOURCE, f"{season}", endpoint


class JolpicaFetcher:
    """Fetches seasons into the raw cache.

    Args:
        client: asks, within the limits.
        base_url: of the service.
        cache: where answers are kept.
        refresh: ask anew for what may have changed since: calendars, results, qualifying, and laps and pit stops that
            were not there, or lack places, whatever their age. Those of late races are asked for anew in any case.
        on_progress: told at once, and after every request.
    """

    def __init__(
        self,
        client: PoliteClient,
        base_url: str,
        cache: RawCache,
        refresh: bool = False,
        on_progress: Callable[[Fetching], None] | None = None,
    ) -> None:
        self._client, self._base_url, self._cache = client, base_url, cache
        self._refresh, self._on_progress = refresh, on_progress
        self._planned: dict[tuple[str, ...], int] = {}

    def plan(self, seasons: Sequence[int]) -> None:
        """Fetch the calendars of the seasons, and from them foresee how many requests are needed."""
        for season in seasons:
            self._planned[season_parts(season, "races")] = 1
        self._report()
        for season in seasons:
            self._need(season_parts(season, "races"), "races", season, None, _end(season))
        for season in seasons:
            for parts, endpoint, _ in self._steps(season):
                self._planned[parts] = _USUAL_PAGES[endpoint]
        self._report()

    def fetch_season(self, season: int) -> None:
        """Fetch all that is needed of a season whose calendar is there.

        Raises:
            DownloadError: as `jolpica.fetch`; what came before it is kept.
            DiskError: if an answer cannot be written.
        """
        for parts, endpoint, last in self._steps(season):
            round_ = int(parts[2]) if endpoint not in _OF_SEASON else None
            self._need(parts, endpoint, season, round_, last)

    def _steps(self, season: int) -> list[tuple[tuple[str, ...], Endpoint, date]]:
        """Answers that are needed now: where each is kept, its endpoint, and the last day that it is about."""
        races = calendar(self._cache, season)
        today = self._cache.clock().date()
        run = [(int(race["round"]), date.fromisoformat(race["date"])) for race in races]
        # On the Saturday before a race its qualifying is known, so that a coming race counts two days early.
        begun = [day for _, day in run if day <= today + timedelta(days=2)]
        steps: list[tuple[tuple[str, ...], Endpoint, date]] = []
        if begun:
            steps += [(season_parts(season, endpoint), endpoint, max(begun)) for endpoint in _OF_SEASON]
        for round_, day in run:
            if day > today:
                continue
            if season >= FIRST_LAPS_SEASON:
                steps.append((race_parts(season, round_, "laps"), "laps", day))
            if season >= FIRST_STOPS_SEASON:
                steps.append((race_parts(season, round_, "pitstops"), "pitstops", day))
        return [step for step in steps if self._is_needed(*step)]

    def _is_needed(self, parts: tuple[str, ...], endpoint: Endpoint, last: date) -> bool:
        document = self._cache.read(*parts)
        if document is None:
            return True
        settled = _settled(document, last)
        if endpoint in ("laps", "pitstops"):
            return not settled or (self._refresh and _is_wanting(document.payload))
        if endpoint == "races" and not document.payload and self._is_over(last.year):
            return True  # stored before the season was over
        return self._refresh or not settled

    def _is_over(self, season: int) -> bool:
        return season < self._cache.clock().year

    def _need(self, parts: tuple[str, ...], endpoint: Endpoint, season: int, round_: int | None, last: date) -> None:
        if not self._is_needed(parts, endpoint, last):
            self._planned.pop(parts, None)
            return

        def on_page(left: int) -> None:
            self._planned[parts] = left
            self._report()

        due = endpoint == "races" and self._is_over(season)
        races = fetch(self._client, self._base_url, endpoint, season, round_, on_page, due)
        self._cache.write(races, *parts)
        self._planned.pop(parts, None)

    def _report(self) -> None:
        if self._on_progress is not None:
            left = sum(self._planned.values())
            done = self._client.requests
            self._on_progress(Fetching(done, done + left, self._client.limiter.seconds_for(left)))


def calendar(cache: RawCache, season: int) -> list[dict[str, Any]]:
    """The races of a season as Jolpica lists them; none if its calendar was not fetched."""
    document = cache.read(*season_parts(season, "races"))
    return [] if document is None else list(document.payload)


def final_after(day: date) -> datetime:
    """When what is known of a race on that day is taken as final."""
    return datetime.combine(day, time(), UTC) + SETTLED_AFTER


def _is_wanting(races: list[dict[str, Any]]) -> bool:
    """Whether nothing is there of a race, or laps without a place."""
    timings = (timing for race in races for lap in race.get("Laps", ()) for timing in lap["Timings"])
    return not races or any(timing.get("position") in ABSENT for timing in timings)


def _settled(document: Document, last: date) -> bool:
    return document.checked >= final_after(last)


def _end(season: int) -> date:
    return date(season, 12, 31)
