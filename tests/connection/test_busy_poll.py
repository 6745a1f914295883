"""Busy polling: when it is tried, when it stops, and that it changes nothing but the time that an answer takes."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from keyweave import aio
from keyweave.connection import options
from keyweave.connection.direct import busy_poll as polling
from keyweave.connection.direct.busy_poll import BusyPoll, busy_poll
from keyweave.connection.settings import parse_url
from keyweave.errors import ConfigurationError
from tests.connection.peers import Client, Open, failing, peer, sending
from tests.servers.running import server_url

LIMIT = 0.001


class Pair:
    """A connection, and its other end for the test."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.poller = select.poll()
        self.poller.register(self.near, select.POLLIN)

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What every poll of this test found. The test sets the number of processors to two."""
    found: list[bool] = []
    real = BusyPoll.poll

    def noted(self: BusyPoll, poller: select.poll, since: float) -> bool:
        found.append(real(self, poller, since))
        return found[-1]

    monkeypatch.setattr(BusyPoll, "poll", noted)
    monkeypatch.setattr(polling, "_processors", lambda: 2)
    monkeypatch.setattr(options, "_LONGEST_POLL", 60)
    return found


# Which waits are polled.


@pytest.mark.parametrize(
    ("url", "polls"),
    [
        ("unix:///tmp/s", True),
        ("redis://localhost", True),
        ("redis://127.0.0.1", True),
        ("redis://[::1]", True),
        ("redis://elsewhere", False),
        ("redis://10.0.0.1", False),
        ("rediss://localhost", False),
        ("unix:///tmp/s?busy_poll=0", False),
    ],
)
def test_only_servers_on_this_machine_are_polled(
    url: str, polls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "_processors", lambda: 2)
    assert (busy_poll(parse_url(url)) is not None) is polls


@pytest.mark.parametrize("value", [-1, 0.011, 200, "soon"])
def test_a_limit_that_would_stop_the_caller_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"busy_poll: must be"):
        parse_url("unix:///tmp/s", busy_poll=value)


def test_with_one_processor_no_wait_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_processors", lambda: 1)
    assert busy_poll(parse_url("unix:///tmp/s")) is None


def test_a_wait_beside_other_waits_is_not_polled() -> None:
    poll = BusyPoll(LIMIT)
    assert poll.begin(1)
    assert not poll.begin(2)
    poll.end(1)
    assert not poll.begin(3)
    poll.end(2)
    poll.end(3)
    assert poll.begin(4)


def test_a_forked_child_does_not_count_the_waits_of_its_parent() -> None:
    poll = BusyPoll(LIMIT)
    poll.begin(1)
    poll.forget()
    assert poll.begin(2)


# How long.


def test_a_poll_ends_with_the_answer(pair: Pair) -> None:
    timer = threading.Timer(0.02, pair.far.send, (b"x",))
    timer.start()
    assert BusyPoll(30).poll(pair.poller, time.monotonic())
    timer.join()


def test_a_poll_ends_with_the_connection(pair: Pair) -> None:
    pair.far.close()
    assert BusyPoll(30).poll(pair.poller, time.monotonic())


def test_a_poll_ends_with_the_limit_counted_from_when_the_wait_began(pair: Pair) -> None:
    began = time.monotonic()
    assert not BusyPoll(0.02).poll(pair.poller, began)
    assert time.monotonic() - began >= 0.02
    late = time.monotonic()
    assert not BusyPoll(10).poll(pair.poller, late - 11)
    assert time.monotonic() - late < 5


def test_each_poll_without_an_answer_doubles_the_waits_that_skip_polling(pair: Pair) -> None:
    poll = BusyPoll(LIMIT)
    rests = []
    for _ in range(10):
        rests.append(0)
        while not poll.begin(1):
            rests[-1] += 1
        poll.poll(pair.poller, time.monotonic())
    assert rests == [0, 2, 4, 8, 16, 32, 64, 128, 256, 256]
    pair.far.send(b"x")
    assert poll.poll(pair.poller, time.monotonic())
    rests = [0]
    while not poll.begin(1):
        rests[-1] += 1
    pair.near.recv(1)
    poll.poll(pair.poller, time.monotonic())
    rests.append(0)
    while not poll.begin(1):
        rests[-1] += 1
    assert rests == [256, 2]


# With a server.


def test_a_single_exchange_is_polled(opened: Open, polled: list[bool]) -> None:
    store = opened(server_url(), busy_poll=10)
    polled.clear()
    for number in range(3):
        assert store.send(("ECHO", str(number)), ("ECHO", "x" * 200_000))[0] == str(number).encode()
    assert len(polled) >= 3
    assert all(polled)


def test_exchanges_side_by_side_all_get_their_own_answer(opened: Open, polled: list[bool]) -> None:
    store = opened(server_url(), busy_poll=10)
    answers = store.run_together([sending(("ECHO", str(number))) for number in range(20)])
    assert answers == [[str(number).encode()] for number in range(20)]


def test_a_late_answer_is_awaited_without_polling(opened: Open, polled: list[bool]) -> None:
    def slow(client: Client) -> None:
        client.greet()
        while (command := client.request()) is not None:
            if command[0] == b"SLOW":
                may_answer.wait(30)
            client.send(b"+OK\r\n")

    may_answer = threading.Event()
    with peer(slow) as address:
        store = opened(f"redis://{address}", busy_poll=LIMIT)
        threading.Timer(0.05, may_answer.set).start()
        assert store.send(("SLOW",)) == [b"OK"]
        assert not polled[-1]
        before = len(polled)
        assert store.send(("QUICK",)) == [b"OK"]
        assert len(polled) == before  # after a poll that found nothing, the next waits do not poll


def test_a_request_too_long_to_be_sent_at_once_is_not_polled_for(polled: list[bool]) -> None:
    async def run() -> list[Any]:
        async with aio.Shell(parse_url(server_url(), busy_poll=1)) as shell:
            await shell.run(sending(("PING",)))
            polled.clear()
            return await shell.run(sending(("PING", "x" * 20_000_000)))

    assert asyncio.run(run()) == [b"x" * 20_000_000]
    assert polled == []


def test_an_answer_in_pieces_is_put_together(opened: Open, polled: list[bool]) -> None:
    def crumbling(client: Client) -> None:
        client.greet()
        while client.request() is not None:
            for piece in (b"$1", b"0\r\n01234", b"56789", b"\r", b"\n"):
                client.send(piece)
                time.sleep(0.002)

    with peer(crumbling) as address:
        store = opened(f"redis://{address}", busy_poll=10)
        polled.clear()
        assert store.send(("GET", "x")) == [b"0123456789"]
        assert polled
        assert all(polled)


@pytest.mark.parametrize("last", [b"", b"$5\r\nab", b"?\r\n", b"+OK\r\n+OK\r\n"])
def test_a_connection_that_breaks_while_it_is_polled_is_a_failure(
    opened: Open, polled: list[bool], last: bytes
) -> None:
    def breaking(client: Client) -> None:
        client.greet()
        client.request()
        client.send(last)

    with peer(breaking) as address:
        failure = failing(opened(f"redis://{address}", busy_poll=10))
    assert (failure.reason, failure.sent) == ("closed", True)


def test_the_timeout_is_that_of_the_whole_exchange(opened: Open, polled: list[bool]) -> None:
    def mute(client: Client) -> None:
        client.greet()
        client.wait()

    with peer(mute) as address:
        began = time.monotonic()
        failure = failing(opened(f"redis://{address}", busy_poll=0.05, timeout=0.2))
        assert not polled[-1]
        assert (failure.reason, failure.sent) == ("timeout", True)
        assert 0.2 <= time.monotonic() - began < 5


def test_other_ready_tasks_run_before_a_poll_blocks_the_event_loop(polled: list[bool]) -> None:
    order: list[str] = []

    async def run() -> None:
        async with aio.Shell(parse_url(server_url(), busy_poll=10)) as shell:
            await shell.run(sending(("PING",)))
            polled.clear()
            exchange = asyncio.create_task(shell.run(sending(("ECHO", "x"))))
            asyncio.get_running_loop().call_soon(lambda: order.append(f"other, polls {len(polled)}"))
            await exchange
            order.append(f"answer, polls {len(polled)}")

    asyncio.run(run())
    assert order == ["other, polls 0", "answer, polls 1"]


def test_a_task_that_is_ready_has_run_when_an_exchange_that_was_polled_for_is_answered(
    polled: list[bool],
) -> None:
    async def other() -> str:
        return "ran"

    async def run() -> None:
        async with aio.Shell(parse_url(server_url(), busy_poll=10)) as shell:
            for _ in range(50):
                task = asyncio.create_task(other())
                await shell.run(sending(("PING",)))
                assert task.done() and task.result() == "ran"

    asyncio.run(run())
    assert len(polled) >= 50


def test_a_cancelled_caller_is_not_polled_for(polled: list[bool]) -> None:
    async def run() -> list[Any]:
        async with aio.Shell(parse_url(server_url(), busy_poll=10)) as shell:
            await shell.run(sending(("PING",)))
            polled.clear()
            exchange = asyncio.create_task(shell.run(sending(("BLPOP", "a list without a writer", 5))))
            asyncio.get_running_loop().call_soon(exchange.cancel)
            with pytest.raises(asyncio.CancelledError):
                await exchange
            assert polled == []
            return await shell.run(sending(("ECHO", "after")))

    assert asyncio.run(run()) == [b"after"]


def test_a_forked_child_polls_although_its_parent_was_waiting(opened: Open, polled: list[bool]) -> None:
    store = opened(server_url(), busy_poll=10)
    pool = store.shell.channel
    pool._polling.begin(-1)
    store.send(("PING",))
    assert polled == []
    inherited = list(pool._idle)
    pool.forget()  # what a fork calls in the child
    assert store.send(("ECHO", "child")) == [b"child"]
    assert polled
    assert all(polled)
    for link in inherited:
        link.close()
