"""An asyncio exchange on redis-py's streams that waits for others between sending and reading."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from keyweave.connection.redis_py.link_aio import BorrowedLink
from keyweave.connection.settings import parse_url
from keyweave.effects import ConnectionFailure

SECONDS = 0.4


async def exchanged(reply: bytes, meanwhile: Callable[[], Awaitable[None]]) -> Any:
    """Send a command to a server that has answered, if with anything; its replies."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(reply)
        reader, writer = await asyncio.open_connection(sock=ours)
        connection = SimpleNamespace(_reader=reader, _writer=writer, get_protocol=lambda: 2)
        try:
            return await BorrowedLink(parse_url("redis://nowhere"), connection).exchange(
                [("PING",)], SECONDS, meanwhile
            )
        finally:
            writer.close()
            await writer.wait_closed()


def test_what_came_while_others_were_waited_for_is_read() -> None:
    assert asyncio.run(exchanged(b"+PONG\r\n", lambda: asyncio.sleep(2 * SECONDS))) == [b"PONG"]


def test_silent_servers_take_their_time_together_and_not_one_after_another() -> None:
    started = time.monotonic()
    with pytest.raises(ConnectionFailure, match="did not answer"):
        asyncio.run(exchanged(b"", lambda: asyncio.sleep(SECONDS)))
    assert time.monotonic() - started < 1.75 * SECONDS
