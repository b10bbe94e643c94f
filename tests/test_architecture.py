"""The house keeps its order: imports point to earlier stages only, and nothing unsafe is loaded."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "f1_predict"
STAGES = [
    "errors",
    "files",
    "config",
    "scale",
    "schemas",
    "sources",
    "tables",
    "horizon",
    "features",
    "models",
    "training",
    "forecasting",
    "evaluation",
    "explain",
    "report",
    "api",
    "serve",
    "jobs",
    "cli",
]
MODULES = sorted(PACKAGE.rglob("*.py"))


def stage_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "f1_predict" and len(parts) > 1 else None


def imports_of(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_to_earlier_stages(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    assert own in STAGES, f"{own} is no stage of the architecture"
    for name in imports_of(ast.parse(path.read_text())):
        stage = stage_of(name)
        if stage is not None:
            assert STAGES.index(stage) <= STAGES.index(own), f"{own} imports {name}, a later stage"


def reads_results(path: Path) -> bool:
    """Whether the code of a module touches the results of the race that is being forecast."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == "tables" and "archive" in ast.unparse(node.value)
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_features_and_models_see_snapshots_only() -> None:
    """`archive.tables` holds the results. Only `features.build_many` may reach for it: one pass over all races, whose
    rows are tested to equal those built from Snapshots bit for bit."""
    paths = [*(PACKAGE / "features").rglob("*.py"), *(PACKAGE / "models").rglob("*.py")]
    assert [path.name for path in paths if reads_results(path)] == ["build.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_pickles_no_asserts_and_modules_stay_readable(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), "assert is no input check"
    assert not {"pickle", "joblib", "dill"} & set(imports_of(tree))
    assert "torch.load" not in text
    assert len(text.splitlines()) <= 400, "is it two things?"
