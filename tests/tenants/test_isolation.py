"""Two tenants on one pool with the same keys, unique values, views and deadlines never touch each other."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from compozy_engine import Engine
from compozy_store import EmailExistsError, Role, Status, UserNotFoundError
from keyweave.errors import (
    ConfigurationError,
    ConflictError,
    InvalidCursorError,
    NotFoundError,
    OutcomeUnknownError,
    ValidationError,
)
from tests.harness import AT_ONCE, FLAVOURS, Harness, harness, run, task, user
from tests.scripted import LOST
from tests.servers.running import new_namespace, server_url
from tests.waiting import until, wait_until


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, "tenants") as opened:
        yield opened


@pytest.fixture
def pair(stores: Harness) -> tuple[Any, Any]:
    """The stores of two tenants of one store, whose own namespace is a third."""
    return stores.db.tenant(new_namespace("a")), stores.db.tenant(new_namespace("b"))


def everything(stores: Harness, store: Any) -> dict[str, Any]:
    """Every key of a tenant but its registries and ledgers, without the names of the partitions."""
    inside = Harness(stores.flavour, "", stores.runner, [store])
    return {name.partition("}")[2]: value for name, value in inside.contents().items()}


def fill(stores: Harness, store: Any, mark: str) -> None:
    """Rows with the same keys and unique values in every tenant; `mark` differs."""
    stores.do(store.users.create(user("u", email="same@x")))
    stores.do(store.workflow_states.create(run("w", status=Status.RUNNING)))
    for key in "ab":
        stores.do(store.task_states.create(task(key, name=mark)))


def test_the_same_rows_in_two_tenants_are_four_rows(stores: Harness, pair: tuple[Any, Any]) -> None:
    for store, mark in zip(pair, ("one", "two"), strict=True):
        fill(stores, store, mark)
    for store, mark in zip(pair, ("one", "two"), strict=True):
        assert {each.task_id for each in stores.do(store.task_states.all().list())} == {mark}
        assert stores.do(store.users.by_role(Role.USER).count()) == 1
        assert stores.do(store.users.get_by_email("same@x")).id == "u"
        with pytest.raises(EmailExistsError):
            stores.do(store.users.create(user("v", email="same@x")))
    assert stores.do(stores.db.users.all().list()) == []
    assert everything(stores, stores.db) == {}


def test_whatever_happens_in_one_tenant_changes_no_key_of_the_other(
    stores: Harness, pair: tuple[Any, Any]
) -> None:
    one, two = pair
    for store in pair:
        fill(stores, store, "m")
    before = everything(stores, two)

    def steps(tx: Any) -> Generator[Any, Any, None]:
        row = yield tx.task_states.get_for_update("a")
        row.status = Status.SUCCESS
        yield tx.task_states.save(row)
        yield tx.task_states.create(task("c", name="m"))

    stores.transact(steps, one)
    stores.do(one.users.update("u", email="other@x", role=Role.ADMIN))
    stores.do(one.users.create(user("v", email="same@x")))
    stores.do(one.task_states.upsert(task("b", name="changed")))
    stores.do(one.task_states.create_many([task("d", name="m"), task("e", name="m")]))
    stores.do(one.task_states.delete_many(["d"]))
    stores.do(one.workflow_states.delete("w"))
    stores.do(one.users.discard("u"))
    assert stores.do(one.task_states.all().list()) == []
    assert everything(stores, two) == before
    for store in pair:
        assert stores.do(store.check()).clean


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_sweep_of_one_tenant_leaves_the_ended_rows_of_the_other(flavour: str) -> None:
    with harness(flavour, "tenants", retention={"TaskState": AT_ONCE}, sweep_every=0) as stores:
        one, two = stores.db.tenant(new_namespace("a")), stores.db.tenant(new_namespace("b"))
        for store in (one, two):
            stores.do(store.workflow_states.create(run()))
            stores.do(store.task_states.create(task("t", status=Status.SUCCESS)))
            assert stores.do(store.task_states.find("t")) is None
        before = everything(stores, two)
        assert stores.do(one.sweep()) == 1
        assert stores.do(stores.db.sweep()) == 0
        assert everything(stores, two) == before
        assert stores.do(two.sweep()) == 1


def test_a_record_of_one_tenant_is_not_saved_in_another(stores: Harness, pair: tuple[Any, Any]) -> None:
    one, two = pair
    row = stores.do(one.users.create(user("u", email="one@x")))
    row.role = Role.ADMIN
    with pytest.raises(NotFoundError):
        stores.do(two.users.save(row))
    stores.do(two.users.create(user("u", email="two@x")))
    with pytest.raises(ConflictError):
        stores.do(two.users.save(row))
    assert stores.do(two.users.get("u")).email == "two@x"
    stores.do(two.users.upsert(row))
    assert stores.do(two.users.get_by_email("one@x")).role is Role.ADMIN
    assert stores.do(two.users.find_by_email("two@x")) is None
    assert stores.do(one.users.get("u")).role is Role.USER
    for store in pair:
        assert stores.do(store.check()).clean


def test_what_the_process_remembers_of_a_row_is_the_tenants(stores: Harness, pair: tuple[Any, Any]) -> None:
    """Without a read: a change, an upsert and a discard begin with the remembered row, so another tenant's would show."""
    one, two = pair
    stores.do(one.users.create(user("u", email="one@x")))
    recent = [store.session.context.state.recent.get("User", "u") for store in (one, two, stores.db)]
    assert [each is not None for each in recent] == [True, False, False]
    with pytest.raises(UserNotFoundError):
        stores.do(two.users.change("u", lambda row: None))
    assert stores.do(two.users.discard("u")) is False
    assert stores.do(one.users.get("u")).email == "one@x"


