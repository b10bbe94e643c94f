"""Files of speed-trace pictures: safe paths, PNG written whole or not at all, PNG read back, the error log.

Knows nothing of laps or of how pictures are drawn.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import threading
import warnings
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided
from PIL import Image

from f1_predict.errors import PictureError

_LOG = logging.getLogger(__name__)

MAX_PIXELS = 25_000_000
"""A picture with more pixels than this (fifty of ours) is refused before it is decoded."""
MAX_ID_BYTES = 200
"""Longest race or driver id in UTF-8; file systems stop at 255."""
_FORBIDDEN = frozenset('/\\:*?"<>|')
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN_FOLDER = (errno.EACCES, errno.EPERM, errno.EROFS)


def checked_id(kind: str, value: object) -> str:
    """A race or driver id that names one file or folder.

    Raises:
        PictureError: if it is no text, empty, too long, leads out of the folder, or holds a separator, a control
            character or one that file systems refuse.
    """
    rule = f"{kind} must be a plain name of 1 to {MAX_ID_BYTES} bytes without path separators"
    if not isinstance(value, str):
        raise PictureError(f"{rule}, got {type(value).__name__} {value!r}. Give text such as '2024_race_1'.")
    bad = sorted({c for c in value if c in _FORBIDDEN or not c.isprintable()})
    if value.strip() != value or not value or set(value) == {"."} or bad:
        why = f" (not allowed: {', '.join(map(repr, bad))})" if bad else ""
        raise PictureError(f"{rule}, got {value!r}{why}. Nothing was written.")
    if len(value.encode("utf-8")) > MAX_ID_BYTES:
        raise PictureError(f"{rule}, got {len(value.encode('utf-8'))} bytes: {value[:40]!r}... Shorten it.")
    return value


def copy_rgb(source: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
    """Copy red, green and blue; of RGBA fifteen times as fast as `out[...] = source[..., :3]`.

    A pixel of RGBA is copied as one number of four bytes. The fourth falls on the red of the next pixel, which comes
    after it and overwrites it: numpy assigns in the order of the addresses written to. The last of a row has no next.

    Args:
        source: uint8 (height, width, 3 or 4), the channels of a pixel side by side.
        out: uint8 (height, width, 3), written; the pixels of a row side by side.
    """
    height, width, _ = out.shape
    if source.shape[2] == 3:
        out[...] = source
        return
    pixels = as_strided(out, (height, width - 1, 4), (out.strides[0], 3, 1))
    pixels.view(np.uint32)[...] = source[:, :-1].view(np.uint32)
    out[:, -1] = source[:, -1, :3]


def encode_png(pixels: npt.NDArray[np.uint8], texts: dict[str, str]) -> bytes:
    """A picture as RGB PNG (ISO/IEC 15948), rows unfiltered, deflated at level 1.

    Pillow tries five filters on every row, which for these drawings takes two and a half times as long and gives
    larger files. Equal pixels and texts give equal bytes: no time, no versions.

    Args:
        pixels: uint8 (height, width, 3 or 4); opaque, a fourth channel is left out.
        texts: text entries, in this order.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # first byte of a row: filter "none"
    copy_rgb(pixels, rows[:, 1:].reshape(height, width, 3))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
    for key, value in texts.items():
        parts.append((b"iTXt", key.encode("ascii") + b"\0\0\0\0\0" + value.encode("utf-8")))
    parts += [(b"IDAT", zlib.compress(rows.data, 1)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_png(path: Path, pixels: npt.NDArray[np.uint8], texts: dict[str, str]) -> None:
    """Write `encode_png` under a temporary name, then rename it: a reader never sees half a file.

    Raises:
        PictureError: if the folder or file cannot be written.
    """
    packed = encode_png(pixels, texts)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(packed)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> PictureError:
    """What to raise when a picture cannot be written."""
    if error.errno in _FULL_DISK:
        remedy = "the disk is full. Free some space and draw again; pictures written so far are whole."
    elif error.errno in _FORBIDDEN_FOLDER:
        remedy = f"may not be written ({error.strerror}). Give a folder that you may write to."
    else:
        remedy = f"cannot be written ({error.strerror}). Move what is in its way."
    return PictureError(f"{path}: {remedy}")


def concerns_all(error: PictureError) -> bool:
    """Whether a picture failed for a reason that the next one would fail for too: disk full, folder not writable."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (*_FULL_DISK, *_FORBIDDEN_FOLDER)


def log_failure(log_file: Path, race_id: object, driver_id: object, reason: Exception) -> None:
    """Warn of a picture that could not be made and append one line on it to the log file."""
    _LOG.warning("no picture of %r in race %r: %s", driver_id, race_id, reason)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    message = " ".join(str(reason).split())
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("a", encoding="utf-8", errors="backslashreplace") as lines:
            lines.write(f"{when}\trace={race_id!r}\tdriver={driver_id!r}\t{message}\n")
    except OSError as error:
        _LOG.warning("%s: cannot be written (%s); the failure above is only in this log.", log_file, error.strerror)


def read_plot_area(path: str | Path) -> npt.NDArray[np.uint8]:
    """The plot area of a picture, as the network sees it.

    A PNG written here is cropped to the box in its metadata; any other picture is taken whole.

    Args:
        path: a picture file of any format that Pillow reads.

    Returns:
        uint8 (height, width, 3); (448, 448, 3) for pictures of the default settings.

    Raises:
        PictureError: if the file is missing, empty, truncated, no picture, or has more than MAX_PIXELS pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise PictureError(_too_large(path, f"{image.width} x {image.height}"))
                box = image.info.get("box")
                pixels = np.array(image.convert("RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PictureError(_too_large(path, "far more")) from error
    except FileNotFoundError as error:
        raise PictureError(f"{path}: there is no such picture. Draw it first.") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError) as error:
        raise PictureError(f"{path}: is no picture that can be decoded ({error}). Draw it again.") from error
    if not isinstance(box, str):
        return pixels
    return _crop(pixels, box, path)


def _too_large(path: str | Path, size: str) -> str:
    return f"{path}: a picture may have at most {MAX_PIXELS:,} pixels, got {size}. Scale it down."


def _crop(pixels: npt.NDArray[np.uint8], box: str, path: str | Path) -> npt.NDArray[np.uint8]:
    try:
        left, top, width, height = (int(part) for part in box.split(","))
    except ValueError as error:
        raise PictureError(
            f"{path}: its plot box must be 'left,top,width,height', got '{box}'. Draw it again."
        ) from error
    if min(left, top) < 0 or min(width, height) < 1 or left + width > pixels.shape[1] or top + height > pixels.shape[0]:
        raise PictureError(
            f"{path}: its plot box must lie in the picture of {pixels.shape[1]} x {pixels.shape[0]} pixels, "
            f"got '{box}'. Draw it again."
        )
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])
