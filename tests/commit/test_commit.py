"""Refusals by dead and dangling rows, and conflicts of transactions, with literal replies."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import APIKey, EmailExistsError, Role, User
from compozy_store.entities import API_KEY, WORKFLOW_STATE
from compozy_store.entities import USER as ENTITY
from keyweave.effects import Call, Flow, ServerError
from keyweave.errors import (
    AlreadyExistsError,
    AuthenticationError,
    CorruptDocumentError,
    LockTimeoutError,
    ReferenceViolationError,
    StoreOutOfMemoryError,
    StoreUnavailableError,
    TransactionConflictError,
)
from keyweave.read import gather as gather_flows
from keyweave.read import get as get_flows
from keyweave.read import lock as lock_flows
from keyweave.store.context import Context
from keyweave.write import save as save_flows
from keyweave.write import transact as transact_flows
from tests.scripted import HEAD, LOST, USER, Scripted

OK = [b"OK", 1700000000000005, 1700000000000005, 0]
TAG = "{app:v1:test:t:auth:0}:"
DEAD = HEAD.replace(b'"expires":0', b'"expires":1600000000000000') + b',"id":"d","email":"a@x","role":"user"}'
TIME = [b"1700000001", b"0"]
REFUSED = [[b"CHANGED", 1, b""], 1]
"""A commit that lost to another writer, and its unlock."""


def create(scripted: Scripted, answers: list[Any]) -> User:
    record = User(id="u", email="a@x", role=Role.USER)
    return scripted.run(save_flows.create(scripted.context, ENTITY, record), answers)


def without_try(command: tuple[Any, ...]) -> tuple[Any, ...]:
    """A plan without the word that says whether an earlier try may be on its way."""
    at = 3 + command[2] + 8
    assert command[at] in ("", "again")
    return command[:at] + command[at + 1 :]


def guards(command: tuple[Any, ...]) -> tuple[Any, ...]:
    """The guards of a plan: its words after the fixed arguments, without the ops that go with revisions."""
    words = list(command[3 + command[2] + 12 : command.index("rows")])
    for place in reversed([at for at, word in enumerate(words) if word in ("revision", "unchanged", "dead")]):
        del words[place + 3]
    return tuple(words)


def test_a_row_past_its_deadline_is_swept_and_the_write_retried() -> None:
    scripted = Scripted()
    create(scripted, [[[b"DEAD", 1, b""]], [DEAD, []], [TIME], [[b"OK"]], [OK]])
    first, read, children, time, sweep, again = scripted.sent()
    assert (read[0], children[0], time[0]) == ("GET", "ZRANGE", "TIME")
    assert guards(sweep) == ("dead", 1, 1700000000000002, "count", 1, 0)
    assert guards(first) == guards(again)
    assert scripted.context.state.stats.swept == 1


def test_a_claim_without_an_owner_is_released_and_the_write_retried() -> None:
    scripted = Scripted()
    create(scripted, [[[b"TAKEN", 2, b"ghost"]], [None, []], [None], [[b"OK"]], [OK]])
    heal = scripted.sent()[4]
    assert guards(heal) == ("holds", 1, "a@x", "ghost", "missing", 1)
    assert heal[heal.index("rows") + 1 :] == ("entries", 4, "release", 1, "a@x", "ghost")


def test_a_claim_of_a_live_row_is_the_constraints_error() -> None:
    scripted = Scripted()
    other = USER.replace(b'"id":"u"', b'"id":"v"')
    with pytest.raises(EmailExistsError):
        create(scripted, [[[b"TAKEN", 2, b"v"]], [other, []], [other]])


def test_a_claim_that_its_owner_does_not_imply_is_released_and_the_write_retried() -> None:
    scripted = Scripted()
    other = USER.replace(b'"id":"u"', b'"id":"v"').replace(b"a@x", b"b@x")
    create(scripted, [[[b"TAKEN", 2, b"v"]], [other, []], [other], [[b"OK"]], [OK]])
    heal = scripted.sent()[4]
    assert guards(heal)[:6] == ("holds", 1, "a@x", "v", "unchanged", 1)


class Bound:
    """The repositories of a transaction in these tests: its context."""

    def __init__(self, context: Context) -> None:
        self.context = context


def transact(scripted: Scripted, work: Any, answers: list[Any]) -> Any:
    """Run a transaction whose function is a flow."""
    return scripted.run(_joined(transact_flows.transact(scripted.context, Bound, work)), answers)


def _joined(flow: Flow[Any]) -> Flow[Any]:
    """Run a flow, and the flows that its calls return inside it, as a shell would."""
    step: Any = None
    failure: BaseException | None = None
    while True:
        try:
            effect = flow.send(step) if failure is None else flow.throw(failure)
        except StopIteration as done:
            return done.value
        step = failure = None
        try:
            if isinstance(effect, Call):
                step = yield from effect.function(*effect.arguments)
            else:
                step = yield effect
        except BaseException as error:  # noqa: BLE001 - the flow decides what to do about it
            failure = error


def promote(tx: Bound) -> Flow[str]:
    row = yield from lock_flows.get_for_update(tx.context, ENTITY, "u")
    row.role = Role.ADMIN
    yield from save_flows.save(tx.context, ENTITY, row)
    return row.id


def test_a_transaction_locks_reads_commits_one_plan_and_unlocks() -> None:
    scripted = Scripted()
    assert transact(scripted, promote, [[b"OK", b"t", USER], [OK, 1]]) == "u"
    lock, owner, read, plan, unlock = scripted.sent()
    assert (lock[:2], lock[3:]) == (("SET", f"{TAG}@lock:User:u"), ("NX", "PX", 5000))
    assert (owner[0], read[0]) == ("GET", "GET")
    assert guards(plan) == ("revision", 1, 1700000000000002)
    assert unlock[3:] == (f"{TAG}@lock:User:u", lock[2])


def test_a_transaction_that_lost_to_another_writer_runs_again_from_the_start() -> None:
    scripted = Scripted()
    newer = USER.replace(b"1700000000000002", b"1700000000000009")
    answers = [[b"OK", b"t", USER], REFUSED, [b"OK", b"t", newer], [OK, 1]]
    assert transact(scripted, promote, answers) == "u"
    plans = [command for command in scripted.sent() if "rows" in command]
    assert [guards(plan)[2] for plan in plans] == [1700000000000002, 1700000000000009]
    assert scripted.context.state.stats.conflicts == 1


def test_a_transaction_that_loses_every_attempt_is_a_typed_error_and_leaves_no_lock() -> None:
    scripted = Scripted(attempts=3)
    with pytest.raises(TransactionConflictError):
        transact(scripted, promote, [[b"OK", b"t", USER], REFUSED] * 3)


def test_an_exception_of_the_function_is_raised_unchanged_and_unlocks() -> None:
    scripted = Scripted()

    def fail(tx: Bound) -> Flow[None]:
        yield from lock_flows.get_for_update(tx.context, ENTITY, "u")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        transact(scripted, fail, [[b"OK", b"t", USER], [1]])
    assert not [command for command in scripted.sent() if "rows" in command]


def test_a_lock_that_an_unanswered_attempt_acquired_is_recognized_by_its_token() -> None:
    scripted = Scripted()

    def read(tx: Bound) -> Flow[None]:
        assert tx.context.unit is not None
        token.append(tx.context.unit.token.encode())
        replies[1][1] = token[0]
        yield from lock_flows.get_for_update(tx.context, ENTITY, "u")

    token: list[bytes] = []
    replies: list[Any] = [LOST, [None, b"set by the closure", USER], [1]]
    transact(scripted, read, replies)
    assert scripted.sent()[-1][-1] == token[0].decode()


def test_a_lock_of_another_owner_is_awaited_until_the_timeout() -> None:
    scripted = Scripted(lock_wait=0.05)
    started = scripted.time.now
    with pytest.raises(LockTimeoutError):
        transact(scripted, promote, [[None, b"other"]] * 200)
    assert 0.05 <= scripted.time.now - started < 0.1


def test_a_lock_that_cannot_be_released_does_not_undo_the_work() -> None:
    scripted = Scripted()
    no = ServerError("NOPERM", "NOPERM no")
    assert transact(scripted, promote, [[b"OK", b"t", USER], [OK, no], [no]]) == "u"


def test_a_waiting_transaction_reads_the_row_only_after_it_acquires_the_lock() -> None:
    scripted = Scripted()
    waiting = [[None, b"other", USER], [None, b"other"], [b"OK", b"t"]]
    assert transact(scripted, promote, [*waiting, [USER], [OK, 1]]) == "u"
    assert [command[0] for command in scripted.sent()].count("SET") == 3
    assert (
        scripted.context.state.stats.lock_waits == 1
    )  # a lock that was waited for once, however often it was asked for


def test_an_unlock_script_that_the_server_does_not_know_is_sent_as_text_after_the_commit() -> None:
    scripted = Scripted()
    unknown = ServerError("NOSCRIPT", "NOSCRIPT")
    assert transact(scripted, promote, [[b"OK", b"t", USER], [OK, unknown], [unknown], [1]]) == "u"
    assert (scripted.sent()[-1][0], scripted.sent()[-1][3]) == ("EVAL", f"{TAG}@lock:User:u")


def test_a_commit_script_that_the_server_does_not_know_is_sent_as_text_with_its_unlock() -> None:
    scripted = Scripted()
    unknown = ServerError("NOSCRIPT", "NOSCRIPT")
    assert transact(scripted, promote, [[b"OK", b"t", USER], [unknown, 1], [OK, 0]]) == "u"
    plans = [command for command in scripted.sent() if "rows" in command]
    assert [plan[0] for plan in plans] == ["EVALSHA", "EVAL"]


def test_a_commit_without_an_answer_is_sent_again_with_its_op_and_its_unlock() -> None:
    scripted = Scripted()
    replayed = [b"REPLAYED", b"OK 1700000000000005 1700000000000001 0"]
    assert transact(scripted, promote, [[b"OK", b"t", USER], LOST, [replayed, 0]]) == "u"
    first, unlock, second, again = scripted.sent()[3:7]
    assert without_try(first) == without_try(second)
    assert unlock == again
    assert scripted.context.state.stats.replays == 1


def test_a_commit_that_is_refused_after_a_lost_answer_was_not_applied_and_runs_again() -> None:
    scripted = Scripted()
    refused = [[b"CHANGED", 1, b""], 1]
    answers = [[b"OK", b"t", USER], LOST, refused, [b"OK", b"t", USER], [OK, 1]]
    assert transact(scripted, promote, answers) == "u"


def test_a_commit_with_a_final_refusal_is_a_typed_error_and_unlocks() -> None:
    scripted = Scripted()
    full = ServerError("OOM", "OOM no")
    with pytest.raises(StoreOutOfMemoryError):
        transact(scripted, promote, [[b"OK", b"t", USER], [full, full], [1]])
    assert scripted.sent()[-1][3] == f"{TAG}@lock:User:u"


def test_a_row_that_cannot_be_read_under_its_lock_leaves_no_lock() -> None:
    scripted = Scripted()
    wrong = ServerError("WRONGTYPE", "WRONGTYPE no")
    with pytest.raises(CorruptDocumentError):
        transact(scripted, promote, [[b"OK", b"t", wrong], [1]])
    assert scripted.sent()[-1][3] == f"{TAG}@lock:User:u"


TAKEN = [b"EXISTS", b"1", b""]
"""What the server answers to a plan whose first guard, that the row is new, does not hold."""

KEY_ROW = APIKey(id="k", user_id="u", hash=b"h", fingerprint=b"f", prefix="p")


def test_a_refused_insert_reads_its_row_its_claims_and_its_references_in_one_exchange() -> None:
    scripted = Scripted()

    def work(tx: Bound) -> Flow[None]:
        yield from save_flows.create(tx.context, API_KEY, KEY_ROW)

    transact(scripted, work, [[TAKEN], [None, None, None, USER[:128]], [OK]])
    reads = ["GET", "HGET", "HGET", "GETRANGE"]
    assert [command[0] for command in scripted.sent()] == ["EVALSHA", *reads, "EVALSHA"]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([USER, None, None, USER], AlreadyExistsError),
        ([None, None, None, b""], ReferenceViolationError),
    ],
)
def test_a_buffered_insert_is_refused_by_what_the_store_holds(
    answers: list[Any], error: type[Exception]
) -> None:
    scripted = Scripted()

    def work(tx: Bound) -> Flow[None]:
        yield from save_flows.create(tx.context, API_KEY, KEY_ROW)

    with pytest.raises(error):
        transact(scripted, work, [[TAKEN], answers])


@pytest.mark.parametrize("write", [save_flows.upsert, save_flows.save])
def test_a_row_that_was_read_for_update_is_not_read_again(write: Any) -> None:
    scripted = Scripted()

    def work(tx: Bound) -> Flow[None]:
        row = yield from lock_flows.get_for_update(tx.context, ENTITY, "u")
        row.role = Role.ADMIN
        yield from write(tx.context, ENTITY, row)

    transact(scripted, work, [[b"OK", b"t", USER], [OK, 1]])


def test_a_row_that_was_missing_for_update_is_inserted_without_another_read() -> None:
    scripted = Scripted()

    def work(tx: Bound) -> Flow[None]:
        assert (yield from lock_flows.find_for_update(tx.context, ENTITY, "u")) is None
        yield from save_flows.create(tx.context, ENTITY, User(id="u", email="a@x", role=Role.USER))

    transact(scripted, work, [[b"OK", b"t", None], [None], [OK, 1]])
    read, claim, plan = scripted.sent()[2:5]
    assert (read[0], claim[0]) == ("GET", "HGET")
    assert guards(plan)[:2] == ("absent", 1)


def test_a_record_that_was_loaded_before_the_transaction_is_compared_with_the_stored_head() -> None:
    scripted = Scripted()
    row = scripted.run(get_flows.get(scripted.context, ENTITY, "u"), [[USER]])
    row.role = Role.ADMIN

    def work(tx: Bound) -> Flow[None]:
        yield from save_flows.save(tx.context, ENTITY, row)

    transact(scripted, work, [[[b"CHANGED", b"1", b""]], [USER[:128]], [OK]])
    assert [command[0] for command in scripted.sent()] == ["GET", "EVALSHA", "GETRANGE", "EVALSHA"]


RUN = HEAD + b',"workflow_exec_id":"w","workflow_id":"f","status":"RUNNING"}'
TASK = HEAD + (
    b',"task_exec_id":"t","task_id":"t","workflow_exec_id":"w","workflow_id":"f","component":"task","status":"RUNNING"}'
)
TASKS = [b"", b"", [], TASK]


def family(tx: Bound) -> Flow[list[str]]:
    """An execution for update, with its tasks."""
    row, tasks = yield from gather_flows.get_with(
        tx.context, WORKFLOW_STATE, "w", "TaskState", "workflow_exec_id", for_update=True
    )
    return [row.workflow_exec_id, *(task.task_exec_id for task in tasks)]


def test_a_row_for_update_and_all_that_refer_to_it_are_read_under_its_lock_in_one_exchange() -> None:
    scripted = Scripted()
    assert transact(scripted, family, [[b"OK", b"t", RUN, TASKS], [1]]) == ["w", "t"]
    lock, _, row, tasks = scripted.effects[0].commands  # type: ignore[union-attr]
    partition = "{app:v1:test:t:execution:0}:"
    assert lock[:2] == ("SET", f"{partition}@lock:WorkflowState:w")
    assert row == ("GET", f"{partition}WorkflowState:w")
    assert tasks[2:5] == (1, f"{partition}TaskState.by_workflow:w", f"{partition}TaskState:")


def test_if_the_server_does_not_know_the_script_the_referring_rows_are_read_after_the_lock() -> None:
    refusal = ServerError("NOSCRIPT", "NOSCRIPT No matching script.")
    assert transact(Scripted(), family, [[b"OK", b"t", RUN, refusal], [TASKS], [1]]) == ["w", "t"]


def test_without_undeclared_keys_the_referring_rows_are_read_after_the_lock() -> None:
    scripted = Scripted(declared_keys=True)
    answers = [[b"OK", b"t", RUN], [[b"t", b"7"]], [[TASK]], [1]]
    assert transact(scripted, family, answers) == ["w", "t"]


def test_a_waiting_transaction_reads_no_list_before_it_acquires_the_lock() -> None:
    scripted = Scripted()
    answers = [[None, b"other", RUN, TASKS], [b"OK", b"t"], [RUN], [TASKS], [1]]
    assert transact(scripted, family, answers) == ["w", "t"]


def test_a_lock_that_the_server_refuses_is_not_held() -> None:
    scripted = Scripted()
    with pytest.raises(StoreUnavailableError):
        transact(scripted, family, [[ServerError("ERR", "ERR no"), None, RUN, TASKS]])


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (ServerError("ERR", "ERR no"), StoreUnavailableError),
        (ServerError("NOPERM", "NOPERM No permissions to access a key"), AuthenticationError),
        (ServerError("WRONGTYPE", "WRONGTYPE Operation against a key"), CorruptDocumentError),
    ],
)
def test_a_script_that_the_server_refuses_is_an_error_and_the_lock_is_released(
    refusal: ServerError, error: type[Exception]
) -> None:
    scripted = Scripted()
    with pytest.raises(error):
        transact(scripted, family, [[b"OK", b"t", RUN, refusal], [1]])
    assert scripted.sent()[-1][3] == scripted.sent()[0][1]
