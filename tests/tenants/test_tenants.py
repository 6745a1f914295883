"""The store of a tenant: names, what it shares with its store, when it is opened, and what closing it means."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import tracemalloc
from collections.abc import Iterator
from functools import partial
from typing import Any
from weakref import ref

import pytest
import redis
import redis.asyncio

from compozy_store import Role, aio, sync
from compozy_store.package import PACKAGE
from keyweave.errors import ConfigurationError, SchemaMismatchError, StoreUnavailableError, TenantNameError
from keyweave.keyspace.keys import Namespace
from keyweave.read.strategy import BY_KEYS
from keyweave.store.ledger import Ledger
from keyweave.store.tenants import KeptTenants
from tests.contents import names
from tests.harness import FLAVOURS, Harness, exchanges, harness, user
from tests.servers.running import configured_server, free_port, new_namespace, server_url
from tests.waiting import until, wait_until

STRANGE = [
    "a:b",
    "a%3Ab",
    "{a}",
    "}:@schema",
    "*",
    "a*",
    "a?",
    "[a-z]",
    "\\",
    "\\*",
    "^a",
    "a b",
    "a\nb",
    "\x00",
    "ä",
    "a\u0308",
    "🦊",
    "../a",
    "-n",
    "x" * 500,
]


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, "tenants") as opened:
        yield opened


@pytest.mark.parametrize("name", ["", "x" * 501, "\ud800", None, 7, b"a", ["a"]])
def test_a_name_that_is_no_text_or_too_long_is_refused_before_anything_is_sent(
    stores: Harness, name: Any
) -> None:
    with exchanges(stores) as sent, pytest.raises(TenantNameError) as refused:
        stores.db.tenant(name)
    assert sent == []
    assert isinstance(refused.value, ConfigurationError)
    if isinstance(name, str) and name:
        assert name not in str(refused.value)


def test_every_other_name_is_a_tenant_of_its_own(stores: Harness) -> None:
    """No name can reach into another's keys: tags are escaped injectively, and patterns of SCAN are literal."""
    mark = new_namespace("t")
    named = {name: stores.db.tenant(f"{name[: 500 - len(mark)]}{mark}") for name in STRANGE}
    for number, store in enumerate(named.values()):
        stores.do(store.users.create(user("u", email=f"{number}@x")))
    for number, store in enumerate(named.values()):
        assert stores.do(store.users.get("u")).email == f"{number}@x"
        report = stores.do(store.check())
        assert (report.clean, report.documents) == (True, 1)
    tags = {store.session.context.keyspace.at("auth", 0).tag for store in named.values()}
    assert len(tags) == len(STRANGE)
    assert all(tag.count("{") == tag.count("}") == 1 and tag.count(":") == 6 for tag in tags)


def test_a_tenants_store_is_the_store_of_that_namespace(stores: Harness) -> None:
    name = new_namespace("t")
    stores.do(stores.db.tenant(name).users.create(user("u")))
    with harness(stores.flavour, Harness(stores.flavour, name, stores.runner, [None])) as opened:
        assert opened.do(opened.db.users.get("u")).id == "u"


def test_asking_again_gives_the_same_store_and_opens_it_once(stores: Harness) -> None:
    name = new_namespace("t")
    with exchanges(stores) as sent:
        first = stores.db.tenant(name)
        assert stores.db.tenant(name) is first
        assert first.tenant(name) is first
        assert sent == []
        stores.do(first.users.find("u"))
        opening = len(sent) - 1
        stores.do(first.users.find("u"))
        stores.do(stores.db.tenant(name).users.find("u"))
    assert opening == 3  # a new namespace: its registry is read, written and read again
    assert len(sent) == opening + 3
    with harness(stores.flavour, "tenants") as later, exchanges(later) as sent:
        later.do(later.db.tenant(name).users.find("u"))
    assert len(sent) == 2  # the registry, and the row


def test_a_tenant_of_a_tenant_is_a_tenant_of_the_store(stores: Harness) -> None:
    one, two = new_namespace("a"), new_namespace("b")
    assert stores.db.tenant(one).tenant(two) is stores.db.tenant(two)


