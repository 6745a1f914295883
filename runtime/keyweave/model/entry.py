"""The two kinds of index entry that a document implies. Generated `index_entries` functions return them.

An entry names its view or constraint and holds plain values. It knows no namespace, so writes, deletes, checks,
repairs and a transaction's reads of its own writes all use the same entries.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

CREATED: Final = "created"
"""Score of an entry that is ordered by the row's first revision."""

REVISION: Final = "revision"
"""Score of an entry that is ordered by the row's latest revision."""

Score: TypeAlias = str | int | float
"""`CREATED`, `REVISION`, or the number itself (datetimes and durations in microseconds)."""


class ViewEntry(msgspec.Struct, frozen=True, gc=False):
    """A member of a view: `member` under `values`, ordered by `score`.

    The member is the row's id; in an order of strings it also holds the value (see `keyweave.model.member`), and the score is 0.
    """

    view: str
    values: tuple[str, ...]
    member: str
    score: Score


class ClaimEntry(msgspec.Struct, frozen=True, gc=False):
    """A claim of the row `owner` on a unique value: normalized, and joined when the constraint has several fields."""

    unique: str
    value: str
    owner: str


Entry: TypeAlias = ViewEntry | ClaimEntry
