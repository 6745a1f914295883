"""Pieces of generated text: types, durations, docstrings, tuples of names."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from .model import TypeKind, TypeRef

WIDTH: Final = 110
"""Columns of generated code."""

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


def paragraph(text: str, indent: int) -> str:
    """A sentence on lines of the generated code's width; the first one is indented already."""
    lines = textwrap.wrap(text, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def docstring(text: str, indent: int = 4) -> str:
    """A sentence as a whole docstring, on one line if it fits."""
    room = WIDTH - indent - len('""""""')
    if len(text) <= room:
        return f'"""{text} """' if text.endswith('"') else f'"""{text}"""'
    lines = paragraph(f'"""{text}"""', indent).removesuffix('"""')
    return f'{lines}\n{" " * indent}"""'


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


def kind(type_: TypeRef) -> str:
    """How the runtime names the type of values that a field can be looked up by."""
    return "str" if type_.kind is TypeKind.ENUM else annotation(type_)


def micros(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // timedelta(microseconds=1)


def names_literal(names: Iterable[str]) -> str:
    """A tuple literal of strings."""
    items = [repr(name) for name in names]
    return f"({', '.join(items)},)" if items else "()"
