"""Commands that bring real races from data services into the store, and keep it up to date.

The time, the pauses and FastF1 come from a `World`, so that tests need neither network nor patience.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_state_path
from rich.console import Console

from f1_predict.config import FetchConfig
from f1_predict.errors import ConfigError, DiskError, DownloadError, F1PredictError, StoreError
from f1_predict.report.fetch_view import FetchBar, change_lines, check_lines, missing_lines
from f1_predict.sources import fastf1_live
from f1_predict.sources.f1db_release import fetch_release, stored_release
from f1_predict.sources.fastf1_live import Missing
from f1_predict.sources.fastf1_loader import Loader, real_loader
from f1_predict.sources.http import PoliteClient
from f1_predict.sources.jolpica_frames import laps_due
from f1_predict.sources.jolpica_season import JolpicaFetcher, calendar, final_after
from f1_predict.sources.limits import RateLimiter
from f1_predict.sources.locking import exclusive
from f1_predict.sources.raw import RawCache
from f1_predict.tables import Check, QualityReport, read_store
from f1_predict.tables.fetched import build_fetched
from f1_predict.tables.skipped import refresh_skipped_races
from f1_predict.tables.store import require_writable
from f1_predict.tables.update import Change, require_real, update_store
from f1_predict.training.files import write_atomically

SOURCES = ("jolpica", "fastf1", "f1db")
ASKED_BY_FASTF1 = 2
"""Requests that FastF1 makes to Jolpica for a session (its results and its first laps): they count too."""
SECOND_LOAD_S = 10.0
"""FastF1 asks once: a stream whose connection was cut may be there after this pause."""
LIMIT_PAUSE_S, LIMIT_PAUSES = 900.0, 5
"""FastF1 allows 500 requests in any hour, and ends in an error beyond: some fifty sessions."""
SECOND_S, HOUR_S = 1.05, 3600.0
"""Of the limits. A service counts when a request arrives: what is on its way may come closer to the one before it."""


@dataclass(frozen=True)
class World:
    """What a fetch needs of the world outside: seconds since the epoch, pauses, FastF1, and the user's own folder."""

    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    loader: Callable[[Path], Loader] = real_loader
    state: Path = field(default_factory=lambda: user_state_path("f1-predict", appauthor=False))

    def now(self) -> datetime:
        """The time in whole seconds of UTC."""
        return datetime.fromtimestamp(int(self.clock()), UTC)


@dataclass(frozen=True)
class Request:
    """What to fetch.

    Attributes:
        seasons: the years, in order.
        sources: of SOURCES.
        out: the processed store.
        raw: where answers are kept.
        telemetry: keep FastF1's car data too.
        refresh: ask anew for what may have changed.
    """

    seasons: tuple[int, ...]
    sources: tuple[str, ...]
    out: Path
    raw: Path
    telemetry: bool = False
    refresh: bool = False


@dataclass
class Outcome:
    """What a fetch found and did; `requests` are those to Jolpica."""

    changes: list[Change] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    checks: dict[tuple[str, str], Check] = field(default_factory=dict)
    requests: int = 0

    def add_checks(self, quality: QualityReport) -> None:
        """Add the counts of one season to those of the seasons before it."""
        for check in quality:
            key = (check.source, check.name)
            known = self.checks.get(key, Check(check.source, check.name, 0))
            total = None if check.total is None else (known.total or 0) + check.total
            examples = known.examples + check.examples
            self.checks[key] = Check(check.source, check.name, known.count + check.count, total, examples)


