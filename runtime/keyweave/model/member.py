"""Members of views that are ordered by a string: the value, a NUL, and the row's id, all with the score 0.

Such members are in the order of their bytes. That is the order of the values by code point, and rows of one value are in the
order of their ids. A NUL and a U+0001 of the value are written as two characters, so the first NUL ends the value.
"""

from __future__ import annotations

from typing import Final

LONGEST_TEXT: Final = 4096
"""Characters of a value that orders a view. Its entry is as long as the value, and no place for a payload."""

HIGHEST: Final = b"\xff"
"""Above every member: UTF-8 has no such byte."""

_ESCAPES: Final = str.maketrans({"\0": "\x01\x01", "\x01": "\x01\x02"})


def text_member(value: str, key: str) -> str:
    """Return the member of the row `key`, whose value is `value`."""
    return f"{_escaped(value)}\0{key}"


def split_member(member: str) -> tuple[str, str]:
    """Return value and id of a member; a text without a NUL, which no member is, counts as an id."""
    value, separator, key = member.partition("\0")
    if not separator:
        return "", member
    if "\x01" in value:
        value = value.replace("\x01\x01", "\0").replace("\x01\x02", "\x01")
    return value, key


def from_text(value: str) -> bytes:
    """Return what every member with this or a higher value is not below, and every other one is."""
    return _escaped(value).encode()


def after_text(value: str) -> bytes:
    """Return what every member with this or a lower value is below, and no other one."""
    return _escaped(value).encode() + b"\x01"


def after_prefix(prefix: str) -> bytes:
    """Return what no member with a value that begins with `prefix`, or with a lower one, reaches."""
    return _escaped(prefix).encode() + HIGHEST


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES) if "\0" in value or "\x01" in value else value
