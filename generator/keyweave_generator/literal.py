"""Literals of Python, as black prefers them."""

from __future__ import annotations

import re
from collections.abc import Iterable


def literal(text: str) -> str:
    """A string literal, in double quotes unless these need more escapes than single ones."""
    written = repr(text)
    inside = written[1:-1]
    if written[0] == '"':
        return written
    if '"' not in inside:
        return f'"{inside}"'
    escaped = re.sub(r'((?:\\\\)*)(\\\'|")', _other_quote, inside)
    return f'"{escaped}"' if escaped.count("\\") <= inside.count("\\") else written


def number(value: float) -> str:
    """A literal of a whole number or float."""
    return repr(value).replace("e+", "e")


def scalar(value: object) -> str:
    """A literal of a text, number or truth value."""
    if isinstance(value, float):
        return number(value)
    return literal(value) if isinstance(value, str) else repr(value)


def _other_quote(found: re.Match[str]) -> str:
    """A quote that is escaped in single quotes and not in double quotes, or the other way round."""
    return f"{found[1]}'" if found[2] == "\\'" else f'{found[1]}\\"'


def tuple_of(parts: Iterable[str]) -> str:
    """A tuple literal of pieces of Python."""
    items = list(parts)
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
