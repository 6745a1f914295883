"""Deleting rows with everything that refers to them.

Children are found by view and deleted in the same plan, guarded so that none can be added meanwhile. A
family too large for one plan is deleted in chunks, the parent last, so an interrupted delete can be resumed.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from keyweave.context import Context
from keyweave.effects import Command, Flow
from keyweave.entity import Entity, Referrer
from keyweave.entry import REVISION, ViewEntry
from keyweave.errors import ReferenceViolationError, TransactionConflictError
from keyweave.flows.asking import ask
from keyweave.flows.committing import commit, refused
from keyweave.flows.handshaking import require_built
from keyweave.flows.healing import heal_entries
from keyweave.flows.reading import alive
from keyweave.keytext import checked_text
from keyweave.record import memory_of
from keyweave.unit import Change, UnitOfWork

_MANY: Final = 500

_Place: TypeAlias = tuple[str, str]
"""Entity and key of a row."""

_Member: TypeAlias = tuple[Change, Referrer, str]
"""An entry that says: by this reference, the row with this key refers to this parent."""


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
    """Remove rows with their families; False when somebody else changed them meanwhile.

    A family that fits into one plan goes in one step. From a larger one, children are removed first, so that
    what is left fits in the end.
    """
    waiting: list[list[Change]] = [roots]
    above: set[_Place] = set()
    gone: set[_Place] = set()
    while waiting:
        rows = [row for row in waiting.pop() if _place(row) not in gone]
        family, complete = yield from _collect(context, rows, above)
        if not complete:
            if not gone and not above:
                yield from _refuse_restricted(context, rows)
            if len(rows) > 1:
                middle = len(rows) // 2
                waiting += [rows[middle:], rows[:middle]]
                continue
            above.add(_place(rows[0]))
            waiting += [rows, family or (yield from _some_children(context, rows[0], above))]
            continue
        refusal = (yield from commit(context, family)) if family else None
        if refusal is not None:
            if not refusal.certain:
                raise refused(refusal)
            context.stats.conflicts += 1
            return False
        gone |= {_place(change) for change in family}
    return True


def _place(change: Change) -> _Place:
    return change.entity.name, change.key


def _collect(context: Context, roots: list[Change], above: set[_Place]) -> Flow[tuple[list[Change], bool]]:
    """The rows of `roots` with everything that refers to them, leaves first, each guarded, and True.

    When they are too many for one plan, the lowest rows that were reached, if they are below the roots, and False.
    Rows in `above` wait for these to be removed: in a circle of references they are left alone.
    """
    most = context.policy.chunk
    levels = [roots]
    seen = {*above, *(_place(root) for root in roots)}
    size = len(roots)
    while levels[-1]:
        members = yield from _members(context, levels[-1], most + len(seen))
        fresh = [member for member in members if _place_of(member) not in seen]
        size += len({_place_of(member) for member in fresh})
        if fresh and size > most:
            return levels[-1] if len(levels) > 1 else [], False
        # A row without a document is not remembered as seen: each parent drops its own entry of it.
        children = yield from _load(context, fresh)
        seen |= {_place(child) for child in children}
        levels.append(children)
    return [change for level in reversed(levels) for change in level], True


def _some_children(context: Context, root: Change, above: set[_Place]) -> Flow[list[Change]]:
    """Some of the rows that refer to `root`; entries that lead to no child are removed."""
    most = max(1, context.policy.chunk // 2)
    members = yield from _members(context, [root], most + len(above))
    children = yield from _load(context, [member for member in members if _place_of(member) not in above])
    for entity, key, revision, entries in root.dangling:
        yield from heal_entries(context, entity, key, revision, entries)
    return children[:most]


def _refuse_restricted(context: Context, roots: list[Change]) -> Flow[None]:
    """Look through a family that will not go in one step, so that a refusal comes before the first row is gone."""
    if not any(_may_be_restricted(context, root.entity.name) for root in roots):
        return
    level, seen = roots, {_place(root) for root in roots}
    while level:
        members = yield from _members(context, level, None)
        fresh = [member for member in members if _place_of(member) not in seen]
        seen |= {_place_of(member) for member in fresh}
        level = yield from _load(context, fresh)


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


def _members(context: Context, parents: list[Change], most: int | None) -> Flow[list[_Member]]:
    """Who refers to the parents, by their views, up to `most` for each. The parents' guards are set accordingly."""
    pairs: list[tuple[Change, Referrer]] = []
    commands: list[Command] = []
    for parent in parents:
        parent.counts, parent.dangling = [], []
        for referrer in context.package.referrers[parent.entity.name]:
            if context.unbuilt:
                yield from require_built(context, referrer.entity, referrer.reference.via)
            partition = context.partition(referrer.entity)
            view = partition.view(referrer.entity.name, referrer.reference.via, (parent.key,))
            pairs.append((parent, referrer))
            commands.append(("ZRANGE", view, 0, -1 if most is None else most - 1))
    if not commands:
        return []
    lists = yield from ask(context, tuple(commands))
    for (parent, referrer), keys in zip(pairs, lists, strict=True):
        parent.counts.append((referrer.entity, referrer.reference.via, (parent.key,), len(keys)))
    return [
        (parent, referrer, key.decode())
        for (parent, referrer), keys in zip(pairs, lists, strict=True)
        for key in keys
    ]


