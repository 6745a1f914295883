"""What pages show as code, read back out of them: fenced blocks, what stands before them, and files that a page names.

A comment before a block is for the machine: `<!-- not run: REASON -->` leaves the block out, `<!-- section not run: REASON -->` at the
begin of a section all of its blocks, `<!-- exit 1 0 -->` says how the last
commands of a console end, and `<!-- setup ... -->` holds Python that runs before the block and that readers do not need. A paragraph
that ends in a path, as in "`first.py`:", says that the block is the text of that file.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BLOCK: Final = re.compile(
    r"(?P<comments>(?:^<!--(?:(?!-->).)*-->\n+)*)^ *```(?P<language>\w+) *(?P<info>[^\n]*)\n(?P<text>.*?)^ *```$"
    r"|^<!-- setup\n(?P<alone>(?:(?!-->).)*)-->$",
    re.DOTALL | re.MULTILINE,
)
_COMMENT: Final = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
_SECTION: Final = re.compile(r"^<!-- section not run: (.*?) -->$", re.DOTALL | re.MULTILINE)
_PATH: Final = re.compile(r"`([\w./-]+\.(?:py|yaml|toml))`(?:[^`\n]*)?:$")


@dataclass(frozen=True, slots=True)
class Snippet:
    """One fenced block of a page."""

    line: int
    language: str
    """Empty if this is a setup that no block follows."""
    text: str
    path: str | None
    """The file whose text the block is."""
    excerpt_of: str | None
    """The file of the repository that the block shows a part of: what stands behind its language."""
    setup: str
    """Python that runs before the block."""
    not_run: str | None
    """The reason why the block is not executed."""
    exits: tuple[int, ...]
    """How the last commands of a console end; those before them end with 0."""


def snippets(page: str) -> list[Snippet]:
    """Every fenced block with a language in the text of a page, in order, and every setup that no block follows."""
    return [_snippet(page, found) for found in _BLOCK.finditer(page)]


def _snippet(page: str, found: re.Match[str]) -> Snippet:
    if found["alone"] is not None:
        return Snippet(page.count("\n", 0, found.start()) + 1, "", "", None, None, found["alone"], None, ())
    comments = _COMMENT.findall(found["comments"])
    before = page[: found.start()].rstrip().rpartition("\n")[2]
    path = _PATH.search(before)
    section = page[page.rfind("\n## ", 0, found.start()) + 1 : found.start("language")]
    reasons = [each.partition(":")[2].strip() for each in comments if each.startswith("not run")]
    reasons += _SECTION.findall(section)
    exits = [tuple(map(int, each.split()[1:])) for each in comments if each.startswith("exit ")]
    return Snippet(
        line=page.count("\n", 0, found.start("language")) + 1,
        language=found["language"],
        text=textwrap.dedent(found["text"]),
        path=path[1] if path else None,
        excerpt_of=found["info"] if "/" in found["info"] else None,
        setup="\n".join(each.removeprefix("setup") for each in comments if each.startswith("setup")),
        not_run=reasons[0] if reasons else None,
        exits=exits[0] if exits else (),
    )


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def schema_files(page: Path) -> dict[str, str]:
    """The schema files that a page shows, each as a block after its path: path -> text."""
    return {
        each.path: each.text
        for each in snippets(page.read_text(encoding="utf-8"))
        if each.path is not None and each.path.startswith("schema/") and each.language == "yaml"
    }


@dataclass(frozen=True, slots=True)
class Typed:
    """A command of a console, and what the page shows of its output."""

    command: str
    output: str


def typed(console: str) -> list[Typed]:
    """The commands of a console; lines that begin with `$ ` are typed, and those after a backslash, with or without `> `."""
    found: list[Typed] = []
    for line in console.splitlines():
        if found and found[-1].command.endswith("\\") and not found[-1].output:
            found[-1] = Typed(f"{found[-1].command}\n{line.removeprefix('> ')}", "")
        elif line.startswith("$ "):
            found.append(Typed(line[2:], ""))
        elif found:
            found[-1] = Typed(found[-1].command, f"{found[-1].output}{line}\n")
    return found


_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"), "MOMENT"),
    (re.compile(r"\d{15,}"), "MICROSECONDS"),
    (re.compile(r"\d+(?:\.\d+)? ?(?:ms|s)\b"), "TIME"),
    (re.compile(r"[ =\-]{2,}"), "  "),
)
"""What differs between two runs of a command -> what stands for it; a rule of dashes fills what a time leaves."""


def fits(shown: str, real: str) -> bool:
    """Whether a command's output is what a page shows: `…` stands for any text, and moments and durations may differ."""
    pieces = [re.escape(piece) for piece in _plain(shown).split("…")]
    return re.fullmatch(".*".join(pieces), _plain(real), re.DOTALL) is not None


def _plain(text: str) -> str:
    for pattern, stands in _VARYING:
        text = pattern.sub(stands, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())
