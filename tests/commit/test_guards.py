"""Guards and searches beyond one row: conditional inserts, touch, semi-joins, and iterating during writes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from compozy_store import APIKey, Role, Status
from compozy_store.entities import USER
from keyweave.errors import ConfigurationError, ValidationError, ViewNotEmptyError
from tests.harness import (
    AT_ONCE,
    FLAVOURS,
    Harness,
    add_tasks,
    errors_in,
    harness,
    in_batches,
    run,
    task,
    user,
)

LONG_AGO = datetime(2001, 2, 3, tzinfo=UTC)


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Four stores with an execution `w`; finished tasks expire at once."""
    with harness(request.param, request.node.name, count=4, retention={"TaskState": AT_ONCE}) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        yield opened


def credential(key: str, owner: str = "u") -> APIKey:
    return APIKey(id=key, user_id=owner, hash=b"h", fingerprint=key.encode(), prefix=key)


# Only if none.


def test_a_live_row_refuses_the_insert_and_nothing_is_written(stores: Harness) -> None:
    stores.do(stores.db.users.create(user("a", Role.ADMIN), if_none="by_role"))
    stores.do(stores.db.users.create(user("b", Role.USER), if_none="by_role"))
    before = stores.contents()
    with pytest.raises(ViewNotEmptyError) as caught:
        stores.do(stores.db.users.create(user("c", Role.ADMIN), if_none="by_role"))
    assert (caught.value.entity, caught.value.view) == ("User", "by_role")
    assert stores.contents() == before


def test_a_row_past_its_deadline_does_not_count(stores: Harness) -> None:
    add_tasks(stores, [task("over", status=Status.SUCCESS)])
    stores.do(stores.db.task_states.create(task("new"), if_none="by_workflow"))
    listed = stores.do(stores.db.task_states.all().page()).rows
    assert [row.task_exec_id for row in listed] == ["new"]
    assert stores.clean()


def test_an_entry_without_a_row_does_not_count(stores: Harness) -> None:
    stores.do(stores.db.users.create(user("ghost", Role.ADMIN)))
    partition = stores.db.session.context.partition(USER)
    stores.send(("DEL", partition.document("User", "ghost")))
    stores.do(stores.db.users.create(user("a", Role.ADMIN), if_none="by_role"))
    assert stores.do(stores.db.users.by_role(Role.ADMIN).count()) == 1
    assert stores.db.stats.healed >= 1


def test_one_of_many_concurrent_inserts_wins(stores: Harness) -> None:
    def attempt(number: int) -> Any:
        return lambda store: store.users.create(user(f"u{number}", Role.ADMIN), if_none="by_role")

    outcomes = stores.together([attempt(number) for number in range(20)])
    assert errors_in(outcomes) == ["ViewNotEmptyError"] * 19
    assert stores.do(stores.db.users.by_role(Role.ADMIN).count()) == 1


def test_a_transaction_counts_its_own_rows(stores: Harness) -> None:
    def twice(tx: Any) -> Generator[Any, Any, None]:
        yield tx.users.create(user("a", Role.ADMIN), if_none="by_role")
        yield tx.users.create(user("b", Role.ADMIN), if_none="by_role")

    with pytest.raises(ViewNotEmptyError):
        stores.transact(twice)
    assert stores.do(stores.db.users.all().count()) == 0

    def in_place_of(tx: Any) -> Generator[Any, Any, None]:
        yield tx.users.delete("a")
        yield tx.users.create(user("b", Role.ADMIN), if_none="by_role")

    stores.do(stores.db.users.create(user("a", Role.ADMIN)))
    stores.transact(in_place_of)
    assert stores.do(stores.db.users.by_role(Role.ADMIN).page()).rows[0].id == "b"


def test_a_row_that_is_added_before_the_commit_refuses_it(stores: Harness) -> None:
    """A row is added to the view after the transaction has read it; the next attempt reads the row."""
    others = [stores.stores[1]]
    tries = []

    def steps(tx: Any) -> Generator[Any, Any, None]:
        tries.append(1)
        yield tx.users.create(user("mine", Role.ADMIN), if_none="by_role")
        if others:
            yield others.pop().users.create(user("theirs", Role.ADMIN))

    with pytest.raises(ViewNotEmptyError):
        stores.transact(steps)
    assert len(tries) == 2
    assert stores.do(stores.db.users.find("mine")) is None


def test_an_unknown_view_is_reported(stores: Harness) -> None:
    with pytest.raises(ConfigurationError, match="no view 'by_shoe_size'"):
        stores.do(stores.db.users.create(user("a"), if_none="by_shoe_size"))


# Touch.


def test_a_touch_moves_a_moment_forward_and_never_back(stores: Harness) -> None:
    keys = stores.db.api_keys
    stores.do(stores.db.users.create(user("u")))
    stores.do(keys.create(credential("k")))
    assert stores.do(keys.touch_last_used("k", LONG_AGO)) is True
    assert stores.do(keys.get("k")).last_used == LONG_AGO
    assert stores.do(keys.touch_last_used("k")) is True
    now = stores.do(keys.get("k")).last_used
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)
    assert stores.do(keys.touch_last_used("k", LONG_AGO)) is True
    assert stores.do(keys.get("k")).last_used == now


