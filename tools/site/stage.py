"""The sources of the site in one folder: the pages of the navigation, with links that work there, and the pages of the API.

A link from a page to a file of the repository that is no page becomes a link to the repository. Nothing else of a page changes.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Final

from tools.site.api import api_pages
from tools.site.navigation import DOCS, INDEX, ROOT, Part, document, parts

_LINK: Final = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCE: Final = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def repository() -> str:
    """The URL of the files of the repository."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    url: str = tomllib.loads(text)["project"]["urls"]["Repository"]
    return f"{url}/blob/main"


def stage(folder: Path) -> None:
    """Write the sources of the site into a folder. What is there and no longer belongs to them is removed."""
    navigation = parts()
    files = [INDEX, *(entry.file for part in navigation for entry in part.entries)]
    pages = {file: document(file) for file in files}
    wanted = {f"{name}.md": _page(file, pages) for file, name in pages.items()}
    wanted["index.md"] += _trees(navigation, pages)
    wanted |= api_pages()
    contents = {name: text.encode() for name, text in wanted.items()}
    for picture in DOCS.rglob("*"):
        if picture.suffix in {".png", ".svg"}:
            contents[picture.relative_to(DOCS).as_posix()] = picture.read_bytes()
    for name, content in contents.items():
        _write(folder / name, content)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in contents:
            path.unlink()


def _write(path: Path, content: bytes) -> None:
    """Write a file unless it has this content: Sphinx reads again what changed."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _page(file: Path, pages: dict[Path, str]) -> str:
    """The text of a page for its place in the site."""
    home = Path(pages[file]).parent

    def moved(link: re.Match[str]) -> str:
        target, fragment = link[1], link[2] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        there = (file.parent / target).resolve()
        if there in pages:
            return f"]({os.path.relpath(f'{pages[there]}.md', home)}{fragment})"
        if there.is_relative_to(DOCS) and there.suffix in {".png", ".svg"}:
            return f"]({os.path.relpath(there.relative_to(DOCS), home)})"
        if not there.exists():
            raise FileNotFoundError(f"{file.relative_to(ROOT)}: the link {target} has no target")
        return f"]({repository()}/{there.relative_to(ROOT).as_posix()}{fragment})"

    text = file.read_text(encoding="utf-8")
    return "".join(
        piece if piece.startswith("```") else _LINK.sub(moved, piece) for piece in _FENCE.split(text)
    )


def _trees(navigation: list[Part], pages: dict[Path, str]) -> str:
    """The hidden lists of pages by which Sphinx makes the navigation."""
    blocks = []
    for part in navigation:
        names = [f"{entry.title} <{pages[entry.file]}>" for entry in part.entries]
        if part.title == "Reference":
            names.append("Python API <api/index>")
        blocks.append("\n".join([f"\n```{{toctree}}\n:hidden:\n:caption: {part.title}\n", *names, "```\n"]))
    return "".join(blocks)
