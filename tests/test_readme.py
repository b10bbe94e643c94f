"""The README tells the truth: its code runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from f1_predict.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_python_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "laps are known" in shown
    assert Path(shown.splitlines()[-1]).is_file()


def test_the_commands_take_the_options_shown(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"(?:^|`)f1-predict ((?:[^`\n\\]|\\\n)+)", README, flags=re.MULTILINE)
    assert len(commands) > 8
    for command in commands:
        name, *rest = shlex.split(command.replace("\\\n", " "))
        assert main([name, "--help"]) == 0
        shown = capsys.readouterr().out
        for option in (word for word in rest if word.startswith("--")):
            assert option in shown, f"{name} has no {option}"


def test_nothing_is_left_to_be_filled_in() -> None:
    for page in PAGES:
        assert "PLACEHOLDER" not in page.read_text(), page


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"run", "test", "results"} <= targets
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert target in targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
