"""Takes the pictures of the page in docs/serving.md, from a server that runs. Start `f1-predict serve`, then:

python website/screenshots.py http://127.0.0.1:8000 2018_race_14 30 hamilton [folder]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
CHROMIUM = Path("/usr/bin/chromium")
SIZES = {1280: 1050, 390: 1000}
"""Width and height of the window: a desktop and a phone."""
PATIENCE_MS = 120_000


def take(address: str, race: str, lap: int, driver: str, folder: Path) -> list[Path]:
    """Write serve_[width]_[light or dark].png, once all laps of the race are forecast; returns their paths."""
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for width, height in SIZES.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.set_default_timeout(PATIENCE_MS)
                page.goto(f"{address}/#race={race}&lap={lap}&driver={driver}")
                page.wait_for_selector(f'body[data-settled^="{race}/{lap}/"]:not([data-streaming]):not(.waiting)')
                taken.append(folder / f"serve_{width}_{scheme}.png")
                packed = io.BytesIO()
                Image.open(io.BytesIO(page.screenshot())).convert("P", palette=Image.Palette.ADAPTIVE).save(
                    packed, format="PNG", optimize=True
                )
                taken[-1].write_bytes(packed.getvalue())
                page.close()
        browser.close()
    return taken


if __name__ == "__main__":
    for path in take(
        sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]) if len(sys.argv) > 5 else FOLDER
    ):
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")
