"""`require`: a transaction commits only if a row exists. Its plan checks that, and the call raises what the plan found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from compozy_store import APIKey, Role, Status, User, UserNotFoundError, WorkflowNotFoundError
from keyweave.errors import (
    AlreadyExistsError,
    CrossPartitionError,
    NotFoundError,
    TransactionConflictError,
    TransactionRequiredError,
)
from tests.harness import AT_ONCE, FLAVOURS, Harness, exchanges, harness, plans_in, run, task


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Two stores with the users `u` and `v` and the execution `w`. Ended executions are past their deadline at once."""
    options: dict[str, Any] = {"sweep_every": 0, "retention": {"WorkflowState": AT_ONCE}}
    with harness(request.param, request.node.name, count=2, **options) as opened:
        for key in "uv":
            opened.do(opened.db.users.create(user(key)))
        opened.do(opened.db.workflow_states.create(run("w")))
        yield opened


def user(key: str, email: str = "") -> User:
    return User(id=key, email=email or f"{key}@x", role=Role.USER)


def names(stores: Harness) -> set[str]:
    return {each.id for each in stores.do(stores.db.users.all().list())}


def plans(stores: Harness, sent: list[Any]) -> list[Any]:
    return [plan for commands in sent for plan in plans_in(stores, commands)]


def guards(plan: Any, word: str) -> int:
    """How often a guard is among the words of a plan before its rows."""
    return list(plan[: plan.index("rows")]).count(word)


