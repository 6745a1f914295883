"""Descriptors: what the runtime knows about an entity. The generator writes one per entity.

A descriptor holds only names and plain functions, so flows need no reflection and generated code makes no
decisions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import force_setattr

from keyweave.errors import (
    AlreadyExistsError,
    CorruptDocumentError,
    NotFoundError,
    UniqueViolationError,
    ValidationError,
)
from keyweave.model.entry import REVISION, Entry
from keyweave.model.identity import id_text
from keyweave.model.member import split_member
from keyweave.model.merge import Merge
from keyweave.model.moment import from_micros
from keyweave.model.places import Places
from keyweave.model.record import Record
from keyweave.model.row_keys import RowKeys

R = TypeVar("R", bound=Record)


class Condition(msgspec.Struct, frozen=True):
    """A comparison of a field with constants, one of those that must hold for a row to be in a partial index.

    Attributes:
        field: name of the field.
        operator: `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`, `is null` or `is not null`. All but `is null` are false for
            null.
        values: the constants; enum members as their values.
    """

    field: str
    operator: str
    values: tuple[Any, ...] = ()


class View(msgspec.Struct, frozen=True):
    """A sorted index.

    Attributes:
        name: unique among the entity's views and unique constraints.
        fields: the fields whose values select one sorted set; empty for a view of all rows.
        order: `created`, `revision`, or the name of the field that is the score.
        groups: key text of every value that the last field can have, when these are known (enums, booleans).
        generation: number of the view's definition. Each generation has its own keys.
        each: the list or set field that gives a row an entry for each element, whose key text comes last; empty for none.
        where: the condition for a row to be in the view, as the schema writes it; empty for all rows.
        conditions: the condition as comparisons that all must hold; None if it is anything else.
        by_text: whether the order is that of a string, so that members hold the value (see `keyweave.model.member`).
        descending: whether the highest value comes first, unless a caller asks for the reverse.
        selecting: the fields whose values, or elements, select one sorted set, in the order of its key; follows from the
            others.
    """

    name: str
    fields: tuple[str, ...]
    order: str
    groups: tuple[str, ...] = ()
    generation: int = 1
    each: str = ""
    where: str = ""
    conditions: tuple[Condition, ...] | None = None
    by_text: bool = False
    descending: bool = True
    selecting: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "selecting", (*self.fields, self.each) if self.each else self.fields)

    @property
    def whole(self) -> bool:
        """Whether every row with values of the fields has exactly one entry."""
        return not self.each and not self.where

    def has_all(self, order: str) -> bool:
        """Whether every row with values of the fields that has a place in an order has exactly one entry."""
        return self.whole or (not self.each and self.order == order and self.where == f"{order} is not null")

    @property
    def definition(self) -> str:
        """The content of the entries; two definitions cannot share keys."""
        each = f" each {self.each}" if self.each else ""
        order = f"{self.order} as text" if self.by_text else self.order
        return f"{'+'.join(self.fields)}{each} by {order}{f' where {self.where}' if self.where else ''}"

    def key_in(self, member: str) -> str:
        """Return the key of the row that a member of this view names."""
        return split_member(member)[1] if self.by_text else member


class Unique(msgspec.Struct, frozen=True):
    """A unique constraint.

    Attributes:
        name: unique among the entity's views and unique constraints.
        fields: the fields that it covers.
        error: the error that a violation raises.
        normalize: the steps applied to strings before they are compared.
        generation: number of the constraint's definition. Each generation has its own keys.
        where: the condition for a row to make a claim, as the schema writes it; empty for all rows.
        conditions: the condition as comparisons that all must hold; None if it is anything else.
    """

    name: str
    fields: tuple[str, ...]
    error: type[UniqueViolationError] = UniqueViolationError
    normalize: tuple[str, ...] = ()
    generation: int = 1
    where: str = ""
    conditions: tuple[Condition, ...] | None = None

    @property
    def definition(self) -> str:
        """The content of the claims; two definitions cannot share keys."""
        steps = "".join(f" {step}" for step in sorted(self.normalize))
        return f"unique {'+'.join(self.fields)}{steps}{f' where {self.where}' if self.where else ''}"


class Reference(msgspec.Struct, frozen=True):
    """A foreign key of this entity.

    Attributes:
        field: the referring field.
        target: name of the entity whose key it holds.
        cascade: whether deleting the target deletes the referring rows; if not, the delete is refused.
        via: view of this entity that finds the rows that refer to one target.
    """

    field: str
    target: str
    cascade: bool
    via: str

    def key_in(self, record: Any) -> str | None:
        """Return the id of the row that a record refers to, or None if it refers to none."""
        value = getattr(record, self.field)
        return value if value is None or isinstance(value, str) else id_text(value)


class Retention(msgspec.Struct, frozen=True):
    """When rows expire.

    Attributes:
        applies: returns whether a record has a deadline. What a schema compares may be constant by its types, which a type
            checker would report.
        after: microseconds from the write that first makes `applies` true to the deadline; 0 with `at`.
        recommended: smallest and largest recommended `after` in microseconds, or None.
        at: name of the datetime field that holds the deadline; empty when `after` decides it.
        sliding: whether every write gives the row the whole of `after` again.
    """

    applies: Callable[[Any], bool]
    after: int = 0
    recommended: tuple[int, int] | None = None
    at: str = ""
    sliding: bool = False


class Entity(RowKeys, msgspec.Struct, Generic[R], frozen=True):
    """The descriptor of an entity, as flows use it.

    Attributes:
        name: as in the schema; part of every key.
        group: the group whose partitions hold its rows.
        record: the generated class.
        key: name of the key field; empty for a composite key.
        key_kind: kind of its values: `str`, `int` or `UUID` (see `keyweave.model.keytext`); `tuple` for a composite key.
        parts: the fields of a composite key in their order, with the types of their values; empty for a key of one field.
        key_fields: the names of the key fields; follows from the others, like the last three.
        partition_by: name of the field that selects the partition.
        known: every member of a document that this schema defines, including the members of the head.
        json: names of fields that hold JSON, which must be read back exactly as it was written.
        nested: names of fields that hold record types, whose own unknown members must be kept.
        merges: by the name of the list field.
        entries: the generated `index_entries`: from a record, every index entry that it implies; given also another state of the
            row, those in which the two may differ.
        places: the generated `index_places`: the same by key, from what the keys of the views begin with.
        check: raises `CheckViolationError`.
        normalize: trims and derives values in place and returns whether it changed anything; None when the entity
            needs no normalization.
        normalize_key: brings a key that a caller gives into the form in which rows have it; None where that is the same.
        created: name of the field that shows when the row was created, or None.
        updated: name of the field that shows when the row was last written, or None.
        normalized: names of the fields that `normalize` may change.
        renamed: old and new name of each field that documents may still hold under its old name.
        enums: names of the fields that hold a member of an enum, not in a list or map.
        filters: the fields that rows can be filtered by, with the kind of their values (see `keyweave.model.keytext`);
            `list[kind]` for lists.
        nullable: the names in `filters` of fields that may be null.
        trimmed: the names in `filters` of fields that are stored without white space at their ends.
        views: by name.
        uniques: by name.
        references: the foreign keys of this entity.
        retention: when rows expire, or None when they never do.
        not_found: the error for a row that does not exist.
        exists: the error for a key that is taken.
        managed: names of the fields that the store sets.
        by_revision: whether a view is ordered by the row's latest revision.
        referring: names of int fields that hold keys of other rows. Indexes contain the ids of these rows.
    """

    name: str
    group: str
    record: type[R]
    key: str
    partition_by: str
    known: frozenset[str]
    entries: Callable[..., list[Entry]]
    check: Callable[[R], None]
    places: Callable[..., Places]
    normalize: Callable[[R], bool] | None = None
    normalize_key: Callable[[Any], str] | None = None
    key_kind: str = "str"
    parts: Mapping[str, type] = msgspec.field(default_factory=dict)
    json: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    merges: Mapping[str, Merge[Any]] = msgspec.field(default_factory=dict)
    created: str | None = None
    updated: str | None = None
    normalized: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    enums: tuple[str, ...] = ()
    filters: Mapping[str, str] = msgspec.field(default_factory=dict)
    nullable: tuple[str, ...] = ()
    trimmed: tuple[str, ...] = ()
    views: Mapping[str, View] = msgspec.field(default_factory=dict)
    uniques: Mapping[str, Unique] = msgspec.field(default_factory=dict)
    references: tuple[Reference, ...] = ()
    retention: Retention | None = None
    not_found: type[NotFoundError] = NotFoundError
    exists: type[AlreadyExistsError] = AlreadyExistsError
    key_fields: tuple[str, ...] = ()
    managed: tuple[str, ...] = ()
    by_revision: bool = False
    referring: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        referring = {each.field for each in self.references if self.filters.get(each.field) == "int"}
        force_setattr(self, "key_fields", tuple(self.parts) or (self.key,))
        force_setattr(
            self, "managed", tuple(name for name in (self.created, self.updated) if name is not None)
        )
        force_setattr(self, "by_revision", any(view.order == REVISION for view in self.views.values()))
        force_setattr(self, "referring", frozenset(referring))

    def manage(self, record: R, created: int, revision: int) -> None:
        """Set the managed fields of a record from a document's head; both values in microseconds since 1970."""
        if self.created is not None:
            setattr(record, self.created, from_micros(created))
        if self.updated is not None:
            setattr(record, self.updated, from_micros(revision))

    def name_row(self, error: ValidationError | CorruptDocumentError, key: str) -> None:
        """Let an error about a row of this entity name the row. An empty key changes nothing."""
        text = str(error)
        if key and not error.key and text.startswith(self.name):
            error.key = self.shown(key)
            error.args = (self.row(key) + text[len(self.name) :], *error.args[1:])

    def missing(self, key: str) -> NotFoundError:
        """Return the error for a row that does not exist."""
        return self.not_found(f"{self.row(key)}: no such row", entity=self.name, key=self.shown(key))

    def taken(self, key: str) -> AlreadyExistsError:
        """Return the error for a key that is taken."""
        text = f"{self.row(key)}: a row with this key exists"
        return self.exists(text, entity=self.name, key=self.shown(key))

    def violated(self, unique: str, key: str) -> UniqueViolationError:
        """Return the error for a unique value that another row holds, when the row `key` is written."""
        constraint = self.uniques[unique]
        return constraint.error(
            f"{self.row(key)}: another row has the same {' and '.join(constraint.fields)}",
            entity=self.name,
            constraint=unique,
            fields=constraint.fields,
            key=self.shown(key),
        )


