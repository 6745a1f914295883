"""The Python types of fields, with their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keyweave_generator.literal import scalar
from keyweave_generator.model import Field, TypeKind, TypeRef
from keyweave_generator.pattern import strict_end

from .imports import Imports

_BUILTINS: Final = {
    "string": "str",
    "id": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "bytes": "bytes",
}

_IMPORTED: Final = {
    "datetime": ("datetime", "datetime"),
    "date": ("datetime", "date"),
    "time": ("datetime", "time"),
    "duration": ("datetime", "timedelta"),
    "decimal": ("decimal", "Decimal"),
    "uuid": ("uuid", "UUID"),
    "json": ("typing", "Any"),
}
"""Scalars that Python has in a module: module and name."""

IMPORTED_NAMES: Final = frozenset(name for _, name in _IMPORTED.values())
"""Names that annotations of scalars import."""


def kind(type_: TypeRef) -> str:
    """The runtime's name for the type of values by which rows can be found; `list[kind]` for a list."""
    if type_.of is not None:
        return f"list[{kind(type_.of)}]"
    if type_.kind is TypeKind.ENUM:
        return "str"
    return _BUILTINS[type_.name] if type_.name in _BUILTINS else _IMPORTED[type_.name][1]


def annotation(type_: TypeRef, imports: Imports) -> str:
    """The Python type of a field, without bounds."""
    if type_.of is not None:
        return _container(type_, annotation(type_.of, imports), imports)
    if type_.kind is not TypeKind.SCALAR:
        return imports.schema_class(type_.name)
    if type_.name in _BUILTINS:
        return imports.builtin(_BUILTINS[type_.name])
    return imports.use(*_IMPORTED[type_.name])


def bounded(field: Field, imports: Imports) -> str:
    """The Python type of a field, with its bounds."""
    if field.type.name == "decimal":
        return _decimal(field, imports)
    bounds = _own_bounds(field.type)
    for word, value in (("ge", field.min), ("le", field.max), ("max_length", field.max_length)):
        if value is not None:
            bounds[word] = value
    if field.min_length is not None:
        bounds["min_length"] = max(field.min_length, bounds.get("min_length", 0))
    if field.pattern is not None:
        bounds["pattern"] = strict_end(field.pattern)
    return _annotated(field.type, bounds, imports)


def _decimal(field: Field, imports: Imports) -> str:
    """The type of a decimal with its limits, which the runtime checks."""
    text = annotation(field.type, imports)
    limits: dict[str, str] = {}
    if field.digits is not None:
        limits["digits"] = str(field.digits)
    if field.places is not None:
        limits["places"] = str(field.places)
    for word, value in (("ge", field.min), ("le", field.max)):
        if value is not None:
            limits[word] = f'{text}("{value}")'
    if not limits:
        return text
    words = ", ".join(f"{word}={value}" for word, value in limits.items())
    return f"{imports.use('typing', 'Annotated')}[{text}, {imports.runtime('DecimalLimits')}({words})]"


def _own_bounds(type_: TypeRef) -> dict[str, Any]:
    """The bounds that a type implies: a datetime has a time zone, a time has none, an id has at least one character."""
    bounds: dict[str, dict[str, Any]] = {
        "datetime": {"tz": True},
        "time": {"tz": False},
        "id": {"min_length": 1},
    }
    return bounds.get(type_.name, {}) if type_.kind is TypeKind.SCALAR else {}


def _annotated(type_: TypeRef, bounds: Mapping[str, Any], imports: Imports) -> str:
    """A type with its bounds, and with the bounds that the types of its elements imply."""
    if type_.of is None:
        text = annotation(type_, imports)
    else:
        text = _container(type_, _annotated(type_.of, _own_bounds(type_.of), imports), imports)
    if not bounds:
        return text
    words = ", ".join(f"{word}={scalar(value)}" for word, value in bounds.items())
    return f"{imports.use('typing', 'Annotated')}[{text}, {imports.use('msgspec', 'Meta')}({words})]"


def _container(type_: TypeRef, element: str, imports: Imports) -> str:
    if type_.kind in (TypeKind.LIST, TypeKind.SET):
        return f"{imports.builtin(type_.name)}[{element}]"
    return f"{imports.builtin('dict')}[{imports.builtin('str')}, {element}]"
