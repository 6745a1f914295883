"""Misbehaving servers on a real socket, and one interface to the shells of both flavours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import hiredis
import pytest

from keyweave import aio, sync
from keyweave.connection.redis_py import open_aio, open_sync
from keyweave.connection.settings import parse_url
from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, Sleep
from tests.over import client_at
from tests.servers.running import server_url

T = TypeVar("T")

PONG = b"+PONG\r\n"


class Client:
    """One accepted connection, as a misbehaving server sees it."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.connection = connection
        self.number = number
        self._reader = hiredis.Reader(notEnoughData=False)

    def request(self) -> list[bytes] | None:
        """The next command, or None when the client hung up."""
        while (command := self._reader.gets()) is False:
            data = self.connection.recv(65_536)
            if not data:
                return None
            self._reader.feed(data)
        assert isinstance(command, list)
        return command

    def greet(self) -> None:
        """Answer the handshake as a healthy server does."""
        while (command := self.request()) is not None:
            self.send(PONG if command == [b"PING"] else b"+OK\r\n")
            if command == [b"PING"]:
                return

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def wait(self) -> None:
        """Say nothing until the client hangs up."""
        while self.connection.recv(65_536):
            pass


Behaviour: TypeAlias = Callable[[Client], None]


@contextlib.contextmanager
def peer(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server on this machine; yields `host:port`. Each connection is served by `behaviour`, then closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def serve(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, hiredis.ProtocolError), connection:
            connection.settimeout(30)
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            with connection:
                behaviour(Client(connection, number))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(connection)
                threading.Thread(target=serve, args=(connection, len(accepted) - 1), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    host, port = listener.getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def answering(client: Client) -> None:
    """A healthy server that knows PING and ECHO."""
    while (command := client.request()) is not None:
        if command[0] == b"ECHO":
            client.send(b"$%d\r\n%b\r\n" % (len(command[1]), command[1]))
        else:
            client.send(PONG if command[0] == b"PING" else b"+OK\r\n")


class Driver:
    """A shell of either flavour behind one blocking interface."""

    def __init__(self, flavour: str, url: str, **options: Any) -> None:
        self._closed = False
        asynchronous = flavour.startswith("aio")
        self._runner = asyncio.Runner() if asynchronous else None
        self.client: Any = None
        where: Any = parse_url(url, **options)
        if flavour.endswith("redis-py"):
            where = self._channel(url, asynchronous, options)
        self.shell: Any = aio.Shell(where) if asynchronous else sync.Shell(where)

    def _channel(self, url: str, asynchronous: bool, options: dict[str, Any]) -> Any:
        """A channel over a client of redis-py that greets a server as Keyweave does: with a PING at the end."""

        def greet(connection: Any) -> None:
            connection.on_connect_check_health(check_health=False)
            connection.send_command("PING", check_health=False)
            connection.read_response()

        async def greet_async(connection: Any) -> None:
            await connection.on_connect_check_health(check_health=False)
            await connection.send_command("PING", check_health=False)
            await connection.read_response()

        wait = options.pop("pool_timeout", 5)
        more = {
            "protocol": 2,
            "driver_info": None,
            "redis_connect_func": greet_async if asynchronous else greet,
        }
        self.client, self._close_client = client_at(url, asynchronous=asynchronous, more=more, **options)
        self.client.connection_pool.timeout = wait
        return (open_aio if asynchronous else open_sync).client_channel(self.client)

    def run(self, flow: Flow[T]) -> T:
        if self._runner is None:
            return self.shell.run(flow)
        return self._runner.run(self.shell.run(flow))

    def send(self, *commands: Command) -> list[Reply]:
        return self.run(sending(*commands))

    def run_together(self, flows: Sequence[Flow[T]]) -> list[T | BaseException]:
        """Run flows at the same time: in threads, or as tasks."""
        if self._runner is None:
            with ThreadPoolExecutor(len(flows)) as threads:
                futures = [threads.submit(self.shell.run, flow) for flow in flows]
                outcomes: list[T | BaseException] = [
                    future.exception() or future.result() for future in futures
                ]
                return outcomes

        async def gathered() -> list[T | BaseException]:
            return await asyncio.gather(*(self.shell.run(flow) for flow in flows), return_exceptions=True)

        return self._runner.run(gathered())

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._runner is None:
            self.shell.close()
            if self.client is not None:
                self._close_client()
            return
        self._runner.run(self.shell.aclose())
        if self.client is not None:
            self._runner.run(self._close_client())
        self._runner.close()


def sending(*commands: Command) -> Flow[list[Reply]]:
    """A flow that sends one pipeline and returns its replies."""
    replies: list[Reply] = yield Send(commands)
    return replies


def pausing() -> Flow[None]:
    """A flow that pauses for a moment."""
    yield Sleep(0.01)


def unblock(key: str, count: int) -> None:
    """Answer `count` times BLPOP on `key`, over a connection of its own."""
    with sync.Shell(parse_url(server_url())) as shell:
        shell.run(sending(("RPUSH", key, *["x"] * count)))


def failing(driver: Driver, *commands: tuple[str, ...]) -> ConnectionFailure:
    with pytest.raises(ConnectionFailure) as caught:
        driver.send(*(commands or (("ECHO", "x"),)))
    return caught.value


def once(behaviour: Behaviour) -> Behaviour:
    """Misbehave on the first connection and be healthy on later ones."""
    return lambda client: behaviour(client) if client.number == 0 else answering(client)


Open: TypeAlias = Callable[..., Driver]
"""Opens a shell on a URL, with options."""


def drivers(flavour: str) -> Iterator[Open]:
    """Yield a function that opens shells of a flavour; afterwards close them."""
    made: list[Driver] = []

    def open_one(url: str, **options: object) -> Driver:
        made.append(Driver(flavour, url, **options))
        return made[-1]

    yield open_one
    for driver in made:
        driver.close()


def pool_of(shell: Any) -> Any:
    """The pool of a shell with a direct channel."""
    return shell.channel