def test_a_touch_that_changes_nothing_writes_nothing(stores: Harness) -> None:
    stores.do(stores.db.users.create(user("u")))
    stores.do(stores.db.api_keys.create(credential("k")))
    stores.do(stores.db.api_keys.touch_last_used("k"))
    before = stores.contents()
    assert stores.do(stores.db.api_keys.touch_last_used("k", LONG_AGO)) is True
    assert stores.contents() == before


def test_a_touch_of_a_missing_row_returns_false(stores: Harness) -> None:
    assert stores.do(stores.db.api_keys.touch_last_used("nobody")) is False


def test_a_moment_without_a_zone_is_refused(stores: Harness) -> None:
    stores.do(stores.db.users.create(user("u")))
    stores.do(stores.db.api_keys.create(credential("k")))
    with pytest.raises(ValidationError) as caught:
        stores.do(stores.db.api_keys.touch_last_used("k", datetime(2030, 1, 1)))  # noqa: DTZ001 - on purpose
    assert caught.value.field == "last_used"
    assert stores.do(stores.db.api_keys.get("k")).last_used is None


def test_many_concurrent_touches_leave_the_latest_moment(stores: Harness) -> None:
    stores.do(stores.db.users.create(user("u")))
    stores.do(stores.db.api_keys.create(credential("k")))

    def touch(store: Any, at: datetime) -> Any:
        return store.api_keys.touch_last_used("k", at)

    moments = [LONG_AGO + timedelta(days=number * 7 % 20) for number in range(20)]
    outcomes = stores.together([partial(touch, at=at) for at in moments])
    assert outcomes == [True] * 20
    assert stores.do(stores.db.api_keys.get("k")).last_used == max(moments)


# Having.


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "in a transaction"])
def test_rows_are_found_by_their_referring_rows(stores: Harness, inside: bool) -> None:
    for number in range(30):
        stores.do(stores.db.workflow_states.create(run(f"w{number}")))
        name = "wanted" if number % 3 == 0 else "other"
        add_tasks(stores, [task(f"t{number}", workflow=f"w{number}", name=name)])
    over = task("over", workflow="w1", name="wanted", status=Status.SUCCESS)
    add_tasks(stores, [over])  # past its deadline: w1 has no such task

    def steps(tx: Any) -> Generator[Any, Any, list[str]]:
        found, cursor = [], None
        while True:
            page = (
                yield tx.workflow_states.where(status=Status.RUNNING)
                .having(tx.task_states.where(task_id="wanted"))
                .page(limit=4, cursor=cursor)
            )
            found += [row.workflow_exec_id for row in page.rows]
            if page.cursor is None:
                return found
            cursor = page.cursor

    found = stores.transact(steps) if inside else stores.do(stores.closure(steps)(stores.db))
    assert found == [f"w{number}" for number in range(27, -1, -3)]


def test_a_transaction_finds_rows_by_its_own_referring_rows(stores: Harness) -> None:
    def steps(tx: Any) -> Generator[Any, Any, list[Any]]:
        yield tx.task_states.create(task("mine", name="wanted"))
        page = yield tx.workflow_states.where().having(tx.task_states.where(task_id="wanted")).page()
        return [row.workflow_exec_id for row in page.rows]

    assert stores.transact(steps) == ["w"]


def test_an_unknown_field_is_reported(stores: Harness) -> None:
    with pytest.raises(ValidationError) as caught:
        stores.do(stores.db.workflow_states.where().having(stores.db.task_states.where(shoe_size=1)).page())
    assert (caught.value.entity, caught.value.field) == ("TaskState", "shoe_size")


# Iterating.


def test_rows_that_stay_are_returned_once_during_concurrent_writes(stores: Harness) -> None:
    add_tasks(stores, [task(f"stay{number}") for number in range(20)])
    add_tasks(stores, [task(f"go{number}") for number in range(20)])
    other = stores.stores[1]
    seen: list[str] = []

    def steps(place: Any) -> Generator[Any, Any, None]:
        cursor, round_ = None, 0
        while True:
            page = yield place.task_states.all().page(limit=3, cursor=cursor)
            seen.extend(row.task_exec_id for row in page.rows)
            if page.cursor is None:
                return
            cursor, round_ = page.cursor, round_ + 1
            yield other.task_states.discard(f"go{round_}")
            yield other.task_states.create(task(f"come{round_}"))

    stores.do(stores.closure(steps)(stores.db))
    assert [name for name in seen if name.startswith("stay")] == [
        f"stay{number}" for number in range(19, -1, -1)
    ]
    assert len(seen) == len(set(seen))
    assert not [name for name in seen if name.startswith("come")]


def test_iterating_reads_in_batches_and_stops_when_the_caller_stops(stores: Harness) -> None:
    add_tasks(stores, [task(f"t{number}") for number in range(25)])
    for batch in (1, 7, 25, 1000):
        rows = stores.do(in_batches(stores.db.task_states.where(workflow_exec_id="w", task_id="t"), batch))
        assert [row.task_exec_id for row in rows] == [f"t{number}" for number in range(24, -1, -1)]
    with pytest.raises(ValidationError):
        stores.do(in_batches(stores.db.task_states.where(workflow_exec_id="w"), 0))
