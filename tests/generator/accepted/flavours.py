"""The one difference between the flavours of generated code, as a substitution."""

from __future__ import annotations

import re
from typing import Final

import black
from black.mode import TargetVersion

_FORMAT: Final = black.Mode(
    line_length=110, target_versions={TargetVersion.PY311}, magic_trailing_comma=False
)
_SUBSTITUTION: Final = (
    # A coroutine is no context manager, so `open` of the asyncio flavour returns what can be awaited or entered.
    (r"\bOpening\[Store\]", "Store"),
    (r"\bOpening\(opened, cls\)", "cls(opened)"),
    (r"\bOpening, ", ""),
    (
        r"`async with` it, or `await` it and `close` the store",
        "Use the store as a context manager, or `close` it",
    ),
    (r"\bAwaitable, ", ""),
    (r"\bredis\.asyncio\b", "redis"),
    (r"\bAsyncIterator, Callable\b", "Callable, Iterator"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bAwaitable\[T\]", "T"),
    (r"\basync (?=def|with)", ""),
    (r"\bawait ", ""),
    (r"\b__a(?=enter__|exit__)", "__"),
    (r"(?<=[._])aio\b", "sync"),
    (r"\basyncio\b", "blocking"),
)
"""Patterns and what each is replaced with, in this order."""


def as_blocking(text: str) -> str:
    """A module of the asyncio flavour as the blocking one has it, and formatted like it, because its lines are shorter."""
    for pattern, replacement in _SUBSTITUTION:
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    return black.format_str(text, mode=_FORMAT)
