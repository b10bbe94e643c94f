"""Settings: one small frozen object per stage with named defaults, passed explicitly.

`Config.from_toml` reads a file with one section per stage; an unknown key is an error. Nothing
here is global, and no stage reads a setting that it was not given.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from f1_predict.errors import ConfigError

Head = Literal["position", "position_regression", "finish"]
"""What the fusion network forecasts: see MultiModalFusionModel."""
Runtime = Literal["torch", "torch-bf16", "cuda-autocast", "openvino", "openvino-bf16", "openvino-int8"]
"""How the vision backbone is computed: see VisionEncoder."""


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SimulatorConfig(_Stage):
    """Built-in data: simulated seasons."""

    first_season: int = Field(2101, ge=1950, le=2190)
    races_per_season: int = Field(18, ge=1, le=40)
    teams: int | None = Field(None, ge=2, le=13)  # None: as many as the era has
    era: str = "2022-2024"  # whose numbers: see sources/simulator/parameters.toml; "mixed" for all by turns


class FetchConfig(_Stage):
    """Downloads. The limits are those that Jolpica publishes; they may be left off only against another server."""

    jolpica_url: str = "https://api.jolpi.ca/ergast/f1"
    f1db_url: str = "https://github.com/f1db/f1db/releases/latest/download/f1db-csv.zip"
    requests_per_second: int = Field(4, ge=1, le=4)
    requests_per_hour: int = Field(500, ge=1, le=500)
    keep_limits: bool = True
    timeout_s: float = Field(30.0, gt=0.0)
    attempts: int = Field(8, ge=1)  # of each request, before the fetch stops

    @model_validator(mode="after")
    def _limits_of_the_public_service(self) -> FetchConfig:
        if not self.keep_limits and "jolpi.ca" in self.jolpica_url:
            raise ValueError("keep_limits must be true for api.jolpi.ca, whose limits are not ours to lift")
        return self


class PictureConfig(_Stage):
    """Pictures of races. Lengths in pixels; the box is (left, top, width, height).

    `style` is what the network sees: "speed", the design's traces, or "race", a pit wall's view (see
    SpeedTraceGenerator).
    """

    style: Literal["speed", "race"] = "speed"
    width: int = Field(800, ge=64, le=4000)
    height: int = Field(600, ge=64, le=4000)
    plot_box: tuple[int, int, int, int] = (84, 72, 448, 448)
    past_races: int = Field(5, ge=1, le=20)

    @model_validator(mode="after")
    def _box_inside(self) -> PictureConfig:
        left, top, width, height = self.plot_box
        room = min(left, top, self.width - left - width, self.height - top - height)
        if room < 8 or min(width, height) < 32:
            raise ValueError(
                f"plot_box must be at least 32 x 32 pixels and lie 8 or more inside the picture of "
                f"{self.width} x {self.height}, got {self.plot_box}"
            )
        return self


class FeatureConfig(_Stage):
    """Tabular features."""

    rating_step: float = Field(0.005, gt=0.0, le=1.0)  # per pairwise comparison, see features/ratings.py
    constructor_step: float = Field(0.01, gt=0.0, le=1.0)
    driver_keep: float = Field(0.8, ge=0.0, le=1.0)  # share of a rating that survives into a new season
    constructor_keep: float = Field(0.8, ge=0.0, le=1.0)
    new_driver_rating: float = -0.25
    new_constructor_rating: float = -0.5
    form_races: int = Field(5, ge=1, le=50)
    finish_window: int = Field(20, ge=1, le=500)  # starts that count for finish rates
    finish_prior_starts: float = Field(5.0, gt=0.0)  # weight of the field's rate in them
    linear_penalty: float = Field(10.0, gt=0.0)  # see features/linear.py
    linear_memory: float = Field(0.995, gt=0.0, le=1.0)
    rain_window_s: float = Field(900.0, gt=0.0)


class EncoderConfig(_Stage):
    """The vision backbone. `weights`: "auto", "imagenet", "trace", "random" or a file.

    `runtime` says how it is computed (see VisionEncoder), `keep` how embeddings are kept on disk: "float16" takes half
    the space. Embeddings of different runtimes or precisions never meet.
    """

    weights: str = "auto"
    seed: int = 0
    batch_size: int = Field(64, ge=1)
    device: str = "auto"
    runtime: Runtime = "torch"
    keep: Literal["float32", "float16"] = "float32"


class PretrainConfig(_Stage):
    """The backbone's training on simulated pictures; see `f1-predict pretrain`.

    A block is a batch of small simulated seasons whose pictures are shuffled together. `minutes`, where it is given,
    takes the place of `pictures`: the schedule then follows the clock, and such a run cannot be repeated bit by bit.
    """

    pictures: int = Field(300_000, ge=1)
    minutes: float | None = Field(None, gt=0.0)
    batch_size: int = Field(64, ge=2)
    learning_rate: float = Field(2e-3, gt=0.0)
    warm_up_share: float = Field(0.05, ge=0.0, lt=1.0)  # of all pictures; then down a cosine
    weight_decay: float = Field(0.05, ge=0.0)
    average_share: float = Field(0.03, gt=0.0, le=1.0)  # of the steps so far, that the average of weights reaches back
    small_share: float = Field(0.4, ge=0.0, le=1.0)  # of all pictures, at the beginning, that are seen smaller
    small_size: int = Field(80, ge=32)  # pixels
    label_spread: float = Field(0.03, gt=0.0, le=1.0)  # of a finishing place: standard deviation, share of the field
    seed: int = Field(0, ge=0)
    workers: int = Field(1, ge=0)  # processes that draw; 0 draws in between
    seasons_per_block: int = Field(2, ge=1)
    races_per_season: int = Field(16, ge=2, le=40)
    teams: tuple[int, int] = (9, 13)  # fewest and most
    eras: tuple[str, ...] = Field(("1996-2009", "2010-2013", "2014-2017", "2018-2021", "2022-2024"), min_length=1)
    cuts_per_race: int = Field(1, ge=1)
    drivers_per_cut: int = Field(16, ge=1)
    before_share: float = Field(0.08, ge=0.0, le=1.0)  # of the cuts that are before the start
    early_late_share: float = Field(0.2, ge=0.0, le=1.0)  # of the others that may be outside 10-90 % of the laps
    evaluate_every: int = Field(20_000, ge=1)  # pictures
    held_out_cuts: int = Field(48, ge=1)
    final_cuts: int = Field(160, ge=1)
    statistics_pictures: int = Field(2048, ge=2)  # that the last batch-norm statistics are made from
    checkpoint_minutes: float = Field(4.0, gt=0.0)

    @model_validator(mode="after")
    def _teams_in_order(self) -> PretrainConfig:
        if not 2 <= self.teams[0] <= self.teams[1] <= 13:
            raise ValueError(f"teams must be the fewest and the most, between 2 and 13, got {self.teams}")
        return self


class FusionConfig(_Stage):
    """The design's network: 512 + 128 -> 256 -> 128 -> out."""

    head: Head = "position"
    image_feature_dim: int = 512
    tabular_dim: int = 128
    hidden: tuple[int, int] = (256, 128)
    dropout: float = Field(0.3, ge=0.0, lt=1.0)