class Index(msgspec.Struct, frozen=True):
    """A view or a unique constraint of an entity.

    Attributes:
        entity: the entity that the index belongs to.
        of: the view or constraint.
    """

    entity: Entity[Any]
    of: View | Unique

    @property
    def name(self) -> str:
        """Entity and index name, as users write them: `TaskState.by_status`."""
        return f"{self.entity.name}.{self.of.name}"

    @property
    def stored(self) -> str:
        """The prefix of the index's keys: the name, followed by the generation when that is not 1."""
        return self.name if self.of.generation == 1 else f"{self.name}.{self.of.generation}"


class Referrer(msgspec.Struct, frozen=True):
    """An incoming reference: rows of `entity` whose `reference.field` holds the key of the target."""

    entity: Entity[Any]
    reference: Reference


def _indexes(entity: Entity[Any]) -> list[View | Unique]:
    return [*entity.views.values(), *entity.uniques.values()]


class Package:
    """Everything that was generated from one schema.

    Attributes:
        name: import name of the generated package.
        namespace: default namespace parts: app, version, environment, tenant.
        groups: number of partitions per group.
        entities: by name.
        scripts: Lua text by name, such as `apply` and `page`.
        fingerprint: digest of the schema.
        format: the format of the generated code; 0 for code that was generated before formats had numbers.
        indexes: every view and unique constraint, by the prefix of its keys.
        stored: the prefix of an index's keys, by index name, for indexes where the prefix is not the name.
        writer: digest of the indexes that code of this schema keeps; it identifies the schema in the store.
        referrers: the incoming references of each entity, by the entity's name.
    """

    __slots__ = (
        "entities",
        "fingerprint",
        "format",
        "groups",
        "indexes",
        "name",
        "namespace",
        "referrers",
        "scripts",
        "stored",
        "writer",
    )

    def __init__(
        self,
        *,
        name: str,
        namespace: tuple[str, str, str, str],
        groups: Mapping[str, int],
        entities: tuple[Entity[Any], ...],
        scripts: Mapping[str, str],
        fingerprint: str,
        format: int = 0,  # noqa: A002 - the name in generated code
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.groups = dict(groups)
        self.entities: dict[str, Entity[Any]] = {entity.name: entity for entity in entities}
        self.scripts = dict(scripts)
        self.fingerprint = fingerprint
        self.format = format
        found = [Index(entity, index) for entity in entities for index in _indexes(entity)]
        self.indexes: dict[str, Index] = {index.stored: index for index in found}
        self.stored: dict[str, str] = {
            index.name: index.stored for index in found if index.stored != index.name
        }
        kept = sorted(f"{index.stored} {index.of.definition}" for index in found)
        self.writer = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:12]
        self.referrers: dict[str, tuple[Referrer, ...]] = {
            target: tuple(
                Referrer(entity, reference)
                for entity in entities
                for reference in entity.references
                if reference.target == target
            )
            for target in self.entities
        }

    def referrer(self, target: str, entity: str, field: str) -> Referrer:
        """Return the incoming reference to `target` by `field` of `entity`."""
        return next(
            each
            for each in self.referrers[target]
            if (each.entity.name, each.reference.field) == (entity, field)
        )
