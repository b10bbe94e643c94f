"""What people call a race, a driver or a lap, as the ids and the horizon that it stands for.

Knows names only: nothing of models or forecasts. Whatever cannot be told is an error with the closest names.
"""

from __future__ import annotations

import difflib
import operator
import re
import unicodedata
from collections.abc import Sequence

import polars as pl

from f1_predict.errors import AmbiguousError, DataError, HorizonError, NotFoundError
from f1_predict.horizon import AfterLap, Horizon, PreRace, RaceArchive

MAX_NAME = 80
"""Characters of a name that are read: no race has a longer one."""
_SHOWN = 4
_FILLERS = frozenset({"grand", "prix", "gp", "race", "round", "the", "of"})
"""Words that tell no race from another."""
_FETCH = "Is it in the store? 'f1-predict data status' shows the seasons that are."


def words(text: str) -> list[str]:
    """The words of a name in lower case without accents: "São Paulo GP" -> ["sao", "paulo", "gp"]."""
    plain = unicodedata.normalize("NFKD", text[:MAX_NAME]).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z0-9]+", plain)


def quoted(asked: object) -> str:
    """What was asked for, to be shown in a message of one line: cut short, nothing that a terminal would obey."""
    return "'" + "".join(c if c.isprintable() else "?" for c in str(asked)[:MAX_NAME]) + "'"


def find_race(races: pl.DataFrame, text: str) -> str:
    """The race_id of a race that people name by its id, or by season and parts of its name or circuit.

    "2024_race_16", "2024 round 16", "2024 monza", "Italian Grand Prix 2024" and, where only one season has it,
    "monza" name a race; a word may be cut short ("2024 ital").

    Args:
        races: the `races` table, in the order of time.
        text: what was asked for.

    Raises:
        NotFoundError: if no race fits; names the closest.
        AmbiguousError: if several do; names the latest of them.
    """
    asked = words(text)
    for race_id in races["race_id"]:
        if words(race_id) == asked:
            return str(race_id)
    years = [word for word in asked if word.isdigit() and len(word) == 4]
    rounds = [word for word in asked if word.isdigit() and len(word) < 4]
    named = [word for word in asked if not word.isdigit() and word not in _FILLERS]
    fitting = [
        row
        for row in races.iter_rows(named=True)
        if (years or rounds or named)
        and all(int(year) == row["season"] for year in years)
        and all(int(number) == row["round"] for number in rounds)
        and _all_begin(named, [*words(row["name"]), *words(row["circuit_id"])])
    ]
    if len(fitting) == 1:
        return str(fitting[0]["race_id"])
    if not fitting:
        raise NotFoundError("race", quoted(text)[1:-1], _closest_labels(races, asked), _FETCH)
    latest = ", ".join(f"{row['race_id']} ({row['name']})" for row in fitting[: -_SHOWN - 1 : -1])
    remedy = "Give its id." if years else f"Add the season, as '{fitting[-1]['season']} {' '.join(asked)}'."
    raise AmbiguousError(f"{quoted(text)} names {len(fitting)} races, the latest {latest}. {remedy}")


def _all_begin(asked: Sequence[str], known: Sequence[str]) -> bool:
    """Whether each word asked for is one of the known ones, or how one begins."""
    return all(any(word.startswith(part) for word in known) for part in asked)


def _closest_labels(races: pl.DataFrame, asked: Sequence[str]) -> list[str]:
    """Races of the season asked for, or all, each under the one of its names that is closest to what was asked."""
    matcher = difflib.SequenceMatcher(b=" ".join(asked), autojunk=False)

    def likeness(label: str) -> float:
        matcher.set_seq1(" ".join(words(label)))
        return matcher.ratio()

    latest_first = races.sort("season", "round", descending=True)
    of_season = latest_first.filter(pl.col("season").cast(pl.String).is_in(list(asked)))
    found = []
    for row in (latest_first if of_season.is_empty() else of_season).iter_rows(named=True):
        place = row["circuit_id"].replace("_", " ")
        name = row["name"].lower().removesuffix(" grand prix")
        found.append(max(row["race_id"], f"{row['season']} {place}", f"{row['season']} {name}", key=likeness))
    return found


def find_driver(driver_ids: Sequence[str], text: str) -> str:
    """The driver_id that people name by its id or by parts of it: "Verstappen" -> "max_verstappen".

    Args:
        driver_ids: the field.
        text: what was asked for.

    Raises:
        NotFoundError: if nobody in the field is called so; names the closest.
        AmbiguousError: if several are.
    """
    asked = words(text)
    exact = [driver for driver in driver_ids if words(driver) == asked]
    fitting = exact or [driver for driver in driver_ids if asked and _all_begin(asked, words(driver))]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise NotFoundError("driver", quoted(text)[1:-1], driver_ids, f"In the field: {', '.join(driver_ids)}.")
    raise AmbiguousError(f"{quoted(text)} names {', '.join(fitting)}. Give one of these.")


def entries_of(archive: RaceArchive, race_id: str) -> pl.DataFrame:
    """The entries of a race.

    Raises:
        NotFoundError: if there is no such race.
        DataError: if it has none.
    """
    entries = archive.rows("entries", race_id)
    if entries.is_empty():
        raise DataError(
            f"{race_id} has no entries yet. Fetch it once its qualifying is known ('f1-predict update'), "
            f"or type them in ('f1-predict entries template --race {race_id}')."
        )
    return entries


def find_starter(archive: RaceArchive, race_id: str, text: str) -> str:
    """The driver_id of a race's starter, found as by `find_driver`.

    Raises:
        NotFoundError: if there is no such race, or nobody in its field is called so.
        AmbiguousError: if several are.
        DataError: if the race has no entries.
    """
    return find_driver(entries_of(archive, race_id)["driver_id"].to_list(), text)


def horizon_after(archive: RaceArchive, race_id: str, lap: object) -> Horizon:
    """The moment after a lap of a race, None meaning before its start.

    Raises:
        HorizonError: if the lap is no whole number from 1 to the laps that the leader has completed.
        NotFoundError: if there is no such race.
    """
    completed = archive.laps_completed(race_id)
    if lap is None:
        return PreRace()
    try:
        number = operator.index(lap)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if isinstance(lap, bool) or not 1 <= number <= completed:
        if completed == 0:
            raise HorizonError(
                f"{race_id} has no laps in the store, so lap {quoted(lap)} cannot be asked for. "
                "Leave the lap out for the forecast before the race."
            )
        raise HorizonError(
            f"the lap must be a whole number from 1 to {completed}, the laps that the leader of {race_id} has "
            f"completed, got {quoted(lap)}. Leave it out for the forecast before the race."
        )
    return AfterLap(number)
