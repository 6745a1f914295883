"""Random rows for a generated entity: values that fit the types and bounds of the schema."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any, Final
from uuid import UUID

from keyweave_generator.model import Entity, Field, Schema, TypeKind, TypeRef

MATCHING: Final = {
    "a": "xa", "^[a-z]*$": "abc", "^é?": "é", "x|y": "y", "\\S": "z", "[\"']*": "'", "\\d{2,3}": "a12",
}  # fmt: skip
"""A text for each pattern of the random schemas."""


def row(
    draw: random.Random,
    package: ModuleType,
    schema: Schema,
    entity: Entity,
    key: Mapping[str, Any],
    *,
    refers: bool = False,
) -> Any:
    """A new row with this key, by the names of its fields; its references are null, or lead nowhere if it `refers`."""
    referring = set() if refers else {reference.field for reference in entity.references}
    given: dict[str, Any] = {}
    for field in entity.fields:
        if field.name in key:
            given[field.name] = key[field.name]
        elif field.managed is None and field.name not in referring and _is_given(draw, field):
            given[field.name] = _value(draw, package, schema, field)
    return getattr(package, entity.name)(**given)


def element(draw: random.Random, package: ModuleType, schema: Schema, name: str) -> Any:
    """A nested record."""
    record = next(each for each in schema.records if each.name == name)
    given = {
        field.name: _value(draw, package, schema, field) for field in record.fields if _is_given(draw, field)
    }
    return getattr(package, name)(**given)


def _is_given(draw: random.Random, field: Field) -> bool:
    return not (field.optional or field.has_default) or draw.random() < 0.7


def _value(draw: random.Random, package: ModuleType, schema: Schema, field: Field) -> Any:
    if field.pattern is not None:
        return MATCHING.get(field.pattern, "text")
    if field.type.name in ("int", "float") and (field.min is not None or field.max is not None):
        bound = field.min if field.min is not None else field.max
        return float(bound or 0) if field.type.name == "float" else bound
    if field.max_length == 0:
        return {"string": "", "bytes": b"", "list": [], "set": set(), "map": {}}[field.type.name]
    return _of_type(draw, package, schema, field.type, 1)


def _of_type(draw: random.Random, package: ModuleType, schema: Schema, type_: TypeRef, least: int) -> Any:
    if type_.of is not None:
        values = [_of_type(draw, package, schema, type_.of, 1) for _ in range(least)]
        if type_.kind is not TypeKind.MAP:
            return values if type_.kind is TypeKind.LIST else set(values)
        return {f"k{number}": value for number, value in enumerate(values)}
    if type_.kind is TypeKind.ENUM:
        return draw.choice(list(getattr(package, type_.name)))
    if type_.kind is TypeKind.RECORD:
        return element(draw, package, schema, type_.name)
    return {
        "string": draw.choice(["a", "é", "B", "z"]),
        "id": draw.choice(["a", "b"]),
        "int": draw.randint(-5, 5),
        "float": draw.choice([0.5, -1.0]),
        "decimal": draw.choice([Decimal(1), Decimal(-2)]),
        "date": date(2024, 2, draw.randint(1, 29)),
        "time": draw.choice([time(0), time.max]),
        "uuid": UUID(int=draw.randint(1, 5)),
        "bool": draw.random() < 0.5,
        "datetime": datetime(2124, 11, 3, tzinfo=UTC),
        "duration": timedelta(seconds=draw.randint(0, 9)),
        "bytes": b"\x00",
        "json": {"a": [1, None]},
    }[type_.name]
