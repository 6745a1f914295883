"""Heads: the managed beginning of every document, which the server writes."""

from __future__ import annotations

import re
from typing import Final

import msgspec

HEAD: Final = re.compile(rb'\{"revision":(\d+),"created":(\d+),"expires":(\d+),"op":"([^"]*)"')
HEAD_LENGTH: Final = 128
"""Number of bytes that always include the whole head."""


EXPIRES_OFFSET: Final = 66
"""Where the deadline begins in every document."""
NO_DEADLINE: Final = ord("0")
"""The byte there in a document without a deadline."""
EXPIRES_DIGITS: Final = 16
"""Number of digits of a deadline."""
LAST_DEADLINE: Final = 10**EXPIRES_DIGITS - 1


class Head(msgspec.Struct, frozen=True, gc=False):
    """The managed values of a document: moments in microseconds since 1970 (`expires` 0 for none), and the op."""

    revision: int
    created: int
    expires: int
    op: str


def read_head(document: bytes) -> Head | None:
    """Return the head of a stored document, or None when it has none."""
    match = HEAD.match(document)
    if match is None:
        return None
    revision, created, expires, op = match.groups()
    return Head(int(revision), int(created), int(expires), op.decode())


def write_head(revision: int, created: int, expires: int, op: str) -> bytes:
    """Return the head of a document, as the server writes it."""
    return f'{{"revision":{revision},"created":{created},"expires":{expires},"op":"{op}"'.encode()
