"""Asyncio callers that share connections: each gets its own answer, whatever happens to the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any, TypeVar

import pytest

from keyweave import aio
from keyweave.connection.direct.link_aio import COALESCED
from keyweave.connection.pool_state import PoolState
from keyweave.connection.settings import parse_url
from keyweave.effects import ConnectionFailure
from tests.connection.peers import PONG, Behaviour, Client, answering, once, peer, pool_of, sending, unblock
from tests.servers.running import new_key, server_url
from tests.waiting import until

T = TypeVar("T")

NEVER = "a list without a writer"
APART = 2
"""How many connections there are before any is shared."""


def with_shell(work: Callable[[aio.Shell], Awaitable[T]], url: str | None = None, **options: object) -> T:
    """What `work` makes of a shell on the server under test, or at another address."""

    async def run() -> T:
        async with aio.Shell(parse_url(url or server_url(), **options)) as shell:
            return await work(shell)

    return asyncio.run(run())


def started(shell: aio.Shell, *commands: tuple[Any, ...]) -> asyncio.Task[list[Any]]:
    return asyncio.create_task(shell.run(sending(*commands)))


def echo(number: int) -> tuple[str, str]:
    return "ECHO", str(number)


async def outcomes(tasks: list[asyncio.Task[list[Any]]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def state_of(shell: aio.Shell) -> PoolState:
    state = shell.pool_state()
    assert state is not None
    return state


def carried(shell: aio.Shell) -> int:
    """How many exchanges the connections carry, those that were given up included."""
    links: Any = pool_of(shell)._users
    return sum(link.in_flight for link in links)


async def under_way(shell: aio.Shell, exchanges: int, waiting: int = 0) -> None:
    """Wait until the connections carry so many exchanges, and so many callers wait for a connection."""
    await until(lambda: (carried(shell), state_of(shell).waiting) == (exchanges, waiting))


async def crowded(shell: aio.Shell, waiting: int) -> None:
    """Wait until every connection that the pool may open is open, and so many callers wait."""
    await until(lambda: (state_of(shell).open, state_of(shell).waiting) == (state_of(shell).limit, waiting))


def batching(sizes: list[int], wait_for: int) -> Behaviour:
    """A healthy server that notes how many commands came in one piece, and answers once so many have come."""

    def behaviour(client: Client) -> None:
        client.greet()
        commands: list[list[bytes]] = []
        while len(commands) < wait_for:
            data = client.connection.recv(65_536)
            client._reader.feed(data)
            before = len(commands)
            while (command := client._reader.gets()) is not False:
                commands.append(command)
            sizes.append(len(commands) - before)
        for command in commands:
            client.send(b"$%d\r\n%b\r\n" % (len(command[1]), command[1]))
        answering(client)

    return behaviour


# Which callers share a connection.


def test_few_callers_have_a_connection_each_and_many_share_them() -> None:
    async def work(shell: aio.Shell) -> list[int]:
        opened = []
        for callers in (1, 2, APART, 64):
            replies = await outcomes([started(shell, ("CLIENT", "ID"), echo(n)) for n in range(callers)])
            assert [int(reply[1]) for reply in replies] == list(range(callers))
            opened.append(len({reply[0] for reply in replies}))
        state = state_of(shell)
        return [*opened, state.open, state.idle]

    assert with_shell(work) == [1, 2, APART, APART, APART, APART]


def test_callers_that_arrive_at_the_same_time_open_no_more_connections_than_they_need() -> None:
    async def work(shell: aio.Shell) -> set[Any]:
        return {reply[0] for reply in await outcomes([started(shell, ("CLIENT", "ID")) for _ in range(64)])}

    assert len(with_shell(work)) == APART


@pytest.mark.parametrize("pool_timeout", [0, 0.05])
def test_a_caller_that_waits_longer_than_the_pool_timeout_opens_a_connection(pool_timeout: float) -> None:
    all_come = threading.Barrier(6, timeout=30)

    def slow(client: Client) -> None:
        all_come.wait()
        answering(client)

    async def work(shell: aio.Shell) -> tuple[list[Any], PoolState]:
        return await outcomes([started(shell, echo(n)) for n in range(6)]), state_of(shell)

    with peer(slow) as address:
        replies, state = with_shell(work, f"redis://{address}", pool_timeout=pool_timeout, connect_timeout=30)
    assert replies == [[str(n).encode()] for n in range(6)]
    assert state.open == 6


def test_a_caller_whose_connection_could_not_be_opened_tries_another_at_once() -> None:
    others_come = threading.Barrier(4, timeout=30)

    def behaviour(client: Client) -> None:
        if client.number < APART:
            return  # hangs up
        others_come.wait()
        answering(client)

    async def work(shell: aio.Shell) -> list[Any]:
        return await outcomes([started(shell, echo(n)) for n in range(6)])

    with peer(behaviour) as address:
        replies = with_shell(work, f"redis://{address}", pool_timeout=30, connect_timeout=30)
    assert [type(reply) for reply in replies] == [ConnectionFailure] * APART + [list] * 4


def test_without_pipelining_no_connection_is_shared() -> None:
    async def work(shell: aio.Shell) -> set[Any]:
        tasks = [started(shell, ("BLPOP", NEVER, 0.2), ("CLIENT", "ID")) for _ in range(10)]
        return {reply[1] for reply in await outcomes(tasks)}

    assert len(with_shell(work, pipelining=1)) == 10


def test_full_connections_are_joined_by_others_and_then_callers_wait() -> None:
    async def work(shell: aio.Shell) -> tuple[int, list[Any]]:
        key = new_key()
        tasks = [started(shell, ("BLPOP", key, 0), echo(n)) for n in range(12)]
        await crowded(shell, 2)
        opened = state_of(shell).open
        unblock(key, 12)
        return opened, await outcomes(tasks)

    opened, replies = with_shell(work, pool_size=5, pipelining=2)
    assert opened == 5
    assert [reply[1] for reply in replies] == [str(n).encode() for n in range(12)]


def test_a_caller_that_gets_no_connection_in_time_gets_an_error() -> None:
    async def work(shell: aio.Shell) -> list[Any]:
        return await outcomes([started(shell, ("BLPOP", NEVER, 0.5)) for _ in range(3)])

    *fine, failure = with_shell(work, pool_size=1, pipelining=2, pool_timeout=0.05)
    assert fine == [[None], [None]]
    assert (failure.reason, failure.sent) == ("pool", False)


def test_exchanges_that_begin_together_are_sent_in_few_writes() -> None:
    sizes: list[int] = []

    async def work(shell: aio.Shell) -> list[Any]:
        return await outcomes([started(shell, echo(n)) for n in range(10)])

    with peer(batching(sizes, 10)) as address:
        replies = with_shell(work, f"redis://{address}", pool_size=1)
    assert replies == [[str(n).encode()] for n in range(10)]
    assert len(sizes) <= 1 + ceil(9 / COALESCED)  # the first is sent at once
    assert sum(sizes) == 10


# A caller that leaves, and its effect on the others.


def test_a_cancelled_caller_does_not_affect_the_others_on_its_connection() -> None:
    async def work(shell: aio.Shell) -> list[Any]:
        key = new_key()
        (before,) = await shell.run(sending(("CLIENT", "ID")))
        tasks = [started(shell, ("BLPOP", key, 0), echo(n)) for n in range(5)]
        await under_way(shell, 5)
        tasks[0].cancel()
        tasks[3].cancel()
        await asyncio.wait([tasks[0], tasks[3]])
        unblock(key, 5)
        replies = await outcomes(tasks)
        assert [type(reply) for reply in replies] == [
            asyncio.CancelledError,
            list,
            list,
            asyncio.CancelledError,
            list,
        ]
        (after,) = await shell.run(sending(("CLIENT", "ID")))
        assert before == after
        return [reply[1] for reply in replies if isinstance(reply, list)]

    assert with_shell(work, pool_size=1) == [b"1", b"2", b"4"]


def test_the_last_cancelled_caller_closes_the_connection() -> None:
    async def work(shell: aio.Shell) -> tuple[Any, Any]:
        (before,) = await shell.run(sending(("CLIENT", "ID")))
        tasks = [started(shell, ("BLPOP", NEVER, 0)) for n in range(3)]
        await under_way(shell, 3)
        for task in tasks:
            task.cancel()
        await outcomes(tasks)
        return before, (await shell.run(sending(("CLIENT", "ID"))))[0]

    before, after = with_shell(work, pool_size=1)
    assert before != after


def test_a_caller_that_is_cancelled_while_it_waits_loses_no_place_on_a_connection() -> None:
    async def work(shell: aio.Shell) -> list[Any]:
        key = new_key()
        tasks = [started(shell, ("BLPOP", key, 0), echo(n)) for n in range(6)]
        await crowded(shell, 4)
        tasks[2].cancel()
        tasks[4].cancel()
        unblock(key, 4)
        replies = await outcomes(tasks)
        assert [type(reply) is list for reply in replies] == [True, True, False, True, False, True]
        return [await outcomes([started(shell, echo(n)) for n in range(6)]) for _ in range(2)]

    assert with_shell(work, pool_size=1, pipelining=2) == [[[str(n).encode()] for n in range(6)]] * 2


def test_exchanges_that_were_given_up_count_until_they_are_answered() -> None:
    may_answer = threading.Event()

    def busy(client: Client) -> None:
        client.greet()
        client.request()
        client.send(b"+OK\r\n")
        commands = [client.request() for _ in range(4)]
        may_answer.wait(30)
        for command in commands:
            assert command is not None
            client.send(b"$%d\r\n%b\r\n" % (len(command[1]), command[1]))
        answering(client)

    async def work(shell: aio.Shell) -> list[Any]:
        assert await shell.run(sending(("OPEN",))) == [b"OK"]
        staying = started(shell, echo(0))
        for number in range(1, 20):
            task = started(shell, echo(number))
            await under_way(shell, min(number + 1, 4), waiting=int(number > 3))
            task.cancel()
            await outcomes([task])
        late = [started(shell, echo(n)) for n in range(20, 30)]
        await crowded(shell, 10)
        may_answer.set()
        return await outcomes([staying, *late])

    with peer(once(busy)) as address:
        replies = with_shell(work, f"redis://{address}", pool_size=1, pipelining=4)
    assert replies == [[str(n).encode()] for n in (0, *range(20, 30))]


def test_a_connection_that_breaks_is_a_failure_for_each_of_its_callers() -> None:
    def hang_up(client: Client) -> None:
        client.greet()
        for _ in range(3):
            client.request()
        client.send(b"$1\r\n0\r\n$1\r\n")

    async def work(shell: aio.Shell) -> list[Any]:
        found = await outcomes([started(shell, echo(n)) for n in range(5)])
        state = state_of(shell)
        assert (state.open, state.idle, state.waiting) == (0, 0, 0)
        assert await shell.run(sending(echo(7))) == [b"7"]
        return found

    with peer(once(hang_up)) as address:
        first, *failures = with_shell(work, f"redis://{address}", pool_size=1)
    assert first == [b"0"]
    assert [(failure.reason, failure.sent) for failure in failures] == [("closed", True)] * 4
    assert len({id(failure) for failure in failures}) == 4


@pytest.mark.parametrize("last", [b"?\r\n", b"$1\r\n3\r\n+extra\r\n"])
def test_replies_that_cannot_be_parsed_are_a_failure_for_each_possible_caller(last: bytes) -> None:
    asked = threading.Event()

    def babble(client: Client) -> None:
        client.greet()
        for _ in range(4):
            client.request()
        asked.set()
        client.send(b"$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n" + last)
        client.wait()

    async def work(shell: aio.Shell) -> list[Any]:
        found = await outcomes([started(shell, echo(n)) for n in range(4)])
        assert await shell.run(sending(echo(7))) == [b"7"]
        return found

    with peer(once(babble)) as address:
        found = with_shell(work, f"redis://{address}", pool_size=1)
    assert all(isinstance(each, ConnectionFailure) and each.sent for each in found)


def test_every_caller_of_a_silent_server_is_answered_within_the_timeout() -> None:
    def mute(client: Client) -> None:
        client.greet()
        client.wait()

    async def work(shell: aio.Shell) -> list[Any]:
        return await outcomes([started(shell, echo(n)) for n in range(8)])

    with peer(mute) as address:
        failures = with_shell(work, f"redis://{address}", pool_size=1, timeout=0.1)
    assert [(failure.reason, failure.sent) for failure in failures] == [("timeout", True)] * 8


def test_a_connection_is_shared_only_after_its_health_check() -> None:
    def fading(client: Client) -> None:
        client.greet()
        command = client.request()
        assert command is not None
        client.send(b"$%d\r\n%b\r\n" % (len(command[1]), command[1]))
        client.wait()  # as behind a firewall that forgot the connection

    async def work(shell: aio.Shell) -> list[Any]:
        assert await outcomes([started(shell, echo(n)) for n in range(APART)]) == [[b"0"], [b"1"]]
        for link in pool_of(shell)._idle:
            link.last_used -= 3600
        return await outcomes([started(shell, echo(n)) for n in range(8)])

    with peer(lambda client: (fading if client.number < APART else answering)(client)) as address:
        assert with_shell(work, f"redis://{address}", timeout=0.5) == [[str(n).encode()] for n in range(8)]


def test_a_connection_that_passes_its_health_check_is_shared_again() -> None:
    async def work(shell: aio.Shell) -> list[Any]:
        (before,) = await shell.run(sending(("CLIENT", "ID")))
        (link,) = pool_of(shell)._idle
        link.last_used -= 3600
        replies = await outcomes([started(shell, ("CLIENT", "ID"), echo(n)) for n in range(8)])
        assert {reply[0] for reply in replies} == {before}
        return [reply[1] for reply in replies]

    assert with_shell(work, pool_size=1) == [str(n).encode() for n in range(8)]


def test_a_caller_that_is_cancelled_during_a_health_check_loses_no_connection() -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def slow_to_prove(client: Client) -> None:
        client.greet()
        while (command := client.request()) is not None:
            if command[0] == b"PING":
                asked.set()
                may_answer.wait(30)
                client.send(PONG)
            else:
                client.send(b"$%d\r\n%b\r\n" % (len(command[1]), command[1]))

    async def work(shell: aio.Shell) -> list[Any]:
        assert await shell.run(sending(echo(9))) == [b"9"]
        (link,) = pool_of(shell)._idle
        link.last_used -= 3600
        tasks = [started(shell, echo(n)) for n in range(8)]
        await until(asked.is_set)
        assert state_of(shell).waiting == 7
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        may_answer.set()
        replies = await outcomes(tasks)
        state = state_of(shell)
        assert (state.open, state.idle, state.waiting) == (1, 1, 0)
        return replies

    with peer(once(slow_to_prove)) as address:
        canceled, *replies = with_shell(work, f"redis://{address}", pool_size=1)
    assert type(canceled) is asyncio.CancelledError
    assert replies == [[str(n).encode()] for n in range(1, 8)]


def test_a_store_that_closes_lets_its_callers_finish() -> None:
    async def work(shell: aio.Shell) -> tuple[list[Any], Any]:
        key = new_key()
        tasks = [started(shell, ("BLPOP", key, 0), echo(n)) for n in range(3)]
        await under_way(shell, 3)
        await shell.aclose()
        unblock(key, 3)
        return await outcomes(tasks), shell.pool_state()

    replies, state = with_shell(work, pool_size=1)
    assert [reply[1] for reply in replies] == [b"0", b"1", b"2"]
    assert state is None
