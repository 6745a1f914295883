"""One value of a document, for the stages that give it a meaning.

A value that was reported as a mistake is not returned: `get` behaves as if it were absent, while `names` still lists
its key. So no mistake is reported twice, and none is reported as a consequence of another.
"""

from __future__ import annotations

from dataclasses import dataclass

from .model import Position
from .source_document import Document, KeyPath


@dataclass(frozen=True, slots=True)
class Node:
    """The value at `path` of a document."""

    document: Document
    path: KeyPath
    value: object

    @classmethod
    def root(cls, document: Document) -> Node:
        """The whole document."""
        return cls(document, (), document.value)

    @property
    def position(self) -> Position:
        """Where the value starts."""
        return self.document.position(self.path)

    @property
    def key_position(self) -> Position:
        """Where the key of the value starts."""
        return self.document.key_position(self.path)

    @property
    def name(self) -> str:
        """The key under which the value is written."""
        return str(self.path[-1])

    @property
    def text(self) -> str:
        """The value as text; empty when it is not text."""
        return self.value if isinstance(self.value, str) else ""

    def get(self, key: str) -> Node | None:
        """The value under `key`, or None when it is not there or was reported."""
        if not isinstance(self.value, dict) or key not in self.value:
            return None
        path = (*self.path, key)
        return None if self.document.is_broken(path) else Node(self.document, path, self.value[key])

    def has(self, key: str) -> bool:
        """Return whether something is written under `key`, usable or not."""
        return isinstance(self.value, dict) and key in self.value

    def items(self) -> list[Node]:
        """The usable values of a mapping, in the order of the file."""
        return [node for name in self.names() if (node := self.get(name)) is not None]

    def names(self) -> list[str]:
        """The keys of a mapping, usable or not."""
        return list(self.value) if isinstance(self.value, dict) else []

    def is_whole(self) -> bool:
        """Return whether nothing inside was reported."""
        depth = len(self.path)
        return not any(path[:depth] == self.path for path in self.document.broken)

    def elements(self) -> list[Node]:
        """The usable elements of a list."""
        if not isinstance(self.value, list):
            return []
        nodes = [Node(self.document, (*self.path, index), item) for index, item in enumerate(self.value)]
        return [node for node in nodes if not self.document.is_broken(node.path)]

    def texts(self) -> tuple[str, ...]:
        """The usable elements of a list of strings, or a single string as a list of one."""
        if isinstance(self.value, str):
            return (self.value,)
        return tuple(node.text for node in self.elements())

    def child_text(self, key: str) -> str:
        """The text under `key`; empty when there is none."""
        node = self.get(key)
        return node.text if node is not None else ""

    def child_flag(self, key: str) -> bool:
        """Whether true is written under `key`."""
        node = self.get(key)
        return node is not None and node.value is True
