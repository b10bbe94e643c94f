"""Run as a program: encodes and fits under real limits of memory, and prints what came of it as JSON.

"kernel": the kernel refuses memory beyond a limit (RLIMIT_DATA). "capped": the program keeps to --max-memory itself.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import sys
from pathlib import Path

import numpy as np
import torch

from f1_predict.config import TrainingConfig
from f1_predict.models.vision_encoder import VisionEncoder
from f1_predict.training.fit import fit, predict
from f1_predict.training.memory import BatchSize, limit_resident, resident
from tests.training.stand_ins import make_model, make_rows

PICTURES, ROWS = 192, 400_000


def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)
    return few[np.arange(PICTURES) % 4]


def encode(encoder: VisionEncoder, images: np.ndarray, batch: int) -> np.ndarray:
    size, parts, done = BatchSize(batch, "encoding pictures"), [], 0
    while done < len(images):

        def attempt(rows: int, start: int = done) -> np.ndarray:
            return encoder.encode_arrays(images[start : start + rows], rows)

        parts.append(size.run(attempt))
        done += len(parts[-1])
    return np.concatenate(parts)


def status_bytes(name: str) -> int:
    """Of this process: VmData is what RLIMIT_DATA counts, VmHWM the most that was resident.

    (getrusage's ru_maxrss would not do: a child inherits that of the process which started it.)
    """
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise OSError(f"/proc/self/status does not tell {name}")
    return int(found[1]) * 1024


def limit_data(more: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (status_bytes("VmData") + more, hard))


def main() -> None:
    torch.set_num_threads(1)
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("f1_predict").addHandler(handler)
    encoder, images = VisionEncoder(weights="trace"), pictures()
    wanted = encode(encoder, images, 4)
    told: dict[str, object] = {"before_mb": resident() / 1e6}
    if sys.argv[1] == "kernel":
        rows, model = make_rows(ROWS, pictures=False), make_model(0, dropout=0.0)
        config = TrainingConfig(epochs=1, batch_size=ROWS, stall_margin=0.0)
        limit_data(150_000_000)
        found = encode(encoder, images, PICTURES)
        told["encoding_warnings"], warnings[:] = len(warnings), []
        limit_data(120_000_000)
        result = fit(model, rows, None, config)
        told["fitting_warnings"], warnings[:] = len(warnings), []
        told["loss"] = result.history[-1].train_loss
        told["forecasts"] = len(predict(model, rows, ROWS))
        told["forecasting_warnings"] = len(warnings)
    elif sys.argv[1] == "capped":
        limit = resident() + 150_000_000
        limit_resident(limit)
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        told["limit_mb"] = limit / 1e6
        found = encode(encoder, images, PICTURES)
    else:
        found = encode(encoder, images, PICTURES)
    told["difference"] = float(np.abs(found - wanted).max())
    told["peak_mb"] = status_bytes("VmHWM") / 1e6
    print(json.dumps(told))


if __name__ == "__main__":
    main()
