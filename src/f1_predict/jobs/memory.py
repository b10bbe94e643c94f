"""How much memory a job took."""

from __future__ import annotations

import math
import sys

if sys.platform != "win32":
    import resource


def peak_gb() -> tuple[float, float]:
    """Most resident memory in GB so far, of this process and of the largest of its ended children.

    NaN on Windows, which keeps no such account.
    """
    if sys.platform == "win32":
        return math.nan, math.nan
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    own, child = (
        resource.getrusage(who).ru_maxrss * unit / 1e9 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own, child
