"""Pages and their cursors. A cursor is a place in an order, (score, id), so it stays right while others write."""

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
    """A stretch of a view.

    Attributes:
        records: in the order of the view.
        cursor: where the next page begins, or None at the end. Opaque; safe to hand to users.
    """

    records: list[R]
    cursor: str | None


class Position(msgspec.Struct, frozen=True, array_like=True):
    """What a cursor says: the order it belongs to, and the last member that was looked at."""

    entity: str
    order: str
    newest: bool
    score: str
    member: str


_SCORE: Final = re.compile(r"-?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.ASCII)
"""How servers and this side write a score. Python's `float` reads more than that, and servers refuse it."""

_decode: Final = msgspec.json.Decoder(Position).decode


def write_cursor(place: Position) -> str:
    """The cursor for a place."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_cursor(cursor: str | None, entity: str, order: str, newest: bool) -> Position | None:
    """The place that a cursor stands for; None for no cursor.

    Raises:
        InvalidCursorError: the cursor is damaged, or was handed out for another entity, order or direction.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        place = _decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not _SCORE.fullmatch(place.score):
            raise ValueError(place.score)
    except (AttributeError, TypeError, ValueError, binascii.Error, msgspec.MsgspecError):
        raise InvalidCursorError("the cursor is damaged", entity=entity, rule="cursor") from None
    if (place.entity, place.order, place.newest) != (entity, order, newest):
        raise InvalidCursorError(
            f"{entity}: the cursor belongs to another order", entity=entity, rule="cursor"
        )
    return place


def check_limit(limit: object, entity: str) -> int:
    """`limit`, when a page can have that many records.

    Raises:
        ValidationError: not a whole number from 1 to `MAX_LIMIT`.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise ValidationError(
            f"{entity}: limit must be a whole number from 1 to {MAX_LIMIT}",
            entity=entity,
            field="limit",
            rule="limit",
        )
    return limit