def test_a_row_that_is_there_costs_no_exchange_of_its_own(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        assert (yield tx.users.require("u")) is None
        yield tx.users.create(user("n"))
        yield tx.users.require("v")
        yield tx.users.require("u")

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert len(sent) == 1
    assert [guards(plan, "exists") for plan in plans(stores, sent)] == [2]
    assert names(stores) == {"u", "v", "n"}


@pytest.mark.parametrize("rows", [1, 3])
def test_a_missing_row_is_the_error_of_the_call(stores: Harness, rows: int) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        for number in range(rows):
            yield tx.users.create(user(f"n{number}"))
        yield tx.users.require("nobody")

    with pytest.raises(UserNotFoundError, match="nobody"):
        stores.transact(steps)
    assert len(runs) == 2
    assert names(stores) == {"u", "v"}


def test_the_function_may_catch_the_error_and_write_something_else(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        try:
            yield tx.users.require("nobody")
        except NotFoundError:
            yield tx.users.create(user("instead"))
        else:
            yield tx.users.create(user("other"))
        yield tx.users.require("u")

    stores.transact(steps)
    assert names(stores) == {"u", "v", "instead"}


@pytest.mark.parametrize("before", ["nothing", "get", "get_for_update", "save"])
def test_a_row_that_another_store_deletes_before_the_commit(stores: Harness, before: str) -> None:
    """Also one that the transaction has read, or locked. One that it has saved is guarded by its save."""
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        if before == "get":
            yield tx.users.get("u")
        elif before == "get_for_update":
            yield tx.users.get_for_update("u")
        elif before == "save":
            yield tx.users.save((yield tx.users.get("u")))
        yield tx.users.require("u")
        yield tx.users.create(user(f"n{len(runs)}"))
        if len(runs) == 1:
            yield stores.stores[1].users.delete("u")

    with pytest.raises(UserNotFoundError):
        stores.transact(steps)
    assert len(runs) == 2
    assert names(stores) == {"v"}


def test_a_row_that_another_writer_changes_is_no_conflict(stores: Harness) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.users.get("u")
        yield tx.users.require("u")
        yield stores.stores[1].users.update("u", role=Role.ADMIN)
        yield tx.users.create(user("n"))

    stores.transact(steps)
    assert len(runs) == 1
    assert names(stores) == {"u", "v", "n"}


def test_a_row_that_has_ended_counts_as_missing(stores: Harness) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.workflow_states.require("w")
        yield tx.task_states.upsert(task("n"))
        if len(runs) == 1:
            yield stores.stores[1].workflow_states.update("w", status=Status.SUCCESS)

    with pytest.raises(WorkflowNotFoundError):
        stores.transact(steps)
    assert len(runs) == 2
    with pytest.raises(WorkflowNotFoundError):
        stores.transact(steps)
    assert stores.do(stores.db.task_states.find("n")) is None


def test_rows_of_the_transaction_itself(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.create(user("n"))
        yield tx.users.require("n")
        yield tx.users.delete("v")
        for key in ("v", "v"):
            with pytest.raises(UserNotFoundError):
                yield tx.users.require(key)
        yield tx.users.create(user("v", "again@x"))
        yield tx.users.require("v")

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert [guards(plan, "exists") for plan in plans(stores, sent)] == [0]
    assert names(stores) == {"u", "v", "n"}
    assert stores.do(stores.db.check()).clean


def test_a_row_that_was_created_and_taken_back_is_missing(stores: Harness) -> None:
    errors: list[Exception] = []

    def steps(tx: Any) -> Any:
        errors.clear()
        yield tx.users.create(user("n"))
        yield tx.users.delete("n")
        try:
            yield tx.users.require("n")
        except NotFoundError as error:
            errors.append(error)
        yield tx.users.create(user("other"))

    stores.transact(steps)
    assert [type(each) for each in errors] == [UserNotFoundError]
    assert names(stores) == {"u", "v", "other"}


def test_a_row_that_was_read_costs_nothing(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.get("u")
        yield tx.users.get_for_update("v")
        before = len(sent)
        for key in "uv":
            yield tx.users.require(key)
        assert len(sent) == before
        yield tx.users.create(user("n"))

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert len(sent) == 3


def test_a_row_whose_absence_is_guarded_is_missing_at_once(stores: Harness) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        with pytest.raises(UserNotFoundError):
            yield tx.users.get_for_update("nobody")
        before = len(sent)
        with pytest.raises(UserNotFoundError):
            yield tx.users.require("nobody")
        assert len(sent) == before
        yield tx.users.create(user("n"))

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert len(runs) == 1
    assert names(stores) == {"u", "v", "n"}


def test_a_later_delete_of_the_transaction_itself_wins(stores: Harness) -> None:
    """As with SELECT … FOR KEY SHARE of PostgreSQL. A second `require` then finds nothing."""

    def steps(tx: Any) -> Any:
        yield tx.users.require("u")
        yield tx.users.delete("u")
        with pytest.raises(UserNotFoundError):
            yield tx.users.require("u")
        yield tx.users.create(user("n"))

    stores.transact(steps)
    assert names(stores) == {"v", "n"}
    assert stores.do(stores.db.check()).clean


def test_a_later_delete_of_its_parent_takes_the_row_along(stores: Harness) -> None:
    stores.do(stores.db.api_keys.create(APIKey(id="k", user_id="u", fingerprint=b"k", prefix="k", hash=b"h")))

    def steps(tx: Any) -> Any:
        yield tx.api_keys.require("k")
        yield tx.users.delete("u")
        with pytest.raises(NotFoundError):
            yield tx.api_keys.require("k")

    stores.transact(steps)
    assert stores.do(stores.db.api_keys.find("k")) is None


@pytest.mark.parametrize("later", ["upsert", "discard", "create"])
def test_a_later_write_does_not_hide_that_the_row_was_missing(stores: Harness, later: str) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.require("nobody")
        write = getattr(tx.users, later)
        yield write("nobody" if later == "discard" else user("nobody"))
        yield tx.users.create(user("n"))

    with pytest.raises(UserNotFoundError):
        stores.transact(steps)
    assert names(stores) == {"u", "v"}


@pytest.mark.parametrize("later", ["upsert", "save", "discard", "create"])
def test_later_writes_of_a_row_that_is_there(stores: Harness, later: str) -> None:
    record = stores.do(stores.db.users.get("u"))
    record.role = Role.ADMIN

    def steps(tx: Any) -> Any:
        yield tx.users.require("u")
        write = getattr(tx.users, later)
        yield write("u" if later == "discard" else user("u", "new@x") if later == "create" else record)

    if later == "create":
        with pytest.raises(AlreadyExistsError):
            stores.transact(steps)
    else:
        stores.transact(steps)
    found = stores.do(stores.db.users.find("u"))
    assert getattr(found, "role", None) == {"discard": None, "create": Role.USER}.get(later, Role.ADMIN)
    assert stores.do(stores.db.check()).clean


def test_a_row_that_goes_between_a_check_and_an_insert_of_it_is_not_replaced(stores: Harness) -> None:
    """The second run checks at once: it finds the row, which another store then deletes before the function inserts it."""
    seen: list[str] = []

    def steps(tx: Any) -> Any:
        try:
            yield tx.users.create(user("v", "refused@x"))
        except AlreadyExistsError:
            seen.append("checked")
        try:
            yield tx.users.require("u")
        except NotFoundError:
            seen.append("missing")
            return
        if seen == ["checked"]:
            yield stores.stores[1].users.delete("u")
        yield tx.users.create(user("u", "mine@x"))

    stores.transact(steps)
    assert seen == ["checked", "checked", "missing"]
    assert names(stores) == {"v"}


def test_the_functions_own_error_comes_second_to_a_missing_row(stores: Harness) -> None:
    runs: list[int] = []

    def steps(tx: Any) -> Any:
        runs.append(1)
        found = yield tx.users.find("nobody")
        yield tx.users.require("nobody")
        raise LookupError(found)

    with pytest.raises(UserNotFoundError):
        stores.transact(steps)
    assert len(runs) == 2


def test_the_functions_own_error_is_raised_if_the_row_is_there(stores: Harness) -> None:
    runs: list[int] = []
    found = stores.do(stores.db.workflow_states.get("w"))

    def steps(tx: Any) -> Any:
        runs.append(1)
        yield tx.workflow_states.require("w")
        yield tx.workflow_states.save(found)
        raise LookupError("the function's own")

    with pytest.raises(LookupError), exchanges(stores) as sent:
        stores.transact(steps)
    assert len(runs) == len(sent) == 1


def test_a_transaction_that_writes_nothing_answers_truthfully(stores: Harness) -> None:
    found: list[str] = []

    def steps(tx: Any) -> Any:
        found.clear()
        for key in ("u", "nobody", "v"):
            try:
                yield tx.users.require(key)
            except NotFoundError:
                continue
            found.append(key)
        return len(found)

    assert stores.transact(steps) == 2
    assert found == ["u", "v"]


def test_a_transaction_that_writes_nothing_sends_one_read(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.require("u")
        yield tx.users.require("v")

    with exchanges(stores) as sent:
        stores.transact(steps)
    assert [[command[0] for command in commands] for commands in sent] == [["GETRANGE", "GETRANGE"]]


def test_rows_with_a_deadline_are_not_doubted_before_it(stores: Harness) -> None:
    with harness(stores.flavour, stores, sweep_every=0) as patient:
        patient.do(patient.db.workflow_states.create(run("late", Status.SUCCESS)))
        runs: list[int] = []

        def steps(tx: Any) -> Any:
            runs.append(1)
            yield tx.workflow_states.require("late")

        patient.transact(steps)
        assert len(runs) == 1
        patient.do(patient.db.workflow_states.discard("late"))
        with pytest.raises(WorkflowNotFoundError):
            patient.transact(steps)


def test_a_row_of_another_group_is_refused(stores: Harness) -> None:
    def writes(tx: Any) -> Any:
        yield tx.workflow_states.create(run("n"))
        yield tx.users.require("u")

    def requires(tx: Any) -> Any:
        yield tx.users.require("u")
        yield tx.workflow_states.create(run("n"))

    for steps in (writes, requires):
        with pytest.raises(CrossPartitionError, match="this transaction already uses"):
            stores.transact(steps)
    assert stores.do(stores.db.workflow_states.find("n")) is None


def test_it_requires_a_transaction_that_has_not_ended(stores: Harness) -> None:
    kept: list[Any] = []

    def steps(tx: Any) -> Any:
        kept.append(tx)
        yield tx.users.require("u")

    with pytest.raises(TransactionRequiredError):
        stores.do(stores.db.users.require("u"))
    stores.transact(steps)
    with pytest.raises(TransactionRequiredError):
        stores.do(kept[0].users.require("u"))


def test_a_row_that_goes_before_every_commit_is_a_conflict(stores: Harness) -> None:
    """Each check finds the row, and the commit does not."""
    with harness(stores.flavour, stores, count=2, sweep_every=0, attempts=3) as strict:
        other, runs = strict.stores[1], []

        def steps(tx: Any) -> Any:
            runs.append(1)
            yield other.users.upsert(user("u"))
            yield tx.users.require("u")
            yield tx.users.create(user("n"))
            yield other.users.delete("u")

        with pytest.raises(TransactionConflictError):
            strict.transact(steps)
    assert len(runs) == 4  # the first run checked nothing, and is no attempt
    assert names(stores) == {"v"}


@pytest.mark.parametrize("durable", ["disk", "replicas:1"])
def test_a_transaction_that_writes_nothing_is_not_confirmed(stores: Harness, durable: str) -> None:
    """Nothing was written, so there is nothing to wait for: no replica would confirm it."""

    def steps(tx: Any) -> Any:
        yield tx.users.require("u")

    with exchanges(stores) as sent:
        stores.transact(steps, stores.db.durable(durable))
    assert not [command for commands in sent for command in commands if str(command[0]).startswith("WAIT")]


def test_rows_of_a_tenant_are_those_of_the_tenant(stores: Harness) -> None:
    def steps(tx: Any) -> Any:
        yield tx.users.require("u")
        yield tx.users.create(user("n"))

    with pytest.raises(UserNotFoundError):
        stores.transact(steps, stores.db.tenant("other"))
    assert stores.do(stores.db.users.find("n")) is None
