"""Deleting rows with the rows that refer to them.

Children are deleted in the same plan, and its guards fail if another writer adds a child. A family too large for one
plan is deleted in chunks, the parent last, so that an interrupted delete can be resumed.
"""

from __future__ import annotations

from typing import Final

from keyweave.changes.answer import Refusal
from keyweave.changes.change import Change
from keyweave.commit.allowance import Allowance
from keyweave.commit.family import (
    Family,
    RowId,
    load_members,
    member_id,
    members_of,
    row_id,
)
from keyweave.commit.packed_removal import commit_removals
from keyweave.effects import Flow
from keyweave.errors import TransactionConflictError, TransactionTooLargeError
from keyweave.exchange.heal import heal_entries
from keyweave.store.context import Context

_READ_PER_ROW: Final = 64
"""Rows that a sweep of limited time may read for each row that it may remove."""


def remove_rows(
    context: Context, roots: list[Change], family: Family | None = None, allowance: Allowance | None = None
) -> Flow[bool]:
    """Remove rows with their families.

    A family that fits into one plan is removed in one step. In a larger one, children are removed first, until the
    rest fits. If all roots have the guard `dead` or `gone`, this is a sweep: if its outcome is unknown, the next sweep
    finds what is left.

    Another writer may recreate children as fast as they are removed. A chunk of which every row was removed before counts
    as an attempt that was lost to it. The policy bounds these attempts by number, and by time from the first of them.

    Args:
        roots: the removals of the rows.
        family: the family of the roots from `read_family`, or None when it has not been read.
        allowance: what a sweep may cost. It ends after the plan that uses up the rest; the next sweep finds what is left.

    Returns:
        False when another writer changed the rows first, and in a sweep also when one keeps recreating children, or when
        rows are left and the allowance is used up.

    Raises:
        ReferenceViolationError: a live row refers to one of the rows with restrict.
        TransactionConflictError: another writer keeps recreating children.
        OutcomeUnknownError: the connection broke, and the rows have changed since.
        TransactionTooLargeError: the removal of one row does not fit into one command; rows that refer to it may be removed.
    """
    sweeping = all(root.guard in ("dead", "gone") for root in roots)
    waiting: list[list[Change]] = [roots]
    known = family
    postponed: set[RowId] = set()
    # The latest revision of each row that this flow removed. A row with another one was recreated, and is removed again.
    removed: dict[RowId, int] = {}
    lost, lost_since = 0, 0.0
    most = context.policy.chunk
    bounded = allowance
    if allowance is not None and not allowance.timed and _restrictable(context, roots):
        bounded = None  # each part of such a family would begin with a reading of all of it
    while waiting:
        if bounded is not None and removed and bounded.spent:
            return False
        rows = [row for row in waiting.pop() if _revision_of(row) != removed.get(row_id(row))]
        if rows and all(row_id(row) in removed for row in rows):
            lost += 1
            lost_since = lost_since or context.monotonic()
            context.state.stats.conflict(roots[0].entity.name)
            overdue = context.monotonic() - lost_since >= context.policy.deadline
            if lost > context.policy.attempts or overdue:
                if sweeping:
                    return False
                raise TransactionConflictError(
                    f"{roots[0].entity.name}: another writer keeps recreating rows that refer to the deleted one",
                    attempts=lost - 1,
                )
        limit = most if bounded is None else max(min(most, bounded.rows), 1)
        changes, complete = yield from _collect(context, rows, postponed, known, limit)
        known = None
        refusal: Refusal | None = None
        if complete and changes:
            try:
                refusal = yield from commit_removals(context, changes, sweeping=sweeping)
            except TransactionTooLargeError as error:
                size = len(changes) + sum(len(change.dangling) for change in changes)
                if size == 1:
                    raise
                limit = most = max(1, size * error.most // error.words)
                changes, complete = [], False
        if not complete:
            if not removed and not postponed:
                if not (yield from _unrestricted(context, rows, bounded)):
                    return False
            if len(rows) > 1:
                middle = len(rows) // 2
                waiting += [rows[middle:], rows[:middle]]
                continue
            postponed.add(row_id(rows[0]))
            waiting += [rows, changes or (yield from _some_children(context, rows[0], postponed, limit))]
            continue
        if refusal is not None:
            context.state.stats.conflict(roots[0].entity.name)
            return False
        removed |= {row_id(change): _revision_of(change) for change in changes}
        if allowance is not None:
            allowance.charge(len(changes))
    return True


def _revision_of(change: Change) -> int:
    """Return the revision of the row that a change removes."""
    assert change.old is not None
    return change.old.revision


def _collect(
    context: Context, roots: list[Change], postponed: set[RowId], known: Family | None, limit: int
) -> Flow[tuple[list[Change], bool]]:
    """Collect the removals of `roots` and of the rows below them.

    Args:
        postponed: rows that are removed after these. They are skipped, which ends a cycle of references.
        known: the family of the roots, if it has been read.
        limit: maximum number of rows of the plan.

    Returns:
        All removals, leaves first and each guarded, and True. If they are too many for one plan: the lowest level that
        was reached, or nothing when that is the roots, and False.
    """
    levels = [roots]
    seen = {*postponed, *(row_id(root) for root in roots)}
    size = len(roots)
    members = (
        known.members if known is not None else (yield from members_of(context, roots, limit + len(seen)))
    )
    rows = known.rows if known is not None else None
    while levels[-1]:
        fresh = [member for member in members if member_id(member) not in seen]
        row_ids = {member_id(member) for member in fresh}
        size += len(row_ids)
        if fresh and size > limit:
            return levels[-1] if len(levels) > 1 else [], False
        # A row without a document is not added to `seen`: each parent removes its own dangling entry.
        next_limit = limit + len(seen) + len(row_ids)
        children, members = yield from load_members(context, fresh, next_limit, rows)
        rows = None
        seen |= {row_id(child) for child in children}
        levels.append(children)
    return [change for level in reversed(levels) for change in level], True


def _some_children(context: Context, root: Change, postponed: set[RowId], limit: int) -> Flow[list[Change]]:
    """Return the removals of some rows that refer to `root`, at most half of `limit`, and remove entries without a child."""
    limit = max(1, limit // 2)
    members = yield from members_of(context, [root], limit + len(postponed))
    children, _ = yield from load_members(
        context, [each for each in members if member_id(each) not in postponed], 0
    )
    yield from heal_entries(context, root.dangling)
    return children[:limit]


def _unrestricted(context: Context, roots: list[Change], allowance: Allowance | None) -> Flow[bool]:
    """Read a whole family that needs several steps, so that a restrict reference is found before the first removal.

    Returns:
        True; False when the family is too large to be read within the allowance.

    Raises:
        ReferenceViolationError: a live row refers to its parent with restrict.
    """
    if not _restrictable(context, roots):
        return True
    limit = None if allowance is None else _READ_PER_ROW * allowance.rows + 1
    seen = {row_id(root) for root in roots}
    members = yield from members_of(context, roots, limit)
    while members:
        if limit is not None and len(seen) + len(members) >= limit:
            return False
        fresh = [member for member in members if member_id(member) not in seen]
        seen |= {member_id(member) for member in fresh}
        _, members = yield from load_members(context, fresh, limit)
    return True


def _restrictable(context: Context, roots: list[Change]) -> bool:
    """Return whether a row below one of `roots` can refer to its parent with restrict."""
    names = list({root.entity.name for root in roots})
    for each in names:
        for referrer in context.package.referrers[each]:
            if not referrer.reference.cascade:
                return True
            if referrer.entity.name not in names:
                names.append(referrer.entity.name)
    return False
