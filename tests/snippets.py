"""What pages show as code, read back out of them: fenced blocks, and files that a page names."""

from __future__ import annotations

import re
from pathlib import Path


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def schema_files(page: Path) -> dict[str, str]:
    """The schema files that a page shows, each as a block after its path: path -> text."""
    found = re.findall(
        r"`(schema/\w+\.yaml)`:\n\n```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    return dict(found)
