"""Statements that bring a record into its stored form: trimmed, with derived values, including the records inside it."""

from __future__ import annotations

from collections.abc import Iterable

from keyweave_generator.model import Field, RecordType, Schema, TypeKind

from .identifiers import normalizer_name
from .imports import Imports


def normalized_fields(fields: Iterable[Field], schema: Schema) -> tuple[str, ...]:
    """Names of the fields that normalizing may change."""
    return tuple(
        field.name
        for field in fields
        if field.trim or field.when_zero is not None or _normalized_inside(field, schema) is not None
    )


def normalizing_steps(fields: Iterable[Field], schema: Schema, imports: Imports) -> tuple[str, ...]:
    """Statements that normalize a record called `record`, and set `changed` if they change it."""
    fields = tuple(fields)
    steps = [
        f'changed = {imports.runtime("trim")}(record, "{field.name}") or changed'
        for field in fields
        if field.trim
    ]
    steps += [
        f'changed = {imports.runtime("fill_zero")}(record, "{field.name}", {field.when_zero.python}) or changed'
        for field in fields
        if field.when_zero is not None
    ]
    for field in fields:
        record = _normalized_inside(field, schema)
        if record is not None:
            steps.append(_inner_step(field, record))
    return tuple(steps)


def _normalized_inside(field: Field, schema: Schema) -> RecordType | None:
    """The record type that a field holds, however deep in lists and maps, if its records are normalized."""
    inner = field.type
    while inner.of is not None:
        inner = inner.of
    if inner.kind is not TypeKind.RECORD:
        return None
    record = next((each for each in schema.records if each.name == inner.name), None)
    return record if record is not None and normalized_fields(record.fields, schema) else None


def _inner_step(field: Field, record: RecordType) -> str:
    """The statement that normalizes the records in a field."""
    lines: list[str] = []
    type_, value, depth = field.type, f"record.{field.name}", 0
    while type_.of is not None:
        each = f"each_{field.name}" + (f"__{depth + 1}" if depth else "")
        if type_.kind is not TypeKind.MAP:
            elements = f"{value} or ()" if field.optional and not depth else value
        else:
            elements = f"({value} or {{}}).values()" if field.optional and not depth else f"{value}.values()"
        lines.append(f"{'    ' * depth}for {each} in {elements}:")
        type_, value, depth = type_.of, each, depth + 1
    if not depth and field.optional:
        lines.append(f"if {value} is not None:")
        depth = 1
    lines.append(f"{'    ' * depth}changed = {normalizer_name(record.name)}({value}) or changed")
    return "\n".join(lines)
