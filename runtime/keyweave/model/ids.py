"""Ids that records make for themselves. A record has its id before it is written, so a retry of a write writes the same row."""

from __future__ import annotations

import os
import threading
import time
import uuid
from typing import Final
from uuid import UUID

_EPOCH: Final = 1_400_000_000
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH: Final = 27

_RANDOM_BITS: Final = 74
_STEP_BYTES: Final = 4


class _Sequence:
    """The last uuid7 of this process, as its milliseconds followed by its other bits."""

    def __init__(self) -> None:
        self.last = 0
        self.lock = threading.Lock()

    def following(self, drawn: int) -> int:
        """Return `drawn`, or if that is not beyond the last value, the last value and a random step."""
        with self.lock:
            if drawn <= self.last:
                drawn = self.last + 1 + int.from_bytes(os.urandom(_STEP_BYTES), "big")
            self.last = drawn
        return drawn

    def restart(self) -> None:
        """Begin anew in a child process: another thread of the parent may hold the lock for ever."""
        self.__init__()  # type: ignore[misc]


_sequence: Final = _Sequence()
os.register_at_fork(after_in_child=_sequence.restart)


def uuid7() -> UUID:
    """Return a UUID of version 7: its milliseconds since 1970, then random bits.

    Within a process each is greater than those before it, also if the clock goes back.
    """
    drawn = (time.time_ns() // 1_000_000) << _RANDOM_BITS
    drawn |= int.from_bytes(os.urandom(10), "big") >> 6
    value = _sequence.following(drawn)
    millis, high, low = value >> _RANDOM_BITS, value >> 62 & 0xFFF, value & (1 << 62) - 1
    return UUID(int=millis << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low)


def uuid7_text() -> str:
    """Return a `uuid7` as text."""
    return str(uuid7())


def uuid4() -> UUID:
    """Return a random UUID."""
    return uuid.uuid4()


def uuid4_text() -> str:
    """Return a random UUID as text."""
    return str(uuid4())


def ksuid() -> str:
    """Return a new KSUID: 27 base-62 characters, of a 32-bit second and 128 random bits. They sort by the second."""
    return ksuid_of(int(time.time()), os.urandom(16))


def ksuid_of(seconds: int, payload: bytes) -> str:
    """Return the KSUID of a second since 1970 and 16 bytes, as the format's reference implementation writes it."""
    number = int.from_bytes((seconds - _EPOCH).to_bytes(4, "big") + payload, "big")
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
