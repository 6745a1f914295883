"""What pages show as code, read back out of them: fenced blocks, and files that a page names."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def schema_files(page: Path) -> dict[str, str]:
    """The schema files that a page shows, each as a block after its path: path -> text."""
    found = re.findall(
        r"`(schema/\w+\.yaml)`:\n\n```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    return dict(found)


def excerpts(page: Path) -> list[tuple[str, str]]:
    """The blocks that show a part of a file, each with the file's path, which stands behind the block's language."""
    return re.findall(
        r"```\w+ ([\w/.-]+/[\w.-]+)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )


def contains_excerpt(text: str, excerpt: str) -> bool:
    """Whether the lines of an excerpt stand in a text, one after another, all of them indented alike."""
    return any(f"\n{indent(excerpt, ' ' * depth)}" in f"\n{text}" for depth in range(0, 17, 4))
