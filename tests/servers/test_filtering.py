"""Servers with the restrictions of managed services: what they refuse, with which words, and that all else passes unchanged."""

from __future__ import annotations

import contextlib
import random
import re
import socket
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hiredis
import pytest
import redis

from tests.declared import CheckingScripts
from tests.servers.filtering import FilteringProxy, Inspector, managed_server
from tests.servers.profiles import (
    ELASTICACHE,
    ELASTICACHE_SERVERLESS,
    MEMORYSTORE,
    NO_SCAN,
    NO_SCRIPT_COMMANDS,
    PROFILES,
    REDIS_CLOUD,
    SOURCES,
    STRICTEST,
    Profile,
)
from tests.servers.running import Running, configured_server

READ = "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])"
ANOTHER = "return redis.call('GET', ARGV[1])"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server() as running:
        yield running


@contextlib.contextmanager
def service(server: Running, profile: Profile) -> Iterator[redis.Redis]:
    proxy = FilteringProxy(server.socket, profile)
    with redis.Redis.from_url(proxy.url) as client:
        client.flushall()
        yield client
    proxy.close()


def refused(client: redis.Redis, *words: str | int) -> str:
    with pytest.raises(redis.ResponseError) as caught:
        client.execute_command(*words)  # type: ignore[no-untyped-call]
    return str(caught.value)


def test_commands_of_the_administrator_are_unknown(server: Running) -> None:
    with service(server, ELASTICACHE) as client:
        assert refused(client, "CONFIG", "GET", "maxmemory") == (
            "unknown command 'CONFIG', with args beginning with: 'GET' 'maxmemory' "
        )
        assert "unknown command 'config'" in refused(client, "config", "SET", "maxmemory", 0)
        assert client.set("key", 1) and client.get("key") == b"1"


def test_the_text_is_the_one_of_a_server_that_does_not_know_the_command(server: Running) -> None:
    for words in (["NOSUCH"], ["NOSUCH", "a"], ["nosuch", "a", "b" * 200, "c"]):
        with server.client() as plain:
            expected = refused(plain, *words)
        profile = Profile("one", frozenset({"NOSUCH"}))
        with service(server, profile) as client:
            assert refused(client, *words) == expected


def test_the_text_is_the_one_of_an_acl_that_does_not_permit_the_command(server: Running) -> None:
    with service(server, MEMORYSTORE) as client:
        assert refused(client, "CONFIG", "SET", "maxmemory", 0) == (
            "User default has no permissions to run the 'config|set' command"
        )
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.bgsave()
        assert client.execute_command("CONFIG", "HELP")  # type: ignore[no-untyped-call]


def test_the_texts_of_the_server_under_test_are_the_same(server: Running) -> None:
    with server.client() as plain:
        plain.execute_command("ACL", "SETUSER", "app", "on", "nopass", *NO_SCAN.acl())  # type: ignore[no-untyped-call]
        with (
            redis.Redis(unix_socket_path=str(server.socket), username="app", password="any") as limited,
            service(server, NO_SCAN) as client,
        ):
            for words in (["SCAN", 0], ["DBSIZE"], ["CONFIG", "GET", "save"]):
                expected = refused(limited, *words).replace("User app", "User default")
                assert refused(client, *words) == expected
            assert limited.set("key", 1)


def test_an_acl_refuses_a_subcommand(server: Running) -> None:
    with server.client() as plain:
        plain.execute_command("ACL", "SETUSER", "app", "on", "nopass", *REDIS_CLOUD.acl())  # type: ignore[no-untyped-call]
    with redis.Redis(unix_socket_path=str(server.socket), username="app", password="any") as limited:
        assert limited.config_get("maxmemory")
        assert "no permissions" in refused(limited, "CONFIG", "RESETSTAT")
        assert "no permissions" in refused(limited, "SELECT", 0)


def test_a_script_needs_a_key(server: Running) -> None:
    with service(server, ELASTICACHE_SERVERLESS) as client:
        assert (
            refused(client, "EVAL", "return 1", 0) == "Lua scripts without any input keys are not supported."
        )
        assert refused(client, "EVALSHA", "0" * 40, 0).startswith("Lua scripts without any input keys")
        assert client.eval("return 1", 1, "key") == 1


def test_a_script_may_access_declared_keys_only(server: Running) -> None:
    with service(server, ELASTICACHE_SERVERLESS) as client:
        client.set("key", "value")
        assert client.eval(READ, 1, "key") == b"value"
        assert client.eval(ANOTHER, 1, "key", "key") == b"value"
        assert "undeclared key" in refused(client, "EVAL", ANOTHER, 1, "other", "key")


def test_a_script_is_known_by_the_digest_of_its_text(server: Running) -> None:
    digest = sha1(READ.encode()).hexdigest()
    with service(server, ELASTICACHE_SERVERLESS) as client:
        client.script_flush()
        client.set("key", "value")
        with pytest.raises(redis.exceptions.NoScriptError):
            client.evalsha(digest, 1, "key")
        assert client.script_exists(digest) == [False]
        loaded = client.script_load(READ)
        assert client.script_exists(digest, loaded) == [True, True]
        assert client.evalsha(digest, 1, "key") == client.evalsha(loaded, 1, "key") == b"value"
        assert client.register_script(READ)(keys=["key"]) == b"value"


def test_script_commands_are_refused_and_scripts_still_arrive(server: Running) -> None:
    digest = sha1(READ.encode()).hexdigest()
    with service(server, NO_SCRIPT_COMMANDS) as client:
        client.set("key", "value")
        assert "no permissions to run the 'script" in refused(client, "SCRIPT", "LOAD", READ)
        assert client.eval(READ, 1, "key") == b"value"
        assert client.evalsha(digest, 1, "key") == b"value"


