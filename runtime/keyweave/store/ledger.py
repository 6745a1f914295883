"""The client's side of the operation ledger: which slot of it each plan under way uses.

The server keeps, for each client and slot, the latest plan's sequence number and answer. A slot is used again only when its
plan was answered, so a retry always finds the answer of its first try, and a try that is delayed until after the answer is
recognised by its lower number. Memory is bounded by the plans under way, not by the number of writes.

A slot that was damaged on the server is not used again: no client can know what its last plan was answered.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from keyweave.changes.answer import Ticket

_RENEWAL: Final = 6 * 3600.0
"""Seconds between renewals of a ledger; the server keeps it for a day after the last one."""

LIFE: Final = 86_400
"""Seconds for which the server keeps a ledger after the last renewal."""

GIVEN_UP: Final = f"{2**53 - 1} NEVER"
"""What a repair writes into a damaged slot. The number is higher than that of any plan, so none uses the slot again, and an
outcome that was in it stays unknown."""

_RENEWALS: Final = 10_000
"""Most partitions of which the last renewal is remembered: a store with many tenants writes in many. A ledger whose renewal was
forgotten is renewed again."""

_ANSWER: Final = re.compile(rb"\d{1,16} (?:NEVER|OK(?: \d{1,16} \d{1,16} \d{1,16})*)")

_UNSETTLED: Final = 10_000
"""Most plans of unknown outcome whose slots wait to be settled. Beyond that the oldest can no longer be settled."""


def is_slot(name: bytes) -> bool:
    """Return whether a field of a stored ledger is named like a slot."""
    return name.isdigit()


def is_intact(name: bytes, value: bytes) -> bool:
    """Return whether a field of a stored ledger is a slot with a sequence number and an answer."""
    return is_slot(name) and _ANSWER.fullmatch(value) is not None


class Ledger:
    """Hands out slots. Threads may share it: each step is atomic."""

    __slots__ = (
        "__weakref__",
        "_free",
        "_monotonic",
        "_ops",
        "_renewed",
        "_sequence",
        "_slots",
        "_unsettled",
        "session",
    )

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic: Final = monotonic
        self.begin()
        _LEDGERS.add(self)

    def begin(self) -> None:
        """Start a session of its own. A forked child needs one: it must not use the parent's slots."""
        self.session = os.urandom(6).hex()
        self._slots = itertools.count()
        self._sequence = itertools.count(1)
        self._ops = itertools.count(1)
        self._free: list[int] = []
        self._renewed: dict[str, float] = {}
        self._unsettled: deque[int] = deque()

    def new_op(self) -> str:
        """A new plan id. The session, 48 random bits, makes it differ from those of other clients."""
        return f"{next(self._ops):06x}{self.session}"

    def take(self) -> Ticket:
        """A slot for a plan that is about to be sent."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = next(self._slots)
        return Ticket(self.session, slot, next(self._sequence))

    def answered(self, ticket: Ticket) -> None:
        """Take back the slot of a plan whose outcome is known."""
        if ticket.session == self.session:
            self._free.append(ticket.slot)

    def leave_open(self, ticket: Ticket) -> None:
        """Keep the slot of a plan whose outcome is unknown, so that it can be settled later."""
        if ticket.session != self.session:
            return
        self._unsettled.append(ticket.slot)
        if len(self._unsettled) > _UNSETTLED:
            self._free.append(self._unsettled.popleft())

    def resume(self, ticket: Ticket) -> None:
        """Keep the slot of a plan that was left open for the caller that sends it again."""
        if ticket.session == self.session:
            with contextlib.suppress(ValueError):
                self._unsettled.remove(ticket.slot)

    def settled(self, ticket: Ticket) -> None:
        """Take back a slot that was left open."""
        if ticket.session != self.session:
            return
        try:
            self._unsettled.remove(ticket.slot)
        except ValueError:
            return  # it was taken back before
        self.answered(ticket)

    def due_for_renewal(self, partition: str) -> bool:
        """Whether a plan in a partition is to extend the life of the ledger there, if it is applied."""
        return self._monotonic() - self._renewed.get(partition, -_RENEWAL) >= _RENEWAL

    def renewed(self, partition: str) -> None:
        """A plan that was to extend the life of the ledger in a partition was applied."""
        if len(self._renewed) >= _RENEWALS:
            self._renewed.clear()
        self._renewed[partition] = self._monotonic()


_LEDGERS: Final[WeakSet[Ledger]] = WeakSet()


def _begin_anew() -> None:
    for ledger in list(_LEDGERS):
        ledger.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
