"""Numbers of the race simulator: read from `parameters.toml`, checked, one frozen object for each era.

What a number does is said beside it in the file. Knows nothing of races.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from f1_predict.errors import ConfigError

MIXED = "mixed"
"""In place of an era: the eras by turns, a season each."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Amount = Annotated[float, Field(ge=0.0, le=100.0)]
Positive = Annotated[float, Field(gt=0.0, le=100.0)]


class EraParameters(BaseModel):
    """The numbers of one era; the file says what each means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teams: Annotated[int, Field(ge=2, le=13)]
    car_sd: Amount
    car_skew: Annotated[float, Field(ge=-1.0, le=1.0)]
    car_kept: Share
    car_growth_sd: Amount
    driver_sd: Amount
    driver_wet_sd: Amount
    rookie_loss: Amount
    turnover: Share
    reliability_sd: Amount

    team_form_sd: Amount
    race_team_sd: Amount
    race_driver_sd: Amount
    qualifying_sd: Amount
    missed_rate: Share
    missed: Amount
    practice_sd: Amount
    no_time_rate: Share
    penalty_rate: Share
    pit_lane_rate: Share
    shortened_rate: Share

    lap_noise: Amount
    drift_noise: Amount
    drift_kept: Share
    wet_noise: Amount
    mistake_rate: Share
    mistake_s: Amount
    fuel: Amount
    refuelling: Annotated[int, Field(ge=0, le=1)]
    ease: Amount
    ease_gap_s: Amount
    lead_ease: Amount
    lead_ease_gap_s: Positive

    medium_loss: Amount
    hard_loss: Amount
    soft_life: Positive
    medium_life: Positive
    hard_life: Positive
    life_sd: Amount
    stint_sd: Amount
    wear: Amount
    wear_power: Positive
    cliff_at: Positive
    cliff: Amount
    cold: Amount
    slick_wet: Amount
    inter_dry: Amount
    inter_wet: Amount
    wet_dry: Amount
    wet_wet: Amount
    overlooked: Amount

    pit_loss: Positive
    stop_sd_s: Amount
    slow_stop_rate: Share
    slow_stop_s: Amount
    caution_loss: Share
    caution_chance: Share
    caution_age: Share
    cover_chance: Share
    cover_gap_s: Amount
    late_stop_share: Share

    start_loss_s: Amount
    grid_gap_s: Amount
    grid_gap_power: Positive
    start_sd_s: Amount
    first_lap_rate: Share
    first_lap_s: Amount

    difficulty: Amount
    overtake_scale_s: Positive
    reach_s: Amount
    follow_gap_s: Positive
    dirty_air_s: Amount
    dirty_reach_s: Positive
    blue_flag_s: Amount
    lapping_s: Amount

    mechanical_rate: Share
    crash_rate: Share
    back_trouble: Amount
    second_car_chance: Share
    first_lap_share: Share
    wet_trouble: Amount
    limp_chance: Share
    damage_rate: Share
    damage: Amount
    damage_stop_chance: Share

    crash_caution_chance: Share
    breakdown_caution_chance: Share
    debris_rate: Share
    virtual_share: Share
    safety_car_laps: Positive
    virtual_laps: Positive
    safety_car_time: Annotated[float, Field(gt=1.0, le=3.0)]
    catch_up_time: Annotated[float, Field(gt=1.0, le=3.0)]
    virtual_time: Annotated[float, Field(gt=1.0, le=3.0)]
    safety_car_sd: Amount
    caution_noise: Amount
    unlapping_chance: Share
    red_flag_share: Share
    red_flag_min: Amount
    red_flag_end_chance: Share

    rain: Amount
    wetting: Positive
    drying: Positive


Parameters = dict[str, EraParameters]
"""By era, in the order of time."""


def read_parameters(path: Path | None = None) -> Parameters:
    """The numbers of every era, from a file in the form of the package's own (None).

    Raises:
        ConfigError: if the file cannot be read, or a number is missing, unknown, out of range, or not given for
            each era.
    """
    if path is None:
        return dict(_packaged())
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}). Give a file like the package's parameters.toml."
        ) from error


@cache
def _packaged() -> Parameters:
    text = resources.files(__package__).joinpath("parameters.toml").read_text(encoding="utf-8")
    return _parse(text, "parameters.toml")


def _parse(text: str, name: str) -> Parameters:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: is not TOML ({error}). Correct the line.") from error
    eras = raw.pop("eras", None)
    if not isinstance(eras, list) or not eras or len(set(eras)) < len(eras):
        raise ConfigError(f"{name}: 'eras' must list the names of the eras, each once, got {eras!r}.")
    numbers: dict[str, Any] = {}
    for section, values in raw.items():
        if not isinstance(values, dict):
            raise ConfigError(f"{name}: '{section}' must stand in a section, such as [lap].")
        for key, value in values.items():
            if key in numbers:
                raise ConfigError(f"{name}: '{key}' is given twice. Keep one of them.")
            if isinstance(value, list) and len(value) != len(eras):
                raise ConfigError(
                    f"{name}: '{key}' must be one number, or {len(eras)} numbers, one for each era; got {len(value)}."
                )
            numbers[key] = value
    return {era: _era(numbers, place, f"{name}, era {era}") for place, era in enumerate(eras)}


def _era(numbers: dict[str, Any], place: int, name: str) -> EraParameters:
    own = {key: value[place] if isinstance(value, list) else value for key, value in numbers.items()}
    try:
        return EraParameters.model_validate(own, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{name}: '{key}': {first['msg']}, got {first.get('input')!r}. Correct the file.") from error
