"""Deadlines are compared with the server's clock: with a young estimate when that is decisive, else with the result of TIME.

On a cluster the clock is that of the master that holds the partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from keyweave.effects import Command, Flow, Reply
from keyweave.exchange.ask import ask
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context

TIME: Final[Command] = ("TIME",)

_RECENT: Final = 60.0
"""Seconds for which the estimate serves where no row depends on it."""


def deadline_passed(context: Context, partition: Partition, expires: int) -> Flow[bool]:
    """Return whether a deadline (microseconds since 1970) has passed on the server's clock."""
    passed = context.clock(partition).passed(expires)
    if passed is None:
        passed = expires <= (yield from server_time(context, partition))
    return passed


def deadlines_passed(context: Context, partition: Partition, deadlines: Sequence[int]) -> Flow[list[bool]]:
    """Return for each deadline whether it has passed; 0 stands for none. The server is asked once at most."""
    clock = context.clock(partition)
    passed = [clock.passed(deadline) if deadline else False for deadline in deadlines]
    if None not in passed:
        return cast(list[bool], passed)
    now = yield from server_time(context, partition)
    return [0 < deadline <= now for deadline in deadlines]


def current_time(context: Context, partition: Partition) -> Flow[int]:
    """Return the server's time in microseconds since 1970: an estimate from the last minute, else the result of TIME."""
    if context.clock(partition).reliable(_RECENT):
        return context.clock(partition).now()
    return (yield from server_time(context, partition))


def estimated_time(context: Context, partition: Partition) -> Flow[int]:
    """Return the server's time for display and statistics, as `current_time`, but never ask for it a first time."""
    clock = context.clock(partition)
    if clock.stale() and not clock.reliable(_RECENT):
        return (yield from server_time(context, partition))
    return clock.now()


def read_clocks(context: Context) -> Flow[None]:
    """Set the clocks of all servers that hold partitions, in one exchange."""
    every = context.keyspace.partitions()
    partitions = every if context.clustered else every[:1]
    commands = tuple(command for each in partitions for command in time_commands(context, each))
    replies = yield from ask(context, commands)
    step = len(commands) // len(partitions)
    for partition, reply in zip(partitions, replies[step - 1 :: step], strict=True):
        context.clock(partition).set(micros_of(reply))


def server_time(context: Context, partition: Partition) -> Flow[int]:
    """Ask for the server's time, in microseconds since 1970, and set the store's clock to it."""
    *_, reply = yield from ask(context, time_commands(context, partition))
    now = micros_of(reply)
    context.clock(partition).set(now)
    return now


def time_commands(context: Context, partition: Partition) -> tuple[Command, ...]:
    """Return TIME, on a cluster behind a key that leads it to the master that holds the partition."""
    return (("EXISTS", partition.clock), TIME) if context.clustered else (TIME,)


def micros_of(reply: Reply) -> int:
    """Return the microseconds since 1970 in a reply to TIME."""
    seconds, micros = reply
    return int(seconds) * 1_000_000 + int(micros)
