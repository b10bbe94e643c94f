"""Asks Jolpica (Ergast's successor) for seasons: pages through its answers and lets none through that is not whole.

Knows the layout of the answers and nothing of where they are kept or what becomes of them. FastF1's own interface to
Jolpica is not used: it does not try again, ends at 200 requests an hour and takes, and keeps, half an answer
(tests/sources/test_fastf1_ergast.py shows it).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from f1_predict import schemas
from f1_predict.errors import DownloadError
from f1_predict.sources.http import Answer, BadAnswerError, PoliteClient

PAGE_ROWS = 100
"""The most that Jolpica gives in one answer."""
FIRST_LAPS_SEASON, FIRST_STOPS_SEASON = 1996, 2011
"""Before these seasons Jolpica has no lap times, and no pit stops."""
RESTARTS = 3
"""How often an answer is asked for from its first page again, because it changed between two pages."""

Endpoint = Literal["races", "results", "qualifying", "laps", "pitstops"]
CLOCK = r"^(?:(?:(\d+):)?(\d+):)?(\d{1,2}(?:\.\d+)?)$"
"""A time as "1:26.572", "58.304" or, over an hour, "2:05:07.547"."""


ABSENT = (None, "", "None", "\\N")
"""How Jolpica says that it does not know a value, beside leaving out its key."""


def _in_full(pattern: str, what: str) -> BeforeValidator:
    """Text that matches as a whole: pydantic alone would take 1.0 for an integer, and a number for a date."""

    def check(value: object) -> object:
        if isinstance(value, str) and re.fullmatch(pattern, value, flags=re.ASCII) is None:
            raise ValueError(f"must be {what}")
        if not isinstance(value, str) and value is not None:
            raise ValueError(f"must be {what} as text")
        return value

    return BeforeValidator(check)


_whole = _in_full(r"\d{1,4}", "a whole number")
_day = _in_full(r"\d{4}-\d{2}-\d{2}", "a date YYYY-MM-DD")
_Slug = Annotated[str, StringConstraints(pattern=schemas.SLUG)]
_Text = Annotated[str, StringConstraints(min_length=1)]
_Clock = Annotated[str, StringConstraints(pattern=CLOCK, strip_whitespace=True)]
_absent = BeforeValidator(lambda value: None if value in ABSENT else value)
_OptionalClock = Annotated[_Clock | None, _absent]
# What stands last is done first.
_Number = Annotated[int | None, Field(ge=0, le=999), _whole, _absent]
_Place = Annotated[int | None, Field(ge=1, le=99), _whole, _absent]
_LapNumber = Annotated[int, Field(ge=1, le=250), _whole]


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Circuit(_Item):
    ref: _Slug = Field(alias="circuitId")


class _Driver(_Item):
    ref: _Slug = Field(alias="driverId")
    code: Annotated[str | None, _absent] = None
    forename: _Text = Field(alias="givenName")
    surname: _Text = Field(alias="familyName")


class _Constructor(_Item):
    ref: _Slug = Field(alias="constructorId")


class _Result(_Item):
    number: _Number = None
    position: _Place
    position_text: _Text = Field(alias="positionText")
    driver: _Driver = Field(alias="Driver")
    constructor: _Constructor = Field(alias="Constructor")
    grid: Annotated[int | None, Field(ge=0, le=60), _whole, _absent] = None
    laps: Annotated[int | None, Field(ge=0, le=250), _whole, _absent] = None
    status: Annotated[_Text | None, _absent] = None

    @model_validator(mode="after")
    def _winner_has_all(self) -> _Result:
        """Of some Jolpica leaves out what is not known; a winner without it means that the key has another name.

        A status of null has been there, with its key, for all of a race that was new.
        """
        lacking = [name for name in ("grid", "laps") if getattr(self, name) is None]
        lacking += [name for name in ("status",) if name not in self.model_fields_set]
        if self.position == 1 and lacking:
            raise ValueError(f"the winner must have {' and '.join(lacking)}")
        return self


class _Qualified(_Item):
    number: _Number = None
    position: Annotated[int | None, Field(ge=1, le=60), _whole, _absent] = None
    driver: _Driver = Field(alias="Driver")
    constructor: _Constructor = Field(alias="Constructor")
    q1: _OptionalClock = Field(None, alias="Q1")
    q2: _OptionalClock = Field(None, alias="Q2")
    q3: _OptionalClock = Field(None, alias="Q3")


class _Timing(_Item):
    driver_ref: _Slug = Field(alias="driverId")
    position: _Place = None  # of late races Jolpica may have the times first
    time: _Clock


class _Lap(_Item):
    number: _LapNumber
    timings: list[_Timing] = Field(alias="Timings")


class _Stop(_Item):
    driver_ref: _Slug = Field(alias="driverId")
    lap: Annotated[int | None, Field(ge=1, le=250), _whole, _absent] = None


class _Race(_Item):
    season: Annotated[int, Field(ge=1950, le=2200), _whole]
    round: Annotated[int, Field(ge=1, le=99), _whole]
    name: _Text = Field(alias="raceName")
    date: Annotated[date, _day]
    circuit: _Circuit = Field(alias="Circuit")


class _RaceResults(_Race):
    rows: list[_Result] = Field(alias="Results")


class _RaceQualifying(_Race):
    rows: list[_Qualified] = Field(alias="QualifyingResults")


class _RaceLaps(_Race):
    rows: list[_Lap] = Field(alias="Laps")


class _RaceStops(_Race):
    rows: list[_Stop] = Field(alias="PitStops")


_MODELS: dict[Endpoint, type[_Race]] = {
    "races": _Race,
    "results": _RaceResults,
    "qualifying": _RaceQualifying,
    "laps": _RaceLaps,
    "pitstops": _RaceStops,
}
ROWS: dict[Endpoint, str] = {
    "results": "Results",
    "qualifying": "QualifyingResults",
    "laps": "Laps",
    "pitstops": "PitStops",
}
"""The key of a race's rows in an answer."""


