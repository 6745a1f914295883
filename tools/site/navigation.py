"""The navigation of the site and of `llms.txt`: the tables of docs/index.md, which is the only list of pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
INDEX: Final = DOCS / "index.md"

_PART: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_ENTRY: Final = re.compile(r"^\| \[([^\]]+)\]\(([^)]+)\) \| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """A page: its title, its file, and the sentence that describes it."""

    title: str
    file: Path
    sentence: str


@dataclass(frozen=True)
class Part:
    """A part of the documentation, with its pages in order."""

    title: str
    entries: tuple[Entry, ...]


def parts() -> list[Part]:
    """The parts of docs/index.md in order."""
    _, *sections = _PART.split(INDEX.read_text(encoding="utf-8"))
    return [Part(title, _entries(text)) for title, text in zip(sections[::2], sections[1::2], strict=True)]


def _entries(text: str) -> tuple[Entry, ...]:
    return tuple(
        Entry(title, (DOCS / link).resolve(), sentence) for title, link, sentence in _ENTRY.findall(text)
    )


def document(file: Path) -> str:
    """The name of a page in the site, without a suffix: the pages of docs/ are at the top, others under `project`."""
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS).with_suffix("").as_posix()
    inside = file.relative_to(ROOT)
    name = inside.parent.name if inside.name == "README.md" else inside.stem
    return f"project/{name.lower()}"
