"""Cursors: a position in an order, (score, id), so that it stays valid during writes. Only the namespace can read it.

The id of a cursor may belong to a row that its reader must not see. So a cursor is encrypted by a secret of the namespace.
The same position has the same cursor (a synthetic IV), and a changed cursor is refused. What identifies the query is
authenticated with it and not part of it, so a cursor of another query is like a damaged one.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from keyweave.errors import InvalidCursorError

SECRET_LENGTH: Final = 32
"""Bytes of a namespace's secret."""

_TAG: Final = 16
_PADDED: Final = 32
"""The text is filled up to a multiple of so many bytes, so that a cursor's length says little about that of the id."""


class Position(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The content of a cursor: the order that it belongs to, and the last member that was read.

    Attributes:
        entity: name of the entity.
        order: `created`, `revision` or the name of a field.
        newest: whether the highest value comes first.
        score: of the member; 0 in an order of strings.
        member: the id of the row, without the value.
        value: the value of the member in an order of strings.
    """

    entity: str
    order: str
    newest: bool
    score: str
    member: str
    value: str = ""


_SCORE: Final = re.compile(r"-?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.ASCII)
"""Scores as servers and this library write them. Python's `float` accepts more, and servers refuse the rest."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Position).decode


def write_cursor(secret: bytes, position: Position, query: bytes = b"") -> str:
    """Return the cursor for a position.

    Args:
        secret: of the namespace, `SECRET_LENGTH` bytes.
        position: the position.
        query: what identifies the query; empty where only the order decides.
    """
    text = _encode(position)
    text += b" " * (-len(text) % _PADDED)
    tag = _tag_of(secret, text, query)
    return base64.urlsafe_b64encode(tag + _masked(secret, tag, text)).decode().rstrip("=")


def read_cursor(
    secret: bytes, cursor: str | None, entity: str, order: str, newest: bool, query: bytes = b""
) -> Position | None:
    """Return the position of a cursor, or None when there is no cursor.

    Raises:
        InvalidCursorError: the cursor is damaged, or belongs to another namespace, query, order or direction.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        sealed = base64.b64decode(padded, altchars=b"-_", validate=True)
        tag = sealed[:_TAG]
        text = _masked(secret, tag, sealed[_TAG:])
        if _tag_of(secret, text, query) != tag:
            raise ValueError("another secret or query")
        position = _decode(text)
        if not _SCORE.fullmatch(position.score):
            raise ValueError(position.score)
    except (AttributeError, TypeError, ValueError, binascii.Error, msgspec.MsgspecError):
        raise InvalidCursorError(
            f"{entity}: the cursor is damaged or belongs to another query",
            entity=entity,
            field="cursor",
            rule="cursor",
        ) from None
    if (position.entity, position.order, position.newest) != (entity, order, newest):
        raise InvalidCursorError(
            f"{entity}: the cursor belongs to another order", entity=entity, field="cursor", rule="cursor"
        )
    return position


def _tag_of(secret: bytes, text: bytes, query: bytes) -> bytes:
    tag = _keyed(secret)[0].copy()
    tag.update(len(text).to_bytes(4) + text + query)
    return tag.digest()


def _masked(secret: bytes, tag: bytes, text: bytes) -> bytes:
    """Return the text, or what was made of it, combined with a stream that only the secret and the tag determine."""
    size = len(text)
    stream = b""
    while len(stream) < size:
        block = _keyed(secret)[1].copy()
        block.update(tag + len(stream).to_bytes(4))
        stream += block.digest()
    return (int.from_bytes(text) ^ int.from_bytes(stream[:size])).to_bytes(size)


@lru_cache(maxsize=64)
def _keyed(secret: bytes) -> tuple[blake2b, blake2b]:
    """Return the keyed hashes of tags and of streams, to be copied: making one anew costs a page 4 %."""
    tags = blake2b(digest_size=_TAG, key=secret, person=b"keyweave cursor")
    return tags, blake2b(key=secret, person=b"keyweave stream")
