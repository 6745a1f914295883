"""The actor of one operation: a context, and the record of what is done with it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from keyweave.effects import Effect
from keyweave.exchange.lease import lease_of
from keyweave.store.context import Context
from keyweave.write.transact import transact
from tools.simulate.history import Act, History

Program: TypeAlias = Generator[Effect, Any, Any]
"""What a client does: flows, one behind another."""


class Aborted(Exception):
    """What a closure raises to discard its transaction."""


@dataclass(slots=True)
class Budget:
    """How long the call under way may take.

    Attributes:
        until: the process's monotonic time after which nothing is sent; None for no limit.
    """

    until: float | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """One operation at work.

    Attributes:
        context: of the client's process.
        act: what is recorded.
        ledger_ends: seconds until the server drops the ledger of this client.
        history: of the run.
        now: virtual microseconds.
        budget: of the call under way.
    """

    context: Context
    act: Act
    ledger_ends: Callable[[], float]
    history: History
    now: Callable[[], int]
    budget: Budget = field(default_factory=Budget)

    @property
    def token(self) -> str:
        """What everything that this operation writes carries."""
        return self.act.token

    def begin_part(self, number: int) -> Act:
        """A row that this operation writes, as an operation of its own."""
        act, history = self.act, self.history
        part = Act(f"{act.token}.{number}", act.kind, act.arguments, act.who, history.tick(), self.now())
        history.acts.append(part)
        return part

    def end_part(self, part: Act, outcome: str, error: BaseException | None) -> None:
        """What became of a row."""
        part.ended, part.ended_at = self.history.tick(), self.now()
        part.outcome, part.error = outcome, error

    def call(self, flow: Program) -> Program:
        """A call of a repository: the policy's deadline is its budget, as a session has it, also of what it learns before."""
        self.budget.until = self.context.monotonic() + self.context.policy.deadline
        self.act.calls += 1
        try:
            return (yield from self._leased(flow, bounded=True))
        finally:
            self.budget.until = None

    def maintain(self, flow: Program) -> Program:
        """A call of the store, which may take any time, as a session runs it."""
        return self._leased(flow, bounded=False)

    def _leased(self, flow: Program, *, bounded: bool) -> Program:
        """Run a flow as `keyweave.sync.shell.renewing` does."""
        lease, monotonic = lease_of(self.context, bounded), self.context.monotonic
        if lease.short or not bounded:
            flow = lease.within(flow)
        if lease.state.known and monotonic() - lease.state.known > lease.age:
            yield from lease.renew()
        return (yield from flow)

    def transact(self, closure: Callable[[Context], Program]) -> Program:
        """A transaction. Its closure is a program that is given the transaction's context, and may run again."""

        def again(context: Context) -> Program:
            self.act.begin_try()
            return closure(context)

        until = self.context.monotonic() + self.context.policy.deadline
        return self.call(transact(self.context, _itself, again, until))


def _itself(context: Context) -> Context:
    return context
