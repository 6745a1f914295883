"""Operations while partitions are doubled: each believes in one state of them, and begins again when that is outdated.

Every read asks the registries of its partitions in the same pipeline, behind what it reads. Plans, and steps on homes, name what
they believe, and are refused. docs/how-partitions-work.md has the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from keyweave.effects import Command, ConnectionFailure, Effect, Flow, Reply, Send, Word
from keyweave.exchange.ask import Backoff
from keyweave.exchange.driven import driven
from keyweave.exchange.handshake import learn_numbers
from keyweave.exchange.outdated import moving
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context
from keyweave.store.doubling import PartitionsMovedError
from keyweave.store.registry import PARTITIONS

T = TypeVar("T")

_WRITING: Final = (
    "apply",
    "free",
    "unlock",
    "outcome",
    "claim_home",
    "fence_home",
    "release_home",
    "aside",
)
"""Scripts whose answers say themselves what the partition has, or do not depend on it."""

_SCRIPTED: Final = frozenset({"EVAL", "EVALSHA"})


def again(context: Context, make: Callable[[Context], Flow[T]]) -> Flow[T]:
    """Run an operation, and run it again until what it believed about partitions was so to its end.

    Args:
        make: returns the flow of the operation, which has no effect before it is outdated; given a context.

    Raises:
        ConflictError: inside a transaction, which has to begin again.
        StoreUnavailableError: the deadline passed.
    """
    backoff: Backoff | None = None
    while True:
        doublings = context.doubling or context.keyspace.doublings
        if not doublings:
            return (yield from make(context))
        inner = context.amid(doublings)
        try:
            return (yield from observed(inner, make(inner)))
        except PartitionsMovedError:
            pass
        if context.unit is not None:
            yield from learn_numbers(context)
            raise context.unit.moved()
        backoff = backoff or Backoff(context)
        error = moving(context)
        error.code = "TRYAGAIN"
        yield from backoff.pause(error)
        yield from learn_numbers(context)


def observed(context: Context, flow: Flow[T]) -> Flow[T]:
    """Run a flow, and throw `PartitionsMovedError` into it when a partition that it read has other rows than it believes."""
    if context.doubling is None:
        return (yield from flow)
    tags = {each.tag: each for each in _partitions(context)}
    writing = {context.scripts[name].sha for name in _WRITING} | {
        context.scripts[name].text for name in _WRITING
    }

    def carry_out(effect: Effect) -> Flow[Any]:
        asked = _asked(effect.commands, tags, writing) if type(effect) is Send else []
        if type(effect) is not Send or not asked:
            return (yield effect)
        number = len(effect.commands)
        checks: list[Command] = [("HGET", each.schema, PARTITIONS) for each in asked]
        try:
            replies = yield msgspec.structs.replace(effect, commands=(*effect.commands, *checks))
        except ConnectionFailure as failure:
            raise failure.copy() from failure  # the answers of some servers say nothing without those to the checks
        if not _agree(context, asked, replies[number:]):
            raise PartitionsMovedError
        return replies[:number]

    return (yield from driven(flow, carry_out))


def _partitions(context: Context) -> list[Partition]:
    known = context.doubling or {}
    return [
        context.keyspace.at(group, index)
        for group, doubling in known.items()
        for index in range(min(doubling.target, context.keyspace.number(group)))
    ]


def _asked(commands: Sequence[Command], tags: dict[str, Partition], writing: set[str]) -> list[Partition]:
    """Return the partitions that commands read; none if one of the commands answers for itself."""
    found: dict[Partition, None] = {}
    for command in commands:
        if command[0] in _SCRIPTED:
            if command[1] in writing:
                return []
            key: Word = command[3] if len(command) > 3 else ""
        else:
            key = command[1] if len(command) > 1 else ""
        name = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
        tag, brace, _ = name.partition("}:")
        partition = tags.get(tag + brace)
        if partition is not None:
            found[partition] = None
    return list(found)


def _agree(context: Context, asked: Sequence[Partition], numbers: Sequence[Reply]) -> bool:
    assert context.doubling is not None
    return all(
        context.doubling[partition.group].agrees(partition.index, number)
        for partition, number in zip(asked, numbers, strict=True)
        if number is None or isinstance(number, bytes)
    )
