"""Pages and their cursors. A cursor is a position in an order, (score, id), so it stays valid during writes."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from keyweave.errors import InvalidCursorError, ValidationError
from keyweave.model.record import Record

R = TypeVar("R", bound=Record)

MAX_LIMIT: Final = 1000
"""Most records of one page. Iterate to read more."""


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Consecutive records of a view.

    Attributes:
        records: in the order of the view.
        cursor: where the next page begins, or None at the end. Opaque, and safe to pass to users.
    """

    records: list[R]
    cursor: str | None


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The content of a cursor: the order that it belongs to, and the last member that was read."""

    entity: str
    order: str
    newest: bool
    score: str
    member: str


_SCORE: Final = re.compile(r"-?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.ASCII)
"""Scores as servers and this library write them. Python's `float` accepts more, and servers refuse the rest."""

_decode: Final = msgspec.json.Decoder(Position).decode


def write_cursor(position: Position) -> str:
    """Return the cursor for a position."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def read_cursor(cursor: str | None, entity: str, order: str, newest: bool) -> Position | None:
    """Return the position of a cursor, or None when there is no cursor.

    Raises:
        InvalidCursorError: the cursor is damaged, or belongs to another entity, order or direction.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = _decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not _SCORE.fullmatch(position.score):
            raise ValueError(position.score)
    except (AttributeError, TypeError, ValueError, binascii.Error, msgspec.MsgspecError):
        raise InvalidCursorError("the cursor is damaged", entity=entity, rule="cursor") from None
    if (position.entity, position.order, position.newest) != (entity, order, newest):
        raise InvalidCursorError(
            f"{entity}: the cursor belongs to another order", entity=entity, rule="cursor"
        )
    return position


def check_limit(limit: object, entity: str) -> int:
    """Return `limit` if a page can have that many records.

    Raises:
        ValidationError: it is not a whole number from 1 to `MAX_LIMIT`.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise ValidationError(
            f"{entity}: limit must be a whole number from 1 to {MAX_LIMIT}",
            entity=entity,
            field="limit",
            rule="limit",
        )
    return limit
