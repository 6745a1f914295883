"""The resolved schema: frozen values, every name looked up, every default filled in.

Nothing here reads a file, formats Python or knows a template. `resolve` makes these values,
`modules` turns them into strings for templates, and `changes` compares them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Literal, get_args

from .names import member_name, plural, snake_case

Scalar = Literal[
    "string",
    "id",
    "int",
    "float",
    "decimal",
    "bool",
    "datetime",
    "date",
    "time",
    "duration",
    "uuid",
    "bytes",
    "json",
]
"""Built-in field types. `id` is a string of at least one character."""

SCALARS: tuple[str, ...] = get_args(Scalar)


class TypeKind(enum.Enum):
    """The kinds of types that a field can have."""

    SCALAR = "scalar"
    ENUM = "enum"
    RECORD = "record"
    LIST = "list"
    SET = "set"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class TypeRef:
    """A field's type. `name` is a scalar's, enum's or record's name; `of` the type of a list's, set's or map's elements."""

    kind: TypeKind
    name: str
    of: TypeRef | None = None


class Managed(enum.Enum):
    """Which managed value of the document head a field shows."""

    CREATED = "created"
    UPDATED = "updated"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value is in its YAML file. `line` and `column` count from 1; `line` is 0 for the file as a whole."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an entity or record type. Bounds are inclusive; lengths count characters, bytes or elements.

    `auto` is the kind of id that a record makes for this field. `digits` and `places` are of a decimal: the most digits in all, and behind the point.
    """

    name: str
    type: TypeRef
    optional: bool = False
    has_default: bool = False
    default: object = None
    secret: bool = False
    min: int | float | Decimal | None = None
    max: int | float | Decimal | None = None
    digits: int | None = None
    places: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    trim: bool = False
    when_zero: Expression | None = None
    managed: Managed | None = None
    renamed_from: str | None = None
    auto: str | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Enum:
    """A closed set of wire strings. `sets` names subsets, such as the terminal statuses.

    `names` holds the name of each value in Python; it is None when the names come from the values.
    """

    name: str
    values: tuple[str, ...]
    sets: Mapping[str, tuple[str, ...]]
    doc: str = ""
    reserved: tuple[str, ...] = ()
    names: Mapping[str, str] | None = None

    def member(self, value: str) -> str:
        """The name of a value in Python."""
        return member_name(value) if self.names is None else self.names[value]

    def place(self, value: str) -> str | int:
        """The key or index under which the schema writes a value."""
        return self.values.index(value) if self.names is None else self.names[value]


@dataclass(frozen=True, slots=True)
class RecordType:
    """A nested record: a value inside documents, without a key."""

    name: str
    fields: tuple[Field, ...]
    doc: str = ""
    reserved: tuple[str, ...] = ()


class OrderBy(enum.Enum):
    """The source of a view's score."""

    CREATED = "created"
    REVISION = "revision"
    FIELD = "field"


@dataclass(frozen=True, slots=True)
class View:
    """A sorted index. `order_field` is set when `order` is FIELD. A later generation has keys of its own.

    With `each`, a row has an entry for each element of that list or set. With `where`, only rows for which it holds have
    entries. `by_text` is true if the order is that of a string, and `ascending` if the lowest value comes first; else None.
    """

    name: str
    fields: tuple[str, ...]
    order: OrderBy
    order_field: str | None
    why: str
    generation: int = 1
    each: str | None = None
    where: Expression | None = None
    by_text: bool | None = None
    ascending: bool | None = None

    @property
    def stored(self) -> str:
        """The name of the index in keys."""
        return self.name if self.generation == 1 else f"{self.name}.{self.generation}"


@dataclass(frozen=True, slots=True)
class Unique:
    """A unique constraint over one or more fields; a row in which one of them is null makes no claim.

    With `where`, only rows for which it holds make one.

    A later generation has keys of its own.
    """

    name: str
    fields: tuple[str, ...]
    normalize: tuple[str, ...]
    error: str
    doc: str = ""
    generation: int = 1
    where: Expression | None = None

    @property
    def stored(self) -> str:
        """The name of the index in keys."""
        return self.name if self.generation == 1 else f"{self.name}.{self.generation}"


class OnDelete(enum.Enum):
    """What deleting a row does to the rows that refer to it."""

    CASCADE = "cascade"
    RESTRICT = "restrict"


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: `field` holds the key of a row of `entity`; `via` is the view that finds the referrers."""

    field: str
    entity: str
    on_delete: OnDelete
    via: str


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A tree within an entity: `parent` refers to the entity itself, `via` finds a row's children."""

    parent: str
    via: str


