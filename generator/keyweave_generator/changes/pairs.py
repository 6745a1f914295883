"""The parts of two schemas, side by side. A rule gets one pair and needs nothing else.

Parts are matched by name, fields also by `renamed_from`. A part that is only in one of the schemas has no pair: the
pair of its owner shows it as added or removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from keyweave_generator.costs import Cost
from keyweave_generator.model import (
    Check,
    Entity,
    Enum,
    Expression,
    Field,
    Merge,
    RecordType,
    Reference,
    Retention,
    Schema,
    Unique,
    View,
)

from .finding import Change, Side, Spot


class Named(Protocol):
    """A part of a schema that has a name."""

    @property
    def name(self) -> str:
        """The name."""


N = TypeVar("N", bound=Named)


def added(old: Iterable[N], new: Iterable[N]) -> list[N]:
    """Those of `new` whose names are not in `old`."""
    known = {each.name for each in old}
    return [each for each in new if each.name not in known]


def kept(old: Iterable[N], new: Iterable[N]) -> list[tuple[N, N]]:
    """Those of `old` and `new` that have the same name."""
    known = {each.name: each for each in old}
    return [(known[each.name], each) for each in new if each.name in known]


@dataclass(frozen=True)
class SchemaPair:
    """Two packages."""

    old: Schema
    new: Schema

    def users(self, name: str) -> list[str]:
        """The fields of the new schema whose type is, or holds, the record or enum `name`: `Entity.field`."""
        owners: list[RecordType | Entity] = [*self.new.records, *self.new.entities]
        return [
            f"{owner.name}.{each.name}" for owner in owners for each in owner.fields if _holds(each, name)
        ]

    @cached_property
    def moved_sets(self) -> frozenset[str]:
        """The sets of enums whose members differ: `Enum.set`."""
        return frozenset(
            f"{new.name}.{name}"
            for old, new in kept(self.old.enums, self.new.enums)
            for name, values in new.sets.items()
            if name in old.sets and set(old.sets[name]) != set(values)
        )


def _holds(field: Field, name: str) -> bool:
    inner = field.type
    while inner.of is not None:
        inner = inner.of
    return inner.name == name


@dataclass(frozen=True)
class EnumPair:
    """Two states of an enum."""

    schema: SchemaPair
    old: Enum
    new: Enum

    def change(self, side: Side, path: Sequence[str | int], part: str, message: str) -> Change:
        """A change of a part of the enum; `path` starts at the enum."""
        spot = Spot(side, None, ("enums", self.new.name, *path))
        return Change(spot, f"{self.new.name}: {message}", self.new.name, part)


@dataclass(frozen=True)
class OwnerPair:
    """Two states of an entity or a record, both of which have fields."""

    schema: SchemaPair
    name: str
    file: str | None
    path: tuple[str, ...]
    old: Entity | RecordType
    new: Entity | RecordType

    @cached_property
    def renamed(self) -> Mapping[str, str]:
        """Old name -> new name of the fields that this change renames."""
        before = {each.name for each in self.old.fields}
        after = {each.name for each in self.new.fields}
        return {
            each.renamed_from: each.name
            for each in self.new.fields
            if each.renamed_from in before and each.renamed_from not in after and each.name not in before
        }

    def now_in(self, source: str) -> str:
        """An expression of the old fields with the fields' new names and single spaces."""
        words = re.sub(r"[A-Za-z_]\w*", lambda word: self.renamed.get(word[0], word[0]), source)
        return " ".join(words.split())

    def means_another(self, old: Expression, new: Expression) -> bool:
        """Whether an expression is evaluated in another way, though its text may be the same."""
        return self.now_in(old.python) != " ".join(new.python.split())

    @property
    def is_entity(self) -> bool:
        """Whether this is an entity, and not a record inside rows."""
        return isinstance(self.new, Entity)

    def change(self, side: Side, path: Sequence[str | int], part: str, message: str) -> Change:
        """A change of a part; `path` starts at the entity or record."""
        return Change(Spot(side, self.file, (*self.path, *path)), f"{self.name}: {message}", self.name, part)

    def field_pairs(self) -> list[FieldPair]:
        """The fields that are in both, renamed ones included."""
        before = {self.renamed.get(each.name, each.name): each for each in self.old.fields}
        return [FieldPair(self, before[each.name], each) for each in self.new.fields if each.name in before]


