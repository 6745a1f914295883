"""What this process knows of rows that it wrote lately: a guess at what the store holds.

An upsert of a record that was never loaded, a change, and a delete of a row that nobody refers to use it in place of a
read. Their plan is guarded by the guessed revision, so a guess that somebody has overtaken costs an exchange and never an update.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from keyweave.model.record import Stored

LARGEST: Final = 16 * 1024
"""Bytes of the largest document that is kept."""

_Slot: TypeAlias = tuple[str, str, Stored] | None


class Recent:
    """A fixed number of slots, one of which a row shares with others: the latest of them is known.

    There is nothing to evict, and threads need no lock: a place is read or replaced in one step.
    """

    __slots__ = ("_slots",)

    def __init__(self, slots: int) -> None:
        self._slots: Final[list[_Slot]] = [None] * slots

    def put(self, entity: str, key: str, stored: Stored) -> None:
        """Keep what a write left in the store."""
        if self._slots:
            self._slots[hash((entity, key)) % len(self._slots)] = (entity, key, stored)

    def drop(self, entity: str, key: str) -> None:
        """Forget a row, and whatever shares its place."""
        if self._slots:
            self._slots[hash((entity, key)) % len(self._slots)] = None

    def get(self, entity: str, key: str) -> Stored | None:
        """What the store probably holds, or None when nothing is known of the row."""
        slot = self._slots[hash((entity, key)) % len(self._slots)] if self._slots else None
        if slot is None or slot[0] != entity or slot[1] != key:
            return None
        return slot[2]
