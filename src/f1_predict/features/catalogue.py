"""The table of all features: names, meaning, unit, range and the encoding of "unknown".

The order of FEATURES is the order of the columns. Nothing is computed here.

Words used below: a *start* is a past entry with a result. A *share* of the field runs from 0 (first)
to 1 (last). *Form* is the last `form_races` starts of a driver, or races of a constructor with all
its cars; *season* is what came before in the same season. Means are over known values only. *Pace*
is lap time over the field's median time of the same lap, as a driver's median over a race.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature.

    Attributes:
        name: column name.
        meaning: what it says, in one line.
        unit: "share" (0 to 1), "ratio", "count", "code", "0/1", "log-odds", or a unit of measure.
        low, high: range of known values, ends included; None = unbounded.
        unknown: what stands where nothing is known: "null", or the value with its reason.
    """

    name: str
    meaning: str
    unit: str
    low: float | None
    high: float | None
    unknown: str


def _share(name: str, meaning: str, unknown: str = "null") -> Feature:
    return Feature(name, meaning, "share", 0.0, 1.0, unknown)


def _gap(name: str, meaning: str, low: float | None = 0.0) -> Feature:
    return Feature(name, meaning, "%", low, None, "null")


def _count(name: str, meaning: str) -> Feature:
    return Feature(name, meaning, "count", 0.0, None, "0: never before")


def _pace(name: str, meaning: str) -> Feature:
    return Feature(name, meaning, "ratio", 0.0, None, "null")


def _log_odds(name: str, meaning: str, unknown: str) -> Feature:
    return Feature(name, meaning, "log-odds", None, None, unknown)


def _place(name: str, meaning: str, unknown: str = "never: new names have the prior rating") -> Feature:
    return Feature(name, meaning, "position", 1.0, None, unknown)


_CALENDAR = (
    Feature("season", "year", "year", 1950.0, 2200.0, "never"),
    Feature("round", "round of the season", "count", 1.0, 99.0, "never"),
    Feature("n_starters", "entries of this race", "count", 1.0, None, "never"),
    Feature("circuit_id", "1 + order of first appearance of the circuit in the past", "code", 0.0, None, "0: new"),
    Feature("course_length_km", "length of a lap", "km", 1.0, 30.0, "null"),
    Feature("scheduled_laps", "laps planned before the start", "laps", 1.0, 250.0, "never"),
    Feature("street_circuit", "1 on a street circuit", "0/1", 0.0, 1.0, "null"),
    Feature("turns", "corners of the course", "count", 1.0, 200.0, "null"),
    _share("circuit_attrition", "mean share of starters not classified in past races here"),
    Feature("circuit_grid_correlation", "mean rank correlation of grid and result here", "1", -1.0, 1.0, "null"),
    _share("field_finish_rate", "mean share classified in the last `finish_window` races of all"),
)

_SESSIONS = (
    _place("grid_rank", "starting order 1..n by slot after penalties, pit lane last", "never"),
    Feature("pit_lane_start", "1 from the pit lane (grid 0)", "0/1", 0.0, 1.0, "never"),
    Feature("grid_penalty", "places lost to penalties", "places", 0.0, 99.0, "null"),
    _place("qualifying_position", "official qualifying position", "null"),
    _gap("qualifying_gap_pct", "best of q1 to q3 behind the field's best of all"),
    _gap("qualifying_session_gap_pct", "in the last session with a time, behind that session's best"),
    _gap("qualifying_teammate_gap_pct", "behind the best teammate in the last session both have a time in", None),
    _gap("practice_gap_pct", "best of fp1 to fp4 behind the field's best of all"),
    _gap("practice_session_gap_pct", "in the practice with most drivers timed (the later of equals), behind its best"),
)

_RATINGS = (
    _log_odds("driver_rating", "from full results: the driver's part", "new driver: `new_driver_rating`"),
    _log_odds("constructor_rating", "from full results: the car's part", "new team: `new_constructor_rating`"),
    _place("expected_position", "from these ratings of the whole field"),
    _place("pace_expected_position", "from such ratings learnt from the order of the classified alone"),
    Feature(
        "linear_forecast", "finish forecast by a ridge regression on LINEAR_INPUTS", "share", None, None, "0.5: no past"
    ),
)

_DRIVER = (
    _count("driver_starts", "past starts of the driver"),
    _share("driver_form", "mean finish in form"),
    _share("driver_last_finish", "finish of the last start"),
    Feature("driver_form_teammate", "mean finish less teammates' mean finish in form", "share", -1.0, 1.0, "null"),
    _pace("driver_form_pace", "mean pace in form"),
    _share("driver_season_finish", "mean finish in the season"),
    _share("driver_season_classified", "mean finish among the classified in the season"),
    _share("driver_finish_rate", "share classified in the last `finish_window` starts, smoothed", "field_finish_rate"),
    _count("driver_circuit_starts", "past starts of the driver here"),
    _share("driver_circuit_finish", "mean finish of the driver here"),
)

_CONSTRUCTOR = (
    _count("constructor_races", "past races of the constructor"),
    _share("constructor_form", "mean finish of its cars in form"),
    _pace("constructor_form_pace", "mean pace of its cars in form"),
    _share("constructor_season_finish", "mean finish of its cars in the season"),
    _pace("constructor_season_pace", "mean pace of its cars in the season"),
    _share("constructor_finish_rate", "as driver_finish_rate, of its cars in the last races", "field_finish_rate"),
    _count("constructor_circuit_starts", "past starts of its cars here"),
    _share("constructor_circuit_finish", "mean finish of its cars here"),
)

_CUT = (
    Feature("race_share", "laps completed by the leader / scheduled laps", "share", 0.0, None, "0 before the start"),
    Feature("weather", "1 dry, 2 wet: rain in the last `rain_window_s` of samples", "code", 0.0, 2.0, "0"),
    Feature("air_temp_c", "last air temperature", "degC", -30.0, 60.0, "null"),
    Feature("track_temp_c", "last track temperature", "degC", -30.0, 90.0, "null"),
    Feature("tire_compound", "last known compound, 1 HYPERSOFT to 9 WET as schemas.COMPOUNDS", "code", 0.0, 9.0, "0"),
    Feature("tyre_life", "laps done on the set at the end of the last lap", "laps", 0.0, 150.0, "null"),
)

LINEAR_INPUTS = (
    "grid_rank",
    "qualifying_gap_pct",
    "practice_gap_pct",
    "pace_expected_position",
    "driver_form_pace",
    "driver_season_classified",
    "constructor_season_pace",
)
"""What the linear forecast is made of, as ranks in the field (see linear.py)."""

RANKED = (*LINEAR_INPUTS[1:], "linear_forecast")
"""Features also given as ranks in the field: a gap means different things in different eras, a rank does not."""

_RANKS = tuple(
    _place(f"{name}_rank", f"rank of {name} in the field, 1 = smallest, equal values share the mean", "null")
    for name in RANKED
)

FEATURES: tuple[Feature, ...] = (*_CALENDAR, *_SESSIONS, *_RATINGS, *_DRIVER, *_CONSTRUCTOR, *_RANKS, *_CUT)
"""All features. Before the start weather is what was sampled up to then, tyres are unknown."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
"""The columns of the feature table, in order; all Float64, null = unknown."""
