"""The rows of the comparison: the same for every side, made from their number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

STATES: Final = ("open", "held", "closed")
ENDED: Final = "ended"
KINDS: Final = 7
OWNERS: Final = 10
"""Of the rows that are there before anything is timed."""

TEXT: Final = 580
"""Characters of a document's text; with its braces and its name the document has about 600 bytes."""


class Row(msgspec.Struct, frozen=True):
    """A row as every side has it.

    Attributes:
        number: stands for the key, and orders all indexes.
        slug: unique.
        owner, state, kind: the values of the three indexes.
        visits: a counter.
        document: about 600 bytes of JSON.
    """

    number: int
    slug: str
    owner: str
    state: str
    kind: str
    visits: int
    document: dict[str, Any]

    @property
    def key(self) -> str:
        """The key on sides where the caller chooses it. Its order is that of the numbers."""
        return key_of(self.number)


def key_of(number: int) -> str:
    """The key of the row with a number."""
    return f"row-{number:09}"


def row(number: int, *, slug: str | None = None, owner: str | None = None) -> Row:
    """The row with a number, with another unique value or owner if one is given."""
    digest = hashlib.blake2b(str(number).encode(), digest_size=32).hexdigest()
    return Row(
        number=number,
        slug=slug or f"slug-{number}",
        owner=owner or f"owner-{number % OWNERS}",
        state=STATES[number % len(STATES)],
        kind=f"kind-{number % KINDS}",
        visits=0,
        document={"text": (digest * 10)[:TEXT]},
    )


def rows(numbers: Iterable[int]) -> list[Row]:
    """Rows with these numbers."""
    return [row(number) for number in numbers]
