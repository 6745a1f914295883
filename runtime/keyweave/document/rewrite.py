"""Rewriting documents: which ones need it, and their new body. Members are copied as bytes and never decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from keyweave.document.rename import with_new_names

HEAD_MEMBERS: Final = frozenset({"revision", "created", "expires", "op"})

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.encode


@dataclass(slots=True)
class Rewrite:
    """The result of a rewrite of stored documents.

    Attributes:
        read: number of documents that were read.
        written: number of documents that were rewritten; in a dry run, that would be.
        overtaken: number of documents that another writer changed first; a second run rewrites them.
        unreadable: number of documents that cannot be decoded; `keyweave check` lists them.
    """

    read: int = 0
    written: int = 0
    overtaken: int = 0
    unreadable: int = 0


def rewritten(document: bytes, renamed: tuple[tuple[str, str], ...], purge: frozenset[str]) -> bytes | None:
    """Return the new body of a document (members with a leading comma, and the closing brace), or None to keep it.

    Args:
        document: a stored document.
        renamed: old and new name of each renamed field.
        purge: names of the members to remove.

    Raises:
        msgspec.MsgspecError: the document is not a JSON object.
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
