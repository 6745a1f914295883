"""Deleting rows with everything that refers to them.

Children are deleted in the same plan, which is guarded so that none can be added meanwhile. A family too large
for one plan is deleted in chunks, the parent last, so an interrupted delete can be resumed.
"""

from __future__ import annotations

from typing import Any

from keyweave.context import Context
from keyweave.effects import Flow
from keyweave.entity import Entity
from keyweave.errors import TransactionConflictError
from keyweave.flows.committing import commit, refused
from keyweave.flows.families import (
    Family,
    Place,
    load_members,
    members_of,
    place,
    place_of,
    read_family,
    removal,
    restricted,
)
from keyweave.flows.healing import heal_entries
from keyweave.flows.reading import deadline_passed
from keyweave.keytext import checked_text
from keyweave.record import Stored
from keyweave.unit import Change, UnitOfWork


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
    newer: Change | None = None
    guess = context.recent.get(entity.name, key) if not context.package.referrers[entity.name] else None
    if guess is not None:
        removed, newer = yield from _discard_remembered(context, entity, key, guess)
        if removed:
            return True
    attempts = context.policy.attempts
    for _ in range(attempts):
        found = (newer, Family([])) if newer is not None else (yield from _read(context, entity, key))
        newer = None
        if found is None:
            return False
        change, family = found
        if (yield from remove_rows(context, [change], family)):
            return True
    raise TransactionConflictError(
        f"{entity.name}: deleting lost {attempts} tries to other writers", attempts=attempts
    )


def _discard_remembered(
    context: Context, entity: Entity[Any], key: str, guess: Stored
) -> Flow[tuple[bool, Change | None]]:
    """Try to remove a row that nobody refers to as this process wrote it last.

    Returns:
        Whether it was removed, and the removal of what a refusal brought. The row has to be read when it brought nothing:
        it may be gone, and it may be past its deadline.
    """
    entries = context.codec(entity).entries_of(guess)
    change = Change(entity, key, old=guess, old_entries=entries, prepared=None, guard="revision")
    started = context.monotonic()
    refusal = yield from commit(context, [change], show=True)
    if refusal is None:
        return True, None
    # A lost try that landed left a mark, by which the next would have been recognised. So it did not, and cannot later:
    # the guess was out of date, or is by now.
    if not refusal.certain and context.monotonic() - started >= context.policy.marker_ttl:
        raise refused(refusal)
    context.recent.drop(entity.name, key)
    document = refusal.document
    return False, removal(context, entity, key, document, "revision") if document is not None else None


def _read(
    context: Context, entity: Entity[Any], key: str, *, whole: bool = False
) -> Flow[tuple[Change, Family | None] | None]:
    """The removal of a live row, and who refers to it, all of them if the family is wanted `whole`."""
    found = yield from read_family(
        context, entity, key, "revision", None if whole else context.policy.chunk + 1
    )
    if found is None:
        return None
    old = found[0].old
    if old is not None and old.expires and (yield from deadline_passed(context, old.expires)):
        context.stats.meet_expired(entity.name)
        return None
    return found


def remove_rows(context: Context, roots: list[Change], family: Family | None = None) -> Flow[bool]:
    """Remove rows with their families; False when somebody else changed them meanwhile.

    A family that fits into one plan goes in one step. From a larger one, children are removed first, so that
    what is left fits in the end. Roots that are guarded as dead are swept: whether a lost try landed does not matter,
    because the next look tells.

    Args:
        roots: the removals of the rows.
        family: who refers to them, as `read_family` gives it, or None when that is not known yet.
    """
    sweeping = all(root.guard == "dead" for root in roots)
    waiting: list[list[Change]] = [roots]
    known = family
    above: set[Place] = set()
    gone: set[Place] = set()
    while waiting:
        rows = [row for row in waiting.pop() if place(row) not in gone]
        changes, complete = yield from _collect(context, rows, above, known)
        known = None
        if not complete:
            if not gone and not above:
                yield from _refuse_restricted(context, rows)
            if len(rows) > 1:
                middle = len(rows) // 2
                waiting += [rows[middle:], rows[:middle]]
                continue
            above.add(place(rows[0]))
            waiting += [rows, changes or (yield from _some_children(context, rows[0], above))]
            continue
        refusal = (yield from commit(context, changes, sweeping=sweeping)) if changes else None
        if refusal is not None:
            if not refusal.certain and not sweeping:
                raise refused(refusal)
            context.stats.conflict(roots[0].entity.name)
            return False
        gone |= {place(change) for change in changes}
    return True