@dataclass(frozen=True)
class FieldPair:
    """Two states of a field."""

    owner: OwnerPair
    old: Field
    new: Field

    def change(self, key: str, message: str) -> Change:
        """A change of the value under `key` of the field."""
        where = f"{self.owner.name}.{self.new.name}: {message}"
        spot = Spot(Side.NEW, self.owner.file, (*self.owner.path, "fields", self.new.name, key))
        return Change(spot, where, self.owner.name, self.new.name)


@dataclass(frozen=True)
class EntityPair:
    """Two states of an entity."""

    schema: SchemaPair
    owner: OwnerPair
    old: Entity
    new: Entity

    def now(self, names: Iterable[str]) -> tuple[str, ...]:
        """What fields of the old entity are called in the new one."""
        return tuple(self.owner.renamed.get(name, name) for name in names)

    def moved_set(self, source: str) -> str | None:
        """The set of an enum that an expression uses and whose members differ."""
        return next(
            (name for name in sorted(self.schema.moved_sets) if re.search(rf"\b{name}\b", source)), None
        )

    def field_pair(self, name: str) -> FieldPair | None:
        """The two states of the field that is called `name` now."""
        return next((pair for pair in self.owner.field_pairs() if pair.new.name == name), None)

    def change(
        self,
        side: Side,
        path: Sequence[str | int],
        part: str,
        message: str,
        *,
        cost: Cost | None = None,
    ) -> Change:
        """A change of a part; `path` starts at the entity's file."""
        name = self.new.name
        return Change(Spot(side, name, tuple(path)), f"{name}: {message}", name, part, cost)


@dataclass(frozen=True)
class ViewPair:
    """Two states of a view."""

    entity: EntityPair
    old: View
    new: View


@dataclass(frozen=True)
class UniquePair:
    """Two states of a unique constraint."""

    entity: EntityPair
    old: Unique
    new: Unique


@dataclass(frozen=True)
class ReferencePair:
    """Two states of a reference."""

    entity: EntityPair
    old: Reference
    new: Reference


@dataclass(frozen=True)
class CheckPair:
    """Two states of a check."""

    entity: EntityPair
    old: Check
    new: Check


@dataclass(frozen=True)
class MergePair:
    """Two states of a merge."""

    entity: EntityPair
    old: Merge
    new: Merge


@dataclass(frozen=True)
class RetentionPair:
    """Two states of a retention."""

    entity: EntityPair
    old: Retention
    new: Retention


Pair = (
    SchemaPair
    | EnumPair
    | OwnerPair
    | FieldPair
    | EntityPair
    | ViewPair
    | UniquePair
    | ReferencePair
    | CheckPair
    | MergePair
    | RetentionPair
)


def pairs_of(old: Schema, new: Schema) -> Iterator[Pair]:
    """Everything that is in both schemas."""
    both = SchemaPair(old, new)
    yield both
    for before, after in kept(old.enums, new.enums):
        yield EnumPair(both, before, after)
    for record, changed in kept(old.records, new.records):
        owner = OwnerPair(both, record.name, None, ("records", record.name), record, changed)
        yield owner
        yield from owner.field_pairs()
    for entity, other in kept(old.entities, new.entities):
        yield from _entity_pairs(both, entity, other)


def _entity_pairs(both: SchemaPair, old: Entity, new: Entity) -> Iterator[Pair]:
    owner = OwnerPair(both, new.name, new.name, (), old, new)
    pair = EntityPair(both, owner, old, new)
    yield owner
    yield pair
    yield from owner.field_pairs()
    yield from (ViewPair(pair, *views) for views in kept(old.views, new.views))
    yield from (UniquePair(pair, *uniques) for uniques in kept(old.uniques, new.uniques))
    yield from (CheckPair(pair, *checks) for checks in kept(old.checks, new.checks))
    references = {owner.renamed.get(each.field, each.field): each for each in old.references}
    yield from (
        ReferencePair(pair, references[each.field], each)
        for each in new.references
        if each.field in references
    )
    merges = {owner.renamed.get(each.field, each.field): each for each in old.merges}
    yield from (MergePair(pair, merges[each.field], each) for each in new.merges if each.field in merges)
    if old.retention is not None and new.retention is not None:
        yield RetentionPair(pair, old.retention, new.retention)
