"""Pieces of generated text: types, durations, docstrings, tuples of names."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from .model import TypeKind, TypeRef

_ANNOTATIONS = {
    "string": "str",
    "id": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "datetime": "datetime",
    "duration": "timedelta",
    "bytes": "bytes",
    "json": "Any",
}


def sentence(text: str) -> str:
    """Text as it can stand in a docstring: one line, no quotes or backslashes that would end it."""
    return " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")


def docstring(text: str) -> str:
    """Text as it can stand right before the quotes that end a docstring."""
    line = sentence(text)
    return f"{line} " if line.endswith('"') else line


def annotation(type_: TypeRef) -> str:
    """The Python type of a field, without bounds."""
    if type_.kind is TypeKind.SCALAR:
        return _ANNOTATIONS[type_.name]
    if type_.kind is TypeKind.LIST:
        assert type_.of is not None
        return f"list[{annotation(type_.of)}]"
    if type_.kind is TypeKind.MAP:
        assert type_.of is not None
        return f"dict[str, {annotation(type_.of)}]"
    return type_.name


def micros(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // timedelta(microseconds=1)


def names_literal(names: Iterable[str]) -> str:
    """A tuple literal of strings."""
    items = [repr(name) for name in names]
    return f"({', '.join(items)},)" if items else "()"
