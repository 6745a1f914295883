"""The module of enums, nested records and rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from keyweave_generator.model import Enum, Field, Schema, TypeKind, TypeRef
from keyweave_generator.names import member_name

from .annotations import bounded
from .identifiers import normalizer_name
from .imports import Imports
from .normalizers import normalizing_steps
from .text import micros, sentence


@dataclass(frozen=True, slots=True)
class SetProperty:
    """The property of an enum that returns whether a member is in a set."""

    name: str
    members: str
    doc: str


@dataclass(frozen=True, slots=True)
class EnumClass:
    """A StrEnum. `members` are pairs of name and wire value."""

    name: str
    doc: str
    members: tuple[tuple[str, str], ...]
    sets: tuple[SetProperty, ...]


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One line of a class body."""

    name: str
    annotation: str
    default: str
    doc: str


@dataclass(frozen=True, slots=True)
class RecordClass:
    """A Struct, and the function that normalizes it; `normalizer` is empty when there is nothing to normalize."""

    name: str
    parent: str
    doc: str
    fields: tuple[FieldLine, ...]
    secrets: str
    normalizer: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelsModule:
    """The module of enums, nested records and rows."""

    imports: Imports
    enums: tuple[EnumClass, ...]
    classes: tuple[RecordClass, ...]

    @property
    def exported(self) -> list[str]:
        """Names of all enums and classes."""
        return [*(enum.name for enum in self.enums), *(each.name for each in self.classes)]


def models_module(schema: Schema) -> ModelsModule:
    """The view model for a schema; nested records come before the rows that hold them."""
    imports = Imports()
    records = [(each.name, each.doc, each.fields, "Value") for each in schema.records]
    rows = [(each.name, each.doc, each.fields, "Record") for each in schema.entities]
    return ModelsModule(
        imports,
        tuple(_enum(enum, imports) for enum in schema.enums),
        tuple(_class(*each, schema, imports) for each in [*records, *rows]),
    )


def _enum(enum: Enum, imports: Imports) -> EnumClass:
    imports.use("enum", "StrEnum")
    return EnumClass(
        enum.name,
        sentence(enum.doc or enum.name),
        tuple((member_name(value), repr(value)) for value in enum.values),
        tuple(
            SetProperty(
                name,
                "".join(f"{enum.name}.{member_name(value)}, " for value in values),
                sentence(f"One of {', '.join(values)}."),
            )
            for name, values in enum.sets.items()
        ),
    )


def _class(
    name: str, doc: str, fields: Iterable[Field], parent: str, schema: Schema, imports: Imports
) -> RecordClass:
    fields = tuple(fields)
    secrets = ", ".join(repr(field.name) for field in fields if field.secret)
    if secrets:
        imports.use("typing", "ClassVar")
    steps = normalizing_steps(fields, schema, imports)
    return RecordClass(
        name,
        imports.runtime(parent),
        sentence(doc or name),
        tuple(_field(field, imports) for field in fields),
        f"frozenset({{{secrets}}})" if secrets else "",
        normalizer_name(name) if steps else "",
        steps,
    )


def _field(field: Field, imports: Imports) -> FieldLine:
    if field.managed is not None:
        moment = imports.use("datetime", "datetime")
        return FieldLine(field.name, f"{moment} | None", " = None", "Set by the store.")
    annotation = bounded(field, imports)
    default = ""
    if field.optional:
        annotation, default = f"{annotation} | None", " = None"
    elif field.has_default:
        default = f" = {_default(field.type, field.default, imports)}"
    return FieldLine(field.name, annotation, default, sentence(field.doc))


def _default(type_: TypeRef, value: object, imports: Imports) -> str:
    """The default of a field; each record gets its own list or dict."""
    if isinstance(value, list | dict):
        factory = f"lambda: {value!r}" if value else type(value).__name__
        return f"{imports.module('msgspec')}.field(default_factory={factory})"
    if type_.kind is TypeKind.ENUM:
        return f"{type_.name}.{member_name(str(value))}"
    if isinstance(value, timedelta):
        return f"{imports.use('datetime', 'timedelta')}(microseconds={micros(value)})"
    return repr(value)
