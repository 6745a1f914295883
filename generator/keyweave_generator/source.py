"""YAML text -> plain values with their positions.

The reader accepts the part of YAML that a schema needs: mappings, lists and scalars, with the scalar rules of
YAML 1.2 (`yes` and `2024-01-01` are strings). Everything else in YAML (tags, anchors, merge keys,
several documents) is reported as a problem. Values are built from parser events with a stack, so that deep input
cannot cause a recursion error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import yaml

from .model import Position
from .problems import Problems, quote

KeyPath = tuple[str | int, ...]
"""Keys and list indexes that lead to a value, from the top of a document."""

Mark = tuple[int, int]
"""Line and column, from 1."""

LARGEST_FILE: Final = 1024 * 1024
DEEPEST_NESTING: Final = 32
GIVE_UP_NESTING: Final = 256

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_OCTAL = re.compile(r"[-+]?0[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff\ufeff]")
_WORDS: Final[Mapping[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


def read(file: str, content: str | bytes, problems: Problems) -> Document | None:
    """Read one YAML file, and report its problems. Returns None when nothing of it can be used."""
    text = _decode(file, content, problems)
    if text is None:
        return None
    composer = _Composer(file, problems)
    try:
        for event in _events(text):
            composer.take(event)
    except _StopReading:
        return None
    except yaml.YAMLError as error:
        problems.add(*_syntax_problem(file, error))
        return None
    except (ValueError, OverflowError):
        problems.add(Position(file, 1, 1), "an escape in a quoted string is not a character")
        return None
    return composer.document()


def _decode(file: str, content: str | bytes, problems: Problems) -> str | None:
    start = Position(file, 1, 1)
    if len(content) > LARGEST_FILE:
        problems.add(
            Position(file, 0, 0),
            f"the file is larger than {LARGEST_FILE // 1024} KiB, the most that a schema file may have",
        )
        return None
    if isinstance(content, bytes):
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            before = content[: error.start].decode("utf-8")
            problems.add(_position_after(file, before), f"byte 0x{content[error.start]:02x} is not UTF-8")
            return None
    else:
        text = content
    if text.startswith("\ufeff"):
        problems.add(start, "the file starts with a byte order mark; save it as UTF-8 without one")
        return None
    unsafe = _UNSAFE.search(text)
    if unsafe:
        where = _position_after(file, text[: unsafe.start()])
        problems.add(where, f"character U+{ord(unsafe[0]):04X} is not allowed")
        return None
    return text


def _position_after(file: str, before: str) -> Position:
    return Position(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _events(text: str) -> Iterator[Any]:
    """Parse with the C parser if it is available. Its messages differ by build, so errors come from the Python parser."""
    try:
        yield from list(yaml.parse(text, Loader=_PARSER))
    except (yaml.YAMLError, ValueError, OverflowError):
        yield from yaml.parse(text, Loader=yaml.SafeLoader)


def _syntax_problem(file: str, error: yaml.YAMLError) -> tuple[Position, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
    reason = getattr(error, "problem", None) or "it cannot be read"
    if "\\t" in reason:
        return where, "a tab cannot be used here; YAML is indented with spaces"
    context = getattr(error, "context", None)
    return where, f"not YAML: {context}, {reason}" if context else f"not YAML: {reason}"


class _StopReading(Exception):
    """Reading stops: a problem is reported already, and parsing the rest would take quadratic time."""


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being read; `key` is the mapping key whose value comes next."""

    value: dict[str, object] | list[object]
    path: KeyPath
    key: str | None = None
    at_key: bool = True


class _Composer:
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
                raise _StopReading
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
            value = _plain_value(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            self._report(event, str(error))
            self._put(event, None, broken=True)
            return
        unsafe = _UNSAFE.search(event.value)
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
            value = _plain_value(text) if plain else text
        except ValueError:
            value = None
        if not isinstance(value, str):
            self._report(event, f"the key {text or 'null'} is not a string; put it in quotes")
            return None
        unsafe = _UNSAFE.search(text)
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


def _plain_value(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar. Raises ValueError, with the message of a problem, where YAML is easily misread."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        if len(text) > LONGEST_NUMBER:
            raise ValueError(f"the number is longer than {LONGEST_NUMBER} digits")
        return int(text)
    if _OCTAL.match(text):
        plain = text.lstrip("+-").lstrip("0") or "0"
        raise ValueError(f"{quote(text)} may be read as octal; write {plain}, or put it in quotes")
    if _NOT_FINITE.match(text):
        raise ValueError(f"{text} is not a finite number")
    if _FLOAT.match(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"{text[:LONGEST_NUMBER]} is too large a number")
        return number
    return text


LONGEST_NUMBER: Final = 18
