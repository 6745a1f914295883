"""The lease of a store: how long its operations may rely on the numbers of partitions that it has read.

A doubling begins only when every lease that was taken before its announcement has ended. docs/how-partitions-work.md has the protocol.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from keyweave.effects import ConnectionFailure, Effect, Flow, Send
from keyweave.errors import KeyweaveError
from keyweave.exchange.driven import driven
from keyweave.exchange.handshake import learn_numbers
from keyweave.store.context import Context
from keyweave.store.doubling import LEASE, longest_age, may_outlast, renewal_age

T = TypeVar("T")


class Lease:
    """The lease of a store, as one kind of run uses it.

    Args:
        budget: seconds that a run may take; None: no limit.

    Attributes:
        budget: as given.
        state: of the store; when the numbers were read.
        age: seconds after which they have to be read again before a run begins.
        short: whether a run that the policy's deadline ends may take longer than the lease.
    """

    def __init__(self, context: Context, budget: float | None) -> None:
        deadline, timeout = context.policy.deadline, context.timeout
        self.budget: Final = budget
        self.state: Final = context.state
        self.age: Final = renewal_age(deadline, timeout)
        self.short: Final = may_outlast(deadline, timeout)
        self._context: Final = context

    def renew(self) -> Flow[None]:
        """Read the numbers again."""
        return learn_numbers(self._context)

    def within(self, flow: Flow[T]) -> Flow[T]:
        """Return a flow that ends when partitions were doubled while it ran."""
        return within_lease(self._context, flow)


def lease_of(context: Context, bounded: bool) -> Lease:
    """Return the lease of runs; `bounded` for those that the policy's deadline ends, and else they may take any time."""
    return Lease(context, context.policy.deadline if bounded else None)


def within_lease(context: Context, flow: Flow[T]) -> Flow[T]:
    """Run a flow, and read the numbers of partitions again before an exchange that would begin too late in the lease.

    If there are other numbers, nothing more is sent for the flow: each of its exchanges fails, for the reason `moved`. So does one whose
    reply came behind the end of the lease: it may have been sent there.
    """
    most = longest_age(context.timeout)
    moved: ConnectionFailure | None = None

    def relearn(age: float) -> Flow[None]:
        nonlocal moved
        known = context.state.known
        if moved is None and known and context.monotonic() - known > age:
            moved = yield from _relearn(context)

    def carry_out(effect: Effect) -> Flow[Any]:
        if type(effect) is not Send:
            return (yield effect)
        yield from relearn(most)
        if moved is not None:
            raise moved.copy()
        answer = yield effect
        yield from relearn(LEASE)  # this process may have stood still before the reply
        if moved is not None:
            raise ConnectionFailure(moved.reason, str(moved), sent=True)
        return answer

    return (yield from driven(flow, carry_out))


def _relearn(context: Context) -> Flow[ConnectionFailure | None]:
    """Read the numbers again. Returns why the flow cannot go on, or None."""
    before = context.keyspace.numbers, context.keyspace.doublings
    try:
        yield from learn_numbers(context)
    except KeyweaveError as error:
        return ConnectionFailure("moved", f"the numbers of partitions cannot be read: {error}", sent=False)
    if (context.keyspace.numbers, context.keyspace.doublings) == before:
        return None
    return ConnectionFailure("moved", "the partitions of a group are being doubled", sent=False)