def parse_sources(text: str) -> tuple[str, ...]:
    """The sources of "jolpica,f1db".

    Raises:
        ConfigError: if one is unknown or none is given.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names or any(name not in SOURCES for name in names):
        raise ConfigError(f"--source must name some of {', '.join(SOURCES)}, with commas between; got '{text}'.")
    return names


def fetch_races(console: Console, request: Request, config: FetchConfig, world: World | None = None) -> Outcome:
    """Fetch seasons into the raw answers, and bring the store up to date season by season.

    Raises:
        ConfigError: if a season lies before the first or after the next.
        DownloadError: if Jolpica cannot be used; what was fetched before is kept, and the store is whole.
        DiskError: if an answer cannot be written; likewise.
        StoreError: if the store cannot be used or written, or another fetch is running; told before the first request.
    """
    world = world or World()
    year = world.now().year
    if wrong := [season for season in request.seasons if not 1950 <= season <= year + 1]:
        raise ConfigError(f"seasons must lie between 1950 and {year + 1}, got {wrong[0]}.")
    require_writable(request.out)
    require_real(request.out)
    outcome = Outcome()
    with exclusive(request.raw, "folder of fetched answers"), FetchBar(console) as bar:
        limiter = _limiter(request, config, world, bar)
        with _client(limiter, config, world, bar) as client:
            try:
                _fetch_seasons(client, request, config, world, bar, outcome)
            except BaseException as error:
                outcome.requests = client.requests
                _record_anyway(request, outcome, error)
                if isinstance(error, KeyboardInterrupt):
                    bar.say("Interrupted. What was fetched is kept: the same command goes on from there.")
                raise
        outcome.requests = client.requests
    _record(request, outcome)
    _tell(console, request, outcome)
    return outcome


def update_races(
    console: Console,
    out: Path,
    raw: Path,
    sources: tuple[str, ...],
    seasons: tuple[int, int] | None,
    config: FetchConfig,
    world: World | None = None,
) -> Outcome:
    """Ask anew for the seasons from the last one in the store to this year's (or those given), and say what changed.

    Raises:
        StoreError: if there is no store to bring up to date.
        ConfigError, DownloadError: as `fetch_races`.
    """
    world = world or World()
    year = world.now().year
    if require_real(out) is None:
        raise StoreError(f"{out}: there is no store to update. Begin with 'f1-predict fetch --seasons {year}'.")
    if seasons is None:
        have = read_store(out).races["season"].to_list()
        seasons = (min(max(have, default=year), year), year)
    request = Request(tuple(range(seasons[0], seasons[1] + 1)), sources, out, raw, refresh=True)
    return fetch_races(console, request, config, world)


def _limiter(request: Request, config: FetchConfig, world: World, bar: FetchBar) -> RateLimiter:
    """Jolpica's limits are a user's, whatever his stores: his requests are remembered in his own folder.

    Where he may not write there, as in some containers, they are remembered with the answers.
    """
    if not config.keep_limits:
        return RateLimiter([])
    limits = [(config.requests_per_second, SECOND_S), (config.requests_per_hour, HOUR_S)]
    name = f"requests_{urlsplit(config.jolpica_url).hostname}.log"
    try:
        return RateLimiter(limits, world.state / name, world.clock, world.sleep, bar.wait)
    except DiskError:
        return RateLimiter(limits, request.raw / "jolpica" / name, world.clock, world.sleep, bar.wait)


def _client(limiter: RateLimiter, config: FetchConfig, world: World, bar: FetchBar) -> PoliteClient:
    return PoliteClient(
        limiter,
        timeout_s=config.timeout_s,
        attempts=config.attempts,
        clock=world.clock,
        sleep=world.sleep,
        on_wait=bar.say,
    )


def _fetch_seasons(
    client: PoliteClient, request: Request, config: FetchConfig, world: World, bar: FetchBar, outcome: Outcome
) -> None:
    """Season by season: answers to disk, tables from them, tables into the store."""
    cache = RawCache(request.raw, world.now)
    asks = "jolpica" in request.sources
    jolpica = JolpicaFetcher(client, config.jolpica_url, cache, request.refresh, bar.show)
    if asks:
        jolpica.plan(request.seasons)
    if "f1db" in request.sources:
        outcome.missing += _fetch_f1db(request, config, cache, world, bar)
    loader = world.loader(request.raw / "fastf1" / "cache") if _timed(request) else None
    for season in request.seasons:
        if asks:
            jolpica.fetch_season(season)
        if not calendar(cache, season) and asks and season >= world.now().year:
            bar.say(f"{season}: Jolpica has no calendar of it yet")
            continue
        if loader is not None:
            outcome.missing += _fetch_sessions(loader, request, cache, season, world, bar, client.limiter)
        earlier = read_store(request.out).races if require_real(request.out) else None
        built = build_fetched(cache, [season], earlier)
        outcome.missing += built.missing
        outcome.add_checks(built.quality)
        changes = update_store(request.out, built.tables, built.provenance, built.calendar)
        outcome.changes += changes
        # At once: the next season may end in an error, and these changes are not found a second time.
        _log_changes(request.out, changes, world.now())
        for line in change_lines(changes):
            bar.say(line)


def _timed(request: Request) -> bool:
    return "fastf1" in request.sources and max(request.seasons) >= fastf1_live.FIRST_SEASON


def _run_races(cache: RawCache, season: int, today: date) -> list[tuple[int, date]]:
    """Round and day of the races of a season that have been run by today."""
    days = [(int(race["round"]), date.fromisoformat(race["date"])) for race in calendar(cache, season)]
    return [(round_, day) for round_, day in days if day <= today]


def _fetch_f1db(request: Request, config: FetchConfig, cache: RawCache, world: World, bar: FetchBar) -> list[Missing]:
    """f1db's newest release, where the one on disk may not hold the last race; without it, go on and say so."""
    today = world.now().date()
    last = max((day for season in request.seasons for _, day in _run_races(cache, season, today)), default=today)
    stored = stored_release(cache)
    if stored is not None and not request.refresh and stored.checked >= final_after(last):
        return []
    try:
        with _client(RateLimiter([]), config, world, bar) as client:
            fetch_release(client, config.f1db_url, cache)
    except DownloadError as error:
        bar.say(str(error))
        name = "all" if stored is None else f"newer than {stored.version}"
        return [Missing(_spelt(request.seasons), name, "f1db's release")]
    return []