class TrainingConfig(_Stage):
    """The design's loop.

    The fit starts again, once, from the first weights at `fallback_learning_rate` if the loss of the training
    rows after `stall_epochs` epochs is not below the untrained network's by the share `stall_margin`.
    `restore_best` keeps the weights of the epoch with the lowest validation loss, not the last ones; with
    `patience`, the fit ends after so many epochs without a lower one. Networks of who will be classified, which stand
    beside those of places, learn in batches of `finish_batch_size`.
    """

    epochs: int = Field(20, ge=1)
    patience: int | None = Field(None, ge=1)
    batch_size: int = Field(32, ge=1)
    finish_batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0.0)
    fallback_learning_rate: float = Field(5e-4, gt=0.0)
    stall_epochs: int = Field(3, ge=1)
    stall_margin: float = Field(1e-3, ge=0.0, lt=1.0)
    restore_best: bool = True
    seed: int = Field(0, ge=0)


class EnsembleConfig(_Stage):
    """The tabular-only baseline: a soft vote. Chosen on the seasons 2016-2018, trained on those before."""

    seed: int = 0
    threads: int = Field(1, ge=1)  # more wait for each other: on a busy machine many times as long
    boosting_max_rounds: int = Field(400, ge=1)
    boosting_patience: int = Field(10, ge=1)
    boosting_learning_rate: float = Field(0.1, gt=0.0, le=1.0)
    boosting_leaves: int = Field(5, ge=2)
    boosting_min_rows: int = Field(40, ge=1)
    boosting_l2: float = Field(30.0, ge=0.0)
    boosting_feature_share: float = Field(0.3, gt=0.0, le=1.0)
    boosting_row_share: float = Field(0.8, gt=0.0, le=1.0)
    forest_trees: int = Field(200, ge=1)
    forest_min_rows: int = Field(20, ge=1)
    forest_feature_share: float = Field(0.7, gt=0.0, le=1.0)
    forest_row_share: float = Field(1.0, gt=0.0, le=1.0)  # of the rows that a tree is grown on
    ridge_alpha: float = Field(3000.0, gt=0.0)
    spline_knots: int = Field(5, ge=2)


