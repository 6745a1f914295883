"""Parsing keys: what a key of the namespace is for. The inverse of `keys`, which builds them."""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from keyweave.keyspace.keys import Keyspace, Partition, split
from keyweave.model.entity import Entity, Index, Package, View


class KeyKind(enum.Enum):
    """What a key is for."""

    DOCUMENT = "document"
    VIEW = "view"
    CLAIMS = "claims"
    EXPIRY = "expiry"
    CLOCK = "clock"
    SCHEMA = "schema"
    MARK = "mark"
    """A lock, or the marker of an applied plan. It expires by its TTL."""
    LEDGER = "ledger"
    """The answers of one client's latest plans. It expires by its TTL."""
    HOMES = "homes"
    """The homes of keys or unique values, where a group has several partitions."""
    ASIDE = "aside"
    """Set aside by a repair, for an operator to inspect."""
    OTHER = "other"
    """Belongs to an index that this schema lacks and another version of the code keeps."""
    FOREIGN = "foreign"
    """Keyweave never creates such a key with this schema."""


INDEXES: Final = frozenset({KeyKind.VIEW, KeyKind.CLAIMS, KeyKind.EXPIRY})
"""The kinds of key that hold entries."""

_SPECIAL: Final = {
    "@clock": KeyKind.CLOCK,
    "@expiry": KeyKind.EXPIRY,
    "@schema": KeyKind.SCHEMA,
    "@changed": KeyKind.SCHEMA,
}
_MARKS: Final = {
    "@lock": KeyKind.MARK,
    "@ledger": KeyKind.LEDGER,
    "@done": KeyKind.MARK,
    "@aside": KeyKind.ASIDE,
}


class ParsedKey(NamedTuple):
    """A key, and what it is for.

    Attributes:
        key: the key on the server. Bytes that are not valid UTF-8 are represented by lone surrogates.
        what: what the key is for.
        partition: the partition of the key; None for a foreign key outside all partitions.
        entity: the entity of a document, view or claims.
        name: name of the view or unique constraint.
        rest: a document's id, or the joined values of a view.
    """

    key: str
    what: KeyKind
    partition: Partition | None = None
    entity: Entity[Any] | None = None
    name: str = ""
    rest: str = ""

    @property
    def label(self) -> str:
        """The key without tag, values and ids, for reports: `TaskState.by_status`."""
        if self.entity is not None:
            return f"{self.entity.name}.{self.name}" if self.name else self.entity.name
        if self.what is KeyKind.FOREIGN or self.partition is None:
            return "namespace"
        return self.key[len(self.partition.tag) :].partition(":")[0]


class Locator:
    """Parses the keys of a keyspace.

    Args:
        entities: names of the chosen entities; None for all. Keys of other entities are parsed as well.
        unbuilt: names of indexes (`TaskState.by_status`) that are not built yet, so they are not chosen.
        others: prefixes of the keys of indexes that other versions of the code keep.
    """

    __slots__ = ("_chosen", "_entities", "_indexes", "_others", "_partitions", "_spread", "_unbuilt")

    def __init__(
        self,
        package: Package,
        keyspace: Keyspace,
        entities: Collection[str] | None = None,
        *,
        unbuilt: Collection[str] = (),
        others: Collection[str] = (),
    ) -> None:
        self._partitions: Final = {
            partition.tag[:-2]: partition for partition in (*keyspace.partitions(), *keyspace.filling())
        }
        self._spread: Final = {group for group, number in keyspace.numbers.items() if number > 1}
        self._entities: Final = package.entities
        self._indexes: Final = package.indexes
        self._chosen: Final = frozenset(package.entities if entities is None else entities)
        self._unbuilt: Final = frozenset(unbuilt)
        self._others: Final = frozenset(others)

    @property
    def limited(self) -> bool:
        """Whether some entities are not chosen."""
        return len(self._chosen) < len(self._entities)

    def chooses(self, parsed: ParsedKey) -> bool:
        """Return whether a key belongs to a chosen entity; keys of no entity count when all entities are chosen.

        The set of deadlines always counts, because it holds rows of every entity.
        """
        if parsed.entity is not None:
            built = not self._unbuilt or parsed.label not in self._unbuilt
            return built and parsed.entity.name in self._chosen
        return parsed.what is KeyKind.EXPIRY or not self.limited

    def entity(self, partition: Partition, name: str) -> Entity[Any] | None:
        """Return the entity `name` if it belongs to the group of `partition`, else None."""
        entity = self._entities.get(name)
        return entity if entity is not None and entity.group == partition.group else None

    def wanted(self, entity: Entity[Any]) -> bool:
        """Return whether `entity` is chosen."""
        return entity.name in self._chosen

    def locate(self, key: str) -> ParsedKey:
        """Return what `key` is for."""
        if not _is_text(key):
            return ParsedKey(key, KeyKind.FOREIGN)
        tag, _, rest = key.partition("}:")
        partition = self._partitions.get(tag)
        if partition is None:
            return ParsedKey(key, KeyKind.FOREIGN)
        head, colon, tail = rest.partition(":")
        entity = self.entity(partition, head)
        if entity is not None and colon:  # a key of the type string may be empty
            return ParsedKey(key, KeyKind.DOCUMENT, partition, entity, rest=tail)
        index = self._indexes.get(head)
        if index is not None and index.entity.group == partition.group:
            return _index(key, partition, index, colon, tail)
        if head in self._others:
            return ParsedKey(key, KeyKind.OTHER, partition)
        if head in ("@homes", "@fence") and colon:
            return self._of_home(key, partition, head, tail)
        what = _MARKS.get(head) if colon else _SPECIAL.get(head)
        entity = self.entity(partition, head.partition(".")[0])
        return ParsedKey(key, what or KeyKind.FOREIGN, partition, entity)

    def _of_home(self, key: str, partition: Partition, head: str, tail: str) -> ParsedKey:
        """Return what a key of homes or a fence is for; where the group has one partition, there are none."""
        thing = tail if head == "@homes" else tail.partition(":")[0]
        name, dot, unique = thing.partition(".")
        entity = self.entity(partition, name)
        known = entity is not None and (not dot or unique in entity.uniques)
        if not known or partition.group not in self._spread:
            return ParsedKey(key, KeyKind.FOREIGN, partition)
        what = KeyKind.HOMES if head == "@homes" else KeyKind.MARK
        return ParsedKey(key, what, partition, entity, unique)


def _index(key: str, partition: Partition, index: Index, colon: str, tail: str) -> ParsedKey:
    entity, name = index.entity, index.of.name
    if isinstance(index.of, View):
        values = split(tail) if colon else ()
        if values is not None and len(values) == len(index.of.selecting):
            return ParsedKey(key, KeyKind.VIEW, partition, entity, name, tail)
    elif not colon:
        return ParsedKey(key, KeyKind.CLAIMS, partition, entity, name)
    return ParsedKey(key, KeyKind.FOREIGN, partition, entity)


def text(raw: bytes) -> str:
    """Decode a key or member. Bytes that are not valid UTF-8 become lone surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def word(name: str) -> str | bytes:
    """Return the result of `text` as a word of a command; the inverse of `text`."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape")


def _is_text(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