@dataclass(frozen=True, slots=True)
class SimpleTerm:
    """A comparison of a field with constants. `operator` is a word of the language or `is null`; `values` are Python."""

    field: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """A safe expression: its source text, and its meaning as Python over a record called `record`.

    `python` uses only attribute access on `record`, literals, comparisons, boolean and arithmetic
    operators, `len`, membership tests, and the names in `imports` (module, name); it was compiled from a checked syntax
    tree, never copied. `terms` are its simple terms if it is nothing but a list of these, all of which must hold; `sets` are
    the sets of enums that it names.
    """

    source: str
    python: str
    fields: tuple[str, ...]
    imports: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    terms: tuple[SimpleTerm, ...] | None = field(default=None, compare=False)
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    @property
    def meaning(self) -> str:
        """The text with single spaces, and the members of the sets that it names."""
        members = [f"; {name}: {', '.join(values)}" for name, values in self.sets.items()]
        return " ".join(self.source.split()) + "".join(members)


@dataclass(frozen=True, slots=True)
class Check:
    """A named rule that every stored row satisfies."""

    name: str
    rule: Expression
    doc: str = ""


class MergeRule(enum.Enum):
    """How one field of two list elements with the same key becomes one value."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    UNION = "union"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Merge:
    """A keyed merge of the list of records in `field`. `normalize` applies to key fields when comparing.

    `rules` covers every field of the record that is not part of the key.
    """

    field: str
    record: str
    key: str | tuple[str, ...]
    normalize: Mapping[str, tuple[str, ...]]
    rules: Mapping[str, MergeRule]


@dataclass(frozen=True, slots=True)
class Retention:
    """Rows expire `after` this time from the moment at which `when` became true, or at the moment in the field `at`.

    Without `when`, every row expires. With `sliding`, every write renews the deadline. `recommended` is (least, most) or None.
    """

    when: Expression | None
    after: timedelta | None
    recommended: tuple[timedelta, timedelta] | None
    at: str | None = None
    sliding: bool | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity: one document per row, and everything derived from it. `key` is a field, or the fields of a composite key."""

    name: str
    group: str
    key: str | tuple[str, ...]
    partition_by: str
    fields: tuple[Field, ...]
    uniques: tuple[Unique, ...] = ()
    views: tuple[View, ...] = ()
    references: tuple[Reference, ...] = ()
    hierarchy: Hierarchy | None = None
    checks: tuple[Check, ...] = ()
    merges: tuple[Merge, ...] = ()
    retention: Retention | None = None
    reserved: tuple[str, ...] = ()
    not_found_error: str = ""
    exists_error: str | None = None
    plural: str = ""
    doc: str = ""
    position: Position | None = field(default=None, compare=False)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of the key fields, in their order."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def key_parts(self) -> tuple[Field, ...]:
        """The key fields, in their order."""
        fields = {field.name: field for field in self.fields}
        return tuple(fields[name] for name in self.key_names)

    @property
    def referring_numbers(self) -> frozenset[str]:
        """The int fields that hold keys of other rows."""
        fields = {field.name: field for field in self.fields}
        return frozenset(each.field for each in self.references if fields[each.field].type.name == "int")

    @property
    def many(self) -> str:
        """The name of several rows: the schema's plural, or the English one."""
        return self.plural or plural(snake_case(self.name))


def referrer_words(entity: Entity, reference: Reference) -> str:
    """The end of the names of the methods that read rows together with the rows that refer to them by such a reference.

    It names the field if the entity has several references to the same entity.
    """
    several = sum(each.entity == reference.entity for each in entity.references) > 1
    suffix = f"_by_{reference.field}" if several else ""
    return f"with_{entity.many}{suffix}"


@dataclass(frozen=True, slots=True)
class Group:
    """Entities that change atomically together."""

    name: str
    partitions: int
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Namespace:
    """The parts of every key's prefix. `environment` and `tenant` are defaults that opening a store can replace."""

    app: str
    version: str
    environment: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """Findings of a review of changes that are accepted: those of `rule`, narrowed to an entity and a part of it."""

    rule: str
    entity: str | None
    field: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Schema:
    """A whole package, in dependency order: enums, records, then entities sorted by name.

    Attributes that take no part in comparison do not affect code or data.
    """

    package: str
    namespace: Namespace
    groups: tuple[Group, ...]
    enums: tuple[Enum, ...]
    records: tuple[RecordType, ...]
    entities: tuple[Entity, ...]
    doc: str = ""
    ignores: tuple[Ignore, ...] = field(default=(), compare=False)
