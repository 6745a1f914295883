"""YAML text -> plain values with their positions.

The reader accepts the part of YAML that a schema needs: mappings, lists and scalars, with the scalar rules of
YAML 1.2 (`yes` and `2024-01-01` are strings). Everything else in YAML (tags, anchors, merge keys,
several documents) is reported as a problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

from .model import Position
from .problems import Problems
from .source_compose import Composer, StopReading
from .source_document import Document
from .source_scalar import UNSAFE

LARGEST_FILE: Final = 1024 * 1024


_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(file: str, content: str | bytes, problems: Problems) -> Document | None:
    """Read one YAML file, and report its problems. Returns None when nothing of it can be used."""
    text = _decode(file, content, problems)
    if text is None:
        return None
    composer = Composer(file, problems)
    try:
        for event in _events(text):
            composer.take(event)
    except StopReading:
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
    unsafe = UNSAFE.search(text)
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
