"""Pages under docs/ tell the truth: their code runs, their commands exist, nothing is forgotten in the navigation."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from PIL import Image

from f1_predict.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")])
MARKDOWN = [page for page in PAGES if page.suffix == ".md"]
MOST_BYTES = 150_000
GROUPS = ("data", "entries")
"""Commands that have commands."""
ASK_A_STORE = ("src/f1_predict/__init__.py", "src/f1_predict/api.py")
"""Their examples are run in tests/forecasting/test_api.py."""


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def with_examples() -> list[Path]:
    modules = sorted((ROOT / "src").rglob("*.py"))
    return [path for path in modules if named(path) not in ASK_A_STORE and ">>> " in path.read_text()]


def in_navigation(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [name for part in (entry.values() if isinstance(entry, dict) else entry) for name in in_navigation(part)]


def test_every_page_is_in_the_navigation_once() -> None:
    listed = in_navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


@pytest.mark.parametrize("page", [page for page in (DOCS / "api").glob("*.md") if blocks_of(page)], ids=named)
def test_the_code_of_the_reference_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks_of(page):
        exec(compile(block, named(page), "exec"), names)


@pytest.mark.parametrize("path", with_examples(), ids=named)
def test_the_examples_of_docstrings_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def commands_of(page: Path) -> list[str]:
    """What stands behind `f1-predict` at the beginning of a line of code, or between backticks."""
    text = re.sub(r"\\\n", " ", page.read_text())
    fenced = "\n".join(re.findall(r"^```(?:sh)?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [
        *re.findall(r"^f1-predict ([a-z].*)$", fenced, flags=re.MULTILINE),
        *(" ".join(found.split()) for found in re.findall(r"`f1-predict ([a-z][^`]*)`", prose)),
    ]


@pytest.mark.parametrize("page", [page for page in MARKDOWN if commands_of(page)], ids=named)
def test_the_commands_take_the_options_shown(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands_of(page):
        name, *rest = shlex.split(command, comments=True)
        asked = [name, rest[0]] if name in GROUPS and rest else [name]
        assert main([*asked, "--help"]) == 0, command
        shown = capsys.readouterr().out
        for option in (word for word in rest if word.startswith("--")):
            assert option in shown, f"{' '.join(asked)} has no {option}"


def test_notebooks_are_kept_without_what_came_out() -> None:
    notebooks = [json.loads(page.read_text()) for page in PAGES if page.suffix == ".ipynb"]
    assert notebooks
    for cell in (cell for notebook in notebooks for cell in notebook["cells"] if cell["cell_type"] == "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def drawn_by() -> ModuleType:
    spec = importlib.util.spec_from_file_location("website_pictures", ROOT / "website" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_can_be_drawn_again(tmp_path: Path) -> None:
    drawn = drawn_by().draw(tmp_path)
    assert {path.name for path in drawn} == {"cut.png", "race.png", "seen.png", "speed.png"}
    for path in drawn:
        with Image.open(path) as new, Image.open(DOCS / "images" / path.name) as kept:
            assert new.size == kept.size
            assert len(set(new.convert("L").tobytes())) > 10, "it is blank"


def test_pictures_are_shown_and_small() -> None:
    text = "\n".join(page.read_text() for page in [*MARKDOWN, ROOT / "README.md"])
    for picture in (DOCS / "images").glob("*.png"):
        assert picture.stat().st_size < MOST_BYTES, picture
        assert f"images/{picture.name})" in text, f"{picture} is on no page"


def test_pictures_have_words_for_who_does_not_see_them() -> None:
    for page in MARKDOWN:
        for words in re.findall(r"!\[([^]]*)\]\(", page.read_text()):
            assert len(words) > 20, f"{page}: {words!r}"
