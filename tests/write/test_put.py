"""Putting one row whose plan is packed: what the first answer says, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import Role, User, UserNotFoundError
from compozy_store.entities import USER as ENTITY
from keyweave.errors import AlreadyExistsError, ConflictError
from keyweave.write import save as save_flows
from tests.scripted import USER, Scripted

OK = [b"OK", 1700000000000009, 1700000000000001, 0]
THERE = [b"EXISTS", 1, b"", USER]


def direct() -> Scripted:
    """A context of the direct channel, which takes packed plans. No plan of it may be built."""
    scripted = Scripted()
    object.__setattr__(scripted.context, "direct", True)
    return scripted


@pytest.fixture(autouse=True)
def _no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a plan was built")

    monkeypatch.setattr("keyweave.commit.commit.plan_of", refuse)


def user() -> User:
    return User(id="u", email="a@x", role=Role.ADMIN)


def loaded(scripted: Scripted) -> Any:
    return scripted.context.codecs["User"].load(USER)


def ops(scripted: Scripted) -> list[Any]:
    return [command[3 + int(command[2])] for command in scripted.sent()]


def test_the_refusal_of_a_row_that_is_there_leads_to_the_second_plan_without_building_the_first() -> None:
    scripted = direct()
    record = user()
    scripted.run(save_flows.upsert(scripted.context, ENTITY, record), [[THERE], [OK]])
    first, second = scripted.sent()
    assert "absent" in first
    assert "revision" in second
    assert len(set(ops(scripted))) == 2
    assert record.created_at is not None


def test_the_slot_of_a_refused_plan_is_used_again() -> None:
    scripted = direct()
    scripted.run(save_flows.upsert(scripted.context, ENTITY, user()), [[THERE], [OK]])
    first, second = (command[3 + int(command[2]) + 1] for command in scripted.sent())
    assert first == second


@pytest.mark.parametrize(("status", "error"), [(b"CHANGED", ConflictError), (b"MISSING", UserNotFoundError)])
def test_a_save_of_a_row_that_changed_or_is_gone_is_refused(status: bytes, error: type[Exception]) -> None:
    scripted = direct()
    row = loaded(scripted)
    with pytest.raises(error, match="u"):
        scripted.run(save_flows.save(scripted.context, ENTITY, row), [[[status, 1, b""]]])


def test_a_create_of_a_row_that_is_there_is_refused() -> None:
    scripted = direct()
    with pytest.raises(AlreadyExistsError):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [[[b"EXISTS", 1, b""]]])


def test_a_refusal_by_another_guard_names_it_by_the_plan() -> None:
    scripted = direct()
    with pytest.raises(AssertionError, match="a plan was built"):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [[[b"TAKEN", 2, b"v"]]])