def _place_of(member: _Member) -> _Place:
    return member[1].entity.name, member[2]


def _load(context: Context, members: list[_Member]) -> Flow[list[Change]]:
    """The rows of `members`, each once, dead ones included. An entry without a document is noted on its parent.

    Raises:
        ReferenceViolationError: a live row refers to its parent with restrict.
    """
    children: dict[_Place, Change] = {}
    for start in range(0, len(members), _MANY):
        part = members[start : start + _MANY]
        keys = [
            context.partition(referrer.entity).document(referrer.entity.name, key)
            for _, referrer, key in part
        ]
        (documents,) = yield from ask(context, (("MGET", *keys),))
        for member, document in zip(part, documents, strict=True):
            child = yield from _child(context, member, document)
            if child is not None:
                children.setdefault(_place(child), child)
    return list(children.values())


def _child(context: Context, member: _Member, document: bytes | None) -> Flow[Change | None]:
    parent, referrer, key = member
    entity, via = referrer.entity, referrer.reference.via
    if document is None:
        parent.dangling.append((entity, key, None, [ViewEntry(via, (parent.key,), key, REVISION)]))
        return None
    codec = context.codec(entity)
    record = codec.load(document)
    if getattr(record, referrer.reference.field) != parent.key:
        # The server freed the row of this entry, and its key has been given to another: that one is no child.
        own = memory_of(record)
        assert own is not None
        parent.dangling.append((entity, key, own.revision, [ViewEntry(via, (parent.key,), key, REVISION)]))
        return None
    if not referrer.reference.cascade and (yield from alive(context, record)):
        raise _restricted(parent, entity, referrer.reference.field)
    stored = memory_of(record)
    assert stored is not None
    return Change(
        entity, key, old=stored, old_entries=codec.entries_of(stored), prepared=None, guard="unchanged"
    )


def _restricted(parent: Change, entity: Entity[Any], field: str) -> ReferenceViolationError:
    return ReferenceViolationError(
        f"{parent.entity.name}: rows of {entity.name} refer to it by {field}",
        entity=parent.entity.name,
        field=field,
        target=entity.name,
    )


def _discard_buffered(context: Context, unit: UnitOfWork, entity: Entity[Any], key: str) -> Flow[bool]:
    """Buffer the deletion of a row and of everything that refers to it as this unit sees it.

    A stored row that the unit has changed counts with its new references only: it stays, with its own family,
    when it was moved away, and goes when it was moved here.
    """
    own = unit.change_of(entity, key)
    if own is not None and own.prepared is None:
        return False
    if own is None:
        change = yield from _read(context, entity, key)
        if change is None:
            return False
        loaded = unit.loaded.get((entity.name, key))
        if loaded is not None and change.old is not None:
            change.old.revision = loaded.revision
    else:
        change = _doom(own)
    doomed: dict[_Place, Change] = {}
    level = [change]
    while level:
        doomed |= {_place(row): row for row in level}
        members = yield from _members(context, level, None)
        stored = [
            member
            for member in members
            if _place_of(member) not in doomed and unit.change_of(member[1].entity, member[2]) is None
        ]
        level = [*(yield from _load(context, stored)), *_buffered_referrers(unit, doomed)]
    for row in reversed(doomed.values()):
        unit.buffer(row)
    return True


def _buffered_referrers(unit: UnitOfWork, doomed: dict[_Place, Change]) -> list[Change]:
    """Rows of this unit that refer to a doomed row.

    Raises:
        ReferenceViolationError: one of them does with restrict.
    """
    found: dict[_Place, Change] = {}
    for change in unit.changes.values():
        if change.prepared is None or _place(change) in doomed:
            continue
        for reference in change.entity.references:
            parent = doomed.get((reference.target, getattr(change.prepared.snapshot, reference.field)))
            if parent is None:
                continue
            if not reference.cascade:
                raise _restricted(parent, change.entity, reference.field)
            found[_place(change)] = _doom(change)
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