def _collect(
    context: Context, roots: list[Change], above: set[Place], known: Family | None
) -> Flow[tuple[list[Change], bool]]:
    """The rows of `roots` with everything that refers to them, leaves first, each guarded, and True.

    When they are too many for one plan, the lowest rows that were reached, if they are below the roots, and False.
    Rows in `above` wait for these to be removed: in a circle of references they are left alone. `known` is who refers
    to the roots, if that was read already.
    """
    most = context.policy.chunk
    levels = [roots]
    seen = {*above, *(place(root) for root in roots)}
    size = len(roots)
    members = (
        known.members if known is not None else (yield from members_of(context, roots, most + len(seen)))
    )
    rows = known.rows if known is not None else None
    while levels[-1]:
        fresh = [member for member in members if place_of(member) not in seen]
        places = {place_of(member) for member in fresh}
        size += len(places)
        if fresh and size > most:
            return levels[-1] if len(levels) > 1 else [], False
        # A row without a document is not remembered as seen: each parent drops its own entry of it.
        reach = most + len(seen) + len(places)
        children, members = yield from load_members(context, fresh, reach, rows)
        rows = None
        seen |= {place(child) for child in children}
        levels.append(children)
    return [change for level in reversed(levels) for change in level], True


def _some_children(context: Context, root: Change, above: set[Place]) -> Flow[list[Change]]:
    """Some of the rows that refer to `root`; entries that lead to no child are removed."""
    most = max(1, context.policy.chunk // 2)
    members = yield from members_of(context, [root], most + len(above))
    children, _ = yield from load_members(
        context, [each for each in members if place_of(each) not in above], 0
    )
    for entity, key, revision, entries in root.dangling:
        yield from heal_entries(context, entity, key, revision, entries)
    return children[:most]


def _refuse_restricted(context: Context, roots: list[Change]) -> Flow[None]:
    """Look through a family that will not go in one step, so that a refusal comes before the first row is gone."""
    if not any(_may_be_restricted(context, root.entity.name) for root in roots):
        return
    seen = {place(root) for root in roots}
    members = yield from members_of(context, roots, None)
    while members:
        fresh = [member for member in members if place_of(member) not in seen]
        seen |= {place_of(member) for member in fresh}
        _, members = yield from load_members(context, fresh, None)


def _may_be_restricted(context: Context, name: str) -> bool:
    """Whether any row below a row of this entity can refer to its parent with restrict."""
    names = [name]
    for each in names:
        for referrer in context.package.referrers[each]:
            if not referrer.reference.cascade:
                return True
            if referrer.entity.name not in names:
                names.append(referrer.entity.name)
    return False


def _discard_buffered(context: Context, unit: UnitOfWork, entity: Entity[Any], key: str) -> Flow[bool]:
    """Buffer the deletion of a row and of everything that refers to it as this unit sees it.

    A stored row that the unit has changed counts with its new references only: it stays, with its own family,
    when it was moved away, and goes when it was moved here.
    """
    own = unit.change_of(entity, key)
    if own is not None and own.prepared is None:
        return False
    if own is None:
        found = yield from _read(context, entity, key, whole=True)
        if found is None:
            return False
        change, family = found
        members = family.members if family is not None else (yield from members_of(context, [change], None))
        loaded = unit.loaded.get((entity.name, key))
        if loaded is not None and change.old is not None:
            change.old.revision = loaded.revision
    else:
        change = _doom(own)
        members = yield from members_of(context, [change], None)
    doomed: dict[Place, Change] = {}
    level = [change]
    while level:
        doomed |= {place(row): row for row in level}
        stored = [
            member
            for member in members
            if place_of(member) not in doomed and unit.change_of(member[1].entity, member[2]) is None
        ]
        level, members = yield from load_members(context, stored, None)
        moved = _buffered_referrers(unit, doomed)
        members += yield from members_of(context, moved, None)
        level += moved
    for row in reversed(doomed.values()):
        unit.buffer(row)
    return True


def _buffered_referrers(unit: UnitOfWork, doomed: dict[Place, Change]) -> list[Change]:
    """Rows of this unit that refer to a doomed row.

    Raises:
        ReferenceViolationError: one of them does with restrict.
    """
    found: dict[Place, Change] = {}
    for change in unit.changes.values():
        if change.prepared is None or place(change) in doomed:
            continue
        for reference in change.entity.references:
            parent = doomed.get((reference.target, getattr(change.prepared.snapshot, reference.field)))
            if parent is None:
                continue
            if not reference.cascade:
                raise restricted(parent, change.entity, reference.field)
            found[place(change)] = _doom(change)
    return list(found.values())


def _doom(change: Change) -> Change:
    """The deletion of a row that this unit has changed before."""
    return Change(
        change.entity,
        change.key,
        old=change.old,
        old_entries=change.old_entries,
        prepared=None,
        guard=change.guard,
    )
