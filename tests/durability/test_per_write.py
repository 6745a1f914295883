"""A level of durability for some writes of a store: the same connections, and nothing changes for the other writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from compozy_store import aio, sync
from compozy_store.entities import USER
from keyweave.errors import ConfigurationError, DurabilityError, OutcomeUnknownError
from keyweave.read.strategy import BY_KEYS
from tests.durability.test_confirmed import SOON, confirmations, deaf, writes
from tests.harness import FLAVOURS, Harness, exchanges, harness, user
from tests.scripted import LOST
from tests.servers.durable import Durable, durable
from tests.servers.running import Running, configured_server, new_namespace
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server(appendonly="yes", appendfsync="always") as running:
        yield running


@pytest.fixture(scope="module")
def pair() -> Iterator[Durable]:
    with durable("always", replicas=1) as servers:
        yield servers


def in_transaction(stores: Harness, store: Any) -> Any:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.users.create(user("t"))

    return stores.transact(steps, store)


WRITES: dict[str, Callable[[Harness, Any], Any]] = {
    "create": lambda s, store: s.do(store.users.create(user("c"))),
    "create_many": lambda s, store: s.do(store.users.create_many([user("a"), user("b")])),
    "transact": in_transaction,
}


def confirmed_by(sent: Any) -> list[str]:
    """The commands that confirm, of all pipelines with plans, in order; an empty text for a pipeline without one."""
    plans = [commands for commands in sent if writes(commands)]
    assert plans
    return [
        str(commands[confirmations(commands)[0]][0]) if confirmations(commands) else "" for commands in plans
    ]


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_only_the_writes_that_ask_for_it_are_confirmed(flavour: str, operation: str, server: Running) -> None:
    with harness(flavour, "per write", url=server.url) as stores:
        with exchanges(stores) as sent:
            WRITES[operation](stores, stores.db.durable("disk"))
        assert set(confirmed_by(sent)) == {"WAITAOF"}
        stores.do(stores.db.users.delete_many(["a", "b", "c", "t"]))
        with exchanges(stores) as sent:
            WRITES[operation](stores, stores.db)
        assert set(confirmed_by(sent)) == {""}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_durable_store_can_leave_writes_unconfirmed_or_take_another_level(
    flavour: str, pair: Durable
) -> None:
    url = f"unix://{pair.primary.socket}"
    with harness(flavour, "per write", url=url, durable="disk") as stores:
        stores.do(stores.db.users.create(user("first")))  # the server knows the script from here on
        with exchanges(stores) as sent:
            for level in (None, "replicas:1", "disk"):
                stores.do(stores.db.durable(level).users.create(user(f"{level}")))
            stores.do(stores.db.durable("replicas:1").durable(None).users.create(user("twice")))
            stores.do(stores.db.users.create(user("own")))
        assert confirmed_by(sent) == ["", "WAIT", "WAITAOF", "", "WAITAOF"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_unconfirmed_write_is_there(flavour: str, server: Running) -> None:
    with harness(flavour, "per write", url=server.url, deadline=SOON) as stores:
        stores.do(stores.db.durable("disk").users.create(user("first")))
        with deaf(server):
            with pytest.raises(DurabilityError, match="did not confirm durable='disk' in time") as caught:
                stores.do(stores.db.durable("disk").users.create(user("u")))
            assert stores.do(stores.db.users.update("u", email="other@x")).email == "other@x"
        assert (caught.value.level, caught.value.result.id) == ("disk", "u")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_level_that_the_server_cannot_give_is_refused_before_the_write(flavour: str) -> None:
    with harness(flavour, "no replicas") as stores:
        with pytest.raises(ConfigurationError, match="has 0 replicas online"):
            stores.do(stores.db.durable("replicas:1").users.create(user("u")))
        assert not stores.do(stores.db.users.exists("u"))
        for level in ("disc", "replicas:0", 1, ""):
            with pytest.raises(ConfigurationError, match="option durable must be"):
                stores.db.durable(level)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_settled_outcome_of_such_a_write_is_confirmed_as_it_would_have_been(
    flavour: str, server: Running
) -> None:
    """The error knows its level, whichever of the store's faces settles it."""
    with harness(flavour, "settled", url=server.url, deadline=SOON) as stores:
        stores.do(stores.db.users.create(user("first")))
        channel = stores.db.session.shell.channel
        exchange = channel.exchange
        kept: list[Any] = []

        def lost(commands: Any, *_: Any) -> Any:
            if writes(tuple(commands)):
                kept.append(commands)
                raise LOST
            return exchange(commands, *_)

        channel.exchange = lost
        for store in (stores.db.durable("disk"), stores.db):
            with pytest.raises(OutcomeUnknownError) as caught:
                stores.do(store.users.create(user("u")))
            del channel.exchange
            with exchanges(stores) as sent:
                assert stores.do(stores.db.outcome(caught.value)).applied is False
            found = sum(len(confirmations(commands)) for commands in sent)
            assert found == (1 if store is not stores.db else 0)
            channel.exchange = lost
        del channel.exchange


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_it_costs_no_connection_and_closing_it_closes_nothing(flavour: str, server: Running) -> None:
    with harness(flavour, "views", url=server.url) as stores:
        view = stores.db.durable("disk")
        assert view is stores.db.durable("disk")
        assert view.session.shell is stores.db.session.shell
        assert view.stats is stores.db.stats
        stores.do(view.users.create(user("u")))
        stores.do(view.close())
        assert stores.do(stores.db.users.get("u")).id == "u"
        assert stores.do(view.users.get("u")).id == "u"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_sweeper_that_it_began_ends_with_the_store(flavour: str, server: Running) -> None:
    with harness(flavour, "views", url=server.url) as stores:
        view = stores.db.durable("disk")
        sweeper = view.sweeper()
        if flavour == "sync":
            sweeper.start()
        else:
            stores.runner.run(started(sweeper))
        wait_until(lambda: stores.do(view.users.find("nobody")) is None and sweeper.running)
        assert stores.db.session.context.state.sweepers == 1
        stores.do(view.close())
        assert stores.db.session.context.state.sweepers == 1
        stores.do(stores.db.close())
        assert stores.db.session.context.state.sweepers == 0


async def started(sweeper: Any) -> None:
    sweeper.start()


def test_what_a_store_learns_at_its_first_call_reaches_its_levels(server: Running) -> None:
    """How reads find rows is known at the first call, and a level may have been asked for before."""
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        store = sync.Store.over(client, namespace=new_namespace("later"))
        view = store.durable("disk")
        view.users.create(user("u"))
        store.session.context.learn(BY_KEYS)
        assert view.session.context.strategy is BY_KEYS
        assert store.durable(None).session.context.strategy is BY_KEYS


async def entered(server: Running) -> str:
    async with aio.Store.open(server.url, namespace=new_namespace("entered")) as store:
        async with store.durable("disk") as view:
            await view.users.create(user("u"))
        return (await store.users.get("u")).id


def test_it_can_be_entered_like_a_store(server: Running) -> None:
    assert asyncio.run(entered(server)) == "u"


def test_the_store_keeps_one_view_of_each_level(server: Running) -> None:
    with sync.Store.open(server.url, namespace=new_namespace("one each")) as store:
        views = {id(store.durable(level)) for _ in range(3) for level in ("disk", "replicas:1", None)}
        assert len(views) == 3
        assert store.durable("disk").session.context.partition(USER) is store.session.context.partition(USER)
