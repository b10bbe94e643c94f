"""Settings: one small frozen object per stage with named defaults, passed explicitly.

`Config.from_toml` reads a file with one section per stage; an unknown key is an error. Nothing
here is global, and no stage reads a setting that it was not given.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from f1_predict.errors import ConfigError

Head = Literal["position", "position_regression", "finish"]
"""What the fusion network forecasts: see MultiModalFusionModel."""


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SimulatorConfig(_Stage):
    """Built-in data: simulated seasons."""

    first_season: int = Field(2101, ge=1950, le=2190)
    races_per_season: int = Field(18, ge=1, le=40)
    teams: int = Field(10, ge=2, le=13)


class PictureConfig(_Stage):
    """Speed-trace pictures. Lengths in pixels; the box is (left, top, width, height)."""

    width: int = 800
    height: int = 600
    plot_box: tuple[int, int, int, int] = (84, 72, 448, 448)
    past_races: int = Field(5, ge=1, le=20)


class FeatureConfig(_Stage):
    """Tabular features."""

    rating_step: float = Field(0.05, gt=0.0, le=1.0)
    form_races: int = Field(5, ge=1, le=50)


class EncoderConfig(_Stage):
    """The vision backbone. `weights`: "auto", "imagenet", "trace", "random" or a file."""

    weights: str = "auto"
    seed: int = 0
    feature_dim: int = Field(512, ge=1)
    batch_size: int = Field(64, ge=1)
    device: str = "auto"


class FusionConfig(_Stage):
    """The design's network: 512 + 128 -> 256 -> 128 -> out."""

    head: Head = "position"
    image_feature_dim: int = 512
    tabular_dim: int = 128
    hidden: tuple[int, int] = (256, 128)
    dropout: float = Field(0.3, ge=0.0, lt=1.0)


class TrainingConfig(_Stage):
    """The design's loop."""

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0.0)
    fallback_learning_rate: float = Field(5e-4, gt=0.0)
    seed: int = 0


class EnsembleConfig(_Stage):
    """The tabular-only baseline."""

    seed: int = 0
    threads: int = Field(2, ge=1)


class EvaluationConfig(_Stage):
    """Scoring."""

    fractions: tuple[float, ...] = (0.0, 0.25, 0.5)
    bootstrap_draws: int = Field(2000, ge=1)
    seed: int = 0


class Config(_Stage):
    """All stages' settings."""

    simulator: SimulatorConfig = SimulatorConfig()
    picture: PictureConfig = PictureConfig()
    features: FeatureConfig = FeatureConfig()
    encoder: EncoderConfig = EncoderConfig()
    fusion: FusionConfig = FusionConfig()
    training: TrainingConfig = TrainingConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
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
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{path}: setting '{key}': {first['msg']}, got {first['input']!r}.") from error
