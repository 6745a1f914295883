"""The module of enums, nested records and rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyweave_generator.constant import Constant, origin, python
from keyweave_generator.literal import literal, scalar, tuple_of
from keyweave_generator.model import Enum, Field, Schema, TypeKind, TypeRef
from keyweave_generator.names import ROW_NAMES

from .annotations import bounded
from .identifiers import normalizer_name
from .imports import Imports
from .normalizers import normalizing_steps
from .text import sentence


@dataclass(frozen=True, slots=True)
class SetProperty:
    """The property of an enum that returns whether a member is in a set."""

    name: str
    members: str
    doc: str


@dataclass(frozen=True, slots=True)
class EnumClass:
    """A StrEnum. `parent` is the name of that class; `members` are pairs of name and wire value."""

    name: str
    parent: str
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

    @property
    def ignored(self) -> str:
        """A comment for type checkers where the field hides a method of every record."""
        return "  # type: ignore[assignment]" if self.name in ROW_NAMES else ""


@dataclass(frozen=True, slots=True)
class RecordClass:
    """A Struct, and the function that normalizes it.

    `secrets` declares the secret fields; it is empty when there is none. `normalizer` is empty when there is nothing to
    normalize.
    """

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
    imports = Imports(taken=_names(schema))
    records = [(each.name, each.doc, each.fields, "Value") for each in schema.records]
    rows = [(each.name, each.doc, each.fields, "Record") for each in schema.entities]
    return ModelsModule(
        imports,
        tuple(_enum(enum, imports) for enum in schema.enums),
        tuple(_class(*each, schema, imports) for each in [*records, *rows]),
    )


def _names(schema: Schema) -> frozenset[str]:
    """The names of all classes and fields of the module."""
    names = {enum.name for enum in schema.enums}
    for record in schema.records:
        names |= {record.name, *(field.name for field in record.fields)}
    for entity in schema.entities:
        names |= {entity.name, *(field.name for field in entity.fields)}
    return frozenset(names)


def _enum(enum: Enum, imports: Imports) -> EnumClass:
    return EnumClass(
        enum.name,
        imports.use("enum", "StrEnum"),
        sentence(enum.doc or enum.name),
        tuple((enum.member(value), literal(value)) for value in enum.values),
        tuple(
            SetProperty(
                name,
                tuple_of(f"{enum.name}.{enum.member(value)}" for value in values),
                sentence(f"One of {', '.join(values)}."),
            )
            for name, values in enum.sets.items()
        ),
    )


def _class(
    name: str, doc: str, fields: Iterable[Field], parent: str, schema: Schema, imports: Imports
) -> RecordClass:
    fields = tuple(fields)
    secrets = ", ".join(literal(field.name) for field in fields if field.secret)
    if secrets:
        of_names = imports.builtin("frozenset")
        secrets = f"{imports.use('typing', 'ClassVar')}[{of_names}[{imports.builtin('str')}]] = {of_names}({{{secrets}}})"
    steps = normalizing_steps(fields, schema, imports)
    return RecordClass(
        name,
        imports.runtime(parent),
        sentence(doc or name),
        tuple(_field(field, schema, imports) for field in fields),
        secrets,
        normalizer_name(name) if steps else "",
        steps,
    )


def _field(field: Field, schema: Schema, imports: Imports) -> FieldLine:
    if field.managed is not None:
        moment, unset = imports.runtime("ManagedMoment"), imports.runtime("NOT_WRITTEN")
        return FieldLine(field.name, moment, f" = {unset}", "Set by the store; None before the first write.")
    annotation = bounded(field, imports)
    default = ""
    if field.optional:
        annotation, default = f"{annotation} | None", " = None"
    elif field.has_default:
        default = f" = {_default(field.type, field.default, schema, imports)}"
    elif field.auto is not None:
        default = f" = {imports.module('msgspec')}.field(default_factory={_maker(field, imports)})"
    return FieldLine(field.name, annotation, default, sentence(field.doc))


def _maker(field: Field, imports: Imports) -> str:
    """The function that makes a record's own id."""
    text = field.type.name != "uuid" and field.auto != "ksuid"
    return imports.runtime(f"{field.auto}_text" if text else field.auto or "")


def _default(type_: TypeRef, value: object, schema: Schema, imports: Imports) -> str:
    """The default of a field; each record gets its own list, set or dict."""
    if isinstance(value, list | dict):
        return f"{imports.builtin('set')}()" if type_.kind is TypeKind.SET else str(type(value)())
    if type_.kind is TypeKind.ENUM:
        enum = next(each for each in schema.enums if each.name == type_.name)
        return f"{enum.name}.{enum.member(str(value))}"
    if isinstance(value, Constant):
        return python(value, imports.use(*origin(value)))
    return scalar(value)
