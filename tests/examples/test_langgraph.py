"""The example with LangGraph on servers that only this repository can start: a cluster, a full one, one that refuses commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

import agent_state.aio
import agent_state.sync
from agent_state.package import PACKAGE
from keyweave.admin import permissions
from keyweave.errors import AuthenticationError, StoreOutOfMemoryError
from keyweave.opening.prepare import prepare
from keyweave_langgraph import AsyncKeyweaveSaver, KeyweaveSaver, KeyweaveStore
from tests.contents import contents
from tests.servers.cluster import shared_cluster
from tests.servers.running import Running, configured_server, new_namespace
from tests.waiting import wait_until

THREAD: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def put(saver: KeyweaveSaver, **values: Any) -> Any:
    """Put a checkpoint with new values of channels, and what a task has written."""
    versions = {name: saver.get_next_version(None, None) for name in values}
    checkpoint: Checkpoint = {
        "v": 4,
        "id": str(uuid6(clock_seq=-1)),
        "ts": "2026-01-31T08:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict(versions),
        "versions_seen": {},
        "updated_channels": None,
    }
    at = saver.put(THREAD, checkpoint, {"source": "loop", "step": 0}, dict(versions))
    saver.put_writes(at, list(values.items()), "task")
    return at


def fill(saver: KeyweaveSaver) -> int:
    """Put large checkpoints until the server refuses one. Returns the number of the last step that it has stored whole."""
    for number in range(1000):
        try:
            put(saver, document=f"{number:06}" * 20_000)
        except StoreOutOfMemoryError:
            return number - 1
    raise AssertionError("the server takes everything")


def fits(saver: KeyweaveSaver, document: str) -> bool:
    """Put a checkpoint, and return whether the server took it."""
    try:
        put(saver, document=document)
    except StoreOutOfMemoryError:
        return False
    return True


def keyspace(server: Running) -> dict[bytes, Any]:
    """Every key with its value and its native TTL."""
    with server.client() as client:
        found = contents(client.execute_command, "*")
    return {key: held for key, held in found.items() if b"@ledger" not in key and b"@clock" not in key}


def test_the_conformance_suite_passes_on_a_cluster() -> None:
    namespace = new_namespace("langgraph")

    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str]]:
        async with agent_state.aio.Store.open(shared_cluster().url, namespace=namespace) as store:
            yield AsyncKeyweaveSaver(store, expire=True)
            assert (await store.check()).clean

    report = asyncio.run(validate(checkpointer_test(name="cluster")(saver)))
    assert {name: result.failures for name, result in report.results.items() if not result.passed} == {}
    assert len(report.results) == len(Capability)


def test_both_share_a_client_of_a_cluster() -> None:
    client = shared_cluster().client()
    try:
        with agent_state.sync.Store.over(client, namespace=new_namespace("langgraph")) as store:
            saver, memory = KeyweaveSaver(store, expire=True), KeyweaveStore(store)
            put(saver, messages=["hello"])
            memory.put(("users",), "ada", {"n": 1}, ttl=5)
            found = saver.get_tuple(THREAD)
            assert found is not None
            assert found.checkpoint["channel_values"] == {"messages": ["hello"]}
            assert [item.key for item in memory.search(())] == ["ada"]
    finally:
        client.close()


@pytest.mark.parametrize("command", ["expire", "pexpire", "expireat", "pexpireat", "persist", "set", "zadd"])
def test_a_server_that_refuses_a_command_loses_no_write_and_keeps_no_half(command: str) -> None:
    """Where a deadline needs the command, the write is refused with all that belongs to it."""
    settings, context = prepare(PACKAGE, "redis://localhost", namespace="t")
    words = permissions.rule(context, settings, permissions.Role.APPLICATION, "limited")
    retention = {"Thread": timedelta(days=1)}
    with configured_server() as server:
        with agent_state.sync.Store.open(server.url, namespace="t", retention=retention) as store:
            put(KeyweaveSaver(store, expire=True), messages=["before"])
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", *words)
            client.execute_command("ACL", "SETUSER", "limited", ">word", f"-{command}")
        url = f"unix://limited:word@{server.socket}"
        with agent_state.sync.Store.open(url, namespace="t", retention=retention) as store:
            saver, before = KeyweaveSaver(store, expire=True), keyspace(server)
            try:
                put(saver, messages=["after"])
            except AuthenticationError:
                assert keyspace(server) == before
                expected = "before"
            else:
                expected = "after"
            found = KeyweaveSaver(store, refresh_on_read=False).get_tuple(THREAD)
            assert found is not None
            assert found.checkpoint["channel_values"] == {"messages": [expected]}
        with server.client() as client:
            (thread,) = client.scan_iter(match="*:Thread:t")
            assert client.pexpiretime(thread) > 0
        with agent_state.sync.Store.open(server.url, namespace="t") as store:
            assert store.check().clean


def test_a_full_server_refuses_a_step_whole_and_can_be_emptied() -> None:
    with (
        configured_server(maxmemory="8mb", maxmemory_policy="noeviction") as server,
        agent_state.sync.Store.open(server.url, namespace="t") as store,
    ):
        saver = KeyweaveSaver(store)
        last = fill(saver)
        found = saver.get_tuple(THREAD)
        assert found is not None
        assert last > 5
        assert found.checkpoint["channel_values"]["document"][:6] in (f"{last:06}", f"{last + 1:06}")
        assert len(list(saver.list(THREAD))) in (last + 1, last + 2)
        assert store.check().clean
        saver.delete_thread("t")
        wait_until(lambda: fits(saver, "again"))  # a server may free memory later than it deletes
        found = saver.get_tuple(THREAD)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"document": "again"}
        assert store.check().clean
