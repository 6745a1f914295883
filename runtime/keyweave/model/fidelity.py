"""Fidelity: a value may be stored if reading gives it back, and if it is not nested too deeply to be read everywhere."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

import msgspec

from keyweave.model.moment import to_micros

MAX_DEPTH: Final = 400
"""Maximum number of lists and maps inside each other in the value of a field. Python reads about 900, less the depth of
the caller's own calls, so a fixed number is needed: what one caller stores, every other caller can read."""

TOO_DEEP: Final = f"nested more than {MAX_DEPTH} levels deep"

_PLAIN: Final = frozenset({str, int, bytes, bool, type(None)})
"""Types whose values are compared by Python alone."""

_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SAME_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))


def same_value(given: Any, read: Any) -> bool:
    """Return whether a value equals `read`, which its JSON gave back; False when it is nested too deeply to compare.

    Python's `==` is stricter than JSON about tuples, and it is False for two aware datetimes of one moment if one of them
    is in a fold or a gap of its zone. So datetimes are compared as moments.
    """
    try:
        return bool(given == read) or _same(given, read)
    except RecursionError:
        return False


def _same(given: Any, read: Any) -> bool:
    if type(given) in _PLAIN:
        return bool(given == read)
    if isinstance(given, datetime):
        if not isinstance(read, datetime) or given.tzinfo is None or read.tzinfo is None:
            return False
        return to_micros(given) == to_micros(read)
    if type(given) is not type(read):
        return bool(given == read)
    if isinstance(given, msgspec.Struct):
        return all(_same(getattr(given, name), getattr(read, name)) for name in given.__struct_fields__)
    if isinstance(given, list):
        return len(given) == len(read) and all(map(_same, given, read))
    if isinstance(given, dict):
        return given.keys() == read.keys() and all(_same(each, read[name]) for name, each in given.items())
    return bool(given == read)


def nesting(text: bytes) -> int:
    """Return the number of lists and maps inside each other in a JSON text."""
    brackets = _TEXT.sub(b"", text).translate(_SAME_BRACKETS, _OTHERS)
    depth = 0
    while brackets:
        shorter = brackets.replace(b"[]", b"")
        if shorter == brackets:
            break
        brackets = shorter
        depth += 1
    return depth


def deeper_than(text: bytes, depth: int) -> bool:
    """Return whether more than `depth` lists and maps are inside each other in a JSON text."""
    # Counting is fast, and few texts have so many brackets.
    return text.count(b"[") + text.count(b"{") > depth and nesting(text) > depth
