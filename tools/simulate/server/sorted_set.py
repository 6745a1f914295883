"""A sorted set: members by score and name, kept in one sorted list. Sets of a simulation are small."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final


class SortedSet:
    """Members with scores, in the order of score and name."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: Final[dict[bytes, float]] = {}
        self.order: Final[list[tuple[float, bytes]]] = []

    def __len__(self) -> int:
        return len(self.order)

    def add(self, member: bytes, score: float) -> bool:
        """Set the score of a member. Returns True if it is new."""
        old = self.scores.get(member)
        if old is not None:
            if old == score:
                return False
            del self.order[bisect_left(self.order, (old, member))]
        self.scores[member] = score
        insort(self.order, (score, member))
        return old is None

    def remove(self, member: bytes) -> bool:
        """Remove a member. Returns True if it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True

    def rank(self, member: bytes) -> int | None:
        """The position of a member, lowest score first."""
        score = self.scores.get(member)
        return None if score is None else bisect_left(self.order, (score, member))

    def first_at(self, score: float, *, beyond: bool) -> int:
        """The position of the first member with at least this score, or a higher one for `beyond`."""
        order = self.order
        position = bisect_left(order, (score, b""))
        if beyond:
            while position < len(order) and order[position][0] == score:
                position += 1
        return position

    def members(self, start: int, stop: int, *, newest: bool) -> Iterator[tuple[float, bytes]]:
        """Scores and members by rank, both ends included, negative ranks from the end."""
        size = len(self.order)
        start = max(start + size, 0) if start < 0 else start
        stop = stop + size if stop < 0 else min(stop, size - 1)
        if start > stop:
            return iter(())
        if newest:
            return iter(self.order[size - 1 - stop : size - start][::-1])
        return iter(self.order[start : stop + 1])


def score_text(score: float) -> bytes:
    """A score as the server writes it."""
    if score == int(score) if abs(score) < 1e17 else False:
        return b"%d" % int(score)
    if score in (float("inf"), float("-inf")):
        return b"inf" if score > 0 else b"-inf"
    return repr(score).encode()
