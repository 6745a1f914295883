"""The same work on every side, proved before anything is timed: results are compared, and the rows after writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from tools.bench.bare import BareSide, same_answers
from tools.bench.case import Case, Turn
from tools.bench.data import Data
from tools.bench.sides import Side

_MANAGED: Final = {"created_at", "last_used"}
_OWNED: Final = {"task_exec_id", "workflow_exec_id"}


class Difference(AssertionError):
    """Two sides did not do the same work."""


async def verify(case: Case, sides: Sequence[Side], data: Data, turns: int) -> int:
    """Make the same calls on all sides; how many results were compared.

    Raises:
        Difference: a result, or what a write left behind, is not the same as on the first side.
    """
    compared = 0
    for number in range(turns):
        turn = Turn(number, data)
        expected: Any = None
        for side in sides:
            outcome = await side.once(case, turn)
            left = comparable(await side.observed(case, turn)) if case.writes else None
            if isinstance(side, BareSide):
                if not same_answers(side.sent, outcome.result):
                    raise Difference(f"{case.name}: the server answered {side.name} otherwise")
                found = (expected[0] if expected is not None else None, left)
            else:
                found = (comparable(outcome.result), left)
            if expected is None:
                expected = found
            elif found != expected:
                raise Difference(f"{case.name}: {side.name} is not like {sides[0].name} in turn {number}")
            compared += 1
    return compared


def comparable(value: Any) -> Any:
    """A result without the times that a store sets; that they are there is kept."""
    return _comparable(msgspec.to_builtins(value, builtin_types=(bytes, datetime)))


def _comparable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_comparable(each) for each in value]
    if isinstance(value, dict):
        return {name: _field(value, name) for name in value}
    return value


def _field(row: dict[str, Any], name: str) -> Any:
    if name in _MANAGED or (name == "updated_at" and _OWNED & row.keys()):
        return "set" if row[name] is not None else None
    return _comparable(row[name])
