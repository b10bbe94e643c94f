"""How HTML templates are read, for all pages alike."""

from __future__ import annotations

import jinja2


def environment_of(package: str) -> jinja2.Environment:
    """What a package's templates are read with: names in them are escaped, and none may be missing."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
