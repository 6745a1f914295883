"""Rewriting documents: which are concerned, and what they become. Members are moved as the bytes they are, never decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from keyweave.document.renaming import with_new_names

HEAD_MEMBERS: Final = frozenset({"revision", "created", "expires", "op"})

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.encode


@dataclass(slots=True)
class Rewrite:
    """A rewrite of stored documents.

    Attributes:
        read: documents that were looked at.
        written: documents that were written anew; in a dry run, that would be.
        overtaken: documents that somebody else wrote meanwhile; run it again for them.
        unreadable: documents that cannot be read; a check names them.
    """

    read: int = 0
    written: int = 0
    overtaken: int = 0
    unreadable: int = 0


def rewritten(document: bytes, renamed: tuple[tuple[str, str], ...], purge: frozenset[str]) -> bytes | None:
    """The body (members with a leading comma, and the closing brace) that a document should have; None for as it is.

    Args:
        document: a stored document.
        renamed: old and new name of each renamed field.
        purge: members to leave out.

    Raises:
        msgspec.MsgspecError: it is no JSON object.
    """
    wanted = purge | {old for old, _ in renamed}
    if not wanted or wanted.isdisjoint(_members(document)):
        return None
    members = _members(with_new_names(document, renamed))
    kept = [
        b"," + _encode(name) + b":" + bytes(raw)
        for name, raw in members.items()
        if name not in HEAD_MEMBERS and name not in purge
    ]
    return b"".join(kept) + b"}"
