"""A server that cannot confirm writes is refused, with what to do, and a level that there is not as well."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

from compozy_store import Role, User, aio, sync
from keyweave.effects import ServerError
from keyweave.errors import ConfigurationError, DurabilityError
from keyweave.store.durability import parse_durability
from tests.harness import FLAVOURS, harness, user
from tests.servers.durable import durable
from tests.servers.running import Running, configured_server

DISK, TWO = parse_durability("disk"), parse_durability("replicas:2")

SERVERS: dict[str, tuple[dict[str, str], str, str]] = {
    "no file": ({"appendonly": "no"}, "disk", "keeps no append-only file; set appendonly yes"),
    "no fsync": ({"appendonly": "yes", "appendfsync": "no"}, "disk", "appendfsync no, and never confirms"),
    "no replica": ({}, "replicas:1", "has 0 replicas online; add replicas"),
    "old server": (
        {"appendonly": "yes", "rename_command": "WAITAOF hidden"},
        "disk",
        "does not know WAITAOF",
    ),
    "no permission": (
        {"appendonly": "yes", "user": "limited on nopass ~* &* +@all -waitaof"},
        "disk",
        "keyweave acl --durable disk",
    ),
}


def opened(flavour: str, url: str, **options: Any) -> None:
    """Open a store by a URL, write a row, and close it."""

    async def waiting() -> None:
        async with aio.Store.open(url, **options) as store:
            await store.users.create(User(id="u", email="u@x", role=Role.USER))

    if flavour == "aio":
        asyncio.run(waiting())
        return
    with sync.Store.open(url, **options) as store:
        store.users.create(User(id="u", email="u@x", role=Role.USER))


def called(flavour: str, server: Running, **options: Any) -> None:
    """Open a store over a client, and write a row."""

    async def waiting() -> None:
        async with redis.asyncio.Redis(unix_socket_path=str(server.socket)) as client:
            await aio.Store.over(client, **options).users.create(User(id="u", email="u@x", role=Role.USER))

    if flavour == "aio":
        asyncio.run(waiting())
        return
    with server.client() as client:
        sync.Store.over(client, **options).users.create(User(id="u", email="u@x", role=Role.USER))


@pytest.mark.parametrize("case", SERVERS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_server_that_cannot_confirm_is_refused(flavour: str, case: str) -> None:
    options, level, message = SERVERS[case]
    with configured_server(**options) as server:
        name = {"username": "limited", "password": "any"} if "user" in options else {}
        with pytest.raises(ConfigurationError, match=message):
            opened(flavour, server.url, durable=level, **name)
        if not name:
            with pytest.raises(ConfigurationError, match=message):
                called(flavour, server, durable=level)
        with server.client() as client:
            assert not any(b":User:" in key for key in client.keys("*"))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_embedded_server_is_refused(flavour: str) -> None:
    with pytest.raises(ConfigurationError, match=r"embedded:.* keeps no append-only file"):
        opened(flavour, "embedded:", durable="disk")


@pytest.mark.parametrize("level", ["disk", "replicas:1"])
def test_a_replica_is_refused(level: str) -> None:
    refused = pytest.raises(ConfigurationError, match="is a replica; open the store on the primary")
    with durable("always", replicas=1) as servers, refused:
        sync.Store.open(f"unix://{servers.replicas[0].socket}", durable=level)


@pytest.mark.parametrize(
    "level",
    ["", "Disk", "tape", "replicas", "replicas:0", "replicas:-1", "replicas:1 ", "replicas:٣", 1, True],
)
def test_a_level_that_there_is_not_is_refused(level: Any) -> None:
    for flavour in FLAVOURS:
        with pytest.raises(ConfigurationError, match="option durable must be 'disk', or 'replicas:N'"):
            opened(flavour, "redis://localhost:1", durable=level)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_file_that_is_switched_off_later_is_an_unconfirmed_write(flavour: str) -> None:
    with configured_server(appendonly="yes", appendfsync="always") as server:
        with harness(flavour, "later", url=server.url, durable="disk") as stores:
            with server.client() as client:
                client.config_set("appendonly", "no")
            with pytest.raises(DurabilityError, match="appendonly is disabled") as caught:
                stores.do(stores.db.users.create(user("u")))
        assert caught.value.result.id == "u"


@pytest.mark.parametrize(
    ("level", "reply", "confirms"),
    [
        (DISK, [1, 0], True),
        (DISK, [1, 5], True),
        (DISK, [0, 5], False),
        (DISK, [1], False),
        (DISK, [1, 0, 0], False),
        (DISK, [b"1", b"0"], False),
        (DISK, [True, 0], False),
        (DISK, 1, False),
        (DISK, b"OK", False),
        (DISK, None, False),
        (DISK, ServerError("ERR no"), False),
        (TWO, 2, True),
        (TWO, 3, True),
        (TWO, 1, False),
        (TWO, True, False),
        (TWO, b"2", False),
        (TWO, [2, 2], False),
        (TWO, None, False),
        (TWO, ServerError("ERR no"), False),
    ],
)
def test_only_the_exact_reply_confirms(level: Any, reply: Any, confirms: bool) -> None:
    assert level.confirmed(reply) is confirms


def test_the_server_never_waits_without_end() -> None:
    assert DISK is not None and TWO is not None
    assert DISK.command(0) == ("WAITAOF", 1, 0, 1)
    assert TWO.command(-5) == ("WAIT", 2, 1)
