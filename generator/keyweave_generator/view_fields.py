"""View models of fields: annotations with bounds, defaults, and how a record is brought into its stored form."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from .model import Field, RecordType, Schema, TypeKind, TypeRef
from .names import member_name, snake_case
from .view_models import FieldView
from .view_text import annotation, docstring, micros


def field_view(field: Field) -> FieldView:
    """One line of a class body."""
    inner = _bounded(field)
    default = ""
    if field.managed is not None:
        return FieldView(field.name, "datetime | None", " = None", "Set by the store.")
    if field.optional:
        inner, default = f"{inner} | None", " = None"
    elif field.has_default:
        default = f" = msgspec.field(default_factory=lambda: {_literal(field.type, field.default)})"
    return FieldView(field.name, inner, default, docstring(field.doc))


def _literal(type_: TypeRef, value: object) -> str:
    if type_.kind is TypeKind.ENUM:
        return f"{type_.name}.{member_name(str(value))}"
    if isinstance(value, timedelta):
        return f"timedelta(microseconds={micros(value)})"
    return repr(value)


def _bounded(field: Field) -> str:
    base = annotation(field.type)
    bounds: list[str] = []
    if field.type.kind is TypeKind.SCALAR and field.type.name == "datetime":
        bounds.append("tz=True")
    for word, value in (("ge", field.min), ("le", field.max), ("max_length", field.max_length)):
        if value is not None:
            bounds.append(f"{word}={value!r}")
    least = field.min_length
    if field.type.kind is TypeKind.SCALAR and field.type.name == "id":
        least = max(1, least or 0)
    if least is not None:
        bounds.append(f"min_length={least!r}")
    if field.pattern is not None:
        bounds.append(f"pattern={field.pattern!r}")
    return f"Annotated[{base}, Meta({', '.join(bounds)})]" if bounds else base


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
        nested = _record_of(field.type, schema)
        if nested is None or not normalizing_steps(nested.fields, schema):
            continue
        call = f"normalize_{snake_case(nested.name)}"
        place = f"record.{field.name}"
        if field.type.kind is TypeKind.LIST:
            steps.append(f"for element in {place} or ():\n    changed = {call}(element) or changed")
        elif field.type.kind is TypeKind.MAP:
            steps.append(
                f"for element in ({place} or {{}}).values():\n    changed = {call}(element) or changed"
            )
        else:
            steps.append(f"if {place} is not None:\n    changed = {call}({place}) or changed")
    return tuple(steps)


def _record_of(type_: TypeRef, schema: Schema) -> RecordType | None:
    if type_.kind is TypeKind.RECORD:
        return next(record for record in schema.records if record.name == type_.name)
    if (
        type_.of is not None
        and type_.kind in (TypeKind.LIST, TypeKind.MAP)
        and type_.of.kind is TypeKind.RECORD
    ):
        return _record_of(type_.of, schema)
    return None


def has_record(type_: TypeRef) -> bool:
    """Whether values of a type hold nested records."""
    return type_.kind is TypeKind.RECORD or (type_.of is not None and has_record(type_.of))
