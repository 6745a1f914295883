"""Numbers as text that sorts as the numbers do: a letter for the number of digits, and the digits. `42` is `b42`, and `-42` is `Y57`."""

from __future__ import annotations

import string
from typing import Final

_LONG: Final = 26
"""Digits from which on the number of digits is written like a number itself, behind a `z`."""

_MIRROR: Final = str.maketrans(
    string.ascii_lowercase + string.digits, string.ascii_uppercase[::-1] + string.digits[::-1]
)
"""Makes the text of a number that of its negative: what was first in the order becomes last."""

_MIRRORED: Final = {target: source for source, target in _MIRROR.items()}


class IntKey(int):
    """The int key of a row to which a field refers. In indexes it is written like the id of that row."""

    __slots__ = ()


def int_id(number: int) -> str:
    """Return the id of a row whose key is a number."""
    if number < 0:
        return int_id(-number).translate(_MIRROR)
    digits = int.__repr__(number)
    length = len(digits)
    return f"{chr(96 + length)}{digits}" if length < _LONG else f"z{int_id(length - _LONG)}{digits}"


def int_of_id(text: str) -> int:
    """Return the number that `int_id` wrote as `text`.

    Raises:
        ValueError: it wrote no number so.
    """
    negative = "A" <= text[:1] <= "Z"
    plain = text.translate(_MIRRORED) if negative else text
    # The number of digits behind a `z` is a number in this form itself.
    start = 2 + ord(plain[1:2] or "`") - ord("`") if plain.startswith("z") else 1
    digits = plain[start:]
    number = int(digits) if digits.isascii() and digits.isdigit() else 0
    if int_id(-number if negative else number) != text:
        raise ValueError("no number has this id")
    return -number if negative else number
