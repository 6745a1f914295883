"""The fake answers what a real server answers, in both flavours, so that a test on a fake is meaningful."""

from __future__ import annotations

import asyncio
from hashlib import sha1
from uuid import uuid4

import pytest
from fakeredis import FakeServer

from keyweave import sync
from keyweave.connection.settings import parse_url
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError
from tests.connection.peers import sending
from tests.fakes import fake_async_shell, fake_sync_shell

SCRIPT = f"""#!lua flags=no-writes
-- {uuid4()}: no server knows it yet
return {{1, ARGV[1], false, {{'a'}}, redis.error_reply('MINE of mine')}}"""
DIGEST = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

COMMANDS: list[Command] = [
    ("SET", "a", 1), ("GET", "a"), ("GET", "nothing"), ("MGET", "a", "nothing"), ("LPUSH", "a", "x"),
    ("EVALSHA", DIGEST, 0, "v"), ("EVAL", SCRIPT, 0, "v"), ("EVALSHA", DIGEST, 0, b"\x00\xff"),
    ("SCRIPT", "LOAD", SCRIPT), ("SCRIPT", "EXISTS", DIGEST, "0" * 40), ("NOPE",), ("HGET", "h", "f"),
    ("ZADD", "z", 1.5, "m", 1763942400123456, "n"), ("ZRANGE", "z", 0, -1, "WITHSCORES"), ("ZSCORE", "z", "m"),
    ("HGETALL", "h"), ("SET", "b", "é\x00", "PX", 60_000, "NX"), ("SET", "b", "y", "NX"), ("GET", "b"),
    ("SADD", "s", "x"), ("SMEMBERS", "s"), ("DEL", "a", "b"), ("EXISTS", "a"),
]  # fmt: skip


def comparable(reply: Reply) -> Reply:
    """An error by its code: servers word the rest differently."""
    if isinstance(reply, ServerError):
        return f"error {reply.code}"
    return [comparable(each) for each in reply] if isinstance(reply, list) else reply


def test_fakes_answer_like_a_real_server() -> None:
    async def looped() -> list[Reply]:
        async with fake_async_shell(FakeServer()) as shell:
            return await shell.run(sending(*COMMANDS))

    with sync.Shell(parse_url("embedded:")) as shell:
        real = [comparable(reply) for reply in shell.run(sending(*COMMANDS))]
    with fake_sync_shell(FakeServer()) as fake:
        blocking = [comparable(reply) for reply in fake.run(sending(*COMMANDS))]
    assert blocking == real
    assert [comparable(reply) for reply in asyncio.run(looped())] == real


def test_shells_on_one_fake_server_share_data_and_scripts() -> None:
    server = FakeServer()
    with fake_sync_shell(server) as first, fake_sync_shell(server) as second:
        first.run(sending(("SET", "a", "1"), ("SCRIPT", "LOAD", SCRIPT)))
        assert second.run(sending(("GET", "a"), ("EVALSHA", DIGEST, 0, "v")))[0] == b"1"
        assert second.run(sending(("EVALSHA", DIGEST, 0, "v")))[0][1] == b"v"


def test_a_fake_that_is_down_fails_like_a_server_that_is_down() -> None:
    server = FakeServer()
    server.connected = False
    with fake_sync_shell(server) as shell, pytest.raises(ConnectionFailure) as caught:
        shell.run(sending(("PING",)))
    assert caught.value.sent is False
