"""Where values and partitions go: the partition of a value, and the hash tag that gives a partition its slot.

A group's partitions are spread evenly over the slots of a cluster, and nothing here depends on how many there are: doubling
their number leaves those that exist where they are. The slot of partition 0 follows from the names of the namespace and the
group alone, so each tenant starts at another one. Partition i has the stretch of 16 slots that begins `bit_reversed(i)` times 16
slots behind it.
"""

from __future__ import annotations

from binascii import crc_hqx
from functools import cache
from hashlib import blake2b
from itertools import count
from typing import Final

SLOTS: Final = 16_384
"""The slots of a Redis Cluster."""

MOST_PARTITIONS: Final = 1024
"""The most partitions of a group. The number is a power of two."""

STRETCH: Final = SLOTS // MOST_PARTITIONS
"""Slots of one partition's stretch."""

_BITS: Final = MOST_PARTITIONS.bit_length() - 1
_HASHES: Final = 16_384
"""Most values whose hashes are remembered."""

_MASK: Final = SLOTS - 1
_DIGITS: Final = 4
"""Salts of up to so many digits are looked up in tables. About one partition in 16,000 needs a longer salt."""


def is_number_of_partitions(number: object) -> bool:
    """Return whether a group may have so many partitions: a power of two from 1 to 1,024."""
    return type(number) is int and 1 <= number <= MOST_PARTITIONS and number & (number - 1) == 0


def index_of(value: str, partitions: int) -> int:
    """Return the partition of a value among so many: the low bits of the first 8 bytes of its BLAKE2b, read as little-endian.

    Args:
        value: in the form in which rows are named; see `keyweave.model.keytext`.
        partitions: a power of two.
    """
    found = _hashes.get(value)  # a process asks for the same values again and again
    return (found if found is not None else _hash(value)) & (partitions - 1)


_hashes: Final[dict[str, int]] = {}


def _hash(value: str) -> int:
    """Return the first 8 bytes of the BLAKE2b of a value, and remember them."""
    digest = blake2b(value.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    if len(_hashes) >= _HASHES:
        _hashes.clear()
    found = _hashes[value] = int.from_bytes(digest, "little")
    return found


def place_of(value: str) -> int:
    """Return the place of a value: its partition among the most that a group may have. Its low bits are its partition among fewer."""
    return index_of(value, MOST_PARTITIONS)


def slot_of(text: bytes) -> int:
    """Return the slot of a hash tag without its braces."""
    return crc_hqx(text, 0) & _MASK


def bit_reversed(index: int) -> int:
    """Return the number whose ten bits are those of a partition's index in the opposite order."""
    return int(f"{index:0{_BITS}b}"[::-1], 2)


def stretch_of(first: int, index: int) -> int:
    """Return the first slot of a partition's stretch, given the slot of partition 0. The slots behind the last begin again at 0."""
    return (first + bit_reversed(index) * STRETCH) & _MASK


def tag_of(prefix: str, group: str, index: int) -> str:
    """Return the hash tag of a partition, without its braces: `prefix:group:0`, or `prefix:group:i.salt` for the others.

    The salt is the smallest whole number that puts the tag's slot into the stretch of the partition.
    """
    if index == 0:
        return f"{prefix}:{group}:0"
    first = slot_of(f"{prefix}:{group}:0".encode())
    unsalted = f"{prefix}:{group}:{index}."
    return f"{unsalted}{_salt(unsalted.encode(), stretch_of(first, index))}"


def _salt(unsalted: bytes, start: int) -> int:
    """Return the smallest number behind `unsalted` that gives a slot of the stretch that begins at `start`.

    The CRC of a text with a suffix is the CRC of the text with zeros in its place, xor the CRC of the suffix alone. So the
    slots of all suffixes of one length are tabulated once, and 16 of them are looked up.
    """
    before = crc_hqx(unsalted, 0)
    for digits in range(1, _DIGITS + 1):
        shift = crc_hqx(bytes(digits), before)
        table = _smallest_salts(digits)
        found = [table.get(((start + place) ^ shift) & _MASK) for place in range(STRETCH)]
        salts = [salt for salt in found if salt is not None]
        if salts:
            return min(salts)
    return next(
        salt for salt in count(10**_DIGITS) if (crc_hqx(b"%d" % salt, before) - start) & _MASK < STRETCH
    )


@cache
def _smallest_salts(digits: int) -> dict[int, int]:
    """Return, by slot, the smallest number of so many digits whose digits alone have it."""
    least = 10 ** (digits - 1) if digits > 1 else 0
    return {crc_hqx(b"%d" % salt, 0) & _MASK: salt for salt in range(10**digits - 1, least - 1, -1)}
