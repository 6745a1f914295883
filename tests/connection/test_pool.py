"""The pools of both flavours: how many connections they open, which one they lease, and which ones they replace."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from keyweave import aio, sync
from keyweave.connection.settings import parse_url
from keyweave.effects import ConnectionFailure
from tests.connection.everywhere import opened_everywhere  # noqa: F401
from tests.connection.peers import PONG, Client, Open, failing, once, peer, sending
from tests.servers.running import new_key, server_url

NEVER = "a list without a writer"


def test_connections_are_used_again_the_last_one_first(opened: Open) -> None:
    store = opened(server_url(), client_name="again")
    store.run_together([sending(("BLPOP", NEVER, 0.05)) for _ in range(4)])
    identities = {store.send(("CLIENT", "ID"))[0] for _ in range(10)}
    assert len(identities) == 1


def test_a_pool_never_opens_more_than_its_size_and_serves_all(opened: Open) -> None:
    store = opened(server_url(), pool_size=3, client_name="few")
    flows = [sending(("BLPOP", NEVER, 0.01), ("CLIENT", "ID")) for _ in range(30)]
    results = store.run_together(flows)
    assert len({result[1] for result in results if isinstance(result, list)}) <= 3
    assert not [result for result in results if isinstance(result, BaseException)]


def test_waiting_for_a_connection_ends_in_time_and_was_not_sent(opened: Open) -> None:
    store = opened(server_url(), pool_size=1, pool_timeout=0.05, pipelining=1)
    results = store.run_together([sending(("BLPOP", NEVER, 0.5)) for _ in range(2)])
    failures = [result for result in results if isinstance(result, ConnectionFailure)]
    assert [(failure.reason, failure.sent) for failure in failures] == [("pool", False)]
    assert store.send(("ECHO", "x")) == [b"x"]


def test_a_connection_that_the_server_closed_while_idle_is_replaced_unnoticed(opened: Open) -> None:
    store, other = opened(server_url()), opened(server_url())
    (identity,) = store.send(("CLIENT", "ID"))
    assert other.send(("CLIENT", "KILL", "ID", str(identity))) == [1]
    assert store.send(("ECHO", "x")) == [b"x"]


def test_a_connection_that_the_server_closed_while_the_event_loop_was_kept_is_replaced_unnoticed() -> None:
    async def run() -> list[object]:
        settings = parse_url(server_url())
        async with aio.Shell(settings) as shell:
            (identity,) = await shell.run(sending(("CLIENT", "ID")))
            with sync.Shell(settings) as other:
                assert other.run(sending(("CLIENT", "KILL", "ID", str(identity)))) == [1]
            return await shell.run(sending(("ECHO", "x")))

    assert asyncio.run(run()) == [b"x"]


def test_a_connection_that_was_idle_too_long_is_tried_before_it_is_used(opened: Open) -> None:
    def forgetful(client: Client) -> None:
        client.greet()
        client.request()
        client.send(PONG)
        client.wait()

    with peer(once(forgetful)) as address:
        driver = opened(f"redis://{address}", health_check_interval=1e-6, timeout=0.1)
        driver.send(("PING",))
        assert driver.send(("ECHO", "x")) == [b"x"]


def test_a_server_that_restarts_is_used_again(opened: Open, tmp_path: Path) -> None:
    store = opened(f"embedded:{tmp_path}")
    (pid,) = [
        int(line.partition(b":")[2])
        for line in store.send(("INFO", "server"))[0].splitlines()
        if b"process_id" in line
    ]
    os.kill(pid, signal.SIGKILL)
    assert failing(store).reason in ("closed", "connect")
    assert opened(f"embedded:{tmp_path}").send(("ECHO", "x")) == [b"x"]


def test_closing_leaves_no_connection_behind(opened: Open) -> None:
    name = new_key("gone")
    keeper, store = opened(server_url()), opened(server_url(), client_name=name, pipelining=1)
    store.run_together([sending(("BLPOP", NEVER, 0.02)) for _ in range(3)])
    assert keeper.send(("CLIENT", "LIST"))[0].count(f"name={name}".encode()) == 3
    store.close()
    deadline = time.monotonic() + 5
    while f"name={name}".encode() in keeper.send(("CLIENT", "LIST"))[0]:
        assert time.monotonic() < deadline
