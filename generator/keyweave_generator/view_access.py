"""View models of what finds rows: views, unique claims, filters, and joins by reference."""

from __future__ import annotations

from .model import Entity, Field, OrderBy, Schema, TypeKind, Unique, View
from .names import HAVING, plural, snake_case
from .view_models import Access, EntryView, HavingView
from .view_text import annotation, kind, names_literal, sentence

_FILTERABLE = {"string", "id", "int", "bool"}


def filter_fields(entity: Entity) -> list[Field]:
    """Fields by which rows can be searched."""
    return [
        field
        for field in entity.fields
        if not field.secret
        and (
            field.type.kind is TypeKind.ENUM
            or (field.type.kind is TypeKind.SCALAR and field.type.name in _FILTERABLE)
        )
    ]


def having_views(entity: Entity, schema: Schema) -> tuple[HavingView, ...]:
    """How rows that refer to a row are asked for: as a condition of a search, or together with the row."""
    incoming = [
        (other, reference)
        for other in schema.entities
        for reference in other.references
        if reference.entity == entity.name
    ]
    names = [other.name for other, _ in incoming]
    found = []
    for other, reference in incoming:
        suffix = f"_by_{reference.field}" if names.count(other.name) > 1 else ""
        keyword = f"{HAVING}{snake_case(other.name)}{suffix}"
        family = f"with_{plural(snake_case(other.name))}{suffix}"
        found.append(HavingView(keyword, family, f"{other.name}Filter", other.name, reference.field))
    return tuple(found)


def generation_argument(index: View | Unique) -> str:
    """The argument of the descriptor that says which generation an index is; the first needs none."""
    return f", generation={index.generation}" if index.generation > 1 else ""


def order_of(view: View) -> str:
    """What a view is ordered by, as the runtime names it."""
    return (view.order_field or "") if view.order is OrderBy.FIELD else view.order.value


def _text(field: Field, value: str) -> str:
    """Key text of a stored value, written out where it is text already."""
    if field.type.kind is TypeKind.ENUM or field.type.name in ("string", "id"):
        return value
    return f"key_text({value})"


def view_entry(view: View, entity: Entity, fields: dict[str, Field]) -> EntryView:
    """The statement that makes a record's entry in a view."""
    values = [_text(fields[name], f"record.{name}") for name in view.fields]
    score = {OrderBy.CREATED: "CREATED", OrderBy.REVISION: "REVISION"}.get(view.order, "")
    if view.order is OrderBy.FIELD:
        assert view.order_field is not None
        type_name = fields[view.order_field].type.name
        place = f"record.{view.order_field}"
        score = {"datetime": f"to_micros({place})", "duration": f"duration_micros({place})"}.get(
            type_name, place
        )
    text = f"({', '.join(values)},)" if values else "()"
    condition = " and ".join(f"record.{name} is not None" for name in view.fields if fields[name].optional)
    return EntryView(condition, f'ViewEntry("{view.name}", {text}, record.{entity.key}, {score})')


def claim_value(names: tuple[str, ...], steps: tuple[str, ...], text: object) -> str:
    """The value of a unique claim; `text` makes a field's key text."""
    assert callable(text)
    suffix = "".join({"lower": ".lower()", "trim": ".strip()"}[step] for step in sorted(steps, reverse=True))
    parts = [f"{text(name)}{suffix}" for name in names]
    return parts[0] if len(parts) == 1 else f"join(({', '.join(parts)}))"


def claim_entry(
    name: str, names: tuple[str, ...], steps: tuple[str, ...], entity: Entity, fields: dict[str, Field]
) -> EntryView:
    """The statement that makes a record's claim of a unique value."""
    value = claim_value(names, steps, lambda field: _text(fields[field], f"record.{field}"))
    condition = " and ".join(f"record.{field} is not None" for field in names if fields[field].optional)
    return EntryView(condition, f'ClaimEntry("{name}", {value}, record.{entity.key})')


def access_view(view: View, fields: dict[str, Field], references: set[str], schema: Schema) -> Access:
    """The methods of one view."""
    parameters = [f"{name}: {annotation(fields[name].type)}" for name in view.fields]
    values = [f'key_text({name}, "{kind(fields[name].type)}")' for name in view.fields]
    group_type, convert, texts = "", "", "()"
    if view.fields:
        last = fields[view.fields[-1]]
        if last.type.kind is TypeKind.ENUM:
            enum = next(enum for enum in schema.enums if enum.name == last.type.name)
            group_type, convert, texts = enum.name, f"{enum.name}(group)", names_literal(enum.values)
        elif last.type.name == "bool":
            group_type, convert, texts = "bool", 'group == "true"', "('false', 'true')"
    return Access(
        view.name,
        "".join(f"{parameter}, " for parameter in parameters),
        f"({', '.join(values)},)" if values else "()",
        "True",
        order_of(view),
        sentence(view.why),
        view.fields[-1] if view.fields else "",
        "".join(f"{parameter}, " for parameter in parameters[:-1]),
        f"({', '.join(values[:-1])},)" if values[:-1] else "()",
        group_type,
        convert,
        texts,
        names_literal(view.fields),
        len(view.fields) == 1 and view.fields[0] in references,
        generation_argument(view),
    )
