"""Records: the parents of generated entity classes, and what a record remembers of the store.

A record that was loaded or written remembers the stored document, its revision and its creation. This
memory belongs to the instance: a copy, a pickle or `msgspec.structs.replace` makes a new record without it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, TypeVar

import msgspec

MEMORY: Final = "_keyweave"
"""The name of the slot in which a record holds its `Stored`."""


class Value(msgspec.Struct, kw_only=True):
    """Parent of generated nested record types: a mutable, keyword-only value inside documents."""

    __secret_fields__: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        secret = type(self).__secret_fields__
        parts = [
            f"{name}=<secret>" if name in secret else f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
        ]
        return f"{type(self).__name__}({', '.join(parts)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        secret = type(self).__secret_fields__
        return [
            (name, "<secret>" if name in secret else getattr(self, name)) for name in self.__struct_fields__
        ]


class _Memory:
    """The slot for what a record remembers. It is no field, and leaves a record without room for other attributes."""

    __slots__ = (MEMORY,)

    _keyweave: Stored


class Record(_Memory, Value, kw_only=True):
    """Parent of generated entity classes: a mutable, keyword-only row."""


R = TypeVar("R", bound=Record)


class Stored(msgspec.Struct, gc=False):
    """What the store holds for a record: the managed head, and the document when it was last seen.

    Attributes:
        revision: microseconds since 1970, unique and increasing within the partition; the version for guards.
        created: revision of the write that created the row.
        expires: deadline in microseconds since 1970, or 0 for none.
        document: the whole stored document, or None when it is not kept.
        snapshot: the record as the store holds it, or None until it is first needed.
        op: id of the plan that wrote the document; empty when it is not known.
        unknown: fields of the document that this schema does not have, as JSON members with a leading comma.
        entries: every index entry that the snapshot implies, or None until they are first needed.
    """

    revision: int
    created: int
    expires: int
    document: bytes | None = None
    snapshot: Any = None
    unknown: bytes = b""
    op: str = ""
    entries: Any = None


def remember(record: Record, stored: Stored) -> None:
    """Attach what the store holds to `record`."""
    record._keyweave = stored


def memory_of(record: Record) -> Stored | None:
    """Return what `record` remembers of the store, or None for a record that was never loaded or written."""
    return getattr(record, MEMORY, None)


def forget(record: Record) -> None:
    """Drop the memory of `record`, which makes it a new record."""
    if memory_of(record) is not None:
        del record._keyweave
