"""Every write of a durable store is confirmed in its own pipeline, on real servers, and nothing else is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis.asyncio

from compozy_engine import Engine
from compozy_store import Role, User
from compozy_store.entities import USER
from keyweave.effects import Command
from keyweave.errors import AlreadyExistsError, DurabilityError, OutcomeUnknownError
from tests.harness import FLAVOURS, Harness, exchanges, harness, user
from tests.scripted import LOST
from tests.servers.durable import Durable, durable
from tests.servers.running import Running, configured_server, new_namespace
from tests.waiting import wait_until

CONFIRMS = ("WAIT", "WAITAOF")
SOON = 1.0
"""Seconds of `deadline` where a write is not confirmed."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server(appendonly="yes", appendfsync="always") as running:
        yield running


@pytest.fixture(scope="module")
def pair() -> Iterator[Durable]:
    with durable("always", replicas=1) as servers:
        yield servers


@contextmanager
def deaf(server: Running) -> Iterator[None]:
    """Inside, the server confirms nothing: it never calls fsync by itself."""
    with server.client() as client:
        client.config_set("appendfsync", "no")
        try:
            yield
        finally:
            client.config_set("appendfsync", "always")


def create_with_lock(stores: Harness) -> Any:
    def steps(tx: Any) -> Generator[Any, Any, str]:
        row = yield tx.users.get_for_update("old")
        row.email = "locked@x"
        yield tx.users.save(row)
        return "done"

    return stores.transact(steps)


def change(stores: Harness) -> Any:
    return stores.do(stores.db.users.change("old", lambda row: setattr(row, "email", "changed@x")))


def save(stores: Harness) -> Any:
    row = stores.do(stores.db.users.get("old"))
    row.email = "saved@x"
    return stores.do(stores.db.users.save(row))


WRITES: dict[str, Callable[[Harness], Any]] = {
    "create": lambda s: s.do(s.db.users.create(user("new"))),
    "save": save,
    "upsert": lambda s: s.do(s.db.users.upsert(user("new"))),
    "update": lambda s: s.do(s.db.users.update("old", email="updated@x")),
    "change": change,
    "delete": lambda s: s.do(s.db.users.delete("old")),
    "discard": lambda s: s.do(s.db.users.discard("old")),
    "create_many": lambda s: s.do(s.db.users.create_many([user("a"), user("b")])),
    "upsert_many": lambda s: s.do(s.db.users.upsert_many([user("a"), user("old")])),
    "save_many": lambda s: s.do(s.db.users.save_many([s.do(s.db.users.get("old"))])),
    "delete_many": lambda s: s.do(s.db.users.delete_many(["old", "nobody"])),
    "transact": create_with_lock,
}


def writes(commands: tuple[Command, ...]) -> list[int]:
    """The places of the plans in a pipeline."""
    return [place for place, command in enumerate(commands) if "rows" in command]


def confirmations(commands: tuple[Command, ...]) -> list[int]:
    return [place for place, command in enumerate(commands) if command[0] in CONFIRMS]


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_each_write_is_followed_by_its_confirmation(flavour: str, operation: str, server: Running) -> None:
    with harness(flavour, "confirmed", url=server.url, durable="disk") as stores:
        stores.do(stores.db.users.create(user("old")))
        with exchanges(stores) as sent:
            WRITES[operation](stores)
        plans = [commands for commands in sent if writes(commands)]
        assert plans
        for commands in sent:
            last = writes(commands)[-1:]
            assert confirmations(commands) == [place + 1 for place in last]
        for commands in plans:
            confirm = commands[confirmations(commands)[0]]
            assert confirm[:3] == ("WAITAOF", 1, 0)
            assert 5_000 < int(confirm[3]) < 10_000


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_store_without_the_option_sends_what_it_always_sent(flavour: str, server: Running) -> None:
    with harness(flavour, "plain", url=server.url) as stores:
        with exchanges(stores) as sent:
            stores.do(stores.db.users.create(user("old")))
            for operation in ("update", "transact", "create_many", "delete"):
                WRITES[operation](stores)
        assert sum(len(writes(commands)) for commands in sent) >= 5
        assert not any(confirmations(commands) for commands in sent)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_reads_wait_for_nothing_also_where_they_heal(flavour: str, server: Running) -> None:
    with harness(flavour, "reads", url=server.url, durable="disk") as stores:
        stores.do(stores.db.users.create(user("gone")))
        document = stores.db.session.context.partition(USER).document("User", "gone")
        stores.send(("DEL", document))
        with exchanges(stores) as sent:
            assert stores.do(stores.db.users.find("nobody")) is None
            assert stores.do(stores.db.users.all().list()) == []
        assert any(writes(commands) for commands in sent), "the read healed nothing"
        assert not any(confirmations(commands) for commands in sent)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_delete_of_an_unreadable_row_is_confirmed(flavour: str, server: Running) -> None:
    """Its document has no head that a plan could guard, so a command of its own deletes it."""
    with harness(flavour, "unreadable", url=server.url, durable="disk") as stores:
        stores.do(stores.db.users.create(user("u")))
        document = stores.db.session.context.partition(USER).document("User", "u")
        stores.send(("SET", document, "no document"))
        with exchanges(stores) as sent:
            stores.do(stores.db.users.discard("u"))
        (deleted,) = [commands for commands in sent if commands[0][:2] == ("DEL", document)]
        assert confirmations(deleted) == [1]


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_unconfirmed_write_is_there_and_its_result_is_in_the_error(
    flavour: str, operation: str, server: Running
) -> None:
    with (
        harness(flavour, "unconfirmed", url=server.url) as plain,
        harness(flavour, "unconfirmed", url=server.url, durable="disk", deadline=SOON) as stores,
    ):
        plain.do(plain.db.users.create(user("old")))
        stores.do(stores.db.users.create(user("old")))
        expected = WRITES[operation](plain)
        with deaf(server):
            started = time.monotonic()
            with pytest.raises(DurabilityError, match="did not confirm durable='disk' in time") as caught:
                WRITES[operation](stores)
            assert 0.5 < time.monotonic() - started < SOON + 0.3
        assert caught.value.level == "disk"
        assert without_times(caught.value.result) == without_times(expected)
        assert rows(stores) == rows(plain)