@dataclass(frozen=True)
class Page:
    """One checked page of an answer: its races, the rows in it, and the rows of the whole answer."""

    races: list[dict[str, Any]]
    rows: int
    total: int


def fetch(
    client: PoliteClient,
    base_url: str,
    endpoint: Endpoint,
    season: int,
    round_: int | None = None,
    on_page: Callable[[int], None] | None = None,
    due: bool = False,
) -> list[dict[str, Any]]:
    """The whole answer of an endpoint: its races, with the rows of all pages, as Jolpica spells them.

    Args:
        client: asks.
        base_url: of the service, as "https://api.jolpi.ca/ergast/f1".
        endpoint: "races", "results" and "qualifying" of a season; "laps" and "pitstops" of a race.
        season: the year.
        round_: the race; None for all of the season.
        on_page: told after each page how many are still to come.
        due: an answer without any rows is a wrong one.

    Raises:
        DownloadError: if an answer is refused or wrong at all attempts, or keeps changing between its pages.
    """
    where = f"{season}" if round_ is None else f"{season}/{round_}"
    url = f"{base_url.rstrip('/')}/{where}/{endpoint}/"
    before: list[dict[str, Any]] | None = None
    for _ in range(RESTARTS):
        pages: list[Page] = []
        rows, total = 0, 1
        while rows < total:
            accept = _acceptor(endpoint, season, round_, rows, due)
            page = client.get(url, {"limit": PAGE_ROWS, "offset": rows}, accept)
            if pages and page.total != total:
                break
            pages.append(page)
            rows, total = rows + page.rows, page.total
            if on_page is not None:
                on_page(-(-(total - rows) // PAGE_ROWS))
        else:
            overlap = _overlap(pages, endpoint)
            joined = _joined(pages, ROWS.get(endpoint))
            # A row on two pages: rows moved between the requests, and another may have been lost. The very same
            # answer twice is the service's own word.
            if not overlap or joined == before:
                return joined
            before = joined
    raise DownloadError(f"{url}: the answer changed between two of its pages, {RESTARTS} times. Start again later.")


def _overlap(pages: list[Page], endpoint: Endpoint) -> bool:
    """Whether a row is on two pages."""
    seen: set[str] = set()
    for page in pages:
        found = {json.dumps(row, sort_keys=True) for row in _single_rows(page.races, endpoint)}
        if seen & found:
            return True
        seen |= found
    return False


def _single_rows(races: list[dict[str, Any]], endpoint: Endpoint) -> Iterator[Any]:
    """Each row as Jolpica counts them, with the race and the lap that it is of."""
    for race in races:
        if endpoint == "races":
            yield race["round"]
        elif endpoint == "laps":
            yield from ([race["round"], lap["number"], timing] for lap in race["Laps"] for timing in lap["Timings"])
        else:
            yield from ([race["round"], row] for row in race[ROWS[endpoint]])


def _acceptor(
    endpoint: Endpoint, season: int, round_: int | None, offset: int, due_any: bool
) -> Callable[[Answer], Page]:
    """A check that an answer is the whole page that was asked for, in the known layout."""

    def accept(answer: Answer) -> Page:
        try:
            data = json.loads(answer.content)["MRData"]
            limit, first, total = (int(data[key]) for key in ("limit", "offset", "total"))
            races = data["RaceTable"]["Races"]
            checked = [_MODELS[endpoint].model_validate(race) for race in races]
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise BadAnswerError(
                f"the layout is not the known one ({place}: {problem['msg']}, got {str(problem['input'])[:60]!r})"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            start = answer.content[:40].decode("utf-8", "replace").strip()
            raise BadAnswerError(f"the answer is no race table in JSON (it begins {start!r})") from error
        rows = sum(1 for _ in _single_rows(races, endpoint))
        due = min(limit, max(total - offset, 0))
        if first != offset or limit < 1 or rows != due:
            raise BadAnswerError(f"the answer holds {rows} rows from {first} where {due} from {offset} are due")
        if due_any and not total:
            raise BadAnswerError("the answer is empty, and there must be something of a season that is over")
        for race in checked:
            if race.season != season or (round_ is not None and race.round != round_):
                asked = f"{season}" if round_ is None else f"{season} round {round_}"
                raise BadAnswerError(f"the answer is about {race.season} round {race.round}, asked was {asked}")
        return Page(races, rows, total)

    return accept


def _joined(pages: list[Page], key: str | None) -> list[dict[str, Any]]:
    """The races of all pages; a race, or a lap, that was parted by a page's end is one again."""
    races: dict[tuple[str, str], dict[str, Any]] = {}
    for page in pages:
        for race in page.races:
            known = races.setdefault((str(race["season"]), str(race["round"])), race)
            if known is race or key is None:
                continue
            if key == "Laps" and known[key] and race[key] and known[key][-1]["number"] == race[key][0]["number"]:
                known[key][-1]["Timings"] += race[key][0]["Timings"]
                known[key] += race[key][1:]
            else:
                known[key] += race[key]
    return list(races.values())
