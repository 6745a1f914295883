"""The bytes of one call without a client: packed before, sent to the masters of a cluster, and the replies only parsed.

What remains is the kernel and the servers. No client takes less with the same commands.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

from keyweave.connection.direct.wire import INCOMPLETE, READ_SIZE, new_reader, pack_command
from keyweave.connection.redis_py.cluster.route import by_owner
from keyweave.connection.redis_py.cluster.slots import Node
from keyweave.effects import Command

_PATIENCE: Final = 10_000
"""Milliseconds to wait for a reply."""


class Payload(NamedTuple):
    """What one master is sent in one trip, and how many replies it gives."""

    node: Node
    data: bytes
    replies: int


Trips = list[list[Payload]]
"""The round trips of a call; each has a payload for every master that is asked at the same time."""


def trips_of(store: Any, call: Callable[[], Any]) -> Trips:
    """Make a call, and return its round trips."""
    channel: Any = store.session.shell.channel
    exchange, sent = channel.exchange, []

    def noting(commands: Sequence[Command], *rest: Any) -> Any:
        sent.append(commands)
        return exchange(commands, *rest)

    channel.exchange = noting
    try:
        call()
    finally:
        channel.exchange = exchange
    return [_payloads(channel, commands) for commands in sent]


def _payloads(channel: Any, commands: Sequence[Command]) -> list[Payload]:
    slots = channel._slots
    owners = by_owner(commands, slots.tagged, slots.owner)
    assert owners is not None, "the bytes of this call cannot be sent again"
    return [
        Payload(node, b"".join([pack_command(commands[place]) for place in places]), len(places))
        for node, places in owners.items()
    ]


class Wire:
    """One connection to each master."""

    def __init__(self, sockets: dict[Node, socket.socket]) -> None:
        self._sockets: Final = sockets
        self._buffer: Final = bytearray(READ_SIZE)
        self._polls: Final[dict[Node, Any]] = {}
        for node, connection in sockets.items():
            poll = self._polls[node] = select.poll()
            poll.register(connection, select.POLLIN)

    def send(self, trips: Trips) -> None:
        """Send the bytes of a call, and read all replies of a trip before the next one."""
        for trip in trips:
            for node, data, _ in trip:
                self._sockets[node].sendall(data)
            for node, _, replies in trip:
                self._read(node, replies)

    def _read(self, node: Node, expected: int) -> None:
        connection, poll, buffer = self._sockets[node], self._polls[node], self._buffer
        reader, found = new_reader(), 0
        while found < expected:
            if not poll.poll(_PATIENCE):
                raise TimeoutError(f"{node.host}:{node.port} does not answer")
            reader.feed(buffer, 0, connection.recv_into(buffer))
            while reader.gets() is not INCOMPLETE:
                found += 1


@contextmanager
def connected(calls: Sequence[Trips]) -> Iterator[Wire]:
    """Connect to every master that calls are sent to."""
    nodes = {payload.node for trips in calls for trip in trips for payload in trip}
    with ExitStack() as stack:
        sockets = {node: stack.enter_context(socket.create_connection(node)) for node in nodes}
        for each in sockets.values():
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Wire(sockets)
