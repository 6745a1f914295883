"""Pages of records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from keyweave.errors import ValidationError
from keyweave.model.record import Record

R = TypeVar("R", bound=Record)

MAX_LIMIT: Final = 1000
"""Most records of one page. Iterate to read more."""


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Consecutive records of a view.

    Attributes:
        records: in the order of the view.
        cursor: where the next page begins, or None at the end. Encrypted, so it is safe to pass to users.
    """

    records: list[R]
    cursor: str | None


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
