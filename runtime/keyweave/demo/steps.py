"""A program as steps: a comment at the beginning of a line, outside the head, is the title of what follows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a program.

    Attributes:
        title: the comment above it; empty for the head with the imports.
        code: its lines, without the comment and empty lines around it.
        line: the number of lines before `code` in the program.
    """

    title: str
    code: str
    line: int


def steps_of(program: str) -> list[Step]:
    """Return the head of a program and its steps, in order."""
    titles: list[str] = [""]
    parts: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(program.splitlines()):
        if line.startswith("# "):
            titles.append(line.removeprefix("# "))
            parts.append([])
        else:
            parts[-1].append((number, line))
    found = []
    for title, part in zip(titles, parts, strict=True):
        while part and not part[0][1].strip():
            part.pop(0)
        code = "\n".join([line for _, line in part]).rstrip()
        found.append(Step(title, code, part[0][0] if part else 0))
    return found
