"""Documents under the names that fields had before: read as if they had been written under the new ones.

Only the top level of a document has such names. A write stores the new names, so a row that was written once since
does not come here again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.encode


def with_new_names(document: bytes, renamed: Sequence[tuple[str, str]]) -> bytes:
    """The document with every old name replaced by the new one.

    Where both are present the old one wins: new code never writes it, so old code has written it since.

    Args:
        document: a stored document, its head first; what is no JSON object is returned as it is.
        renamed: old and new name of each renamed field.
    """
    if not any(f'"{old}"'.encode() in document for old, _ in renamed):
        return document
    try:
        members = _members(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return document  # whoever decodes it says what is wrong
    names = {old: new for old, new in renamed if old in members}
    replaced = set(names.values())
    parts = [
        _encode(names.get(name, name)) + b":" + bytes(raw)
        for name, raw in members.items()
        if name not in replaced
    ]
    return b"{" + b",".join(parts) + b"}" if names else document
