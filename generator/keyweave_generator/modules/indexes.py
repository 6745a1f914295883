"""Descriptors of views and unique constraints, and the known values of their last field."""

from __future__ import annotations

from keyweave_generator.literal import literal, tuple_of
from keyweave_generator.model import Entity, Expression, Field, OrderBy, Schema, TypeKind, Unique, View

from .imports import Imports
from .text import names_literal


def view_descriptor(view: View, entity: Entity, schema: Schema, imports: Imports) -> str:
    """The descriptor of a view; arguments that have the default are left out."""
    words = [literal(view.name), names_literal(view.fields), literal(order_of(view))]
    groups = group_texts(view, entity, schema)
    if groups:
        words.append(names_literal(groups))
    words += _generation(view)
    if view.each is not None:
        words.append(f"each={literal(view.each)}")
    words += _where(view.where, imports)
    if view.by_text:
        words.append("by_text=True")
    if view.ascending:
        words.append("descending=False")
    return f"{imports.runtime('View')}({', '.join(words)})"


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
    words += [*_generation(unique), *_where(unique.where, imports)]
    return f"{imports.runtime('Unique')}({', '.join(words)})"


def order_of(view: View) -> str:
    """The order of a view, in the runtime's words."""
    return (view.order_field or "") if view.order is OrderBy.FIELD else view.order.value


def group_texts(view: View, entity: Entity, schema: Schema) -> tuple[str, ...]:
    """All values that the last field of a view can have, as key texts; empty if they are not known."""
    asked = asked_fields(view, entity)
    if not asked:
        return ()
    type_ = asked[-1].type
    if type_.kind is TypeKind.ENUM:
        return next(enum.values for enum in schema.enums if enum.name == type_.name)
    return ("false", "true") if type_.name == "bool" else ()


def asked_fields(index: View | Unique, entity: Entity) -> list[Field]:
    """The fields whose values select rows, in the order of arguments; the last stands for an element if there is `each`."""
    fields = {field.name: field for field in entity.fields}
    asked = [fields[name] for name in index.fields]
    each = index.each if isinstance(index, View) else None
    of = fields[each].type.of if each is not None else None
    return [*asked, Field(each, of)] if each is not None and of is not None else asked


def _where(where: Expression | None, imports: Imports) -> list[str]:
    """The arguments that describe a condition: its text, and its simple terms if it has no others."""
    if where is None:
        return []
    words = [f"where={literal(where.meaning)}"]
    if where.terms is not None:
        made = imports.runtime("Condition")
        terms = [
            f"{made}({literal(each.field)}, {literal(each.operator)}, {tuple_of(each.values)})"
            for each in where.terms
        ]
        words.append(f"conditions={tuple_of(terms)}")
    return words


def _generation(index: View | Unique) -> list[str]:
    return [f"generation={index.generation}"] if index.generation > 1 else []