def test_a_command_has_a_largest_number_of_words(server: Running) -> None:
    with service(server, ELASTICACHE_SERVERLESS) as client:
        assert client.rpush("list", *range(3_997)) == 3_997
        assert "at most 3,998" in refused(client, "RPUSH", "list", *range(3_998))
        assert client.llen("list") == 3_997


def test_there_is_one_database(server: Running) -> None:
    with service(server, REDIS_CLOUD) as client:
        assert client.select(0)
        assert refused(client, "SELECT", 1) == "SELECT is not allowed in cluster mode"


def test_refusals_keep_their_places_in_a_pipeline(server: Running) -> None:
    with service(server, STRICTEST) as client:
        pipeline: Any = client.pipeline(transaction=False)
        for number in range(1_000):
            pipeline.set(f"key:{number}", number)
            if number % 3 == 0:
                pipeline.execute_command("SCAN", 0)
            pipeline.get(f"key:{number}")
        replies = pipeline.execute(raise_on_error=False)
        assert [reply for reply in replies if isinstance(reply, bytes)] == [b"%d" % n for n in range(1_000)]
        assert [isinstance(each, redis.exceptions.NoPermissionError) for each in replies[:8]] == (
            [False, True, False, False, False, False, False, False]
        )
        assert sum(isinstance(each, redis.exceptions.NoPermissionError) for each in replies) == 334


def transaction(client: redis.Redis, *commands: list[str | int]) -> list[object]:
    pipeline: Any = client.pipeline()
    for words in commands:
        pipeline.execute_command(*words)
    replies: list[object] = pipeline.execute()
    return replies


def test_a_refused_command_spoils_its_transaction(server: Running) -> None:
    with service(server, STRICTEST) as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            transaction(client, ["SET", "key", 1], ["SCAN", 0])
        assert client.get("key") is None
        assert transaction(client, ["SET", "key", 1], ["GET", "key"]) == [True, b"1"]


def test_large_replies_and_values_pass_unchanged(server: Running) -> None:
    value = random.Random(7).randbytes(8_000_000)
    with service(server, STRICTEST) as client:
        assert client.set("large", value)
        assert client.get("large") == value
        pipeline: Any = client.pipeline(transaction=False)
        pipeline.get("large")
        pipeline.execute_command("SCAN", 0)
        pipeline.get("large")
        replies = pipeline.execute(raise_on_error=False)
        assert (replies[0], replies[2]) == (value, value)
        assert isinstance(replies[1], redis.ResponseError)


def test_a_connection_that_does_not_speak_the_protocol_is_cut(server: Running) -> None:
    proxy = FilteringProxy(server.socket, ELASTICACHE)
    with socket.create_connection(("127.0.0.1", urlsplit(proxy.url).port or 0)) as connection:
        connection.sendall(b"PING\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    proxy.close()


@pytest.mark.parametrize("seed", range(20))
def test_bytes_may_be_split_anywhere(seed: int) -> None:
    """Requests and replies arrive in pieces of any size: the server gets the same commands, the client the same replies."""
    chance = random.Random(seed)
    inspector = Inspector(STRICTEST, CheckingScripts())
    commands: list[tuple[str, ...]] = [
        chance.choice(
            [("GET", "k"), ("SCAN", "0"), ("CONFIG", "GET", "x"), ("SET", "k", "v" * chance.randrange(50))]
        )
        for _ in range(40)
    ]
    sent = b"".join(map(packed, commands))
    server = hiredis.Reader()
    answers = b""
    for piece in pieces(sent, chance):
        server.feed(inspector.requests(piece))
        while (command := server.gets()) is not False:
            answers += answer(command)
    reader = hiredis.Reader()
    for piece in pieces(answers, chance):
        reader.feed(inspector.replies(piece))
    replies = [reader.gets() for _ in commands]
    assert reader.gets() is False
    for command, reply in zip(commands, replies, strict=True):
        if command[0] in {"SCAN", "CONFIG"}:
            assert str(reply).startswith("NOPERM User default has no permissions")
        else:
            assert reply == (b"-ERR unknown command 'refused" if command[0] == "GET" else b"OK")


def packed(command: tuple[Any, ...]) -> bytes:
    return hiredis.pack_command(command)


def answer(command: list[bytes]) -> bytes:
    """What a server replies; a value looks like the beginning of what the proxy waits for."""
    if command[0] == b"GET":
        return b"$29\r\n-ERR unknown command 'refused\r\n"
    if command[0] == b"SET":
        return b"+OK\r\n"
    return b"-ERR unknown command '%b', with args beginning with: \r\n" % command[0]


def pieces(data: bytes, chance: random.Random) -> Iterator[bytes]:
    while data:
        length = chance.choice([1, 2, 7, 40, 300])
        yield data[:length]
        data = data[length:]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda each: str(each.name))
def test_every_profile_serves_an_application(profile: Profile) -> None:
    with managed_server(profile) as url, redis.Redis.from_url(url) as client:
        assert client.set("key", "value")
        assert client.hset("hash", mapping={"a": 1}) == 1
        assert client.eval(READ, 1, "key") == b"value"
        assert client.info("server")["process_id"]
        for command in profile.refused:
            assert refused(client, *command.split("|"), "x", "y")


def test_make_runs_the_contract_on_every_profile() -> None:
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^PROFILES \?= (.*)$", makefile, re.MULTILINE)
    assert listed.split() == [*PROFILES]


def test_every_service_has_a_source() -> None:
    assert {*SOURCES} == {*PROFILES} - {"no-script-commands", "no-scan", "strictest"}