def without_times(result: Any) -> Any:
    if isinstance(result, list):
        return [without_times(each) for each in result]
    return (result.id, result.email) if isinstance(result, User) else result


def rows(stores: Harness) -> list[tuple[str, str]]:
    return sorted((row.id, row.email) for row in stores.do(stores.db.users.all().list()))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_refused_write_raises_its_own_error(flavour: str, server: Running) -> None:
    with harness(flavour, "refused", url=server.url, durable="disk", deadline=SOON) as stores:
        stores.do(stores.db.users.create(user("u")))
        with deaf(server), pytest.raises(AlreadyExistsError):
            stores.do(stores.db.users.create(user("u")))


@pytest.mark.parametrize("deadline", [0.3, 0.6, SOON, 2.0, 10.0])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_answer_of_a_server_that_looks_ten_times_a_second_comes_in_time(
    flavour: str, deadline: float, server: Running
) -> None:
    """A quiet server ends WAITAOF up to 100 ms late."""
    with harness(flavour, "in time", url=server.url, durable="disk", deadline=deadline) as stores:
        stores.do(stores.db.users.create(user("first")))
        with exchanges(stores) as sent:
            stores.do(stores.db.users.create(user("second")))
        (wait,) = [int(commands[place][3]) for commands in sent for place in confirmations(commands)]
        assert deadline * 500 - 25 < wait < deadline * 1000 - 120


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_operation_may_wait_longer_than_an_exchange(flavour: str, server: Running) -> None:
    with harness(flavour, "patient", url=server.url, durable="disk", timeout=0.2, deadline=1.5) as stores:
        with deaf(server), pytest.raises(DurabilityError):
            stores.do(stores.db.users.create(user("u")))
        assert stores.do(stores.db.users.get("u")).id == "u"


@contextmanager
def losing(stores: Harness, other: Harness) -> Iterator[None]:
    """Let the first plan be carried out on another store's connection, and lose its answer."""
    channel, apart = stores.db.session.shell.channel, other.db.session.shell.channel
    exchange, left = channel.exchange, [1]

    def lost(commands: Any) -> Any:
        return apart.exchange([command for command in commands if command[0] not in CONFIRMS])

    def blocking(commands: Any, *more: Any) -> Any:
        if left and writes(tuple(commands)):
            left.pop()
            lost(commands)
            raise LOST
        return exchange(commands, *more)

    async def waiting(commands: Any, *more: Any) -> Any:
        if left and writes(tuple(commands)):
            left.pop()
            await lost(commands)
            raise LOST
        return await exchange(commands, *more)

    channel.exchange = blocking if stores.flavour == "sync" else waiting
    try:
        yield
    finally:
        del channel.exchange


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_replayed_answer_is_confirmed_as_well(flavour: str, server: Running) -> None:
    """The connection of the retry has written nothing, so a bare WAITAOF would answer at once."""
    with harness(flavour, "replayed", url=server.url, durable="disk", deadline=SOON) as stores:
        other = Harness(flavour, stores.namespace, stores.runner, [opened_beside(stores, server)])
        with losing(stores, other):
            assert stores.do(stores.db.users.create(user("first"))).id == "first"
        with deaf(server), losing(stores, other), pytest.raises(DurabilityError) as caught:
            stores.do(stores.db.users.create(user("second")))
        assert caught.value.result.id == "second"
        assert stores.db.stats.replays == 2
        other.do(other.db.close())


def opened_beside(stores: Harness, server: Running) -> Any:
    from compozy_store import aio, sync

    opened = (aio if stores.flavour == "aio" else sync).Store.open(server.url, namespace=stores.namespace)
    return stores.runner.run(_opened(opened)) if stores.flavour == "aio" else opened


