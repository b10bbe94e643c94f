"""The int8 backbone: calibrated once on pictures of simulated races, then kept in the user's cache folder.

Knows nothing of real races, so the quantised numbers depend on the weights and the code of the day they were made. They
differ between processors; models name the ones that they were fitted on by hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
from filelock import FileLock

from f1_predict.config import PictureConfig, SimulatorConfig
from f1_predict.errors import ArtefactError
from f1_predict.horizon import RaceArchive
from f1_predict.models.encoder_runtimes import nncf, openvino
from f1_predict.models.speed_trace_generator import SpeedTraceGenerator
from f1_predict.sources.simulator import simulate

logger = logging.getLogger(__name__)

RACES, SEED, DRIVERS = 9, 20, 14
"""Of the simulated season whose pictures calibrate, and how many drivers of each race and style are drawn."""
FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.95)
_RECIPE = "v1"
_MODEL, _FACTS = "model.xml", "facts.json"

Floats = npt.NDArray[np.float32]


def quantised_model(model: Any, identity: str, prepare: Callable[[npt.NDArray[np.uint8]], Floats]) -> tuple[Any, str]:
    """The int8 model of an OpenVINO model; calibrated the first time (about a minute), afterwards read.

    Args:
        model: float32.
        identity: of the encoder it belongs to.
        prepare: pictures uint8 (n, H, W, 3) -> what the model takes.

    Returns:
        The model, and 16 hexadecimal digits that name its numbers.

    Raises:
        ConfigError: if nncf is not installed.
        ArtefactError: if it cannot be kept.
    """
    made_by = "/".join([_RECIPE, identity, *(version(name) for name in ("openvino", "nncf"))])
    folder = cache_folder() / f"int8-{hashlib.sha256(made_by.encode()).hexdigest()[:16]}"
    found = _read(folder)
    if found is None:
        with _alone(folder):  # who waited finds what the first one made
            found = _read(folder) or _calibrated(model, folder, prepare)
    if found is None:
        raise ArtefactError(f"{folder}: the int8 backbone cannot be read back. Remove that folder and try again.")
    return found


def _calibrated(model: Any, folder: Path, prepare: Callable[[npt.NDArray[np.uint8]], Floats]) -> tuple[Any, str] | None:
    logger.info("calibrating the int8 backbone on simulated races, once -> %s", folder)
    quantiser = nncf()
    batches = [prepare(pictures) for pictures in calibration_pictures()]
    count = sum(map(len, batches))
    single = [picture[None] for batch in batches for picture in batch]
    _keep(quantiser.quantize(model, quantiser.Dataset(single), subset_size=count), folder)
    return _read(folder)


def _alone(folder: Path) -> FileLock:
    """Held by the one process that calibrates."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_kept(folder, error) from error
    return FileLock(folder.with_name(f".{folder.name}.lock"))


def _not_kept(folder: Path, error: OSError) -> ArtefactError:
    return ArtefactError(
        f"{folder}: the int8 backbone cannot be kept ({error.strerror}). Set XDG_CACHE_HOME to a folder that can "
        "be written to."
    )


def cache_folder() -> Path:
    """Where int8 backbones are kept."""
    return Path(platformdirs.user_cache_dir("f1-predict", appauthor=False)) / "encoders"


def calibration_pictures() -> list[npt.NDArray[np.uint8]]:
    """Pictures of a simulated season in both styles at all kinds of moments: uint8 (n, 448, 448, 3) each race."""
    archive = RaceArchive(simulate(1, SEED, SimulatorConfig(races_per_season=RACES)))
    found = []
    for number, race_id in enumerate(archive.race_ids):
        horizon = archive.horizon_at(race_id, FRACTIONS[number % len(FRACTIONS)])
        snapshot = archive.snapshot(race_id, horizon)
        for style in ("speed", "race"):
            generator = SpeedTraceGenerator(config=PictureConfig(style=style))
            traces = generator.render(snapshot, snapshot.driver_ids[:DRIVERS])
            if traces.present.any():
                found.append(traces.images[traces.present])
    return found


def _keep(model: Any, folder: Path) -> None:
    """Write a folder that is complete or not there."""
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".int8-") as work:
            part = Path(work) / "model"
            part.mkdir()
            openvino().save_model(model, part / _MODEL, compress_to_fp16=False)
            (part / _FACTS).write_text(json.dumps(_digests(part), indent=1) + "\n")
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one
            part.rename(folder)
    except OSError as error:
        raise _not_kept(folder, error) from error


def _read(folder: Path) -> tuple[Any, str] | None:
    """A kept model and the name of its numbers; None, with a warning if it is damaged, where there is none."""
    try:
        facts = json.loads((folder / _FACTS).read_text())
        sound = facts == _digests(folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        sound = False
    if not sound:
        logger.warning("%s: is damaged; calibrated again", folder)
        return None
    # The numbers are all in the .bin; the .xml holds names that count what else this process has made.
    return openvino().Core().read_model(folder / _MODEL), facts["model.bin"][:16]


def _digests(folder: Path) -> dict[str, str]:
    names = (_MODEL, str(Path(_MODEL).with_suffix(".bin")))
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
