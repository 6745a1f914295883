"""Counting a view from cardinalities, never from documents. Rows past their deadline are not counted."""

from __future__ import annotations

from typing import Any, Final

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.deadline import deadline_passed
from keyweave.exchange.handshake import require_built
from keyweave.expiry.sweep import BATCH, Unsweepable, sweep_step
from keyweave.model.entity import Entity
from keyweave.store.context import Context

LOOKUPS: Final = 10_000
"""Most members that a count looks up to tell the dead from the living; beyond that it sweeps first."""


def count(context: Context, entity: Entity[Any], view: str, values: tuple[str, ...]) -> Flow[int]:
    """How many live rows a view has under `values`."""
    numbers = yield from _cardinalities(context, entity, [(view, values)])
    return numbers[0]


def group_counts(
    context: Context, entity: Entity[Any], view: str, values: tuple[str, ...]
) -> Flow[dict[str, int]]:
    """Live rows by the view's last field, under `values` of the fields before it; only groups that occur."""
    groups = entity.views[view].groups
    numbers = yield from _cardinalities(context, entity, [(view, (*values, group)) for group in groups])
    return {group: number for group, number in zip(groups, numbers, strict=True) if number > 0}


def _cardinalities(
    context: Context, entity: Entity[Any], places: list[tuple[str, tuple[str, ...]]]
) -> Flow[list[int]]:
    if context.state.unbuilt and places:
        yield from require_built(context, entity, places[0][0])
    partition = context.partition(entity)
    keys = [partition.view(entity.name, view, values) for view, values in places]
    if entity.retention is None:
        commands: tuple[Command, ...] = tuple(("ZCARD", key) for key in keys)
        numbers = yield from ask(context, commands)
    else:
        numbers = yield from _live_counts(context, entity, keys)
    unit = context.unit
    if unit is None:
        return [int(number) for number in numbers]
    # A dead row that this unit deletes with its parent is no member already.
    dead: set[str] = set()
    for change in unit.changes.values():
        if change.entity is entity and change.old is not None and change.old.expires:
            if (yield from deadline_passed(context, change.old.expires)):
                dead.add(change.key)
    return [
        int(number) + unit.net_gain(entity, view, values, dead)
        for number, (view, values) in zip(numbers, places, strict=True)
    ]


def _live_counts(context: Context, entity: Entity[Any], keys: list[str]) -> Flow[list[int]]:
    partition = context.partition(entity)
    prefix = partition.expiring(entity.name, "")
    bound = LOOKUPS
    unsweepable = Unsweepable()
    while True:
        reply = yield from ask_script(context, "count", (partition.expiry, *keys), (prefix, bound))
        if reply[0] != b"SWEEP_FIRST":
            return [int(number) for number in reply]
        step = yield from sweep_step(context, partition, BATCH, unsweepable)
        if not step.removed:
            # What cannot be swept has to be looked at.
            bound *= 2