def test_the_stores_own_name_gives_its_rows_and_does_not_close_it(stores: Harness) -> None:
    own = stores.db.tenant(stores.namespace)
    assert own.session.context is stores.db.session.context
    stores.do(own.users.create(user("u")))
    stores.do(own.close())
    assert stores.do(stores.db.users.get("u")).id == "u"


def test_connections_clock_ledger_and_counters_are_shared(stores: Harness) -> None:
    store = stores.db.tenant(new_namespace("t"))
    stores.do(store.users.create(user("u")))
    stores.do(stores.db.users.create(user("u")))
    own, parent = store.session.context.state, stores.db.session.context.state
    placed, placed_there = store.session.context.placing, stores.db.session.context.placing
    assert store.session.shell.channel is stores.db.session.shell.channel
    assert (own.ledger, own.clock, own.stats) == (parent.ledger, parent.clock, parent.stats)
    assert store.session.context.codecs is stores.db.session.context.codecs
    for mine, theirs in (
        (own.unbuilt, parent.unbuilt),
        (placed.writers, placed_there.writers),
        (own.lockers, parent.lockers),
        (placed.packers, placed_there.packers),
        (placed.view_prefixes, placed_there.view_prefixes),
        (own.searches, parent.searches),
        (own.levels, parent.levels),
    ):
        assert mine is not theirs
    assert own.cursors != parent.cursors


def test_closing_a_tenants_store_closes_nothing_and_closing_the_store_closes_all(stores: Harness) -> None:
    store = stores.db.tenant(new_namespace("t"))
    stores.do(store.users.create(user("u")))

    async def enter() -> None:
        async with store as entered:
            assert entered is store

    if stores.flavour == "aio":
        stores.do(enter())
    else:
        with store as entered:
            assert entered is store
    stores.do(store.close())
    stores.do(store.close())
    closing = store.session.shell.close if stores.flavour == "sync" else store.session.shell.aclose
    stores.do(closing())
    assert stores.do(store.users.get("u")).id == "u"
    assert stores.do(stores.db.users.find("u")) is None
    stores.do(stores.db.close())
    for closed in (store, stores.db.tenant(new_namespace("later"))):
        with pytest.raises(Exception) as of_tenant:  # noqa: PT011 - the same as the store's own
            stores.do(closed.users.find("u"))
        with pytest.raises(type(of_tenant.value)):
            stores.do(stores.db.users.find("u"))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_server_that_cannot_be_reached_is_an_error_of_the_call_and_the_next_call_tries_again(
    flavour: str,
) -> None:
    port = free_port()
    module: Any = sync if flavour == "sync" else aio
    client: Any = redis.Redis(port=port) if flavour == "sync" else redis.asyncio.Redis(port=port)
    store = module.Store.over(client, deadline=0.1)
    stores = Harness(flavour, "", _runner(), [store])
    tenant = store.tenant("t")
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            stores.do(tenant.users.find("u"))
    stores.runner.close()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_sweeper_of_a_store_that_is_not_connected_yet_keeps_trying(flavour: str) -> None:
    port = free_port()
    module: Any = sync if flavour == "sync" else aio
    client: Any = redis.Redis(port=port) if flavour == "sync" else redis.asyncio.Redis(port=port)
    store = module.Store.over(client, deadline=0.05)
    stores = Harness(flavour, "", _runner(), [store])
    for sweeping in (store, store.tenant("t")):
        sweeper = sweeping.sweeper()

        async def start(sweeper: Any = sweeper) -> None:
            sweeper.start()
            await until(partial(failing, sweeper))

        if flavour == "aio":
            stores.do(start())
        else:
            sweeper.start()
            wait_until(partial(failing, sweeper))
        assert sweeper.running
        assert isinstance(sweeper.progress.error, StoreUnavailableError)
        stores.do(sweeper.stop())
    stores.runner.close()


def failing(sweeper: Any) -> bool:
    return bool(sweeper.progress.failures > 0)


def _runner() -> asyncio.Runner:
    return asyncio.Runner()


