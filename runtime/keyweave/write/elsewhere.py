"""What other partitions hold of a row that a transaction writes: its key, or one of its unique values."""

from __future__ import annotations

from typing import Any

from keyweave.changes.unit import UnitOfWork
from keyweave.document.codec import Prepared
from keyweave.effects import Flow
from keyweave.exchange.ask import ask
from keyweave.homes.home import Homed, has_homes, is_located
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.read.get import find
from keyweave.store.context import Context


def needing_homes(
    entity: Entity[Any], prepared: Prepared, claims: list[ClaimEntry], new: bool
) -> list[Homed]:
    """Return the key of a row, if it may be `new`, and the new unique values, as far as they need homes."""
    found = [Homed(entity, each.unique, each.value) for each in claims if has_homes(entity, each.unique)]
    return [Homed(entity, "", prepared.key), *found] if new and not is_located(entity) else found


def row_elsewhere(
    context: Context, unit: UnitOfWork, entity: Entity[Any], key: str, partition: Partition | None
) -> Flow[Any]:
    """Return the live row with a key in the other partition that its home names, or None."""
    if partition is None:
        return None
    return (yield from find(context.inside(unit.elsewhere()).at(partition), entity, key))


def owned_elsewhere(
    context: Context, unit: UnitOfWork, entity: Entity[Any], claim: ClaimEntry, partition: Partition
) -> Flow[bool]:
    """Return whether a live row of another partition owns a unique value."""
    (owner,) = yield from ask(context, (("HGET", partition.claims(entity.name, claim.unique), claim.value),))
    if owner is None:
        return False
    found = yield from find(context.inside(unit.elsewhere()).at(partition), entity, owner.decode())
    return found is not None and ClaimEntry(claim.unique, claim.value, owner.decode()) in entity.entries(
        found
    )
