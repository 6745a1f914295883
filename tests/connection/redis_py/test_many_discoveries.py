"""Callers that ask for the master at the same time: no Sentinel may get lost. redis-py alone loses one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio.sentinel
import redis.sentinel

from keyweave.connection.redis_py.client import sentinel_of
from keyweave.connection.settings import parse_url

SERVICE = "mymaster"
SETTINGS = parse_url(f"redis+sentinel://a:1,b:2,c:3/{SERVICE}")
MASTER = {
    SERVICE: {
        "ip": "m",
        "port": 6379,
        "is_master": True,
        "is_sdown": False,
        "is_odown": False,
        "num-other-sentinels": 2,
    }
}
CALLERS = 2


class Node:
    """A Sentinel that is down, or that answers all callers at once."""

    def __init__(self, name: str, up: bool) -> None:
        self.name = name
        self._up = up
        self._barrier = threading.Barrier(CALLERS)
        self._waiting = 0
        self._all = asyncio.Event()

    def sentinel_masters(self) -> Any:
        self._barrier.wait(30)
        return self._answer()

    def _answer(self) -> Any:
        if not self._up:
            raise redis.ConnectionError("down")
        return MASTER


class AsyncNode(Node):
    async def sentinel_masters(self) -> Any:
        self._waiting += 1
        if self._waiting == CALLERS:
            self._all.set()
        await self._all.wait()
        return self._answer()


def asked_at_once(sentinel: Any) -> list[str]:
    """Let callers ask at the same time; return the names of the Sentinels that are left."""
    nodes = [Node("a", up=False), Node("b", up=True), Node("c", up=True)]
    sentinel.sentinels = list(nodes)
    with ThreadPoolExecutor(CALLERS) as threads:
        found = list(threads.map(sentinel.discover_master, [SERVICE] * CALLERS))
    assert found == [("m", 6379)] * CALLERS
    return [node.name for node in sentinel.sentinels]


def awaited_at_once(sentinel: Any) -> list[str]:
    nodes = [AsyncNode("a", up=False), AsyncNode("b", up=True), AsyncNode("c", up=True)]
    sentinel.sentinels = list(nodes)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(sentinel.discover_master(SERVICE) for _ in range(CALLERS)))

    assert asyncio.run(all_of_them()) == [("m", 6379)] * CALLERS
    return [node.name for node in sentinel.sentinels]


ASKED: dict[bool, Callable[[Any], list[str]]] = {False: asked_at_once, True: awaited_at_once}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_store_keeps_all_its_sentinels_and_asks_the_one_that_answered_first(asynchronous: bool) -> None:
    sentinel, _ = sentinel_of(SETTINGS, asynchronous=asynchronous)
    assert ASKED[asynchronous](sentinel) == ["b", "a", "c"]


def test_redis_py_loses_one() -> None:
    """When this fails, redis-py keeps them, and `keyweave.connection.redis_py.sentinels` can go."""
    alone = redis.asyncio.sentinel.Sentinel([])  # type: ignore[no-untyped-call]
    assert "a" not in awaited_at_once(alone)
