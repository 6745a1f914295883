"""Pages of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar, overload

from keyweave.errors import ValidationError

T_co = TypeVar("T_co", covariant=True)

MAX_LIMIT: Final = 1000
"""Most rows of one page. Iterate to read more."""


class Page(Sequence[T_co]):
    """Consecutive rows of a query. A page is a sequence of them, false when it has none.

    Attributes:
        rows: in the order of the query.
        cursor: where the next page begins, or None at the end. Encrypted, so it is safe to pass to users.
    """

    __slots__ = ("cursor", "rows")

    def __init__(self, rows: list[T_co], cursor: str | None) -> None:
        self.rows: Final = rows
        self.cursor: Final = cursor

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> list[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | list[T_co]:
        return self.rows[index]

    def __repr__(self) -> str:
        return f"Page({self.rows!r}, more={self.cursor is not None})"


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
