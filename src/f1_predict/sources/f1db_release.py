"""Fetches f1db's release archive (CSV) and keeps the newest one on disk; `f1db.py` reads it.

A release is told from another by the tag in the address that the service redirects to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from f1_predict.errors import DiskError, SourceFileError
from f1_predict.sources.f1db import F1dbData, read_f1db
from f1_predict.sources.http import Answer, BadAnswerError, PoliteClient
from f1_predict.sources.origins import Origin
from f1_predict.sources.raw import RawCache, write_whole

SOURCE = "f1db"
_TAG = re.compile(r"/download/([^/]+)/[^/]+$")


@dataclass(frozen=True)
class Release:
    """The archive on disk, its release's name, when it was fetched and when it was last the newest one."""

    path: Path
    version: str
    fetched: datetime
    checked: datetime


def stored_release(cache: RawCache) -> Release | None:
    """The release on disk; None if there is none, or the archive is not the one that was fetched."""
    told = cache.read(SOURCE, "release")
    if told is None:
        return None
    path = _archive(cache, told.payload["sha256"])
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != told.payload["sha256"]:
        return None
    return Release(path, told.payload["version"], told.fetched, told.checked)


def fetch_release(client: PoliteClient, url: str, cache: RawCache) -> Release:
    """Fetch the latest release; the one on disk stays until the new one is there whole.

    Raises:
        DownloadError: if it cannot be fetched, or is at all attempts no whole archive in the known layout.
        DiskError: if it cannot be written.
    """
    content, version = client.get(url, {}, _acceptor(cache.root / SOURCE))
    digest = hashlib.sha256(content).hexdigest()
    path = _archive(cache, digest)
    if not path.is_file() or path.read_bytes() != content:
        write_whole(path, content)
    cache.write({"version": version, "sha256": digest}, SOURCE, "release")  # from now on the new one counts
    for old in path.parent.glob("f1db-csv-*.zip"):
        if old != path:
            old.unlink(missing_ok=True)
    release = stored_release(cache)
    if release is None:
        raise DiskError(f"{path}: is not what was just written. Check the disk, then fetch again.")
    return release


def _archive(cache: RawCache, digest: str) -> Path:
    return cache.root / SOURCE / f"f1db-csv-{digest[:12]}.zip"


def _acceptor(folder: Path) -> Callable[[Answer], tuple[bytes, str]]:
    """A check that an answer is a whole archive that can be read; gives its bytes and its release's name."""

    def accept(answer: Answer) -> tuple[bytes, str]:
        trial = folder / ".trial.zip"  # one name: what a killed run left is written over, and removed
        try:
            write_whole(trial, answer.content)
            read_f1db(trial)
        except SourceFileError as error:
            problem = str(error).split(": ", 1)[-1].removesuffix(f" {error.remedy}")
            inside = "" if Path(error.file).name == trial.name else f"{Path(error.file).name}: "
            raise BadAnswerError(f"the archive cannot be used ({inside}{problem})") from error
        finally:
            trial.unlink(missing_ok=True)
        tags = [tag[1] for place in (*answer.redirects, answer.url) if (tag := _TAG.search(place))]
        named = [tag for tag in tags if tag != "latest"]
        return answer.content, named[0] if named else hashlib.sha256(answer.content).hexdigest()[:12]

    return accept


def read_release(release: Release, seasons: tuple[int, int]) -> tuple[F1dbData, list[Origin]]:
    """The release's rows of the seasons, and one Origin per race and canonical table it says something of."""
    data = read_f1db(release.path, seasons)
    races = data.races["race_id"].unique(maintain_order=True).to_list()
    started = [*data.grid["race_id"].to_list(), *data.practice["race_id"].to_list()]
    tables = {"races": races, "entries": list(dict.fromkeys(started))}
    return data, [
        Origin(table, race_id, SOURCE, release.version, release.fetched)
        for table, race_ids in tables.items()
        for race_id in race_ids
    ]
