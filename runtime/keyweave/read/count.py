"""Counting a view by cardinalities, never by documents. Rows past their deadline are not counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from keyweave.commit.allowance import Allowance
from keyweave.effects import Command, Flow, Word
from keyweave.errors import AuthenticationError, StoreReadOnlyError
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.bound import most_lists
from keyweave.exchange.deadline import deadlines_passed
from keyweave.exchange.handshake import require_built
from keyweave.expiry.sweep import BATCH, Unsweepable, sweep_step
from keyweave.homes.misplaced import has_misplaced, is_misplaced
from keyweave.model.entity import Entity
from keyweave.model.keytext import key_text
from keyweave.read.conditions import checked_field
from keyweave.read.stream import Stream
from keyweave.store.context import Context

LOOKUPS: Final = 10_000
"""Maximum number of members that a count looks up to find dead ones. When it needs more, it sweeps first."""

_SWEPT: Final = 1000
_SECONDS: Final = 0.1
"""A count sweeps so many rows at most, and begins no further step after so many seconds. Then it looks up the rest."""


_READ: Final = 500
"""Documents that are read at once."""


def count_streams(context: Context, entity: Entity[Any], streams: Sequence[Stream]) -> Flow[list[int]]:
    """Return the number of live rows in each of several lists of one view, all with the same ends."""
    if not streams:
        return []
    partition = context.partition(entity)
    keys = [partition.view(entity.name, each.view.name, each.values) for each in streams]
    numbers = yield from _sizes(context, entity, streams[0], keys)
    unit = context.unit
    if unit is None:
        return numbers
    counts: list[int] = []
    for number, stream in zip(numbers, streams, strict=True):
        view, values = stream.view.name, stream.values
        # A dead row that this unit deletes with its parent is not in `number`.
        former = list(unit.former_members(entity, view, values))
        passed = yield from deadlines_passed(
            context,
            context.partition(entity),
            [change.old.expires if change.old is not None else 0 for change in former],
        )
        dead = {change.key for change, ended in zip(former, passed, strict=True) if ended}
        counts.append(number + unit.net_gain(entity, view, values, dead))
    return counts


def group_counts(
    context: Context, entity: Entity[Any], view: str, values: tuple[Any, ...]
) -> Flow[dict[str, int]]:
    """Return the number of live rows for each value of a view's last field; values without rows are left out.

    `values` are those of the fields before it.

    Raises:
        ValidationError: a value has another type.
    """
    if context.router is not None:
        return (yield from context.router.groups(group_counts, context, entity, view, values))
    index = entity.views[view]
    before = tuple(
        key_text(checked_field(entity, name, value))
        for name, value in zip(index.fields, values, strict=False)
    )
    partition = context.partition(entity)
    misplaced = context.doubling is not None and has_misplaced(context, partition)
    if misplaced or context.unit is not None:
        streams = [Stream(index, (*before, group)) for group in index.groups]
        numbers = yield from (_count_rows if misplaced else count_streams)(context, entity, streams)
    else:
        keys = partition.views(entity.name, view, before, index.groups)
        numbers = yield from _sizes(context, entity, Stream(index, before), keys)
    return {group: number for group, number in zip(index.groups, numbers, strict=True) if number > 0}


def _count_rows(context: Context, entity: Entity[Any], streams: Sequence[Stream]) -> Flow[list[int]]:
    """Return the number of rows of lists, of a partition that may have some that have moved to its twin: they are read."""
    partition, numbers = context.partition(entity), []
    for stream in streams:
        key = partition.view(entity.name, stream.view.name, stream.values)
        (members,) = yield from ask(context, (("ZRANGE", key, 0, -1),))
        number = 0
        for start in range(0, len(members), _READ):
            names = [
                partition.document(entity.name, member.decode()) for member in members[start : start + _READ]
            ]
            (documents,) = yield from ask(context, (("MGET", *names),))
            found = [context.codec(entity).peek(document) for document in documents if document is not None]
            ended = yield from deadlines_passed(context, partition, [head.expires for _, head in found])
            number += sum(
                not passed and not is_misplaced(context, partition, entity, record)
                for (record, _), passed in zip(found, ended, strict=True)
            )
        numbers.append(number)
    return numbers


def _sizes(context: Context, entity: Entity[Any], stream: Stream, keys: list[str]) -> Flow[list[int]]:
    """Return the number of live rows in each of several lists of one view.

    Args:
        stream: one of them, whose view and ends all have.
        keys: theirs.

    Raises:
        ViewNotBuiltError: the view is not built.
    """
    if context.unbuilt:
        yield from require_built(context, entity, stream.view.name)
    if entity.retention is not None:
        return (yield from _live_counts(context, entity, keys, stream.words))
    command, ends = "ZLEXCOUNT" if stream.view.by_text else "ZCOUNT", stream.ends
    commands: tuple[Command, ...] = tuple([(command, key, *ends) if ends else ("ZCARD", key) for key in keys])
    return [int(number) for number in (yield from ask(context, commands))]


def _live_counts(
    context: Context, entity: Entity[Any], keys: list[str], ends: tuple[Word, ...]
) -> Flow[list[int]]:
    most = most_lists(context)
    if most is not None and len(keys) > most:
        first = yield from _live_counts(context, entity, keys[:most], ends)
        return first + (yield from _live_counts(context, entity, keys[most:], ends))
    partition = context.partition(entity)
    prefix = partition.expiring(entity.name, "")
    bound = LOOKUPS
    unsweepable = Unsweepable()
    allowance = Allowance(context.monotonic, _SWEPT, _SECONDS)
    while True:
        reply = yield from ask_script(context, "count", (partition.expiry, *keys), (prefix, bound, *ends))
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
