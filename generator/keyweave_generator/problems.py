"""What is wrong with a schema: a position and one sentence, collected until everything has been read.

No stage stops at its first problem. Each reports here and continues with the rest, so that one run
names every mistake of every file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from .model import Position


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `str()` gives `file:line:col: message`, or `file: message` when line is 0."""

    position: Position
    message: str

    def __str__(self) -> str:
        return f"{self.position}: {self.message}"

    @property
    def order(self) -> tuple[str, int, int, str]:
        """Sorting key: file, line, column, then text."""
        return (self.position.file, self.position.line, self.position.column, self.message)


@dataclass(slots=True)
class Problems:
    """Collects problems. The same problem at the same position counts once."""

    _found: set[Problem] = field(default_factory=set)

    def add(self, position: Position, message: str) -> None:
        """Record a mistake at `position`."""
        self._found.add(Problem(position, message))

    def sorted(self) -> tuple[Problem, ...]:
        """Everything found, ordered by file, line and column."""
        return tuple(sorted(self._found, key=lambda problem: problem.order))

    def __bool__(self) -> bool:
        return bool(self._found)


class SchemaError(Exception):
    """The schema cannot be used. `problems` holds every mistake, ordered by position; `str()` prints one per line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest of `known`, or nothing when none is near."""
    choices = {choice.casefold(): choice for choice in sorted(known)}
    near = difflib.get_close_matches(name[:80].casefold(), list(choices), n=1, cutoff=0.6)
    return f"; did you mean {choices[near[0]]!r}?" if near else ""


def listing(names: Iterable[str]) -> str:
    """Return `a, b and c`, shortened when there are many, for use in a message."""
    items = list(names)
    if len(items) > MOST_LISTED:
        items = [*items[:MOST_LISTED], f"{len(items) - MOST_LISTED} more"]
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


MOST_LISTED = 8


def quote(value: object) -> str:
    """Return `value` as a message shows it: in quotes if it is text, and never longer than a line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    shown = repr(value)
    return shown if len(shown) <= LONGEST_QUOTE else f"{shown[: LONGEST_QUOTE - 4]}...{shown[0]}"


LONGEST_QUOTE = 60


def a(noun: str) -> str:
    """Return `noun` behind its article."""
    vowel = noun[:1].lower() in "aeiou" and not noun.startswith("uuid")
    return f"{'an' if vowel else 'a'} {noun}"
