"""The cost of index entries: measured figures, which are kept only here, and the cost of a view or unique constraint.

Measured by `python -m tools.bench.costs` on Valkey 9 from the wheel, on two cores, with ids of 27 characters and
20,000 rows. Bytes are differences of `used_memory`, microseconds are processor time of the server; both compare two
generated packages that differ by ten indexes only. They are guides: long ids and values cost more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .model import Entity, Field, OrderBy, Unique, View

BYTES_IN_SMALL_SET: Final = 50
"""One entry of a view whose sets hold about ten rows."""

BYTES_IN_LARGE_SET: Final = 95
"""One entry of a view whose set holds thousands of rows."""

BYTES_ALONE: Final = 145
"""One entry of a view whose every value has one row: a key of its own."""

BYTES_OF_TEXT: Final = 16
"""What an entry in the order of a string takes beyond that: about its value, here of 16 characters."""

BYTES_OF_CLAIM: Final = 75
"""One claim of a unique constraint, with a value of 16 characters."""

BYTES_OF_HEAD: Final = 110
"""The head of a document."""

MICROS_OF_ENTRY: Final = 2.1
"""Adding one entry to a view."""

MICROS_OF_CLAIM: Final = 3.2
"""Checking and adding one claim."""

MICROS_OF_MOVE: Final = 1.8
"""Moving one entry to a new score, which every write does to a view ordered by revision."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of an index.

    Attributes:
        entries: entries per row that a backfill has to write; rows without a value have none.
        partial: whether rows without a value exist.
        bytes_low, bytes_high: bytes per row.
        micros_insert: processor time of the server for inserting a row, in microseconds.
        micros_update: the same for a write that changes none of the index's fields.
        each: whether a row has an entry, with these costs, for each element of a list or set.
    """

    entries: int
    partial: bool
    bytes_low: int
    bytes_high: int
    micros_insert: float
    micros_update: float
    each: bool = False

    def __str__(self) -> str:
        rows = "at most 1 entry" if self.partial else "1 entry"
        rows += " per element" if self.each else ""
        size = str(self.bytes_low)
        if self.bytes_high != self.bytes_low:
            size = f"{self.bytes_low}-{self.bytes_high}"
        low, high = self.bytes_low, self.bytes_high
        million = f"{low} MB" if low == high else f"{low}-{high} MB"
        return (
            f"{rows} per row to backfill; {size} bytes per row ({million} per million rows); "
            f"{self.micros_insert:g} µs of the server per insert, {self.micros_update:g} µs per other write"
        )


def view_cost(entity: Entity, view: View) -> Cost:
    """The cost of a view."""
    moved = MICROS_OF_MOVE if view.order is OrderBy.REVISION else 0.0
    selecting = (*view.fields, *([view.each] if view.each is not None else []))
    low = BYTES_IN_SMALL_SET if selecting else BYTES_IN_LARGE_SET
    high = BYTES_ALONE if selecting else BYTES_IN_LARGE_SET
    partial = view.where is not None or _partial(entity, selecting)
    text = BYTES_OF_TEXT if view.by_text else 0
    return Cost(1, partial, low + text, high + text, MICROS_OF_ENTRY, moved, view.each is not None)


def unique_cost(entity: Entity, unique: Unique) -> Cost:
    """The cost of a unique constraint."""
    partial = unique.where is not None or _partial(entity, unique.fields)
    return Cost(1, partial, BYTES_OF_CLAIM, BYTES_OF_CLAIM, MICROS_OF_CLAIM, 0.0)


def _partial(entity: Entity, names: tuple[str, ...]) -> bool:
    fields: Mapping[str, Field] = {field.name: field for field in entity.fields}
    return any(fields[name].optional for name in names)
