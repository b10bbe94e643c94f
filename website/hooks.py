"""What the documentation site does besides mkdocs: runs notebooks, and shows tables of other pages.

- A notebook `docs/x.ipynb` is executed while the site is built, and its page shows what came out. It is kept without
  outputs, so nothing on the page can be older than the code. A cell that fails ends the build.
- Where a page has `<!-- quote results.md: The models -->`, the site shows the section of that other page whose heading
  begins with these words: measured numbers are shown where they are wanted and written in one place.
- Where a page has `<!-- code ../src/f1_predict/config.py: Config -->`, the site shows the source of that class.
- A link to a file of the repository outside docs/ leads nowhere on the site: its words stay, the link goes.
- A block of code that a test must not run begins with "python notest"; the site shows it as any other.
"""

from __future__ import annotations

import ast
import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter
from traitlets.config import Config as Settings

CELL_SECONDS = 300
"""A cell that runs longer ends the build."""
_LOCAL = Settings({"KernelManager": {"transport_encryption": "auto"}})
"""Nobody else on the machine can talk to the kernel."""
_PICTURE = re.compile(r"!\[\w+\]\((?P<name>[^)]+_(?P<cell>\d+)_\d+\.\w+)\)")
_UPWARDS = re.compile(r"\[(?P<words>[^]\n]+)\]\((?P<file>\.\./[^)#\s]+)\)")
_QUOTE = re.compile(r"^<!-- (?P<what>quote|code) (?P<file>\S+): (?P<name>.+?) -->$", flags=re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let the navigation name notebooks by their files."""

    def page(entry: Any) -> Any:
        if isinstance(entry, list):
            return [page(one) for one in entry]
        if isinstance(entry, dict):
            return {title: page(one) for title, one in entry.items()}
        return re.sub(r"\.ipynb$", ".md", entry) if isinstance(entry, str) else entry

    config.nav = page(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every notebook; the notebook itself stays, to be downloaded."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = PurePosixPath(notebook.src_uri).with_suffix(".md")
        text, pictures = executed(Path(str(notebook.abs_src_path)))
        files.append(File.generated(config, str(page), content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, str(page.parent / name), content=content))
    return files


def executed(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook, run in an empty folder: its page as Markdown, and the pictures on it by file name.

    Raises:
        PluginError: if a cell fails.
    """
    content = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(content, timeout=CELL_SECONDS, resources=resources, config=_LOCAL)
        try:
            client.execute()
        except CellExecutionError as error:
            raise PluginError(f"{notebook}: a cell failed.\n{error}") from error
    names = {"unique_key": notebook.stem, "metadata": {"name": notebook.stem}}
    text, exported = MarkdownExporter().from_notebook_node(content, resources=names)
    pictures = {name: picture for name, picture in exported.get("outputs", {}).items() if f"]({name})" in text}

    def described(found: re.Match[str]) -> str:
        """A picture with the words that its cell's metadata has for people who do not see it."""
        return f"![{content.cells[int(found['cell'])].metadata['alt']}]({found['name']})"

    return _PICTURE.sub(described, text), pictures


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in quoted sections and code, and lead links to notebooks to their pages."""
    own = PurePosixPath(page.file.src_uri)
    folder = Path(config.docs_dir) / own.parent

    def quoted(found: re.Match[str]) -> str:
        read = section if found["what"] == "quote" else source
        return read(folder / found["file"], found["name"])

    def reachable(found: re.Match[str]) -> str:
        file = (folder / found["file"]).resolve()
        outside = file.exists() and not file.is_relative_to(Path(config.docs_dir).resolve())
        return found["words"] if outside else found[0]

    markdown = _UPWARDS.sub(reachable, markdown)
    if files.get_file_from_path(str(own.with_suffix(".ipynb"))) is None:  # a notebook's page may link to its file
        markdown = re.sub(r"(\]\([^)\s]+)\.ipynb\)", r"\1.md)", markdown)
    return _QUOTE.sub(quoted, markdown.replace("```python notest", "```python"))


def section(page: Path, heading: str) -> str:
    """What stands below the heading that begins with `heading`, up to the next one.

    Raises:
        PluginError: if the page cannot be read, or not exactly one heading begins so.
    """
    parts = re.split(r"^#+ (.+)\n", text_of(page), flags=re.MULTILINE)
    found = [body for title, body in zip(parts[1::2], parts[2::2], strict=True) if title.startswith(heading)]
    if len(found) != 1:
        raise PluginError(f"{page}: {len(found)} headings begin with '{heading}', one is needed to quote it.")
    return found[0].strip()


def source(module: Path, name: str) -> str:
    """A class of a module as a block of code.

    Raises:
        PluginError: if the module cannot be read, or has no such class.
    """
    text = text_of(module)
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return f"```python\n{ast.get_source_segment(text, node)}\n```"
    raise PluginError(f"{module}: has no class '{name}'.")


def text_of(file: Path) -> str:
    """A file to be quoted.

    Raises:
        PluginError: if it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise PluginError(f"{file}: cannot be quoted ({error.strerror}).") from error
