"""What a plan is known by on the server, what it requires, and what becomes of it."""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import msgspec

from keyweave.model.entity import Entity


class Status(enum.StrEnum):
    """The statuses in replies of `apply`."""

    OK = "OK"
    REPLAYED = "REPLAYED"
    NEVER = "NEVER"
    STALE = "STALE"
    LATE = "LATE"
    MISSING = "MISSING"
    CHANGED = "CHANGED"
    EXISTS = "EXISTS"
    DEAD = "DEAD"
    FREED = "FREED"
    ALIVE = "ALIVE"
    NO_TARGET = "NO_TARGET"
    TAKEN = "TAKEN"
    COUNT = "COUNT"
    FENCED = "FENCED"
    SPLIT = "SPLIT"
    CORRUPT = "CORRUPT"


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A plan's place in the ledger, by which the server recognises each of its tries.

    Attributes:
        session: the client's ledger.
        slot: the slot in it.
        sequence: number of the plan; higher than those of earlier plans in the slot.
    """

    session: str
    slot: int
    sequence: int


class Guard(msgspec.Struct, frozen=True, gc=False):
    """A condition of a plan.

    Attributes:
        word: kind of the guard, as in `apply`.
        entity: entity of the row that the guard was set for.
        key: id of this row.
        detail: the reference, constraint or view that the guard is about, or empty.
    """

    word: str
    entity: Entity[Any]
    key: str
    detail: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """A guard that did not hold.

    Attributes:
        status: what the server found instead.
        guard: the guard.
        owner: id of the row that holds the unique value, when it is TAKEN; empty otherwise.
        document: the stored document of the row of `Plan.show_on_refusal`, when the status is EXISTS or CHANGED.
        place: that the home of the key or unique value names, if it is not the place of the row that was refused; else None.
        value: the unique value, then; the row's id for a key.
    """

    status: Status
    guard: Guard
    owner: str = ""
    document: bytes | None = None
    place: int | None = None
    value: str = ""


class Applied(msgspec.Struct, frozen=True, gc=False):
    """An applied plan: revision, created and expires (microseconds since 1970) of each written document, in order."""

    heads: tuple[tuple[int, int, int], ...]


def elsewhere(guard: Guard, place: int, value: str) -> Refusal:
    """Return the refusal of a key or unique value that a row of another place has."""
    status = Status.TAKEN if guard.detail else Status.EXISTS
    return Refusal(status, guard, place=place, value=value)


Outcome: TypeAlias = Applied | Refusal
