"""Reads the replies of connections that speak RESP3, and returns them as RESP2 has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from keyweave.connection.direct import wire
from keyweave.effects import Command, Reply

_EXACT: Final = 1e17
"""The integers below it are written with all of their digits, as servers do in RESP2."""


_WITH_SCORES: Final = frozenset(
    {"ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZINTER", "ZUNION", "ZDIFF"}
)
"""Commands whose replies have pairs of a member and its score in RESP3."""


class Resp3Reader:
    """A parser that passes messages which no command asked for to `pushed`.

    Args:
        pushed: receives each such message.
    """

    __slots__ = ("_pushed", "_reader", "feed", "has_data")

    def __init__(self, pushed: Callable[[Any], object]) -> None:
        self._reader = wire.new_reader()
        self._pushed = pushed
        self.feed: Final = self._reader.feed
        self.has_data: Final = self._reader.has_data

    def gets(self) -> Reply:
        """Return the next reply, or `INCOMPLETE`."""
        while isinstance(reply := self._reader.gets(), wire.PushMessage):
            self._pushed(reply)
        return reply


def as_resp2(commands: Sequence[Command], replies: Sequence[Reply]) -> list[Reply]:
    """Return replies in RESP3 as the same server gives them in RESP2."""
    return [_answer(command, reply) for command, reply in zip(commands, replies, strict=True)]


def _answer(command: Command, reply: Reply) -> Reply:
    kind = type(reply)
    if kind is bytes or kind is int or reply is None:
        return reply
    if kind is list and "WITHSCORES" in command and command[0] in _WITH_SCORES:
        # RESP3 has a pair for each member.
        return [_plain(part) for pair in reply for part in pair]
    return _plain(reply)


def _plain(reply: Reply) -> Reply:
    kind = type(reply)
    if kind is list:
        return [_plain(each) for each in reply]
    if kind is dict:
        return [_plain(part) for pair in reply.items() for part in pair]
    if kind is float:
        return _number(reply)
    if kind is bool:
        return int(reply)
    return reply


def _number(value: float) -> bytes:
    if value.is_integer() and abs(value) < _EXACT:
        return b"%d" % value
    return repr(value).encode()
