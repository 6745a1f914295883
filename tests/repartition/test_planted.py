"""Steps of a repartition in another order: a client that acts between its exchanges has to find each."""

from __future__ import annotations

import inspect
from typing import Any, Final

import pytest

from keyweave.errors import KeyweaveError
from keyweave.repartition import grow
from tests.repartition import test_grow
from tools.simulate.mutants import Mutant, planted

_DOUBLE: Final = "keyweave.repartition.grow:_double"
_HAND_OVER: Final = "keyweave.repartition.grow:_hand_over"


def part(function: Any, first: str, last: str) -> str:
    """Return the lines of a function from one that begins with `first` to one that begins with `last`."""
    lines = inspect.getsource(function).splitlines(keepends=True)
    begin = next(number for number, line in enumerate(lines) if line.strip().startswith(first))
    end = next(
        number for number, line in enumerate(lines) if number >= begin and line.strip().startswith(last)
    )
    return "".join(lines[begin : end + 1])


COPY: Final = part(grow._double, "for start in", "yield from together")
FLIP: Final = (
    "    for pair in waiting:\n        yield from _hand_over(context, pair, locator, still)\n"  # not the first such loop
)
LEARN: Final = "    yield from learn_numbers(context)\n"
CLEAN: Final = part(grow._double, 'stage = Stage("removes', "yield from together")
REST: Final = part(grow._hand_over, "while (yield from drain", "pass")
OPEN: Final = part(grow._hand_over, "yield from _step(context, pair.twin", "yield from _step")
MOVE: Final = part(grow._hand_over, "moved = yield", "moved = yield")
LAST: Final = part(grow._hand_over, "while (yield from drain", "moved = yield")
"""From the copy of the rest to the flip."""

_STEP: Final = (
    "    for pair in waiting:\n        yield from _step(context, pair.{}, pair, pair.{}, 0, '', 'none', 'begun')\n"
)

ORDERS: Final = (
    Mutant("rows are copied after the flip", _DOUBLE, COPY + FLIP, FLIP + COPY),
    Mutant("the rest is copied after the flip", _HAND_OVER, LAST, LAST.removeprefix(REST) + REST),
    Mutant(
        "the rest is copied after the flip by a process that no token stops",
        _HAND_OVER,
        LAST,
        LAST.removeprefix(REST)
        + "        if moved:\n"
        + "            pair.__class__ = type('Late', (Pair,), {'filling': Pair.opened, 'phase': Pair.moved})\n"
        + REST,
    ),
    Mutant(
        "a partition goes on while the rest is copied",
        _HAND_OVER,
        part(grow._hand_over, "yield from _step(context, pair.source", "pass"),
        "        pair.frozen = 0\n        yield from drain(context, pair, locator)\n",
    ),
    Mutant("the twin is opened after the flip", _HAND_OVER, OPEN + MOVE, MOVE + OPEN),
    Mutant(
        "the twin is opened before the rest is copied",
        _HAND_OVER,
        LAST,
        OPEN.replace("revision", "0") + LAST.replace(OPEN, ""),
    ),
    Mutant("what moves is removed before the flip", _DOUBLE, FLIP + LEARN + CLEAN, CLEAN + FLIP + LEARN),
    Mutant(
        "changes are noted from the end of the copy on",
        _DOUBLE,
        part(grow._double, "for pair in waiting", "for start").rpartition("    for start")[0] + COPY,
        _STEP.format("twin", "filling") + COPY + _STEP.format("source", "phase"),
    ),
)


@pytest.mark.parametrize("mutant", ORDERS, ids=lambda each: each.name)
def test_steps_in_another_order_are_found(mutant: Mutant) -> None:
    with planted(mutant), pytest.raises((AssertionError, KeyweaveError)):
        test_grow.test_clients_write_and_read_between_all_exchanges(2, 4)
