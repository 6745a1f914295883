"""The proxy of the campaign delays, holds and cuts, and never changes the order of bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.faults.site.proxy import Proxy
from tools.faults.site.way import CALM, Weather

MESSAGE = bytes(range(256))


class Sink:
    """A server that keeps what it receives, and sends it back."""

    def __init__(self, path: Path) -> None:
        self.received = b""
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(1000):
                self.received += data
                connection.sendall(data)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    opened = Sink(tmp_path / "sink")
    yield opened
    opened.close()


@pytest.fixture
def proxy(sink: Sink) -> Iterator[Proxy]:
    opened = Proxy(sink.path, 7)
    yield opened
    opened.close()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    received = b""
    while len(received) < len(data) and (part := connection.recv(1000)):
        received += part
    return received


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not condition():
        if time.monotonic() > until:
            return False
        threading.Event().wait(0.005)
    return True


def test_delays_keep_the_order_of_bytes(proxy: Proxy, sink: Sink) -> None:
    proxy.change(Weather(there=(0.0, 0.03), back=(0.0, 0.03)))
    with connected(proxy) as connection:
        for byte in MESSAGE:
            connection.sendall(bytes([byte]))
        assert eventually(lambda: len(sink.received) == len(MESSAGE))
        received = b""
        while len(received) < len(MESSAGE):
            received += connection.recv(1000)
    assert sink.received == received == MESSAGE


def test_held_requests_arrive_although_their_sender_is_gone(proxy: Proxy, sink: Sink) -> None:
    with connected(proxy) as held:
        exchange(held, b"a")
        assert proxy.hold(1.0) == 1
        held.sendall(b"late")
        with connected(proxy) as other:
            assert exchange(other, b"b") == b"b"
    assert sink.received == b"ab"
    proxy.release()
    assert eventually(lambda: sink.received == b"ablate")
    assert eventually(proxy.settle)


@pytest.mark.parametrize(("what", "arrives"), [("answers", b"a+"), ("both", b"a")])
def test_a_cut_loses_answers_and_perhaps_requests(
    proxy: Proxy, sink: Sink, what: str, arrives: bytes
) -> None:
    with connected(proxy) as connection:
        exchange(connection, b"a")
        proxy.hold(1.0)
        connection.sendall(b"+")
        assert eventually(lambda: not proxy.settle())
        assert proxy.cut(1.0, what) == 1
        assert ended(connection)
    proxy.release()
    with connected(proxy) as other:
        assert exchange(other, b"z") == b"z"
    assert eventually(lambda: set(sink.received) == set(arrives + b"z"))


def test_a_refused_connection_is_closed_and_a_later_one_works(proxy: Proxy, sink: Sink) -> None:
    proxy.change(Weather(refuse=True))
    with connected(proxy) as connection:
        assert ended(connection)
    proxy.change(CALM)
    with connected(proxy) as connection:
        assert exchange(connection, MESSAGE) == MESSAGE
