"""View models: the IR as the strings that templates print. What a template would have to decide is decided here."""

from __future__ import annotations

from collections.abc import Iterable

from .model import Enum, Field, Schema
from .names import member_name, snake_case
from .view_access import filter_fields
from .view_entity import entity_view, not_found_name
from .view_fields import field_view, normalizing_steps
from .view_models import ClassView, EntityView, EnumView, ErrorView, FilterView
from .view_text import annotation, sentence


def enum_views(schema: Schema) -> list[EnumView]:
    """Every enum of a schema."""
    return [_enum(enum) for enum in schema.enums]


def class_views(schema: Schema) -> list[ClassView]:
    """Every Struct of a schema, nested records first."""
    return [_class(record.name, record.doc, record.fields, "Value", schema) for record in schema.records] + [
        _class(entity.name, entity.doc, entity.fields, "Record", schema) for entity in schema.entities
    ]


def error_views(schema: Schema) -> list[ErrorView]:
    """Every error class that the schema names, once."""
    found: dict[str, ErrorView] = {}
    for entity in schema.entities:
        name = not_found_name(entity)
        found[name] = ErrorView(
            name, "NotFoundError", f"The {entity.name} is not there, or its retention has ended."
        )
        if entity.exists_error:
            found[entity.exists_error] = ErrorView(
                entity.exists_error, "AlreadyExistsError", f"A {entity.name} with this key is there."
            )
        for unique in entity.uniques:
            if unique.error and unique.error != "UniqueViolationError":
                doc = unique.doc or f"Another {entity.name} has the same {' and '.join(unique.fields)}."
                found.setdefault(unique.error, ErrorView(unique.error, "UniqueViolationError", sentence(doc)))
    return [found[name] for name in sorted(found)]


def entity_views(schema: Schema) -> list[EntityView]:
    """Every entity of a schema."""
    return [entity_view(entity, schema) for entity in schema.entities]


def filter_views(schema: Schema) -> list[FilterView]:
    """A TypedDict for each entity that refers to another one: what a search by its rows can ask for."""
    return [
        FilterView(
            f"{entity.name}Filter",
            f"Fields by which a search can ask for rows of {entity.name}, combined with AND.",
            tuple(f"{field.name}: {annotation(field.type)}" for field in filter_fields(entity)),
        )
        for entity in schema.entities
        if entity.references
    ]


def _enum(enum: Enum) -> EnumView:
    sets = tuple(
        (
            name,
            ", ".join(f"{enum.name}.{member_name(value)}" for value in values) + ",",
            sentence(f"One of {', '.join(values)}."),
        )
        for name, values in enum.sets.items()
    )
    return EnumView(
        enum.name,
        sentence(enum.doc or enum.name),
        tuple((member_name(v), repr(v)) for v in enum.values),
        sets,
    )


def _class(name: str, doc: str, fields: Iterable[Field], parent: str, schema: Schema) -> ClassView:
    fields = tuple(fields)
    secrets = ", ".join(repr(field.name) for field in fields if field.secret)
    steps = normalizing_steps(fields, schema)
    return ClassView(
        name,
        parent,
        sentence(doc or name),
        tuple(field_view(field) for field in fields),
        f"frozenset({{{secrets}}})" if secrets else "",
        f"normalize_{snake_case(name)}" if steps else "",
        steps,
    )
