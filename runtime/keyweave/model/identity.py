"""Ids: the one text by which keys, entries and cursors name a row. Different keys have different ids, in the order of the keys.

The server breaks ties of an order by the bytes of ids. So the id of a number sorts as the number does, and the id of a
composite key as its parts do, one after another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from keyweave.model.keytext import check_kind, checked_text, key_text
from keyweave.model.numbering import int_id, int_of_id

SEPARATOR: Final = "!"
"""Between the parts of a composite key. No part has a character below it: these are escaped."""

_ESCAPE: Final = '"'
_SHIFT: Final = 0x40
_LOW: Final = re.compile(f"[\0-{_ESCAPE}]")
_LOW_BUT_SEPARATOR: Final = re.compile(f"[\0- {_ESCAPE}]")
_ONLY_TEXT: Final = {str}
_ESCAPED: Final = re.compile(f"{_ESCAPE}(.)", re.DOTALL)


def id_text(value: object, kind: str = "") -> str:
    """Return the id of a row whose key is `value`, or the text of one part of a composite key; `kind` as for `key_text`.

    Raises:
        ValidationError: as for `key_text`.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if kind:
            check_kind(value, kind)
        return int_id(value)
    return key_text(value, kind)


def joined_id(*values: object) -> str:
    """Return the id of a row whose composite key has these parts."""
    if set(map(type, values)) == _ONLY_TEXT:
        # Nearly every key: no part has a character that is escaped.
        text = SEPARATOR.join(values)  # type: ignore[arg-type]
        if text.isascii() and text.count(SEPARATOR) < len(values) and not _LOW_BUT_SEPARATOR.search(text):
            return text
    return SEPARATOR.join([_escaped(text) for text in map(id_text, values)])


def key_of_id(text: str, kind: type) -> Any:
    """Return the value with the id `text`: str, an enum, int or UUID.

    Raises:
        ValueError: no value of this type has this id.
    """
    if issubclass(kind, str):
        return kind(text)
    value = int_of_id(text) if kind is int else UUID(text)
    if id_text(value) != text:
        raise ValueError("no key has this id")
    return value


def parts_of_id(text: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """Return the parts of the composite key with the id `text`.

    Raises:
        ValueError: no key of parts of these types has this id.
    """
    texts = text.split(SEPARATOR)
    if len(texts) != len(kinds):
        raise ValueError("no key has this id")
    values = tuple(
        key_of_id(_ESCAPED.sub(_unescaped, each), kind) for each, kind in zip(texts, kinds, strict=True)
    )
    if joined_id(*values) != text:
        raise ValueError("no key has this id")
    return values


def _escaped(text: str) -> str:
    return _LOW.sub(lambda found: f"{_ESCAPE}{chr(ord(found[0]) + _SHIFT)}", checked_text(text))


def _unescaped(found: re.Match[str]) -> str:
    code = ord(found[1]) - _SHIFT
    if code < 0:
        raise ValueError("no key has this id")
    return chr(code)
