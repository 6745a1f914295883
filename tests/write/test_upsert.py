"""Upserts of records without memory: documents in refusals, remembered rows, and lost connections."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import EmailExistsError, Role, Status, User, UserNotFoundError, WorkflowState
from compozy_store.entities import USER as ENTITY
from compozy_store.entities import WORKFLOW_STATE
from keyweave.effects import Call, Sleep
from keyweave.model.record import Stored
from keyweave.read import get as get_flows
from keyweave.store.recent import LARGEST, Recent
from keyweave.write import delete as delete_flows
from keyweave.write import save as save_flows
from tests.commit.test_commit import guards, without_try
from tests.scripted import LOST, UNSENT, USER, Scripted, row_and_referrers

OK = [b"OK", 1700000000000009, 1700000000000001, 0]
THERE = [b"EXISTS", 1, b"", USER]
NEWER = USER.replace(b"1700000000000002", b"1700000000000007")
ADMIN = User(id="u", email="a@x", role=Role.ADMIN)


def upsert(scripted: Scripted, answers: list[Any], record: User = ADMIN) -> list[tuple[Any, ...]]:
    """The commands of an upsert of a record that was never loaded."""
    copy = User(id=record.id, email=record.email, role=record.role)
    scripted.run(save_flows.upsert(scripted.context, ENTITY, copy), answers)
    assert copy.created_at is not None
    return scripted.sent()


def test_an_existing_row_is_in_the_refusal_and_is_replaced_by_the_second_plan() -> None:
    scripted = Scripted()
    first, second = upsert(scripted, [[THERE], [OK]])
    assert guards(first)[:2] == ("absent", 1)
    assert guards(second) == ("revision", 1, 1700000000000002)
    rows = second[second.index("rows") :]
    assert ("remove" in rows, "add" in rows, "claim" in rows) == (True, True, False)
    assert not [effect for effect in scripted.effects if isinstance(effect, Sleep)]


def test_unknown_members_are_kept_by_the_second_plan() -> None:
    stranger = USER[:-1] + b',"shoe":{"size":[43]}}'
    _, second = upsert(Scripted(), [[[*THERE[:3], stranger]], [OK]])
    assert second[second.index("put") + 4].endswith(b',"role":"admin","shoe":{"size":[43]}}')


def test_only_the_first_plan_asks_for_the_document_because_a_pause_makes_it_outdated() -> None:
    scripted = Scripted()
    changed = [b"CHANGED", 1, b""]
    first, second, read, third = upsert(scripted, [[THERE], [changed], [NEWER], [OK]])
    shown = [command[3 + command[2] + 10] for command in (first, second, third)]
    assert shown == [1, 0, 0]
    assert read[0] == "GET"
    assert guards(third) == ("revision", 1, 1700000000000007)
    assert scripted.context.state.stats.conflicts == 1


def test_a_row_that_was_deleted_between_the_two_plans_is_inserted() -> None:
    gone = [b"MISSING", 1, b""]
    sent = upsert(Scripted(), [[THERE], [gone], [None], [OK]])
    assert guards(sent[-1])[:2] == ("absent", 1)


@pytest.mark.parametrize("lost", [LOST, UNSENT])
def test_a_connection_lost_before_the_second_answer_repeats_the_second_plan_only(lost: Exception) -> None:
    first, second, third = upsert(Scripted(), [[THERE], lost, [OK]])
    ops = [command[3 + command[2]] for command in (first, second, third)]
    assert ops[0] != ops[1] == ops[2]
    assert without_try(second) == without_try(third)
    assert guards(second) == guards(third)


def test_a_row_that_exists_after_an_unanswered_attempt_was_written_by_others_and_is_replaced() -> None:
    doubtful = [b"EXISTS", 1, b"", NEWER]
    sent = upsert(Scripted(), [LOST, [doubtful], [OK]])
    assert guards(sent[-1]) == ("revision", 1, 1700000000000007)


def test_a_replayed_second_plan_is_a_success() -> None:
    scripted = Scripted()
    newer = [b"REPLAYED", b"OK 1700000000000009 1700000000000001 0"]
    upsert(scripted, [[THERE], LOST, [newer]])
    assert scripted.context.state.stats.replays == 1


def test_a_unique_value_that_another_row_owns_is_refused_without_a_document() -> None:
    taken = [b"TAKEN", 2, b"v"]
    other = USER.replace(b'"id":"u"', b'"id":"v"').replace(b"a@x", b"b@x")
    with pytest.raises(EmailExistsError):
        upsert(
            Scripted(),
            [[THERE], [taken], [other, []], [other]],
            User(id="u", email="b@x", role=Role.USER),
        )


def written(scripted: Scripted, role: Role = Role.USER) -> None:
    """Let this process write the row, at revision 5."""
    row = User(id="u", email="a@x", role=role)
    scripted.run(save_flows.create(scripted.context, ENTITY, row), [[OK5]])
    scripted.effects.clear()


OK5 = [b"OK", 1700000000000005, 1700000000000001, 0]


def test_a_remembered_row_is_replaced_by_one_plan() -> None:
    scripted = Scripted()
    written(scripted)
    (plan,) = upsert(scripted, [[OK]])
    assert guards(plan) == ("revision", 1, 1700000000000005)
    scripted.effects.clear()
    (plan,) = upsert(scripted, [[OK]])
    assert guards(plan) == ("revision", 1, 1700000000000009)


def test_a_row_that_another_writer_changed_is_in_the_refusal_and_is_not_a_conflict() -> None:
    scripted = Scripted()
    written(scripted, Role.ADMIN)
    first, second = upsert(scripted, [[[b"CHANGED", 1, b"", NEWER]], [OK]])
    assert [guards(plan)[2] for plan in (first, second)] == [1700000000000005, 1700000000000007]
    assert "remove" in second
    assert scripted.context.state.stats.conflicts == 0


def test_a_row_that_another_writer_deleted_is_inserted_without_a_read() -> None:
    scripted = Scripted()
    written(scripted)
    _, second = upsert(scripted, [[[b"MISSING", 1, b""]], [OK]])
    assert guards(second)[:2] == ("absent", 1)
    assert "claim" in second


def test_a_row_that_this_process_deleted_is_inserted_at_once() -> None:
    scripted = Scripted()
    written(scripted)
    scripted.run(
        delete_flows.delete(scripted.context, ENTITY, "u"), [[row_and_referrers(USER, [])], [[b"OK"]]]
    )
    scripted.effects.clear()
    (plan,) = upsert(scripted, [[OK]])
    assert guards(plan)[:2] == ("absent", 1)


def test_a_record_that_was_loaded_before_the_last_write_uses_the_remembered_row() -> None:
    scripted = Scripted()
    row = scripted.run(get_flows.get(scripted.context, ENTITY, "u"), [[USER]])
    upsert(scripted, [[THERE], [OK]])
    scripted.effects.clear()
    scripted.run(save_flows.upsert(scripted.context, ENTITY, row), [[OK]])
    (plan,) = scripted.sent()
    assert guards(plan) == ("revision", 1, 1700000000000009)


def test_large_rows_are_not_remembered_and_the_policy_can_disable_remembering() -> None:
    scripted = Scripted(remembered=0)
    written(scripted)
    assert scripted.context.state.recent.get("User", "u") is None
    scripted = Scripted()
    for size, kept in ((10, True), (LARGEST, False)):
        row = WorkflowState(
            workflow_exec_id="w", workflow_id="f", status=Status.RUNNING, output={"text": "x" * size}
        )
        scripted.run(save_flows.upsert(scripted.context, WORKFLOW_STATE, row), [[OK5]])
        assert (scripted.context.state.recent.get("WorkflowState", "w") is not None) is kept


def test_rows_that_share_a_slot_are_distinguished() -> None:
    recent = Recent(1)
    recent.put("User", "u", Stored(1, 1, 0))
    assert recent.get("User", "v") is None
    assert recent.get("APIKey", "u") is None
    recent.put("User", "v", Stored(2, 2, 0))
    assert recent.get("User", "u") is None


def change(scripted: Scripted, answers: list[Any], quiet: bool = False) -> list[tuple[Any, ...]]:
    """The commands of a change of the role."""
    flow = save_flows.change(scripted.context, ENTITY, "u", promote, quiet=quiet)
    assert scripted.run(_called(flow), answers).role is Role.ADMIN
    return scripted.sent()


def promote(row: User) -> None:
    row.role = Role.ADMIN


def _called(flow: Any) -> Any:
    """Run a flow and make its calls, as a shell would."""
    answer: Any = None
    failure: BaseException | None = None
    while True:
        try:
            effect = flow.send(answer) if failure is None else flow.throw(failure)
        except StopIteration as done:
            return done.value
        answer = failure = None
        try:
            answer = effect.function(*effect.arguments) if isinstance(effect, Call) else (yield effect)
        except Exception as error:  # noqa: BLE001 - the flow decides what to do about it
            failure = error


def test_a_change_of_a_remembered_row_is_one_plan() -> None:
    scripted = Scripted()
    written(scripted)
    (plan,) = change(scripted, [[OK]])
    assert guards(plan) == ("revision", 1, 1700000000000005)


def test_a_change_of_a_row_that_another_writer_changed_uses_the_row_in_the_refusal() -> None:
    scripted = Scripted()
    written(scripted)
    stranger = NEWER[:-1] + b',"shoe":43}'
    first, second = change(scripted, [[[b"CHANGED", 1, b"", stranger]], [OK]])
    assert [guards(plan)[2] for plan in (first, second)] == [1700000000000005, 1700000000000007]
    assert second[second.index("put") + 4].endswith(b'"shoe":43}')


def test_a_change_of_a_row_that_another_writer_deleted_reads_it_before_the_error() -> None:
    scripted = Scripted()
    written(scripted)
    with pytest.raises(UserNotFoundError):
        change(scripted, [[[b"MISSING", 1, b""]], [None]])


def test_a_change_that_is_refused_after_a_lost_answer_was_not_applied_and_is_repeated() -> None:
    scripted = Scripted()
    written(scripted)
    change(scripted, [LOST, [[b"CHANGED", 1, b"", NEWER]], [OK]])


def test_an_error_on_a_remembered_row_counts_only_if_the_stored_row_causes_it_too() -> None:
    scripted = Scripted()
    written(scripted)
    seen: list[Role] = []

    def only_admins(row: User) -> None:
        seen.append(row.role)
        if row.role is not Role.ADMIN:
            raise LookupError("mine")

    admin = NEWER.replace(b'"user"', b'"admin"')
    flow = save_flows.change(scripted.context, ENTITY, "u", only_admins)
    scripted.run(_called(flow), [[admin], [OK]])
    assert seen == [Role.USER, Role.ADMIN]
    scripted = Scripted()
    written(scripted)
    with pytest.raises(LookupError, match="mine"):
        scripted.run(_called(save_flows.change(scripted.context, ENTITY, "u", only_admins)), [[USER]])


def test_a_quiet_change_without_effect_on_a_remembered_row_is_verified_by_a_read() -> None:
    scripted = Scripted()
    written(scripted, Role.ADMIN)
    read, plan = change(scripted, [[NEWER], [OK]], quiet=True)
    assert read[0] == "GET"
    assert guards(plan) == ("revision", 1, 1700000000000007)
