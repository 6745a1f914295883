"""What has a home, what a home is, and how long a step of the protocol may be under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from keyweave.changes.change import Change
from keyweave.document.codec import Prepared
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.spread import place_of
from keyweave.model.entity import Entity, Package
from keyweave.model.entry import ClaimEntry, Entry
from keyweave.model.identity import id_text
from keyweave.store.context import Context
from keyweave.store.doubling import PLAN_LIFE

FENCE_LIFE: Final = 900
"""Seconds for which a fence stands after it was last set. Longer than `LONGEST` and any jump of a server's clock together."""

LONGEST: Final = PLAN_LIFE
"""The most seconds after which a step that rests on a home, or on a fence, is refused by its server."""

_SLACK: Final = 5_000_000
"""Microseconds that a step may be under way beyond the deadline, and that clocks may be apart."""


class Homed(NamedTuple):
    """A key or a unique value that has a home.

    Attributes:
        entity: of the row.
        unique: name of the unique constraint; empty for a key.
        value: the unique value, or the row's id.
    """

    entity: Entity[Any]
    unique: str
    value: str

    def at(self, context: Context) -> Partition:
        """Return the partition of its home, which follows from the value."""
        return context.keyspace.partition(self.entity.group, self.value)


class Home(NamedTuple):
    """The place that may hold a key or unique value.

    Attributes:
        place: of the row's value of `partition_by`, see `keyweave.keyspace.spread.place_of`: a home does not change when the number
            of partitions does.
        epoch: from the clock of the home's partition; another one for each change of the home.
    """

    place: int
    epoch: int

    @property
    def stored(self) -> str:
        """The home as it is stored."""
        return f"{self.place} {self.epoch}"


def read_home(stored: bytes) -> Home:
    """Return a stored home."""
    place, epoch = stored.split()
    return Home(int(place), int(epoch))


def noted(homes: str, value: str) -> str:
    """Return the field that stands for a home among what changed while rows are copied to a twin."""
    return f"{homes}\0{value}"


def place_in(entity: Entity[Any], snapshot: Any) -> int:
    """Return the place of a row, which its value of `partition_by` gives it."""
    return place_of(id_text(getattr(snapshot, entity.partition_by)))


def homed_of(prepared: Prepared) -> list[Homed]:
    """Return the key and the unique values of a row that is to be written, the key first."""
    claims = [entry for entry in prepared.entries if type(entry) is ClaimEntry]
    values = [Homed(prepared.entity, claim.unique, claim.value) for claim in claims]
    return [Homed(prepared.entity, "", prepared.key), *values]


def is_located(entity: Entity[Any]) -> bool:
    """Return whether the partition of a row follows from its key, so that the key has no home."""
    return entity.partition_by in entity.key_fields


def has_homes(entity: Entity[Any], unique: str) -> bool:
    """Return whether the values of a unique constraint have homes: rows of several partitions could have the same one."""
    constraint = entity.uniques[unique]
    return entity.partition_by not in constraint.fields or bool(constraint.normalize)


def may_have_homes(package: Package) -> bool:
    """Return whether keys or unique values of a package have homes where a group has several partitions."""
    return any(
        not is_located(entity) or any(has_homes(entity, unique) for unique in entity.uniques)
        for entity in package.entities.values()
    )


def arriving(change: Change) -> list[Homed]:
    """Return what needs a home before a change is made: the key of a new row, and its new unique values."""
    prepared, entity = change.prepared, change.entity
    if prepared is None:
        return []
    found = [Homed(entity, "", change.key)] if change.old is None and not is_located(entity) else []
    if entity.uniques:
        before = values_of(entity, change.old_entries) if change.old is not None else []
        found += [value for value in values_of(entity, prepared.entries) if value not in before]
    return found


def staying(change: Change) -> list[Homed]:
    """Return what has a home that a row needs after a change, and needed before it: its key, and its unique values that stay."""
    prepared, entity = change.prepared, change.entity
    if prepared is None:
        return []
    new = arriving(change)
    found = [] if is_located(entity) else [Homed(entity, "", change.key)]
    return [thing for thing in (*found, *values_of(entity, prepared.entries)) if thing not in new]


def leaving(change: Change) -> list[Homed]:
    """Return what has no use for a home after a change was made: the key of a removed row, and unique values that are given up."""
    entity = change.entity
    found = [Homed(entity, "", change.key)] if change.prepared is None and not is_located(entity) else []
    if entity.uniques:
        after = values_of(entity, change.new_entries)
        found += [value for value in values_of(entity, change.old_entries) if value not in after]
    return found


def values_of(entity: Entity[Any], entries: Sequence[Entry]) -> list[Homed]:
    """Return the unique values with homes among the entries of a row."""
    claims = [entry for entry in entries if type(entry) is ClaimEntry]
    return [Homed(entity, claim.unique, claim.value) for claim in claims if has_homes(entity, claim.unique)]


def not_after(context: Context, partition: Partition) -> int:
    """Return the time on a partition's server, in microseconds, after which a step that is begun now is refused there.

    It is asked for before the home is read or the fence is set that the step rests on: then the fence outlives the step.
    """
    seconds = min(context.policy.deadline, LONGEST)
    return context.clock(partition).now() + int(seconds * 1_000_000) + _SLACK