def test_names_that_could_be_confused_in_the_memory_of_rows_are_not(stores: Harness) -> None:
    first, second = stores.db.tenant("x"), stores.db.tenant("x/User")
    for store in (first, second):
        stores.do(store.users.discard("k"))
    stores.do(first.users.create(user("k", email="k@x")))
    state = second.session.context.state
    assert state.recent.get("User", "k") is None
    assert first.session.context.state.recent.get("User", "k") is not None
    stores.do(first.users.delete("k"))


def test_a_cursor_of_one_tenant_is_refused_by_another(stores: Harness, pair: tuple[Any, Any]) -> None:
    one, two = pair
    for store in pair:
        for key in "abc":
            stores.do(store.users.create(user(key)))
    cursor = stores.do(one.users.all().page(1)).cursor
    with pytest.raises(InvalidCursorError):
        stores.do(two.users.all().page(1, cursor))
    assert [each.id for each in stores.do(one.users.all().page(1, cursor))] == ["b"]


def test_handles_of_two_tenants_do_not_combine(stores: Harness, pair: tuple[Any, Any]) -> None:
    one, two = pair
    with pytest.raises(ValidationError, match="two tenants"):
        one.users.all() | two.users.all()
    with pytest.raises(ValidationError, match="two tenants"):
        one.workflow_states.where().having(two.task_states.all())
    with pytest.raises(ValidationError, match="two tenants"):
        one.workflow_states.with_task_states(two.workflow_states.all())
    assert stores.do(one.workflow_states.with_task_states(one.workflow_states.all()).list()) == []
    assert stores.do((one.users.all() | stores.db.tenant(named(one)).users.all()).list()) == []


def named(store: Any) -> str:
    return str(store.session.context.keyspace.namespace.tenant)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_unknown_outcome_is_settled_by_the_store_of_its_tenant_only(flavour: str) -> None:
    with harness(flavour, "tenants", deadline=0.1) as stores:
        one, two = stores.db.tenant(new_namespace("a")), stores.db.tenant(new_namespace("b"))
        stores.do(
            one.users.create(user("before"))
        )  # from which a store on a cluster learns the time of the tenant's master
        channel = one.session.shell.channel

        def losing(*_: Any) -> Any:
            raise LOST

        channel.exchange = losing
        try:
            with pytest.raises(OutcomeUnknownError) as lost:
                stores.do(one.users.create(user("u")))
        finally:
            del channel.exchange
        for other in (two, stores.db):
            with pytest.raises(ConfigurationError, match="another namespace"):
                stores.do(other.outcome(lost.value))
        assert not stores.do(one.outcome(lost.value)).applied
        assert two.session.context.state.recent.get("User", "u") is None


def test_writers_of_one_key_in_two_tenants_do_not_share_a_batch(
    stores: Harness, pair: tuple[Any, Any]
) -> None:
    one, two = pair
    for store in pair:
        stores.do(store.users.create(user("u", email="0@x")))
    calls: list[Any] = []
    for number in range(16):
        calls.append(lambda _, n=number: one.users.upsert(user("u", email=f"one{n}@x")))
        calls.append(lambda _, n=number: two.users.upsert(user("u", email=f"two{n}@x")))
    outcomes = stores.together(calls)
    assert [each for each in outcomes if isinstance(each, BaseException)] == []
    assert stores.do(one.users.get("u")).email.startswith("one")
    assert stores.do(two.users.get("u")).email.startswith("two")
    for store in pair:
        assert stores.do(store.check()).clean


def test_a_lock_in_one_tenant_does_not_lock_the_same_row_in_another(
    stores: Harness, pair: tuple[Any, Any]
) -> None:
    one, two = pair
    for store in pair:
        fill(stores, store, "m")

    def inner(tx: Any) -> Generator[Any, Any, Any]:
        return (yield tx.task_states.get_for_update("a", wait=0.001))

    def outer(tx: Any) -> Generator[Any, Any, Any]:
        yield tx.task_states.get_for_update("a")
        return (yield two.transact(stores.closure(inner)))

    assert stores.transact(outer, one).task_exec_id == "a"


def test_a_tenants_sweeper_ends_with_the_store(stores: Harness) -> None:
    sweeper = stores.db.tenant(new_namespace("a")).sweeper(interval=0.01)

    async def start_on_the_loop() -> None:
        sweeper.start()
        await until(lambda: sweeper.progress.rounds > 0)

    if stores.flavour == "aio":
        stores.do(start_on_the_loop())
    else:
        sweeper.start()
        wait_until(lambda: sweeper.progress.rounds > 0)
    assert sweeper.running
    stores.do(stores.db.close())
    assert not sweeper.running


def test_the_engine_of_a_tenant_has_rows_of_its_own() -> None:
    async def main() -> None:
        async with Engine.open(server_url(), namespace=new_namespace("engine")) as engine:
            one, two = engine.tenant(new_namespace("a")), engine.tenant(new_namespace("b"))
            for each in (one, two):
                await each.auth.create_user(user("u"))
                await each.workflows.upsert_state(run())
            await one.auth.delete_user("u")
            assert (await two.auth.get_user_by_id("u")).id == "u"
            assert await engine.workflows.list_states() == []

    asyncio.run(main())
