"""`llms.txt`: the navigation as https://llmstxt.org describes it, with links to the Markdown of each page; and all pages as one text.

`python -m tools.site.llms` writes llms.txt at the top of the repository. The site has both files at its top.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tools.site.navigation import INDEX, ROOT, parts
from tools.site.stage import repository

FILE: Final = ROOT / "llms.txt"

_COMMENT: Final = re.compile(r"^<!--.*?-->\n+", re.DOTALL | re.MULTILINE)


def summary() -> str:
    """The first sentence of docs/index.md, which says what Keyweave is."""
    text = INDEX.read_text(encoding="utf-8").partition("\n\n")[2]
    return " ".join(text.partition(". ")[0].split()) + "."


def short() -> str:
    """The text of llms.txt."""
    raw = repository().replace("/blob/", "/raw/")
    lines = ["# Keyweave", "", f"> {summary()}"]
    for part in parts():
        lines += ["", f"## {part.title}", ""]
        for entry in part.entries:
            url = f"{raw}/{entry.file.relative_to(ROOT).as_posix()}"
            lines.append(f"- [{entry.title}]({url}): {entry.sentence}")
    return "\n".join(lines) + "\n"


def full() -> str:
    """Every page of the navigation, one after the other, each after the path of its file."""
    pages = [ROOT / "README.md", *(entry.file for part in parts() for entry in part.entries)]
    return "\n".join(_whole(page) for page in pages)


def _whole(page: Path) -> str:
    text = _COMMENT.sub("", page.read_text(encoding="utf-8"))
    return f"<!-- {page.relative_to(ROOT).as_posix()} -->\n\n{text}"


if __name__ == "__main__":
    FILE.write_text(short(), encoding="utf-8")
