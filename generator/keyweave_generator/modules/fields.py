"""The module of the fields that `update` can set."""

from __future__ import annotations

from dataclasses import dataclass

from keyweave_generator.model import Entity, Field, Schema

from .annotations import IMPORTED_NAMES, annotation
from .identifiers import fields_name
from .imports import Imports


@dataclass(frozen=True, slots=True)
class FieldsClass:
    """The TypedDict of the fields of an entity that a caller sets."""

    name: str
    doc: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldsModule:
    """The module of the fields that `update` can set."""

    imports: Imports
    classes: tuple[FieldsClass, ...]


def fields_module(schema: Schema) -> FieldsModule:
    """The view model for a schema."""
    imports = Imports(
        classes=".models",
        taken=frozenset(field.name for entity in schema.entities for field in settable_fields(entity)),
        reserved=frozenset({"TypedDict", *IMPORTED_NAMES, *map(fields_name, schema.entities)}),
    )
    imports.use("typing", "TypedDict")
    return FieldsModule(imports, tuple(_class(entity, imports) for entity in schema.entities))


def settable_fields(entity: Entity) -> list[Field]:
    """The fields of a stored row that a caller sets: all but the key and those that the store sets."""
    return [field for field in entity.fields if field.name not in entity.key_names and field.managed is None]


def _class(entity: Entity, imports: Imports) -> FieldsClass:
    return FieldsClass(
        fields_name(entity),
        f"Fields of {entity.name} that `update` can set.",
        tuple(
            f"{field.name}: {annotation(field.type, imports)}{' | None' if field.optional else ''}"
            for field in settable_fields(entity)
        ),
    )
