"""Deadlines are compared with the server's clock: with a young estimate when that is decisive, else with the result of TIME."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from keyweave.effects import Command, Flow, Reply
from keyweave.exchange.ask import ask
from keyweave.store.context import Context

TIME: Final[Command] = ("TIME",)

_RECENT: Final = 60.0
"""Seconds for which the estimate serves where no row depends on it."""


def deadline_passed(context: Context, expires: int) -> Flow[bool]:
    """Return whether a deadline (microseconds since 1970) has passed on the server's clock."""
    passed = context.state.clock.passed(expires)
    if passed is None:
        passed = expires <= (yield from server_time(context))
    return passed


def deadlines_passed(context: Context, deadlines: Sequence[int]) -> Flow[list[bool]]:
    """Return for each deadline whether it has passed; 0 stands for none. The server is asked once at most."""
    clock = context.state.clock
    passed = [clock.passed(deadline) if deadline else False for deadline in deadlines]
    if None not in passed:
        return cast(list[bool], passed)
    now = yield from server_time(context)
    return [0 < deadline <= now for deadline in deadlines]


def current_time(context: Context) -> Flow[int]:
    """Return the server's time in microseconds since 1970: an estimate from the last minute, else the result of TIME."""
    if context.state.clock.reliable(_RECENT):
        return context.state.clock.now()
    return (yield from server_time(context))


def estimated_time(context: Context) -> Flow[int]:
    """Return the server's time for display and statistics, as `current_time`, but never ask for it a first time."""
    clock = context.state.clock
    if clock.stale() and not clock.reliable(_RECENT):
        return (yield from server_time(context))
    return clock.now()


def server_time(context: Context) -> Flow[int]:
    """Ask for the server's time, in microseconds since 1970, and set the store's clock to it."""
    (reply,) = yield from ask(context, (TIME,))
    now = micros_of(reply)
    context.state.clock.set(now)
    return now


def micros_of(reply: Reply) -> int:
    """Return the microseconds since 1970 in a reply to TIME."""
    seconds, micros = reply
    return int(seconds) * 1_000_000 + int(micros)
