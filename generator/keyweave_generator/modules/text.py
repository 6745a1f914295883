"""Pieces of text that need no imports: docstrings, durations, tuples of names."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import timedelta

from keyweave_generator.layout import WIDTH
from keyweave_generator.literal import literal, tuple_of


def sentence(text: str) -> str:
    """Text in the form of a docstring: one line, without quotes or backslashes that would end it."""
    return " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")


def paragraph(text: str, indent: int) -> str:
    """A sentence on lines of the generated code's width; the first one is indented already."""
    lines = textwrap.wrap(text, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def opening(text: str, indent: int) -> str:
    """The first paragraph of a docstring, behind its quotes."""
    return paragraph(f'"""{" " if text.startswith(chr(34)) else ""}{text}', indent)


def docstring(text: str, indent: int = 4) -> str:
    """A sentence as a whole docstring, on one line if it fits."""
    line = f'"""{_inside(text)}"""'
    lines = opening(text, indent)
    if len(line) <= WIDTH - indent or "\n" not in lines:
        return line
    return f'{lines}\n{" " * indent}"""'


def _inside(text: str) -> str:
    """Text between the quotes of a docstring; a space keeps its own quotes apart from these."""
    return f"{' ' if text.startswith(chr(34)) else ''}{text}{' ' if text.endswith(chr(34)) else ''}"


def names(texts: Iterable[str]) -> str:
    """String literals between commas."""
    return ", ".join(map(literal, texts))


def micros(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // timedelta(microseconds=1)


def names_literal(names: Iterable[str]) -> str:
    """A tuple literal of strings."""
    return tuple_of(map(literal, names))
