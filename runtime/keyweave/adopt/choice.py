"""What the caller of an adoption may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Choices:
    """Options of an adoption.

    Attributes:
        package: import name of the generated package; by default made from the database's name.
        keys: columns that identify the rows of a table, by `schema.table` or `table`.
        as_text: types that are kept as text although nothing is known of them.
    """

    package: str = ""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    as_text: frozenset[str] = frozenset()
