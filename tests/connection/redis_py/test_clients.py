"""Stores over a client of redis-py: which clients, what stays the client's, and what redis-py's own faults do not do here."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import pytest
import redis
import redis.asyncio
from redis.backoff import ConstantBackoff
from redis.cache import CacheConfig
from redis.retry import Retry

from compozy_store import Role, User, aio, sync
from keyweave.connection.redis_py import open_aio, open_sync
from keyweave.effects import ConnectionFailure
from keyweave.errors import (
    AuthenticationError,
    ConfigurationError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from keyweave.sync.shell import Shell
from tests.connection.everywhere import opened_everywhere  # noqa: F401
from tests.connection.peers import Client, answering, peer, sending
from tests.harness import FLAVOURS, Harness, harness
from tests.over import client_at
from tests.servers.running import Running, configured_server, free_port, new_key, new_namespace, server_url


class Over:
    """A store over a client, of either flavour, which waits for its results."""

    def __init__(self, flavour: str, client: Any, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.client = client
        options = {"namespace": new_namespace("over"), **options}
        self.store: Any = (aio if flavour == "aio" else sync).Store.over(client, **options)

    def do(self, outcome: Any) -> Any:
        """Return the result of a call, awaited if necessary."""
        return self.runner.run(_awaited(outcome)) if hasattr(outcome, "__await__") else outcome

    def close(self) -> None:
        self.do(self.store.close())
        self.do(self.client.aclose() if hasattr(self.client, "aclose") else self.client.close())
        self.runner.close()


async def _awaited(outcome: Any) -> Any:
    return await outcome


Opened = Callable[..., Over]


@pytest.fixture
def over() -> Iterator[Opened]:
    """Opens stores over clients, and closes both at the end."""
    made: list[Over] = []

    def open_one(flavour: str, client: Any, **options: Any) -> Over:
        made.append(Over(flavour, client, **options))
        return made[-1]

    yield open_one
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server() as running:
        yield running


def client_of(flavour: str, server: Running, **options: Any) -> Any:
    module = redis.asyncio if flavour == "aio" else redis
    return module.Redis(unix_socket_path=str(server.socket), **options)


@pytest.mark.parametrize("protocol", [2, 3, None])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_store_works_over_a_client_of_either_protocol(
    over: Opened, server: Running, flavour: str, protocol: int | None
) -> None:
    opened = over(flavour, client_of(flavour, server, protocol=protocol))
    store, do = opened.store, opened.do
    do(store.ready())
    do(store.users.create(User(id="u", email="a@b", role=Role.USER)))
    assert do(store.users.get("u")).email == "a@b"
    assert do(store.users.by_role(Role.USER).count()) == 1
    assert do(store.check()).clean
    assert do(store.health()).serving


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_it_connects_at_the_first_call_and_leaves_the_client_open(
    over: Opened, server: Running, flavour: str
) -> None:
    client = client_of(flavour, server, client_name=new_key("lazy"))
    opened = over(flavour, client)
    name = client.connection_pool.connection_kwargs["client_name"]
    with server.client() as other:
        assert not [each for each in other.client_list() if each["name"] == name]
        assert opened.do(opened.store.users.find("nobody")) is None
        assert len([each for each in other.client_list() if each["name"] == name]) == 1
        for _ in range(2):
            opened.do(opened.store.close())
        assert len([each for each in other.client_list() if each["name"] == name]) == 1
    assert opened.do(client.ping())
    with pytest.raises(StoreUnavailableError, match="closed"):
        opened.do(opened.store.users.find("nobody"))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_first_call_that_failed_is_no_obstacle(over: Opened, flavour: str) -> None:
    port = free_port()
    module = redis.asyncio if flavour == "aio" else redis
    opened = over(flavour, module.Redis(port=port))
    for call in (opened.store.ready, lambda: opened.store.users.find("u")):
        with pytest.raises(StoreUnavailableError, match=f"localhost:{port}"):
            opened.do(call())
    with configured_server(port=str(port)):
        assert opened.do(opened.store.users.find("u")) is None


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_clients_that_a_store_cannot_use_are_refused_before_anything_is_sent(flavour: str) -> None:
    module, other = (redis.asyncio, redis) if flavour == "aio" else (redis, redis.asyncio)
    store = (aio if flavour == "aio" else sync).Store
    refused = {
        "decode_responses=True": module.Redis(decode_responses=True),
        "not redis.*Redis": other.Redis(),
        "not builtins.object": object(),
        "such as redis.Redis": "redis://localhost",
    }
    if flavour == "sync":
        refused["caches replies"] = redis.Redis(protocol=3, cache_config=CacheConfig())
    for message, client in refused.items():
        with pytest.raises(ConfigurationError, match=message):
            store.over(client)


@pytest.mark.parametrize(
    "options",
    [
        {"pool_size": 3},
        {"timeout": 1},
        {"nonsense": 1},
        {"deadline": 0},
        {"partitions": {"execution": 3}},
        {"durable": "tape"},
    ],
)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_options_of_the_connection_are_the_clients(flavour: str, options: dict[str, Any]) -> None:
    module = redis.asyncio if flavour == "aio" else redis
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        (aio if flavour == "aio" else sync).Store.over(module.Redis(), **options)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_retries_of_the_client_do_not_outlast_the_deadline(over: Opened, flavour: str) -> None:
    """redis-py would try eleven times, with pauses of a second."""
    module = redis.asyncio if flavour == "aio" else redis
    stubborn: Any = Retry(ConstantBackoff(1), 10)
    if flavour == "aio":
        stubborn = redis.asyncio.retry.Retry(ConstantBackoff(1), 10)
    client = module.Redis(port=free_port(), retry=stubborn)
    opened = over(flavour, client, deadline=0.3)
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        opened.do(opened.store.users.find("u"))
    assert time.monotonic() - started < 1
    assert client.connection_pool.make_connection().retry.get_retries() == 10


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_store_sends_is_not_sent_again_by_the_client(flavour: str) -> None:
    received: list[object] = []

    def silent(client: Client) -> None:
        while (command := client.request()) is not None:
            received.append(command)
            if command[0] != b"INCR":
                client.send(b"+OK\r\n")
            else:
                return

    with peer(silent) as address:
        host, port = address.split(":")
        options: dict[str, Any] = {"host": host, "port": int(port), "protocol": 2}
        failure = _failure(flavour, options)
    assert (failure.reason, failure.sent) == ("closed", True)
    assert received.count([b"INCR", b"a"]) == 1


def _failure(flavour: str, options: dict[str, Any]) -> ConnectionFailure:
    """What an INCR meets over a new client with redis-py's default retries."""
    if flavour == "sync":
        with (
            redis.Redis(**options) as client,
            Shell(open_sync.client_channel(client)) as shell,
            pytest.raises(ConnectionFailure) as caught,
        ):
            shell.run(sending(("INCR", "a")))
        return caught.value

    async def main() -> ConnectionFailure:
        async with redis.asyncio.Redis(**options) as client:
            channel = open_aio.client_channel(client)
            with pytest.raises(ConnectionFailure) as caught:
                await channel.exchange((("INCR", "a"),))
            return caught.value

    return asyncio.run(main())


