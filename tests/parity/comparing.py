"""Running one history on two engines, and comparing the result of each step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from compozy_engine import Engine
from compozy_engine.errors import KeyweaveError
from tests.parity.histories import MOMENTS
from tests.parity.steps import Boom, Call, Slots, Step

LAST: tuple[Call, ...] = (
    Call("auth.list_users"),
    Call("workflows.list_states"),
    Call("tasks.list_states"),
)
"""The last step of every history: all rows."""


class Side:
    """One engine, as far as a history has come.

    A time that the store sets is identified by the step at which it was first seen, which is the same on
    both sides although the clocks differ.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._slots: Slots = {}
        self._seen: dict[datetime, int] = {}
        self._step = 0

    async def outcome(self, step: Step) -> str:
        """The result of a step, as JSON; errors by name."""
        self._step += 1
        try:
            outcome = await step.run(self._engine, self._slots)
        except (KeyweaveError, Boom) as error:
            return f"{type(error).__name__}{[name for name in (getattr(error, 'constraint', ''),) if name]}"
        plain = msgspec.to_builtins(outcome, builtin_types=(bytes, datetime))
        return json.dumps(self._comparable(plain), sort_keys=True)

    def _comparable(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return f"@{value}" if value in MOMENTS else self._seen.setdefault(value, self._step)
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, list | tuple):
            return [self._comparable(each) for each in value]
        if isinstance(value, dict):
            return {name: self._comparable(each) for name, each in value.items()}
        return value


async def drift(history: Sequence[Step], left: Engine, right: Engine) -> str | None:
    """The first step in which two engines differ; None if there is none."""
    sides = Side(left), Side(right)
    for number, step in enumerate((*history, *LAST)):
        first, second = [await side.outcome(step) for side in sides]
        if first != second:
            return f"step {number}: {step}\n  one:   {first}\n  other: {second}"
    return None
