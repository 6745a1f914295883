"""Parser events -> one document, with a stack, so that deep input cannot cause a recursion error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from .model import Position
from .problems import Problems, quote
from .source_document import Document, KeyPath, Mark
from .source_scalar import UNSAFE, plain_value

DEEPEST_NESTING: Final = 32
GIVE_UP_NESTING: Final = 256


class StopReading(Exception):
    """Reading stops: a problem is reported already, and parsing the rest would take quadratic time."""


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being read; `key` is the mapping key whose value comes next."""

    value: dict[str, object] | list[object]
    path: KeyPath
    key: str | None = None
    at_key: bool = True


class Composer:
    """Builds one document from parser events."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._stack: list[_Frame] = []
        self._values: dict[KeyPath, Mark] = {}
        self._keys: dict[KeyPath, Mark] = {}
        self._broken: set[KeyPath] = set()
        self._root: object = None
        self._documents = 0
        self._skipping = 0
        self._unnamed = 0

    def take(self, event: Any) -> None:
        """Add one parser event."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents == 2:
                self._report(event, "a second document starts here; a schema file holds one")
        if self._documents > 1:
            return
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._report(event, f"'*{event.anchor}': aliases are not supported; write the value out")
            if not self._skipping:
                self._put(event, None, broken=True)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)

    def document(self) -> Document | None:
        """The finished document. Returns None, and reports a problem, when the file cannot be a schema."""
        if self._documents == 0:
            self._problems.add(Position(self._file, 1, 1), "the file is empty")
            return None
        if self._documents == 1 and () not in self._broken and not isinstance(self._root, dict):
            where = Position(self._file, *self._values.get((), (1, 1)))
            empty = self._root is None
            message = "the file is empty" if empty else f"expected a mapping, not {quote(self._root)}"
            self._problems.add(where, message)
            return None
        if not isinstance(self._root, dict):
            return None
        return Document(self._file, self._root, self._values, self._keys, frozenset(self._broken))

    def _report(self, event: Any, message: str) -> None:
        line, column = _mark(event)
        self._problems.add(Position(self._file, line, column), message)

    def _open(self, event: Any) -> None:
        if self._skipping:
            self._skipping += 1
            if self._skipping > GIVE_UP_NESTING:
                raise StopReading
            return
        self._refuse_properties(event)
        mapping = isinstance(event, yaml.MappingStartEvent)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.value, dict) and frame.at_key:
            self._report(event, f"a {'mapping' if mapping else 'list'} cannot be a key")
            self._skipping = 1
            self._key(event, None)
            return
        if len(self._stack) >= DEEPEST_NESTING:
            self._report(event, f"nested deeper than {DEEPEST_NESTING} levels")
            self._skipping = 1
            self._put(event, None, broken=True)
            return
        value: dict[str, object] | list[object] = {} if mapping else []
        path = self._put(event, value)
        self._stack.append(_Frame(value, path))

    def _close(self) -> None:
        if self._skipping:
            self._skipping -= 1
        else:
            self._stack.pop()

    def _scalar(self, event: Any) -> None:
        if self._skipping:
            return
        self._refuse_properties(event)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.value, dict) and frame.at_key:
            self._key(event, self._key_text(event))
            return
        try:
            value = plain_value(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            self._report(event, str(error))
            self._put(event, None, broken=True)
            return
        unsafe = UNSAFE.search(event.value)
        if unsafe:
            self._report(
                event, f"the value contains the character U+{ord(unsafe[0]):04X}, which is not allowed"
            )
        self._put(event, None if unsafe else value, broken=bool(unsafe))

    def _key_text(self, event: Any) -> str | None:
        text: str = event.value
        plain = event.implicit[0]
        if plain and text == "<<":
            self._report(event, "merge keys are not supported; write the keys out")
            return None
        try:
            value = plain_value(text) if plain else text
        except ValueError:
            value = None
        if not isinstance(value, str):
            self._report(event, f"the key {text or 'null'} is not a string; put it in quotes")
            return None
        unsafe = UNSAFE.search(text)
        if unsafe:
            self._report(
                event, f"the key contains the character U+{ord(unsafe[0]):04X}, which is not allowed"
            )
            return None
        return value

    def _key(self, event: Any, key: str | None) -> None:
        """Note the key whose value comes next; a key that cannot be used keeps its value out of the document."""
        frame = self._stack[-1]
        frame.at_key = False
        if key is not None and (*frame.path, key) in self._keys:
            line, _ = self._keys[(*frame.path, key)]
            self._report(event, f"duplicate key {quote(key)}; it is already set on line {line}")
            key = None
        frame.key = key
        if key is not None:
            self._keys[(*frame.path, key)] = _mark(event)

    def _put(self, event: Any, value: object, *, broken: bool = False) -> KeyPath:
        """Put a value into the list or mapping that is open, and return its path."""
        path: KeyPath = ()
        if not self._stack:
            self._root = value
        else:
            frame = self._stack[-1]
            if isinstance(frame.value, list):
                path = (*frame.path, len(frame.value))
                frame.value.append(value)
            elif frame.at_key:
                self._key(event, None)
                return path
            else:
                frame.at_key = True
                if frame.key is None:
                    self._unnamed += 1
                    return ("\0", self._unnamed)
                path = (*frame.path, frame.key)
                frame.value[frame.key] = value
        self._values[path] = _mark(event)
        if broken:
            self._broken.add(path)
        return path

    def _refuse_properties(self, event: Any) -> None:
        if event.anchor:
            self._report(event, f"'&{event.anchor}': anchors are not supported; write the value out")
        if event.tag:
            self._report(event, f"the tag {quote(event.tag)} is not supported")


def _mark(event: Any) -> Mark:
    return (event.start_mark.line + 1, event.start_mark.column + 1)
