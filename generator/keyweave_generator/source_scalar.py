"""Unquoted scalars of YAML -> plain values, by the rules of YAML 1.2: `yes` and `2024-01-01` are strings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from .problems import quote

LONGEST_NUMBER: Final = 18

UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff\ufeff]")
"""A character that no text of a schema may contain."""

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_OCTAL = re.compile(r"[-+]?0[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_WORDS: Final[Mapping[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


def plain_value(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar. Raises ValueError, with the message of a problem, where YAML is easily misread."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        if len(text) > LONGEST_NUMBER:
            raise ValueError(f"the number is longer than {LONGEST_NUMBER} digits")
        return int(text)
    if _OCTAL.match(text):
        plain = text.lstrip("+-").lstrip("0") or "0"
        raise ValueError(f"{quote(text)} may be read as octal; write {plain}, or put it in quotes")
    if _NOT_FINITE.match(text):
        raise ValueError(f"{text} is not a finite number")
    if _FLOAT.match(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"{text[:LONGEST_NUMBER]} is too large a number")
        return number
    return text
