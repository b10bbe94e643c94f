"""Lets the site's reader of docstrings see "Example:" as the section of code that it is (it knows "Examples:" only)."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^Example:$", flags=re.MULTILINE)


class Examples(Extension):
    """Renames the section before docstrings are parsed."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called once for every class, function and module."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub("Examples:", obj.docstring.value)