class InRaceEnsembleConfig(EnsembleConfig):
    """The same vote on many cuts of each race, with in-race features. Chosen on 2011-2012, trained on 1996-2010.

    Cuts of one race are alike: a tree that sees a part of the rows is no worse, and much quicker to grow.
    """

    boosting_row_share: float = Field(0.5, gt=0.0, le=1.0)
    forest_trees: int = Field(10, ge=1)
    forest_min_rows: int = Field(60, ge=1)
    forest_feature_share: float = Field(0.3, gt=0.0, le=1.0)
    forest_row_share: float = Field(0.33, gt=0.0, le=1.0)
    ridge_alpha: float = Field(300.0, gt=0.0)
    spline_knots: int = Field(9, ge=2)


class FieldConfig(_Stage):
    """The network over a whole field of cars, and its fit.

    Chosen on the seasons 2011-2012, trained on 1996-2010; `field_share` on 2013-2014.
    """

    width: int = Field(64, ge=4)  # of a car's vector; divisible by `heads`
    heads: int = Field(4, ge=1)
    layers: int = Field(2, ge=1)
    dropout: float = Field(0.3, ge=0.0, lt=1.0)
    image_width: int = Field(16, ge=1)  # what a picture's embedding is projected to
    image_dropout: float = Field(0.5, ge=0.0, lt=1.0)  # of the embedding's numbers
    mask_pictures: float = Field(0.3, ge=0.0, le=1.0)  # share of fields whose pictures a training step hides
    hide_cars: float = Field(0.1, ge=0.0, lt=1.0)  # share of cars that a training step leaves out of their fields
    sinkhorn_rounds: int = Field(8, ge=1)
    finish_weight: float = Field(0.2, ge=0.0)  # of the loss of being classified
    members: int = Field(3, ge=1)  # networks whose forecasts are averaged
    epochs: int = Field(12, ge=1)
    patience: int = Field(3, ge=1)  # epochs without a better validation log-loss
    field_share: float = Field(0.2, gt=0.0, le=1.0)  # of the fields not marked to be seen always that an epoch sees
    batch_fields: int = Field(48, ge=1)
    learning_rate: float = Field(2e-3, gt=0.0)
    warm_up_share: float = Field(0.1, ge=0.0, lt=1.0)  # of all steps; then down a cosine
    weight_decay: float = Field(0.05, ge=0.0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _heads_divide(self) -> FieldConfig:
        if self.width % self.heads:
            raise ValueError(f"width must be divisible by heads, got {self.width} and {self.heads}")
        return self


class EvaluationConfig(_Stage):
    """Scoring.

    `fractions` are those of a comparison. In a backtest, models of all lap fractions learn from each race cut before
    the start, at `training_cuts` fractions evenly between start and finish, and where it is scored. The design's
    networks stop after `patience` epochs without a lower validation loss: ten seasons of them are to take minutes.
    """

    fractions: tuple[float, ...] = (0.0, 0.25, 0.5)
    training_cuts: int = Field(9, ge=0, le=99)
    patience: int = Field(4, ge=1)
    bootstrap_draws: int = Field(2000, ge=1)
    seed: int = 0


class Config(_Stage):
    """All stages' settings."""

    simulator: SimulatorConfig = SimulatorConfig()
    fetch: FetchConfig = FetchConfig()
    picture: PictureConfig = PictureConfig()
    features: FeatureConfig = FeatureConfig()
    encoder: EncoderConfig = EncoderConfig()
    pretrain: PretrainConfig = PretrainConfig()
    fusion: FusionConfig = FusionConfig()
    training: TrainingConfig = TrainingConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    inrace_ensemble: InRaceEnsembleConfig = InRaceEnsembleConfig()
    field: FieldConfig = FieldConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @classmethod
    def from_toml(cls, path: Path) -> Config:
        """Read settings from a TOML file; sections and keys not given keep their defaults.

        Raises:
            ConfigError: if the file is missing, is no TOML, or has an unknown key or a bad value.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}). Give the path of a TOML file.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: is no TOML ({error}). Correct that line.") from error
        return _checked(values, f"{path}: ")

    def changed(self, stage: str, values: Mapping[str, object]) -> Config:
        """A copy in which one stage has other values, checked like a file's.

        Raises:
            ConfigError: if the stage or a key is unknown, or a value cannot be used.
        """
        settings = self.model_dump()
        settings[stage] = settings.get(stage, {}) | dict(values)
        return _checked(settings, "")


def _checked(values: Mapping[str, object], where: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}setting '{key}': {first['msg']}, got {first['input']!r}.") from error
