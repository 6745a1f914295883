"""A cache of recently written rows: a guess at what the store holds.

An upsert of a record that was never loaded, a change, and a delete of a row without possible referrers use it instead
of a read. Their plan is guarded by the cached revision. If another writer has changed the row, the guard fails and
costs one exchange, but no update is lost.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from keyweave.model.record import Stored

LARGEST: Final = 16 * 1024
"""Maximum size of a cached document's body in bytes."""

_Slot: TypeAlias = tuple[str, str, Stored] | None


class Recent:
    """A direct-mapped cache: rows whose hashes select the same slot replace each other.

    Nothing needs eviction, and threads need no lock, because a slot is read or replaced in one step.

    Args:
        slots: number of slots; 0 disables the cache.
    """

    __slots__ = ("_slots",)

    def __init__(self, slots: int) -> None:
        self._slots: list[_Slot] = [None] * slots

    def put(self, entity: str, key: str, stored: Stored) -> None:
        """Cache what a write left in the store."""
        if self._slots:
            self._slots[hash((entity, key)) % len(self._slots)] = (entity, key, stored)

    def drop(self, entity: str, key: str) -> None:
        """Empty the slot of a row."""
        if self._slots:
            self._slots[hash((entity, key)) % len(self._slots)] = None

    def get(self, entity: str, key: str) -> Stored | None:
        """Return what the store probably holds, or None when the row is not cached."""
        slot = self._slots[hash((entity, key)) % len(self._slots)] if self._slots else None
        if slot is None or slot[0] != entity or slot[1] != key:
            return None
        return slot[2]

    def of_tenant(self, tenant: str) -> RecentOfTenant:
        """Return the cache of a tenant of the same store. It shares the slots, so memory does not grow with tenants."""
        return RecentOfTenant(self._slots, tenant)


class RecentOfTenant(Recent):
    """The rows of one tenant in the cache of its store.

    A tenant's rows are cached under the tenant's name, a slash and the entity's name. Names of entities have no slash, so neither
    two tenants nor a tenant and the store itself have a name in common.
    """

    __slots__ = ("_prefix",)

    def __init__(self, slots: list[_Slot], tenant: str) -> None:
        super().__init__(0)
        self._slots = slots
        self._prefix: Final = f"{tenant}/"

    def put(self, entity: str, key: str, stored: Stored) -> None:  # noqa: D102 - Recent
        super().put(self._prefix + entity, key, stored)

    def drop(self, entity: str, key: str) -> None:  # noqa: D102 - Recent
        super().drop(self._prefix + entity, key)

    def get(self, entity: str, key: str) -> Stored | None:  # noqa: D102 - Recent
        return super().get(self._prefix + entity, key)
