"""Which source a column is taken from where several know it: the one place that says so.

`docs/data.md` shows this table. `combine` follows it, and `update` keeps by it what a newer fetch knows less of.
"""

from __future__ import annotations

from f1_predict import schemas

ERGAST, F1DB, FASTF1, ENTRY_LIST = "ergast", "f1db", "fastf1", "entry_list"
FAMILY = {"jolpica": ERGAST, "ergast": ERGAST, "f1db": F1DB, "fastf1": FASTF1, "entry_list": ENTRY_LIST}
"""Jolpica carries on Ergast's data: the service and the dump are one source, whose newer word counts."""

_ERGAST = (ERGAST,)
PRECEDENCE: dict[str, dict[str, tuple[str, ...]]] = {
    "races": {
        **dict.fromkeys(("race_id", "season", "round", "name", "date", "circuit_id"), _ERGAST),
        **dict.fromkeys(("course_length_km", "circuit_type", "direction", "turns"), (F1DB,)),
        "scheduled_laps": (F1DB, ERGAST),
    },
    "entries": {
        **dict.fromkeys(("race_id", "driver_id", "constructor_id", "car_number"), (ENTRY_LIST, ERGAST)),
        "grid": (ENTRY_LIST, F1DB, ERGAST),
        "grid_penalty": (F1DB,),
        **dict.fromkeys(("qualifying_position", "q1_s", "q2_s", "q3_s"), _ERGAST),
        **dict.fromkeys(("fp1_s", "fp2_s", "fp3_s", "fp4_s"), (F1DB,)),
    },
    "results": dict.fromkeys(schemas.dtypes("results"), _ERGAST),
    "laps": {
        **dict.fromkeys(("race_id", "driver_id", "lap", "lap_time_s", "position", "implausible"), _ERGAST),
        "end_time_s": (FASTF1, ERGAST),
        "speed_kmh": (F1DB,),
        **dict.fromkeys(("compound", "tyre_life", "track_status", "speed_trap_kmh"), (FASTF1,)),
        **dict.fromkeys(("pit_in", "pit_out"), (FASTF1, ERGAST)),
    },
    "weather": dict.fromkeys(schemas.dtypes("weather"), (FASTF1,)),
}
"""Table -> column -> sources, the first that knows a value first. An entry list is there for a coming race only."""

_COMING = "an entry list counts for a coming race only, and ends with it"

NOTES: dict[tuple[str, str], str] = {
    (
        "races",
        "scheduled_laps",
    ): "Ergast: the winner's laps; of a coming race, the distance rule or the last race there",
    **{("entries", column): _COMING for column in ("race_id", "driver_id", "constructor_id", "car_number")},
    ("entries", "grid"): f"{_COMING}; Ergast's of a coming race is the order of qualifying",
    ("laps", "lap_time_s"): "FastF1's session clock is compared and conflicts are reported; it is right at red flags",
    ("laps", "position"): "where it names none, the order of the race clock",
    ("laps", "end_time_s"): "Ergast's lap times summed; FastF1's clock where the whole field lost over a minute",
    ("laps", "speed_kmh"): "f1db's course length over Ergast's lap time",
    ("laps", "implausible"): "from the lap time",
    ("laps", "pit_in"): "true where either says so",
    ("laps", "pit_out"): "true where either says so",
}


def first_source(table: str, column: str, sources: set[str]) -> str | None:
    """The family that a column comes from, of those that are there; None if none knows it."""
    return next((family for family in PRECEDENCE[table][column] if family in sources), None)


def precedence_rows() -> list[tuple[str, str, str, str]]:
    """(table, columns, sources, note) for people: neighbours with the same sources and the same note are one row."""
    rows: list[tuple[str, str, str, str]] = []
    for table in schemas.TABLE_NAMES:
        for column in schemas.dtypes(table):
            sources, note = ", ".join(PRECEDENCE[table][column]), NOTES.get((table, column), "")
            if rows and rows[-1][0] == table and rows[-1][2:] == (sources, note):
                rows[-1] = (table, f"{rows[-1][1]}, {column}", sources, note)
            else:
                rows.append((table, column, sources, note))
    return rows


def precedence_table() -> str:
    """The rows as a Markdown table."""
    lines = ["| table | column | first, then | note |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in precedence_rows()]
    return "\n".join(lines)
