"""Chance that depends on a seed and a place alone, never on what was drawn before.

So a schedule stays the same when an operation, a client or a fault is taken out of it, and shrinking works.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, TypeVar

T = TypeVar("T")

_PLACE: Final = Struct("<Qiiiii")
_NUMBERS: Final = Struct("<16I")
_SCALE: Final = 1 / (1 << 32)


def draws(seed: int, purpose: int, a: int, b: int = 0, c: int = 0, d: int = 0) -> tuple[int, ...]:
    """Sixteen whole numbers below 2^32 for a place."""
    return _NUMBERS.unpack(blake2b(_PLACE.pack(seed, purpose, a, b, c, d)).digest())


def fraction(number: int) -> float:
    """A drawn number as a fraction from 0 to 1."""
    return number * _SCALE


def chance(seed: int, purpose: int, a: int = 0, b: int = 0, c: int = 0) -> random.Random:
    """A source of chance for a place, where one place needs many draws."""
    return random.Random(draws(seed, purpose, a, b, c)[0])


def weighted(source: random.Random, weights: Sequence[tuple[T, float]]) -> T:
    """One of the values, by weight."""
    return source.choices([value for value, _ in weights], [weight for _, weight in weights])[0]
