"""Deleting rows by one plan, which is packed: it is built only if the server does not answer OK."""

from __future__ import annotations

from keyweave.changes.answer import Refusal
from keyweave.changes.change import Change
from keyweave.changes.packed import RowPacker
from keyweave.changes.removal import may_pack, pack_removals
from keyweave.commit.commit import commit
from keyweave.commit.guess import forget_rows
from keyweave.effects import ConnectionFailure, Flow, Send
from keyweave.exchange.apply import Begun, begin
from keyweave.store.context import Context


def commit_removals(
    context: Context, changes: list[Change], *, sweeping: bool = False
) -> Flow[Refusal | None]:
    """Delete rows of one partition in one atomic step, as `commit` does."""
    begun = yield from send_removals(context, changes, shown=False)
    if begun is None or not was_applied(context, changes, begun):
        return (yield from commit(context, changes, sweeping=sweeping, begun=begun))
    forget_rows(context, changes)
    return None


def send_removals(context: Context, changes: list[Change], *, shown: bool) -> Flow[Begun | None]:
    """Send the plan that makes changes, and return what came of it; None if it cannot be packed.

    Args:
        shown: whether a CHANGED refusal includes the stored document of the first row.
    """
    rows: list[tuple[Change, RowPacker]] = []
    for change in changes:
        packer = context.packer(change.entity) if may_pack(change) and not context.homing else None
        if packer is None:
            return None
        rows.append((change, packer))
    begun = begin(context, rows[0][1].partition)
    command = pack_removals(
        rows,
        begun.op,
        begun.ticket,
        begun.until,
        sha=context.scripts["free"].sha,
        renew=begun.renew,
        shown=shown,
    )
    if command is None:
        context.state.ledger.answered(begun.ticket)
        return None
    try:
        (begun.reply,) = yield Send((command,), None, 1)
    except ConnectionFailure as failure:
        begun.reply = failure
    except BaseException:
        context.state.ledger.leave_open(begun.ticket)  # the caller gave up while the plan may be on its way
        raise
    return begun


def was_applied(context: Context, changes: list[Change], begun: Begun) -> bool:
    """Return whether the plan that `send_removals` has sent was applied."""
    reply = begun.reply
    if type(reply) is not list or reply[0] != b"OK":
        return False
    context.state.ledger.answered(begun.ticket)
    if begun.renew:
        context.state.ledger.renewed(context.partition(changes[0].entity).tag)
    return True
