"""Deleting rows with everything that refers to them.

Children are found by view and deleted in the same plan, guarded so that none can be added meanwhile. A
family too large for one plan is deleted in chunks, the parent last, so an interrupted delete can be resumed.
"""

from __future__ import annotations

from typing import Any, Final

from keyweave.context import Context
from keyweave.effects import Command, Flow
from keyweave.entity import Entity, Referrer
from keyweave.entry import REVISION, ViewEntry
from keyweave.errors import ReferenceViolationError, TransactionConflictError
from keyweave.flows.asking import ask
from keyweave.flows.committing import commit, refused
from keyweave.flows.reading import alive
from keyweave.keytext import checked_text
from keyweave.record import memory_of
from keyweave.unit import Change, UnitOfWork

_MANY: Final = 500


class _TooLarge(Exception):
    """A family that does not fit into one plan."""


def delete(context: Context, entity: Entity[Any], key: str) -> Flow[None]:
    """Delete a row and, in the same atomic step, the rows that refer to it with cascade.

    Raises:
        NotFoundError: the entity's own error, when there is no live row.
        ReferenceViolationError: a row refers to it with restrict.
        TransactionConflictError: other writers kept changing the family.
    """
    deleted = yield from discard(context, entity, key)
    if not deleted:
        raise entity.missing(key)


def discard(context: Context, entity: Entity[Any], key: str) -> Flow[bool]:
    """Delete a row like `delete`, and tell whether it was there."""
    checked_text(key)
    unit = context.unit
    if unit is not None:
        return (yield from _discard_buffered(context, unit, entity, key))
    attempts = context.policy.attempts
    for _ in range(attempts):
        change = yield from _read(context, entity, key)
        if change is None:
            return False
        if (yield from remove_rows(context, [change])):
            return True
    raise TransactionConflictError(
        f"{entity.name}: deleting lost {attempts} tries to other writers", attempts=attempts
    )


def _read(context: Context, entity: Entity[Any], key: str) -> Flow[Change | None]:
    (document,) = yield from ask(context, (("GET", context.partition(entity).document(entity.name, key)),))
    if document is None:
        return None
    codec = context.codec(entity)
    record = codec.load(document)
    if not (yield from alive(context, record)):
        return None
    stored = memory_of(record)
    assert stored is not None
    return Change(
        entity, key, old=stored, old_entries=codec.entries_of(stored), prepared=None, guard="revision"
    )


def remove_rows(context: Context, roots: list[Change]) -> Flow[bool]:
    """Remove rows with their families; False when somebody else changed them meanwhile."""
    try:
        family = yield from collect(context, roots, context.policy.chunk)
    except _TooLarge:
        return (yield from _remove_in_chunks(context, roots))
    refusal = yield from commit(context, family)
    if refusal is None:
        return True
    if not refusal.certain:
        raise refused(refusal)
    context.stats.conflicts += 1
    return False