def test_a_tenant_learns_what_its_store_learns_when_it_connects() -> None:
    """How a server lets reads find rows, and whether it shows its settings, is known at the first call only."""
    with configured_server() as server:
        client = redis.Redis(unix_socket_path=str(server.socket))
        store: Any = sync.Store.over(client)
        early, durable = store.tenant("early"), store.tenant("early").durable("disk")
        ready = store.session.shell.ready

        def learning(until: float | None = None) -> None:
            ready(until)
            store.session.context.learn(BY_KEYS)
            store.session.context.state.settings_hidden = True

        store.session.shell.ready = learning
        assert early.users.all().list() == []
        for each in (early, durable, store.tenant("late")):
            assert each.users.by_role(Role.USER).count() == 0
            assert each.session.context.strategy is BY_KEYS
            assert each.session.context.state.settings_hidden
        client.close()


def test_a_tenant_belongs_to_the_event_loop_of_its_store() -> None:
    async def begin() -> Any:
        store = await aio.Store.open(server_url(), namespace=new_namespace("loop"))
        await store.tenant("t").users.find("u")
        return store

    async def use(store: Any) -> None:
        with pytest.raises(ConfigurationError, match="event loop"):
            await store.tenant("t").users.find("u")
        with pytest.raises(ConfigurationError, match="event loop"):
            await store.tenant("other").users.find("u")

    with asyncio.Runner() as first:
        store = first.run(begin())
        asyncio.run(use(store))
        first.run(store.close())


def test_a_level_of_durability_goes_along(stores: Harness) -> None:
    name = new_namespace("t")
    tenant = stores.db.tenant(name)
    level = stores.db.durable("replicas:1")
    assert level.tenant(name) is tenant.durable("replicas:1")
    assert level.tenant(name).session.context.state is tenant.session.context.state
    assert level.tenant(name).durable(None).session.context.durability is None
    assert level.tenant(name).session.context.durability == level.session.context.durability
    stores.do(level.tenant(name).close())
    assert stores.do(tenant.users.find("u")) is None


def test_a_namespace_with_another_definition_is_an_error_of_that_tenant_only(stores: Harness) -> None:
    good, bad = stores.db.tenant(new_namespace("good")), stores.db.tenant(new_namespace("bad"))
    stores.do(bad.ready())
    registry = bad.session.context.keyspace.at("auth", 0).schema
    stores.send(("HSET", registry, "index:User.by_role", '{"definition":"another","built":true}'))
    with harness(stores.flavour, stores) as later:
        for _ in range(2):
            with pytest.raises(SchemaMismatchError):
                later.do(later.db.tenant(_tenant(bad)).users.find("u"))
        assert later.do(later.db.tenant(_tenant(good)).users.by_role(Role.USER).list()) == []


def _tenant(store: Any) -> str:
    return str(store.session.context.keyspace.namespace.tenant)


def test_threads_that_ask_for_a_tenant_at_once_write_without_losing_anything() -> None:
    with harness("sync", "tenants", tenants=2) as stores:
        names = [new_namespace(letter) for letter in "abcd"]
        failed: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(20):
                    store = stores.db.tenant(names[(number + turn) % 4])
                    store.users.create(user(f"{number}-{turn}"))
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert [stores.db.tenant(name).users.all().count() for name in names] == [40] * 4
        for name in names:
            assert stores.db.tenant(name).check().clean


def test_a_forked_child_uses_tenants_and_leaves_those_of_its_parent() -> None:
    with harness("sync", "tenants") as stores:
        store = stores.db.tenant(new_namespace("t"))
        store.users.create(user("parent"))
        child = os.fork()
        if not child:
            status = 1
            try:
                store.users.create(user("child"))
                stores.db.tenant(new_namespace("new")).users.create(user("child"))
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.users.create(user("after"))
        assert sorted(each.id for each in store.users.all()) == ["after", "child", "parent"]


def test_a_lock_that_another_thread_held_at_a_fork_does_not_stop_a_tenant_from_opening() -> None:
    with harness("sync", "tenants") as stores:
        tenant = stores.db.tenant(new_namespace("t"))
        tenant.session.shell._lock.acquire()
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(tenant.users.find("u")), daemon=True)
        thread.start()
        thread.join(20)
        assert found == [None]


