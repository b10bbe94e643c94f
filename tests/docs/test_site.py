"""The documentation site: builds without a warning, runs its notebook, loads nothing from elsewhere, fits a phone."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from f1_predict.config import Config
from tests.browsing import NARROW, WIDE, needs_browser
from tests.docs.test_pages import DOCS, PAGES, ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MISSING = [
    name for name in ("mkdocs", "material", "mkdocstrings", "nbconvert") if importlib.util.find_spec(name) is None
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed: pip install -e '.[docs]'")

PUBLIC = [
    "f1_predict.load",
    "f1_predict.api.Predictor",
    "f1_predict.api.Predictor.predict",
    "f1_predict.api.Predictor.replay",
    "f1_predict.api.Predictor.explain",
    "f1_predict.explain.Explanation",
    "f1_predict.horizon.AfterLap",
    "f1_predict.horizon.PreRace",
    "f1_predict.horizon.RaceArchive",
    "f1_predict.horizon.Snapshot",
    "f1_predict.models.ensemble.EnsemblePredictor",
    "f1_predict.models.forecaster.Forecaster",
    "f1_predict.models.multimodal_dataset.MultiModalDataset",
    "f1_predict.models.multimodal_fusion.MultiModalFusionModel",
    "f1_predict.models.speed_trace_generator.SpeedTraceGenerator",
    "f1_predict.models.vision_encoder.VisionEncoder",
    "f1_predict.sources.simulator.simulate",
    "f1_predict.evaluation.metrics.score",
    "f1_predict.config.Config",
    "f1_predict.errors.F1PredictError",
]
LOOKED_AT = ["index.html", "how-it-works.html", "first-forecast.html", "model-card.html", "api/predictor.html"]


@dataclass(frozen=True)
class Built:
    """A site, and what was said while it was built."""

    folder: Path
    said: str


def build(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """mkdocs, strictly, with nothing written to the user's folders."""
    own = {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_RUNTIME_DIR": str(folder / "jupyter")}
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder / "site")],
        env=os.environ | own | {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder, ROOT / "mkdocs.yml")
    assert done.returncode == 0, done.stderr
    return Built(folder / "site", done.stdout + done.stderr)


def test_it_is_built_without_a_warning(site: Built) -> None:
    assert "Documentation built" in site.said
    assert not re.search("warning|error", site.said, flags=re.IGNORECASE), site.said


def test_every_page_is_there(site: Built) -> None:
    for page in PAGES:
        built = site.folder / page.relative_to(DOCS).with_suffix(".html")
        if page.name == "README.md":
            built = built.with_name("index.html")
        assert built.is_file(), built
        text = built.read_text()
        assert not re.search("<!-- (?:quote|code) ", text)
        assert "notest" not in text


def test_the_notebook_has_run(site: Built) -> None:
    page = (site.folder / "first-forecast.html").read_text()
    frames = re.findall(r'<table border="1" class="dataframe">', page)
    assert len(frames) == 6
    assert re.search(r"2103_race_4 after lap \d+ of \d+: \d+ laps are known", page)
    assert "results among what is known: False" in page
    own, equal = map(float, re.search(r"log-loss ([\d.]+); all equal: ([\d.]+)", page).groups())  # type: ignore[union-attr]
    assert own < equal, "the model has learnt nothing"
    pictures = re.findall(r'<img alt="([^"]{20,})" src="(first-forecast_\d+_0\.png)"', page)
    assert len(pictures) == 2
    assert all((site.folder / name).stat().st_size > 10_000 for _, name in pictures)


def test_measured_numbers_are_those_of_the_results(site: Built) -> None:
    results, card = (DOCS / "results.md").read_text(), (site.folder / "model-card.html").read_text()
    rows = re.findall(r"^\| best \|.*\|$", results, flags=re.MULTILINE)
    shown = [cell.strip() for cell in rows[0].strip("|").split("|")]
    cells = "".join(rf"\s*<td[^>]*>{re.escape(cell)}</td>" for cell in shown)
    assert re.search(cells, card)