def _fetch_sessions(
    loader: Loader,
    request: Request,
    cache: RawCache,
    season: int,
    world: World,
    bar: FetchBar,
    limiter: RateLimiter,
) -> list[Missing]:
    """FastF1's sessions of a season, as far as they are to be had; what is not is returned."""
    missing: list[Missing] = []
    if season < fastf1_live.FIRST_SEASON:
        return missing
    for round_, day in _run_races(cache, season, world.now().date()):
        final, due = final_after(day), laps_due(cache, season, round_)
        if not fastf1_live.is_needed(cache, season, round_, final, request.refresh, request.telemetry, due):
            missing += fastf1_live.missing_of(cache, season, round_, due)
            continue
        bar.say(f"FastF1: {season} round {round_}")
        load = partial(fastf1_live.fetch_session, loader, cache, season, round_, request.telemetry, final, due)
        try:
            found = _patiently(load, world, bar, limiter)
            if any(each.what in ("laps", "weather") for each in found):
                world.sleep(SECOND_LOAD_S)
                found = _patiently(load, world, bar, limiter)
            missing += found
        except DownloadError as error:  # its limit; a full disk is another error, and ends the fetch
            bar.say(str(error))
            return [*missing, Missing(f"{season}_race_{round_}", "race", "the session and those after it")]
    return missing


def _patiently(load: Callable[[], list[Missing]], world: World, bar: FetchBar, limiter: RateLimiter) -> list[Missing]:
    """What `load` returns, within Jolpica's limits, and tried again for as long as FastF1's own may be used up.

    Raises:
        DownloadError: if it is so for more than an hour.
    """
    pauses = 0
    while True:
        for _ in range(ASKED_BY_FASTF1):
            limiter.wait()
        try:
            return load()
        except DownloadError:
            if pauses == LIMIT_PAUSES:
                raise
            if not pauses:
                bar.say("FastF1's limit of requests is used up: waiting for up to an hour, then going on")
        pauses += 1
        world.sleep(LIMIT_PAUSE_S)


def _report_file(out: Path) -> Path:
    return out.with_name(f"{out.name}_fetch.json")


def _change_log(out: Path) -> Path:
    return out.with_name(f"{out.name}_changes.log")


def _log_changes(out: Path, changes: Sequence[Change], now: datetime) -> None:
    """Append the changes to the log of all fetches, one line each."""
    if not changes:
        return
    file = _change_log(out)
    lines = "".join(f"{now:%Y-%m-%d %H:%M:%S} UTC {change}\n" for change in changes)
    try:
        with file.open("a", encoding="utf-8") as log:
            log.write(lines)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror}). Free the place, or choose another.") from error


def _record(request: Request, outcome: Outcome) -> None:
    """Write all rows behind the counts, and bring the list of races without laps up to date."""
    checks = [asdict(check) for check in outcome.checks.values() if check.count]
    content = {
        "seasons": list(request.seasons),
        "changes": [asdict(change) for change in outcome.changes],
        "missing": [asdict(missing) for missing in outcome.missing],
        "checks": checks,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(_report_file(request.out), text.encode())
    if require_real(request.out) is not None:
        refresh_skipped_races(read_store(request.out), request.out)


def _record_anyway(request: Request, outcome: Outcome, error: BaseException) -> None:
    """The same of a fetch that ends in an error, which is the one that counts: whatever fails here is noted with it.

    One that found nothing leaves the report of the fetch before it.
    """
    if not (outcome.changes or outcome.missing or outcome.checks):
        return
    try:
        _record(request, outcome)
    except F1PredictError as second:
        error.add_note(f"The report of the fetch could not be written either: {second}")


def _tell(console: Console, request: Request, outcome: Outcome) -> None:
    """Print what is missing and what the sources disagree on; what changed was said when it did."""
    found = [check for check in outcome.checks.values() if check.count and outcome.changes]
    for line in [*missing_lines(outcome.missing), *check_lines(found)]:
        console.print(line, markup=False, highlight=False)
    count = len({change.race_id for change in outcome.changes})
    what = f"{count} races changed" if count else "nothing changed"
    which = f"Season{'s' * (len(request.seasons) > 1)} {_spelt(request.seasons)}"
    console.print(f"{which}: {what}, {outcome.requests} requests to Jolpica -> {request.out}")
    console.print(f"All changes, gaps and conflicts -> {_report_file(request.out)}")
    if outcome.changes:
        console.print(f"The changes of all fetches -> {_change_log(request.out)}")


def _spelt(seasons: Sequence[int]) -> str:
    return f"{seasons[0]}" if len(seasons) == 1 else f"{seasons[0]}-{seasons[-1]}"
