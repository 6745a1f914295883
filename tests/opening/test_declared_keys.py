"""A server whose scripts may access declared keys only, from opening on: every read is made of plain commands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from compozy_store import EmailExistsError, Role, Status, TaskState, User
from keyweave.connection.settings import parse_url
from keyweave.embedded import server as embedded
from keyweave.query import one_of
from keyweave.read.strategy import BY_KEYS
from tests.declared import DeclaredKeys
from tests.harness import Harness, harness, run, task, user
from tests.servers.running import configured_server, server_url


@pytest.fixture(params=["sync", "aio"])
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def links() -> Iterator[DeclaredKeys]:
    settings = parse_url(server_url())
    if settings.scheme != "embedded":
        yield DeclaredKeys(settings)
        return
    lease = embedded.acquire(None)
    yield DeclaredKeys(lease.settings(settings))
    lease.release()


@pytest.fixture
def stores(flavour: str, links: DeclaredKeys, request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(flavour, request.node.name, connection_factory=links.factory(flavour)) as opened:
        yield opened


def keys(rows: list[TaskState]) -> list[str]:
    return [row.task_exec_id for row in rows]


def test_the_server_refuses_a_script_that_accesses_another_key(stores: Harness) -> None:
    script = "#!lua flags=no-writes\nreturn redis.call('GET', ARGV[1])"
    (reply,) = stores.send(("EVAL", script, 1, "declared", "other"))
    assert "undeclared key" in reply.message
    (reply,) = stores.send(("EVAL", script, 1, "declared", "declared"))
    assert reply is None


def test_every_kind_of_read_works(stores: Harness) -> None:
    db, do = stores.db, stores.do
    assert db.session.context.strategy is BY_KEYS
    do(db.users.create(user("u", email="ada@x")))
    assert do(db.users.get_by_email("ADA@x")).id == "u"
    with pytest.raises(EmailExistsError):
        do(db.users.create(user("v", email="Ada@x")))
    for name in ("w", "v"):
        do(db.workflow_states.create(run(name)))
    do(db.task_states.create(task("root")))
    for name in ("a", "b"):
        do(db.task_states.create(task(name, "root", status=Status.PENDING)))
    do(db.task_states.create(task("c", "a")))

    page = do(db.task_states.by_workflow("w").page(limit=3))
    more = do(db.task_states.by_workflow("w").page(limit=3, cursor=page.cursor))
    assert keys([*page.rows, *more.rows]) == ["c", "b", "a", "root"]
    assert keys(do(db.task_states.where(workflow_exec_id="w", status=Status.PENDING).list())) == ["b", "a"]
    assert do(db.task_states.where(workflow_exec_id="w", status=Status.PENDING).explain()).narrowing == ()
    assert keys(do(db.task_states.tree("root"))) == ["root", "a", "b", "c"]
    _, tasks = do(db.workflow_states.get_with_task_states("w"))
    assert sorted(keys(tasks)) == ["a", "b", "c", "root"]
    newest, tasks = do(
        db.workflow_states.with_task_states(db.workflow_states.by_status(Status.RUNNING)).first()
    )
    assert (newest.workflow_exec_id, tasks) == ("v", [])
    having = do(db.workflow_states.where().having(db.task_states.where(status=Status.PENDING)).page())
    assert [row.workflow_exec_id for row in having.rows] == ["w"]
    parents = db.task_states.where(task_exec_id=one_of("root", "a")).reverse()
    (_, first), (_, second) = do(db.task_states.with_task_states(parents).list())
    assert (sorted(keys(first)), keys(second)) == (["a", "b"], ["c"])

    def steps(tx: Any) -> Any:
        row, tasks = yield tx.workflow_states.get_with_task_states("w", for_update=True)
        row.status = Status.SUCCESS
        yield tx.workflow_states.save(row)
        yield tx.task_states.delete("a")
        return len(tasks), keys((yield tx.task_states.tree("root")))

    assert stores.transact(steps) == (4, ["root", "b"])
    do(db.workflow_states.delete("w"))
    assert do(db.task_states.by_workflow("w").count()) == 0
    assert stores.clean()


def test_rows_past_their_deadline_are_missing_and_swept(flavour: str, links: DeclaredKeys) -> None:
    retention = {"TaskState": timedelta(milliseconds=20)}
    factory = links.factory(flavour)
    with harness(flavour, "declared", connection_factory=factory, retention=retention) as stores:
        db, do = stores.db, stores.do
        do(db.workflow_states.create(run()))
        do(db.task_states.create(task("t", status=Status.SUCCESS)))
        while do(db.task_states.find("t")) is not None:
            pass
        assert do(db.task_states.by_workflow("w").page()).rows == []
        assert do(db.task_states.by_workflow("w").count()) == 0
        do(db.sweep())
        assert stores.clean()


def test_the_store_serves(stores: Harness) -> None:
    health = stores.do(stores.db.health())
    assert health.serving
    assert (health.server.scripts, health.server.declared_keys) == (True, True)


@pytest.mark.parametrize("refusal", [{"min_replicas_to_write": "1"}, {"maxmemory": "1"}])
def test_a_store_that_is_opened_while_the_server_refuses_writes_reads_as_well(
    flavour: str, refusal: dict[str, str]
) -> None:
    with configured_server() as server:
        links = DeclaredKeys(parse_url(server.url))
        with harness(flavour, "refusing", connection_factory=links.factory(flavour)) as stores:
            stores.do(stores.db.users.create(User(id="u", email="u@x", role=Role.ADMIN)))
            ((name, value),) = refusal.items()
            server.client().config_set(name.replace("_", "-"), value)
            with harness(flavour, stores, connection_factory=links.factory(flavour)) as late:
                assert [row.id for row in late.do(late.db.users.by_role(Role.ADMIN).page()).rows] == ["u"]
                assert not late.do(late.db.health()).serving
