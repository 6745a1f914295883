"""Cursors are safe to show: they hold no id in a form that can be read, and work in every process of the namespace."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from keyweave.errors import InvalidCursorError
from keyweave.exchange.handshake import handshake
from keyweave.model.cursor import Position, read_cursor, write_cursor
from tests.harness import FLAVOURS, Harness, fake_harness, harness, run, task, user

SECRET = bytes(range(32))


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, f"cursors-{request.param}") as opened:
        opened.do(opened.db.workflow_states.create(run("w")))
        for number in range(6):
            opened.do(opened.db.task_states.create(task(f"secret-id-{number}", name=f"t{number % 2}")))
            opened.do(opened.db.users.create(user(f"secret-id-{number}")))
        yield opened


def shown(cursor: str) -> bytes:
    """What a user can make of a cursor without the secret."""
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


def test_a_cursor_shows_no_id(stores: Harness) -> None:
    tasks = stores.db.task_states
    pages = [
        stores.do(tasks.by_workflow("w").page(limit=2)),
        stores.do(tasks.where(workflow_exec_id="w").page(limit=2)),
        stores.do(tasks.where(workflow_exec_id="w", task_id="t1").page(limit=2)),
        stores.do(
            stores.db.workflow_states.where().having(stores.db.task_states.where(task_id="t1")).page(limit=1)
        ),
        stores.do(stores.db.users.all().page(limit=2)),
    ]

    def steps(tx: Any) -> Any:
        return (yield tx.task_states.by_workflow("w").page(limit=2))

    cursors = [page.cursor for page in [*pages, stores.transact(steps)] if page.cursor is not None]
    assert len(cursors) >= 5
    for cursor in cursors:
        for part in (b"secret", b"TaskState", b"User", b"created", b"revision"):
            assert part not in shown(cursor) and part not in cursor.encode()


def test_a_cursor_works_in_every_process_of_the_namespace_and_in_no_other(stores: Harness) -> None:
    cursor = stores.do(stores.db.task_states.by_workflow("w").page(limit=2)).cursor
    with harness(stores.flavour, stores) as other:
        assert other.do(other.db.task_states.by_workflow("w").page(limit=2)).cursor == cursor
        found = other.do(other.db.task_states.by_workflow("w").page(limit=9, cursor=cursor))
        assert [row.task_exec_id for row in found.rows] == [f"secret-id-{number}" for number in (3, 2, 1, 0)]
    with (
        harness(stores.flavour, "elsewhere") as elsewhere,
        pytest.raises(InvalidCursorError, match="damaged"),
    ):
        elsewhere.do(elsewhere.db.task_states.by_workflow("w").page(cursor=cursor))


def test_a_namespace_of_older_code_gets_a_secret_when_it_is_opened(stores: Harness) -> None:
    schema = stores.db.session.context.keyspace.partitions()[0].schema
    stores.send(("HDEL", schema, "cursors"))
    with harness(stores.flavour, stores, count=2) as later:
        cursor = later.do(later.db.task_states.by_workflow("w").page(limit=2)).cursor
        second = later.stores[1]
        assert len(later.do(second.task_states.by_workflow("w").page(cursor=cursor)).rows) == 4
        assert stores.send(("HEXISTS", schema, "cursors")) == [1]
    stores.do(stores.db.session.run(handshake(stores.db.session.context)))
    assert len(stores.do(stores.db.task_states.by_workflow("w").page(cursor=cursor)).rows) == 4


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_store_that_could_not_share_a_secret_has_its_own(flavour: str) -> None:
    with fake_harness(flavour) as fake:
        for number in range(3):
            fake.do(fake.db.users.create(user(f"secret-id-{number}")))
        cursor = fake.do(fake.db.users.all().page(limit=1)).cursor
        assert b"secret" not in shown(cursor)
        assert len(fake.do(fake.db.users.all().page(cursor=cursor)).rows) == 2


POSITION = Position("Sale", "created", True, "1700000000000000", "secret-id")


@pytest.mark.parametrize("member", ["", "a", "x" * 500, "é日本\U0001f600", '"\\'])
def test_a_cursor_is_read_back(member: str) -> None:
    position = Position("Sale", "created", True, "-1.5e+300", member)
    cursor = write_cursor(SECRET, position)
    assert read_cursor(SECRET, cursor, "Sale", "created", True) == position
    assert cursor == write_cursor(SECRET, position)
    assert cursor != write_cursor(bytes(32), position)


def test_a_cursor_of_another_query_is_refused_and_is_no_longer_for_it() -> None:
    cursor = write_cursor(SECRET, POSITION, b"one")
    assert read_cursor(SECRET, cursor, "Sale", "created", True, b"one") == POSITION
    for query in (b"other", b"", b"one "):
        with pytest.raises(InvalidCursorError, match="another query"):
            read_cursor(SECRET, cursor, "Sale", "created", True, query)
    assert len(cursor) == len(write_cursor(SECRET, POSITION, b"one" * 100))


def test_ids_of_about_one_length_have_cursors_of_one_length() -> None:
    lengths = {
        len(write_cursor(SECRET, Position("Sale", "created", True, "1", "x" * number)))
        for number in range(12)
    }
    assert len(lengths) <= 2


def test_every_change_of_a_cursor_is_found() -> None:
    cursor = write_cursor(SECRET, POSITION)
    for index, letter in enumerate(cursor):
        other = "A" if letter != "A" else "B"
        with pytest.raises(InvalidCursorError):
            read_cursor(SECRET, cursor[:index] + other + cursor[index + 1 :], "Sale", "created", True)
    plain = base64.urlsafe_b64encode(b'["Sale","created",true,"1","secret-id"]').decode().rstrip("=")
    for damaged in ("", "A", cursor[:-4], cursor + "AAAA", cursor * 2, plain, "é", "=" * 8):
        with pytest.raises(InvalidCursorError):
            read_cursor(SECRET, damaged, "Sale", "created", True)
