"""The module of the filters of `where`: for each entity the fields by which its rows can be filtered, with their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyweave_generator.model import Entity, Field, Schema, TypeKind, TypeRef

from .annotations import IMPORTED_NAMES, annotation
from .identifiers import filter_name
from .imports import Imports

_WORDS: Final = {
    "string": "Text",
    "id": "Text",
    "int": "Ordered",
    "float": "Ordered",
    "decimal": "Ordered",
    "datetime": "Ordered",
    "date": "Ordered",
    "time": "Ordered",
    "duration": "Ordered",
    "bool": "Choice",
    "bytes": "Choice",
    "uuid": "Choice",
}
"""The scalar types by which rows can be filtered, with what a filter may be, as `keyweave.query` names it."""


@dataclass(frozen=True, slots=True)
class FilterClass:
    """The TypedDict of the fields by which rows of an entity can be filtered."""

    name: str
    doc: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FiltersModule:
    """The module of the filters of `where`."""

    imports: Imports
    filters: tuple[FilterClass, ...]


def filters_module(schema: Schema) -> FiltersModule:
    """The view model for a schema."""
    imports = Imports(
        classes=".models",
        taken=frozenset(field.name for entity in schema.entities for field in filter_fields(entity)),
        reserved=frozenset(
            {
                *("Elements", "IsNot", "TypedDict"),
                *IMPORTED_NAMES,
                *_WORDS.values(),
                *map(filter_name, schema.entities),
            }
        ),
    )
    imports.use("typing", "TypedDict")
    return FiltersModule(imports, tuple(_filter(entity, imports) for entity in schema.entities))


def filter_fields(entity: Entity) -> list[Field]:
    """Fields by which rows of an entity can be filtered."""
    return [field for field in entity.fields if not field.secret and _filterable(field.type)]


def _filterable(type_: TypeRef) -> bool:
    if type_.kind in (TypeKind.LIST, TypeKind.SET) and type_.of is not None:
        return type_.of.of is None and _filterable(type_.of)
    return type_.kind is TypeKind.ENUM or (type_.kind is TypeKind.SCALAR and type_.name in _WORDS)


def _filter(entity: Entity, imports: Imports) -> FilterClass:
    return FilterClass(
        filter_name(entity),
        f"Fields by which rows of {entity.name} can be filtered, combined with AND.",
        tuple(f"{field.name}: {_filter_type(field, imports)}" for field in filter_fields(entity)),
    )


def _filter_type(field: Field, imports: Imports) -> str:
    """The type of a filter: a value or a predicate; None asks for rows in which an optional field is null."""
    type_, nullable = field.type, field.optional
    if type_.of is not None:
        text = f'{imports.runtime("Elements")}[{annotation(type_.of, imports)}]'
    else:
        word = "Choice" if type_.kind is TypeKind.ENUM else _WORDS[type_.name]
        text = imports.runtime(word)
        if word != "Text":
            whole = f" | {imports.builtin('int')}" if type_.name == "decimal" else ""
            text = f"{text}[{annotation(type_, imports)}{whole}]"
    return f'{text} | {imports.runtime("IsNot")}[None] | None' if nullable else text
