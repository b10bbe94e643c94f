"""Fixtures shared by all tests. Real races are read from ../shared/data where they are present."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import pytest

from tests.browsing import ARGUMENTS, CHROMIUM, PATIENCE_MS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

mpl.use("Agg")
if os.environ.get("F1_PREDICT_NETWORK") != "1":
    os.environ["F1_PREDICT_OFFLINE"] = "1"

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_data() -> Path:
    """The folder of the real races: beside the repository, or where F1_PREDICT_SHARED says."""
    return Path(os.environ.get("F1_PREDICT_SHARED", REPOSITORY.parent / "shared")) / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    real_missing = not (shared_data() / "ergast" / "results.csv").is_file()
    offline = os.environ.get("F1_PREDICT_NETWORK") != "1"
    for item in items:
        if real_missing and item.get_closest_marker("real"):
            item.add_marker(pytest.mark.skip(reason=f"no real races at {shared_data()}"))
        if offline and item.get_closest_marker("network"):
            item.add_marker(pytest.mark.skip(reason="offline: set F1_PREDICT_NETWORK=1 to download"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with ergast/, f1db/ and fastf1/."""
    return shared_data()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS, timeout=PATIENCE_MS)
        yield browser
        browser.close()
