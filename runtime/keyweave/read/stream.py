"""Streams: sorted lists of a view that reads merge by (score, member), each asked after the same position.

A member names the row to read. Filters, `one_of`, `|` and pages are all made of streams.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from keyweave.effects import Word
from keyweave.model.cursor import Position
from keyweave.model.entity import View
from keyweave.model.member import HIGHEST, text_member

_ALL_TEXTS: Final = (b"-", b"+")


class Stream(msgspec.Struct, frozen=True, gc=False):
    """A list of a view, or a stretch of it.

    Attributes:
        view: the view.
        values: key texts of its fields.
        ends: the ends of a stretch as the server reads them; empty for the whole list. They are the lowest and the highest
            score, both included, or in an order of strings what members are not below, and what they are below.
    """

    view: View
    values: tuple[str, ...]
    ends: tuple[str, str] | tuple[bytes, bytes] | tuple[()] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        """The ends as arguments of a script, which sees by them that an order is one of strings."""
        return self.ends or (_ALL_TEXTS if self.view.by_text else ())

    def holds(self, score: float, member: bytes) -> bool:
        """Whether an entry is between the ends."""
        if not self.ends:
            return True
        low, high = self.ends
        if isinstance(low, bytes):
            assert isinstance(high, bytes)
            return low[1:] <= member and (high == b"+" or member < high[1:])
        return float(low) <= score <= float(high)

    def after(self, start: Position | None) -> tuple[str, str]:
        """Score and member of a position, as the list has them; empty to begin."""
        if start is None:
            return "", ""
        return start.score, text_member(start.value, start.member) if self.view.by_text else start.member


def ends_of(low: float | bytes, high: float | bytes) -> tuple[str, str] | tuple[bytes, bytes] | tuple[()]:
    """Return the ends of a stretch; empty for the whole order: between infinite scores, or an empty text and `HIGHEST`."""
    if isinstance(low, bytes) or isinstance(high, bytes):
        assert isinstance(low, bytes) and isinstance(high, bytes)
        if not low and high == HIGHEST:
            return ()
        return (b"[" + low if low else b"-", b"+" if high == HIGHEST else b"(" + high)
    if low == -math.inf and high == math.inf:
        return ()
    return (score_text(low), score_text(high))


def score_text(score: float) -> str:
    """Return a score as the server writes and reads it."""
    if math.isinf(score):
        return "-inf" if score < 0 else "+inf"
    return f"{score:.17g}"
