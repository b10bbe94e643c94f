"""The table of all in-race features: names, meaning, unit, range and the encoding of "unknown".

The order of IN_RACE_FEATURES is the order of the columns. Nothing is computed here.

Words used below: *order* is the running order at the cut (see order.py), *running* are the cars that it does not
count as stopped, *ahead* and *behind* are the next cars in it. A *gap* is the difference of the times at which two
cars ended the last lap that both have completed. *Pace* is lap time over the field's median time of the same lap,
less 1, in percent (negative = faster), means over *clean* laps: not the first, none that begins or ends in the pit
lane, none under caution, none much slower than the driver's usual. *Stops* are recorded, or inferred from the time
that they cost. Gaps, paces and stops of cars that have stopped for good are unknown. Times in seconds.
"""

from __future__ import annotations

from f1_predict.features.catalogue import Feature


def _gap(name: str, meaning: str, low: float | None = None) -> Feature:
    return Feature(name, meaning, "s", low, None, "null")


def _pace(name: str, meaning: str, low: float | None = None) -> Feature:
    return Feature(name, meaning, "%", low, None, "null")


def _number(name: str, meaning: str, unit: str = "count", unknown: str = "0: nothing has happened yet") -> Feature:
    return Feature(name, meaning, unit, 0.0, None, unknown)


def _maybe(name: str, meaning: str, unit: str, low: float | None = None, high: float | None = None) -> Feature:
    return Feature(name, meaning, unit, low, high, "null")


def _rank(name: str, meaning: str) -> Feature:
    return Feature(name, meaning, "position", 1.0, None, "null")


def _flag(name: str, meaning: str, unknown: str = "never") -> Feature:
    return Feature(name, meaning, "0/1", 0.0, 1.0, unknown)


_ORDER = (
    Feature(
        "ir_position", "place in the order, 1..n; before the start the place on the grid", "position", 1, None, "never"
    ),
    Feature(
        "ir_position_share", "place in the order from 0 (first) to 1 (last of the running)", "share", 0.0, None, "never"
    ),
    _flag("ir_stopped", "1 if the car has not crossed the line for two laps of the leader"),
    _number("ir_laps_behind", "laps completed by the leader less own; the next lap is nobody else's yet", "laps"),
    _maybe(
        "ir_overdue", "time since the last crossing of the line, in usual laps: above 1 the car is late", "laps", 0.0
    ),
    _number("ir_overdue_ahead", "running cars ahead that are late by a quarter of a lap or more"),
    Feature("ir_gained", "places gained since the start", "places", None, None, "never"),
    _maybe("ir_first_lap_gain", "places gained on the first lap", "places"),
    _maybe("ir_gained_2", "places gained in the last two laps", "places"),
    _maybe("ir_gained_5", "places gained in the last five laps", "places"),
    _maybe("ir_gained_15", "places gained in the last fifteen laps", "places"),
    _maybe("ir_best_position", "best place at the end of any lap", "position", 1.0),
    _maybe("ir_mean_position", "mean place at the ends of the last ten laps", "position", 1.0),
    _maybe("ir_volatility", "mean change of place from lap to lap in the last ten", "places", 0.0),
    _number("ir_teammates_stopped", "teammates that have stopped"),
    Feature("ir_teammate", "place less the mean place of the teammates", "places", None, None, "null"),
)

_GAPS = (
    _gap("ir_gap_leader", "gap to the leader"),
    _maybe("ir_gap_leader_laps", "gap to the leader in laps of the field", "laps"),
    _gap("ir_gap_ahead", "gap to the car ahead"),
    _gap("ir_gap_behind", "gap to the car behind"),
    _gap("ir_gap_ahead_2", "gap to the second car ahead"),
    _gap("ir_gap_behind_2", "gap to the second car behind"),
    _gap("ir_gap_third", "gap to the third place, negative ahead of it"),
    _gap("ir_gap_tenth", "gap to the tenth place, negative ahead of it"),
    _gap("ir_gap_teammate", "gap to the best running teammate, negative ahead of him"),
    _maybe("ir_closing_leader", "gap to the leader less that five laps before, per lap", "s"),
    _maybe("ir_closing_ahead", "gap to the car ahead less that five laps before, per lap", "s"),
    _maybe("ir_closing_behind", "gap to the car behind less that five laps before, per lap", "s"),
    _number("ir_close_ahead", "running cars less than 5 s ahead"),
    _number("ir_close_behind", "running cars less than 5 s behind"),
    _number("ir_stop_window", "running cars behind by less than a stop costs"),
)