def test_an_error_while_writing_costs_the_pool_no_connection(opened: Any) -> None:
    """redis-py #4110: a pipeline that cannot be written to its end took its connection out of the pool for good."""

    def reset(client: Client) -> None:
        client.greet()
        client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        # Closed with a reset while the client still writes.

    with peer(lambda client: reset(client) if client.number < 3 else answering(client)) as address:
        driver = opened(f"redis://{address}", pool_size=1, pool_timeout=0.05)
        for _ in range(3):
            with pytest.raises(ConnectionFailure) as caught:
                driver.send(("SET", "a", "x" * 30_000_000))
            assert caught.value.reason == "closed"
        assert driver.send(("ECHO", "y")) == [b"y"]


EVERY_REPLY = (
    ("SET", "{k}s", "text"), ("GET", "{k}s"), ("GET", "{k}none"), ("DEL", "{k}s"), ("PING",),
    ("ZADD", "{k}z", 1, "one", 2.5, "half", "inf", "top", 1_700_000_000_123_456, "micros", -0.1, "low"),
    ("ZRANGE", "{k}z", 0, -1, "WITHSCORES"), ("ZINTER", 2, "{k}z", "{k}z", "AGGREGATE", "MIN", "WITHSCORES"),
    ("ZRANGE", "{k}z", "-inf", "inf", "BYSCORE", "LIMIT", 0, 2, "WITHSCORES"), ("ZDIFF", 1, "{k}z", "WITHSCORES"),
    ("ZRANGE", "{k}z", "-inf", "inf", "BYSCORE", "WITHSCORES", "LIMIT", 0, 2), ("ZUNION", 1, "{k}z", "WITHSCORES"),
    ("ZRANGEBYSCORE", "{k}z", 0, 9, "WITHSCORES", "LIMIT", 0, 2), ("ZREVRANGE", "{k}z", 0, 1, "WITHSCORES"),
    ("ZREVRANGEBYSCORE", "{k}z", 9, 0, "WITHSCORES"), ("ZRANGE", "{k}z", 0, -1), ("ZSCORE", "{k}z", "micros"),
    ("ZMSCORE", "{k}z", "one", "absent", "half", "top", "low"), ("ZSCAN", "{k}z", 0),
    ("HSET", "{k}h", "a", 1, "b", 2), ("HGETALL", "{k}h"), ("HGETALL", "{k}none"), ("HSCAN", "{k}h", 0),
    ("CONFIG", "GET", "appendfsync", "save"), ("SADD", "{k}t", "x"), ("SMEMBERS", "{k}t"), ("NOSUCH",),
    ("EVAL", "return {1, 'a', false, true, {2.9, {err='E no'}}}", 0), ("EXISTS", "{k}z"), ("TYPE", "{k}z"),
    ("EVAL", "return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')", 1, "{k}z"), ("DEL", "{k}z", "{k}h", "{k}t"),
)  # fmt: skip


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_replies_are_the_same_over_every_channel_and_protocol(flavour: str) -> None:
    with harness(flavour, "direct") as direct:
        expected = direct.send(*EVERY_REPLY)
    texts = [repr(reply) for reply in expected]
    for protocol in (2, 3):
        client, close = client_at(server_url(), asynchronous=flavour == "aio", more={"protocol": protocol})
        opened = Over(flavour, client)
        found = opened.do(opened.store.session.shell.channel.exchange(EVERY_REPLY))
        assert [repr(reply) for reply in found] == texts, protocol
        opened.do(opened.store.close())
        opened.do(close())
        opened.runner.close()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_server_pushes_is_no_reply(over: Opened, server: Running, flavour: str) -> None:
    """A connection in RESP3 that tracks keys receives their changes in the middle of an exchange."""
    client = client_of(flavour, server, protocol=3, max_connections=1)
    opened = over(flavour, client)
    key = new_key("pushed")
    exchange = opened.store.session.shell.channel.exchange
    opened.do(exchange((("CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP"),)))
    with server.client() as other:
        other.set(key, "1")
    assert opened.do(exchange((("GET", key), ("ECHO", "x")))) == [b"1", b"x"]


