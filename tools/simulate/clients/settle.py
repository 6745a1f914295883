"""Settling: a client that learned of an unknown outcome asks what became of its write, as `store.outcome(error)` does."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Protocol

from keyweave.changes.unsettled import Settled, Unsettled
from keyweave.effects import Sleep
from keyweave.errors import KeyweaveError, OutcomeUnknownError
from keyweave.write.outcome import outcome
from tools.simulate.clients.actor import Actor, Program
from tools.simulate.history import Act, Settlement
from tools.simulate.network.timeline import Timeline

IN_PIECES: Final = ("box.delete", "box.delete_many", "part.delete")
"""Kinds of operation that may make several plans for one row, of which the error is about one."""

_SETTLES: Final = 0.7
"""How many of those that learn of an unknown outcome settle it."""


class NotApplied(Exception):
    """The client found out that its write has not happened and never will."""


class World(Protocol):
    """What clients live in."""

    @property
    def timeline(self) -> Timeline:
        """Virtual time."""

    def complain(self, checker: str, text: str, *acts: Act) -> None:
        """Report a violation."""


def settling(world: World, actor: Actor, program: Program, chance: Callable[[], random.Random]) -> Program:
    """Run a program; if its outcome is unknown, perhaps settle it, as `chance` has it.

    Raises:
        NotApplied: the write has not happened.
        OutcomeUnknownError: the outcome was not settled, or is that of a part of the operation.
    """
    try:
        return (yield from program)
    except OutcomeUnknownError as error:
        source = chance()
        if source.random() >= _SETTLES:
            raise
        actor.act.answered_at = world.timeline.now
        settled = yield from _settle(world, actor, error, source)
        if settled is None or actor.act.kind in IN_PIECES:
            raise
        if not settled.applied:
            raise NotApplied("settled as not applied") from error
        token = getattr(settled.result, "token", actor.token)
        if token != actor.token:
            actor.act.finding = f"the outcome of {actor.token} has a result with token {token}"
        return None


def _settle(world: World, actor: Actor, error: OutcomeUnknownError, source: random.Random) -> Program:
    """Ask until the server answers, or give up. Returns None if the outcome stays unknown."""
    act, unsettled = actor.act, error.unsettled
    if not isinstance(unsettled, Unsettled):
        world.complain("outcome", f"the error of {act.kind} {act.token} cannot be settled: {unsettled}", act)
        return None
    ledger = unsettled.plan.partition.ledger(unsettled.ticket.session).encode()
    answer = (ledger, b"%d" % unsettled.ticket.slot, b"%d" % unsettled.ticket.sequence)
    for _ in range(source.choice((1, 3, 10, 30))):
        yield Sleep(source.expovariate(1 / source.choice((0.001, 0.1, 1.0))))
        try:
            settled: Settled = yield from outcome(actor.context, error)
        except OutcomeUnknownError:
            world.complain("outcome", f"the outcome of {act.kind} {act.token} can no longer be settled", act)
            return None
        except KeyweaveError:
            continue
        act.settled = Settlement(answer, settled.applied)
        if (yield from outcome(actor.context, error)) != settled:
            world.complain("outcome", f"{act.kind} {act.token} was settled in two ways", act)
        return settled
    return None