_PACE = (
    _pace("ir_pace_3", "pace of the last 3 clean laps"),
    _pace("ir_pace_5", "pace of the last 5 clean laps"),
    _pace("ir_pace_10", "pace of the last 10 clean laps"),
    _pace("ir_pace_all", "pace of all clean laps"),
    _pace("ir_pace_stint", "pace of the clean laps of the stint"),
    _pace("ir_pace_quick", "pace of the fastest quarter of the clean laps: without traffic"),
    _pace("ir_pace_last", "pace of the last lap, clean or not"),
    _pace("ir_pace_spread", "standard deviation of the pace of the clean laps", 0.0),
    _maybe("ir_pace_trend", "slope of the pace in the stint", "%/lap"),
    _pace("ir_best_lap", "own best lap behind the field's best", 0.0),
    _pace("ir_pace_ahead", "own pace of the last 10 clean laps less that of the car ahead"),
    _pace("ir_pace_behind", "own pace of the last 10 clean laps less that of the car behind"),
    _pace(
        "ir_pace_around", "own pace of the last 10 clean laps less the mean of the two cars ahead and the two behind"
    ),
    _pace("ir_pace_teammate", "own pace of all clean laps less the teammates' mean"),
    _rank("ir_pace_10_rank", "rank of the pace of the last 10 clean laps among the running"),
    _rank("ir_pace_all_rank", "rank of the pace of all clean laps among the running"),
    _rank("ir_pace_quick_rank", "rank of the pace of the fastest quarter of the clean laps among the running"),
    _rank("ir_projected_rank", "rank of the gap to the leader carried on at this pace over the laps left"),
    _rank(
        "ir_projected_net_rank", "rank of the gap carried on to the flag, less the time that the own stops have cost"
    ),
    _gap("ir_projected_gap", "gap carried on at this pace over the laps left, to the first by that measure", 0.0),
    _gap(
        "ir_projected_net_gap",
        "gap carried on to the flag less the time that the own stops have cost, to the first by that measure",
        0.0,
    ),
    _maybe(
        "ir_expected_position", "1 + the chances of the others to end ahead, from the projected gaps", "position", 1.0
    ),
    _maybe(
        "ir_expected_net_position",
        "1 + the chances of the others to end ahead, from projected gaps less what stops have cost",
        "position",
        1.0,
    ),
    _gap("ir_projected_ahead", "gap to the car ahead carried on at this pace over the laps left, negative = past it"),
    _gap("ir_projected_behind", "gap to the car behind carried on at this pace over the laps left, negative = passed"),
)

_STOPS = (
    _maybe("ir_stops", "stops made", "count", 0.0),
    _maybe("ir_stint", "laps since the last stop, or since the start", "laps", 0.0),
    _maybe("ir_stint_share", "laps since the last stop, or since the start, over the scheduled laps", "share", 0.0),
    _maybe("ir_stops_field", "stops less the mean of the running", "count"),
    _maybe("ir_stint_field", "laps since the last stop less the mean of the running", "laps"),
    _maybe("ir_stops_ahead", "stops less those of the car ahead", "count"),
    _maybe("ir_stops_behind", "stops less those of the car behind", "count"),
    _maybe("ir_stint_ahead", "laps since the last stop less those of the car ahead", "laps"),
    _maybe("ir_stint_behind", "laps since the last stop less those of the car behind", "laps"),
    _number("ir_fewer_ahead", "running cars ahead that have made fewer stops"),
    _number("ir_more_behind", "running cars behind that have made more stops"),
    _rank("ir_net_rank", "rank of the gap to the leader less the time that the own stops have cost"),
    _gap("ir_net_gap", "gap to the leader less the time that the own stops have cost, to the first by that measure"),
    _flag("ir_in_pits", "1 if the last completed lap ended in the pit lane"),
    _maybe("ir_stop_cost", "median time that a stop has cost so far in this race; 22 s until three are known", "s"),
)

_TYRES = (
    _maybe("ir_tyre_age", "laps on the set; where not recorded laps since the last stop", "laps", 0.0),
    _maybe("ir_tyre_age_field", "laps on the set less the mean of the running", "laps"),
    _maybe("ir_compound_field", "code of the compound less the mean of the running, negative = softer", "code"),
    _maybe("ir_compound_ahead", "code of the compound less that of the car ahead", "code"),
    _maybe("ir_compounds_used", "different compounds used so far", "count", 1.0),
)

_RACE = (
    Feature("ir_laps_left", "scheduled laps less laps completed by the leader", "laps", 0.0, None, "never"),
    _number("ir_running", "cars running", unknown="never"),
    _number("ir_lead_lap", "running cars that are not lapped", unknown="never"),
    _flag(
        "ir_caution", "1 if the last lap of the field was under a safety car or red flag", "0: nothing has happened yet"
    ),
    _number("ir_caution_laps", "laps so far under caution", "laps"),
    Feature(
        "ir_caution_share",
        "laps so far under caution over all laps so far",
        "share",
        0.0,
        1.0,
        "0: nothing has happened yet",
    ),
    _maybe("ir_since_caution", "laps since the last under caution", "laps", 0.0),
    _maybe("ir_field_pace", "median lap time of the field in its last 3 laps over its fastest such lap", "ratio", 1.0),
    _maybe(
        "ir_field_dry",
        "lap time of the field in its last 3 laps over the best of qualifying and practice: high in the wet",
        "ratio",
        0.0,
    ),
    _flag("ir_wet", "1 if it rained of late, rain tyres are on, or the field is slow as in rain without a caution"),
    _maybe("ir_field_spread", "gap between first and last of the lead lap, in laps of the field", "laps", 0.0),
)

IN_RACE_FEATURES: tuple[Feature, ...] = (*_ORDER, *_GAPS, *_PACE, *_STOPS, *_TYRES, *_RACE)
"""All in-race features. Before the start there are no laps: the order is the grid, and what needs laps is unknown."""

IN_RACE_NAMES: tuple[str, ...] = tuple(feature.name for feature in IN_RACE_FEATURES)
"""The columns of the in-race table, in order; all Float64, null = unknown."""
