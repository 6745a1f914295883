"""Writes YAML as a person would: short mappings on one line, texts in quotes only where they need them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any, Final

WIDTH: Final = 110
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?: [A-Za-z][A-Za-z0-9_]*)*\Z")
_WORDS: Final = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\ufeff\u2028\u2029]"
)


def writable(text: str) -> bool:
    """Return whether a schema may hold a text as it is."""
    return _UNSAFE.search(text) is None


def one_line(text: str) -> str:
    """Return a text that a comment can hold: in one line, without characters that YAML refuses."""
    return " ".join(_UNSAFE.sub("?", text).split())


def scalar(value: object) -> str:
    """Return a value as YAML."""
    if isinstance(value, str):
        plain = _PLAIN.match(value) and value.lower() not in _WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def inline(value: object) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    return scalar(value)


def entry(name: str, value: Any, indent: str) -> list[str]:
    """Return the lines of one entry of a mapping: in one line if it is short enough."""
    line = f"{indent}{scalar(name)}: {inline(value)}"
    if len(line) <= WIDTH or not isinstance(value, Mapping):
        return [line]
    lines = [f"{indent}{scalar(name)}:"]
    for key, each in value.items():
        lines += entry(key, each, f"{indent}  ")
    return lines


def comment(text: str, indent: str) -> list[str]:
    """Return a text as the lines of a comment."""
    return [
        f"{indent}# {'' if number == 0 else '  '}{line}"
        for number, line in enumerate(wrap(one_line(text), WIDTH - len(indent) - 4, break_on_hyphens=False))
    ]


def comments(texts: Iterable[str], indent: str) -> list[str]:
    """Return texts as comments, each once."""
    return [line for text in dict.fromkeys(texts) for line in comment(text, indent)]
