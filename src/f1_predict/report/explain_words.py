"""An explanation in words: what is explained, numbers in its unit, and what to know besides. For terminal and picture.

Knows nothing of how they look.
"""

from __future__ import annotations

from f1_predict.explain import Explanation
from f1_predict.report.forecast_view import percent

TARGETS = {
    "expected_position": "expected place",
    "p_win": "chance to win",
    "p_podium": "chance of a podium",
    "p_points": "chance of points",
    "p_finish": "chance to be classified",
}
"""What people call a target."""


def in_places(explanation: Explanation) -> bool:
    """Whether numbers are places, and not probabilities."""
    return explanation.target == "expected_position"


def shown(explanation: Explanation, value: float) -> str:
    """An answer: "3.4", or "12.5%"."""
    return f"{value:.1f}" if in_places(explanation) else percent(value)


def changed(explanation: Explanation, change: float) -> str:
    """A difference of answers, "+0.42" (places) or "-3.1" (percentage points), with a true minus; never "-0.0"."""
    text = f"{change:+.2f}" if in_places(explanation) else f"{100.0 * change:+.1f}"
    return "0" if float(text) == 0.0 else text.replace("-", "−")


def unit(explanation: Explanation) -> str:
    """Of `changed`."""
    return "places" if in_places(explanation) else "percentage points"


def better(explanation: Explanation, change: float) -> bool:
    """Whether a change is to the driver's good."""
    return change < 0.0 if in_places(explanation) else change > 0.0


def title(explanation: Explanation) -> str:
    """Whose forecast, of which race and when."""
    race = explanation.race
    moment = f"after lap {explanation.lap} of {race.scheduled_laps}" if explanation.lap else "before the race"
    return f"{race.season} {race.name} ({race.race_id}), {moment}: {explanation.driver_id}"


def headline(explanation: Explanation) -> str:
    """The number that is explained, and how it compares with the forecast."""
    what = TARGETS[explanation.target].capitalize()
    own, field = shown(explanation, explanation.value), shown(explanation, explanation.field_value)
    if explanation.target == "p_finish":
        return f"{what}: {own}, by the network's answer for this driver, which is the forecast."
    return (
        f"{what}: {own} by the network's own answer for this driver, which is explained here; {field} in the forecast, "
        "where the answers for all drivers are balanced so that every place goes to one of them."
    )


def value_text(value: float | None) -> str:
    """A feature's value."""
    return "unknown" if value is None else f"{value:.4g}".replace("-", "−")


def remarks(explanation: Explanation) -> list[str]:
    """What is not there, and what else to know."""
    lines = []
    if explanation.picture is None:
        lines.append("No picture: this driver has no lap to show, so the answer rests on the table alone.")
    elif explanation.laps.is_empty():
        lines.append("No laps to blank: before the start the picture shows earlier races.")
    return lines + [f"Note: {note}" for note in explanation.notes]
