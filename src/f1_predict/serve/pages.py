"""Templates and the files beside them, read once: no request names a file.

A file's address holds its digest, so that browsers may keep it for ever. Knows nothing of races.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from f1_predict.report.templating import environment_of

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """A file of the page: its bytes, their type, and the address under which they are served."""

    content: bytes
    media_type: str
    address: str


def read_assets() -> dict[str, Asset]:
    """Every file in `static/`, by name."""
    found = {}
    for file in sorted((resources.files("f1_predict.serve") / "static").iterdir(), key=lambda one: one.name):
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            content = file.read_bytes()
            address = f"/assets/{file.name}?{hashlib.sha256(content).hexdigest()[:12]}"
            found[file.name] = Asset(content, _TYPES[suffix], address)
    return found


def render(template: str, assets: Mapping[str, Asset], **values: object) -> str:
    """A page; `asset("name")` in its template is the address of a file."""
    environment = environment_of("f1_predict.serve")
    return environment.get_template(template).render(asset=lambda name: assets[name].address, **values)
