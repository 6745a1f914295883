"""Ids for new rows: KSUIDs, which sort by the second in which they were made."""

from __future__ import annotations

import os
import time
from typing import Final

_EPOCH: Final = 1_400_000_000
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH: Final = 27


def new_id() -> str:
    """A fresh KSUID: 27 base-62 characters, of a 32-bit second and 128 random bits."""
    return ksuid(int(time.time()), os.urandom(16))


def ksuid(seconds: int, payload: bytes) -> str:
    """The KSUID of a second since 1970 and 16 bytes, as the format's reference implementation writes it."""
    number = int.from_bytes((seconds - _EPOCH).to_bytes(4, "big") + payload, "big")
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
