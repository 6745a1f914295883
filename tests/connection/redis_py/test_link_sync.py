"""A blocking exchange that waits for others between sending and reading, as one with several masters of a cluster does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from keyweave.connection.redis_py.link_sync import BorrowedLink
from keyweave.connection.settings import parse_url
from keyweave.effects import ConnectionFailure, Reply

SECONDS = 0.4

Exchanged = Callable[[bytes, float], list[Reply]]


@pytest.fixture
def exchanged() -> Iterator[Exchanged]:
    """Sends a command to a server that has answered, if with anything, and waits for others for some seconds."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = BorrowedLink(parse_url("redis://nowhere"), SimpleNamespace(_sock=ours, get_protocol=lambda: 2))

        def exchange(reply: bytes, waiting: float) -> list[Reply]:
            theirs.sendall(reply)
            return link.exchange([("PING",)], SECONDS, lambda: time.sleep(waiting))

        yield exchange


def test_what_came_while_others_were_waited_for_is_read(exchanged: Exchanged) -> None:
    assert exchanged(b"+PONG\r\n", 2 * SECONDS) == [b"PONG"]


def test_silent_servers_take_their_time_together_and_not_one_after_another(exchanged: Exchanged) -> None:
    started = time.monotonic()
    with pytest.raises(ConnectionFailure, match="did not answer"):
        exchanged(b"", SECONDS)
    assert time.monotonic() - started < 1.75 * SECONDS
