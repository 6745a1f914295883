"""Pieces of text that need no imports: docstrings, durations, tuples of names."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

WIDTH: Final = 110
"""Columns of generated code."""


def sentence(text: str) -> str:
    """Text in the form of a docstring: one line, without quotes or backslashes that would end it."""
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


def micros(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // timedelta(microseconds=1)


def tuple_of(parts: Iterable[str]) -> str:
    """A tuple literal of pieces of Python."""
    items = list(parts)
    return f"({', '.join(items)},)" if items else "()"


def names_literal(names: Iterable[str]) -> str:
    """A tuple literal of strings."""
    return tuple_of(map(repr, names))
