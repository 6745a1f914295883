"""Both shells, side by side: what they send, what they make of replies, and how they share connections."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from keyweave import aio, sync
from keyweave.connection.settings import parse_url
from keyweave.effects import Call, ConnectionFailure, Flow, Send, ServerError, Sleep
from keyweave.errors import ConfigurationError, StoreUnavailableError
from tests.connection.peers import Client, Driver, Open, once, peer, sending
from tests.servers.running import new_key, server_url

NEVER = "a list without a writer"

# Requests and replies.


def test_a_pipeline_is_answered_in_order_with_plain_values(store: Driver) -> None:
    text, items, scores, nothing = new_key("a"), new_key("l"), new_key("z"), new_key("n")
    commands = [
        ("SET", text, "1"), ("INCR", text), ("GET", text), ("GET", nothing), ("RPUSH", items, "x", "y"),
        ("LRANGE", items, 0, -1), ("ZADD", scores, 1.5, "m"), ("ZRANGE", scores, 0, -1, "WITHSCORES"),
        ("HGETALL", nothing), ("EVAL", "return {1, false, {'x'}}", 0),
    ]  # fmt: skip
    expected = [b"OK", 2, b"2", None, 2, [b"x", b"y"], 1, [b"m", b"1.5"], [], [1, None, [b"x"]]]
    assert store.send(*commands) == expected


def test_an_error_reply_is_a_value_in_its_place_at_any_depth(store: Driver) -> None:
    script, key = "return {redis.error_reply('MINE of mine'), 1}", new_key()
    before, wrong, nested, unknown, after = store.send(
        ("SET", key, "1"), ("LPUSH", key, "x"), ("EVAL", script, 0), ("EVALSHA", "0" * 40, 0), ("GET", key)
    )
    assert (before, after) == (b"OK", b"1")
    assert (wrong.code, nested[0].code, nested[1], unknown.code) == ("WRONGTYPE", "MINE", 1, "NOSCRIPT")


@pytest.mark.parametrize(
    "line",
    [
        "ERR unknown", "OOM command not allowed", "READONLY You can't write", "LOADING is loading", "ERR",
        "MISCONF disk", "NOREPLICAS Not enough", "BUSY is busy", "UNKILLABLE script", "MOVED 1 h:1", "ASK 1 h:1",
        "TRYAGAIN later", "CLUSTERDOWN down", "CROSSSLOT keys", "EXECABORT discarded", "NOPERM no",
        "NOAUTH required", "WRONGPASS no", "MASTERDOWN link", "NOSCRIPT none",
        "ERR max number of clients reached",
    ],
)  # fmt: skip
def test_an_error_keeps_the_words_of_the_server(opened: Open, line: str) -> None:
    def behaviour(client: Client) -> None:
        client.greet()
        client.request()
        client.send(b"+OK\r\n-%b\r\n:1\r\n" % line.encode())
        client.wait()

    with peer(behaviour) as address:
        first, error, last = opened(f"redis://{address}").send(("A",), ("B",), ("C",))
    assert (first, last) == (b"OK", 1)
    assert isinstance(error, ServerError)
    assert (error.code, error.message) == (line.partition(" ")[0], line)


@pytest.mark.parametrize("value", ["é€😀", "a\x00b", "", " \r\n", b"\xff\x00\xfe", 12, 1.5, 2**63 - 1])
def test_any_word_arrives_as_it_is(store: Driver, value: str | bytes | float) -> None:
    expected, key = value if isinstance(value, bytes) else str(value).encode(), new_key()
    assert store.send(("SET", key, value), ("GET", key))[1] == expected
    assert store.send(("HSET", key + "h", value, "v"), ("HGET", key + "h", value))[1] == b"v"


@pytest.mark.parametrize("word", [None, True, ["x"], "\ud800"])
def test_an_unsendable_word_is_refused_and_costs_no_connection(opened: Open, word: Any) -> None:
    store = opened(server_url(), pool_size=1, pool_timeout=0)
    (identity,) = store.send(("CLIENT", "ID"))
    with pytest.raises((TypeError, ValueError)):
        store.send(("SET", "k", word))
    assert store.send(("CLIENT", "ID")) == [identity]


def test_an_empty_pipeline_needs_no_server(opened: Open) -> None:
    assert opened("redis://127.0.0.1:1").send() == []


def test_ten_megabytes_go_both_ways(store: Driver) -> None:
    payload, key = os.urandom(10_000_000), new_key()
    assert store.send(("SET", key, payload), ("GET", key), ("DEL", key)) == [b"OK", payload, 1]


def test_a_pipeline_larger_than_every_buffer_is_answered(store: Driver) -> None:
    payload = os.urandom(100_000)
    assert store.send(*[("ECHO", payload)] * 200) == [payload] * 200


# Effects other than sending.


def test_sleeping_and_calling_are_carried_out(store: Driver) -> None:
    def flow() -> Flow[tuple[object, object]]:
        slept = yield Sleep(0)
        called = yield Call(divmod, 7, 2)
        return slept, called

    assert store.run(flow()) == (None, (3, 1))


@pytest.mark.parametrize("error", [ValueError("mine"), StopIteration(3), KeyboardInterrupt()])
def test_what_a_called_function_raises_reaches_the_flow_unchanged(
    store: Driver, error: BaseException
) -> None:
    def broken() -> None:
        raise error

    def flow() -> Flow[BaseException]:
        try:
            yield Call(broken)
        except BaseException as caught:  # noqa: BLE001 - an interrupt is one of the cases
            return caught
        raise AssertionError

    assert store.run(flow()) is error


def test_the_blocking_shell_refuses_a_function_that_is_a_coroutine() -> None:
    async def later(value: int) -> int:
        return value

    def flow() -> Flow[Any]:
        return (yield Call(later, 5))

    with sync.Shell(parse_url("redis://unused")) as shell, pytest.raises(ConfigurationError):
        shell.run(flow())


def test_something_that_is_no_effect_is_refused(store: Driver) -> None:
    def flow() -> Flow[None]:
        yield "GET"  # type: ignore[misc]

    with pytest.raises(TypeError, match="yielded str"):
        store.run(flow())


def test_a_flow_may_go_on_after_a_failure(opened: Open) -> None:
    def flow() -> Flow[object]:
        try:
            yield Send((("ECHO", "x"),))
        except ConnectionFailure:
            return (yield Send((("ECHO", "y"),)))
        raise AssertionError

    def hang_up(client: Client) -> None:
        client.greet()

    with peer(once(hang_up)) as address:
        assert opened(f"redis://{address}").run(flow()) == [b"y"]


# What a flow does meanwhile.


def test_what_a_flow_does_meanwhile_is_done_between_sending_and_the_replies(store: Driver) -> None:
    """The reply comes only because of what is done meanwhile, and the commands were sent before it."""
    key, seen = new_key("meanwhile"), []

    def answer() -> None:
        with sync.Shell(parse_url(server_url())) as other:
            deadline = time.monotonic() + 5
            while other.run(sending(("LLEN", f"{key}:sent"))) == [0]:
                assert time.monotonic() < deadline
            seen.append(other.run(sending(("LPUSH", key, "x"))))

    def flow() -> Flow[Any]:
        return (yield Send((("LPUSH", f"{key}:sent", "y"), ("BLPOP", key, 5)), None, 0, answer))

    store.run(sending(("PING",)))  # the connection is open
    assert store.run(flow()) == [1, [key.encode(), b"x"]]
    assert seen == [[1]]


def test_an_error_of_what_is_done_meanwhile_reaches_the_flow_and_gives_up_the_exchange(store: Driver) -> None:
    def fail() -> None:
        raise LookupError

    def flow() -> Flow[Any]:
        try:
            yield Send((("BLPOP", NEVER, 3),), None, 0, fail)
        except LookupError:
            return (yield Send((("ECHO", "after"),)))

    assert store.run(flow()) == [b"after"]


# Interruption, loops, processes.


def test_an_interrupt_in_the_middle_of_an_exchange_gives_up_the_connection() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with sync.Shell(parse_url(server_url())) as shell:
        (before,) = shell.run(sending(("CLIENT", "ID")))
        previous = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            with pytest.raises(KeyboardInterrupt):
                shell.run(sending(("BLPOP", NEVER, 3)))
        finally:
            signal.signal(signal.SIGALRM, previous)
        echo, after = shell.run(sending(("ECHO", "x"), ("CLIENT", "ID")))
    assert echo == b"x"
    assert after != before


def test_a_closed_store_is_reported() -> None:
    async def run() -> None:
        shell = aio.Shell(settings)
        await shell.aclose()
        await shell.run(sending(("PING",)))

    settings = parse_url(server_url())
    blocking = sync.Shell(settings)
    blocking.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        blocking.run(sending(("PING",)))
    with pytest.raises(StoreUnavailableError, match="closed"):
        asyncio.run(run())


def test_threads_share_a_blocking_shell() -> None:
    key = new_key("threads")

    def counting() -> Flow[None]:
        for _ in range(20):
            yield Send((("INCR", key),))

    with sync.Shell(parse_url(server_url(), pool_size=4)) as shell:
        threads = [threading.Thread(target=shell.run, args=(counting(),)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shell.run(sending(("GET", key))) == [b"240"]


FORKING = """
import asyncio, os
from keyweave import aio, sync
from keyweave.embedded import server as embedded
from keyweave.connection.settings import parse_url
from tests.connection.peers import sending

ID = (("CLIENT", "ID"),)
settings = embedded.acquire(None).settings(parse_url("embedded:"))
blocking, looping = sync.Shell(settings), aio.Shell(settings)

def identities():
    async def run():
        return (await looping.run(sending(*ID)))[0]
    return blocking.run(sending(*ID))[0], asyncio.run(run())

async def parent():
    first = await looping.run(sending(*ID))
    assert first[0] != blocking.run(sending(*ID))[0]
    return first

before = blocking.run(sending(*ID))[0]
asyncio.run(parent())
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.write(writing, repr(identities()).encode())
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
theirs = eval(os.read(reading, 100))
assert before not in theirs, (before, theirs)
assert len(set(theirs)) == 2
assert blocking.run(sending(*ID))[0] == before
print("ok")
"""


def test_a_forked_child_opens_its_own_connections() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "ok\n", done.stderr
