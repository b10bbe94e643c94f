"""What tests in a real browser share: where it is, and a page with what it said."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, NARROW = 1280, 390

PATIENCE_MS = 60_000
"""A machine with much else to do is slow, and no less right."""

needs_browser = pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None or not CHROMIUM.is_file(),
    reason=f"playwright is not installed, or there is no browser at {CHROMIUM}",
)


@dataclass
class Opened:
    """A page with what it said and asked for since it was opened."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def choose(self, select: str, value: str) -> None:
        self.page.select_option(f"#{select}", value)

    def plotted(self, selector: str) -> list[dict[str, Any]]:
        """The traces that Plotly has drawn there."""
        found: list[dict[str, Any]] = self.page.evaluate(
            """selector => document.querySelector(selector).data.map(trace => ({
                 x: [...(trace.x ?? [])], y: [...(trace.y ?? [])], z: (trace.z ?? []).map(row => [...row])}))""",
            selector,
        )
        return found

    def text(self, selector: str) -> str:
        return " ".join(self.page.inner_text(selector).split())

    def overflow(self) -> int:
        found: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return found