def _remove_in_chunks(context: Context, roots: list[Change]) -> Flow[bool]:
    if len(roots) > 1:
        middle = len(roots) // 2
        left = yield from remove_rows(context, roots[:middle])
        right = yield from remove_rows(context, roots[middle:])
        return left and right
    root = roots[0]
    for referrer in context.package.referrers[root.entity.name]:
        while True:
            children, _ = yield from _children(context, [(root, referrer)], context.policy.chunk // 2)
            if not children:
                break
            if not (yield from remove_rows(context, children)):
                return False
    return (yield from remove_rows(context, roots))


def collect(context: Context, roots: list[Change], most: int) -> Flow[list[Change]]:
    """The rows of `roots` with everything that refers to them, leaves first, each guarded.

    Raises:
        ReferenceViolationError: a restricting reference has live rows.
    """
    levels = [roots]
    seen = {(change.entity.name, change.key) for change in roots}
    while levels[-1]:
        pairs = [
            (parent, referrer)
            for parent in levels[-1]
            for referrer in context.package.referrers[parent.entity.name]
        ]
        if not pairs:
            break
        children, sizes = yield from _children(context, pairs, None if context.unit else most)
        for (parent, referrer), number in zip(pairs, sizes, strict=True):
            parent.counts.append((referrer.entity, referrer.reference.via, (parent.key,), number))
        fresh = [child for child in children if (child.entity.name, child.key) not in seen]
        seen |= {(child.entity.name, child.key) for child in fresh}
        levels.append(fresh)
        if context.unit is None and len(seen) > most:
            raise _TooLarge
    return [change for level in reversed(levels) for change in level]


def _children(
    context: Context, pairs: list[tuple[Change, Referrer]], most: int | None
) -> Flow[tuple[list[Change], list[int]]]:
    """Rows that refer to the parents, dead ones included, and how many members each view has."""
    commands: list[Command] = []
    for parent, referrer in pairs:
        partition = context.partition(referrer.entity)
        view = partition.view(referrer.entity.name, referrer.reference.via, (parent.key,))
        commands.append(("ZRANGE", view, 0, -1 if most is None else most))
    lists = yield from ask(context, tuple(commands))
    wanted: dict[tuple[str, str], tuple[Change, Referrer]] = {}
    for (parent, referrer), members in zip(pairs, lists, strict=True):
        for member in members:
            wanted.setdefault((referrer.entity.name, member.decode()), (parent, referrer))
    children: list[Change] = []
    places = list(wanted.items())
    for start in range(0, len(places), _MANY):
        part = places[start : start + _MANY]
        keys = [context.partition(pair[1].entity).document(name, key) for (name, key), pair in part]
        (documents,) = yield from ask(context, (("MGET", *keys),))
        for ((_, key), (parent, referrer)), document in zip(part, documents, strict=True):
            child = yield from _child(context, parent, referrer, key, document)
            if child is not None:
                children.append(child)
    return children, [len(members) for members in lists]


def _child(
    context: Context, parent: Change, referrer: Referrer, key: str, document: bytes | None
) -> Flow[Change | None]:
    entity, via = referrer.entity, referrer.reference.via
    if document is None:
        parent.dangling.append((entity, key, [ViewEntry(via, (parent.key,), key, REVISION)]))
        return None
    codec = context.codec(entity)
    record = codec.load(document)
    if not referrer.reference.cascade and (yield from alive(context, record)):
        raise ReferenceViolationError(
            f"{parent.entity.name}: rows of {entity.name} refer to it by {referrer.reference.field}",
            entity=parent.entity.name,
            field=referrer.reference.field,
            target=entity.name,
        )
    stored = memory_of(record)
    assert stored is not None
    return Change(
        entity, key, old=stored, old_entries=codec.entries_of(stored), prepared=None, guard="unchanged"
    )


def _discard_buffered(context: Context, unit: UnitOfWork, entity: Entity[Any], key: str) -> Flow[bool]:
    own = unit.change_of(entity, key)
    if own is not None and own.prepared is None:
        return False
    if own is None:
        change = yield from _read(context, entity, key)
        if change is None:
            return False
        loaded = unit.loaded.get((entity.name, key))
        if loaded is not None and change.old is not None:
            change.old.revision = loaded
    else:
        change = Change(entity, key, old=own.old, old_entries=own.old_entries, prepared=None, guard=own.guard)
    family = yield from collect(context, [change], context.policy.chunk)
    doomed = {(member.entity.name, member.key) for member in family}
    # Rows of this unit that refer to a doomed row go with it; stored children that this unit moved away stay.
    for member in family:
        moved = unit.change_of(member.entity, member.key)
        if member is not change and moved is not None and not _refers(moved, doomed):
            continue
        unit.buffer(member)
    while True:
        more = [
            other
            for other in unit.changes.values()
            if other.prepared is not None
            and (other.entity.name, other.key) not in doomed
            and _refers(other, doomed)
        ]
        if not more:
            return True
        for other in more:
            doomed.add((other.entity.name, other.key))
            unit.buffer(
                Change(
                    other.entity,
                    other.key,
                    old=other.old,
                    old_entries=other.old_entries,
                    prepared=None,
                    guard=other.guard,
                )
            )


def _refers(change: Change, doomed: set[tuple[str, str]]) -> bool:
    if change.prepared is None:
        return True
    return any(
        (reference.target, getattr(change.prepared.snapshot, reference.field)) in doomed
        for reference in change.entity.references
    )
