"""What only the asyncio shell does: cancellation, its event loop, and functions that are coroutines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keyweave import aio
from keyweave.connection.settings import parse_url
from keyweave.effects import Call, Flow, Send
from keyweave.errors import ConfigurationError
from tests.connection.peers import sending, unblock
from tests.servers.running import new_key, server_url
from tests.waiting import until

NEVER = "a list without a writer"


def test_a_function_that_is_a_coroutine_is_awaited() -> None:
    async def later(value: int) -> int:
        await asyncio.sleep(0)
        return value

    def flow() -> Flow[Any]:
        return (yield Call(later, 5))

    async def run() -> Any:
        async with aio.Shell(parse_url("redis://unused")) as shell:
            return await shell.run(flow())

    assert asyncio.run(run()) == 5


def waiting(shell: aio.Shell) -> int:
    """How many callers wait for a connection."""
    state = shell.pool_state()
    assert state is not None
    return state.waiting


def test_cancelling_gives_up_the_connection_and_lets_the_flow_clean_up() -> None:
    cleaned: list[object] = []

    def flow() -> Flow[None]:
        try:
            yield Send((("BLPOP", NEVER, 3),))
        finally:
            cleaned.extend((yield Send((("ECHO", "clean"),))))

    async def run() -> tuple[object, object]:
        async with aio.Shell(parse_url(server_url())) as shell:
            (before,) = await shell.run(sending(("CLIENT", "ID")))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await shell.run(flow())
            return before, (await shell.run(sending(("CLIENT", "ID"))))[0]

    before, after = asyncio.run(run())
    assert cleaned == [b"clean"]
    assert before != after


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_cancelling_what_is_done_meanwhile_loses_no_connection(moment: int) -> None:
    async def run() -> list[object]:
        async with aio.Shell(parse_url(server_url(), pool_size=1, pipelining=1)) as shell:
            await shell.run(sending(("PING",)))
            task = asyncio.create_task(shell.run(waiting_flow()))
            for _ in range(moment):
                await asyncio.sleep(0)
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            return [type(result), await shell.run(sending(("ECHO", "after")))]

    def waiting_flow() -> Flow[None]:
        yield Send((("BLPOP", NEVER, 3),), None, 0, lambda: None)

    assert asyncio.run(run()) == [asyncio.CancelledError, [b"after"]]


def test_cancelling_a_wait_for_a_connection_loses_none() -> None:
    async def run() -> list[object]:
        async with aio.Shell(parse_url(server_url(), pool_size=1, pipelining=1)) as shell:
            key = new_key()
            holder = asyncio.create_task(shell.run(sending(("BLPOP", key, 0))))
            waiters = [asyncio.create_task(shell.run(sending(("ECHO", str(number))))) for number in range(3)]
            await until(lambda: waiting(shell) == 3)
            waiters[0].cancel()
            unblock(key, 1)
            results = await asyncio.gather(holder, *waiters, return_exceptions=True)
            return [type(results[1]), *results[2:], await shell.run(sending(("ECHO", "after")))]

    assert asyncio.run(run()) == [asyncio.CancelledError, [b"1"], [b"2"], [b"after"]]


def test_a_second_event_loop_is_refused_with_a_configuration_error() -> None:
    shell = aio.Shell(parse_url(server_url()))
    with asyncio.Runner() as first:
        first.run(shell.run(sending(("PING",))))
        with pytest.raises(ConfigurationError, match="another event loop"):
            asyncio.run(shell.run(sending(("PING",))))
        first.run(shell.aclose())