def test_the_store_of_a_tenant_that_is_no_longer_kept_is_freed_at_once() -> None:
    """Without the garbage collector: cycles of many tenants would pile up until it runs."""
    with harness("sync", "tenants", tenants=1) as stores:
        tenant = stores.db.tenant(new_namespace("t"))
        tenant.users.create(user("u"))
        assert tenant.users.all().count() == 1
        state = ref(tenant.session.context.placing.writers)
        gc.disable()
        try:
            del tenant
            assert state() is not None
            stores.db.tenant(new_namespace("other"))
            assert state() is None
        finally:
            gc.enable()


def test_no_more_tenants_are_kept_than_the_option_says() -> None:
    kept = KeptTenants(10)
    for number in range(1000):
        kept.keep(str(number), object())
        assert kept.get("0") is not None or kept.keep("0", object())
    assert len(kept._newer) + len(kept._older) <= 10
    assert kept.get("0") is not None, "what is asked for often stays"
    one = KeptTenants(1)
    for name in "ab":
        assert one.keep(name, name) == name
    assert (one.get("a"), one.get("b")) == (None, "b")


def test_a_store_that_is_no_longer_kept_goes_on_and_a_new_one_shares_its_rows() -> None:
    with harness("sync", "tenants", tenants=2) as stores:
        name = new_namespace("t")
        first = stores.db.tenant(name)
        first.users.create(user("u"))
        for _ in range(4):
            stores.db.tenant(new_namespace("other"))
        second = stores.db.tenant(name)
        assert second is not first
        second.users.update("u", role=Role.ADMIN)
        first.users.update("u", email="new@x")
        assert second.users.get("u").role is Role.ADMIN
        assert first.check().clean


def test_tenants_that_were_forgotten_leave_no_more_ledgers_on_the_server() -> None:
    """A ledger lives for a day: one for each store of a tenant that a process ever made would fill the server."""
    with harness("sync", "tenants", tenants=2) as stores:
        tenants = [new_namespace(letter) for letter in "abc"]
        for turn in range(5):
            for name in tenants:
                stores.db.tenant(name).users.create(user(f"u{turn}"))
        for name in tenants:
            pattern = f"{stores.db.tenant(name).session.context.keyspace.at('auth', 0).tag}@ledger:*"
            found = names(lambda *command: stores.send(command)[0], pattern.replace("[", "\\["))
            assert len(found) == 1


def test_renewals_of_ledgers_are_remembered_for_a_bounded_number_of_partitions() -> None:
    ledger = Ledger(lambda: 0.0)
    for number in range(25_000):
        ledger.renewed(str(number))
    assert len(ledger._renewed) <= 10_000
    assert not ledger.due_for_renewal("24999")


def test_writes_sweep_however_briefly_a_tenant_is_kept() -> None:
    """The count of writes after which one sweeps begins at random, or a tenant that is forgotten in time would never be swept."""
    with harness("sync", "tenants", sweep_every=4) as stores:
        begun = {stores.db.session.context.of_tenant("t").state.writes for _ in range(200)}
    assert begun == {0, 1, 2, 3}


def test_a_tenants_store_is_cheap() -> None:
    """None of them connected: the bound is several times what is measured, so that only a change of kind breaks it."""
    with harness("sync", "tenants", tenants=30_000) as stores:
        stores.db.tenant("first")
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        made = [stores.db.tenant(f"tenant-{number}") for number in range(300)]
        used = (tracemalloc.get_traced_memory()[0] - before) / len(made)
        tracemalloc.stop()
    assert used < 24_000, f"{used:.0f} bytes each"


def test_the_limit_of_names_is_that_of_namespaces() -> None:
    app, version, environment, _ = PACKAGE.namespace
    with pytest.raises(TenantNameError):
        Namespace(app, version, environment, "x" * 501)
    with pytest.raises(ConfigurationError) as refused:
        Namespace("", version, environment, "x")
    assert not isinstance(refused.value, TenantNameError)