async def _opened(opening: Any) -> Any:
    return await opening


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("applied", [True, False])
def test_a_settled_outcome_is_confirmed_as_well(flavour: str, applied: bool, server: Running) -> None:
    with harness(flavour, "settled", url=server.url, durable="disk", deadline=3.0) as stores:
        stores.do(stores.db.users.create(user("first")))  # the server knows the script from here on
        channel = stores.db.session.shell.channel
        exchange = channel.exchange
        kept: list[Any] = []

        def lost(commands: Any, *_: Any) -> Any:
            kept.append(commands)
            raise LOST

        channel.exchange = lost
        with pytest.raises(OutcomeUnknownError) as caught:
            stores.do(stores.db.users.create(user("u")))
        channel.exchange = exchange
        if applied:
            stores.do(exchange(kept[0]))
        with exchanges(stores) as sent, deaf(server), pytest.raises(DurabilityError) as failed:
            stores.do(stores.db.outcome(caught.value))
        assert failed.value.result.applied is applied
        assert any(confirmations(commands) for commands in sent)
        assert stores.do(stores.db.outcome(caught.value)).applied is applied


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_replica_confirms(flavour: str, pair: Durable) -> None:
    url = f"unix://{pair.primary.socket}"
    with harness(flavour, "replicas", url=url, durable="replicas:1", deadline=SOON) as stores:
        with exchanges(stores) as sent:
            stores.do(stores.db.users.create(user("u")))
        assert [command[:2] for command in sent[-1][-1:]] == [("WAIT", 1)]
        document = stores.db.session.context.partition(USER).document("User", "u")
        assert pair.replicas[0].ask("EXISTS", document) == 1
        pair.replicas[0].pause()
        try:
            with pytest.raises(DurabilityError, match="0 of 1 replicas had confirmed it"):
                stores.do(stores.db.users.update("u", email="late@x"))
        finally:
            pair.replicas[0].resume()
        assert stores.do(stores.db.users.update("u", email="again@x")).email == "again@x"


def test_a_write_that_waits_while_its_primary_steps_down_is_settled_when_there_is_one_again() -> None:
    """The server ends the WAIT with UNBLOCKED. The write goes on with its ticket, and is confirmed once."""
    with durable("always", replicas=1) as servers:
        url = f"unix://{servers.primary.socket}"
        with harness("sync", "steps down", url=url, durable="replicas:1", deadline=20.0) as stores:
            stores.do(stores.db.users.create(user("first")))
            servers.replicas[0].pause()
            with ThreadPoolExecutor(1) as thread:
                waiting = thread.submit(stores.db.users.create, user("second"))
                wait_until(lambda: blocked(servers) == 1)
                servers.primary.ask("REPLICAOF", "127.0.0.1", "1")
                wait_until(lambda: stores.db.stats.retries > 0)
                servers.primary.ask("REPLICAOF", "NO", "ONE")
                servers.replicas[0].resume()
                assert waiting.result().id == "second"
            assert stores.db.stats.replays == 1
            document = stores.db.session.context.partition(USER).document("User", "second")
            assert servers.replicas[0].ask("EXISTS", document) == 1


def blocked(servers: Durable) -> int:
    """The number of clients that wait on the primary."""
    with servers.primary.client() as client:
        return int(client.info("clients")["blocked_clients"])


def test_tasks_do_not_wait_for_the_confirmations_of_others(server: Running) -> None:
    """They share connections, on which the server answers nothing behind a WAITAOF."""
    with harness("aio", "beside", url=server.url, durable="disk", deadline=2.0) as stores:

        async def read() -> float:
            began = time.monotonic()
            assert await stores.db.users.find("nobody") is None
            return time.monotonic() - began

        async def write(number: int) -> None:
            with pytest.raises(DurabilityError):
                await stores.db.users.create(User(id=f"w{number}", email=f"{number}@x", role=Role.USER))

        async def all_of_them() -> float:
            writing = [asyncio.ensure_future(write(number)) for number in range(8)]
            slowest = 0.0
            while not all(task.done() for task in writing):
                slowest = max([slowest, *(await asyncio.gather(*(read() for _ in range(8))))])
            await asyncio.gather(*writing)
            return slowest

        with deaf(server):
            assert stores.runner.run(all_of_them()) < 0.8


def test_the_engine_takes_the_option_both_ways(server: Running) -> None:
    async def opened() -> None:
        async with Engine.open(
            server.url, namespace=new_namespace("engine"), durable="disk", deadline=SOON
        ) as engine:
            await unconfirmed(engine)

    async def over() -> None:
        async with redis.asyncio.Redis(unix_socket_path=str(server.socket)) as client:
            engine = Engine.over(client, namespace=new_namespace("engine"), durable="disk", deadline=SOON)
            await engine.store.ready()
            await unconfirmed(engine)

    async def unconfirmed(engine: Engine) -> None:
        await engine.auth.create_user(user("first"))
        with deaf(server), pytest.raises(DurabilityError):
            await engine.auth.create_user(user("second"))
        assert (await engine.auth.get_user_by_id("second")).id == "second"

    asyncio.run(opened())
    asyncio.run(over())
