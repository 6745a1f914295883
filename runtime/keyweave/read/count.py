"""Counting a view by cardinalities, never by documents. Rows past their deadline are not counted."""

from __future__ import annotations

from typing import Any, Final

from keyweave.commit.allowance import Allowance
from keyweave.effects import Command, Flow
from keyweave.errors import AuthenticationError, StoreReadOnlyError
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.deadline import deadlines_passed
from keyweave.exchange.handshake import require_built
from keyweave.expiry.sweep import BATCH, Unsweepable, sweep_step
from keyweave.model.entity import Entity
from keyweave.store.context import Context

LOOKUPS: Final = 10_000
"""Maximum number of members that a count looks up to find dead ones. When it needs more, it sweeps first."""

_SWEPT: Final = 1000
_SECONDS: Final = 0.1
"""A count sweeps so many rows at most, and begins no further step after so many seconds. Then it looks up the rest."""


def count(context: Context, entity: Entity[Any], view: str, values: tuple[str, ...]) -> Flow[int]:
    """Return the number of live rows in a view for `values`."""
    numbers = yield from _cardinalities(context, entity, [(view, values)])
    return numbers[0]


def group_counts(
    context: Context, entity: Entity[Any], view: str, values: tuple[str, ...]
) -> Flow[dict[str, int]]:
    """Return the number of live rows for each value of a view's last field; values without rows are left out.

    `values` are the key texts of the fields before it.
    """
    groups = entity.views[view].groups
    numbers = yield from _cardinalities(context, entity, [(view, (*values, group)) for group in groups])
    return {group: number for group, number in zip(groups, numbers, strict=True) if number > 0}


def _cardinalities(
    context: Context, entity: Entity[Any], sets: list[tuple[str, tuple[str, ...]]]
) -> Flow[list[int]]:
    if context.unbuilt and sets:
        yield from require_built(context, entity, sets[0][0])
    partition = context.partition(entity)
    keys = [partition.view(entity.name, view, values) for view, values in sets]
    if entity.retention is None:
        commands: tuple[Command, ...] = tuple(("ZCARD", key) for key in keys)
        numbers = yield from ask(context, commands)
    else:
        numbers = yield from _live_counts(context, entity, keys)
    unit = context.unit
    if unit is None:
        return [int(number) for number in numbers]
    counts: list[int] = []
    for number, (view, values) in zip(numbers, sets, strict=True):
        # A dead row that this unit deletes with its parent is not in `number`.
        former = list(unit.former_members(entity, view, values))
        passed = yield from deadlines_passed(
            context, [change.old.expires if change.old is not None else 0 for change in former]
        )
        dead = {change.key for change, ended in zip(former, passed, strict=True) if ended}
        counts.append(int(number) + unit.net_gain(entity, view, values, dead))
    return counts


def _live_counts(context: Context, entity: Entity[Any], keys: list[str]) -> Flow[list[int]]:
    partition = context.partition(entity)
    prefix = partition.expiring(entity.name, "")
    bound = LOOKUPS
    unsweepable = Unsweepable()
    allowance = Allowance(context.monotonic, _SWEPT, _SECONDS)
    while True:
        reply = yield from ask_script(context, "count", (partition.expiry, *keys), (prefix, bound))
        if reply[0] != b"SWEEP_FIRST":
            return [int(number) for number in reply]
        removed = 0
        if not allowance.spent:
            try:
                step = yield from sweep_step(context, partition, BATCH, unsweepable, allowance)
                removed = step.removed
            except (StoreReadOnlyError, AuthenticationError):
                allowance.charge(allowance.rows)  # a server or user that may not write sweeps nothing
        if not removed:
            # The rest cannot be swept, or not soon, so the count has to look it up.
            bound *= 2