class Rotating(redis.CredentialProvider):
    """Names the password that holds at the moment, and counts how often it is asked."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.asked = 0
        self.stale: list[str] = []

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        return ("app", self.stale.pop() if self.stale else self.password)

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_password_can_change_without_an_error(over: Opened, server: Running, flavour: str) -> None:
    provider = Rotating("first")
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "app", "reset", "on", ">first", "~*", "+@all")
        opened = over(flavour, client_of(flavour, server, credential_provider=provider))
        opened.do(opened.store.users.create(User(id="u", email="a@b", role=Role.USER)))
        for password in ("second", "third"):
            old, provider.password = provider.password, password
            provider.stale = [old]  # the provider learns of the change a moment later than the server
            admin.execute_command("ACL", "SETUSER", "app", f">{password}", f"<{old}")
            admin.execute_command("CLIENT", "KILL", "USER", "app")
            asked = provider.asked
            assert opened.do(opened.store.users.get("u")).email == "a@b"
            assert provider.asked >= asked + 2
        provider.password = "KEEPOUT"
        admin.execute_command("CLIENT", "KILL", "USER", "app")
        with pytest.raises(AuthenticationError) as refused:
            opened.do(opened.store.users.get("u"))
        assert "KEEPOUT" not in str(refused.value)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_provider_that_fails_leaves_no_half_open_connection(
    over: Opened, server: Running, flavour: str
) -> None:
    provider = Rotating("word")
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "app", "reset", "on", ">word", "~*", "+@all")
    opened = over(
        flavour, client_of(flavour, server, credential_provider=provider, max_connections=1), deadline=0.2
    )
    provider.get_credentials, good = lambda: 1 / 0, provider.get_credentials  # type: ignore[assignment,return-value]
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="ZeroDivisionError"):
            opened.do(opened.store.users.find("u"))
    provider.get_credentials = good  # type: ignore[method-assign]
    assert opened.do(opened.store.users.find("u")) is None


def test_tasks_that_are_canceled_give_their_connections_back(server: Running) -> None:
    async def main() -> None:
        async with client_of("aio", server, max_connections=3) as client:
            channel = open_aio.client_channel(client)
            key = new_key("canceled")
            for turn in range(60):
                tasks = [asyncio.create_task(channel.exchange((("BLPOP", key, 5),))) for _ in range(4)]
                for _ in range(turn % 20):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert {type(result) for result in results} == {asyncio.CancelledError}
            assert await channel.exchange((("ECHO", "x"),)) == [b"x"]
            state = channel.state()
            assert state is not None
            assert (state.open, state.waiting, state.limit) == (state.idle, 0, 3)
            assert len(client.connection_pool._in_use_connections) == 0

    asyncio.run(main())


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_callers_share_the_pool_with_the_application(
    over: Opened, server: Running, flavour: str, blocking: bool
) -> None:
    module = redis.asyncio if flavour == "aio" else redis
    kind = module.BlockingConnectionPool if blocking else module.ConnectionPool
    unix = module.UnixDomainSocketConnection
    pool = kind(connection_class=unix, path=str(server.socket), max_connections=3)
    opened = over(flavour, module.Redis(connection_pool=pool))
    store = opened.store

    def user(number: int) -> User:
        return User(id=f"u{number}", email=f"u{number}@b", role=Role.USER)

    if flavour == "aio":

        async def work() -> None:
            async def own() -> None:
                for _ in range(100):
                    with_it = opened.client.blpop("nothing", 0.001) if blocking else asyncio.sleep(0)
                    await with_it

            await asyncio.gather(own(), *(store.users.create(user(number)) for number in range(40)))

        opened.do(work())
    else:
        failures: list[BaseException] = []

        def one(number: int) -> None:
            try:
                store.users.create(user(number))
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                failures.append(error)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
    assert opened.do(store.users.by_role(Role.USER).count()) == 40
    state = store.session.shell.pool_state()
    assert state.open <= 3 and state.idle == state.open
    opened.do(pool.disconnect())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_connections_that_the_client_gave_up_are_not_kept(
    over: Opened, server: Running, flavour: str
) -> None:
    client = client_of(flavour, server)
    store = over(flavour, client)
    store.do(store.store.ready())
    pool = client.connection_pool
    given_up = [ref(each) for each in pool._available_connections]
    assert given_up
    store.do(pool.disconnect())
    pool.reset()
    assert not store.do(store.store.users.exists("other"))
    gc.collect()
    assert [each() for each in given_up] == [None] * len(given_up)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_write_whose_answer_is_lost_is_settled_later(over: Opened, server: Running, flavour: str) -> None:
    opened = over(flavour, client_of(flavour, server), deadline=0.5)
    store, do = opened.store, opened.do
    do(store.ready())
    with server.client() as other:
        other.execute_command("CLIENT", "PAUSE", 3000, "WRITE")
        with pytest.raises(OutcomeUnknownError) as unknown:
            _with_timeout(
                store, 0.2, lambda: do(store.users.create(User(id="w", email="w@b", role=Role.USER)))
            )
        other.execute_command("CLIENT", "UNPAUSE")
    settled = do(store.outcome(unknown.value))
    assert settled.applied == (do(store.users.find("w")) is not None)


def _with_timeout(store: Any, seconds: float, call: Callable[[], Any]) -> Any:
    channel = store.session.shell.channel
    exchange = channel.exchange
    channel.exchange = lambda commands, until=None, within=None: exchange(commands, until, seconds)
    try:
        return call()
    finally:
        del channel.exchange


def test_harness_opens_over_redis_py_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYWEAVE_TEST_CHANNEL", "redis_py")
    for flavour in FLAVOURS:
        with harness(flavour, "asked") as stores:
            assert isinstance(stores, Harness)
            assert "redis_py" in type(stores.db.session.shell.channel).__module__
