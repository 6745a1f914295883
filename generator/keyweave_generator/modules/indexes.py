"""Descriptors of views and unique constraints, and the known values of their last field."""

from __future__ import annotations

from keyweave_generator.literal import literal
from keyweave_generator.model import Entity, OrderBy, Schema, TypeKind, Unique, View

from .imports import Imports
from .text import names_literal


def view_descriptor(view: View, entity: Entity, schema: Schema, imports: Imports) -> str:
    """The descriptor of a view; arguments that have the default are left out."""
    words = [literal(view.name), names_literal(view.fields), literal(order_of(view))]
    groups = group_texts(view, entity, schema)
    if groups:
        words.append(names_literal(groups))
    return f"{imports.runtime('View')}({', '.join([*words, *_generation(view)])})"


def unique_descriptor(unique: Unique, imports: Imports) -> str:
    """The descriptor of a unique constraint; arguments that have the default are left out."""
    errors = imports.use("..", "errors")
    words = [
        literal(unique.name),
        names_literal(unique.fields),
        f"{errors}.{unique.error or 'UniqueViolationError'}",
    ]
    if unique.normalize:
        words.append(f"normalize={names_literal(unique.normalize)}")
    return f"{imports.runtime('Unique')}({', '.join([*words, *_generation(unique)])})"


def order_of(view: View) -> str:
    """The order of a view, in the runtime's words."""
    return (view.order_field or "") if view.order is OrderBy.FIELD else view.order.value


def group_texts(view: View, entity: Entity, schema: Schema) -> tuple[str, ...]:
    """All values that the last field of a view can have, as key texts; empty if they are not known."""
    if not view.fields:
        return ()
    type_ = next(field.type for field in entity.fields if field.name == view.fields[-1])
    if type_.kind is TypeKind.ENUM:
        return next(enum.values for enum in schema.enums if enum.name == type_.name)
    return ("false", "true") if type_.name == "bool" else ()


def _generation(index: View | Unique) -> list[str]:
    return [f"generation={index.generation}"] if index.generation > 1 else []
