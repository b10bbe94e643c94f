"""Settings: named defaults, TOML in, no unknown key."""

from pathlib import Path

import pytest

from f1_predict.config import Config
from f1_predict.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_the_designs_settings_are_the_defaults() -> None:
    config = Config()
    assert (config.training.epochs, config.training.batch_size, config.training.learning_rate) == (20, 32, 1e-3)
    assert config.training.fallback_learning_rate == 5e-4
    assert (config.fusion.image_feature_dim, config.fusion.tabular_dim, config.fusion.hidden) == (512, 128, (256, 128))
    assert config.fusion.dropout == 0.3
    assert (config.picture.width, config.picture.height) == (800, 600)


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    config = Config.from_toml(write(tmp_path, "[training]\nepochs = 3\n[encoder]\nweights = 'random'\n"))
    assert config.training.epochs == 3
    assert config.encoder.weights == "random"
    assert config.training.batch_size == 32
    assert config.fusion == Config().fusion


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nepoch = 3\n", r"setting 'training.epoch': Extra inputs are not permitted, got 3"),
        ("[training]\nepochs = 0\n", r"setting 'training.epochs': .*greater than or equal to 1, got 0"),
        ("[trainig]\n", r"setting 'trainig'"),
        ("epochs = = 3", r"is no TOML .*Correct that line"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Config.from_toml(write(tmp_path, text))
    assert "settings.toml" in str(caught.value)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml: cannot be read \(No such file"):
        Config.from_toml(tmp_path / "nowhere.toml")


def test_changed_checks_like_a_file() -> None:
    changed = Config().changed("training", {"epochs": 2})
    assert changed.training.epochs == 2
    assert Config().training.epochs == 20
    with pytest.raises(ConfigError, match=r"setting 'training.epochs'"):
        Config().changed("training", {"epochs": "many"})
    with pytest.raises(ConfigError, match=r"setting 'nothing'"):
        Config().changed("nothing", {"x": 1})


def test_a_section_of_the_in_race_ensemble_keeps_the_settings_of_its_own_stage(tmp_path: Path) -> None:
    config = Config.from_toml(write(tmp_path, "[inrace_ensemble]\nseed = 4\n"))
    assert config.inrace_ensemble.seed == 4
    assert config.inrace_ensemble.forest_trees == Config().inrace_ensemble.forest_trees == 10
    assert config.ensemble.forest_trees == 200
