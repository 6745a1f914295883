"""Records: the parents of generated entity classes, and what a record remembers of the store.

A record that was loaded or written remembers the stored document, its revision and its creation. This
memory belongs to the instance: a copy, a pickle or `msgspec.structs.replace` makes a new record without it.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, TypeVar

import msgspec

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode

MEMORY: Final = "_keyweave"
"""The name of the slot in which a record holds its `Stored`."""


class _DataclassFields:
    """What `dataclasses.is_dataclass` looks for. FastAPI takes a parameter for a body if its class is a dataclass.

    So `dataclasses.fields` and `asdict` work too. Secret fields are marked as left out of representations.
    """

    def __get__(self, record: object, owner: Any) -> dict[str, Any]:
        return _dataclass_fields(owner)


@lru_cache(maxsize=1024)
def _dataclass_fields(owner: Any) -> dict[str, Any]:
    secret = owner.__secret_fields__
    fields = [
        (name, Any, dataclasses.field(repr=name not in secret, compare=name not in secret))
        for name in owner.__struct_fields__
    ]
    found: dict[str, Any] = dataclasses.make_dataclass(owner.__name__, fields).__dict__[
        "__dataclass_fields__"
    ]
    return found


NOT_WRITTEN: Final[Any] = None
"""A managed moment of a record that was never written."""

if TYPE_CHECKING:
    ManagedMoment: TypeAlias = datetime
    """A moment that the store sets. A row that was read has one, so its type is not optional."""
else:
    ManagedMoment = datetime | None


class Value(msgspec.Struct, kw_only=True):
    """Parent of generated nested record types: a mutable, keyword-only value inside documents."""

    __secret_fields__: ClassVar[frozenset[str]] = frozenset()
    __dataclass_fields__: ClassVar[Any] = _DataclassFields()

    def __repr__(self) -> str:
        secret = type(self).__secret_fields__
        parts = [
            f"{name}=<secret>" if name in secret else f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
        ]
        return f"{type(self).__name__}({', '.join(parts)})"

    def to_dict(self, *, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Return every field by name, secret ones included, and records inside it as dicts.

        Args:
            mode: `python` keeps the values as they are, such as datetimes and enum members; `json` gives what the record's
                JSON holds.
        """
        if mode == "json":
            plain: dict[str, Any] = _decode(_encode(self))
            return plain
        return {name: _plain(getattr(self, name)) for name in self.__struct_fields__}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from keyweave.model.pydantic import schema_of  # only pydantic calls this, and it is optional

        return schema_of(cls, Value.to_dict)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        from keyweave.model.pydantic import json_schema_of

        return json_schema_of(cls)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        secret = type(self).__secret_fields__
        return [
            (name, "<secret>" if name in secret else getattr(self, name)) for name in self.__struct_fields__
        ]


def _plain(value: Any) -> Any:
    """Return a value of a field with dicts in place of records."""
    if isinstance(value, Value):
        return Value.to_dict(value)
    if type(value) is list:
        return [_plain(each) for each in value]
    if type(value) is dict:
        return {name: _plain(each) for name, each in value.items()}
    return value


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
