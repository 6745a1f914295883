"""The values of one schema file, and the position of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .model import Position

KeyPath = tuple[str | int, ...]
"""Keys and list indexes that lead to a value, from the top of a document."""

Mark = tuple[int, int]
"""Line and column, from 1."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file's value. `values` and `keys` give (line, column), from 1, of each value and each mapping key.

    `broken` holds the paths at which a mistake was reported already: later stages pass over them.
    """

    file: str
    value: object
    values: Mapping[KeyPath, Mark] = field(repr=False)
    keys: Mapping[KeyPath, Mark] = field(repr=False)
    broken: frozenset[KeyPath] = frozenset()

    def position(self, path: KeyPath) -> Position:
        """Where the value at `path` starts, or its nearest ancestor if there is no such value."""
        return self._position(path, self.values)

    def key_position(self, path: KeyPath) -> Position:
        """Where the key of `path` starts; for a list element, the element."""
        return self._position(path, self.keys if path in self.keys else self.values)

    def without(self, broken: frozenset[KeyPath]) -> Document:
        """The same document with more paths marked as reported."""
        return replace(self, broken=self.broken | broken)

    def is_broken(self, path: KeyPath) -> bool:
        """Return whether a mistake at `path` or above it was reported already."""
        return any(path[:length] in self.broken for length in range(len(path) + 1))

    def _position(self, path: KeyPath, marks: Mapping[KeyPath, Mark]) -> Position:
        while path and path not in marks:
            path = path[:-1]
        line, column = marks.get(path, (1, 1))
        return Position(self.file, line, column)
