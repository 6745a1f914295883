"""View models of fields: annotations with bounds, defaults, and how a record is brought into its stored form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from .model import Field, Schema, TypeKind, TypeRef
from .names import member_name, snake_case
from .view_models import FieldView
from .view_text import annotation, micros, sentence


def field_view(field: Field) -> FieldView:
    """One line of a class body."""
    inner = _bounded(field)
    default = ""
    if field.managed is not None:
        return FieldView(field.name, "datetime | None", " = None", "Set by the store.")
    if field.optional:
        inner, default = f"{inner} | None", " = None"
    elif field.has_default:
        default = f" = {_default(field.type, field.default)}"
    return FieldView(field.name, inner, default, sentence(field.doc))


def _default(type_: TypeRef, value: object) -> str:
    """The default of a class body; every record gets a list or a dict of its own."""
    if not isinstance(value, list | dict):
        return _literal(type_, value)
    factory = f"lambda: {value!r}" if value else type(value).__name__
    return f"msgspec.field(default_factory={factory})"


def _literal(type_: TypeRef, value: object) -> str:
    if type_.kind is TypeKind.ENUM:
        return f"{type_.name}.{member_name(str(value))}"
    if isinstance(value, timedelta):
        return f"timedelta(microseconds={micros(value)})"
    return repr(value)


def _bounded(field: Field) -> str:
    bounds = _own_bounds(field.type)
    for word, value in (("ge", field.min), ("le", field.max), ("max_length", field.max_length)):
        if value is not None:
            bounds[word] = value
    if field.min_length is not None:
        bounds["min_length"] = max(field.min_length, bounds.get("min_length", 0))
    if field.pattern is not None:
        bounds["pattern"] = field.pattern
    return _annotated(field.type, bounds)


def _own_bounds(type_: TypeRef) -> dict[str, Any]:
    """The bounds that a type has by itself: a moment has a time zone, an id has a character."""
    bounds: dict[str, dict[str, Any]] = {"datetime": {"tz": True}, "id": {"min_length": 1}}
    return bounds.get(type_.name, {}) if type_.kind is TypeKind.SCALAR else {}


def _annotated(type_: TypeRef, bounds: Mapping[str, Any]) -> str:
    """A type with its bounds, and with the bounds that its elements have by themselves."""
    base = annotation(type_)
    if type_.of is not None:
        inner = _annotated(type_.of, _own_bounds(type_.of))
        base = f"list[{inner}]" if type_.kind is TypeKind.LIST else f"dict[str, {inner}]"
    words = ", ".join(f"{word}={value!r}" for word, value in bounds.items())
    return f"Annotated[{base}, Meta({words})]" if words else base


def normalizing_steps(fields: Iterable[Field], schema: Schema) -> tuple[str, ...]:
    """Statements that bring a record called `record` into its stored form and note in `changed` whether they did."""
    steps: list[str] = []
    for field in fields:
        if field.trim:
            steps.append(f'changed = trim(record, "{field.name}") or changed')
    for field in fields:
        if field.when_zero is not None:
            steps.append(f'changed = fill_zero(record, "{field.name}", {field.when_zero.python}) or changed')
    for field in fields:
        steps += _normalizing_inside(field, schema)
    return tuple(steps)


def _normalizing_inside(field: Field, schema: Schema) -> list[str]:
    """The statement that normalizes the records in a field, however deep in lists and maps they are."""
    inner = field.type
    while inner.of is not None:
        inner = inner.of
    record = next((each for each in schema.records if each.name == inner.name), None)
    if inner.kind is not TypeKind.RECORD or record is None or not normalizing_steps(record.fields, schema):
        return []
    lines: list[str] = []
    type_, place, depth = field.type, f"record.{field.name}", 0
    while type_.of is not None:
        each = f"each_{field.name}" + (f"_{depth + 1}" if depth else "")
        if type_.kind is TypeKind.LIST:
            elements = f"{place} or ()" if field.optional and not depth else place
        else:
            elements = f"({place} or {{}}).values()" if field.optional and not depth else f"{place}.values()"
        lines.append(f"{'    ' * depth}for {each} in {elements}:")
        type_, place, depth = type_.of, each, depth + 1
    if not depth and field.optional:
        lines.append(f"if {place} is not None:")
        depth = 1
    lines.append(f"{'    ' * depth}changed = normalize_{snake_case(record.name)}({place}) or changed")
    return ["\n".join(lines)]


def has_record(type_: TypeRef) -> bool:
    """Whether values of a type hold nested records."""
    return type_.kind is TypeKind.RECORD or (type_.of is not None and has_record(type_.of))


def has_json(type_: TypeRef, schema: Schema) -> bool:
    """Whether values of a type hold json, in lists, maps or nested records too."""
    if type_.of is not None:
        return has_json(type_.of, schema)
    records = [
        record for record in schema.records if type_.kind is TypeKind.RECORD and record.name == type_.name
    ]
    return type_.name == "json" or any(
        has_json(field.type, schema) for each in records for field in each.fields
    )
