"""Fetches f1db's release archive (CSV) and keeps the newest one on disk; `f1db.py` reads it.

A release is told from another by the tag in the address that the service redirects to.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from f1_predict.errors import DownloadError, SourceFileError
from f1_predict.sources.f1db import F1dbData, read_f1db
from f1_predict.sources.http import Answer, BadAnswerError, PoliteClient
from f1_predict.sources.origins import Origin
from f1_predict.sources.raw import RawCache, write_whole

SOURCE = "f1db"
ARCHIVE = "f1db-csv.zip"
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
    told, path = cache.read(SOURCE, "release"), cache.root / SOURCE / ARCHIVE
    if told is None or not path.is_file():
        return None
    if hashlib.sha256(path.read_bytes()).hexdigest() != told.payload["sha256"]:
        return None
    return Release(path, told.payload["version"], told.fetched, told.checked)


def fetch_release(client: PoliteClient, url: str, cache: RawCache) -> Release:
    """Fetch the latest release; the one on disk stays when the service still offers the same.

    Raises:
        DownloadError: if it cannot be fetched, or is at all attempts no whole archive in the known layout.
    """
    path = cache.root / SOURCE / ARCHIVE
    content, version = client.get(url, {}, _acceptor(cache.root))
    digest = hashlib.sha256(content).hexdigest()
    old = stored_release(cache)
    if old is None or hashlib.sha256(old.path.read_bytes()).hexdigest() != digest:
        write_whole(path, content)
    cache.write({"version": version, "sha256": digest}, SOURCE, "release")
    release = stored_release(cache)
    if release is None:
        raise DownloadError(f"{path}: is not what was just written. Check the disk, then fetch again.")
    return release


def _acceptor(folder: Path) -> Callable[[Answer], tuple[bytes, str]]:
    """A check that an answer is a whole archive that can be read; gives its bytes and its release's name."""

    def accept(answer: Answer) -> tuple[bytes, str]:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(suffix=".zip", dir=folder) as file:
            file.write(answer.content)
            file.flush()
            try:
                read_f1db(Path(file.name))
            except SourceFileError as error:
                problem = str(error).split(": ", 1)[-1].removesuffix(f" {error.remedy}")
                inside = "" if Path(error.file).name == Path(file.name).name else f"{Path(error.file).name}: "
                raise BadAnswerError(f"the archive cannot be used ({inside}{problem})") from error
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
