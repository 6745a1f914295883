"""A transaction's own work grows with the number of its writes, and not with its square."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

import pytest

from compozy_store import APIKey
from tests.harness import FLAVOURS, Steps, harness, run, task, user

SMALL = 60


def calls_in(work: Callable[[], Any]) -> int:
    """The number of functions that Python enters, and of generators that it resumes, while `work` runs."""
    entered = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal entered
        entered += event == "call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return entered


def key(owner: int, name: str) -> APIKey:
    text = f"{name}{owner}"
    return APIKey(id=text, user_id="u", hash=b"h", fingerprint=text.encode(), prefix=text)


def creating(number: int) -> Steps:
    """Rows with two unique constraints, each found again by both."""

    def steps(tx: Any) -> Generator[Any, Any, None]:
        for owner in range(number):
            row = key(owner, f"k{number}-")
            yield tx.api_keys.create(row)
            found = yield tx.api_keys.get_by_prefix(row.prefix)
            assert found.id == row.id

    return steps


def creating_and_reading(number: int) -> Steps:
    """Each row is alone in a list, which is read and counted."""

    def steps(tx: Any) -> Generator[Any, Any, None]:
        for owner in range(number):
            row = task(f"t{number}-{owner}", workflow="w", name=f"n{number}-{owner}")
            yield tx.task_states.create(row)
            found = yield tx.task_states.by_task_id(row.task_id).page()
            assert [each.task_exec_id for each in found.rows] == [row.task_exec_id]
            number_of_rows = yield tx.task_states.by_task_id(row.task_id).count()
            assert number_of_rows == 1

    return steps


def deleting(number: int) -> Steps:
    """Rows that others may refer to are created and deleted."""

    def steps(tx: Any) -> Generator[Any, Any, None]:
        for owner in range(number):
            yield tx.task_states.create(task(f"d{number}-{owner}"))
        for owner in range(number):
            yield tx.task_states.delete(f"d{number}-{owner}")

    return steps


@pytest.mark.parametrize("steps", [creating, creating_and_reading, deleting])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_twice_as_many_writes_take_about_twice_the_work(flavour: str, steps: Callable[[int], Steps]) -> None:
    with harness(flavour, "linear", sweep_every=0) as stores:
        stores.do(stores.db.users.create(user("u")))
        stores.do(stores.db.workflow_states.create(run()))
        stores.transact(steps(2))
        few = calls_in(lambda: stores.transact(steps(SMALL)))
        many = calls_in(lambda: stores.transact(steps(4 * SMALL)))
        assert many < 4.4 * few, f"{SMALL} writes: {few} calls, {4 * SMALL} writes: {many}"
