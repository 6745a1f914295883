"""Deadlines are judged by the server's clock: from its last answer where that is clear, else by asking it."""

from __future__ import annotations

from keyweave.effects import Flow, Reply
from keyweave.exchange.ask import ask
from keyweave.store.context import Context


def deadline_passed(context: Context, expires: int) -> Flow[bool]:
    """Whether a deadline (microseconds since 1970) has passed on the server's clock."""
    passed = context.state.clock.passed(expires)
    if passed is None:
        passed = expires <= (yield from server_time(context))
    return passed


def server_time(context: Context) -> Flow[int]:
    """Ask for the server's time, in microseconds since 1970, and keep it in the context's clock."""
    (reply,) = yield from ask(context, (("TIME",),))
    now = micros_of(reply)
    context.state.clock.set(now)
    return now


def micros_of(reply: Reply) -> int:
    """Microseconds since 1970 in a reply to TIME."""
    seconds, micros = reply
    return int(seconds) * 1_000_000 + int(micros)
