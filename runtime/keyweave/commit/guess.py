"""The removal of a row with the rows that refer to it, as this process remembers them: a guess that needs no read.

The plan is guarded by the revision of the row, by the whole documents of the rows that refer to it, and by their number. So if
another writer has changed or added one, or if one cannot be read any more, nothing is removed, and the family is read.
"""

from __future__ import annotations

from typing import Any

from keyweave.changes.change import Change
from keyweave.document.codec import Prepared
from keyweave.document.head import write_head
from keyweave.model.entity import Entity
from keyweave.model.record import Stored
from keyweave.store.context import Context
from keyweave.store.recent import LARGEST, LARGEST_FAMILY, Member


def remember_relation(context: Context, prepared: Prepared) -> None:
    """Note that a row was inserted: rows may refer to it from now on, and it may refer to rows."""
    entity = prepared.entity
    families = context.state.recent.families
    for reference in entity.references:
        target = reference.key_in(prepared.snapshot)
        if target is not None:
            families.join(reference.target, target, (entity.name, prepared.key))
    if context.package.referrers[entity.name]:
        families.begin(entity.name, prepared.key)


def forget_relation(context: Context, change: Change) -> None:
    """Note that a row was deleted."""
    entity, key, old = change.entity, change.key, change.old
    if context.package.referrers[entity.name]:
        context.state.recent.families.end(entity.name, key)
    if old is not None and old.snapshot is not None:
        leave_families(context, entity, key, old.snapshot)


def forget_rows(context: Context, changes: list[Change]) -> None:
    """Note that rows were deleted together. The family of a row that is gone needs no member to leave it."""
    gone = {(change.entity.name, change.key) for change in changes}
    recent, referrers = context.state.recent, context.package.referrers
    for change in changes:
        entity, key = change.entity, change.key
        recent.drop(entity.name, key)
        if referrers[entity.name]:
            recent.families.end(entity.name, key)
        assert change.old is not None
        for reference in entity.references:
            target = reference.key_in(change.old.snapshot)
            if target is not None and (reference.target, target) not in gone:
                recent.families.leave(reference.target, target, (entity.name, key))


def remembered_family(context: Context, entity: Entity[Any], key: str, root: Stored) -> list[Change] | None:
    """Return the removals of a row and of the rows that refer to it, leaves first; None if the family has to be read.

    Args:
        root: the row, as this process wrote it last.
    """
    families, first = context.state.recent.families, _removal(entity, key, root)
    if not context.package.referrers[entity.name]:
        return [first]
    if context.unbuilt or context.homing or context.policy.command_words is not None:
        return None
    if families.of(entity.name, key) is None or not families.guesses.take(entity.name):
        return None
    found: dict[Member, Change] = {(entity.name, key): first}
    waiting = [first]
    most = min(LARGEST_FAMILY + 1, context.policy.chunk)
    while waiting:
        children = _children(context, waiting.pop(), found)
        if children is None or len(found) > most:
            return None
        waiting += children
    if sum(len(row.document) for row in found.values()) > LARGEST:
        return None
    return list(reversed(found.values()))


def _children(context: Context, parent: Change, found: dict[Member, Change]) -> list[Change] | None:
    """Return the rows that refer to a row and are not in `found`, add them to it, and count the references to the row.

    Returns:
        None if they are not known, or if one of them forbids to delete the row.
    """
    kinds = context.package.referrers[parent.entity.name]
    members = context.state.recent.families.of(parent.entity.name, parent.key) if kinds else ()
    if members is None:
        return None
    numbers = [0] * len(kinds)
    fresh: list[Change] = []
    for member in members:
        child = found.get(member) or _remembered(context, member)
        if child is None:
            return None
        assert child.old is not None
        refers = False
        for place, each in enumerate(kinds):
            if each.entity is child.entity and each.reference.key_in(child.old.snapshot) == parent.key:
                if not each.reference.cascade:
                    return None
                numbers[place] += 1
                refers = True
        if refers and member not in found:
            found[member] = child
            fresh.append(child)
    parent.counts = [
        (each.entity, each.reference.via, (parent.key,), number)
        for each, number in zip(kinds, numbers, strict=True)
    ]
    return fresh


def learn_family(context: Context, family: list[Change], *, right: bool) -> None:
    """Note whether a guess was right. If it was wrong, its rows are forgotten, and later deletes read more often."""
    recent, root = context.state.recent, family[-1]
    if context.package.referrers[root.entity.name]:
        recent.families.guesses.note(root.entity.name, right=right)
        recent.families.end(root.entity.name, root.key)
    for row in family:
        recent.drop(row.entity.name, row.key)
        # The family of the only row that another one refers to has ended with that.
        if right and row.old is not None and (row is root or len(row.entity.references) > 1):
            leave_families(context, row.entity, row.key, row.old.snapshot)


def leave_families(context: Context, entity: Entity[Any], key: str, snapshot: Any) -> None:
    """Note that a row no longer refers to others, because it was deleted."""
    for reference in entity.references:
        target = reference.key_in(snapshot)
        if target is not None:
            context.state.recent.families.leave(reference.target, target, (entity.name, key))


def _remembered(context: Context, member: Member) -> Change | None:
    """Return the removal of a row that refers to another, as this process wrote it last."""
    name, key = member
    known = context.state.recent.whole(name, key)
    if known is None or not known[1]:
        return None
    stored, body = known
    document = write_head(stored.revision, stored.created, stored.expires, stored.op) + body
    return _removal(context.package.entities[name], key, stored, document)


def _removal(entity: Entity[Any], key: str, stored: Stored, document: bytes = b"") -> Change:
    """Return the removal of a row that has this document, or, without one, the revision that is remembered."""
    guard = "same" if document else "revision"
    return Change(entity, key, old=stored, prepared=None, guard=guard, document=document)
