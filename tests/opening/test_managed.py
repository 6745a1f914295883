"""Managed services: a store of either flavour works behind the proxy of each profile, and says what a profile takes away.

`make test-managed` runs the engine's contract on each of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from compozy_store import EmailExistsError, Status, TaskState
from compozy_store.entities import TASK_STATE
from compozy_store.sync import Store
from keyweave.errors import AuthenticationError, StoreUnavailableError
from keyweave.query import one_of
from keyweave.read.strategy import BY_KEYS, BY_SCRIPT
from tests.harness import FLAVOURS, Harness, harness, run, task, until_freed, user
from tests.servers.filtering import managed_server
from tests.servers.managed import CHOICE, chosen_profile, store_url
from tests.servers.profiles import PROFILES, Answer, Profile


@pytest.fixture(scope="module", params=PROFILES.values(), ids=lambda each: str(each.name))
def service(request: pytest.FixtureRequest) -> Iterator[tuple[Profile, str]]:
    with managed_server(request.param) as url:
        yield request.param, store_url(request.param, url)


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stores(flavour: str, service: tuple[Profile, str]) -> Iterator[Harness]:
    with harness(flavour, "managed", url=service[1]) as opened:
        yield opened


def searchable(profile: Profile) -> bool:
    return "SCAN" not in profile.refused


def keys(rows: list[TaskState]) -> list[str]:
    return [row.task_exec_id for row in rows]


def test_every_kind_of_call_works(stores: Harness, service: tuple[Profile, str]) -> None:
    profile, _ = service
    db, do = stores.db, stores.do
    assert db.session.context.strategy is (BY_KEYS if profile.declared_keys else BY_SCRIPT)
    assert db.session.context.policy.command_words == profile.words
    do(db.users.create(user("u", email="ada@x")))
    with pytest.raises(EmailExistsError):
        do(db.users.create(user("v", email="ada@x")))
    assert do(db.users.get_by_email("ada@x")).id == "u"
    do(db.workflow_states.create(run()))
    rows = [task(f"t{number:04}", "t0000" if number else None) for number in range(1_500)]
    assert not [row for row in do(db.task_states.create_many(rows)) if isinstance(row, Exception)]
    names = keys(rows)
    page = do(db.task_states.by_workflow("w").page(limit=3))
    assert len(do(db.task_states.by_workflow("w").page(limit=3, cursor=page.cursor)).rows) == 3
    assert [row.task_exec_id for row in do(db.task_states.get_many(names))] == names
    assert do(db.task_states.by_workflow("w").count()) == len(do(db.task_states.tree("t0000"))) == 1_500
    some = db.task_states.where(workflow_exec_id="w", task_exec_id=one_of(*names[:900]))
    assert do(some.count()) == 900
    having = db.workflow_states.where().having(db.task_states.where(status=Status.RUNNING)).scan()
    assert [row.workflow_exec_id for row in do(having.list())] == ["w"]
    assert len(do(db.workflow_states.get_with_task_states("w"))[1]) == 1_500

    def steps(tx: Any) -> Generator[Any, Any, int]:
        row = yield tx.workflow_states.get_for_update("w")
        row.status = Status.SUCCESS
        yield tx.workflow_states.save(row)
        yield tx.task_states.delete("t1499")
        return len((yield tx.task_states.by_workflow("w").list()))

    assert stores.transact(steps) == 1_499
    do(db.task_states.update("t0001", status=Status.SUCCESS))
    assert do(db.task_states.delete_many(names[1000:])) == [True] * 499 + [False]
    do(db.workflow_states.delete("w"))
    assert do(db.task_states.by_workflow("w").count()) == 0
    if searchable(profile):
        assert stores.clean()
    else:
        with pytest.raises(AuthenticationError, match="does not permit this user"):
            do(db.check())


def test_rows_end_and_are_swept(service: tuple[Profile, str], stores: Harness) -> None:
    options: dict[str, Any] = {"url": service[1], "retention": {"TaskState": timedelta(milliseconds=1)}}
    with harness(stores.flavour, stores, sweep_every=0, **options) as ending:
        db, do = ending.db, ending.do
        do(db.workflow_states.create(run()))
        do(db.task_states.create_many([task(f"t{number}", status=Status.SUCCESS) for number in range(300)]))
        while do(db.task_states.find("t299")) is not None:
            pass
        while do(db.sweep()):
            pass
        assert do(db.task_states.by_workflow("w").count()) == 0


def test_a_row_that_the_server_freed_is_replaced_where_scan_is_permitted(
    service: tuple[Profile, str], stores: Harness
) -> None:
    profile, url = service
    options: dict[str, Any] = {
        "url": url,
        "retention": {"TaskState": timedelta(milliseconds=1)},
        "grace_ms": 1,
    }
    with harness(stores.flavour, stores, sweep_every=0, **options) as ending:
        db, do = ending.db, ending.do
        do(db.workflow_states.create(run()))
        do(db.task_states.create(task("t", status=Status.SUCCESS)))
        until_freed(ending, TASK_STATE, ["t"])
        if searchable(profile):
            do(db.task_states.create(task("t")))
            assert do(db.task_states.by_workflow("w").count()) == 1
        else:
            with pytest.raises(AuthenticationError, match="run `keyweave sweep` with the admin tool's user"):
                do(db.task_states.create(task("t")))


def test_a_service_that_does_not_know_scan_is_like_one_that_does_not_permit_it(flavour: str) -> None:
    profile = Profile("unknown", frozenset({"SCAN", "DBSIZE"}), Answer.UNKNOWN)
    options: dict[str, Any] = {"retention": {"TaskState": timedelta(milliseconds=1)}, "grace_ms": 1}
    with managed_server(profile) as url, harness(flavour, "unknown", url=url, **options) as stores:
        db, do = stores.db, stores.do
        do(db.workflow_states.create(run()))
        do(db.task_states.create(task("t", status=Status.SUCCESS)))
        until_freed(stores, TASK_STATE, ["t"])
        with pytest.raises(AuthenticationError, match="does not offer the command 'scan'") as caught:
            do(db.task_states.create(task("t")))
        assert (caught.value.code, "run `keyweave sweep`" in str(caught.value)) == ("", True)
        do(db.sweep())
        with pytest.raises(AuthenticationError, match="does not offer the command 'dbsize'") as caught:
            do(db.check())
        assert caught.value.code == "NOPERM"


def test_another_database_is_refused_by_name(service: tuple[Profile, str]) -> None:
    profile, url = service
    other = f"{url}{'&' if '?' in url else '?'}db=1"
    if not profile.one_database:
        with Store.open(other) as store:
            assert store.health().serving
        return
    with pytest.raises(StoreUnavailableError, match="SELECT is not allowed in cluster mode"):
        Store.open(other)


def test_a_profile_is_chosen_by_name() -> None:
    assert chosen_profile({}) is None
    assert chosen_profile({CHOICE: "strictest"}) is PROFILES["strictest"]
    with pytest.raises(ValueError, match="must be one of elasticache, "):
        chosen_profile({CHOICE: "none"})
