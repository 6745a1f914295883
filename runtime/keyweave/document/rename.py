"""Documents with old field names, read as if they had been written with the new names.

Only the top level of a document has old names. Every write stores the new names, so a document needs conversion
only until its next write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.encode


def with_new_names(document: bytes, renamed: Sequence[tuple[str, str]]) -> bytes:
    """Return the document with every old name replaced by the new one.

    If both names are present, the old one wins: new code never writes it, so old code wrote it later.

    Args:
        document: a stored document, its head first. Anything but a JSON object is returned unchanged.
        renamed: old and new name of each renamed field.
    """
    if not any(f'"{old}"'.encode() in document for old, _ in renamed):
        return document
    try:
        members = _members(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return document  # decoding it raises the error
    names = {old: new for old, new in renamed if old in members}
    replaced = set(names.values())
    parts = [
        _encode(names.get(name, name)) + b":" + bytes(raw)
        for name, raw in members.items()
        if name not in replaced
    ]
    return b"{" + b",".join(parts) + b"}" if names else document
