"""A cache of recently written rows: a guess at what the store holds.

An upsert of a record that was never loaded, a change and a delete use it instead of a read. Their plan is guarded by the
cached revision. If another writer has changed the row, the guard fails and costs one exchange, but no update is lost.

For a row that this process has inserted, the cache also knows which rows of this process refer to it, as long as they are few.
A delete may guess that there are no others.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from keyweave.model.record import Stored

LARGEST: Final = 16 * 1024
"""Maximum size of a cached document's body in bytes."""

LARGEST_FAMILY: Final = 16
"""Maximum number of rows that are known to refer to a row."""

_LONGEST_PAUSE: Final = 64
"""Maximum number of deletes or transactions without a guess at an entity's rows after a wrong one."""

Member: TypeAlias = tuple[str, str]
"""Entity and key of a row that refers to another."""

_Slot: TypeAlias = tuple[str, str, Stored, bytes] | None
_Family: TypeAlias = tuple[str, str, tuple[Member, ...]] | None


class Guesses:
    """Whether deletes and transactions may guess at what the store holds of an entity's rows; after wrong guesses, more and more of them may not."""

    __slots__ = ("_pauses",)

    def __init__(self) -> None:
        self._pauses: Final[dict[str, tuple[int, int]]] = {}

    def take(self, entity: str) -> bool:
        """Return whether the next one may guess at rows of an entity; each call counts."""
        if not self._pauses or entity not in self._pauses:
            return True
        left, whole = self._pauses[entity]
        self._pauses[entity] = (max(left - 1, 0), whole)
        return left == 0

    def note(self, entity: str, *, right: bool) -> None:
        """Note whether a guess at a row of an entity was right."""
        if right:
            self._pauses.pop(entity, None)
            return
        _, whole = self._pauses.get(entity, (0, 0))
        longer = min(2 * whole or 1, _LONGEST_PAUSE)
        self._pauses[entity] = (longer, longer)


class Families:
    """Which rows of this process refer to rows that it has inserted, kept as `Recent` keeps rows.

    Args:
        slots: one for each row, shared by the tenants of a store.
        prefix: what the names of a tenant's entities begin with.

    Attributes:
        guesses: whether deletes may guess at the family of a row.
    """

    __slots__ = ("_prefix", "_slots", "guesses")

    def __init__(self, slots: list[_Family], prefix: str = "") -> None:
        self._slots: Final = slots
        self._prefix: Final = prefix
        self.guesses: Final = Guesses()

    def begin(self, entity: str, key: str) -> None:
        """Begin to note which rows refer to a row that was inserted."""
        if self._slots:
            self._keep(entity, key, ())

    def join(self, entity: str, key: str, member: Member) -> None:
        """Note that a row was inserted that refers to a row. If they become too many, the family is forgotten."""
        known = self.of(entity, key)
        if known is not None and member not in known:
            self._keep(entity, key, (*known, member) if len(known) < LARGEST_FAMILY else None)

    def leave(self, entity: str, key: str, member: Member) -> None:
        """Note that a row was deleted that referred to a row."""
        known = self.of(entity, key)
        if known is not None and member in known:
            self._keep(entity, key, tuple(each for each in known if each != member))

    def end(self, entity: str, key: str) -> None:
        """Forget which rows refer to a row."""
        if self.of(entity, key) is not None:
            self._keep(entity, key, None)

    def of(self, entity: str, key: str) -> tuple[Member, ...] | None:
        """Return the rows that probably refer to a row, or None when they are not known."""
        name = self._prefix + entity
        slot = self._slots[hash((name, key)) % len(self._slots)] if self._slots else None
        return slot[2] if slot is not None and slot[0] == name and slot[1] == key else None

    def of_tenant(self, prefix: str) -> Families:
        """Return the families of a tenant of the same store."""
        return Families(self._slots, prefix)

    def _keep(self, entity: str, key: str, members: tuple[Member, ...] | None) -> None:
        name = self._prefix + entity
        place = hash((name, key)) % len(self._slots)
        self._slots[place] = (name, key, members) if members is not None else None


class Recent:
    """A direct-mapped cache: rows whose hashes select the same slot replace each other.

    Nothing needs eviction, and threads need no lock, because a slot is read or replaced in one step.

    Args:
        slots: number of slots; 0 disables the cache.

    Attributes:
        families: which rows refer to rows that were inserted.
        guesses: whether upserts of a transaction may guess at their rows.
    """

    __slots__ = ("_slots", "families", "guesses")

    def __init__(self, slots: int) -> None:
        self._slots: list[_Slot] = [None] * slots
        self.guesses: Final = Guesses()
        self.families = Families([None] * slots)

    def put(self, entity: str, key: str, stored: Stored, body: bytes = b"") -> None:
        """Cache what a write left in the store.

        Args:
            body: the document behind its head; empty if it is not known.
        """
        if self._slots:
            self._slots[hash((entity, key)) % len(self._slots)] = (entity, key, stored, body)

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

    def whole(self, entity: str, key: str) -> tuple[Stored, bytes] | None:
        """Return what `get` returns, and the document behind its head; empty if it is not known."""
        slot = self._slots[hash((entity, key)) % len(self._slots)] if self._slots else None
        return slot[2:] if slot is not None and slot[0] == entity and slot[1] == key else None

    def of_tenant(self, tenant: str) -> RecentOfTenant:
        """Return the cache of a tenant of the same store. It shares the slots, so memory does not grow with tenants."""
        return RecentOfTenant(self._slots, self.families, tenant)


class RecentOfTenant(Recent):
    """The rows of one tenant in the cache of its store.

    A tenant's rows are cached under the tenant's name, a slash and the entity's name. Names of entities have no slash, so neither
    two tenants nor a tenant and the store itself have a name in common.
    """

    __slots__ = ("_prefix",)

    def __init__(self, slots: list[_Slot], families: Families, tenant: str) -> None:
        super().__init__(0)
        self._slots = slots
        self._prefix: Final = f"{tenant}/"
        self.families = families.of_tenant(self._prefix)

    def put(self, entity: str, key: str, stored: Stored, body: bytes = b"") -> None:  # noqa: D102 - Recent
        super().put(self._prefix + entity, key, stored, body)

    def drop(self, entity: str, key: str) -> None:  # noqa: D102 - Recent
        super().drop(self._prefix + entity, key)

    def get(self, entity: str, key: str) -> Stored | None:  # noqa: D102 - Recent
        return super().get(self._prefix + entity, key)

    def whole(self, entity: str, key: str) -> tuple[Stored, bytes] | None:  # noqa: D102 - Recent
        return super().whole(self._prefix + entity, key)
