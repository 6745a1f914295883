"""Who carries out one operation: a context, and the record of what is done with it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from keyweave.effects import Effect
from keyweave.store.context import Context
from keyweave.write.transact import transact
from tools.simulate.history import Act

Program: TypeAlias = Generator[Effect, Any, Any]
"""What a client does: flows, one behind another."""


class Aborted(Exception):
    """What a closure raises to discard its transaction."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One operation at work.

    Attributes:
        context: of the client's process.
        act: what is recorded.
    """

    context: Context
    act: Act

    @property
    def token(self) -> str:
        """What everything that this operation writes carries."""
        return self.act.token

    def transact(self, closure: Callable[[Context], Program]) -> Program:
        """A transaction. Its closure is a program that is given the transaction's context, and may run again."""

        def again(context: Context) -> Program:
            self.act.begin_try()
            return closure(context)

        return transact(self.context, _itself, again)


def _itself(context: Context) -> Context:
    return context
