"""A host with several addresses: `connect_timeout` is one budget for all of them, and each gets a share of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.connection.peers import Open, answering, failing, peer

HOST = "several.addresses.test"
BUDGET = 0.9


@contextmanager
def silent() -> Iterator[tuple[str, int]]:
    """An address that answers no attempt to connect: the queue of connections that wait to be accepted is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address: tuple[str, int] = full.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        time.sleep(0.05)
        yield address


@contextmanager
def refused() -> Iterator[tuple[str, int]]:
    """An address at which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[str, int]]) -> None:
    look_up = socket.getaddrinfo

    def resolved(host: Any, *more: Any, **options: Any) -> Any:
        if host != HOST:
            return look_up(host, *more, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


def test_addresses_without_an_answer_share_the_time(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent() as first, silent() as second, silent() as third:
        resolve_to(monkeypatch, [first, second, third])
        driver = opened(f"redis://{HOST}", connect_timeout=BUDGET)
        began = time.monotonic()
        failure = failing(driver)
        assert (failure.reason, failure.sent) == ("timeout", False)
        assert BUDGET * 0.9 <= time.monotonic() - began <= BUDGET + 0.4


@pytest.mark.parametrize("before", [[silent], [refused, silent], [silent, silent, refused]])
def test_an_address_that_answers_is_reached_behind_others_that_do_not(
    opened: Open, monkeypatch: pytest.MonkeyPatch, before: list[Any]
) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(make()) for make in before]
        host, _, port = stack.enter_context(peer(answering)).rpartition(":")
        resolve_to(monkeypatch, [*others, (host, int(port))])
        driver = opened(f"redis://{HOST}", connect_timeout=BUDGET)
        began = time.monotonic()
        assert driver.send(("ECHO", "x")) == [b"x"]
        assert time.monotonic() - began <= BUDGET


def test_when_every_address_refuses_the_reason_is_reported(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refused() as first, refused() as second:
        resolve_to(monkeypatch, [first, second])
        failure = failing(opened(f"redis://{HOST}"))
        assert failure.reason == "connect" and "refused" in str(failure)
