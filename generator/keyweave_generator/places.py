"""Where the parts of a schema are written: a path into the file of an entity, or into the package file, gives a position."""

from __future__ import annotations

from collections.abc import Sequence

from .model import Position
from .source import Document, Path


class Places:
    """Positions in the files of one schema."""

    def __init__(self, package: Document, entities: Sequence[Document]) -> None:
        self._package = package
        self._entities = {_name(document): document for document in entities}

    def locate(self, entity: str | None, path: Path) -> Position:
        """Where the key at `path` stands, or the nearest key above it that is written.

        Args:
            entity: whose file; None for the package file. The package file stands in for one that is not there.
            path: keys and list indexes, such as `("views", "by_role", "order")`.
        """
        document = self._package if entity is None else self._entities.get(entity, self._package)
        while path and path not in document.keys and path not in document.values:
            path = path[:-1]
        return document.key_position(path)


def _name(document: Document) -> str:
    value = document.value
    name = value.get("entity") if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""
