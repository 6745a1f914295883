"""Where the parts of a schema are written in its files."""

from __future__ import annotations

from collections.abc import Sequence

from .model import Position
from .source_document import Document, KeyPath


class SourceMap:
    """Positions in the files of one schema."""

    def __init__(self, package: Document, entities: Sequence[Document]) -> None:
        self._package = package
        self._entities = {_name(document): document for document in entities}

    def position(self, entity: str | None, path: KeyPath) -> Position:
        """The position of the key at `path`, or of the nearest key above it that is written.

        Args:
            entity: the entity in whose file it is; None for the package file, which also replaces a file that does not exist.
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
