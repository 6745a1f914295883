"""The module of the filters of a search for the rows that refer to a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyweave_generator.model import Entity, Field, Schema, TypeKind

from .annotations import annotation
from .identifiers import filter_name
from .imports import Imports

_FILTERABLE: Final = {"string", "id", "int", "decimal", "bool", "date", "time", "uuid"}
"""Scalar types by which rows can be searched."""


@dataclass(frozen=True, slots=True)
class FilterClass:
    """The TypedDict of the fields by which rows of an entity can be searched."""

    name: str
    doc: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FiltersModule:
    """The module of the filters of a search for the rows that refer to a row."""

    imports: Imports
    filters: tuple[FilterClass, ...]


def filters_module(schema: Schema) -> FiltersModule | None:
    """The view model for a schema; None when no entity refers to another one."""
    referring = [entity for entity in schema.entities if entity.references]
    imports = Imports(
        classes=".models",
        taken=frozenset(field.name for entity in referring for field in filter_fields(entity)),
        reserved=frozenset({"Decimal", "TypedDict", "UUID", *map(filter_name, referring)}),
    )
    imports.use("typing", "TypedDict")
    filters = tuple(_filter(entity, imports) for entity in referring)
    return FiltersModule(imports, filters) if filters else None


def filter_fields(entity: Entity) -> list[Field]:
    """Fields by which rows of an entity can be searched."""
    return [
        field
        for field in entity.fields
        if not field.secret
        and (
            field.type.kind is TypeKind.ENUM
            or (field.type.kind is TypeKind.SCALAR and field.type.name in _FILTERABLE)
        )
    ]


def filter_type(field: Field, imports: Imports) -> str:
    """The type of a filter's value: None asks for rows in which an optional field is null."""
    return annotation(field.type, imports) + (" | None" if field.optional else "")


def _filter(entity: Entity, imports: Imports) -> FilterClass:
    return FilterClass(
        filter_name(entity),
        f"Fields by which a search can select rows of {entity.name}, combined with AND.",
        tuple(f"{field.name}: {filter_type(field, imports)}" for field in filter_fields(entity)),
    )