def test_the_reference_has_the_public_names(site: Built) -> None:
    ids = {
        name for page in (site.folder / "api").glob("*.html") for name in re.findall(r' id="([^"]+)"', page.read_text())
    }
    assert set(PUBLIC) <= ids, set(PUBLIC) - ids


def test_every_setting_is_in_the_reference(site: Built) -> None:
    page = re.sub(r"<[^>]+>", "", (site.folder / "api" / "settings.html").read_text())
    for section, stage in Config():
        assert f"[{section}]" in page
        for name in type(stage).model_fields:
            assert re.search(rf"\b{name}:", page), f"{section}.{name}"


class Loaded(HTMLParser):
    """What a browser would fetch for a page, as written."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag != "a":
            self.found += [value for name in ("src", "srcset", "poster", "data") if (value := given.get(name))]
        if tag == "link" and given.get("rel") != "canonical" and given.get("href"):
            self.found.append(str(given["href"]))


def test_nothing_is_loaded_from_elsewhere(site: Built) -> None:
    for page in site.folder.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert loaded.found, page
        assert [one for one in loaded.found if re.match(r"(?:\w+:)?//", one)] == [], page
        assert "polyfill" not in page.read_text()
    for sheet in site.folder.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet


def project(folder: Path, page: str, cell: str | None) -> Path:
    """The smallest project with a page, and a notebook of one cell; returns its settings file."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(page)
    (folder / "docs" / "other.md").write_text("# Other\n\n## Told\n\nforty-two\n\n## More\n\nnot this\n")
    settings = folder / "mkdocs.yml"
    settings.write_text(f"site_name: small\nhooks: [{ROOT / 'website' / 'hooks.py'}]\nplugins: []\n")
    if cell is None:
        return settings
    cells = [{"cell_type": "code", "id": "a", "metadata": {}, "source": cell, "outputs": [], "execution_count": None}]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "docs" / "note.ipynb").write_text(json.dumps(notebook))
    return settings


def test_sections_are_quoted_and_cells_are_run(tmp_path: Path) -> None:
    done = build(
        tmp_path,
        project(
            tmp_path,
            "# Page\n\n[x](note.ipynb), [settings](../mkdocs.yml)\n\n<!-- quote other.md: Tol -->\n",
            "6 * 7 + 1",
        ),
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "index.html").read_text()
    assert "forty-two" in page
    assert "not this" not in page
    assert 'href="note/">x</a>, settings<' in page
    assert re.search(r"<code>43\s*</code>", (tmp_path / "site" / "note" / "index.html").read_text())


@pytest.mark.parametrize(
    ("page", "cell", "message"),
    [
        ("# Page\n", "1 / 0", "a cell failed"),
        ("# Page\n\n<!-- quote other.md: Gone -->\n", None, "0 headings begin with 'Gone'"),
        ("# Page\n\n<!-- quote gone.md: Told -->\n", None, "cannot be quoted"),
        (f"# Page\n\n<!-- code {Path(__file__)}: Gone -->\n", None, "has no class 'Gone'"),
    ],
    ids=["cell", "heading", "page", "class"],
)
def test_a_page_that_cannot_be_made_ends_the_build(tmp_path: Path, page: str, cell: str | None, message: str) -> None:
    done = build(tmp_path, project(tmp_path, page, cell))
    assert done.returncode != 0
    assert message in done.stderr


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def address(site: Built) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_pages_are_quiet_and_fit(browser: Browser, address: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    for name in LOOKED_AT:
        page.goto(address + name)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, name
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)"), name
        assert page.evaluate("document.body.dataset.mdColorScheme") == {"light": "default", "dark": "slate"}[scheme]
    assert said == []
    assert len(asked) > len(LOOKED_AT)
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    context.close()


def test_it_can_be_searched(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": WIDE, "height": 900})
    page = context.new_page()
    page.goto(address + "index.html")
    page.click("input.md-search__input")
    page.keyboard.type("Sinkhorn")
    page.wait_for_selector('.md-search-result__item a[href*="evaluation.html"]', state="attached")
    context.close()
